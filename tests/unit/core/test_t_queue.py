"""Putting and getting: orders, room, timeouts, joining, shutting down."""

import pickle
import queue

import pytest

from mpserve.core.t_queue import Queue
from mpshared.errors import (
    AlreadyReleased,
    BadType,
    BadValue,
    Empty,
    Full,
    NoSuchObject,
    ShutDown,
)
from mpshared.values import NONE, Value


def put(world, lane, q, *values):
    world.ask(lane, q, "put_many", 0, blobs=[pickle.dumps(value) for value in values])


def get(world, lane, q, n=1):
    return [pickle.loads(world.out(lane, q, "get", 0, False)[0]) for _ in range(n)]


# -- waiting to get ----------------------------------------------------------------------------------


def test_empty_at_once_and_after_a_while(world, lane):
    q = world.add(Queue, name="jobs")
    with pytest.raises(Empty, match="queue 'jobs' is empty"):
        world.ask(lane, q, "get", 0, False)
    waiting = world.call(lane, q, "get", 5, False)
    world.advance(4.9)
    assert not waiting.answered
    world.advance(0.2)
    assert isinstance(waiting.error, queue.Empty)


def test_items_go_to_who_waited_longest(world, lane):
    q = world.add(Queue)
    calls = [world.call(world.lane(), q, "get", None, False) for _ in range(3)]
    put(world, lane, q, 1, 2)
    assert [call.answered for call in calls] == [True, True, False]
    assert [pickle.loads(call.out[0]) for call in calls[:2]] == [1, 2]


def verbs_since(world, count):
    return [verb for _, verb, _ in world.records[count:]]


@pytest.mark.parametrize(("lease", "verb"), [(False, "passed"), (True, "assigned")])
def test_a_single_item_goes_to_who_waits_in_one_change_and_has_its_place(world, lane, lease, verb):
    q = world.add(Queue)
    put(world, lane, q, 1)
    get(world, lane, q)
    before = len(world.records)
    waiting = world.call(world.lane(), q, "get", None, lease)
    put(world, lane, q, 2)
    assert verbs_since(world, before) == [verb]
    assert pickle.loads(waiting.out[0]) == 2
    put(world, lane, q, 3)
    world.abandon(waiting)
    assert get(world, lane, q, 2) == [2, 3]


@pytest.mark.parametrize(
    ("settings", "blobs"),
    [
        ({"maxsize": 2}, [b"plain"]),
        ({}, [b"one", b"another"]),
        ({}, [Value(0, b"needs memory", (bytes(9),), ())]),
    ],
)
def test_what_needs_a_second_look_is_stored_first(world, lane, settings, blobs):
    q = world.add(Queue, **settings)
    before = len(world.records)
    waiting = world.call(world.lane(), q, "get", None, False)
    world.ask(lane, q, "put_many", None, blobs=blobs)
    assert verbs_since(world, before) == ["put", "take"]
    assert waiting.out == blobs[:1]


def test_results_go_to_who_waits_and_are_held_by_the_worker_s_call_no_more(world, lane):
    tasks, results = world.add(Queue), world.add(Queue, name="results")
    worker = world.lane(role="worker")
    put(world, lane, tasks, 1)
    world.ask(worker, tasks, "exchange", results.ident, [], 1, None, None)
    waiting = world.call(lane, results, "get", None, False)
    before = len(world.records)
    wish = world.call(worker, tasks, "exchange", results.ident, [[1, 1]], 1, None, None, blobs=[b"done"])
    assert verbs_since(world, before) == ["passed", "ack"]
    assert waiting.out == [b"done"]
    assert wish.waiter is not None
    assert not wish.blobs


def test_a_suspended_getter_keeps_its_place_and_is_skipped(world, lane):
    q = world.add(Queue)
    sleeper, awake, late = world.lane(), world.lane(), world.lane()
    calls = [world.call(who, q, "get", None, False) for who in (sleeper, awake, late)]
    world.suspend(sleeper)
    put(world, lane, q, 1)
    assert calls[1].answered
    world.resume(sleeper)
    put(world, lane, q, 2)
    assert calls[0].answered
    assert not calls[2].answered


