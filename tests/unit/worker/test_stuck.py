"""Whether jobs that wait for a slot get anywhere."""

from __future__ import annotations

import pytest

from mpclient.worker.jobs.stuck import is_stuck


def pool(program="me", ready=0, leased=0, results=0):
    return {"kind": "pool", "program": program, "ready": ready, "leased": leased, "results": results}


@pytest.mark.parametrize(
    ("objects", "stuck"),
    [
        ([], False),
        ([pool()], False),
        ([pool(ready=1)], True),
        ([pool(ready=1), pool(ready=2), pool("another", leased=1)], True),
        ([pool(ready=1, leased=1)], False),
        ([pool(ready=1), pool(leased=1)], False),
        ([pool(ready=1, results=1)], False),
        ([pool("another", ready=1)], False),
        ([{"kind": "queue", "ready": 1}, pool(ready=1)], True),
    ],
)
def test_only_own_jobs_that_all_wait_are_stuck(objects, stuck):
    assert is_stuck(objects, {"me", "me too"}) == stuck
