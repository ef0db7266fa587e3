"""Jobs that wait for jobs of their own: their slots are lent, within a bound, and nothing starves."""

from __future__ import annotations

import os
import signal

import pytest
from tests.integration import raw_pools, workers
from tests.integration.conftest import ROOT
from tests.integration.raw_pools import RawPool

import mpclient
from mpclient import testing
from mpclient.pooling import nested

mpworker = workers.mpworker
pool = raw_pools.pool
pytestmark = pytest.mark.hosts


@pytest.fixture
def host(mpworker, server, unique):
    """Return a worker host with one slot, whose jobs can import this module."""
    return mpworker(server, "--pythonpath", str(ROOT), queue=unique).ready()


def dig(depth: int) -> list[int]:
    """Return the pids of a chain of nested jobs."""
    if not depth:
        return [os.getpid()]
    inner = RawPool(mpclient.connect())
    inner.call(dig, depth - 1)
    return [os.getpid(), *inner.result()]


def spread(width: int) -> list[list[int]]:
    """Return the pids of nested jobs side by side, each with one of its own."""
    inner = RawPool(mpclient.connect())
    for _ in range(width):
        inner.call(dig, 1)
    return list(inner.collect(width).values())


def hear_refusal() -> str:
    """Wait for a job that nobody can run; return what is said about that."""

    class Listener:
        text = ""

        def nested_refused(self, text):
            self.text = text

    listener = Listener()
    nested.listen(listener)
    inner = RawPool(mpclient.connect())
    inner.call(os.getpid)
    testing.wait_until(lambda: bool(listener.text))
    nested.settled(1)
    return listener.text


def test_nested_jobs_run_on_one_slot(host, pool):
    pool = pool()
    pool.call(dig, 3)
    pids = pool.result()
    assert len(set(pids)) == 4
    assert len(host.events("worker.stand_in")) == 3
    host.wait_for("worker.ended", 3, why="stopped")
    pool.call(os.getpid)
    assert pool.result() == pids[0]


def test_side_by_side_too(host, pool):
    pool = pool()
    pool.call(spread, 4)
    chains = pool.result()
    assert [len(set(chain)) for chain in chains] == [2] * 4
    assert host.process.poll() is None


def test_at_the_bound_there_is_an_error_that_says_so(mpworker, server, unique, pool):
    options = "--pythonpath", str(ROOT), "--max-spawned", "0", "--name", "small"
    host = mpworker(server, *options, queue=unique).ready()
    pool = pool()
    pool.call(hear_refusal)
    assert "small cannot start another process" in (text := pool.result())
    assert "--max-spawned is 0" in text
    host.wait_for("worker.cannot_lend")


def test_at_the_bound_other_hosts_do(mpworker, server, unique, pool):
    options = "--pythonpath", str(ROOT), "--max-spawned", "0"
    for _ in range(2):
        mpworker(server, *options, queue=unique).ready()
    pool = pool()
    pool.call(dig, 1)
    assert len(set(pool.result())) == 2


def test_a_stop_lets_a_job_wait_for_its_own(host, pool, cluster):
    begun, gate = cluster.Queue(), cluster.Event()

    def inner():
        begun.put(os.getpid())
        gate.wait()
        return os.getpid()

    def outer():
        inside = RawPool(mpclient.connect())
        inside.call(inner)
        return inside.result()

    pool = pool()
    pool.call(outer)
    pid = begun.get(timeout=10)
    host.send_signal(signal.SIGTERM)
    host.wait_for("worker.stopping")
    gate.set()
    assert pool.result() == pid
    assert host.wait() == 0


def test_the_end_of_a_lender_ends_its_nested_jobs(host, pool, cluster):
    begun = cluster.Queue()

    def inner():
        begun.put(os.getpid())
        cluster_of_its_own = mpclient.connect()
        cluster_of_its_own.Event().wait()

    def outer():
        begun.put(os.getpid())
        inside = RawPool(mpclient.connect())
        inside.call(inner)
        return inside.result()

    pool = pool(max_attempts=1)
    pool.call(outer)
    lender, stand_in = begun.get(timeout=10), begun.get(timeout=10)
    os.kill(lender, signal.SIGKILL)
    with pytest.raises(mpclient.WorkerDied):
        pool.result()
    testing.wait_until(lambda: not workers.is_alive(stand_in))
    pool.call(os.getpid)
    assert pool.result() not in {lender, stand_in}
    assert host.process.poll() is None