def test_a_suspended_getter_is_served_when_it_is_back(world, lane):
    q = world.add(Queue)
    sleeper = world.lane()
    call = world.call(sleeper, q, "get", None, False)
    world.suspend(sleeper)
    put(world, lane, q, 1)
    assert not call.answered
    world.resume(sleeper)
    assert call.answered


def test_a_dead_waiter_swallows_nothing(world, lane):
    q = world.add(Queue)
    dying, living = world.lane(), world.lane()
    world.call(dying, q, "get", None, False)
    call = world.call(living, q, "get", None, False)
    world.end_session(dying.session)
    put(world, lane, q, 1)
    assert call.answered


def test_get_many_waits_for_one_and_takes_what_is_there(world, lane):
    q = world.add(Queue)
    getter = world.lane()
    call = world.call(getter, q, "get_many", 3, None, False)
    put(world, lane, q, 1)
    assert len(call.out) == 1
    put(world, lane, q, 2, None, 3, 4)
    assert len(world.out(getter, q, "get_many", 3, 0, False)) == 3  # None is a value like any other here
    assert world.out(getter, q, "get_many", 0, None, False) == []


# -- room --------------------------------------------------------------------------------------------


def test_put_waits_for_room_and_gives_up(world, lane):
    q = world.add(Queue, name="small", maxsize=2)
    put(world, lane, q, 1, 2)
    assert world.ask(lane, q, "full") is True
    with pytest.raises(Full, match="no room for 1 more in queue 'small': 2 of 2"):
        put(world, lane, q, 3)
    waiting = world.call(world.lane(), q, "put", 1, blobs=[pickle.dumps(3)])
    world.advance(1)
    assert isinstance(waiting.error, queue.Full)
    waiting = world.call(world.lane(), q, "put", 9, blobs=[pickle.dumps(4)])
    assert get(world, lane, q, 3) == [1, 2, 4]
    assert waiting.answered
    assert world.ask(lane, q, "full") is False


def test_a_batch_enters_whole_and_in_turn(world, lane):
    q = world.add(Queue, maxsize=3)
    put(world, lane, q, 1, 2)
    large = world.call(world.lane(), q, "put_many", 5, blobs=[NONE] * 2)
    small = world.call(world.lane(), q, "put", None, blobs=[NONE])
    assert not small.answered  # there would be room, but others came first
    world.advance(5)
    assert isinstance(large.error, Full)
    assert small.answered


def test_a_batch_that_never_fits(world, lane):
    q = world.add(Queue, maxsize=3)
    with pytest.raises(BadValue, match="a batch of 4 can never fit .* split it"):
        put(world, lane, q, 1, 2, 3, 4)


def test_who_waits_for_room_and_dies_lets_others_by(world, lane):
    q = world.add(Queue, maxsize=3)
    put(world, lane, q, 1, 2)
    dying = world.lane()
    world.call(dying, q, "put_many", None, blobs=[NONE] * 2)
    small = world.call(world.lane(), q, "put", None, blobs=[NONE])
    world.end_session(dying.session)
    assert small.answered


def test_returned_items_may_exceed_the_size(world, lane):
    q = world.add(Queue, maxsize=1)
    put(world, lane, q, 1)
    taken = world.call(lane, q, "get", 0, False)
    put(world, world.lane(), q, 2)
    world.abandon(taken)
    assert world.ask(lane, q, "qsize") == 2
    assert get(world, lane, q, 2) == [1, 2]


