"""How many jobs are asked for."""

from __future__ import annotations

import pytest

from mpclient.worker.pace import BATCH_BYTES, BATCH_MOST, GROWTH, TARGET_S, Pace


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
