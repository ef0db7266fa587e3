"""Shared objects against the real server: each kind does what the standard library's does."""

from __future__ import annotations

import inspect
import pickle
import queue
import re
import threading
from functools import partial

import pytest

import mpclient
from mpclient.testing import wait_until, waiters


class TestLock:
    def test_excludes(self, cluster):
        lock = cluster.Lock()
        assert lock.acquire()
        assert lock.locked()
        assert not lock.acquire(False)
        assert not lock.acquire(timeout=0.01)
        assert not lock.acquire(block=True, timeout=0.01)
        assert not lock.acquire(block=False, timeout=5)
        lock.release()
        assert not lock.locked()

    def test_with(self, cluster):
        lock = cluster.Lock()
        with lock as entered:
            assert entered is True
            assert lock.locked()
        assert not lock.locked()

    def test_arguments_of_threading(self, cluster):
        lock = cluster.Lock()
        with pytest.raises(ValueError, match="non-blocking"):
            lock.acquire(False, 1)
        with pytest.raises(ValueError, match="non-negative"):
            lock.acquire(timeout=-2)
        assert lock.acquire(True, -1)

    def test_may_be_released_by_another_thread(self, cluster, in_thread):
        lock = cluster.Lock()
        lock.acquire()
        in_thread(lock.release)()
        assert not lock.locked()

    def test_release_of_a_free_lock_says_what_to_do(self, cluster, unique):
        lock = cluster.Lock(name=unique)
        for expected in (RuntimeError, ValueError, mpclient.NotHeld):
            with pytest.raises(expected, match="acquire"):
                lock.release()

    def test_is_handed_over_in_order(self, cluster, in_thread):
        lock = cluster.Lock()
        lock.acquire()
        order: list[int] = []

        def take(number):
            with lock:
                order.append(number)

        results = []
        for number in range(3):
            results.append(in_thread(lambda number=number: take(number)))
            wait_until(lambda number=number: waiters(cluster, lock) == number + 1)
        lock.release()
        for result in results:
            result()
        assert order == [0, 1, 2]


class TestRLock:
    def test_belongs_to_its_thread(self, cluster, in_thread):
        lock = cluster.RLock()
        assert lock.acquire()
        assert lock.acquire()
        assert not in_thread(lambda: lock.acquire(False))()
        with pytest.raises(mpclient.NotHeld, match="thread"):
            in_thread(lock.release)()
        lock.release()
        assert not in_thread(lambda: lock.acquire(False))()
        lock.release()
        assert in_thread(lambda: lock.acquire(False))()

    def test_end_of_its_thread_hands_it_on(self, cluster, in_thread):
        lock = cluster.RLock()
        in_thread(lock.acquire)()
        assert lock.acquire(timeout=10)


class TestSemaphore:
    def test_counts(self, cluster):
        semaphore = cluster.Semaphore(2)
        assert semaphore.acquire()
        with semaphore:
            assert semaphore.get_value() == 0
            assert not semaphore.acquire(False)
            assert not semaphore.acquire(timeout=0.01)
        semaphore.release(2)
        assert semaphore.get_value() == 3

    def test_bounded_refuses_too_many(self, cluster):
        semaphore = cluster.BoundedSemaphore(1)
        with pytest.raises(ValueError, match="too many times"):
            semaphore.release()

    def test_refuses_what_the_standard_library_refuses(self, cluster):
        with pytest.raises(ValueError, match="non-blocking"):
            cluster.Semaphore().acquire(False, 1)
        with pytest.raises(ValueError, match="one or more"):
            cluster.Semaphore().release(0)
        with pytest.raises(ValueError):
            cluster.Semaphore(-1)


class TestEvent:
    def test_wakes_all(self, cluster, in_thread):
        event = cluster.Event()
        assert not event.is_set()
        assert event.wait(0.01) is False
        results = [in_thread(event.wait) for _ in range(3)]
        wait_until(lambda: waiters(cluster, event) == 3)
        event.set()
        assert [result() for result in results] == [True] * 3
        assert event.wait(0) is True
        event.clear()
        assert not event.is_set()


