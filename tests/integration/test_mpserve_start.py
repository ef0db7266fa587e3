"""`mpserve start`: where it listens, what it prints, its key, and how it stops."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
from multiprocessing.managers import BaseManager, SyncManager

import pytest
from tests.integration import commands

import mpclient
from mpclient.testing import wait_until

home = commands.home
start = commands.start
pytestmark = pytest.mark.hosts


def connect(running, key=None):
    secret = running.home.key_file.read_bytes().strip() if key is None else key
    return mpclient.connect(running.address, secret, connect_timeout=10.0, reconnect_timeout=0.5)


def has_v6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


# -- where ----------------------------------------------------------------------------------------


def test_port_0_is_a_free_one_and_is_printed(start):
    running = start("--port", "0")
    host, port = running.address.split(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    assert running.out.read_text().startswith(f"mpserve listens at {running.address}\n")
    assert running.home.run("ping", "--connect", running.address).returncode == 0


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("localhost", "localhost:"),
        pytest.param("::1", "[::1]:", marks=pytest.mark.skipif(not has_v6(), reason="no IPv6 here")),
        pytest.param("[::1]", "[::1]:", marks=pytest.mark.skipif(not has_v6(), reason="no IPv6 here")),
    ],
)
def test_names_and_ipv6(start, home, host, shown):
    running = start("--host", host, "--port", "0")
    assert running.address.startswith(shown)
    assert home.type(running.banner_line("mpserve status")).returncode == 0


def test_a_unix_socket(start, home, tmp_path):
    path = tmp_path / "a socket"
    running = start("--host", f"unix:{path}")
    assert running.address == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert home.type(running.banner_line("mpserve status")).returncode == 0
    again = home.run("start", "--host", f"unix:{path}")
    assert (again.returncode, len(again.stderr.splitlines())) == (3, 1)
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    running = start("--host", f"unix:{path}")  # what a dead server left behind is replaced
    assert running.end(signal.SIGTERM) == 0
    assert not path.exists()


def test_a_file_in_the_place_of_a_socket_is_left_alone(home):
    file = home.folder / "thesis"
    file.write_text("years of work")
    done = home.run("start", "--host", f"unix:{file}")
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert file.read_text() == "years of work"


def test_a_second_server_on_the_same_port(start, home):
    running = start("--port", "0")
    port = running.address.rpartition(":")[2]
    done = home.run("start", "--port", port)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert "the port is taken, perhaps by another mpserve" in done.stderr
    assert running.address in done.stderr
    assert done.stdout == ""


def test_an_option_wins_over_its_variable_and_the_variable_over_the_default(start):
    environment = {"MPSERVE_PORT": "1", "MPSERVE_LOG_FORMAT": "json", "MPSERVE_HOST": ""}
    running = start("--port", "0", environment=environment)
    lines = running.err.read_text().splitlines()
    ready = [json.loads(line) for line in lines if "server.ready" in line]
    assert [line["address"] for line in ready] == [running.address]
    assert running.address.startswith("127.0.0.1:")
    assert running.out.read_text() == ""  # programs read the log


def test_settings_reach_the_server_from_both_sides(start):
    words = ["--port", "0", "--max-message", "1M", "--grace", "2", "--advertise", "example.org:1"]
    environment = {"MPSERVE_GRACE": "9s", "MPSERVE_SESSION_TIMEOUT": "1m"}
    running = start(*words, environment=environment)
    asked = running.ask(running.home.key_file.read_bytes().strip())
    greeting = asked.greeting
    asked.close()
    assert greeting["limits"]["max_message"] == 1 << 20
    assert (greeting["grace_s"], greeting["session_timeout_s"]) == (2.0, 60.0)
    assert greeting["advertise"] == "example.org:1"
    assert "mpworker --connect example.org:1" in running.out.read_text()


# -- the banner -----------------------------------------------------------------------------------


def test_the_banner_can_be_typed_on_this_machine(start, home):
    running = start("--port", "0")
    assert home.type(f"{running.banner_line('export')}; mpserve ping").returncode == 0
    worker = subprocess.Popen(
        ["/bin/sh", "-c", f"exec {running.banner_line('mpworker')} --processes 1"],
        env=home.environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(running) as cluster:
            wait_until(lambda: "worker" in {s["role"] for s in cluster.status()["sessions"]}, 20)
    finally:
        worker.terminate()
        assert worker.wait(20) == 0


def test_the_banner_names_a_key_file_of_ones_own(start, home):
    key = home.folder / "my key"
    key.write_text("a key of more than sixteen bytes\n")
    key.chmod(0o600)
    running = start("--port", "0", "--authkey-file", "my key")
    assert home.type(running.banner_line("mpserve status")).returncode == 0
    assert home.type(f"cd /; {running.banner_line('export')}; mpserve ping").returncode == 0
    assert not home.key_file.exists()


def test_the_banner_for_another_machine(start, home, tmp_path):
    """The other machine is another home folder; the copy is what scp makes of its two words."""
    running = start("--host", "0.0.0.0", "--port", "0", "--insecure")
    port = running.address.rpartition(":")[2]
    program, preserve, source, target = shlex.split(running.banner_line("scp"))
    where, path = source.split(":", 1)
    assert (program, preserve) == ("scp", "-p")
    assert where.endswith(socket.gethostname())
    there = commands.Home(tmp_path / "there")
    there.folder.mkdir()
    shutil.copy2(path, there.folder / target)
    words = shlex.split(running.out.read_text().split("another machine:")[1].splitlines()[2])
    assert words == [
        *("mpworker", "--connect", f"{socket.gethostname()}:{port}"),
        *("--authkey-file", target),
    ]
    export = running.out.read_text().split("Programs on another machine:")[1].splitlines()[1]
    assert home.type(f"{export.replace(socket.gethostname(), '127.0.0.1')}; mpserve ping").returncode == 1
    line = f"{export.replace(socket.gethostname(), '127.0.0.1')}; cd /; mpserve ping"
    assert there.type(line).returncode == 0


# -- the key --------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_found(start, home):
    first = start("--port", "0")
    key = home.key_file.read_bytes()
    assert stat.S_IMODE(home.key_file.stat().st_mode) == 0o600
    assert len(key.strip()) >= 32
    assert first.end(signal.SIGTERM) == 0
    second = start("--port", "0")
    assert home.key_file.read_bytes() == key
    assert home.run("ping", "--connect", second.address).returncode == 0


def test_servers_that_start_at_once_have_the_same_key(start, home):
    together = [start("--port", "0", ready=False) for _ in range(3)]
    for running in together:
        assert home.run("ping", "--connect", running.ready().address).returncode == 0


@pytest.mark.parametrize("words", [[], ["--log-format", "json"]])
def test_the_key_is_never_shown(start, words):
    key = "s3cret-s3cret-s3cret-s3cret"
    running = start("--port", "0", "--log-level", "debug", *words, environment={"MPSERVE_AUTHKEY": key})
    with connect(running, key) as cluster, pytest.raises(mpclient.NotAllowed):
        cluster.Lock()
        connect(running, "another key of sixteen bytes")
    told = running.home.run(
        "status", "--json", environment={"MPSERVE_AUTHKEY": key, "MPSERVE_ADDRESS": running.address}
    )
    assert running.end(signal.SIGTERM) == 0
    assert told.returncode == 0
    assert "session.start" in running.said
    for text in (running.said, told.stdout, told.stderr):
        assert key not in text
        assert key.encode().hex() not in text


def test_the_key_comes_from_the_environment_the_option_or_a_file(start, home):
    file = home.folder / "key"
    file.write_text("a key of more than sixteen bytes\n")
    file.chmod(0o600)
    by_option = start("--port", "0", "--authkey-file", str(file), environment={"MPSERVE_AUTHKEY": "x" * 16})
    by_variable = start("--port", "0", environment={"MPSERVE_AUTHKEY_FILE": str(file)})
    by_text = start("--port", "0", environment={"MPSERVE_AUTHKEY": "a key of more than sixteen bytes"})
    for running in (by_option, by_variable, by_text):
        with connect(running, b"a key of more than sixteen bytes") as cluster:
            assert cluster.status()["sessions"]
    assert not home.key_file.exists()


def test_a_key_that_others_may_read_is_refused(home):
    file = home.folder / "key"
    file.write_text("a key of more than sixteen bytes\n")
    file.chmod(0o644)
    done = home.run("start", "--port", "0", "--authkey-file", str(file))
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)
    command = done.stderr[done.stderr.index("chmod") :].strip()
    assert home.type(command).returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_file_that_cannot_be_made(home):
    done = home.type("ulimit -f 0; exec mpserve start --port 0")  # no file may grow: as on a full disk
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)
    assert str(home.key_file) in done.stderr
    assert "MPSERVE_AUTHKEY_FILE" in done.stderr
    assert list(home.key_file.parent.iterdir()) == []


def test_a_user_without_a_home(home):
    """A container run under a number that no user has."""
    script = (
        "import pwd\ndef nobody(uid): raise KeyError(uid)\npwd.getpwuid = nobody\n"
        "from mpserve.cli import main; main()"
    )
    environment = {k: v for k, v in home.environment.items() if k not in {"HOME", "XDG_CONFIG_HOME"}}
    for words in (["start", "--port", "0"], ["ping"], ["keyfile"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            cwd=home.folder,
        )
        assert done.returncode == (1 if words == ["ping"] else 4)
        assert len(done.stderr.splitlines()) == 1
        assert "no home folder" in done.stderr
    assert list(home.folder.iterdir()) == []


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_who_waits_is_told(start, in_thread, number):
    running = start("--port", "0")
    key = running.home.key_file.read_bytes().strip()
    host, port = running.address.split(":")
    with connect(running) as cluster:
        ours = in_thread(cluster.Queue(name="jobs").get)
        stock = Recipes((host, int(port)), authkey=key)
        stock.connect()
        theirs = in_thread(stock.get_queue("jobs").get)  # type: ignore[attr-defined]
        jobs = cluster.Queue(name="jobs")
        wait_until(lambda: mpclient.testing.waiters(cluster, jobs) == 2)
        assert running.end(number) == 0
        with pytest.raises(mpclient.ServerGone, match=running.address):
            ours()
        with pytest.raises(EOFError):
            theirs()
    assert number.name in running.said.splitlines()[-1]
    assert "Traceback" not in running.said
    assert "session.lost" not in running.said


class Recipes(BaseManager):
    """A standard-library client of the documentation's recipe."""


