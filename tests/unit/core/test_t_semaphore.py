"""Semaphore: permits, whose they are, and signals."""

import pytest

from mpserve.core.t_semaphore import MAX_VALUE, Semaphore
from mpshared.errors import AlreadyReleased, BadType, BadValue


def take(world, semaphore, lane, n=1):
    for _ in range(n):
        assert world.ask(lane, semaphore, "acquire", 0) is True


def test_as_many_as_it_has_permits(world):
    semaphore = world.add(Semaphore, value=3)
    alice = world.lane()
    take(world, semaphore, alice, 3)
    assert world.ask(alice, semaphore, "acquire", 0) is False


def test_one_release_of_many_serves_as_many_waiters_in_order(world):
    semaphore = world.add(Semaphore, value=2)
    alice = world.lane()
    take(world, semaphore, alice, 2)
    calls = [world.call(world.lane(), semaphore, "acquire", None) for _ in range(3)]
    world.ask(alice, semaphore, "release", 2)
    assert [call.answered for call in calls] == [True, True, False]


def test_get_value(world):
    semaphore = world.add(Semaphore, value=2)
    alice = world.lane()
    take(world, semaphore, alice)
    assert world.ask(alice, semaphore, "get_value") == 1


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"value": -1}, BadValue, "initial value must be >= 0"),
        ({"value": MAX_VALUE + 1}, BadValue, "initial value must be"),
        ({"value": "1"}, BadType, "whole number"),
        ({"value": True}, BadType, "whole number"),
        ({"bounded": 1}, BadType, "True or False"),
    ],
)
def test_impossible_settings(world, settings, error, match):
    with pytest.raises(error, match=match):
        world.add(Semaphore, name="gate", **settings)


def test_at_least_one_is_released(world):
    semaphore = world.add(Semaphore, value=1)
    with pytest.raises(BadValue, match="n must be one or more"):
        world.ask(world.lane(), semaphore, "release", 0)
    with pytest.raises(BadValue):
        world.ask(world.lane(), semaphore, "release", -1)


def test_a_bounded_one_is_not_released_beyond_its_beginning(world):
    semaphore = world.add(Semaphore, name="gate", value=2, bounded=True)
    alice = world.lane()
    take(world, semaphore, alice)
    with pytest.raises(AlreadyReleased, match="Semaphore released too many times.*'gate'"):
        world.ask(alice, semaphore, "release", 2)
    world.ask(alice, semaphore, "release", 1)
    with pytest.raises(ValueError, match="Semaphore released too many times"):
        world.ask(alice, semaphore, "release", 1)
    assert semaphore.value == 2


def test_there_is_a_greatest_value(world):
    semaphore = world.add(Semaphore, value=1)
    with pytest.raises(BadValue, match=f"{MAX_VALUE} are the most"):
        world.ask(world.lane(), semaphore, "release", MAX_VALUE)


def test_the_permits_of_a_dead_session_return(world):
    semaphore = world.add(Semaphore, value=3)
    alice, bob = world.lane(), world.lane()
    take(world, semaphore, alice, 2)
    take(world, semaphore, bob)
    calls = [world.call(world.lane(), semaphore, "acquire", None) for _ in range(3)]
    world.end_session(alice.session)
    assert [call.answered for call in calls] == [True, True, False]


def test_what_was_given_back_does_not_return_again(world):
    semaphore = world.add(Semaphore, value=2)
    alice = world.lane()
    take(world, semaphore, alice, 2)
    world.ask(alice, semaphore, "release", 1)
    world.end_session(alice.session)
    assert semaphore.value == 2


def test_a_thread_may_give_back_what_another_of_its_session_took(world):
    semaphore = world.add(Semaphore, value=1)
    alice = world.lane()
    take(world, semaphore, alice)
    world.ask(world.lane(alice.session), semaphore, "release", 1)
    assert not semaphore.signal
    assert semaphore.value == 1


