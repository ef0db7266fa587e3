"""Waiting for sockets awake, then asleep; with a poller and a clock that are played."""

from __future__ import annotations

import pytest

from mpserve.net.awake import Awake
from mpshared.spinning import REST_MAX, VAIN_MAX

SPIN_S, LOOK_S = 100e-6, 1e-6


class Play:
    """A poller that is asked `looks` times in vain before `fds` are ready; the clock ticks with each look."""

    def __init__(self):
        self.now_s, self.took_s, self.slept = 0.0, LOOK_S, []
        self.fds, self.looks = [3], 0
        self.awake = Awake(self.wait, SPIN_S, lambda: self.now_s)

    def wait(self, sleep_s):
        if sleep_s == 0.0:
            self.now_s += self.took_s
            self.looks -= 1
            return [] if self.looks >= 0 else [(fd, 1) for fd in self.fds]
        self.slept.append(sleep_s)
        return [(fd, 1) for fd in self.fds]

    def turn(self, *fds, looks=5, sleep_s=9.0):
        """Wait once; tell whether it slept."""
        self.fds, self.looks, slept = list(fds) or [3], looks, len(self.slept)
        assert self.awake.wait(sleep_s) == [(fd, 1) for fd in self.fds]
        return len(self.slept) > slept


@pytest.fixture
def play():
    play = Play()
    while play.turn() or play.turn():
        pass  # the first one is nobody's second
    play.slept.clear()
    return play


def test_what_comes_in_time_is_found_awake(play):
    assert not any(play.turn() for _ in range(10))


def test_what_does_not_come_in_time_is_slept_for_and_not_looked_for_the_next_time(play):
    assert play.turn(looks=1000)
    looked_s = play.now_s
    assert play.turn()
    assert play.now_s == looked_s


def test_it_sleeps_no_longer_than_it_was_told(play):
    play.turn(looks=1000, sleep_s=0.5)
    assert play.slept == [0.5]


def test_who_may_not_wait_looks_once(play):
    began_s = play.now_s
    play.looks = 0
    assert play.awake.wait(0.0) == [(3, 1)]
    assert play.now_s - began_s == pytest.approx(LOOK_S)


def test_a_timer_that_is_due_before_it_has_looked_long_enough_is_no_miss(play):
    play.turn(looks=1000, sleep_s=SPIN_S / 2)
    assert not play.turn()


def test_two_who_take_turns_are_waited_for_awake(play):
    play.turn(3), play.turn(4)
    while play.turn(3):
        play.turn(4)
    assert not any(play.turn(4) or play.turn(3) for _ in range(10))


def test_among_many_it_mostly_sleeps(play):
    slept = [play.turn(fd) for _ in range(40) for fd in (3, 4, 5)]
    assert sum(slept[-100:]) > 90


def test_after_a_third_who_sleeps_those_who_call_in_turns_are_many(play):
    third_and_then = (5, *(3, 4) * 4)
    assert not all(play.turn(fd) for _ in range(40) for fd in third_and_then)
    for fd in (3, 4, 5):
        play.awake.note(fd, sleeps=True)
    slept = [play.turn(fd) for _ in range(40) for fd in third_and_then]
    assert sum(slept[-200:]) > 180


def test_two_who_sleep_are_waited_for_awake(play):
    for fd in (3, 4):
        play.awake.note(fd, sleeps=True)
    for _ in range(100):
        play.turn(4), play.turn(3)
    assert not any(play.turn(4) or play.turn(3) for _ in range(10))


def test_several_at_once_are_many(play):
    slept = [play.turn(3, 4) for _ in range(100)]
    assert sum(slept[-50:]) > 45


def test_what_is_there_already_says_nothing_of_whether_looking_is_worth_it(play):
    for _ in range(9):
        play.turn(looks=1000)
        while play.turn(looks=0):
            pass
        assert not play.turn(looks=0)
    assert play.turn(looks=1000)
    assert [play.turn() for _ in range(31)] == [True] * 31


def test_what_never_comes_in_time_is_looked_for_once_in_hundreds_of_times(play):
    for _ in range(5 * VAIN_MAX):
        play.turn(looks=1000)
    began_s = play.now_s
    for _ in range(VAIN_MAX + 1):
        play.turn(looks=1000)
    assert play.now_s - began_s == pytest.approx(SPIN_S, rel=0.1)


def test_who_loses_the_processor_meanwhile_sleeps(play):
    play.took_s = 30e-6
    assert play.turn()


def test_who_loses_the_processor_each_time_looks_again_soon(play):
    play.took_s = 30e-6
    for _ in range(5 * REST_MAX):
        play.turn()
    play.took_s = LOOK_S
    assert not all(play.turn() for _ in range(REST_MAX + 1))


def test_after_a_lock_was_handed_over_whoever_calls_is_waited_for_awake(play):
    for fd in (3, 4, 5) * 20:
        play.awake.handed_over()
        assert not play.turn(fd)


def test_of_two_calls_after_a_hand_over_both_are_waited_for_awake_and_then_many_are_many_again(play):
    slept = []
    for _ in range(40):
        play.awake.handed_over()
        slept.append([play.turn(fd) for fd in (3, 4, 5, 6)])
    assert [turn[:2] for turn in slept] == [[False, False]] * 40
    assert sum(turn[2] + turn[3] for turn in slept) > 70


def test_a_holder_who_keeps_the_lock_is_soon_not_waited_for_awake(play):
    for _ in range(5 * VAIN_MAX):
        play.awake.handed_over()
        play.turn(looks=1000)
    began_s = play.now_s
    for _ in range(VAIN_MAX + 1):
        play.awake.handed_over()
        play.turn(looks=1000)
    assert play.now_s - began_s <= 3 * SPIN_S
