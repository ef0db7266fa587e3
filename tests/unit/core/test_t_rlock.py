"""RLock: levels, and threads; more in `test_mutual_exclusion`."""

import pytest

from mpserve.core.t_rlock import RLock
from mpshared.errors import NotHeld


@pytest.fixture
def lock(world):
    return world.add(RLock, name="door")


def take(world, lock, lane, levels=1):
    for _ in range(levels):
        assert world.ask(lane, lock, "acquire", 0) is True


def test_its_holder_takes_it_again_and_releases_as_often(world, lock):
    alice = world.lane()
    take(world, lock, alice, 3)
    waiting = world.call(world.lane(), lock, "acquire", None)
    for _ in range(2):
        world.ask(alice, lock, "release")
        assert not waiting.answered
    world.ask(alice, lock, "release")
    assert waiting.result is True
    assert lock.levels == 1


def test_only_its_holder_may_release_it(world, lock):
    alice, bob = world.lane(), world.lane()
    take(world, lock, alice)
    with pytest.raises(NotHeld, match=f"rlock 'door' is held by thread 1 of session {alice.session.id}"):
        world.ask(bob, lock, "release")
    assert lock.holder == (alice.session.id, 1)


def test_another_thread_of_the_same_session_is_not_its_holder(world, lock):
    alice = world.lane()
    take(world, lock, alice)
    other = world.lane(alice.session)
    assert world.ask(other, lock, "acquire", 0) is False
    with pytest.raises(NotHeld):
        world.ask(other, lock, "release")


def test_releasing_a_free_one_is_what_threading_calls_an_error(world, lock):
    with pytest.raises(NotHeld, match="cannot release un-acquired lock") as caught:
        world.ask(world.lane(), lock, "release")
    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize("end", ["lane", "session"])
@pytest.mark.parametrize("role", ["program", "stock"])
def test_all_levels_are_freed_when_its_thread_or_session_ends(world, lock, end, role):
    alice = world.lane(role=role)
    take(world, lock, alice, 3)
    waiting = world.call(world.lane(), lock, "acquire", None)
    if end == "lane":
        world.end_lane(alice)
    else:
        world.end_session(alice.session)
    assert waiting.result is True


def test_the_end_of_another_thread_frees_nothing(world, lock):
    alice = world.lane()
    other = world.lane(alice.session)
    take(world, lock, alice, 2)
    world.end_lane(other)
    assert lock.levels == 2


def test_an_answer_that_never_arrived_takes_back_one_level(world, lock):
    alice = world.lane()
    take(world, lock, alice, 2)
    world.abandon(world.call(alice, lock, "acquire", None))
    assert lock.levels == 2


def test_the_levels_survive_a_restart(world, lock):
    alice = world.lane()
    take(world, lock, alice, 2)
    world.restart()
    lock = world.rebuilt(lock)
    world.ask(alice, lock, "release")
    assert lock.holder == (alice.session.id, 1)
    world.ask(alice, lock, "release")
    assert lock.holder is None


def test_locked(world, lock):
    alice = world.lane()
    take(world, lock, alice)
    assert world.ask(world.lane(), lock, "locked") is True
    world.ask(alice, lock, "release")
    assert world.ask(world.lane(), lock, "locked") is False
