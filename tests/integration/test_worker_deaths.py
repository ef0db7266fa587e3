"""Worker processes and supervisors that die: nothing is lost, nothing is answered twice."""

from __future__ import annotations

import operator
import os
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.integration import workers

from mpclient import WorkerDied, testing

mpworker = workers.mpworker
tasks, results = workers.tasks, workers.results
begun, gate, waits = workers.begun, workers.gate, workers.waits
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.chaos,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc"),
]


def test_a_killed_worker_loses_nothing(mpworker, server, unique, tasks, results, waits, begun, gate):
    host = mpworker(server, queue=unique, processes=2).ready()
    tasks.put(partial(waits, "a"))
    _, victim = begun.get(timeout=10)
    os.kill(victim, signal.SIGKILL)
    name, other = begun.get(timeout=10)
    assert (name, other != victim) == ("a", True)
    gate.set()
    assert tasks.join(timeout=10)
    assert results.get_many(10) == [("a", other)]
    (died,) = host.wait_for("worker.died")
    assert died["how"] == "killed by SIGKILL (signal 9)"
    assert died["running"] == f"job 1 of {unique}"
    testing.wait_until(lambda: len(workers.processes_of(host.process.pid)) == 2)
    tasks.put_many([None, None])
    assert host.wait() == 0


def test_all_workers_killed_again_and_again(mpworker, server, unique, tasks, results, begun):
    host = mpworker(server, queue=unique, processes=2).ready()

    def job(number):
        begun.put(os.getpid())
        return number

    tasks.put_many(partial(job, number) for number in range(60))
    for kill in range(60):
        pid = begun.get(timeout=10)
        if kill % 15 == 0:
            with suppress(ProcessLookupError):  # it had said so before it was killed
                os.kill(pid, signal.SIGKILL)
    assert tasks.join(timeout=20)
    got = results.get_many(1000)
    answered = sorted(one for one in got if isinstance(one, int))
    assert answered == list(range(60))
    assert len(got) == 60
    assert host.process.poll() is None


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("os.kill(os.getpid(), 9)", "killed by SIGKILL (signal 9)"),
        ("os.kill(os.getpid(), 11)", "killed by SIGSEGV (signal 11)"),
        ("os._exit(3)", "gone with exit code 3"),
        ("os._exit(0)", "gone with exit code 0"),
    ],
)
def test_a_job_that_kills_its_workers_is_set_aside(mpworker, server, unique, tasks, results, how, reason):
    host = mpworker(server, queue=unique, processes=1).ready()
    source = f"import os\nprint('last words')\nprint('and more', end='', flush=True)\n{how}"
    jobs = [partial(operator.add, 1, 1)] * 3
    tasks.put_many([*jobs, partial(exec, source, {}), *jobs])
    assert tasks.join(timeout=30)
    got = results.get_many(100)
    assert len(got) == 7
    assert got.count(2) == 6
    (died,) = (one for one in got if one != 2)
    assert isinstance(died, WorkerDied)
    assert reason in died.text
    (report,) = tasks.dead.list()
    assert report["attempts"] == 3
    assert report["reason"] == reason
    assert {"last words", "and more"} <= set(report["output"])
    assert report["peak_memory_bytes"] > 10_000_000
    assert report["worker"].endswith("/1")
    died = host.wait_for("worker.died", 3)
    assert [line["pid"] for line in died][-1:] == [report["pid"]]
    assert len(died) == 3


def test_the_neighbours_in_a_batch_are_not_blamed(mpworker, fresh_server):
    server = fresh_server("--max-attempts", "1")
    with server.connect() as cluster:
        tasks, results = cluster.JoinableQueue(name="q"), cluster.Queue(name="q results")
        mpworker(server, queue="q")
        tasks.put_many([partial(operator.add, 1, 1)] * 2000)
        tasks.join()
        assert len(results.get_many(5000)) == 2000
        tasks.put_many(
            [*[partial(operator.add, 1, 1)] * 10, partial(os._exit, 1), partial(operator.add, 1, 1)]
        )
        assert tasks.join(timeout=20)
        got = results.get_many(5000)
        assert got.count(2) == 11
        assert [report["number"] for report in tasks.dead.list()] == [2011]


def test_the_servers_number_of_attempts_is_that_of_its_pools(mpworker, fresh_server):
    server = fresh_server("--max-attempts", "1")
    mpworker(server)
    with server.connect() as cluster, cluster.executor() as executor:
        error = executor.submit(os._exit, 3).exception(20)
    assert isinstance(error, WorkerDied)
    assert error.fields["attempts"] == 1


def test_a_crash_of_the_interpreter_says_where(mpworker, server, unique, tasks):
    mpworker(server, queue=unique)

    def crashes():
        import ctypes

        ctypes.string_at(0)

    tasks.put(crashes)
    assert tasks.join(timeout=30)
    output = "\n".join(tasks.dead.list()[0]["output"])
    assert "Segmentation fault" in output
    assert "in crashes" in output


def test_workers_outlive_their_supervisor_for_one_job(
    mpworker, server, unique, tasks, results, waits, begun, gate
):
    host = mpworker(server, queue=unique, typed=True).ready()
    tasks.put_many([partial(waits, "first"), partial(waits, "second")])
    _, pid = begun.get(timeout=10)
    host.process.kill()
    host.process.wait(10)
    gate.set()
    assert results.get(timeout=10) == ("first", pid)
    testing.wait_until(lambda: not workers.is_alive(pid))
    assert tasks.qsize() == 1
    mpworker(server, queue=unique)
    assert results.get(timeout=10)[0] == "second"
    assert tasks.dead.list() == []


