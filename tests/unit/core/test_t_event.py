"""Event: set, clear, and who waits."""

import pytest

from mpserve.core.t_event import Event
from mpshared.errors import NoSuchObject


@pytest.fixture
def event(world):
    return world.add(Event, name="go")


def test_it_begins_clear(world, event):
    assert world.ask(world.lane(), event, "is_set") is False
    assert world.ask(world.lane(), event, "wait", 0) is False


def test_set_wakes_everybody(world, event):
    calls = [world.call(world.lane(), event, "wait", timeout_s) for timeout_s in (None, 5, None)]
    world.ask(world.lane(), event, "set")
    assert [call.result for call in calls] == [True, True, True]
    assert world.ask(world.lane(), event, "wait", None) is True


def test_who_waits_alone_waits_in_vain(world, event):
    call = world.call(world.lane(), event, "wait", 5)
    world.advance(5)
    assert call.result is False


def test_set_and_clear_at_once_reach_who_waits(world, event):
    call = world.call(world.lane(), event, "wait", None)
    alice = world.lane()
    world.ask(alice, event, "set")
    world.ask(alice, event, "clear")
    assert call.result is True
    assert world.ask(alice, event, "is_set") is False


def test_twice_is_once(world, event):
    alice = world.lane()
    for method, flag in (("set", True), ("set", True), ("clear", False), ("clear", False)):
        world.ask(alice, event, method)
        assert event.flag is flag
    assert len(world.records) == 2


def test_a_suspended_waiter_is_answered_too(world, event):
    bob = world.lane()
    call = world.call(bob, event, "wait", None)
    world.suspend(bob)
    alice = world.lane()
    world.ask(alice, event, "set")
    world.ask(alice, event, "clear")
    assert call.result is True


@pytest.mark.parametrize("leave", ["abandon", "die"])
def test_who_is_gone_is_not_answered(world, event, leave):
    call = world.call(world.lane(), event, "wait", None)
    if leave == "abandon":
        world.abandon(call)
    else:
        world.end_session(call.session)
    world.ask(world.lane(), event, "set")
    assert not call.answered


def test_the_deleted_tells_who_waits(world, event):
    call = world.call(world.lane(), event, "wait", None)
    world.delete(event)
    with pytest.raises(NoSuchObject, match="event 'go' was deleted"):
        world.arrived(call)


def test_the_flag_survives_a_restart(world, event):
    world.ask(world.lane(), event, "set")
    world.restart()
    assert world.ask(world.lane(), world.rebuilt(event), "wait", None) is True


def test_statistics(world, event):
    world.call(world.lane(), event, "wait", None)
    assert event.statistics() == {"set": False, "waiters": 1}
