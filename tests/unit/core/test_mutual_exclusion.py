"""What every kind that excludes must do: one suite for locks, semaphores of one permit, conditions."""

import pytest
from tests.unit.core.harness import World

from mpserve.core.t_condition import Condition
from mpserve.core.t_lock import Lock
from mpserve.core.t_rlock import RLock
from mpserve.core.t_semaphore import Semaphore
from mpshared.errors import BadType, MpserveError, NoSuchObject


def a_condition_on(kind):
    def make(world):
        return world.add(Condition, name="door", lock=world.add(kind).ident)

    return make


KINDS = {
    "lock": lambda world: world.add(Lock, name="door"),
    "rlock": lambda world: world.add(RLock, name="door"),
    "semaphore": lambda world: world.add(Semaphore, name="door", value=1),
    "bounded semaphore": lambda world: world.add(Semaphore, name="door", value=1, bounded=True),
    "condition on a lock": a_condition_on(Lock),
    "condition on an rlock": a_condition_on(RLock),
}


class Scene:
    """One object, two who use it."""

    def __init__(self, make):
        self.world = World()
        self.door = make(self.world)
        self.alice, self.bob = self.world.lane(), self.world.lane()

    def acquire(self, lane, timeout_s=None):
        return self.world.call(lane, self.door, "acquire", timeout_s)

    def release(self, lane):
        self.world.ask(lane, self.door, "release", *([1] if self.door.kind == "semaphore" else []))

    def taken(self, lane):
        """Take it for good: the answer has arrived."""
        assert self.world.ask(lane, self.door, "acquire", 0) is True

    def is_free(self):
        lane = self.world.lane()
        free = self.world.ask(lane, self.door, "acquire", 0)
        if free:
            self.release(lane)
        return free


@pytest.fixture(params=KINDS)
def scene(request):
    return Scene(KINDS[request.param])


def test_a_free_one_is_taken_at_once(scene):
    for timeout_s in (None, 0, 5):
        assert scene.acquire(scene.alice, timeout_s).result is True
        scene.release(scene.alice)
    assert scene.is_free()


def test_who_does_not_wait_is_refused_at_once(scene):
    scene.taken(scene.alice)
    assert scene.acquire(scene.bob, 0).result is False
    assert scene.acquire(scene.bob, -3).result is False


def test_it_is_handed_over(scene):
    scene.taken(scene.alice)
    waiting = scene.acquire(scene.bob)
    assert waiting.waiter is not None
    scene.release(scene.alice)
    assert waiting.result is True
    assert not scene.is_free()


def test_nobody_overtakes(scene):
    scene.taken(scene.alice)
    lanes = [scene.world.lane() for _ in range(5)]
    calls = [scene.acquire(lane) for lane in lanes]
    for position, holder in enumerate((scene.alice, *lanes[:-1])):
        scene.release(holder)
        assert [call.answered for call in calls].count(True) == position + 1
        assert calls[position].result is True
        assert not scene.is_free()


def test_the_time_is_up(scene):
    scene.taken(scene.alice)
    waiting = scene.acquire(scene.bob, 5)
    scene.world.advance(4.9)
    assert not waiting.answered
    scene.world.advance(0.2)
    assert waiting.result is False
    scene.release(scene.alice)
    assert scene.is_free()


def test_who_got_it_in_time_is_not_told_otherwise_later(scene):
    scene.taken(scene.alice)
    waiting = scene.acquire(scene.bob, 5)
    scene.release(scene.alice)
    scene.world.advance(10)
    assert waiting.result is True


def test_the_death_of_the_holder_hands_it_on(scene):
    scene.taken(scene.alice)
    waiting = scene.acquire(scene.bob)
    scene.world.end_session(scene.alice.session)
    assert waiting.result is True


def test_the_death_of_the_holder_frees_it(scene):
    scene.taken(scene.alice)
    scene.world.end_session(scene.alice.session)
    assert scene.is_free()


def test_a_dead_waiter_does_not_swallow_it(scene):
    scene.taken(scene.alice)
    dead, waiting = scene.acquire(scene.world.lane()), scene.acquire(scene.bob)
    scene.world.end_session(dead.session)
    scene.release(scene.alice)
    assert not dead.answered
    assert waiting.result is True


def test_holder_and_waiter_of_one_dead_session(scene):
    scene.taken(scene.alice)
    scene.acquire(scene.world.lane(scene.alice.session))
    waiting = scene.acquire(scene.bob)
    scene.world.end_session(scene.alice.session)
    assert waiting.result is True


