"""Queue: what a cancelled put leaves behind: nothing, or an item that somebody has."""

import pytest

from mpserve.core.t_queue import Queue

A, B = b"\x80\x05K\x01.", b"\x80\x05K\x02."


def put(world, lane, queue, blob=A, timeout_s=None):
    return world.call(lane, queue, "put_revocably", timeout_s, blobs=[blob])


@pytest.mark.parametrize("order", ["fifo", "lifo", "priority"])
def test_what_nobody_has_is_gone(world, lane, order):
    queue = world.add(Queue, order=order)
    world.ask(lane, queue, "put", None, blobs=[A])
    call = put(world, lane, queue, B)
    assert call.answered
    world.ask(world.lane(), queue, "put", None, blobs=[A])
    world.abandon(call)
    assert world.ask(lane, queue, "unfinished") == 2
    assert world.out(lane, queue, "get_many", 5, 0, False) == [A, A]


@pytest.mark.parametrize("lease", [False, True])
@pytest.mark.parametrize("waits", [False, True])
def test_what_somebody_has_is_his(world, lane, lease, waits):
    queue = world.add(Queue)
    getting = world.call(world.lane(), queue, "get", None, lease) if waits else None
    call = put(world, lane, queue)
    getting = getting or world.call(world.lane(), queue, "get", None, lease)
    world.abandon(call)
    assert list(getting.out) == [A]
    assert world.ask(lane, queue, "unfinished") == 1
    assert world.ask(lane, queue, "qsize") == 0


def test_what_somebody_had_stays(world, lane):
    queue = world.add(Queue)
    call = put(world, lane, queue)
    holder = world.lane()
    world.ask(holder, queue, "get", None, True)
    world.end_session(holder.session)
    world.abandon(call)
    assert world.ask(lane, queue, "qsize") == 1


def test_its_place_goes_to_who_waits_for_one(world, lane):
    queue = world.add(Queue, maxsize=1)
    call = put(world, lane, queue)
    waiting = put(world, world.lane(), queue, B)
    assert not waiting.answered
    world.abandon(call)
    assert waiting.answered
    assert world.out(lane, queue, "get", 0, False) == [B]


def test_who_waits_for_a_place_and_has_got_it(world, lane):
    queue = world.add(Queue, maxsize=1)
    world.ask(lane, queue, "put", None, blobs=[A])
    call = put(world, world.lane(), queue, B)
    assert world.out(lane, queue, "get", 0, False) == [A]
    assert call.answered
    world.abandon(call)
    assert world.ask(lane, queue, "qsize") == 0
    assert world.ask(lane, queue, "unfinished") == 1


def test_who_joins_waits_for_it_no_more(world, lane):
    queue = world.add(Queue)
    call = put(world, lane, queue)
    joining = world.call(world.lane(), queue, "join", None)
    world.abandon(call)
    assert joining.result is True
