"""Calls that wait: timeouts, order, hand-over, suspended lanes, and calls that are given up."""

from __future__ import annotations

import pickle

import pytest
from tests.contract.rigs import TIMEOUT_S

from mpserve.core.bounds import HeldLimits
from mpshared.errors import BrokenBarrierError, Empty, Full, NoRoom, NotHeld, ShutDown
from mpshared.values import NONE

A, B, C, D = (pickle.dumps(letter) for letter in "abcd")


def take(kind):
    """How one waits for an object of this kind, held or empty by another: operation, arguments, settings."""
    return {
        "lock": ("lock.acquire", [], {}),
        "rlock": ("rlock.acquire", [], {}),
        "semaphore": ("semaphore.acquire", [], {"value": 1}),
        "condition": ("condition.acquire", [], {}),
    }[kind]


EXCLUDING = ["lock", "rlock", "semaphore", "condition"]


def release(kind):
    return (f"{kind}.release", [1] if kind == "semaphore" else [])


@pytest.mark.parametrize("kind", EXCLUDING)
class TestHandOver:
    def test_first_come_first_served_and_nobody_overtakes(self, rig, kind):
        op, _, settings = take(kind)
        threads = [rig.thread() for _ in range(4)]
        ident = rig.open(threads[0], kind, **settings)
        calls = [thread.call(op, ident, None) for thread in threads]
        assert [call.answered for call in calls] == [True, False, False, False]
        for holder in (0, 1, 2):
            name, args = release(kind)
            threads[holder].ask(name, ident, *args)
            assert not rig.thread().ask(op, ident, 0)
            assert [call.answered for call in calls] == [n <= holder + 1 for n in range(4)]

    def test_time_runs_out(self, rig, kind):
        op, _, settings = take(kind)
        holder, other = rig.thread(), rig.thread()
        ident = rig.open(holder, kind, **settings)
        holder.ask(op, ident, None)
        waiting = other.call(op, ident, 2.5)
        rig.advance(2.4)
        assert not waiting.answered
        rig.advance(0.2)
        assert waiting.value is False
        assert other.ask(op, ident, 0) is False
        holder.ask(*release(kind)[:1], ident, *release(kind)[1])
        assert other.ask(op, ident, 5.0) is True
        rig.advance(6)
        assert rig.waiting(ident) == 0

    def test_a_suspended_waiter_is_skipped_and_keeps_its_place(self, rig, kind):
        op, _, settings = take(kind)
        first, second, third, last = (rig.thread() for _ in range(4))
        ident = rig.open(first, kind, **settings)
        first.ask(op, ident, None)
        calls = [thread.call(op, ident, None) for thread in (second, third, last)]
        assert [call.answered for call in calls] == [False] * 3
        second.lose()
        name, args = release(kind)
        first.ask(name, ident, *args)
        assert [call.answered for call in calls] == [False, True, False]
        second.back()
        third.ask(name, ident, *args)
        assert [call.answered for call in calls] == [True, True, False]

    def test_a_free_one_goes_to_a_waiter_that_comes_back(self, rig, kind):
        op, _, settings = take(kind)
        first, second = rig.thread(), rig.thread()
        ident = rig.open(first, kind, **settings)
        first.ask(op, ident, None)
        waiting = second.call(op, ident, None)
        assert not waiting.answered
        second.lose()
        name, args = release(kind)
        first.ask(name, ident, *args)
        assert not waiting.answered
        second.back()
        assert waiting.value is True

    def test_a_lane_away_for_too_long_is_closed(self, rig, kind):
        op, _, settings = take(kind)
        program = rig.program()
        beside, lane = program.thread(), program.thread()
        ident = rig.open(beside, kind, **settings)
        other = rig.thread()
        other.ask(op, ident, None)
        waiting = lane.call(op, ident, None)
        assert not waiting.answered
        lane.lose()
        for _ in range(int(TIMEOUT_S) + 1):
            program.beat()
            other.program.beat()
            rig.advance(1)
        machine = rig.machine(ident)
        assert len(getattr(machine, "lock", machine).acquirers) == 0
        assert program.alive

    def test_given_up_while_waiting(self, rig, kind):
        op, _, settings = take(kind)
        first, second, third = rig.thread(), rig.thread(), rig.thread()
        ident = rig.open(first, kind, **settings)
        first.ask(op, ident, None)
        gone, waiting = second.call(op, ident, None), third.call(op, ident, None)
        assert not waiting.answered
        second.abandon(gone)
        name, args = release(kind)
        first.ask(name, ident, *args)
        assert waiting.value is True
        assert not gone.answered
        assert second.ask(op, ident, 0) is False

    def test_given_up_when_it_had_it_already(self, rig, kind):
        op, _, settings = take(kind)
        first, second = rig.thread(), rig.thread()
        ident = rig.open(first, kind, **settings)
        call, waiting = first.call(op, ident, None), second.call(op, ident, None)
        assert not waiting.answered
        first.abandon(call)
        assert waiting.value is True

    def test_given_up_before_the_engine_came_to_it(self, rig, kind):
        op, _, settings = take(kind)
        first, second = rig.thread(), rig.thread()
        ident = rig.open(first, kind, **settings)
        first.abandon(first.call(op, ident, None))
        assert second.ask(op, ident, 0) is True


