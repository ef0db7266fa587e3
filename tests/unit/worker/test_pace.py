"""How many jobs are asked for."""

from __future__ import annotations

import pytest

from mpclient.worker.pace import BATCH_BYTES, BATCH_MOST, FAR_S, GROWTH, NEAR_S, TARGET_S, Pace


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


def far(trip_s: float, job_s: float) -> Pace:
    """Return the pace of a worker so far away, of jobs that take so long."""
    pace = Pace()
    pace.know_trip(trip_s)
    for _ in range(10):
        pace.note(pace.next_size(), pace.next_size() * job_s, 0)
    return pace


def test_nothing_is_asked_ahead_before_jobs_are_known():
    pace = Pace()
    pace.know_trip(0.02)
    assert pace.ahead() == 0


@pytest.mark.parametrize("trip_s", [0.0, NEAR_S / 10, NEAR_S])
def test_a_server_that_is_near_is_not_asked_ahead(trip_s):
    pace = far(trip_s, 1e-5)
    assert pace.ahead() == 0
    assert pace.target_s == TARGET_S


@pytest.mark.parametrize("trip_s", [0.001, 0.02, FAR_S, 10 * FAR_S])
@pytest.mark.parametrize("job_s", [1e-5, 0.001, 0.01])
def test_a_server_that_is_far_is_asked_more_than_a_round_trip_ahead(trip_s, job_s):
    pace, trip_s = far(trip_s, job_s), min(trip_s, FAR_S)
    assert pace.ahead() * job_s >= trip_s
    assert pace.target_s >= 2 * trip_s


def test_jobs_that_take_long_are_not_fetched_ahead():
    assert far(0.02, 10.0).ahead() == 0
    assert far(0.02, 0.1).ahead() == 1
