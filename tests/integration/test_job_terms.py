"""Jobs on terms, with real workers: retried, delayed, given up, before others."""

from __future__ import annotations

import signal
import time
from concurrent.futures import CancelledError

import pytest
from tests.integration.pool_jobs import square
from tests.integration.workers import is_alive

from mpclient import JobExpired, JobTimeout, WorkerDied, testing

pytestmark = pytest.mark.hosts
LIMIT_S = 20


@pytest.fixture
def executor(crew):
    with crew.executor(1) as executor:
        yield executor


@pytest.fixture
def gate(crew):
    return crew.Event()


@pytest.fixture
def order(crew):
    return crew.list()


@pytest.fixture
def held(executor, gate, crew):
    """The only process that the executor may have is busy until the gate opens."""
    begun = crew.Event()

    def job():
        begun.set()
        gate.wait(LIMIT_S)

    future = executor.submit(job)
    assert begun.wait(LIMIT_S)
    yield future
    gate.set()


@pytest.fixture
def fails(crew):
    """Return a job that fails so many times, and then answers how often it ran."""
    runs = crew.Value("i", 0)

    def job(times):
        count = runs.incr()
        if count <= times:
            raise ValueError(f"run {count}")
        return count

    return job


def count(cluster, what):
    """Return how many jobs of all pools are in a state."""
    return sum(found[what] for found in cluster.status()["objects"] if found["kind"] == "pool")


def test_a_job_that_raises_is_run_again(executor, fails):
    assert executor.options(retries=2, backoff=0.01).submit(fails, 2).result(LIMIT_S) == 3


def test_the_last_failure_is_raised_when_retries_are_used_up(executor, fails):
    future = executor.options(retries=1, backoff=0.01).submit(fails, 9)
    with pytest.raises(ValueError, match="run 2"):
        future.result(LIMIT_S)


def test_a_pools_jobs_are_run_again_too(crew, fails):
    with crew.Pool(1) as pool:
        assert pool.apply_async(fails, (1,), retries=1, backoff=0).get(LIMIT_S) == 2
        with pytest.raises(TypeError, match="no term 'retry'.*retries"):
            pool.apply_async(fails, (1,), retry=1)
        with pytest.raises(ValueError, match="retries is between 0 and"):
            pool.apply_async(fails, (1,), retries=-1)


def test_a_delayed_job_is_seen_and_begins_when_it_is_due(crew, executor):
    began_s = time.monotonic()
    future = executor.options(delay=0.3).submit(square, 5)

    testing.wait_until(lambda: count(crew, "delayed") == 1, LIMIT_S)
    assert not future.running()
    assert future.result(LIMIT_S) == 25
    assert time.monotonic() - began_s >= 0.3
    assert count(crew, "delayed") == 0


def test_a_delayed_job_is_cancelled(executor):
    future = executor.options(delay=3600).submit(square, 5)
    assert future.cancel()
    assert future.cancelled()


def test_a_higher_priority_goes_first(crew, executor, held, gate, order):
    futures = [
        executor.options(priority=priority).submit(order.append, priority) for priority in (-1, 0, 1, 5, 1)
    ]
    futures.append(executor.submit(order.append, "plain"))
    testing.wait_until(lambda: count(crew, "ready") == len(futures), LIMIT_S)
    gate.set()
    for future in futures:
        future.result(LIMIT_S)
    assert list(order) == [5, 1, 1, 0, "plain", -1]


def test_a_job_that_is_not_begun_in_time_expires(executor, held):
    future = executor.options(expires=0.1).submit(square, 5)
    with pytest.raises(JobExpired, match="was not begun within 0.1 s"):
        future.result(LIMIT_S)
    with pytest.raises(TimeoutError):
        future.result(LIMIT_S)


def test_deaths_of_workers_are_no_retries(crew):
    def job():
        signal.raise_signal(signal.SIGKILL)

    with crew.executor(1, max_attempts=2) as executor:
        future = executor.options(retries=5, backoff=0).submit(job)
        with pytest.raises(WorkerDied, match="2 times"):
            future.result(LIMIT_S)