def test_a_putter_whose_type_no_longer_fits_is_told(world, lane):
    q = world.add(Queue, order="priority", maxsize=1)
    put(world, lane, q, 1)
    waiting = world.call(world.lane(), q, "put", None, blobs=[pickle.dumps(2)])
    get(world, lane, q)
    assert waiting.answered
    late = world.call(world.lane(), q, "put", None, blobs=[pickle.dumps(3)])
    text = world.call(world.lane(), q, "put", 0, blobs=[pickle.dumps("a")])
    assert isinstance(text.error, BadType)
    assert not late.answered


# -- joining -----------------------------------------------------------------------------------------


def test_join_waits_for_the_last(world, lane):
    q = world.add(Queue)
    assert world.ask(lane, q, "join", None) is True
    put(world, lane, q, 1, 2)
    assert world.ask(lane, q, "join", 0) is False
    joiner = world.call(world.lane(), q, "join", None)
    impatient = world.call(world.lane(), q, "join", 1)
    get(world, lane, q, 2)
    world.ask(lane, q, "task_done", 1)
    world.advance(1)
    assert impatient.result is False
    assert not joiner.answered
    world.ask(lane, q, "task_done", 1)
    assert joiner.result is True
    assert world.ask(lane, q, "unfinished") == 0


def test_task_done_too_often(world, lane):
    q = world.add(Queue, name="jobs")
    put(world, lane, q, 1)
    with pytest.raises(AlreadyReleased, match="too many times on queue 'jobs': 1 items are unfinished"):
        world.ask(lane, q, "task_done", 2)
    world.ask(lane, q, "task_done", 1)
    with pytest.raises(ValueError, match="too many times"):
        world.ask(lane, q, "task_done", 1)


def test_clear_forgets_what_is_ready_and_frees_who_waits(world, lane):
    q = world.add(Queue, maxsize=2)
    put(world, lane, q, 1, 2)
    joiner = world.call(world.lane(), q, "join", None)
    assert world.ask(lane, q, "clear") == 2
    assert joiner.result is True
    assert world.ask(lane, q, "clear") == 0
    put(world, lane, q, 3)
    putter = world.call(world.lane(), q, "put_many", None, blobs=[NONE] * 2)
    world.ask(lane, q, "clear")
    assert putter.answered
    assert q.ready.size == 2


# -- shutting down -----------------------------------------------------------------------------------


def test_shutdown_ends_when_it_is_empty(world, lane):
    q = world.add(Queue, name="jobs")
    put(world, lane, q, 1)
    world.ask(lane, q, "shutdown", False)
    with pytest.raises(ShutDown, match="put to queue 'jobs', which was shut down"):
        put(world, lane, q, 2)
    assert get(world, lane, q) == [1]
    with pytest.raises(ShutDown):
        world.ask(lane, q, "get", None, False)


def test_shutdown_frees_everybody_who_waits(world, lane):
    q = world.add(Queue, maxsize=1)
    getters = [world.call(world.lane(), q, "get", None, False) for _ in range(2)]
    world.ask(lane, q, "shutdown", False)
    assert all(isinstance(call.error, ShutDown) for call in getters)
    other = world.add(Queue, maxsize=1)
    put(world, lane, other, 1)
    putter = world.call(world.lane(), other, "put", None, blobs=[NONE])
    world.ask(lane, other, "shutdown", False)
    assert isinstance(putter.error, ShutDown)
    assert get(world, lane, other) == [1]


def test_immediate_shutdown_forgets_what_is_ready(world, lane):
    q = world.add(Queue)
    put(world, lane, q, 1, 2)
    world.out(lane, q, "get", 0, True)
    joiner = world.call(world.lane(), q, "join", None)
    world.ask(lane, q, "shutdown", True)
    with pytest.raises(ShutDown):
        get(world, lane, q)
    assert not joiner.answered  # one is out
    world.ask(lane, q, "task_done", 1)
    assert joiner.result is True


def test_shutdown_twice_the_second_time_at_once(world, lane):
    q = world.add(Queue)
    put(world, lane, q, 1, 2)
    world.ask(lane, q, "shutdown", False)
    world.ask(lane, q, "shutdown", True)
    assert q.ready.size == 0
    world.ask(lane, q, "shutdown", False)


