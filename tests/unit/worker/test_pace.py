"""How many jobs are asked for."""

from __future__ import annotations

import pytest

from mpclient.worker.jobs.pace import BATCH_BYTES, BATCH_MOST, FAR_S, GROWTH, SLOW_S, TARGET_S, Distance, Pace


def settled(job_s: float, job_bytes: int = 10) -> int:
    """Return the batch size that jobs of one kind lead to."""
    pace = Pace()
    for _ in range(30):
        size = pace.next_size()
        pace.note(size, size * job_s, size * job_bytes)
    return pace.next_size()


def test_the_first_batch_is_one_job():
    assert Pace().next_size() == 1


@pytest.mark.parametrize(
    ("job_s", "size"),
    [(1e-9, BATCH_MOST), (1e-6, BATCH_MOST), (1e-4, TARGET_S / 1e-4), (TARGET_S, 1), (10.0, 1)],
)
def test_a_batch_takes_the_time_that_is_aimed_at(job_s, size):
    assert settled(job_s) == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize(
    ("job_bytes", "most"), [(BATCH_BYTES, 1), (10 * BATCH_BYTES, 1), (BATCH_BYTES // 10, 10)]
)
def test_large_jobs_come_by_few(job_bytes, most):
    assert settled(1e-6, job_bytes) == most


def test_it_grows_step_by_step():
    pace = Pace()
    sizes = []
    for _ in range(4):
        sizes.append(pace.next_size())
        pace.note(sizes[-1], 0.0, 0)
    assert sizes == [1, GROWTH, GROWTH**2, GROWTH**3]


def test_it_shrinks_at_once_when_jobs_become_slow():
    pace = Pace()
    for _ in range(5):
        size = pace.next_size()
        pace.note(size, size * 1e-5, 0)
    pace.note(1, 10.0, 0)
    assert pace.next_size() == 1


def test_a_batch_without_jobs_teaches_nothing():
    pace = Pace()
    pace.note(1, 1e-5, 0)
    before = pace.next_size()
    pace.note(0, 5.0, 0)
    assert pace.next_size() == before


def test_as_many_are_foreseen_as_fill_the_time():
    pace = Pace()
    assert pace.foreseen_s(3) == 0.0
    pace.note(2, 0.02, 0)
    assert pace.foreseen_s(3) == pytest.approx(0.03)
    assert pace.next_size(0.05) == 5
    pace.note(1, 0.5, 0)
    assert pace.foreseen_s(1) == pytest.approx(0.5), "jobs have become slow"
    pace.note(1, 0.01, 0)
    assert pace.foreseen_s(1) == pytest.approx(0.1325), "one was quick"


def test_nothing_is_known_of_the_distance_at_first():
    distance = Distance()
    assert (distance.is_far, distance.target_s, distance.slow_s) == (False, TARGET_S, SLOW_S)


@pytest.mark.parametrize(
    ("took_s", "far", "target_s", "slow_s"),
    [(FAR_S / 2, False, TARGET_S, SLOW_S), (0.002, True, TARGET_S, SLOW_S), (0.1, True, 0.15, 0.45)],
)
def test_a_batch_covers_the_way_to_the_server_and_back(took_s, far, target_s, slow_s):
    distance = Distance()
    for more in (0.3, 0.0, 7.0):
        distance.note(took_s + more)
    assert distance.is_far == far
    assert (distance.target_s, distance.slow_s) == pytest.approx((target_s, slow_s))


def test_a_server_that_moves_away_is_noticed_in_time():
    distance = Distance()
    distance.note(0.0001)
    for _ in range(100):
        distance.note(0.05)
    assert distance.is_far


def test_a_call_that_waited_tells_no_distance():
    distance = Distance()
    distance.note(0.01)
    for _ in range(100):
        distance.note_most(5.0)
    assert distance.round_trip_s == 0.01
    distance.note_most(0.0001)
    assert not distance.is_far