@pytest.mark.parametrize("kind", ["lock", "rlock", "condition"])
def test_release_of_what_nobody_holds(rig, kind):
    thread = rig.thread()
    ident = rig.open(thread, kind)
    assert isinstance(thread.fails(f"{kind}.release", ident), NotHeld)


def test_suspended_twice_the_time_begins_anew(rig):
    program = rig.program()
    keeper, lane = program.thread(), program.thread()
    event = rig.open(keeper, "event")
    waiting = lane.call("event.wait", event, None)

    def pass_time(seconds):
        for _ in range(seconds):
            program.beat()
            rig.advance(1)

    lane.lose()
    pass_time(20)
    lane.back()
    lane.lose()
    pass_time(20)
    lane.back()
    keeper.ask("event.set", event)
    assert waiting.value is True


class TestQueue:
    def test_getters_are_served_in_order(self, rig):
        putter, first, second = rig.thread(), rig.thread(), rig.thread()
        queue = rig.open(putter, "queue")
        one = first.call("queue.get", queue, None, False)
        assert not one.answered
        two = second.call("queue.get_many", queue, 5, None, False)
        assert not two.answered
        putter.ask("queue.put_many", queue, None, blobs=[A, B, C])
        assert one.out == [A]
        assert two.out == [B, C]

    def test_putters_are_let_in_in_order(self, rig):
        threads = [rig.thread() for _ in range(3)]
        queue = rig.open(threads[0], "queue", maxsize=1)
        getter = rig.thread()
        calls = []
        for thread, value in zip(threads, (A, B, C), strict=True):
            calls.append(thread.call("queue.put", queue, None, blobs=[value]))
            assert calls[-1].answered == (value == A)
        for value, n in ((A, 2), (B, 3), (C, 3)):
            assert getter.out("queue.get", queue, 0, False) == [value]
            assert [call.answered for call in calls].count(True) == n

    def test_time_runs_out(self, rig):
        thread, other = rig.thread(), rig.thread()
        queue = rig.open(thread, "queue", maxsize=1)
        getting = thread.call("queue.get", queue, 1.0, False)
        rig.advance(1)
        assert isinstance(getting.error, Empty)
        assert isinstance(thread.fails("queue.get", queue, 0, False), Empty)
        thread.ask("queue.put", queue, None, blobs=[A])
        putting = other.call("queue.put", queue, 1.0, blobs=[B])
        joining = thread.call("queue.join", queue, 3.0)
        rig.advance(1)
        assert isinstance(putting.error, Full)
        rig.advance(2)
        assert joining.value is False

    def test_a_lost_answer_gives_the_item_back_to_its_old_place(self, rig):
        thread, other = rig.thread(), rig.thread()
        queue = rig.open(thread, "queue")
        thread.ask("queue.put_many", queue, None, blobs=[A, B, C])
        thread.acks = False
        thread.call("queue.get", queue, None, False).out  # noqa: B018 - raises
        batch = thread.call("queue.get_many", queue, 2, None, False)
        assert batch.out == [B, C]
        thread.abandon(batch)
        assert other.out("queue.get_many", queue, 5, 0, False) == [B, C]

    def test_an_item_given_back_goes_to_who_waits(self, rig):
        thread, other = rig.thread(), rig.thread()
        queue = rig.open(thread, "queue")
        thread.ask("queue.put", queue, None, blobs=[A])
        call = thread.call("queue.get", queue, None, True)
        assert call.value == [1, 1]
        waiting = other.call("queue.get", queue, None, True)
        assert not waiting.answered
        thread.abandon(call)
        assert waiting.value == [1, 1]
        assert waiting.out == [A]

    def test_pipelined_calls_go_on_in_order(self, rig):
        thread, other = rig.thread(), rig.thread()
        queue, done = rig.open(thread, "queue"), rig.open(thread, "queue")
        calls = [thread.call("queue.get", queue, None, False)]
        calls += [thread.call("queue.put", done, None, blobs=[value]) for value in (A, B)]
        assert [call.answered for call in calls] == [False] * 3
        thread.abandon(calls[1])
        other.ask("queue.put", queue, None, blobs=[C])
        assert calls[0].out == [C]
        assert calls[2].answered
        assert other.out("queue.get_many", done, 9, 0, False) == [B]

    def test_a_pipelined_call_follows_one_that_was_given_up(self, rig):
        thread = rig.thread()
        queue = rig.open(thread, "queue")
        waiting = thread.call("queue.get", queue, None, False)
        following = thread.call("queue.qsize", queue)
        assert not following.answered
        thread.abandon(waiting)
        assert following.value == 0

    def test_exchange_results_out_jobs_done_jobs_in(self, rig):
        worker, program = rig.thread(role="worker"), rig.thread()
        jobs, results = rig.open(program, "queue"), rig.open(program, "queue")
        first = worker.call("queue.exchange", jobs, results, [], 2, None, None)
        assert not first.answered
        program.ask("queue.put_many", jobs, None, blobs=[A, B, C, NONE, D])
        assert first.value[0] == [[1, 2, 1]]
        assert first.out == [A, B]
        second = worker.call("queue.exchange", jobs, results, [[1, 2]], 9, None, None, blobs=[C, D])
        assert second.out == [C, NONE]  # a batch ends with the first pill
        assert program.out("queue.get_many", results, 9, 0, False) == [C, D]
        joining = program.call("queue.join", jobs, None)
        assert not joining.answered
        last = worker.call("queue.exchange", jobs, None, [[3, 4]], 9, 0, None)
        assert last.out == [D]
        worker.ask("queue.task_done", jobs, 1)
        assert joining.value is True

    def test_exchange_waits_for_room_for_its_results_and_is_given_up(self, rig):
        worker, program = rig.thread(role="worker"), rig.thread()
        jobs, results = rig.open(program, "queue"), rig.open(program, "queue", maxsize=1)
        program.ask("queue.put_many", jobs, None, blobs=[A, B])
        program.ask("queue.put", results, None, blobs=[D])
        worker.ask("queue.exchange", jobs, results, [], 1, None, None)
        waiting = worker.call("queue.exchange", jobs, results, [[1, 1]], 1, None, None, blobs=[C])
        assert not waiting.answered
        worker.abandon(waiting)
        assert program.out("queue.get", results, 0, False) == [D]
        assert isinstance(program.fails("queue.get", results, 0, False), Empty)
        assert program.ask("queue.unfinished", jobs) == 2

    def test_shutdown_wakes_everybody(self, rig):
        putter, getter, program = rig.thread(), rig.thread(), rig.thread()
        queue, empty = rig.open(program, "queue", maxsize=1), rig.open(program, "queue")
        program.ask("queue.put", queue, None, blobs=[A])
        putting, getting = (
            putter.call("queue.put", queue, None, blobs=[B]),
            getter.call("queue.get", empty, None, False),
        )
        assert not putting.answered
        assert not getting.answered
        program.ask("queue.shutdown", queue, False)
        program.ask("queue.shutdown", empty, False)
        assert isinstance(putting.error, ShutDown)
        assert isinstance(getting.error, ShutDown)
        assert program.out("queue.get", queue, 0, False) == [A]

    def test_a_suspended_getter_is_skipped(self, rig):
        putter, away, here = rig.thread(), rig.thread(), rig.thread()
        queue = rig.open(putter, "queue")
        calls = [away.call("queue.get", queue, None, False)]
        assert not calls[0].answered
        calls.append(here.call("queue.get", queue, None, False))
        away.lose()
        putter.ask("queue.put", queue, None, blobs=[A])
        assert calls[1].out == [A]
        putter.ask("queue.put", queue, None, blobs=[B])
        assert not calls[0].answered
        away.back()
        assert calls[0].out == [B]


