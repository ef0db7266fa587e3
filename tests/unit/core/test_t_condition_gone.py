"""Condition: what becomes of waits and notifies when somebody is gone, suspended, or the server was away."""

import pytest
from tests.unit.core.news import Scene

from mpserve.core.t_lock import Lock
from mpserve.core.t_rlock import RLock
from mpshared.errors import NotHeld


@pytest.fixture(params=[Lock, RLock])
def scene(request):
    return Scene(request.param)


@pytest.fixture
def deep():
    return Scene(RLock)


# -- peers that are gone -----------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["abandon", "lane", "session"])
class TestGone:
    def go(self, scene, call, leave):
        match leave:
            case "abandon":
                scene.world.abandon(call)
            case "lane":
                scene.world.end_lane(call.lane)
            case "session":
                scene.world.end_session(call.session)

    def test_while_waiting(self, scene, leave):
        gone, call = scene.waiting(), scene.waiting()
        self.go(scene, gone, leave)
        scene.notify()
        assert call.result is True

    def test_notified_and_without_the_lock(self, scene, leave):
        gone, call = scene.waiting(), scene.waiting()
        alice = scene.lane()
        scene.enter(alice)
        scene.ask(alice, "notify", 1)
        self.go(scene, gone, leave)
        scene.leave(alice)
        assert not gone.answered
        assert call.result is True

    def test_notified_and_never_told(self, scene, leave):
        gone, call = scene.waiting(levels=1), scene.waiting()
        scene.notify()
        assert gone.result is True
        self.go(scene, gone, leave)
        assert call.result is True
        assert scene.holds(call)

    def test_out_of_time_and_without_the_lock(self, scene, leave):
        gone, call = scene.waiting(5), scene.waiting()
        alice = scene.lane()
        scene.enter(alice)
        scene.world.advance(5)
        self.go(scene, gone, leave)
        scene.leave(alice)
        assert not call.answered
        assert scene.lock.holder is None

    def test_out_of_time_and_never_told(self, scene, leave):
        gone, call = scene.waiting(5), scene.waiting()
        scene.world.advance(5)
        assert gone.result is False
        self.go(scene, gone, leave)
        assert not call.answered
        assert scene.lock.holder is None

    def test_in_line_for_the_lock_only(self, scene, leave):
        alice = scene.lane()
        scene.enter(alice)
        gone = scene.world.call(scene.lane(), scene.condition, "acquire", None)
        self.go(scene, gone, leave)
        scene.leave(alice)
        assert scene.lock.holder is None


def test_all_levels_are_freed_of_whom_was_never_told(deep):
    call = deep.waiting(levels=3)
    deep.notify()
    deep.world.abandon(call)
    assert deep.lock.holder is None


def test_the_told_keeps_the_notify_and_its_death_frees_the_lock(scene):
    told, call = scene.waiting(), scene.waiting()
    scene.notify()
    scene.world.arrived(told)
    scene.world.end_session(told.session)
    assert not call.answered
    assert scene.lock.holder is None


def test_two_waiters_of_one_dead_session_pass_the_notify_on(scene):
    first = scene.waiting()
    second = scene.waiting(lane=scene.lane(first.session))
    third = scene.waiting()
    alice = scene.lane()
    scene.enter(alice)
    scene.ask(alice, "notify", 1)
    scene.world.end_session(first.session)
    scene.leave(alice)
    assert not second.answered
    assert third.result is True


@pytest.mark.parametrize("end", ["lane", "session"])
@pytest.mark.parametrize("role", ["program", "stock"])
def test_who_took_it_through_the_condition_frees_it_by_its_end(scene, end, role):
    alice = scene.lane(role=role)
    scene.enter(alice)
    call = scene.world.call(scene.lane(), scene.condition, "acquire", None)
    if end == "lane":
        scene.world.end_lane(alice)
    else:
        scene.world.end_session(alice.session)
    assert call.result is True


def test_a_stock_waiter_may_die_in_either_phase(scene):
    first, second = scene.waiting(lane=scene.lane(role="stock")), scene.waiting(lane=scene.lane(role="stock"))
    last = scene.waiting()
    scene.world.end_session(first.session)
    scene.notify()
    assert second.answered
    scene.world.end_session(second.session)
    assert last.result is True


# -- interruptions -----------------------------------------------------------------------------------


def interrupted(scene, phase, levels=1):
    """A lane whose wait was taken back: while it waited, when it was woken, or after its answer."""
    call = scene.waiting(levels=levels)
    if phase == "woken":
        alice = scene.lane()
        scene.enter(alice)
        scene.ask(alice, "notify", 1)
        scene.world.abandon(call)
        scene.leave(alice)
    else:
        if phase == "answered":
            scene.notify()
        scene.world.abandon(call)
    return call.lane


PHASES = pytest.mark.parametrize("phase", ["waiting", "woken", "answered"])


@PHASES
def test_the_interrupted_holds_all_that_it_gave_up(deep, phase):
    lane = interrupted(deep, phase, levels=3)
    call = deep.world.call(lane, deep.condition, "hold_again")
    deep.world.arrived(call)
    assert deep.holds(call)
    assert deep.lock.levels == 3


def test_the_interrupted_waits_for_the_lock(scene):
    lane = interrupted(scene, "waiting")
    alice = scene.lane()
    scene.enter(alice)
    call = scene.world.call(lane, scene.condition, "hold_again")
    scene.ask(alice, "notify", 1)  # not for it
    assert not call.answered
    scene.leave(alice)
    assert scene.holds(call)


