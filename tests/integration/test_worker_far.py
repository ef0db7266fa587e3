"""Worker processes far from their server, which fetch the next jobs while they are at the last ones.

What is to happen while another job waits at the worker is done by the job that runs: it looks how many of
its pool's jobs are leased. Each of many may miss that moment, for what waits is handed back when a job takes
long; that all of them do is out of the question.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.integration import raw_pools, workers
from tests.integration.conftest import ROOT, Server

import mpclient
from mpclient import WorkerDied
from mpclient.testing import wait_until
from mpclient.values.jobs_format import CALL

mpworker = workers.mpworker
pool = raw_pools.pool
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="the relay looks at its standard input"),
]
ROUND_TRIP_MS = "10"
JOBS = 12


@dataclass
class Far:
    """A server as those see it who are far away."""

    environment: dict[str, str]


@pytest.fixture(scope="module")
def near(tmp_path_factory) -> Iterator[Server]:
    options = ("--max-attempts", "1")  # what is counted as tried that was not, is dead
    server = Server(tmp_path_factory.mktemp("near") / "server", options).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def far(near) -> Iterator[Far]:
    host, port = near.address.rsplit(":", 1)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.relay", host, port, ROUND_TRIP_MS],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as relay:
        port = relay.stdout.readline().rpartition(",")[2].strip(" ]\n")
        yield Far(near.environment | {"MPSERVE_ADDRESS": f"127.0.0.1:{port}"})
        relay.stdin.close()
        relay.wait(10)


@pytest.fixture
def work():
    """Return a job that takes a moment, and tells which threads there are."""

    def job(number):
        time.sleep(0.002)
        return number, [thread.name for thread in threading.enumerate()]

    return job


@pytest.fixture
def cluster(near):
    with near.connect() as cluster:
        yield cluster


@pytest.fixture
def runs(cluster):
    """How often each job was begun, and once something was done: "done"."""
    return cluster.dict()


@pytest.fixture
def has_company():
    """Make a function for jobs: whether another job of the same pool or queue is leased, soon enough."""

    def look(ident):
        until_s = time.monotonic() + 0.4
        while time.monotonic() < until_s:
            objects = mpclient.connect().status()["objects"]
            if any(one["ident"] == ident and one["leased"] > 1 for one in objects):
                return True
        return False

    return look


@pytest.fixture
def submitted(pool, runs, has_company):
    """Submit jobs to a pool: the first that has company does something; each answers its number."""

    def submit(act, **settings):
        one = pool(**settings)
        ident = one.ident

        def job(number):
            runs.incr(number)
            if "done" not in runs and has_company(ident):
                runs["done"] = number
                act()
            return number

        digest = one.teach(job)
        one.submit([(CALL, digest, (number,), {}) for number in range(1, JOBS + 1)])
        return one

    return submit


def test_jobs_are_fetched_ahead_and_each_has_its_result(near, far, mpworker, work):
    mpworker(far, processes=2).ready()
    with near.connect() as cluster, cluster.Pool(2) as pool:
        found = list(pool.imap(work, range(100)))
    assert [number for number, _ in found] == list(range(100))
    assert "mpserve-ahead" in found[-1][1]


def test_the_recipe_works_with_jobs_that_were_fetched_ahead_and_a_pill(near, far, mpworker, work):
    host = mpworker(far, queue="far").ready()
    with near.connect() as cluster:
        tasks, results = cluster.JoinableQueue(name="far"), cluster.Queue(name="far results")
        tasks.put_many([partial(work, number) for number in range(100)])
        tasks.put(None)
        found = [results.get(timeout=workers.LIMIT_S) for _ in range(100)]
        assert [number for number, _ in found] == list(range(100))
        assert "mpserve-ahead" in found[-1][1]
        assert host.wait() == 0
        assert tasks.join(10)


def test_an_answer_that_leaves_while_the_next_job_uses_its_memory_again(near, far, mpworker):
    def refill(number):
        memory = vars(sys).setdefault("memory_of_this_test", bytearray(1 << 16))
        memory[:] = bytes([number]) * len(memory)
        time.sleep(0.002)
        return pickle.PickleBuffer(memory)

    mpworker(far).ready()
    with near.connect() as cluster, cluster.Pool(1) as pool:
        assert [answer[0] for answer in pool.imap(refill, range(100))] == list(range(100))


def test_two_programs_take_turns(near, far, mpworker, work):
    mpworker(far).ready()
    with near.connect() as one, near.connect() as other, one.Pool() as here, other.Pool() as there:
        streams = [pool.imap(work, range(60)) for pool in (here, there)]
        assert [[number for number, _ in stream] for stream in streams] == [list(range(60))] * 2


def test_who_kills_its_process_is_blamed_alone(near, far, mpworker):
    def kills(number):
        time.sleep(0.002)
        if number == 50:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    mpworker(far).ready()
    with near.connect() as cluster, cluster.executor(max_attempts=1) as executor:
        futures = [executor.submit(kills, number) for number in range(100)]
        errors = {number: future.exception(workers.LIMIT_S) for number, future in enumerate(futures)}
    assert [number for number, error in errors.items() if error is not None] == [50]
    assert isinstance(errors[50], WorkerDied)


def test_a_host_that_stops_hands_back_what_it_fetched_ahead(near, far, mpworker, work):
    first = mpworker(far).ready()
    with near.connect() as cluster, cluster.executor(max_attempts=1) as executor:
        futures = [executor.submit(work, number) for number in range(200)]
        futures[20].result(workers.LIMIT_S)
        first.send_signal(signal.SIGTERM)
        assert first.wait() == 0
        mpworker(near).ready()
        assert [future.result(workers.LIMIT_S)[0] for future in futures] == list(range(200))


# -- with a batch ahead -----------------------------------------------------------------------------


def test_the_next_jobs_are_fetched_while_one_runs(mpworker, far, unique, submitted, runs):
    mpworker(far, queue=unique).ready()
    assert submitted(lambda: None).collect(JOBS) == {n: n for n in range(1, JOBS + 1)}
    assert "done" in runs


def test_of_what_a_killed_worker_had_only_the_job_that_ran_had_an_attempt(
    mpworker, far, unique, submitted, runs
):
    host = mpworker(far, queue=unique).ready()
    found = submitted(lambda: os.kill(os.getpid(), signal.SIGKILL), max_attempts=1).collect(JOBS)
    died = [number for number, result in found.items() if isinstance(result, WorkerDied)]
    assert died == [runs["done"]]
    assert {number: result for number, result in found.items() if number not in died} == {
        number: number for number in range(1, JOBS + 1) if number not in died
    }
    assert all(runs[number] == 1 for number in range(1, JOBS + 1))
    assert len(host.events("worker.died")) == 1


@pytest.mark.parametrize("signals", [1, 2])
def test_a_stop_hands_back_what_was_fetched(mpworker, far, near, unique, submitted, runs, cluster, signals):
    host = mpworker(far, queue=unique).ready()
    stopping, gate = cluster.Event(), cluster.Event()

    def act():
        stopping.set()
        gate.wait(10)

    pool = submitted(act, max_attempts=1)
    assert stopping.wait(10)
    for _ in range(signals):
        host.send_signal(signal.SIGTERM)
        host.wait_for("worker.stopping")
    if signals == 1:
        host.wait_for("worker.finishing")
        gate.set()
    assert host.wait() == (0 if signals == 1 else 7)
    mpworker(near, queue=unique).ready()
    assert pool.collect(JOBS) == {n: n for n in range(1, JOBS + 1)}
    broken = {runs["done"]} if signals == 2 else set()
    assert {n for n in range(1, JOBS + 1) if runs[n] != 1} == broken


def test_who_waits_with_its_results_while_it_ends_hands_back_what_was_fetched(
    mpworker, far, unique, cluster, has_company
):
    tasks, results = cluster.JoinableQueue(name=unique), cluster.Queue(name=f"{unique} results", maxsize=1)
    results.put("no room")
    ident = of(cluster, unique)["ident"]

    def fill():
        vars(sys)["kept"] = b"1" * (32 << 20)  # its process ends after it
        return has_company(ident)

    tasks.put_many([fill] * 3)
    host = mpworker(far, "--max-memory", "32M", queue=unique).ready()
    wait_until(lambda: of(cluster, f"{unique} results")["putters"], workers.LIMIT_S)
    for n in (1, 2):
        host.send_signal(signal.SIGTERM)
        host.wait_for("worker.stopping", n)
    assert host.wait() == 7
    assert tasks.dead.list() == []
    assert tasks.qsize() == 3


def of(cluster, name):
    """Return what the server tells of an object."""
    return next(one for one in cluster.status()["objects"] if one["name"] == name)


def test_what_waits_for_a_slow_job_goes_to_another_worker(mpworker, far, unique, submitted, runs, cluster):
    mpworker(far, queue=unique).ready()
    slow, gate = cluster.Event(), cluster.Event()

    def act():
        slow.set()
        gate.wait(30)

    pool = submitted(act)
    assert slow.wait(10)
    mpworker(far, queue=unique).ready()
    found = pool.collect(JOBS - 1)
    assert runs["done"] not in found
    gate.set()
    assert pool.collect() == {runs["done"]: runs["done"]}
    assert all(runs[number] == 1 for number in range(1, JOBS + 1))


def test_a_pool_that_ends_takes_what_was_fetched_along(mpworker, far, unique, submitted, cluster, pool):
    host = mpworker(far, queue=unique).ready()
    slow, gate = cluster.Event(), cluster.Event()

    def act():
        slow.set()
        gate.wait(30)

    one = submitted(act)
    assert slow.wait(10)
    one.close()
    host.wait_for("worker.given_up")
    other = pool()
    other.call(abs, -3)
    assert other.result() == 3


def test_no_more_is_fetched_than_a_process_may_run(mpworker, far, unique, pool):
    mpworker(far, "--max-tasks", "5", queue=unique).ready()
    one = pool()

    def job(number):
        time.sleep(0.002)
        return number, os.getpid()

    digest = one.teach(job)
    one.submit([(CALL, digest, (number,), {}) for number in range(15)])
    found = one.collect(15)
    assert [found[number + 1][0] for number in range(15)] == list(range(15))
    assert set(Counter(pid for _, pid in found.values()).values()) == {5}