def test_what_returns_after_a_shutdown_is_still_handed_out(world, lane):
    q = world.add(Queue)
    put(world, lane, q, 1)
    taken = world.call(lane, q, "get", 0, False)
    other = world.lane()
    world.ask(other, q, "shutdown", False)
    world.abandon(taken)
    assert get(world, other, q) == [1]


# -- an answer that is lost --------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["fifo", "lifo", "priority"])
def test_an_abandoned_get_gives_the_item_its_old_place_back(world, lane, order):
    q = world.add(Queue, order=order)
    put(world, lane, q, 1, 2, 3, 4)
    other = world.lane()
    before = q.state()
    for method, args in (("get", (0, False)), ("get_many", (3, 0, False)), ("get", (0, True))):
        world.abandon(world.call(other, q, method, *args))
        assert q.state() == before


def test_an_abandoned_wait_takes_nothing(world, lane):
    q = world.add(Queue)
    world.abandon(world.call(lane, q, "get", None, False))
    put(world, lane, q, 1)
    assert q.ready.size == 1


def test_a_dead_getters_last_answer_returns_and_earlier_ones_do_not(world, lane):
    q = world.add(Queue)
    put(world, lane, q, 1, 2)
    dying = world.lane()
    assert get(world, dying, q) == [1]
    world.call(dying, q, "get", 0, False)
    waiting = world.call(world.lane(), q, "get", None, False)
    world.end_session(dying.session)
    assert pickle.loads(waiting.out[0]) == 2


def test_undo_after_the_queue_was_deleted_stores_nothing(world, lane):
    q = world.add(Queue)
    world.ask(lane, q, "put", 0, blobs=[Value(0, b"1", (), ("x",))])
    taken = world.call(lane, q, "get", 0, False)
    world.delete(q)
    world.abandon(taken)
    assert world.mentions["x"] == 0


def test_deleting_answers_everybody(world, lane):
    q = world.add(Queue, name="gone", maxsize=1)
    getter = world.call(world.lane(), q, "get", None, False)
    world.delete(q)
    assert isinstance(getter.error, NoSuchObject)
    assert "queue 'gone' was deleted" in str(getter.error)


def test_references_are_held_while_a_value_is_stored(world, lane):
    q = world.add(Queue)
    rich = Value(0, b"1", (), ("x",))
    world.ask(lane, q, "put_many", 0, blobs=[b"plain", rich, rich])
    assert world.mentions == {"x": 2}
    world.out(lane, q, "get_many", 2, 0, True)
    assert world.mentions == {"x": 2}
    world.ask(lane, q, "task_done", 2)
    assert world.mentions == {"x": 1}
    taken = world.call(lane, q, "get", 0, False)
    assert world.mentions == {"x": 0}
    world.abandon(taken)
    assert world.mentions == {"x": 1}
    world.ask(lane, q, "clear")
    assert world.mentions == {"x": 0}


def test_statistics(world, lane):
    q = world.add(Queue, maxsize=5)
    put(world, lane, q, 1, 2, 3)
    world.ask(lane, q, "get", 0, True)
    world.call(world.lane(), q, "join", None)
    assert q.statistics() == {
        "put": 3,
        "ready": 2,
        "leased": 1,
        "delayed": 0,
        "dead": 0,
        "unfinished": 3,
        "maxsize": 5,
        "getters": 0,
        "putters": 0,
        "joiners": 1,
        "shut_down": False,
    }


def test_a_restart_keeps_every_item_and_its_place(world, lane):
    q = world.add(Queue, order="lifo")
    put(world, lane, q, 1, 2, 3)
    world.ask(lane, q, "get", 0, True)
    before = q.state()
    world.restart()
    again = world.machines[q.ident]
    assert again.state() == before
    world.ask(lane, again, "task_done", 1)
    assert get(world, lane, again, 2) == [2, 1]