def test_an_item_of_a_queue_comes_when_it_is_due_or_lies_among_the_dead(crew):
    queue = crew.JoinableQueue()
    queue.put_later("late", 0.2)
    queue.put_later("too late", 3600, expires=0.2)
    assert queue.empty()
    assert queue.get(timeout=LIMIT_S) == "late"
    queue.task_done()
    assert queue.join(timeout=LIMIT_S)
    [report] = queue.dead.list()
    assert (report["number"], report["reason"]) == (2, "not taken within 0.2 s")
    assert queue.dead.requeue() == 1
    assert queue.get(timeout=LIMIT_S) == "too late"
    with pytest.raises(ValueError, match="delay is between 0 and"):
        queue.put_later("never", -1)


# -- ending what runs -------------------------------------------------------------------------------


def test_a_job_that_runs_for_too_long_gets_a_timeout_error(executor, crew):
    cleaned = crew.Event()

    def job():
        try:
            time.sleep(LIMIT_S)
        finally:
            cleaned.set()

    future = executor.options(timeout=0.2).submit(job)
    with pytest.raises(TimeoutError, match="longer than its timeout") as caught:
        future.result(LIMIT_S)
    assert not isinstance(caught.value, JobTimeout)
    assert cleaned.is_set()
    assert executor.submit(square, 3).result(LIMIT_S) == 9


def test_a_job_that_waits_for_a_shared_object_gets_it_as_well(executor, crew):
    never = crew.Queue()
    future = executor.options(timeout=0.2).submit(never.get)
    with pytest.raises(TimeoutError, match="longer than its timeout"):
        future.result(LIMIT_S)
    never.put(1)
    assert executor.submit(never.get).result(LIMIT_S) == 1


def test_the_process_of_a_job_that_does_not_end_is_killed_and_replaced(executor):
    def job():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(0.05)

    future = executor.options(timeout=0.2, grace=0.2).submit(job)
    with pytest.raises(JobTimeout, match=r"so process \d+ on .* was killed") as caught:
        future.result(LIMIT_S)
    testing.wait_until(lambda: not is_alive(caught.value.pid), LIMIT_S)
    assert executor.submit(square, 3).result(LIMIT_S) == 9


def test_a_job_that_timed_out_is_tried_again(executor, crew):
    runs = crew.Value("i", 0)

    def job():
        if runs.incr() == 1:
            time.sleep(LIMIT_S)
        return "done"

    assert executor.options(timeout=0.2, retries=1, backoff=0).submit(job).result(LIMIT_S) == "done"
    assert runs.value == 2


def test_a_call_that_runs_is_stopped(executor, crew):
    begun, seen = crew.Event(), crew.Event()

    def job():
        begun.set()
        try:
            time.sleep(LIMIT_S)
        except KeyboardInterrupt:
            seen.set()
            return "whatever"

    future = executor.submit(job)
    assert begun.wait(LIMIT_S)
    assert not future.cancel()
    assert future.stop()
    with pytest.raises(CancelledError):
        future.result(LIMIT_S)
    assert future.cancelled()
    assert seen.is_set()
    assert not future.stop()


def test_a_call_that_cannot_be_stopped_has_its_process_killed(executor, crew):
    begun = crew.Event()

    def job():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        begun.set()
        while True:
            time.sleep(0.05)

    future = executor.submit(job)
    assert begun.wait(LIMIT_S)
    assert future.stop(grace=0.1)
    with pytest.raises(CancelledError):
        future.result(LIMIT_S)
    assert executor.submit(square, 3).result(LIMIT_S) == 9


def test_a_call_that_waits_is_removed(executor, held):
    future = executor.submit(square, 3)
    assert future.stop()
    assert future.cancelled()
    assert not held.done()


def test_terms_are_checked_where_they_are_given(executor):
    with pytest.raises(TypeError, match="delay is a number of seconds, not 'soon'"):
        executor.options(delay="soon")
    with pytest.raises(TypeError, match="a job has no term 'prio'"):
        executor.options(prio=1)
    assert executor.options().submit(square, 3).result(LIMIT_S) == 9
