"""Pools whose programs are interrupted between two of their steps: what is left can be closed, and ends."""

from __future__ import annotations

import queue
import threading

import pytest
from tests.integration.pool_jobs import square

from mpclient.pooling.outcomes import JobCancelled, PoolClosed

pytestmark = pytest.mark.hosts
LIMIT_S = 20


def ends(pool):
    """A pool can be closed, and all of it ends."""
    pool.close()
    assert pool._jobs.done.wait(LIMIT_S)
    pool.join()


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("method", ["apply_async", "map"])
def test_who_is_interrupted_before_a_pool_knows_of_a_job_can_close_it(crew, monkeypatch, begun, method):
    """Nobody sends the job until the sender looks for another reason: closing has to be one."""
    pool = crew.Pool()
    if begun:
        assert pool.apply(square, (3,)) == 9

    def interrupted(*_):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(pool._jobs, "ring", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(pool, method)(square, (4,))
    ends(pool)


@pytest.mark.parametrize("method", ["imap", "map_async"])
def test_who_is_interrupted_before_a_stream_has_its_thread_can_close_the_pool(crew, monkeypatch, method):
    def interrupted(_thread):
        monkeypatch.undo()
        raise KeyboardInterrupt

    pool = crew.Pool()
    assert pool.apply(square, (3,)) == 9
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(pool, method)(square, (4,))
    ends(pool)


def test_a_pool_that_is_interrupted_while_its_threads_are_started_is_over(crew, monkeypatch):
    """It has one that sends jobs, and none that collects what comes of them."""
    begin = threading.Thread.start

    def interrupted(thread):
        if thread.name == "mpserve-collector":
            raise KeyboardInterrupt
        begin(thread)

    pool = crew.Pool()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.apply_async(square, (4,))
    with pytest.raises(PoolClosed, match="open another"):
        pool.apply_async(square, (5,))
    ends(pool)


@pytest.mark.parametrize("end", ["Ctrl-C", "terminate"])
def test_an_iterable_is_asked_for_nothing_more_when_nobody_waits(crew, monkeypatch, end):
    """As in the standard library: what it gives slowly is perhaps taken from somebody else."""
    before = set(threading.enumerate())
    gate, taken = queue.SimpleQueue(), []

    def items():
        for item in iter(gate.get, None):
            taken.append(item)
            yield item

    def interrupted(*_):
        raise KeyboardInterrupt

    with crew.Pool() as pool:
        results = pool.imap(square, items())
        gate.put(2)
        assert next(results) == 4
        [feeder] = [t for t in set(threading.enumerate()) - before if t.name == "mpserve-feeder"]
        if end == "terminate":
            pool.terminate()
        else:
            monkeypatch.setattr(results._stream, "wait", interrupted)
            with pytest.raises(KeyboardInterrupt):
                next(results)
            monkeypatch.undo()
            with pytest.raises(JobCancelled):
                next(results)
        for item in (3, 4, 5, None):
            gate.put(item)
        feeder.join(LIMIT_S)
        assert taken == [2, 3]