class TestCondition:
    def test_notify(self, cluster, in_thread):
        condition = cluster.Condition()

        def wait():
            with condition:
                return condition.wait(10)

        results = [in_thread(wait) for _ in range(2)]
        wait_until(lambda: waiters(cluster, condition) == 2)
        with condition:
            condition.notify()
            condition.notify_all()
        assert [result() for result in results] == [True, True]

    def test_wait_without_the_lock(self, cluster):
        with pytest.raises(RuntimeError, match="acquire"):
            cluster.Condition().wait(0)

    def test_wait_times_out_holding_the_lock(self, cluster):
        condition = cluster.Condition()
        with condition:
            assert condition.wait(0.01) is False
            assert condition.locked()

    def test_wait_for(self, cluster, in_thread):
        condition, items = cluster.Condition(), cluster.list()

        def wait():
            with condition:
                return condition.wait_for(lambda: list(items), 10)

        result = in_thread(wait)
        wait_until(lambda: waiters(cluster, condition) == 1)
        with condition:
            items.append("x")
            condition.notify()
        assert result() == ["x"]
        with condition:
            assert condition.wait_for(lambda: False, 0.02) is False

    def test_on_a_lock_of_its_own(self, cluster):
        lock = cluster.Lock()
        with cluster.Condition(lock):
            assert lock.locked()
        assert not lock.locked()


class TestBarrier:
    def test_meets_and_acts_once(self, cluster, in_thread):
        ran: list[str] = []
        barrier = cluster.Barrier(3, action=lambda: ran.append(threading.current_thread().name))
        results = [in_thread(barrier.wait) for _ in range(2)]
        wait_until(lambda: barrier.n_waiting == 2)
        indexes = [barrier.wait(), *(result() for result in results)]
        assert sorted(indexes) == [0, 1, 2]
        assert ran == [threading.current_thread().name]
        assert barrier.parties == 3
        assert not barrier.broken

    def test_an_action_that_fails_breaks_it(self, cluster, in_thread):
        def fail():
            raise LookupError("no")

        barrier = cluster.Barrier(2, fail)
        other = in_thread(barrier.wait)
        wait_until(lambda: barrier.n_waiting == 1)
        with pytest.raises(LookupError, match="no"):
            barrier.wait()
        with pytest.raises(threading.BrokenBarrierError):
            other()
        assert barrier.broken
        barrier.reset()
        assert not barrier.broken

    def test_a_copy_has_the_action_with_its_large_buffers(self, cluster):
        memory = pickle.PickleBuffer(bytearray(1 << 16))  # what arrays of NumPy hand to pickle
        shared = cluster.list([cluster.Barrier(1, partial(len, memory))])
        assert shared[0].wait() == 0

    def test_timeout_breaks_it(self, cluster):
        barrier = cluster.Barrier(2, timeout=0.01)
        with pytest.raises(mpclient.BrokenBarrierError, match="time"):
            barrier.wait()

    def test_abort(self, cluster, in_thread):
        barrier = cluster.Barrier(2)
        other = in_thread(barrier.wait)
        wait_until(lambda: barrier.n_waiting == 1)
        barrier.abort()
        with pytest.raises(threading.BrokenBarrierError):
            other()