def test_who_never_held_the_lock_does_not_hold_it_again(scene):
    lane = scene.lane()
    scene.enter(scene.lane())
    waiting = scene.world.call(lane, scene.condition, "wait", None)
    assert isinstance(waiting.error, NotHeld)
    scene.world.abandon(waiting)
    assert scene.ask(lane, "hold_again") is None


@PHASES
def test_who_is_interrupted_again_may_hold_it_again(scene, phase):
    lane = interrupted(scene, phase)
    alice = scene.lane()
    scene.enter(alice)
    scene.world.abandon(scene.world.call(lane, scene.condition, "hold_again"))
    scene.leave(alice)
    scene.world.abandon(scene.world.call(lane, scene.condition, "hold_again"))
    assert scene.lock.holder is None
    assert scene.holds(scene.world.call(lane, scene.condition, "hold_again"))


@PHASES
def test_who_takes_the_lock_anew_is_not_interrupted_any_more(scene, phase):
    lane = interrupted(scene, phase)
    with pytest.raises(NotHeld):
        scene.ask(lane, "wait", None)
    scene.enter(lane)
    scene.leave(lane)
    scene.ask(lane, "hold_again")
    assert scene.lock.holder is None


@PHASES
@pytest.mark.parametrize("end", ["lane", "session"])
def test_nothing_is_left_of_the_interrupted(scene, phase, end):
    lane = interrupted(scene, phase)
    if end == "lane":
        scene.world.end_lane(lane)
    else:
        scene.world.end_session(lane.session)
    assert scene.condition.state() == ([], {})


@PHASES
def test_the_interrupted_may_hold_it_again_after_a_restart(deep, phase):
    lane = interrupted(deep, phase, levels=2)
    deep.restart()
    assert deep.holds(deep.world.call(lane, deep.condition, "hold_again"))
    assert deep.lock.levels == 2


def test_who_is_interrupted_while_the_server_is_away_passes_the_notify_on(scene):
    first, second = scene.waiting(), scene.waiting()
    scene.restart()
    again = scene.world.resend(second)
    scene.notify()
    call = scene.world.call(first.lane, scene.condition, "hold_again")
    assert again.result is True
    scene.leave(again.lane)
    assert scene.holds(call)


# -- suspended lanes ---------------------------------------------------------------------------------


def test_a_suspended_waiter_is_notified_and_waits_for_the_lock(scene):
    call = scene.waiting()
    scene.world.suspend(call.lane)
    scene.notify()
    assert not call.answered
    assert scene.lock.holder is None
    scene.world.resume(call.lane)
    assert call.result is True
    assert scene.holds(call)


def test_the_notify_of_a_suspended_waiter_that_expires_passes_on(scene):
    gone, call = scene.waiting(), scene.waiting()
    scene.world.suspend(gone.lane)
    scene.notify()
    assert not call.answered
    scene.world.end_lane(gone.lane)
    assert call.result is True


def test_a_suspended_waiter_whose_time_is_up(scene):
    call = scene.waiting(5)
    scene.world.suspend(call.lane)
    scene.world.advance(5)
    assert scene.lock.holder is None
    scene.world.resume(call.lane)
    assert call.result is False


# -- restarts ----------------------------------------------------------------------------------------


def test_who_waited_waits_on_after_a_restart(scene):
    call = scene.waiting(levels=1)
    scene.restart()
    again = scene.world.resend(call)
    assert again.waiter is not None
    scene.notify()
    assert again.result is True


def test_a_notify_reaches_who_is_not_back_yet(scene):
    call, next_one = scene.waiting(), scene.waiting()
    scene.restart()
    next_again = scene.world.resend(next_one)
    scene.notify()
    assert not next_again.answered
    assert scene.world.resend(call).result is True


def test_who_was_notified_before_the_restart_gets_its_answer_after(deep):
    call = deep.waiting(levels=2)
    alice = deep.lane()
    deep.enter(alice)
    deep.ask(alice, "notify", 1)
    deep.restart()
    again = deep.world.resend(call)
    assert not again.answered
    deep.leave(alice)
    assert again.result is True
    assert deep.lock.levels == 2


@pytest.mark.parametrize("end", ["lane", "session"])
def test_who_does_not_come_back_passes_the_notify_on(scene, end):
    gone, call = scene.waiting(), scene.waiting()
    scene.restart()
    again = scene.world.resend(call)
    scene.notify()
    if end == "lane":
        scene.world.end_lane(gone.lane)
    else:
        scene.world.end_session(gone.session)
    assert again.result is True


def test_who_gave_up_while_the_server_was_away_may_wait_anew(deep):
    given_up = deep.waiting(levels=2)
    deep.restart()
    call = deep.waiting(lane=given_up.lane)
    assert call.waiter is not None
    deep.notify()
    assert call.result is True
    assert deep.lock.levels == 1


def test_who_gave_up_while_the_server_was_away_and_takes_the_lock_again_is_not_notified(scene):
    given_up, call = scene.waiting(), scene.waiting()
    scene.restart()
    again = scene.world.resend(call)
    scene.enter(given_up.lane)
    scene.leave(given_up.lane)
    scene.notify()
    assert again.result is True


def test_who_was_notified_and_gave_up_while_the_server_was_away_passes_it_on(deep):
    given_up, call = deep.waiting(), deep.waiting()
    alice = deep.lane()
    deep.enter(alice)
    deep.ask(alice, "notify", 1)
    deep.restart()
    again = deep.world.resend(call)
    deep.leave(alice)
    anew = deep.waiting(lane=given_up.lane)
    assert again.result is True
    assert not anew.answered
