"""Timers: the order of deadlines, and what is cancelled."""

from hypothesis import given
from hypothesis import strategies as st

from mpserve.core.timers import Timers


def run_due(timers, now_s):
    done: list = []
    for timer in timers.due(now_s):
        timer.action(done, *timer.args)
    return done


def test_runs_what_is_due_earliest_first():
    timers = Timers()
    for deadline_s in (3.0, 1.0, 2.0, 9.0):
        timers.add(deadline_s, list.append, deadline_s)
    assert run_due(timers, 3.0) == [1.0, 2.0, 3.0]
    assert run_due(timers, 3.0) == []
    assert run_due(timers, 10.0) == [9.0]


def test_equal_deadlines_run_in_the_order_they_were_added():
    timers = Timers()
    for name in "abc":
        timers.add(1.0, list.append, name)
    assert run_due(timers, 1.0) == ["a", "b", "c"]


def test_tells_how_long_to_sleep():
    timers = Timers()
    assert timers.next_s() is None
    first = timers.add(1.0, list.append, 1)
    timers.add(2.0, list.append, 2)
    assert timers.next_s() == 1.0
    first.cancel()
    assert timers.next_s() == 2.0


def test_a_cancelled_timer_does_not_run():
    timers = Timers()
    timers.add(1.0, list.append, "stays")
    timers.add(1.0, list.append, "goes").cancel()
    assert len(timers) == 1
    assert run_due(timers, 5.0) == ["stays"]


def test_an_action_may_cancel_the_next_one():
    timers = Timers()
    timers.add(1.0, lambda done, other: other.cancel(), timers.add(2.0, list.append, "never"))
    assert run_due(timers, 5.0) == []


def test_an_action_may_add_one_that_is_due_at_once():
    timers = Timers()

    def add_another(done):
        timers.add(1.0, list.append, "second")

    timers.add(1.0, add_another)
    assert run_due(timers, 1.0) == ["second"]


def test_an_infinite_deadline_never_comes():
    timers = Timers()
    timers.add(float("inf"), list.append, "never")
    assert run_due(timers, 1e300) == []


def test_cancelled_timers_do_not_pile_up():
    timers = Timers()
    kept = [timers.add(1e6 + n, list.append, n) for n in range(10)]
    for n in range(20_000):
        timers.add(1e6 + n, list.append, n).cancel()
    assert len(timers) == len(kept)
    assert len(timers._heap) <= 2048


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans())), st.lists(st.integers(0, 25)))
def test_as_a_sorted_list_would_do_it(wanted, steps):
    timers = Timers()
    expected = []
    for number, (deadline_s, cancelled) in enumerate(wanted):
        timer = timers.add(float(deadline_s), list.append, number)
        if cancelled:
            timer.cancel()
        else:
            expected.append((deadline_s, number))
    ran = [number for now_s in (*sorted(steps), 30) for number in run_due(timers, float(now_s))]
    assert ran == [number for _, number in sorted(expected)]