def test_the_end_of_a_thread_returns_nothing(world):
    semaphore = world.add(Semaphore, value=1)
    alice = world.lane()
    take(world, semaphore, alice)
    world.end_lane(alice)
    assert semaphore.value == 0


def test_made_with_none_it_is_a_signal(world):
    semaphore = world.add(Semaphore, value=0)
    alice, bob = world.lane(), world.lane()
    waiting = world.call(alice, semaphore, "acquire", None)
    world.ask(bob, semaphore, "release", 1)
    assert world.arrived(waiting) is True
    world.end_session(alice.session)
    assert semaphore.value == 0


def test_released_by_somebody_else_it_becomes_a_signal(world):
    semaphore = world.add(Semaphore, value=1)
    alice, bob = world.lane(), world.lane()
    take(world, semaphore, alice)
    world.ask(bob, semaphore, "release", 1)
    world.end_session(alice.session)
    assert semaphore.value == 1


def test_more_released_than_one_has_makes_it_a_signal_too(world):
    semaphore = world.add(Semaphore, value=2)
    alice = world.lane()
    take(world, semaphore, alice)
    world.ask(alice, semaphore, "release", 2)
    assert semaphore.signal
    assert semaphore.value == 3


def test_a_signal_stays_one_through_a_restart(world):
    semaphore = world.add(Semaphore, value=1)
    alice = world.lane()
    take(world, semaphore, alice)
    world.ask(world.lane(), semaphore, "release", 1)
    world.restart()
    world.end_session(alice.session)
    assert world.rebuilt(semaphore).value == 1


def test_a_signal_that_never_arrived_is_counted_again(world):
    semaphore = world.add(Semaphore, value=0)
    alice = world.lane()
    waiting = world.call(alice, semaphore, "acquire", None)
    world.ask(world.lane(), semaphore, "release", 1)
    world.end_session(alice.session)
    assert waiting.answered
    assert semaphore.value == 1


def test_an_acquire_is_not_taken_back_once_its_permit_was_released(world):
    semaphore = world.add(Semaphore, value=1)
    alice = world.lane()
    never_arrived = world.call(alice, semaphore, "acquire", None)
    world.ask(world.lane(alice.session), semaphore, "release", 1)
    world.abandon(never_arrived)
    assert semaphore.value == 1


def test_stock_clients_share_their_permits(world):
    semaphore = world.add(Semaphore, value=2)
    child, parent = world.lane(role="stock"), world.lane(role="stock")
    take(world, semaphore, child, 2)
    world.end_session(child.session)
    assert semaphore.value == 0
    world.ask(parent, semaphore, "release", 2)
    assert semaphore.value == 2
    assert not semaphore.signal


def test_a_session_that_releases_what_stock_clients_took_makes_it_a_signal(world):
    semaphore = world.add(Semaphore, value=1)
    take(world, semaphore, world.lane(role="stock"))
    world.ask(world.lane(), semaphore, "release", 1)
    assert semaphore.signal


@pytest.mark.parametrize(("value", "free"), [(3, 2), (1, 0), (0, -1)])
def test_the_first_explicit_settings_are_adopted_around_what_is_taken(world, value, free):
    semaphore = world.add(Semaphore)
    alice = world.lane()
    take(world, semaphore, alice)
    for machine in (semaphore, world.shadows[semaphore.ident]):
        machine.settings["value"] = value
        machine.configure()
    world.check()
    assert semaphore.value == free
    assert world.ask(alice, semaphore, "get_value") == max(0, free)
    world.ask(alice, semaphore, "release", 1)
    assert semaphore.value == value


def test_statistics(world):
    semaphore = world.add(Semaphore, value=1)
    alice = world.lane()
    take(world, semaphore, alice)
    world.call(world.lane(), semaphore, "acquire", None)
    permits = {alice.session.id: 1}
    assert semaphore.statistics() == {"value": 0, "permits": permits, "signal": False, "waiters": 1}
