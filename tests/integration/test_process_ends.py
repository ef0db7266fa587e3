"""Processes on real worker hosts: ends of everything that can end, and hosts of every sort."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration import workers
from tests.integration.processes import TARGETS, gone

from mpclient import NotAllowed, NoWorkers, testing

mpworker = workers.mpworker
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.chaos,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc"),
]


@pytest.fixture
def own(fresh_server) -> Any:
    """A server of the test's own: Processes go to its worker hosts and nowhere else."""
    return fresh_server("--grace", "60s")  # what is passed on before that is passed on by reports


@pytest.fixture
def cluster(own) -> Iterator[Any]:
    with own.connect(name="test") as cluster:
        yield cluster


@pytest.fixture
def run(own, program) -> Callable[..., Any]:
    """Run a program that has `cluster`, `Process`, and the functions that its Processes run."""

    def run(source: str, *args: str, **environment: str) -> Any:
        return program(TARGETS + textwrap.dedent(source), *args, environment=own.environment | environment)

    return run


def begun(cluster, n: int = 1) -> tuple[list[Any], list[int], Any]:
    """Start Processes that wait for a gate; return them, their pids, and the gate."""
    ready, gate = cluster.Queue(), cluster.Event()

    def work():
        ready.put(os.getpid())
        gate.wait()

    processes = [cluster.Process(target=work) for _ in range(n)]
    for process in processes:
        process.start()
    return processes, [ready.get(timeout=20) for _ in processes], gate


class TestDeaths:
    def test_locks_of_a_killed_process_are_free_when_it_is_joined(self, cluster, own, mpworker, in_thread):
        mpworker(own).ready()
        lock, ready = cluster.Lock(), cluster.Event()

        def hold():
            lock.acquire()
            ready.set()
            cluster.Event().wait()

        process = cluster.Process(target=hold)
        process.start()
        assert ready.wait(20)
        waiting = in_thread(lambda: lock.acquire(timeout=20))
        testing.wait_until(lambda: testing.waiters(cluster, lock) == 1)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert testing.waiters(cluster, lock) == 0
        assert (waiting(), process.exitcode) == (True, -9)

    def test_a_lost_host(self, fresh_server, mpworker, capfd):
        server = fresh_server()
        with server.connect() as cluster:
            host = mpworker(server).ready()
            processes, pids, _ = begun(cluster, 2)
            (nursery,) = workers.nursery_of(host.process.pid)
            host.process.kill()
            for process in processes:
                process.join(20)
            assert [process.exitcode for process in processes] == [-9, -9]
            gone(*pids, nursery)
        told = capfd.readouterr().err.splitlines()
        lost = f"is lost: its worker host {os.uname().nodename} was lost"
        assert told == [f"mpclient: process {p.name} (pid {p.pid}) {lost}" for p in processes]

    def test_a_killed_nursery(self, cluster, own, mpworker, capfd):
        host = mpworker(own).ready()
        processes, pids, _ = begun(cluster, 2)
        (nursery,) = workers.nursery_of(host.process.pid)
        os.kill(nursery, signal.SIGKILL)
        for process in processes:
            process.join(20)
        assert [process.exitcode for process in processes] == [-9, -9]
        gone(*pids)
        host.wait_for("worker.nursery_died", processes=2)
        (process,), _, gate = begun(cluster)
        gate.set()
        process.join(20)
        assert process.exitcode == 0
        assert capfd.readouterr().err == ""

    def test_a_lost_server(self, fresh_server, mpworker):
        server = fresh_server()
        with server.connect(reconnect_timeout=0.1) as cluster:
            mpworker(server).ready()
            processes, pids, _ = begun(cluster)
            server.send_signal(signal.SIGKILL)
            server.wait()
            with pytest.raises(ConnectionError):
                processes[0].join()
        gone(*pids)

    def test_a_server_that_is_restarted_with_its_state(self, fresh_server, mpworker, in_thread, tmp_path):
        server = fresh_server("--data", str(tmp_path / "data"))
        with server.connect(reconnect_timeout=20.0) as cluster:
            mpworker(server).ready()
            (process,), _, gate = begun(cluster)
            joined = in_thread(process.join)
            testing.wait_until(lambda: testing.waiters(cluster, process.sentinel) == 1)
            server.send_signal(signal.SIGKILL)
            server.wait()
            server.start(port=int(server.address.rpartition(":")[2]))
            assert process.is_alive()
            gate.set()
            joined()
            assert process.exitcode == 0
            (process,), (pid,), _ = begun(cluster)
            server.send_signal(signal.SIGKILL)
            server.wait()
            os.kill(pid, signal.SIGTERM)
            server.start(port=int(server.address.rpartition(":")[2]))
            process.join(20)
            assert process.exitcode == -signal.SIGTERM

    def test_a_server_that_takes_its_time_to_be_back(self, fresh_server, mpworker, tmp_path):
        server = fresh_server("--data", str(tmp_path / "data"))
        with server.connect(reconnect_timeout=60.0) as cluster:
            host = mpworker(server).ready()
            (process,), (pid,), gate = begun(cluster)
            server.send_signal(signal.SIGKILL)
            server.wait()
            host.wait_for("server.away")
            server.start(port=int(server.address.rpartition(":")[2]))
            host.wait_for("server.back")
            assert workers.is_alive(pid)
            gate.set()
            process.join(20)
            assert process.exitcode == 0
            assert "server.lost" not in host.text

    def test_a_stopped_host_lets_them_end(self, cluster, own, mpworker):
        host = mpworker(own).ready()
        (process,), _, gate = begun(cluster)
        host.send_signal(signal.SIGTERM)
        host.wait_for("worker.stopping", spawned=1)
        with pytest.raises(NotAllowed, match="it is stopping"):
            cluster.Process(target=gate.set).start()
        gate.set()
        process.join(20)
        assert (process.exitcode, host.wait()) == (0, 0)

    def test_stopped_twice_it_ends_them(self, cluster, own, mpworker):
        host = mpworker(own).ready()
        (process,), _, _ = begun(cluster)
        host.send_signal(signal.SIGTERM)
        host.wait_for("worker.stopping")
        host.send_signal(signal.SIGTERM)
        process.join(20)
        assert (process.exitcode, host.wait()) == (-15, 7)


