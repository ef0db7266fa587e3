"""`mpworker` at work: jobs in, answers out, and what each kind of failure becomes."""

from __future__ import annotations

import importlib
import operator
import os
import pickle
import subprocess
import sys
from functools import partial

import pytest
from tests.integration import workers

import mpclient
from mpclient import TaskError, testing
from mpshared.errors import ShutDown

mpworker = workers.mpworker
tasks, results = workers.tasks, workers.results
pytestmark = pytest.mark.hosts


@pytest.fixture
def host(mpworker, server, unique, tasks, results):
    """One worker process for the test's own queue."""
    return mpworker(server, queue=unique).ready()


def test_each_kind_of_callable_is_run_and_answered(host, tasks, results):
    class Callable:
        def __init__(self, number):
            self.number = number

        def __call__(self):
            return self.number + 1

    bound = 40
    tasks.put(partial(operator.mul, 6, 8))
    tasks.put(lambda: bound + 2)
    tasks.put(Callable(6))
    tasks.put(list)
    tasks.put(partial(print, "a line"))
    tasks.join()
    assert [results.get(timeout=0) for _ in range(5)] == [48, 42, 7, [], None]
    assert host.wait_for("worker.output")[0]["line"] == "a line"


def test_many_jobs_are_each_answered_once(mpworker, server, unique, tasks, results):
    mpworker(server, queue=unique, processes=2)
    tasks.put_many(partial(operator.add, number, 1) for number in range(5000))
    tasks.join()
    got = results.get_many(10_000)
    assert sorted(got) == list(range(1, 5001))


def test_the_recipe_of_the_documentation(mpworker, server, unique, tasks, results):
    host = mpworker(server, queue=unique, processes=3)
    for number in range(10):
        tasks.put(partial(operator.mul, number, number))
    for _ in range(3):
        tasks.put(None)
    tasks.join()
    assert sorted(results.get() for _ in range(10)) == [number * number for number in range(10)]
    assert host.wait() == 0
    assert len(host.events("worker.stopped", why="pill")) == 3


def test_a_pill_stops_one_process_only(mpworker, server, unique, tasks, results):
    host = mpworker(server, queue=unique, processes=2).ready()
    tasks.put(None)
    tasks.join()
    host.wait_for("worker.stopped")
    tasks.put(os.getpid)
    assert results.get(timeout=10) in workers.processes_of(host.process.pid)
    tasks.put(None)
    assert host.wait() == 0


def test_respawned_processes_work_on(mpworker, server, unique, tasks, results):
    host = mpworker(server, "--respawn", queue=unique, processes=2).ready()
    tasks.put(os.getpid)
    first = results.get(timeout=10)
    tasks.put_many([None, None])
    tasks.join()
    tasks.put(os.getpid)
    assert results.get(timeout=10) != first
    assert host.process.poll() is None


def test_the_end_of_the_queue_stops_all(mpworker, server, unique, tasks, results):
    host = mpworker(server, queue=unique, processes=2).ready()
    tasks.put_many([partial(operator.neg, 5)] * 3)
    tasks.shutdown()
    assert host.wait() == 0
    assert results.get_many(10) == [-5] * 3
    assert len(host.events("worker.stopped", why="shut")) == 2


# -- failures --------------------------------------------------------------------------------------


def failure(tasks, results, job) -> TaskError:
    """Return what a job's failure looks like, and see that the worker lives."""
    tasks.put(job)
    tasks.put(partial(operator.add, 1, 1))
    error = results.get(timeout=10)
    assert results.get(timeout=10) == 2
    assert isinstance(error, TaskError)
    return error


def test_an_exception_becomes_a_task_error(host, tasks, results):
    def breaks():
        raise ValueError("no good")

    error = failure(tasks, results, breaks)
    assert "ValueError: no good" in error.text
    assert error.task.endswith("breaks")
    assert error.pid in workers.processes_of(host.process.pid)
    assert error.host in error.text
    assert error.fields["type"] == "ValueError"
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert "in breaks" in error.traceback
    assert "mpclient" not in error.traceback
    with pytest.raises(TaskError, match="no good"):
        raise error


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_exception_of_a_job_ends_the_worker(host, tasks, results, kind):
    def breaks():
        raise kind

    assert failure(tasks, results, breaks).fields["type"] == kind.__name__


def test_an_exception_that_cannot_be_shown(host, tasks, results):
    class Nasty(Exception):
        def __str__(self):
            raise RuntimeError

    def breaks():
        raise Nasty

    assert "Nasty" in failure(tasks, results, breaks).text


def test_an_item_that_is_no_job(host, tasks, results):
    error = failure(tasks, results, [1, 2])
    assert "is not a job: [1, 2] (a list)" in error.text


def test_an_answer_that_cannot_be_sent(host, tasks, results):
    error = failure(tasks, results, lambda: (number for number in ()))
    assert "cannot be pickled: a generator" in error.text


