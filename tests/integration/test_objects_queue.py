"""Queues of all classes against the real server."""

from __future__ import annotations

import queue

import pytest

import mpclient
from mpclient.testing import wait_until, waiters


def test_fifo(cluster):
    q = cluster.Queue()
    for item in (1, "two", None, [3]):
        q.put(item)
    assert q.qsize() == 4
    assert [q.get() for _ in range(4)] == [1, "two", None, [3]]
    assert q.empty()


def test_lifo_and_priority(cluster):
    stack, ordered = cluster.LifoQueue(), cluster.PriorityQueue()
    for q in (stack, ordered):
        q.put_many([(2, "b"), (3, "c"), (1, "a")])
    assert [stack.get()[0] for _ in range(3)] == [1, 3, 2]
    assert [ordered.get()[0] for _ in range(3)] == [1, 2, 3]


def test_maxsize(cluster, in_thread):
    q = cluster.Queue(maxsize=1)
    q.put(1)
    assert q.full()
    with pytest.raises(queue.Full):
        q.put_nowait(2)
    with pytest.raises(mpclient.Full, match="no room"):
        q.put(2, timeout=0.01)
    put = in_thread(lambda: q.put(2))
    wait_until(lambda: waiters(cluster, q) == 1)
    assert q.get() == 1
    put()
    assert q.get() == 2


@pytest.mark.parametrize("call", ["get", "put"])
def test_negative_timeouts_are_refused_as_in_the_standard_library(cluster, call):
    q = cluster.Queue()
    arguments = (1,) if call == "put" else ()
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        getattr(q, call)(*arguments, timeout=-1)
    if call == "put":
        q.put(1, False, -1)  # without block the timeout does not matter
    else:
        with pytest.raises(queue.Empty):
            q.get(False, -1)


def test_waiting_getters_are_served_in_order(cluster, in_thread):
    q = cluster.Queue()
    results = []
    for number in range(3):
        results.append(in_thread(q.get))
        wait_until(lambda number=number: waiters(cluster, q) == number + 1)
    q.put_many("abc")
    assert [result() for result in results] == ["a", "b", "c"]


def test_join_waits_for_task_done(cluster, in_thread):
    q = cluster.JoinableQueue()
    q.put_many([1, 2])
    assert q.join(timeout=0.01) is False
    joined = in_thread(q.join)
    q.get_many(2)
    q.task_done()
    q.task_done()
    assert joined() is None
    assert q.join(timeout=5) is True
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()


def test_a_joinable_queues_items_return_when_their_taker_leaves(server, cluster, unique):
    q = cluster.JoinableQueue(name=unique)
    q.put("job")
    with server.connect() as taker:
        assert taker.JoinableQueue(name=unique).get() == "job"
        assert q.qsize() == 0
    wait_until(lambda: q.qsize() == 1)


def test_a_plain_queues_items_are_taken_for_good(server, cluster, unique):
    q = cluster.Queue(name=unique)
    q.put("item")
    with server.connect() as taker:
        assert taker.Queue(name=unique).get() == "item"
    assert q.join(timeout=0) is False
    assert q.qsize() == 0


def test_batches(cluster):
    q = cluster.Queue()
    q.put_many(range(5000))
    assert q.qsize() == 5000
    assert q.get_many(10) == list(range(10))
    assert len(q.get_many(10_000)) == 4990
    with pytest.raises(queue.Empty):
        q.get_many(5, timeout=0.01)
    assert q.get_many(0) == []


def test_a_batch_larger_than_the_queue_goes_in_parts(cluster, in_thread):
    q = cluster.Queue(maxsize=3)
    put = in_thread(lambda: q.put_many(range(10)))
    taken: list[int] = []
    while len(taken) < 10:
        taken += q.get_many(3, timeout=5)
    put()
    assert taken == list(range(10))


def test_put_many_says_how_many_were_put(cluster):
    q = cluster.Queue(maxsize=4)
    with pytest.raises(queue.Full) as caught:
        q.put_many(range(10), timeout=0.02)
    assert caught.value.fields["put"] == q.qsize()  # type: ignore[attr-defined]  # our Full