class TestHosts:
    def test_without_one_it_waits_and_says_so(self, run, own, mpworker):
        program = run("""
            p = Process(target=print, args=("here",))
            p.start(); p.join()
            """)
        assert f"mpworker --connect {own.address}" in program.process.stderr.readline()
        mpworker(own)
        assert program.finish() == "here"

    def test_none_comes(self, cluster, monkeypatch):
        monkeypatch.setenv("MPSERVE_WORKER_WAIT", "0.1")
        process = cluster.Process(target=print)
        with pytest.raises(NoWorkers, match="mpworker --connect"):
            process.start()
        assert (process.pid, process.is_alive(), process.exitcode) == (None, False, None)

    def test_another_python(self, cluster, own, mpworker):
        others = workers.other_pythons()
        if not others:
            pytest.skip("needs another Python (MPSERVE_TEST_PYTHONS)")
        version, python = others.popitem()
        mpworker(own, python=python).ready()
        with pytest.raises(NoWorkers, match=f"have Python {version}") as raised:
            cluster.Process(target=lambda: None).start()
        assert raised.value.fields["versions"] == [[int(part) for part in version.split(".")]]
        plain = cluster.Process(target=print, args=("any Python",))
        plain.start()
        plain.join(20)
        assert plain.exitcode == 0

    def test_as_many_as_allowed(self, cluster, own, mpworker):
        mpworker(own, "--max-spawned", "2", "--name", "small").ready()
        processes, _, gate = begun(cluster, 2)
        with pytest.raises(NotAllowed, match=r"small has all 2 processes that its --max-spawned allows"):
            cluster.Process(target=print).start()
        gate.set()
        for process in processes:
            process.join(20)
        (process,), _, gate = begun(cluster)
        gate.set()
        process.join(20)

    def test_a_low_limit_of_open_files_is_for_jobs_alone(self, cluster, own, mpworker):
        """The supervisor and the nursery have some open for each process; hundreds are allowed."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        try:
            host = mpworker(own, "--processes", "1", typed=True).ready()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        limits = cluster.Queue()
        process = cluster.Process(target=lambda: limits.put(resource.getrlimit(resource.RLIMIT_NOFILE)))
        process.start()
        assert limits.get(timeout=20) == (200, hard)
        process.join(20)
        with cluster.Pool(1) as pool:
            assert pool.apply(resource.getrlimit, (resource.RLIMIT_NOFILE,)) == (200, hard)
        for pid in (host.process.pid, *workers.nursery_of(host.process.pid)):
            assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == min(hard, 1 << 16)

    def test_none_allowed(self, cluster, own, mpworker):
        host = mpworker(own, environment={"MPSERVE_MAX_SPAWNED": "0"}).ready()
        with pytest.raises(NotAllowed, match="max-spawned"):
            cluster.Process(target=print).start()
        assert workers.nursery_of(host.process.pid) == []

    def test_more_on_the_larger_host(self, cluster, own, mpworker):
        hosts = [mpworker(own, "--name", name, processes=n).ready() for name, n in (("one", 1), ("two", 2))]
        processes, pids, gate = begun(cluster, 6)
        births = [workers.children_of(workers.nursery_of(host.process.pid)[0]) for host in hosts]
        assert [len(set(born) & set(pids)) for born in births] == [2, 4]
        gate.set()
        for process in processes:
            process.join(20)

    def test_they_need_no_slot(self, cluster, own, mpworker):
        mpworker(own, processes=1).ready()
        barrier = cluster.Barrier(8)
        processes = [cluster.Process(target=barrier.wait) for _ in range(7)]
        for process in processes:
            process.start()
        barrier.wait(20)
        for process in processes:
            process.join(20)
        assert [process.exitcode for process in processes] == [0] * 7

    def test_without_fork(self, run, cluster, own, mpworker):
        """As outside Linux: a fresh interpreter each."""
        host = mpworker(own, "--no-fork").ready()
        program = run("""
            def work(): print("child", os.getpid()); raise SystemExit(3)
            p = Process(target=work); p.start(); p.join(); print(p.exitcode)
            """)
        assert program.finish().splitlines()[1] == "3"
        (process,), (pid,), _ = begun(cluster)
        assert b"newborn" in Path(f"/proc/{pid}/cmdline").read_bytes()
        process.terminate()
        process.join(20)
        assert process.exitcode == -15
        _, pids, _ = begun(cluster, 2)
        os.kill(workers.nursery_of(host.process.pid)[0], signal.SIGKILL)
        gone(*pids)

    @pytest.mark.parametrize("how", [[], ["--no-fork"]], ids=["fork", "no fork"])
    def test_what_is_written_past_the_streams_comes_home(self, cluster, own, mpworker, capsys, how):
        host = mpworker(own, *how).ready()

        def write():
            sys.stdout.write("one\n")
            os.write(1, b"two\n")
            subprocess.run(["/bin/sh", "-c", "echo three; echo trouble >&2"], check=True)
            sys.stdout.write("four\n")

        process = cluster.Process(target=write)
        process.start()
        process.join(20)
        assert capsys.readouterr() == ("one\ntwo\nthree\nfour\n", "trouble\n")
        assert host.events("worker.output") == []

    def test_the_last_words_of_one_that_is_killed_come_home(self, cluster, own, mpworker, capsys):
        mpworker(own).ready()

        def die():
            sys.stdout.write("printed\n")
            os.write(1, b"x" * 40_000 + b"\n")
            os.write(2, b"no end")
            os.kill(os.getpid(), signal.SIGKILL)

        process = cluster.Process(target=die)
        process.start()
        process.join(20)
        assert process.exitcode == -signal.SIGKILL
        assert capsys.readouterr() == ("printed\n" + "x" * 40_000 + "\n", "no end")

    def test_what_it_leaves_behind_still_writes_home(self, cluster, own, mpworker, capsys, tmp_path):
        mpworker(own).ready()
        gate = tmp_path / "gate"
        os.mkfifo(gate)

        def leave():
            subprocess.Popen(["/bin/cat", str(gate)])

        process = cluster.Process(target=leave)
        process.start()
        process.join(20)
        gate.write_text("still here\n")  # returns when somebody reads
        testing.wait_until(lambda: capsys.readouterr().out == "still here\n")

    def test_status_shows_them(self, cluster, own, mpworker):
        mpworker(own).ready()
        (process,), _, gate = begun(cluster)
        status = cluster.status()
        (row,) = [o for o in status["objects"] if o["kind"] == "process"]
        assert (row["stage"], row["pid"], row["process"]) == ("running", process.pid, process.name)
        names = {s["pid"]: s["name"] for s in status["sessions"] if s["role"] == "process"}
        assert names.pop(process.pid) == process.name
        assert set(names.values()) <= {"in stock"}
        gate.set()
        process.join(20)
        process.close()
        testing.wait_until(lambda: "process" not in {o["kind"] for o in cluster.status()["objects"]})