class TestEvent:
    def test_all_are_woken_suspended_ones_too(self, rig):
        setter, here, away = rig.thread(), rig.thread(), rig.thread()
        event = rig.open(setter, "event")
        calls = [thread.call("event.wait", event, None) for thread in (here, away)]
        timed = rig.thread().call("event.wait", event, 1.0)
        assert not any(call.answered for call in calls)
        away.lose()
        rig.advance(0.3)
        setter.ask("event.set", event)
        setter.ask("event.clear", event)
        away.back()
        assert [call.value for call in calls] == [True, True]
        assert timed.value is True

    def test_time_runs_out(self, rig):
        thread = rig.thread()
        waiting = thread.call("event.wait", rig.open(thread, "event"), 0.25)
        rig.advance(0.25)
        assert waiting.value is False


class TestCondition:
    def test_wait_gives_the_lock_up_and_has_it_again(self, rig):
        waiter, notifier = rig.thread(), rig.thread()
        condition = rig.open(waiter, "condition")
        waiter.ask("condition.acquire", condition, None)
        waiter.ask("condition.acquire", condition, None)  # an rlock: two levels deep
        waiting = waiter.call("condition.wait", condition, None)
        assert notifier.ask("condition.acquire", condition, 0) is True
        notifier.ask("condition.notify", condition, 1)
        assert not waiting.answered
        notifier.ask("condition.release", condition)
        assert waiting.value is True
        waiter.ask("condition.release", condition)
        assert notifier.ask("condition.acquire", condition, 0) is False
        waiter.ask("condition.release", condition)
        assert notifier.ask("condition.acquire", condition, 0) is True

    def test_a_notify_spent_on_the_dead_passes_on(self, rig):
        dying, other, notifier = rig.thread(), rig.thread(), rig.thread()
        condition = rig.open(notifier, "condition")
        calls = []
        for thread in (dying, other):
            thread.ask("condition.acquire", condition, None)
            calls.append(thread.call("condition.wait", condition, None))
            assert not calls[-1].answered
        notifier.ask("condition.acquire", condition, None)
        notifier.ask("condition.notify", condition, 1)
        dying.program.die()
        notifier.ask("condition.release", condition)
        assert calls[1].value is True

    def test_time_runs_out(self, rig):
        thread = rig.thread()
        condition = rig.open(thread, "condition")
        thread.ask("condition.acquire", condition, None)
        waiting = thread.call("condition.wait", condition, 1.5)
        rig.advance(1.5)
        assert waiting.value is False
        assert thread.ask("condition.locked", condition) is True

    def test_a_suspended_waiter_is_notified_and_has_the_lock_when_it_is_back(self, rig):
        waiter, notifier = rig.thread(), rig.thread()
        condition = rig.open(waiter, "condition")
        waiter.ask("condition.acquire", condition, None)
        waiting = waiter.call("condition.wait", condition, None)
        notifier.ask("condition.acquire", condition, None)
        waiter.lose()
        notifier.ask("condition.notify", condition, 1)
        notifier.ask("condition.release", condition)
        assert notifier.ask("condition.acquire", condition, 0) is True
        notifier.ask("condition.release", condition)
        waiter.back()
        assert waiting.value is True