def test_clear(cluster):
    q = cluster.Queue()
    q.put_many("abc")
    assert q.clear() == 3
    assert q.empty()
    assert q.join(timeout=0) is True


def test_shutdown(cluster):
    q = cluster.Queue()
    q.put("last")
    q.shutdown()
    with pytest.raises(mpclient.ShutDown, match="put"):
        q.put("no")
    assert q.get() == "last"
    with pytest.raises(mpclient.ShutDown, match="get"):
        q.get()


def test_shutdown_wakes_who_waits(cluster, in_thread):
    q = cluster.Queue()
    result = in_thread(q.get)
    wait_until(lambda: waiters(cluster, q) == 1)
    q.shutdown(immediate=True)
    with pytest.raises(mpclient.ShutDown):
        result()


class TestBuffered:
    def test_is_flushed_before_any_other_call(self, cluster):
        q = cluster.Queue(buffered=True)
        for number in range(100):
            q.put(number)
        assert q.qsize() == 100

    def test_is_flushed_without_any_other_call(self, server, cluster, unique):
        with server.connect() as producer:
            producer.Queue(name=unique, buffered=True).put("x")
            assert cluster.Queue(name=unique).get(timeout=10) == "x"

    def test_is_pickled_when_it_is_put(self, cluster):
        q, item = cluster.Queue(buffered=True), [1]
        q.put(item)
        item.append(2)
        assert q.get() == [1]

    def test_an_unused_one_is_freed(self, cluster):
        q = cluster.Queue(buffered=True)
        q.put(1)
        ident = q._handle.ident
        del q
        wait_until(lambda: ident not in {o["ident"] for o in cluster.status()["objects"]})

    def test_keeps_the_order(self, cluster):
        q = cluster.Queue(buffered=True)
        for number in range(20_000):
            q.put(number)
        q.flush()
        taken: list[int] = []
        while len(taken) < 20_000:
            taken += q.get_many(20_000)
        assert taken == list(range(20_000))

    def test_close_refuses_more_and_sends_the_rest(self, server, cluster, unique):
        q = cluster.Queue(name=unique, buffered=True)
        q.put(1)
        with pytest.raises(ValueError, match="not closed"):
            q.join_thread()
        q.close()
        q.join_thread()
        with pytest.raises(ValueError, match="is closed"):
            q.put(2)

    @pytest.mark.parametrize("awaited", [True, False])
    def test_the_end_of_the_program_waits_unless_told_not_to(self, server, cluster, unique, awaited):
        with server.connect() as producer:
            q = producer.Queue(name=unique, buffered=True)
            if not awaited:
                q.cancel_join_thread()
            with q._buffer._sending:  # so the feeder cannot send
                q.put(1)
                producer.close()
        assert cluster.Queue(name=unique).qsize() == awaited

    def test_what_need_not_be_awaited_is_sent_all_the_same(self, cluster):
        q = cluster.Queue(buffered=True)
        q.put(1)
        q.cancel_join_thread()
        assert q.get() == 1

    def test_needs_an_unbounded_queue(self, cluster):
        with pytest.raises(ValueError, match="maxsize"):
            cluster.Queue(5, buffered=True)

    def test_needs_an_unbounded_queue_by_name_too(self, cluster, unique):
        """Its puts would wait for room for ever, and with them every call of the program."""
        cluster.Queue(5, name=unique)
        with pytest.raises(mpclient.Conflict, match="maxsize=5"):
            cluster.Queue(name=unique, buffered=True)

    def test_an_error_reaches_the_next_put(self, cluster):
        q = cluster.Queue(buffered=True)
        q.shutdown()
        with pytest.raises(mpclient.ShutDown):
            q.put(1)
            q.flush()

    def test_is_sent_at_the_end_of_the_program(self, program, cluster, unique):
        q = cluster.Queue(name=unique)
        run = program("cluster.Queue(name=sys.argv[1], buffered=True).put_many(range(3))\n"
                      "cluster.Queue(name=sys.argv[1], buffered=True).put(3)\n", unique)  # fmt: skip
        run.finish()
        assert q.get_many(10) == [0, 1, 2, 3]
