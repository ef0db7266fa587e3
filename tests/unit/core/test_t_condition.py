"""Condition: waiting and notifying, time, levels, settings."""

import pytest
from tests.unit.core.harness import World
from tests.unit.core.news import Scene

from mpserve.core.t_condition import Condition
from mpserve.core.t_event import Event
from mpserve.core.t_lock import Lock
from mpserve.core.t_rlock import RLock
from mpshared.errors import BadType, Conflict, NoSuchObject, NotHeld


@pytest.fixture(params=[Lock, RLock])
def scene(request):
    return Scene(request.param)


@pytest.fixture
def deep():
    return Scene(RLock)


# -- waiting and notifying ---------------------------------------------------------------------------


def test_to_wait_gives_the_lock_up(scene):
    call = scene.waiting()
    assert not call.answered
    assert scene.lock.holder is None


def test_to_wait_hands_the_lock_to_the_next_in_line(scene):
    alice = scene.lane()
    scene.enter(alice)
    acquiring = scene.world.call(scene.lane(), scene.lock, "acquire", None)
    scene.world.call(alice, scene.condition, "wait", None)
    assert acquiring.result is True


def test_the_notified_is_answered_when_it_holds_the_lock_again(scene):
    call = scene.waiting()
    alice = scene.lane()
    scene.enter(alice)
    scene.ask(alice, "notify", 1)
    assert not call.answered
    scene.leave(alice)
    assert call.result is True
    assert scene.holds(call)


def test_notify_wakes_so_many_in_order(scene):
    calls = [scene.waiting() for _ in range(4)]
    scene.notify(2)
    for call in calls[:2]:
        assert scene.world.arrived(call) is True
        scene.leave(call.lane)
    assert not any(call.answered for call in calls[2:])
    assert scene.lock.holder is None


def test_notify_all(scene):
    calls = [scene.waiting() for _ in range(3)]
    alice = scene.lane()
    scene.enter(alice)
    scene.ask(alice, "notify_all")
    scene.leave(alice)
    for call in calls:
        assert scene.world.arrived(call) is True
        scene.leave(call.lane)


def test_a_notify_that_nobody_waits_for_is_gone(scene):
    scene.notify()
    assert not scene.waiting().answered


def test_notify_none(scene):
    call = scene.waiting()
    scene.notify(0)
    assert not call.answered


def test_the_woken_stand_in_the_line_of_the_lock(scene):
    call = scene.waiting()
    alice = scene.lane()
    scene.enter(alice)
    before = scene.world.call(scene.lane(), scene.condition, "acquire", None)
    scene.ask(alice, "notify", 1)
    after = scene.world.call(scene.lane(), scene.lock, "acquire", None)
    scene.leave(alice)
    assert [c.answered for c in (before, call, after)] == [True, False, False]
    scene.leave(before.lane)
    assert [c.answered for c in (before, call, after)] == [True, True, False]


@pytest.mark.parametrize(("method", "args"), [("wait", [None]), ("notify", [1]), ("notify_all", [])])
def test_only_with_the_lock(scene, method, args):
    with pytest.raises(NotHeld, match="un-acquired lock: condition 'news' is held by nobody"):
        scene.ask(scene.lane(), method, *args)
    scene.enter(scene.lane())
    with pytest.raises(RuntimeError, match="held by thread 1 of session"):
        scene.ask(scene.lane(), method, *args)


def test_a_release_too_many_names_both(scene):
    with pytest.raises(NotHeld, match="'door'.*it is the lock of condition 'news'"):
        scene.leave(scene.lane())


def test_all_threads_of_a_session_share_a_plain_lock():
    scene = Scene(Lock)
    alice = scene.lane()
    scene.enter(alice)
    scene.ask(scene.lane(alice.session), "notify", 1)


def test_a_thread_shares_no_rlock(deep):
    alice = deep.lane()
    deep.enter(alice)
    with pytest.raises(NotHeld):
        deep.ask(deep.lane(alice.session), "notify", 1)