class TestBarrier:
    def test_the_last_one_opens_it(self, rig):
        threads = [rig.thread() for _ in range(3)]
        barrier = rig.open(threads[0], "barrier", parties=3)
        calls = [thread.call("barrier.wait", barrier, None) for thread in threads]
        assert sorted(call.value for call in calls) == [[0, False], [1, False], [2, False]]

    def test_an_action_is_run_by_one_while_all_wait(self, rig):
        threads = [rig.thread() for _ in range(2)]
        barrier = rig.open(threads[0], "barrier", parties=2, has_action=True)
        calls = [thread.call("barrier.wait", barrier, None) for thread in threads]
        answered = [call for call in calls if call.answered]
        assert [call.value for call in answered] == [[1, True]]
        answered[0].thread.ask("barrier.action_done", barrier, True)
        assert sorted(call.value for call in calls) == [[0, False], [1, True]]

    @pytest.mark.parametrize("how", ["die", "time", "abandon", "end"])
    def test_it_breaks_for_all_when_one_is_gone(self, rig, how):
        one, two, late = rig.thread(), rig.thread(), rig.thread()
        barrier = rig.open(one, "barrier", parties=3)
        waiting, gone = one.call("barrier.wait", barrier, None), two.call("barrier.wait", barrier, 1.0)
        assert not waiting.answered
        if how == "die":
            two.program.die()
        elif how == "abandon":
            two.abandon(gone)
        elif how == "end":
            two.end()
        rig.advance(1)
        assert isinstance(waiting.error, BrokenBarrierError)
        assert isinstance(late.fails("barrier.wait", barrier, None), BrokenBarrierError)
        late.ask("barrier.reset", barrier)
        assert late.ask("barrier.status", barrier) == [3, 0, False]