class TestNames:
    def test_one_name_is_one_object(self, server, cluster, unique):
        with server.connect() as other:
            cluster.dict(a=1, name=unique)
            assert other.dict(name=unique).copy() == {"a": 1}

    def test_each_kind_has_its_own_names(self, cluster, unique):
        cluster.Queue(name=unique)
        cluster.Lock(name=unique)
        with pytest.raises(mpclient.Conflict, match="several"):
            cluster.delete(unique)
        assert cluster.delete(unique, "queue")
        assert cluster.delete(unique)
        assert not cluster.delete(unique)

    def test_first_contents_do_not_replace_what_is_there(self, cluster, unique):
        cluster.dict({"a": 1}, name=unique)
        assert cluster.dict({"a": 2, "b": 3}, name=unique).copy() == {"a": 1, "b": 3}
        cluster.list([1], name=unique)
        assert cluster.list([2], name=unique).copy() == [1]

    def test_fresh(self, cluster, unique):
        old = cluster.Queue(name=unique)
        old.put(1)
        assert cluster.Queue(name=unique, fresh=True).empty()
        with pytest.raises(mpclient.NoSuchObject, match=re.escape(f"queue '{unique}'")):
            old.qsize()

    def test_conflicting_settings_are_refused(self, cluster, unique):
        cluster.Queue(2, name=unique)
        assert cluster.Queue(name=unique).full() is False
        with pytest.raises(mpclient.Conflict, match="maxsize"):
            cluster.Queue(3, name=unique)

    def test_settings_that_are_given_bind_even_if_they_are_the_usual_ones(self, cluster, unique):
        cluster.Queue(name=unique)
        cluster.Queue(name=unique, buffered=True)  # needs an unbounded queue
        with pytest.raises(mpclient.Conflict, match="maxsize=0"):
            cluster.Queue(3, name=unique)

    def test_the_default_is_not_taken_for_a_setting(self, cluster, unique):
        """Given, the usual number is a setting as any other; not given, what exists is accepted."""
        for make, other, usual in [
            (cluster.Semaphore, 3, 1),
            (cluster.BoundedSemaphore, 3, 1),
            (cluster.Queue, 3, 0),
            (cluster.JoinableQueue, 3, 0),
            (cluster.LifoQueue, 3, 0),
            (cluster.PriorityQueue, 3, 0),
        ]:
            name = f"{unique} {make.__name__}"
            existing = make(other, name=name)
            assert make(name=name) == existing
            with pytest.raises(mpclient.Conflict, match=f"={usual};"):
                make(usual, name=name)
            [parameter, *_] = inspect.signature(make).parameters.values()
            assert (repr(parameter.default), parameter.default) == (str(usual), usual)

    @pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "mpserve.x"])
    def test_bad_names(self, cluster, name):
        with pytest.raises(ValueError):
            cluster.Lock(name=name)

    def test_a_ttl_is_for_objects_with_a_name_and_above_0(self, cluster, unique):
        with pytest.raises(ValueError, match="ttl is for a queue with a name"):
            cluster.Queue(ttl=1)
        with pytest.raises(ValueError, match=f"the ttl of queue '{unique}' must be above 0 seconds"):
            cluster.Queue(name=unique, ttl=-1)

    def test_objects_lists_the_named(self, cluster, unique):
        cluster.Semaphore(3, name=unique)
        [found] = [o for o in cluster.objects() if o["name"] == unique]
        assert found["kind"] == "semaphore"
        assert found["settings"]["value"] == 3

    def test_deleting_wakes_who_waits(self, cluster, unique, in_thread):
        waiting = cluster.Queue(name=unique)
        result = in_thread(waiting.get)
        wait_until(lambda: waiters(cluster, waiting) == 1)
        cluster.delete(unique)
        with pytest.raises(mpclient.NoSuchObject, match="deleted"):
            result()


@pytest.mark.parametrize("name", ["connect_timeout", "reconnect_timeout"])
def test_how_long_to_try_is_a_number_of_seconds(server, name):
    for wrong, error in (("1", TypeError), (-1, ValueError), (float("nan"), ValueError)):
        with pytest.raises(error, match=f"{name} must be "):
            mpclient.connect(server.address, server.key, **{name: wrong})


def test_errors_are_those_that_people_catch(cluster):
    q = cluster.Queue()
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(AttributeError):
        _ = cluster.Namespace().nothing
    with pytest.raises(IndexError):
        cluster.list()[0]
    with pytest.raises(KeyError) as caught:
        cluster.dict()[1, 2]
    assert caught.value.args == ((1, 2),)


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_the_lock_of_a_value_stays_what_it_is_elsewhere(cluster, kind):
    q = cluster.Queue()
    q.put(cluster.Value("i", 1, lock=getattr(cluster, kind)()))
    value = q.get()
    assert type(value.get_lock()).__name__ == kind
    with value:
        value.value += 1
    assert value.value == 2


def test_locks_that_nobody_else_sees_are_refused(cluster):
    with pytest.raises(TypeError, match="shared Lock"):
        cluster.Condition(threading.Lock())
    with pytest.raises(TypeError, match="shared Lock"):
        cluster.Array("i", 3, lock=threading.RLock())