# -- time --------------------------------------------------------------------------------------------


def test_whose_time_is_up_holds_the_lock(scene):
    call = scene.waiting(5)
    scene.world.advance(5)
    assert call.result is False
    assert scene.holds(call)


def test_whose_time_is_up_waits_for_the_lock_as_long_as_it_takes(scene):
    call = scene.waiting(5)
    alice = scene.lane()
    scene.enter(alice)
    scene.world.advance(100)
    assert not call.answered
    scene.ask(alice, "notify", 1)  # too late for it
    scene.leave(alice)
    assert call.result is False


def test_who_was_notified_in_time_is_told_so_however_late(scene):
    call = scene.waiting(5)
    alice = scene.lane()
    scene.enter(alice)
    scene.ask(alice, "notify", 1)
    scene.world.advance(100)
    scene.leave(alice)
    assert call.result is True


def test_no_time_at_all_lets_the_others_in_first(scene):
    alice = scene.lane()
    scene.enter(alice)
    acquiring = scene.world.call(scene.lane(), scene.condition, "acquire", None)
    call = scene.world.call(alice, scene.condition, "wait", 0)
    assert acquiring.result is True
    assert not call.answered
    scene.leave(acquiring.lane)
    assert call.result is False
    assert scene.holds(call)


def test_no_time_and_nobody_there(scene):
    alice = scene.lane()
    scene.enter(alice)
    assert scene.ask(alice, "wait", 0) is False
    scene.leave(alice)


# -- levels of an RLock ------------------------------------------------------------------------------


def test_all_levels_are_given_up_and_come_back(deep):
    call = deep.waiting(levels=3)
    assert deep.lock.holder is None
    deep.notify()
    assert call.result is True
    assert deep.lock.levels == 3
    for _ in range(3):
        deep.world.arrived(call)
        deep.leave(call.lane)
    assert deep.lock.holder is None


# -- settings and the end ----------------------------------------------------------------------------


def test_it_stands_on_a_lock():
    world = World()
    event = world.add(Event, name="go")
    with pytest.raises(Conflict, match="event 'go' is neither"):
        world.add(Condition, lock=event.ident)


@pytest.mark.parametrize(("lock", "error"), [("nowhere", NoSuchObject), (7, BadType), (None, BadType)])
def test_a_lock_that_is_none(lock, error):
    with pytest.raises(error):
        World().add(Condition, name="news", lock=lock)


def test_the_deleted_tells_who_waits_and_who_was_woken(scene):
    woken, waits = scene.waiting(), scene.waiting()
    alice = scene.lane()
    scene.enter(alice)
    scene.ask(alice, "notify", 1)
    scene.world.delete(scene.condition)
    for call in (woken, waits):
        with pytest.raises(NoSuchObject, match="condition 'news' was deleted"):
            scene.world.arrived(call)
    scene.world.ask(alice, scene.lock, "release")
    assert scene.lock.holder is None


def test_the_deleted_lock_tells_who_was_woken(scene):
    woken = scene.waiting()
    alice = scene.lane()
    scene.enter(alice)
    scene.ask(alice, "notify", 1)
    scene.world.delete(scene.lock)
    with pytest.raises(NoSuchObject, match="'door' was deleted"):
        scene.world.arrived(woken)
    assert not scene.condition.woken


def test_statistics(scene):
    scene.waiting()
    call = scene.waiting()
    alice = scene.lane()
    scene.enter(alice)
    scene.ask(alice, "notify", 1)
    assert scene.condition.statistics() == {
        "lock": scene.lock.label,
        "holder": (alice.session.id, 1),
        "abandoned": False,
        "acquirers": 1,
        "waiters": 1,
        "woken": 1,
    }
    assert not call.answered
    assert scene.ask(scene.lane(), "locked") is True