Recipes.register("get_queue")


def test_many_idle_clients_do_not_delay_the_end(start):
    running = start("--port", "0")
    key = running.home.key_file.read_bytes().strip()
    host, port = running.address.split(":")
    sessions = [running.ask(key) for _ in range(100)]
    strangers = [socket.create_connection((host, int(port))) for _ in range(100)]
    assert running.end(signal.SIGTERM) == 0
    for peer in (*sessions, *strangers):
        peer.close()


def test_a_signal_right_after_the_start(start):
    """As soon as the ready line can be read."""
    running = start("--port", "0", "--log-format", "json", ready=False)
    wait_until(lambda: "server.ready" in running.said, 20)
    assert running.end(signal.SIGTERM) == 0


def test_two_signals_are_one_end(start):
    running = start("--port", "0")
    running.process.send_signal(signal.SIGINT)
    assert running.end(signal.SIGTERM) in {0, -signal.SIGTERM}  # the second may meet an interpreter that ends
    assert "Traceback" not in running.said


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_reads_what_it_writes(start, unbuffered):
    """Closed pipes for its banner and its log; peers go on being served, and the end is clean."""
    pipes = [os.pipe(), os.pipe()]
    (out_read, out_write), (err_read, err_write) = pipes
    os.close(out_read)
    own = {"PYTHONUNBUFFERED": unbuffered}
    running = start("--port", "0", ready=False, stdout=out_write, stderr=err_write, environment=own)
    os.close(out_write)
    os.close(err_write)
    with os.fdopen(err_read) as log:
        running.address = next(
            word.removeprefix("address=") for word in log.readline().split() if word.startswith("address=")
        )
    done = running.home.run(
        "ping",
        environment={"MPSERVE_AUTHKEY": "wrong wrong wrong wrong", "MPSERVE_ADDRESS": running.address},
    )
    assert done.returncode == 1  # its log line is lost
    assert running.home.run("ping", "--connect", running.address).returncode == 0
    assert running.end(signal.SIGTERM) == 0


