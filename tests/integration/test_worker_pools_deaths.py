"""Pool jobs whose process, worker host or program ends in the middle: one result each, or none any more."""

from __future__ import annotations

import operator
import os
import signal
from pathlib import Path

import pytest
from tests.integration import raw_pools, workers
from tests.integration.conftest import ROOT

from mpclient import testing
from mpclient.values.jobs_format import CALL
from mpshared.errors import WorkerDied

mpworker = workers.mpworker
begun, gate, waits = workers.begun, workers.gate, workers.waits
pool = raw_pools.pool
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.chaos,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc"),
]


def test_a_job_whose_process_is_killed_runs_again_and_has_one_result(
    mpworker, server, unique, pool, waits, begun, gate
):
    host = mpworker(server, queue=unique, processes=2).ready()
    pool = pool()
    pool.call(waits, "a")
    _, victim = begun.get(timeout=10)
    os.kill(victim, signal.SIGKILL)
    name, other = begun.get(timeout=10)
    assert (name, other != victim) == ("a", True)
    gate.set()
    assert pool.collect() == {1: ("a", other)}
    assert len(host.wait_for("worker.died")) == 1


def test_the_report_of_a_death_says_what_was_held_and_printed(mpworker, server, unique, cluster):
    mpworker(server, queue=unique, processes=1).ready()
    pool = raw_pools.RawPool(cluster, max_attempts=1)
    door = cluster.Lock(name=f"door of {unique}")

    def job():
        for number in range(30):
            print("line", number)  # noqa: T201 - what it is about
        door.acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    pool.call(job)
    error = pool.collect()[1]
    assert isinstance(error, WorkerDied)
    assert error.fields["signal"] == signal.SIGKILL
    assert error.fields["output"] == [f"line {number}" for number in range(10, 30)]
    assert error.fields["locks"] == [f"lock 'door of {unique}'"]
    assert error.fields["memory_limit_bytes"] > error.fields["peak_memory_bytes"] > 1 << 20
    assert "killed by SIGKILL (signal 9)" in error.text
    assert "submit it anew" in error.text
    assert door.acquire(timeout=10)


def test_processes_killed_again_and_again_lose_and_double_nothing(mpworker, server, unique, pool, begun):
    mpworker(server, queue=unique, processes=2).ready()

    def job(number):
        begun.put(os.getpid())
        return number

    pool = pool(max_attempts=10)  # nearly all kills may hit the last job
    pool.submit([(CALL, pool.teach(job), (number,), {}) for number in range(60)])
    dead: set[int] = set()
    for count in range(60):
        pid = begun.get(timeout=10)
        if pid not in dead and len(dead) <= count // 15:
            os.kill(pid, signal.SIGKILL)
            dead.add(pid)
    found = pool.collect(60)
    assert sorted(found) == list(range(1, 61))
    answered = {number: answer for number, answer in found.items() if isinstance(answer, int)}
    assert all(answer == number - 1 for number, answer in answered.items())
    assert len(answered) == 60


def test_a_job_that_kills_its_workers_is_a_worker_died_and_its_neighbours_are_not(
    mpworker, server, unique, pool
):
    host = mpworker(server, queue=unique).ready()
    pool = pool(max_attempts=2)
    negative, ends = pool.teach(operator.neg), pool.teach(os._exit)
    jobs = [(CALL, negative, (number,), {}) for number in range(40)]
    pool.submit(jobs)
    pool.collect(40)
    jobs[20] = (CALL, ends, (3,), {})
    pool.submit(jobs)
    found = pool.collect(40)
    died = found.pop(61)
    assert isinstance(died, WorkerDied)
    assert (died.fields["attempts"], died.fields["exit_code"]) == (2, 3)
    assert found == {number + 41: -number for number in range(40) if number != 20}
    assert len(host.wait_for("worker.died", 2)) == 2


def test_a_stop_lets_the_job_finish_and_hands_back_the_others(
    mpworker, server, unique, pool, waits, begun, gate
):
    host = mpworker(server, queue=unique).ready()
    pool = pool()
    pool.call(waits, "a")
    pool.call(operator.neg, 1)
    begun.get(timeout=10)
    host.send_signal(signal.SIGTERM)
    host.wait_for("worker.finishing")
    gate.set()
    assert host.wait() == 0
    assert pool.collect()[1][0] == "a"
    mpworker(server, queue=unique)
    assert pool.collect() == {2: -1}


def test_a_second_stop_hands_back_the_job_that_runs_with_no_attempt_counted(
    mpworker, server, unique, pool, waits, begun, gate
):
    pool = pool(max_attempts=1)
    pool.call(waits, "a")
    for _ in range(2):
        host = mpworker(server, queue=unique).ready()
        begun.get(timeout=10)
        host.send_signal(signal.SIGTERM)
        host.wait_for("worker.stopping")
        host.send_signal(signal.SIGTERM)
        assert host.wait() == 7
    gate.set()
    mpworker(server, queue=unique)
    assert pool.result()[0] == "a"


def test_the_process_at_work_for_a_pool_that_is_given_up_is_ended_and_replaced(
    mpworker, server, unique, pool, waits, begun
):
    host = mpworker(server, queue=unique).ready()
    first, second = pool(), pool()
    first.call(waits, "a")
    _, pid = begun.get(timeout=10)
    first.close()
    testing.wait_until(lambda: not workers.is_alive(pid))
    second.call(os.getpid)
    assert second.result() != pid
    assert len(host.wait_for("worker.given_up", why="its program ended it")) == 1
    assert host.events("worker.died") == []


def test_so_is_that_of_a_program_that_died(mpworker, server, unique, pool, program, cluster):
    host = mpworker(server, queue=unique).ready()
    source = """
from tests.integration.raw_pools import RawPool
pool = RawPool(cluster)
def job(begun):
    begun.put(os.getpid())
    threading.Event().wait()
pool.call(job, cluster.Queue(name=sys.argv[1]))
say("submitted")
hear()
"""
    name = f"{unique} begun"
    other = program(source, name, environment={"PYTHONPATH": str(ROOT)})
    assert other.line() == "submitted"
    pid = cluster.Queue(name=name).get(timeout=10)
    other.kill()
    testing.wait_until(lambda: not workers.is_alive(pid))
    pool = pool()
    pool.call(operator.neg, 1)
    assert pool.result() == -1
    assert host.process.poll() is None
