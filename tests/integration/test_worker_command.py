"""The `mpworker` command: its options, its exit codes, and what it says when there is no server."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from tests import prepared
from tests.integration import workers

import mpclient
from mpclient import TaskError, testing

mpworker = workers.mpworker
pytestmark = pytest.mark.hosts


def run(*options: str, typed: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
    return prepared.run("mpworker", *options, typed=typed, env=kept | environment, timeout_s=30)


KEY = {"MPSERVE_AUTHKEY": "0123456789abcdef"}


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--processes", "0"], "--processes"),
        (["--processes", "many"], "whole number"),
        (["--max-tasks", "0"], "--max-tasks"),
        (["--max-memory", "1K"], "--max-memory"),
        (["--connect", "host:port"], "--connect"),
        (["--connect-timeout", "soon"], "--connect-timeout"),
        (["--log-format", "xml"], "--log-format"),
        (["--queue", ""], "--queue: a name is 1 to 200 printable characters"),
        (["--results", "mpserve.x"], "--results: the name 'mpserve.x' is reserved"),
        (["--chdir", "/no/such/folder"], "'/no/such/folder' is not a folder"),
        (["--pythonpath", "/no/such/folder"], "'/no/such/folder' is not a folder"),
        (["--wrong"], "--wrong"),
        (["extra"], "extra"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(options, words):
    done = run(*options, **KEY)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_shows_every_option_and_its_variable():
    from mpshared import settings

    done = run("--help", COLUMNS="200")
    assert done.returncode == 0
    for setting in settings.for_user("worker"):
        assert setting.option in done.stdout
        assert setting.env in done.stdout
    assert "lifeline" not in done.stdout


def test_version():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"mpworker {mpclient.__version__}\n")


def test_a_key_that_is_none(tmp_path):
    done = run(MPSERVE_AUTHKEY="short")
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)
    done = run("--authkey-file", str(tmp_path / "none"))
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)


@pytest.mark.parametrize(("words", "loaded"), [([], "msgpack"), (["--help"], "typer")])
def test_an_interrupt_while_it_loads_is_no_traceback(tmp_path, words, loaded):
    (tmp_path / f"{loaded}.py").write_text("raise KeyboardInterrupt")
    done = run(*words, typed=True, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "mpworker: interrupted\n")


def test_an_interrupt_before_there_is_a_key_is_no_traceback(tmp_path):
    key = tmp_path / "key"
    os.mkfifo(key, 0o600)
    command = [str(workers.COMMAND), "--authkey-file", str(key)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with key.open("w"):  # opens when the command reads from it
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, "mpworker: interrupted\n")


def test_a_wrong_key_ends_it_at_once(server):
    done = run("--connect", server.address, "--connect-timeout", "1h", **KEY)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "key" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_server_is_told_attempt_by_attempt():
    done = run("--connect", "127.0.0.1:1", "--connect-timeout", "800ms", "--log-format", "json", **KEY)
    assert done.returncode == 5
    lines = done.stderr.splitlines()
    attempts = [line for line in lines if '"server.unreachable"' in line]
    assert len(attempts) > 1
    assert all("nobody listens at 127.0.0.1:1" in line and "next_try_s" in line for line in attempts)
    assert lines[-1].startswith("mpworker: no server within 0.8 s")


def test_a_stop_while_there_is_no_server(mpworker, server, tmp_path):
    host = mpworker(server, "--connect", "127.0.0.1:1")
    host.wait_for("server.unreachable")
    host.send_signal(signal.SIGTERM)
    assert host.wait() == 0


def test_what_is_no_server_of_ours(mpworker, server):
    import socket
    import threading

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.recv(1000)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,), daemon=True)
        thread.start()
        host = mpworker(server, "--connect", f"127.0.0.1:{listener.getsockname()[1]}")
        assert host.wait() == 6
        thread.join(10)


def test_a_reserved_queue_name(mpworker, server):
    host = mpworker(server, queue="mpserve.x")
    assert host.wait() == 2
    assert "reserved" in host.text


# -- its processes --------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_the_key_is_on_no_command_line_and_processes_lead_their_own_session(mpworker, server, unique):
    host = mpworker(server, queue=unique, processes=2).ready()
    for pid in workers.processes_of(host.process.pid):
        assert server.key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert os.getsid(pid) == pid
    assert server.key not in host.text


def test_a_key_file_reaches_jobs_too(mpworker, server, cluster, unique, tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text(server.key)
    key_file.chmod(0o600)

    def connects():
        import mpclient

        return len(mpclient.connect().objects()) > 0

    host = mpworker(
        *(server, "--authkey-file", "key"),
        queue=unique,
        environment={"MPSERVE_AUTHKEY": "not this one, not at all"},
    )
    cluster.JoinableQueue(name=unique).put(connects)
    assert cluster.Queue(name=f"{unique} results").get(timeout=10) is True
    assert host.process.poll() is None


def test_worker_processes_load_little(mpworker, server, cluster, unique):
    mpworker(server, queue=unique, typed=True)

    def loaded():
        import sys

        heavy = "typer click rich structlog psutil asyncio mpserve encodings.idna"
        return [name for name in heavy.split() if name in sys.modules]

    cluster.JoinableQueue(name=unique).put(loaded)
    assert cluster.Queue(name=f"{unique} results").get(timeout=10) == []


def test_processes_that_cannot_start_end_it(mpworker, server, unique, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(
        "import sys\nif 'mpclient.worker.process' in sys.orig_argv:\n    raise SystemExit('not today')\n"
    )
    host = mpworker(
        server,
        queue=unique,
        typed=True,
        environment={"PYTHONPATH": str(tmp_path / "broken") + ":" + os.environ.get("PYTHONPATH", "")},
    )
    assert host.wait() == 1
    assert "cannot be started, 5 times in a row" in host.text


# -- a server that goes ---------------------------------------------------------------------------


def test_a_server_that_comes_back(mpworker, fresh_server):
    server = fresh_server()
    host = mpworker(server, queue="q", processes=2).ready()
    port = int(server.address.rpartition(":")[2])
    server.process.kill()
    server.wait()
    host.wait_for("server.lost")
    host.wait_for("server.unreachable", 2)
    server.start(port=port)
    host.wait_for("server.back")
    with server.connect() as cluster:
        tasks, results = cluster.JoinableQueue(name="q"), cluster.Queue(name="q results")
        tasks.put_many([partial(operator.add, number, 1) for number in range(10)])
        assert tasks.join(timeout=20)
        assert sorted(results.get_many(100)) == list(range(1, 11))

        def roles():
            return sorted(one["role"] for one in cluster.status()["sessions"] if one["queue"] == "q")

        testing.wait_until(lambda: roles() == ["supervisor", "worker", "worker"])
    assert host.process.poll() is None


def test_a_server_that_stops_in_the_middle_of_a_job(mpworker, fresh_server, tmp_path):
    server = fresh_server()
    done, go = tmp_path / "done", tmp_path / "go"

    def job():
        from pathlib import Path

        from mpclient.testing import wait_until

        wait_until(Path(go).exists, 60)
        Path(done).touch()

    with server.connect() as cluster:
        cluster.JoinableQueue(name="q").put(job)
        host = mpworker(server, queue="q").ready()
        testing.wait_until(lambda: cluster.JoinableQueue(name="q").qsize() == 0)
    port = int(server.address.rpartition(":")[2])
    server.stop()
    host.wait_for("server.lost")
    server.start(port=port)
    host.wait_for("server.back")
    go.touch()
    testing.wait_until(done.exists)
    with server.connect() as cluster:
        cluster.JoinableQueue(name="q").put(os.getpid)
        assert cluster.Queue(name="q results").get(timeout=20) > 0
    host.send_signal(signal.SIGTERM)
    assert host.wait() == 0


def test_cut_connections_neither_lose_nor_double_results(mpworker, server, cluster, unique, relay):
    tasks, results = cluster.JoinableQueue(name=unique), cluster.Queue(name=f"{unique} results")
    host = mpworker(server, "--connect", relay.address, queue=unique, processes=2).ready()
    tasks.put_many(partial(operator.add, number, 0) for number in range(20_000))
    got: list[int] = []
    while len(got) < 20_000:
        if len(got) // 2000 > relay.cuts:
            relay.cut()
        got += results.get_many(200, timeout=10)
    assert tasks.join(timeout=10)
    assert sorted(got) == list(range(20_000))
    assert relay.cuts > 5
    assert not host.events("worker.died")
    assert results.qsize() == 0


def test_a_supervisor_that_lost_its_session_begins_anew(mpworker, server, cluster, unique, relay):
    """The server was out of reach for longer than the grace period."""
    tasks, results = cluster.JoinableQueue(name=unique), cluster.Queue(name=f"{unique} results")
    host = mpworker(server, "--connect", relay.address, queue=unique, processes=2).ready()
    relay.refusing = True
    relay.cut()

    def roles():
        return sorted(one["role"] for one in cluster.status()["sessions"] if one["queue"] == unique)

    testing.wait_until(lambda: not roles())
    relay.refusing = False
    testing.wait_until(lambda: roles() == ["supervisor", "worker", "worker"], 20)
    tasks.put(partial(operator.add, 1, 1))
    assert results.get(timeout=10) == 2
    assert host.process.poll() is None


def test_a_job_that_starves_all_threads_is_not_given_up(mpworker, fresh_server):
    """It holds the interpreter longer than the session timeout; its supervisor answers for it meanwhile."""
    server = fresh_server("--session-timeout", "1s")

    def starves():
        import ctypes

        ctypes.PyDLL(None).usleep(2_500_000)
        return "done"

    with server.connect() as cluster:
        tasks, results = cluster.JoinableQueue(name="q"), cluster.Queue(name="q results")
        host = mpworker(server, queue="q").ready()
        tasks.put(starves)
        assert tasks.join(timeout=20)
        assert results.get_many(10) == ["done"]
    assert not host.events("worker.died")


def test_a_server_that_comes_back_with_another_key(mpworker, fresh_server):
    server = fresh_server()
    host = mpworker(server, queue="q").ready()
    port = int(server.address.rpartition(":")[2])
    server.stop()
    server.key = "another key altogether"
    server.start(port=port)
    assert host.wait() == 4


def test_a_stop_while_the_server_is_gone(mpworker, fresh_server):
    server = fresh_server()
    host = mpworker(server, queue="q", processes=2).ready()
    server.process.kill()
    server.wait()
    host.wait_for("server.lost")
    host.send_signal(signal.SIGTERM)
    assert host.wait() == 0


# -- several Pythons ------------------------------------------------------------------------------

HERE = "{}.{}".format(*sys.version_info)
OTHERS = workers.other_pythons() or [
    pytest.param("", marks=pytest.mark.skip(reason="MPSERVE_TEST_PYTHONS names no other Python"))
]


@pytest.fixture
def python(version):
    return workers.other_pythons()[version]


@pytest.mark.parametrize("version", OTHERS)
def test_code_of_this_program_does_not_run_on_another_python(
    mpworker, server, cluster, unique, version, python
):
    mpworker(server, queue=unique, python=python).ready()
    tasks, results = cluster.JoinableQueue(name=unique), cluster.Queue(name=f"{unique} results")
    tasks.put_many([partial(operator.add, 1, 1), lambda: 1, partial(operator.add, 1, 2)])
    assert results.get(timeout=10) == 2
    error = results.get(timeout=10)
    assert isinstance(error, TaskError)
    assert f"holds code from Python {HERE}, and this is a Python {version}" in error.text
    assert f"have Python {version}" in error.text
    assert results.get(timeout=10) == 3


SUBMITS = """\
import mpclient, operator, sys
from functools import partial
name = sys.argv[1]
cluster = mpclient.connect()
tasks, results = cluster.JoinableQueue(name=name), cluster.Queue(name=name + " results")
def mine():
    return sys.version_info[:2]
