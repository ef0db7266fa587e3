"""Lock: who may release it, and who does not lose it; more in `test_mutual_exclusion`."""

import pytest

from mpserve.core.t_lock import Lock
from mpshared.errors import Conflict, NotHeld


@pytest.fixture
def lock(world):
    return world.add(Lock, name="door")


def test_anybody_may_release_it(world, lock):
    world.ask(world.lane(), lock, "acquire", None)
    world.ask(world.lane(), lock, "release")
    assert lock.holder is None


def test_the_same_thread_may_not_take_it_twice(world, lock):
    alice = world.lane()
    world.ask(alice, lock, "acquire", None)
    assert world.ask(alice, lock, "acquire", 0) is False


def test_releasing_a_free_lock_is_what_threading_calls_an_error(world, lock):
    with pytest.raises(NotHeld, match="cannot release un-acquired lock.*nobody holds lock 'door'") as caught:
        world.ask(world.lane(), lock, "release")
    assert isinstance(caught.value, RuntimeError)


def test_locked(world, lock):
    alice = world.lane()
    assert world.ask(alice, lock, "locked") is False
    world.ask(alice, lock, "acquire", None)
    assert world.ask(alice, lock, "locked") is True


def test_it_outlives_the_thread_that_took_it(world, lock):
    alice = world.lane()
    world.ask(alice, lock, "acquire", None)
    world.end_lane(alice)
    assert lock.holder is not None
    world.end_session(alice.session)
    assert lock.holder is None


def test_a_stock_child_may_exit_holding_it_and_its_parent_release_it(world, lock):
    child, parent, waiter = world.lane(role="stock"), world.lane(role="stock"), world.lane()
    world.ask(child, lock, "acquire", None)
    waiting = world.call(waiter, lock, "acquire", None)
    world.end_session(child.session)
    assert not waiting.answered
    world.ask(parent, lock, "release")
    assert waiting.result is True


def test_what_a_stock_client_was_never_told_it_does_not_hold(world, lock):
    child = world.lane(role="stock")
    world.call(child, lock, "acquire", None)
    world.end_session(child.session)
    assert lock.holder is None


def test_to_give_up_late_takes_nothing_from_the_next_holder(world, lock):
    alice, bob = world.lane(), world.lane()
    given_up = world.call(alice, lock, "acquire", None)
    world.ask(bob, lock, "release")
    world.ask(bob, lock, "acquire", None)
    world.abandon(given_up)
    assert lock.holder == (bob.session.id, bob.number)


def test_to_give_up_late_takes_nothing_that_was_taken_again(world, lock):
    alice = world.lane()
    given_up = world.call(alice, lock, "acquire", None)
    world.ask(world.lane(), lock, "release")
    world.ask(alice, lock, "acquire", None)
    world.abandon(given_up)
    assert lock.holder == (alice.session.id, alice.number)


def test_each_holder_has_a_greater_fence(world, lock):
    fences = []
    for _ in range(3):
        alice = world.lane()
        world.ask(alice, lock, "acquire", None)
        fences.append(lock.statistics()["fence"])
        world.ask(alice, lock, "release")
    assert fences == sorted(set(fences))


def test_it_has_no_settings(world):
    with pytest.raises(Conflict, match="a lock has no setting 'colour'"):
        world.add(Lock, colour="red")
