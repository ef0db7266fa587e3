"""Lines of parked calls: order, deadlines, who is suspended, who comes back to its place."""

import pytest

from mpserve.core.calls import Call, Session, SessionInfo
from mpserve.core.effects import Effects
from mpserve.core.parking import ParkingLot
from mpshared.ops import BY_NAME


@pytest.fixture
def fx():
    return Effects()


@pytest.fixture
def lot():
    return ParkingLot()


def a_call(number=1):
    lane = Session(f"s{number}", SessionInfo()).lane(number)
    return Call(BY_NAME["lock.acquire"], "lock-0", [None], (), lane)


def say_late(fx, call):
    fx.reply(call, "late")


def advance(fx, now_s):
    fx.now_s = now_s
    for timer in fx.timers.due(now_s):
        timer.action(fx, *timer.args)


def park_some(fx, lot, n=3, timeout_s=None):
    calls = [a_call(number) for number in range(n)]
    for call in calls:
        lot.park(fx, call, timeout_s, say_late)
    return calls


def test_first_come_first_served(fx, lot):
    calls = park_some(fx, lot)
    assert [lot.unpark() for _ in calls] == calls
    assert lot.unpark() is None
    assert not any(call.waiter for call in calls)


def test_first_looks_and_does_not_take(fx, lot):
    calls = park_some(fx, lot)
    assert lot.first().call is calls[0]
    assert len(lot) == 3
    assert ParkingLot().first() is None


def test_a_suspended_waiter_is_skipped_and_keeps_its_place(fx, lot):
    calls = park_some(fx, lot)
    calls[0].lane.suspended = True
    assert lot.first().call is calls[1]
    assert lot.unpark() is calls[1]
    calls[0].lane.suspended = False
    assert lot.unpark() is calls[0]


def test_nobody_is_first_when_all_are_suspended(fx, lot):
    for call in park_some(fx, lot):
        call.lane.suspended = True
    assert lot.first() is None
    assert lot.unpark() is None
    assert len(lot) == 3


def test_who_is_forgotten_leaves_from_the_middle(fx, lot):
    calls = park_some(fx, lot)
    lot.forget(calls[1])
    assert list(lot) == [calls[0], calls[2]]
    assert calls[1].waiter is None


def test_to_forget_who_is_not_there_changes_nothing(fx, lot):
    calls = park_some(fx, lot)
    lot.forget(a_call(7))
    assert list(lot) == calls


def test_time_is_up(fx, lot):
    early, late = a_call(1), a_call(2)
    lot.park(fx, late, 5, say_late)
    lot.park(fx, early, 2, say_late)
    advance(fx, 2)
    assert fx.answered == [early]
    assert early.waiter is None
    assert list(lot) == [late]
    advance(fx, 5)
    assert fx.answered == [early, late]
    assert not len(lot)


def test_time_runs_for_the_suspended_too(fx, lot):
    (call,) = park_some(fx, lot, n=1, timeout_s=3)
    call.lane.suspended = True
    advance(fx, 3)
    assert call.answered


def test_no_timeout_waits_for_ever(fx, lot):
    park_some(fx, lot)
    assert fx.timers.next_s() is None
    advance(fx, 1e12)
    assert not fx.answered


@pytest.mark.parametrize("leave", ["unpark", "forget", "drain"])
def test_who_has_left_does_not_expire(fx, lot, leave):
    (call,) = park_some(fx, lot, n=1, timeout_s=3)
    getattr(lot, leave)(*([call] if leave == "forget" else []))
    advance(fx, 10)
    assert not fx.answered
    assert fx.timers.next_s() is None


def test_drain_takes_all_in_order(fx, lot):
    calls = park_some(fx, lot)
    calls[1].lane.suspended = True
    assert lot.drain() == calls
    assert not len(lot)
    assert not any(call.waiter for call in calls)


def test_repark_goes_to_the_end_and_its_time_stops(fx, lot):
    other = ParkingLot()
    (there,) = park_some(fx, other, n=1)
    first, second = park_some(fx, lot, n=2, timeout_s=3)
    lot.repark(first, other, say_late)
    assert list(lot) == [second]
    assert list(other) == [there, first]
    assert first.waiter.lot is other
    advance(fx, 10)
    assert fx.answered == [second]


def test_a_note_stays_with_its_waiter(fx, lot):
    call = a_call()
    lot.park(fx, call, None, say_late, note={"levels": 3})
    assert call.waiter.note == {"levels": 3}


def test_the_line_may_change_while_it_is_walked(fx, lot):
    for call in (calls := park_some(fx, lot)):
        assert call in list(lot)
    for call in lot:
        lot.forget(call)
    assert not any(call.waiter for call in calls)


def test_validate_finds_who_was_answered_and_still_waits(fx, lot):
    (call,) = park_some(fx, lot, n=1)
    lot.validate()
    fx.reply(call)
    with pytest.raises(AssertionError):
        lot.validate()


def test_validate_finds_who_does_not_know_that_it_waits(fx, lot):
    (call,) = park_some(fx, lot, n=1)
    call.waiter = None
    with pytest.raises(AssertionError):
        lot.validate()


# -- places of before a restart -------------------------------------------------------------------


@pytest.fixture
def keeps(fx):
    fx.parked = {}
    return fx


def come_back(fx, lot, place, number=1):
    call = a_call(number)
    call.number = 5
    call.lane.place = (5, place)
    lot.park(fx, call, None, say_late)
    return call


def test_places_are_noted_in_order_where_somebody_keeps_them(keeps, lot):
    calls = park_some(keeps, lot)
    assert list(keeps.parked) == calls
    lot.forget(calls[0])
    lot.park(keeps, calls[0], None, say_late)
    assert list(keeps.parked) == [calls[1], calls[2], calls[0]]


def test_who_comes_back_stands_at_its_place_and_before_all_that_are_new(keeps, lot):
    new = park_some(keeps, lot, 2)
    third, first, second = (come_back(keeps, lot, place, place) for place in (3, 1, 2))
    assert list(lot) == [first, second, third, *new]
    last, zeroth = come_back(keeps, lot, 9, 9), come_back(keeps, lot, 0.5, 10)
    assert lot.unpark() is zeroth
    assert list(lot) == [first, second, third, last, *new]
    assert list(keeps.parked) == new, "a place is kept as long as its call waits: it is not to be noted again"


def test_who_is_awake_goes_by_place_too(keeps, lot):
    second, first = come_back(keeps, lot, 2, 2), come_back(keeps, lot, 1, 1)
    first.lane.suspended = True
    assert [waiter.call for waiter in lot.awake()] == [second]
    assert lot.first().call is second
    assert lot.drain() == [first, second]


def test_a_place_is_of_one_call_and_for_one_line(keeps, lot):
    call = come_back(keeps, lot, 1)
    lot.forget(call)
    lot.park(keeps, call, None, say_late)
    assert call.waiter.place == 0
    other = a_call(2)
    other.number, other.lane.place = 6, (5, 1)
    lot.park(keeps, other, None, say_late)
    assert other.waiter.place == 0