def test_calls_on_disjoint_objects_overtake_each_other(rig):
    """So the suite means something on the engine that answers later."""
    threads = [rig.thread() for _ in range(12)]
    dicts = [rig.open(thread, "dict") for thread in threads]
    for n in range(5):
        calls = [t.call("dict.incr", d, "n", 1) for t, d in zip(threads, dicts, strict=True)]
        assert [call.value for call in calls] == [n + 1] * 12
    if rig.later is not None:
        assert rig.later.shuffled > 10


class TestResultsOfJobs:
    """They wait whatever the values of their program's other waiting calls: refused, they would be lost."""

    @pytest.fixture
    def worker(self, rig):
        """A worker's thread with a job, beside one whose put has used up what may wait."""
        rig.inner.bounds.limits = HeldLimits(max_waiting=1024)
        program = rig.program()
        working, putting = program.thread(), program.thread()
        jobs, results = rig.open(working, "queue"), rig.open(working, "queue", maxsize=1)
        working.ask("queue.put", jobs, None, blobs=[A])
        working.ask("queue.put", results, None, blobs=[B])
        working.ask("queue.exchange", jobs, None, [], 1, 0, None)
        put = putting.call("queue.put", results, None, blobs=[bytes(1024)])
        assert not put.answered
        return working, jobs, results

    def test_where_their_queue_is_full(self, rig, worker):
        working, jobs, results = worker
        brought = working.call("queue.exchange", jobs, results, [[1, 1]], 0, 0, None, blobs=[C * 100])
        assert not brought.answered
        other = rig.thread()
        other.ask("queue.get_many", results, 2, 0, False)
        other.ask("queue.get", results, 0, False)
        assert brought.value[3] == 0
        assert other.out("queue.get", results, 0, False) == [C * 100]

    def test_others_count_them(self, rig, worker):
        working, jobs, results = worker
        working.call("queue.exchange", jobs, results, [[1, 1]], 0, 0, None, blobs=[C * 100])
        with pytest.raises(NoRoom, match="--max-waiting"):
            working.program.thread().ask("queue.put", results, None, blobs=[A])