def test_a_module_that_is_not_there(mpworker, server, unique, tasks, results, tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "only_here.py").write_text("def f():\n    return 'found'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    only_here = importlib.import_module("only_here")
    host = mpworker(server, queue=unique).ready()
    error = failure(tasks, results, only_here.f)
    assert "'only_here' is not on this host" in error.text
    assert "--pythonpath" in error.text
    tasks.put(None)
    host.wait()
    mpworker(server, "--pythonpath", str(tmp_path / "lib"), queue=unique)
    tasks.put(only_here.f)
    assert results.get(timeout=10) == "found"


def test_a_module_that_differs(host, tasks, results, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "differs.py").write_text("def f():\n    return 1\n")
    (tmp_path / "differs.py").write_text("")  # in the worker's current folder
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    differs = importlib.import_module("differs")
    assert "A module here differs" in failure(tasks, results, differs.f).text


def test_an_answer_larger_than_the_server_takes(mpworker, fresh_server):
    server = fresh_server("--max-message", "100K")
    with server.connect() as cluster:
        tasks, results = cluster.JoinableQueue(name="q"), cluster.Queue(name="q results")
        mpworker(server, queue="q").ready()
        tasks.put_many([partial(bytes, size) for size in (10, 200_000, 60_000, 60_000, 20)])
        tasks.join()
        got = results.get_many(2) + results.get_many(1) + results.get_many(1) + results.get_many(1)
        assert [len(one) for one in got if isinstance(one, bytes)] == [10, 60_000, 60_000, 20]
        assert [one.text for one in got if "more than the server takes" in str(one)] == [got[1].text]


def test_an_answer_whose_memory_the_next_job_uses_again(host, tasks, results):
    def refill(number):
        memory = vars(sys).setdefault("memory_of_this_test", bytearray(1 << 16))
        memory[:] = bytes([number]) * len(memory)
        return pickle.PickleBuffer(memory)

    tasks.put_many([partial(refill, number) for number in range(100)])
    tasks.join()
    assert [results.get()[0] for _ in range(100)] == [*range(100)]


def test_of_jobs_that_came_together_each_fails_alone(host, tasks, results):
    tasks.put_many([partial(operator.truediv, number, number % 10) for number in range(500)])
    tasks.join()
    got = results.get_many(500)
    assert [isinstance(one, TaskError) for one in got] == [number % 10 == 0 for number in range(500)]
    assert "truediv) raised ZeroDivisionError" in got[490].text
    assert got[499] == 499 / 9


def test_results_that_nobody_takes_any_more(host, tasks, results):
    results.shutdown()
    tasks.put(os.getpid)
    tasks.join()
    assert host.wait_for("worker.results_refused")[0]["dropped"] == 1
    with pytest.raises(ShutDown):
        results.get()


def test_results_that_cannot_be_ordered(mpworker, server, cluster, unique, tasks):
    """A priority queue refuses what is not plain data: that result is dropped, the others are not."""
    results = cluster.PriorityQueue(name=f"{unique} results")
    host = mpworker(server, queue=unique).ready()
    tasks.put_many([partial(operator.neg, number) for number in range(5)])
    tasks.put(partial(operator.truediv, 1, 0))
    tasks.put_many([partial(operator.neg, number) for number in range(5, 10)])
    assert tasks.join(timeout=20)
    assert results.get_many(100) == list(range(-9, 1))
    assert sum(line["dropped"] for line in host.wait_for("worker.results_refused")) == 1


def test_a_job_queue_that_is_deleted_takes_its_results_along(host, cluster, unique, tasks, results):
    begun, gate = cluster.Event(), cluster.Event()

    def job():
        begun.set()
        gate.wait()

    tasks.put(job)
    assert begun.wait(10)
    tasks = cluster.JoinableQueue(name=unique, fresh=True)
    gate.set()
    tasks.put(partial(operator.add, 1, 1))
    assert results.get(timeout=10) == 2
    assert results.qsize() == 0
    assert host.wait_for("worker.queue_deleted")[0]["results_dropped"] == 1


def test_queues_that_are_made_anew(host, cluster, unique, tasks, results):
    tasks.put(partial(operator.add, 1, 1))
    assert results.get(timeout=10) == 2
    results = cluster.Queue(name=f"{unique} results", fresh=True)
    tasks.put(partial(operator.add, 1, 2))
    assert results.get(timeout=10) == 3
    tasks = cluster.JoinableQueue(name=unique, fresh=True)
    tasks.put(partial(operator.add, 2, 2))
    assert results.get(timeout=10) == 4


# -- what jobs find -------------------------------------------------------------------------------


def test_shared_objects_in_jobs_are_the_workers_own(host, cluster, tasks, results):
    seen = cluster.dict()

    def note():
        seen["pid"] = os.getpid()
        made = mpclient.connect().list([1])
        made.append(seen)
        return made

    tasks.put(note)
    made = results.get(timeout=10)
    assert made[1]["pid"] == seen["pid"] in workers.processes_of(host.process.pid)


def test_standard_library_proxies_in_jobs(host, server, tasks, results):
    from multiprocessing.managers import SyncManager

    from mpshared.address import Address

    address = Address.parse(server.address)
    manager = SyncManager((address.host, address.port), server.key.encode())
    manager.connect()
    shared = manager.dict()
    tasks.put(partial(shared.update, {"a": 1}))
    tasks.join()
    assert results.get(timeout=10) is None
    assert shared.copy() == {"a": 1}


def test_a_job_may_start_processes(host, tasks, results):
    def forks():
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, [-1, -2])

    def terminates():
        import multiprocessing
        import time

        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(10)
        return child.exitcode

    def runs():
        return subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True).stdout

    tasks.put_many([forks, terminates, runs])
    assert [results.get(timeout=20) for _ in range(3)] == [[1, 2], -15, b"1\n"]


