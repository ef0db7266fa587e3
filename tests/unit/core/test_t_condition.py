"""Condition: waiting and notifying, and what becomes of both when somebody is gone."""

import pytest
from tests.unit.core.harness import World

from mpserve.core.t_condition import Condition
from mpserve.core.t_event import Event
from mpserve.core.t_lock import Lock
from mpserve.core.t_rlock import RLock
from mpshared.errors import BadType, Conflict, NoSuchObject, NotHeld


class Scene:
    """A condition, and lanes that come to wait for it."""

    def __init__(self, lock_kind):
        self.world = World()
        self.lock = self.world.add(lock_kind, name="door")
        self.condition = self.world.add(Condition, name="news", lock=self.lock.ident)

    def lane(self, session=None, role="program"):
        return self.world.lane(session, role)

    def ask(self, lane, method, *args):
        return self.world.ask(lane, self.condition, method, *args)

    def enter(self, lane, levels=1):
        for _ in range(levels):
            assert self.ask(lane, "acquire", 0) is True

    def leave(self, lane):
        self.ask(lane, "release")

    def waiting(self, timeout_s=None, levels=1, lane=None):
        """Let a lane, of a new session unless given, acquire and wait."""
        lane = lane or self.lane()
        self.enter(lane, levels)
        return self.world.call(lane, self.condition, "wait", timeout_s)

    def notify(self, n=1):
        """Let somebody new notify, and go."""
        lane = self.lane()
        self.enter(lane)
        self.ask(lane, "notify", n)
        self.leave(lane)

    def holds(self, call):
        return self.lock.holder == (call.session.id, call.lane.number)

    def restart(self):
        self.world.restart()
        self.lock = self.world.rebuilt(self.lock)
        self.condition = self.world.rebuilt(self.condition)


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
