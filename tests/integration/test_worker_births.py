"""Worker processes that replace others: forks of the nursery, and as good as executed ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.integration import workers

from mpclient import testing

mpworker = workers.mpworker
tasks, results = workers.tasks, workers.results
begun, gate, waits = workers.begun, workers.gate, workers.waits
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked"),
]


def a_fork_replaces_it(tasks, results):
    """Have the one worker process replaced; tell whether its successor is a fork."""

    def replaced():
        os.kill(os.getpid(), signal.SIGTERM)

    tasks.put_many([replaced, os.getpid])
    return workers.is_fork(results.get_many(2, timeout=20)[-1] or results.get(timeout=20))


@pytest.fixture
def born(mpworker, server, unique, tasks, results):
    """Return a worker host whose one process is a fork, and that process."""
    host = mpworker(server, queue=unique).ready()
    # the nursery is there a moment later than the first processes
    testing.wait_until(lambda: a_fork_replaces_it(tasks, results), 60)
    (pid,) = workers.processes_of(host.process.pid)
    return host, pid


def test_a_fork_is_like_what_is_executed(mpworker, server, cluster, unique, tasks, results, born):
    def about_itself():
        import atexit
        import faulthandler
        import sys

        def says_so():
            os.write(1, b"exit handler\n")

        def descriptors():
            for link in Path("/proc/self/fd").iterdir():
                with suppress(OSError):  # that of the listing
                    yield str(link.readlink()).startswith("pipe:"), os.get_inheritable(int(link.name))

        atexit.register(says_so)
        print("printed")  # noqa: T201 - it comes home
        return os.getppid(), {
            "leads a session": os.getsid(0) == os.getpid(),
            "pipes": sum(is_pipe for is_pipe, _ in descriptors()),
            "passed on": sum(is_passed_on for _, is_passed_on in descriptors()),
            "signals": [str(signal.getsignal(number)) for number in (signal.SIGCHLD, signal.SIGPIPE)],
            "woken": signal.set_wakeup_fd(-1),
            "tells of crashes": faulthandler.is_enabled(),
            "main": sorted(vars(sys.modules["__main__"])),
            "folder": Path.cwd(),
            "path": sys.path,
            "environment": {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
            "input": sys.stdin.read(),
        }

    executed = mpworker(server, queue=f"{unique} executed", typed=True).ready()
    host, _ = born
    cluster.JoinableQueue(name=f"{unique} executed").put(about_itself)
    tasks.put(about_itself)
    expected = cluster.Queue(name=f"{unique} executed results").get(timeout=20)
    got = results.get(timeout=20)
    assert (expected[0], got[0]) == (executed.process.pid, host.process.pid)
    assert got[1] == expected[1]
    host.wait_for("worker.output", line="printed", stream="stdout")
    host.send_signal(signal.SIGTERM)
    assert host.wait() == 0
    host.wait_for("worker.output", line="exit handler", stream="stdout")


def test_a_fork_that_is_killed(tasks, results, waits, begun, gate, born):
    host, pid = born
    tasks.put(partial(waits, "job"))
    assert begun.get(timeout=20) == ("job", pid)
    os.kill(pid, signal.SIGKILL)
    _, other = begun.get(timeout=20)
    gate.set()
    assert results.get(timeout=20) == ("job", other)
    assert workers.is_fork(other)
    assert host.wait_for("worker.died", pid=pid)[0]["how"] == "killed by SIGKILL (signal 9)"


def test_a_killed_nursery_takes_no_worker_process_along(tasks, results, waits, begun, gate, born):
    host, pid = born
    tasks.put_many([partial(waits, "first"), partial(os.kill, pid, signal.SIGTERM), os.getpid])
    assert begun.get(timeout=20) == ("first", pid)
    (nursery,) = workers.nursery_of(host.process.pid)
    os.kill(nursery, signal.SIGKILL)
    host.wait_for("worker.nursery_died")
    gate.set()
    assert results.get(timeout=20) == ("first", pid)
    assert results.get(timeout=20) is None
    assert not workers.is_fork(results.get(timeout=20))
    assert not host.events("worker.died")


def test_a_killed_nursery_has_a_successor(tasks, results, born):
    host, _ = born
    (nursery,) = workers.nursery_of(host.process.pid)
    os.kill(nursery, signal.SIGKILL)
    host.wait_for("worker.nursery_died")
    testing.wait_until(lambda: a_fork_replaces_it(tasks, results), 60)


def test_a_frozen_nursery_holds_nobody_up_for_ever(tasks, results, born):
    host, pid = born
    (nursery,) = workers.nursery_of(host.process.pid)
    os.kill(nursery, signal.SIGSTOP)
    tasks.put_many([partial(os.kill, pid, signal.SIGTERM), os.getpid])
    assert results.get(timeout=20) is None
    assert not workers.is_fork(results.get(timeout=20))
    os.kill(nursery, signal.SIGCONT)
    # what the nursery gives birth to now has been given up, and ends by itself
    testing.wait_until(lambda: len(workers.processes_of(host.process.pid)) == 1)
    # and it is used again, once it has answered
    testing.wait_until(lambda: a_fork_replaces_it(tasks, results), 60)


def test_a_fork_outlives_its_supervisor_for_one_job(tasks, results, waits, begun, gate, born):
    host, pid = born
    tasks.put_many([partial(waits, "first"), partial(waits, "second")])
    assert begun.get(timeout=20) == ("first", pid)
    host.process.kill()
    host.process.wait(10)
    gate.set()
    assert results.get(timeout=20) == ("first", pid)
    testing.wait_until(lambda: not workers.is_alive(pid))
    assert tasks.qsize() == 1


def test_what_jobs_leave_behind_is_waited_for(tasks, results, born):
    host, _ = born

    def leaves_behind():
        command = "import os\npid = os.fork()\nif pid: print(pid)\nelse: os.setsid()"
        return int(subprocess.check_output([sys.executable, "-c", command]))

    tasks.put(leaves_behind)
    orphan = results.get(timeout=20)
    testing.wait_until(lambda: not Path(f"/proc/{orphan}").exists())
    assert host.process.poll() is None