def test_no_job_is_begun_without_a_supervisor(mpworker, server, unique, tasks, results, waits, begun):
    """The thread that listens to the supervisor has had no turn by then."""

    def kills_the_supervisor():
        sys.setswitchinterval(0.1)
        supervisor = os.getppid()
        os.kill(supervisor, signal.SIGKILL)
        until_s = time.perf_counter() + 0.002
        while os.getppid() == supervisor or time.perf_counter() < until_s:
            pass

    # the first comes alone, the others in one batch
    tasks.put_many([os.getpid, kills_the_supervisor, partial(waits, "second")])
    mpworker(server, queue=unique)
    pid = results.get(timeout=10)
    testing.wait_until(lambda: not workers.is_alive(pid))
    assert (tasks.qsize(), begun.qsize()) == (1, 0)


def test_an_idle_worker_goes_with_its_supervisor(mpworker, server, unique):
    host = mpworker(server, queue=unique, processes=2, typed=True).ready()
    pids = workers.processes_of(host.process.pid)
    host.process.kill()
    testing.wait_until(lambda: not any(map(workers.is_alive, pids)))


def test_the_end_of_the_lifeline_ends_all_at_once(mpworker, server, unique, tasks, waits, begun):
    reading, writing = os.pipe()
    host = mpworker(server, "--lifeline", str(reading), queue=unique, pass_fds=(reading,)).ready()
    os.close(reading)
    tasks.put(partial(waits, "never done"))
    _, pid = begun.get(timeout=10)
    os.close(writing)
    assert host.wait() == 0
    assert not workers.is_alive(pid)


def test_a_frozen_worker_is_given_up(mpworker, fresh_server):
    """A frozen process is silent, with its connections open, and nobody speaks for it any more."""
    server = fresh_server("--session-timeout", "1s")
    with server.connect() as cluster:
        tasks, results = cluster.JoinableQueue(name="q"), cluster.Queue(name="q results")
        host = mpworker(server, queue="q").ready()
        (pid,) = workers.processes_of(host.process.pid)
        host.process.kill()  # nobody speaks for the worker any more
        os.kill(pid, signal.SIGSTOP)
        mpworker(server, queue="q")
        tasks.put(partial(operator.add, 1, 1))
        assert results.get(timeout=10) == 2
        os.kill(pid, signal.SIGKILL)


# -- stopping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_the_current_job_finish(
    mpworker, server, unique, tasks, results, waits, begun, gate, number
):
    host = mpworker(server, queue=unique).ready()
    tasks.put_many([partial(waits, "first"), partial(waits, "second")])
    _, pid = begun.get(timeout=10)
    host.send_signal(number)
    host.wait_for("worker.finishing")
    gate.set()
    assert host.wait() == 0
    assert results.get_many(10, timeout=10) == [("first", pid)]
    assert tasks.qsize() == 1


def test_a_stop_hands_back_what_was_not_begun(mpworker, server, unique, tasks, results, waits, begun, gate):
    host = mpworker(server, queue=unique).ready()
    tasks.put_many([partial(operator.add, 1, 1)] * 2000)
    tasks.join()
    tasks.put_many([partial(waits, number) for number in range(40)])
    begun.get(timeout=10)
    host.send_signal(signal.SIGTERM)
    host.wait_for("worker.finishing")
    gate.set()
    assert host.wait() == 0
    assert tasks.qsize() == 39
    assert results.qsize() == 2001
    second = mpworker(server, queue=unique)
    assert tasks.join(timeout=20)
    assert results.qsize() == 2040
    assert tasks.dead.list() == []
    assert not second.events("worker.died")


def test_an_idle_worker_stops_at_once(mpworker, server, unique, cluster):
    host = mpworker(server, queue=unique, processes=2).ready()
    host.send_signal(signal.SIGTERM)
    assert host.wait() == 0
    assert not [one for one in cluster.status()["sessions"] if one["queue"] == unique]


def test_a_second_signal_hands_back_what_runs(mpworker, server, unique, tasks, results, waits, begun, gate):
    host = mpworker(server, queue=unique).ready()
    for _ in range(3):  # as often as a job may lose its worker: it must not count
        tasks.put(partial(waits, "again"))
        begun.get(timeout=10)
        host.send_signal(signal.SIGINT)
        host.wait_for("worker.stopping", how="stop")
        host.send_signal(signal.SIGINT)
        assert host.wait() == 7
        assert tasks.qsize() == 1
        tasks.clear()
        host = mpworker(server, queue=unique).ready()
    assert tasks.dead.list() == []
    assert results.qsize() == 0


def test_a_worker_process_told_to_stop_is_replaced(
    mpworker, server, unique, tasks, results, waits, begun, gate
):
    host = mpworker(server, queue=unique).ready()
    tasks.put(partial(waits, "job"))
    _, pid = begun.get(timeout=10)
    os.kill(pid, signal.SIGTERM)
    gate.set()
    assert results.get(timeout=10) == ("job", pid)
    assert host.wait_for("worker.ended", why="stopped")[0]["pid"] == pid
    tasks.put(os.getpid)
    assert results.get(timeout=10) != pid


def test_full_results_do_not_prevent_a_stop(mpworker, server, cluster, unique, tasks):
    results = cluster.Queue(1, name=f"{unique} results")
    host = mpworker(server, queue=unique).ready()
    tasks.put_many([partial(operator.add, number, 0) for number in range(100)])
    testing.wait_until(lambda: testing.waiters(cluster, results) == 1)
    host.send_signal(signal.SIGTERM)
    assert host.wait() == 0
    there = results.get_many(100)  # one batch, which may be larger than one: it enters whole
    mpworker(server, queue=unique)
    rest = [results.get(timeout=10) for _ in range(100 - len(there))]
    assert sorted(there + rest) == list(range(100))
    assert tasks.join(timeout=10)