def test_a_fork_that_a_job_forgets_is_no_second_worker(host, tasks, results):
    tasks.put(os.fork)
    child = results.get(timeout=10)
    tasks.put(partial(os.waitpid, child, 0))
    assert results.get(timeout=10) == (child, 0)
    tasks.join()
    assert results.qsize() == 0


def test_jobs_may_do_what_they_like_with_standard_output(host, tasks, results):
    def closes():
        import sys

        sys.stdout.close()
        sys.stdout = 5  # type: ignore[assignment]

    tasks.put_many([closes, partial(operator.add, 1, 1)])
    assert [results.get(timeout=10) for _ in range(2)] == [None, 2]
    tasks.put(partial(operator.add, 1, 2))
    assert results.get(timeout=10) == 3


def test_a_thread_that_a_job_leaves_does_not_keep_its_process(mpworker, server, unique, tasks, results):
    def leaves():
        import threading
        import time

        threading.Thread(target=time.sleep, args=(3600,)).start()
        return os.getpid()

    host = mpworker(server, "--max-tasks", "1", queue=unique)
    tasks.put_many([leaves, os.getpid])
    first, second = results.get(timeout=10), results.get(timeout=30)
    assert first != second
    assert not host.events("worker.died")


def test_chdir_and_name(mpworker, server, cluster, unique, tasks, results, tmp_path):
    (tmp_path / "there").mkdir()
    mpworker(server, "--chdir", str(tmp_path / "there"), "--name", "the host", queue=unique).ready()
    tasks.put(os.getcwd)
    assert results.get(timeout=10) == str(tmp_path / "there")
    sessions = cluster.status()["sessions"]
    mine = [one for one in sessions if one["queue"] == unique]
    assert sorted((one["role"], one["name"], one["slots"]) for one in mine) == [
        ("supervisor", "the host", 1),
        ("worker", "the host/1", 1),
    ]


def test_the_number_of_usable_cores_is_the_default(mpworker, server, unique, cluster):
    from mpclient.worker.options import usable_cores

    mpworker(server, "--processes", str(usable_cores()), queue=unique).ready()
    mine = [one for one in cluster.status()["sessions"] if one["queue"] == unique]
    assert [one["slots"] for one in mine if one["role"] == "supervisor"] == [usable_cores()]


# -- fairness -------------------------------------------------------------------------------------


def test_a_slow_job_holds_up_nothing(host, cluster, tasks, results, unique):
    """Quick jobs made the batches large: what is finished is sent, what was not begun is handed back."""
    gate = cluster.Event()
    tasks.put_many([partial(operator.add, 1, 1)] * 3000)
    tasks.join()
    assert len(results.get_many(5000)) == 3000
    tasks.put_many([partial(operator.add, 2, 2)] * 5 + [gate.wait] + [partial(operator.add, 3, 3)] * 5)
    assert [results.get(timeout=10) for _ in range(5)] == [4] * 5
    testing.wait_until(lambda: tasks.qsize() == 5)
    gate.set()
    assert [results.get(timeout=10) for _ in range(6)] == [True] + [6] * 5


def test_full_results_hold_up_the_worker(mpworker, server, cluster, unique, tasks):
    results = cluster.Queue(2, name=f"{unique} results")
    mpworker(server, queue=unique).ready()
    tasks.put_many([partial(operator.add, number, 0) for number in range(50)])
    assert [results.get(timeout=10) for _ in range(50)] == list(range(50))
    tasks.join()


# -- replacement ----------------------------------------------------------------------------------


def test_max_tasks_replaces_processes(mpworker, server, unique, tasks, results):
    host = mpworker(server, "--max-tasks", "3", queue=unique)
    tasks.put_many([os.getpid] * 10)
    tasks.join()
    pids = results.get_many(100)
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 3, 1]
    assert len(host.wait_for("worker.ended", 3, why="max tasks")) == 3


def test_max_memory_replaces_processes(mpworker, server, unique, tasks, results):
    def grow():
        import sys

        sys.modules["kept"] = bytearray(150_000_000)  # type: ignore[assignment]
        return os.getpid()

    host = mpworker(server, "--max-memory", "120M", queue=unique)
    tasks.put_many([os.getpid, os.getpid, grow, os.getpid, os.getpid])
    tasks.join()
    first, second, grown, *others = results.get_many(100)
    assert first == second == grown
    assert grown not in others
    assert host.wait_for("worker.ended", why="max memory")[0]["pid"] == grown
