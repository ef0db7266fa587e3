"""Items that nobody gets before a time, or after one."""

import pytest

from mpserve.core.t_queue import Queue
from mpshared.errors import BadValue, Full, ShutDown


def later(world, lane, queue, blob, timeout_s=0, **terms):
    return world.call(lane, queue, "put_later", timeout_s, terms, blobs=[blob])


@pytest.mark.parametrize("order", ["fifo", "lifo", "priority"])
def test_an_item_is_got_when_it_is_due(world, lane, order):
    queue = world.add(Queue, order=order)
    later(world, lane, queue, b"K\x05.", delay_s=5)
    getter = world.call(world.lane(), queue, "get", None, False)
    world.ask(lane, queue, "put", None, blobs=[b"K\x01."])
    assert list(getter.out) == [b"K\x01."]
    waiting = world.call(getter.lane, queue, "get", None, True)
    assert queue.statistics()["delayed"] == 1
    world.advance(5)
    assert list(waiting.out) == [b"K\x05."]
    world.ask(waiting.lane, queue, "task_done", 2)
    assert queue.open_items == 0


def test_its_place_is_the_one_that_it_was_put_at(world, lane):
    queue = world.add(Queue)
    world.ask(lane, queue, "put", None, blobs=[b"1"])
    later(world, lane, queue, b"2", delay_s=5)
    world.ask(lane, queue, "put_many", None, blobs=[b"3", b"4"])
    world.advance(5)
    got = [world.out(lane, queue, "get", 0, False) for _ in range(4)]
    assert got == [[b"1"], [b"2"], [b"3"], [b"4"]]


def test_what_nobody_got_in_time_is_set_aside(world, lane):
    queue = world.add(Queue, name="letters")
    later(world, lane, queue, b"late", delay_s=9, expires_s=5)
    later(world, lane, queue, b"ready", expires_s=5)
    joiner = world.call(world.lane(), queue, "join", None)
    world.advance(5)
    reports = world.ask(lane, queue, "dead_list")
    assert [report["number"] for report in reports] == [1, 2]
    assert {report["reason"] for report in reports} == {"not taken within 5 s"}
    assert joiner.result is True
    assert world.ask(lane, queue, "dead_requeue", [2]) == 1
    assert world.out(lane, queue, "get", 0, False) == [b"ready"]
    world.advance(100)
    assert world.ask(lane, queue, "dead_drop", []) == 1


def test_it_takes_a_place_and_waits_for_one(world, lane):
    queue = world.add(Queue, maxsize=1)
    later(world, lane, queue, b"1", delay_s=5)
    assert world.ask(lane, queue, "full")
    with pytest.raises(Full, match="1 of 1 places"):
        world.arrived(later(world, lane, queue, b"2", delay_s=5))
    waiting = later(world, lane, queue, b"3", timeout_s=None, delay_s=5)
    world.advance(5)
    assert world.out(world.lane(), queue, "get", 0, False) == [b"1"]
    assert waiting.answered
    world.advance(4)
    assert queue.ready.size == 0
    world.advance(1)
    assert queue.ready.size == 1


def test_a_queue_that_is_shut_down_is_over_when_it_came(world, lane):
    queue = world.add(Queue)
    later(world, lane, queue, b"late", delay_s=5)
    world.ask(lane, queue, "shutdown", False)
    getters = [world.call(world.lane(), queue, "get", None, False) for _ in range(2)]
    assert not getters[0].answered
    world.advance(5)
    assert list(getters[0].out) == [b"late"]
    with pytest.raises(ShutDown):
        world.arrived(getters[1])


def test_clearing_forgets_it(world, lane):
    queue = world.add(Queue)
    later(world, lane, queue, b"late", delay_s=5)
    world.ask(lane, queue, "put", None, blobs=[b"now"])
    assert world.ask(lane, queue, "clear") == 2
    assert not len(world.fx.timers)


def test_other_terms_are_refused(world, lane):
    queue = world.add(Queue)
    with pytest.raises(BadValue, match="no other terms"):
        world.arrived(later(world, lane, queue, b"x", retries=3))