def test_an_answer_that_never_arrived_is_taken_back(scene):
    never_arrived = scene.acquire(scene.alice)
    waiting = scene.acquire(scene.bob)
    scene.world.abandon(never_arrived)
    assert waiting.result is True


def test_a_handed_over_answer_that_never_arrived_is_taken_back(scene):
    scene.taken(scene.alice)
    waiting = scene.acquire(scene.bob)
    scene.release(scene.alice)
    scene.world.abandon(waiting)
    assert scene.is_free()


def test_a_refusal_that_never_arrived_takes_nothing_back(scene):
    scene.taken(scene.alice)
    scene.world.abandon(scene.acquire(scene.bob, 0))
    assert not scene.is_free()


def test_who_gives_up_leaves_the_line(scene):
    scene.taken(scene.alice)
    given_up = scene.acquire(scene.bob)
    scene.world.abandon(given_up)
    scene.release(scene.alice)
    assert not given_up.answered
    assert scene.is_free()


def test_a_suspended_waiter_is_skipped_and_keeps_its_place(scene):
    scene.taken(scene.alice)
    away, here = scene.acquire(scene.world.lane()), scene.acquire(scene.bob)
    scene.world.suspend(away.lane)
    scene.release(scene.alice)
    assert here.result is True
    scene.world.resume(away.lane)
    assert not away.answered
    late = scene.acquire(scene.world.lane())
    scene.release(scene.bob)
    assert away.result is True
    assert not late.answered


def test_who_comes_back_gets_what_became_free_meanwhile(scene):
    scene.taken(scene.alice)
    away = scene.acquire(scene.bob)
    scene.world.suspend(scene.bob)
    scene.release(scene.alice)
    assert not away.answered
    scene.world.resume(scene.bob)
    assert away.result is True


def test_who_comes_back_too_late_waits_on(scene):
    scene.taken(scene.alice)
    away = scene.acquire(scene.bob)
    scene.world.suspend(scene.bob)
    scene.release(scene.alice)
    scene.taken(scene.alice)
    scene.world.resume(scene.bob)
    assert not away.answered
    scene.release(scene.alice)
    assert away.result is True


def test_time_runs_while_suspended(scene):
    scene.taken(scene.alice)
    away = scene.acquire(scene.bob, 5)
    scene.world.suspend(scene.bob)
    scene.release(scene.alice)
    scene.world.advance(6)
    assert away.result is False


def test_a_suspended_holder_holds_on(scene):
    scene.taken(scene.alice)
    scene.world.suspend(scene.alice)
    assert not scene.is_free()


def test_a_restart_keeps_the_holder(scene):
    scene.taken(scene.alice)
    waiting = scene.acquire(scene.bob)
    scene.world.restart()
    scene.door = scene.world.rebuilt(scene.door)
    again = scene.world.resend(waiting)
    assert again.waiter is not None
    scene.release(scene.alice)
    assert again.result is True


def test_a_restart_keeps_what_a_dead_session_owes(scene):
    scene.taken(scene.alice)
    scene.world.restart()
    scene.door = scene.world.rebuilt(scene.door)
    scene.world.end_session(scene.alice.session)
    assert scene.is_free()


def test_the_deleted_tells_who_waits(scene):
    scene.taken(scene.alice)
    waiting = scene.acquire(scene.bob)
    if scene.door.kind == "condition":  # the line is the lock's, which lives on
        scene.door = scene.door.lock
    scene.world.delete(scene.door)
    with pytest.raises(NoSuchObject, match="was deleted"):
        scene.world.arrived(waiting)


def test_a_timeout_is_a_number_or_none(scene):
    with pytest.raises(BadType, match="expected seconds"):
        scene.world.ask(scene.alice, scene.door, "acquire", "soon")
    assert scene.is_free()


def test_statistics_are_plain(scene):
    scene.taken(scene.alice)
    scene.acquire(scene.bob)
    statistics = scene.door.statistics()
    assert 1 in {statistics["waiters"], statistics.get("acquirers")}
    assert all(isinstance(v, int | str | tuple | dict) for v in statistics.values())


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"semaphore"}))  # that one may be released at any time
def test_a_release_too_many_is_refused_and_says_of_what(kind):
    scene = Scene(KINDS[kind])
    with pytest.raises(MpserveError, match="'door'"):
        scene.release(scene.alice)
    assert scene.is_free()
