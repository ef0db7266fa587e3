"""Worker processes far from their server, which fetch the next jobs while they are at the last ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.integration import workers
from tests.integration.conftest import ROOT

from mpclient import WorkerDied

mpworker = workers.mpworker
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="the relay looks at its standard input"),
]
ROUND_TRIP_MS = "20"


@dataclass
class Far:
    """A server as those see it who are far away."""

    environment: dict[str, str]


@pytest.fixture
def near(fresh_server):
    return fresh_server()


@pytest.fixture
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
