"""Jobs that outlive their program, with real workers: found by id, named by key, kept for a time."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import CancelledError

import pytest
from tests.integration import workers

from mpclient import testing
from mpclient.job import Job
from mpshared.errors import NoSuchObject

mpworker = workers.mpworker
pytestmark = pytest.mark.hosts
LIMIT_S = 20


@pytest.fixture
def crew(mpworker, server, unique, cluster):
    mpworker(server, queue=unique, processes=2).ready()
    return cluster


def test_another_program_fetches_the_result(crew, server, program):
    with server.connect() as submitter:
        job = submitter.submit(pow, 2, exp=10)
    script = program(f"print(mpclient.connect().job({job.id!r}).result(20))")
    assert script.finish() == "1024"
    assert crew.job(job.id) == job
    assert crew.job(job.id).result(LIMIT_S) == 1024
    assert crew.job(job.id).done()


def test_code_of_the_program_comes_along(crew):
    factor = 3
    assert crew.submit(lambda number: number * factor, 5).result(LIMIT_S) == 15


def test_a_job_raises_what_it_raised(crew):
    job = crew.submit(int, "no number")
    for _ in range(2):
        with pytest.raises(ValueError, match="no number"):
            job.result(LIMIT_S)


def test_the_same_key_is_one_job(crew, server, unique):
    runs, gate = crew.Value("i", 0), crew.Event()

    def work():
        gate.wait(LIMIT_S)
        return runs.incr()

    keyed = crew.options(key=unique)
    one = keyed.submit(work)
    with server.connect() as other:
        same = other.options(key=unique).submit(work)
        assert same == one
        gate.set()
        assert one.result(LIMIT_S) == same.result(LIMIT_S) == 1
        assert other.options(key=unique).submit(work) == one
    assert one.forget()
    assert keyed.submit(work) != one


def test_a_result_is_kept_for_its_time_only(crew):
    job = crew.options(ttl=0.2).submit(abs, -1)
    testing.wait_until(lambda: _is_gone(job), LIMIT_S)
    with pytest.raises(NoSuchObject, match="was kept for its ttl and is gone"):
        job.result(LIMIT_S)
    with pytest.raises(NoSuchObject):
        crew.job(job.id)


def _is_gone(job):
    try:
        job.state()
    except NoSuchObject:
        return True
    return False


def test_a_job_on_terms_is_seen_and_cancelled(crew):
    job = crew.options(delay=3600).submit(abs, -1)
    assert (job.state(), job.done()) == ("delayed", False)
    with pytest.raises(TimeoutError, match=r"has no result within 0.05 s; it is delayed"):
        job.result(0.05)
    assert job.cancel()
    with pytest.raises(CancelledError):
        job.result(LIMIT_S)
    assert not job.cancel()


def test_a_job_that_runs_is_cancelled(crew):
    begun = crew.Event()

    def work():
        begun.set()
        time.sleep(LIMIT_S)

    job = crew.submit(work)
    assert begun.wait(LIMIT_S)
    assert job.state() == "running"
    assert job.cancel()
    with pytest.raises(CancelledError):
        job.result(LIMIT_S)


def test_retries_and_timeouts_hold_for_them(crew):
    runs = crew.Value("i", 0)

    def work():
        if runs.incr() == 1:
            time.sleep(LIMIT_S)
        return "done"

    assert crew.options(timeout=0.3, retries=1, backoff=0).submit(work).result(LIMIT_S) == "done"


def test_shared_objects_and_jobs_travel(crew):
    numbers = crew.list([3])
    job = crew.submit(lambda: [*numbers, crew.list([4])])
    assert job.result(LIMIT_S)[0] == 3
    assert list(job.result(LIMIT_S)[1]) == [4]
    assert isinstance(pickle.loads(pickle.dumps(job)), Job)


def test_what_is_no_id_and_what_cannot_travel_is_refused(crew):
    with pytest.raises(ValueError, match="is no job's id"):
        crew.job("nonsense")
    with pytest.raises(NoSuchObject, match="job 0123-4 is not known"):
        crew.job("0123-4")
    with pytest.raises(TypeError, match=r"job\.args\[0\]"):
        crew.submit(print, threading.Lock())
    with pytest.raises(TypeError, match=r"key is for jobs that outlive their program"):
        crew.executor().options(key="k")