def test_no_output_at_all(start, home):
    """A daemon's descriptors are closed; the server takes no socket for its log."""
    path = home.folder / "socket"
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"exec mpserve start --host unix:{path} <&- >&- 2>&-"], env=home.environment
    )
    try:
        wait_until(lambda: process.poll() is not None or path.exists(), 20)
        assert home.run("ping", "--connect", f"unix:{path}").returncode == 0
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_it_ends_with_who_holds_its_lifeline(start):
    reading, writing = os.pipe()
    running = start("--port", "0", "--lifeline", str(reading), pass_fds=(reading,))
    os.close(reading)
    assert running.process.poll() is None
    os.close(writing)
    assert running.wait() == 0
    assert "has ended" in running.said


# -- the log --------------------------------------------------------------------------------------


def events_of(running):
    """Return the events of a log for people: what stands behind each line's level."""
    return [line.partition("] ")[2].split()[0] for line in running.err.read_text().splitlines()]


def test_one_shot_standard_clients_do_not_fill_the_log(start):
    running = start("--port", "0", "--md5", "always")
    host, port = running.address.split(":")
    key = running.home.key_file.read_bytes().strip()
    for _ in range(3):
        manager = SyncManager((host, int(port)), authkey=key)
        manager.connect()
        assert manager.dict(a=1).copy() == {"a": 1}
    assert running.end(signal.SIGTERM) == 0
    events = events_of(running)
    md5 = ["peer.md5"] if sys.version_info < (3, 12) else []
    assert events == ["server.ready", *md5, "server.stopped"]


def test_worker_hosts_that_come_and_go_are_logged(start, home):
    running = start("--port", "0")
    worker = subprocess.Popen(
        [str(commands.COMMAND.with_name("mpworker")), "--connect", running.address, "--processes", "1"],
        env=home.environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: "session.start" in running.said, 20)
    finally:
        worker.terminate()
        assert worker.wait(20) == 0
    assert running.end(signal.SIGTERM) == 0
    assert events_of(running) == [
        "server.ready",
        "session.start",
        "session.end",
        "server.stopped",
    ]
    began = running.err.read_text().splitlines()[1]
    assert f"pid={worker.pid}" in began
    assert "role=supervisor" in began
