"""When to look awake, as it went before."""

from __future__ import annotations

import os

import pytest

from mpshared.spinning import REST_MAX, VAIN_MAX, Spin, can_spin


def rest(spin):
    """Sleep as often as it is to, and return how often that was."""
    count, spin.resting = spin.resting, 0
    return count


class TestSpin:
    def test_looks_at_first(self):
        assert Spin(1.0).resting == 0

    def test_who_finds_goes_on(self):
        spin = Spin(1.0)
        spin.found()
        assert spin.resting == 0

    def test_who_misses_rests_longer_each_time_and_never_for_ever(self):
        spin, rests = Spin(1.0), []
        for _ in range(8):
            spin.missed()
            rests.append(rest(spin))
        assert rests == [1, 3, 7, 15, 31, REST_MAX, REST_MAX, REST_MAX]

    def test_who_looks_in_vain_each_time_rests_longer_still_until_he_is_interrupted(self):
        spin = Spin(1.0)
        for _ in range(12):
            spin.missed(VAIN_MAX)
        assert rest(spin) == VAIN_MAX > REST_MAX
        spin.missed()
        assert rest(spin) == REST_MAX

    def test_who_finds_again_is_soon_as_if_he_had_never_missed(self):
        spin = Spin(1.0)
        for _ in range(8):
            spin.missed()
        for _ in range(6):
            spin.found()
        spin.missed()
        assert rest(spin) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to processors")
def test_on_one_processor_nobody_looks():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert not can_spin()
    finally:
        os.sched_setaffinity(0, before)
    assert can_spin() == (len(before) > 1)