tasks.put_many([partial(operator.add, 1, 1), mine])
tasks.join()
print(results.get(), results.get())
"""


@pytest.mark.parametrize("version", OTHERS)
def test_code_of_another_python_does_not_run_on_this_one(mpworker, server, unique, version, python, tmp_path):
    host = mpworker(server, queue=unique).ready()
    (tmp_path / "submits.py").write_text(SUBMITS)
    command = [python, str(tmp_path / "submits.py"), unique]
    said = subprocess.run(
        command, env=server.environment, capture_output=True, text=True, check=True, timeout=30
    )
    assert said.stdout.startswith("2 job 2")
    assert f"holds code from Python {version}, and this is a Python {HERE}" in said.stdout
    assert not host.events("worker.died")


@pytest.mark.parametrize("version", OTHERS)
def test_each_job_finds_a_worker_of_its_python(mpworker, server, cluster, unique, version, python, tmp_path):
    mpworker(server, queue=unique, python=python).ready()
    mpworker(server, queue=unique).ready()
    tasks, results = cluster.JoinableQueue(name=unique), cluster.Queue(name=f"{unique} results")

    def mine():
        import sys

        return "{}.{}".format(*sys.version_info)

    tasks.put_many([mine] * 20)
    tasks.join()
    assert set(results.get_many(100)) == {HERE}
    (tmp_path / "submits.py").write_text(SUBMITS)
    command = [python, str(tmp_path / "submits.py"), unique]
    said = subprocess.run(
        command, env=server.environment, capture_output=True, text=True, check=True, timeout=30
    )
    theirs = "({}, {})".format(*version.split("."))
    assert said.stdout.strip() in {f"2 {theirs}", f"{theirs} 2"}
