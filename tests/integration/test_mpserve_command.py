"""The `mpserve` command, as typed: help, refusals, and questions to a server (ping, status, rm …)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from tests.integration import commands

import mpclient
from mpclient.testing import wait_until
from mpshared.settings import for_user

home = commands.home
start = commands.start
shared = commands.shared
pytestmark = pytest.mark.hosts

KEY = {"MPSERVE_AUTHKEY": "0123456789abcdef"}
EVIL = "[bold red]evil[/] \x1b[31m\nsecond line"


def one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Check that a command ended with one line that says why."""
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("mpserve")
    assert [word for word in words if word not in done.stderr] == []


# -- help -----------------------------------------------------------------------------------------


def test_help_fits_a_narrow_terminal_and_shows_variables_and_defaults(home):
    done = home.run("start", "--help")
    assert max(map(len, done.stdout.splitlines())) <= 80
    flat = " ".join(done.stdout.split())
    for setting in for_user("server"):
        assert setting.option in flat
        assert setting.env in flat
        assert f"default: {setting.shown}]" in flat or not setting.shown
    assert "((" not in flat
    assert "lifeline" not in flat


def test_help_of_the_whole(home):
    done = home.run("--help")
    words = ("start", "ping", "status", "rm", "release", "keyfile")
    assert [word for word in words if word not in done.stdout] == []
    assert "..." not in done.stdout.replace("[ARGS]...", "")
    assert home.run().stdout.strip() == done.stdout.strip()


def test_python_m_is_the_same(home):
    command = [sys.executable, "-m", "mpserve", "--version"]
    said = subprocess.check_output(command, env=home.environment, text=True, timeout=20)
    assert said == home.run("--version").stdout
    assert said.startswith("mpserve 0")


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "environment", "code", "said"),
    [
        (["--port", "x"], {}, 2, ["--port", "'x' is not a whole number"]),
        (["--port", "65536"], {}, 2, ["--port", "from 0 to 65535"]),
        ([], {"MPSERVE_PORT": "x"}, 2, ["MPSERVE_PORT: 'x' is not a whole number"]),
        ([], {"MPSERVE_INSECURE": "maybe"}, 2, ["MPSERVE_INSECURE: 'maybe' is neither yes nor no"]),
        (["--grace", "soon"], {}, 2, ["--grace", "write it like 30s"]),
        ([], {"MPSERVE_SESSION_TIMEOUT": "soon"}, 2, ["MPSERVE_SESSION_TIMEOUT"]),
        (["--session-timeout", "0"], {}, 2, ["--session-timeout", "100ms or more"]),
        (["--auth-timeout", "0"], {}, 2, ["--auth-timeout", "100ms or more"]),
        (["--spin", "1s"], {}, 2, ["--spin", "1ms or less"]),
        (["--md5", "sometimes"], {}, 2, ["--md5", "loopback, always, never"]),
        (["--log-format", "xml"], {}, 2, ["--log-format", "console, json"]),
        (["--max-message", "1K"], {}, 2, ["--max-message", "64K or more"]),
        (["--advertise", "host"], {}, 2, ["--advertise", "host:7707"]),
        (["--prot", "1"], {}, 2, ["--prot", "--port"]),
        (["--port"], {}, 2, ["--port"]),
        (["extra"], {}, 2, ["extra"]),
        (["--host", "0.0.0.0"], {}, 2, ["not encrypted", "--insecure"]),
        ([], {"MPSERVE_HOST": "::"}, 2, ["not encrypted", "--insecure"]),
        (["--host", "localhost:80"], {}, 2, ["--host localhost --port 80"]),
        (["--host", "::zz"], {}, 2, ["--host", "not an IPv6 address"]),
        (["--host", "unix:relative"], {}, 2, ["--host", "absolute path"]),
        (["--host", "no.such.invalid", "--insecure"], {}, 3, ["no.such.invalid", "no such host"]),
        (["--host", "a..b", "--insecure"], {}, 3, ["a..b", "no such host"]),
        (["--host", "192.0.2.1", "--insecure"], {}, 3, ["192.0.2.1", "no such address", "0.0.0.0"]),
        (["--host", "unix:/no/such/folder"], {}, 3, ["no such folder"]),
        (["--lifeline", "77"], {}, 2, ["--lifeline", "77"]),
        ([], {"MPSERVE_AUTHKEY": "fifteen bytes 15"[:15]}, 4, ["MPSERVE_AUTHKEY holds 15 bytes"]),
        (["--authkey-file", "/no/such/file"], {"MPSERVE_AUTHKEY": ""}, 4, ["/no/such/file", "No such file"]),
        ([], {"MPSERVE_AUTHKEY_FILE": "/dev"}, 4, ["/dev", "MPSERVE_AUTHKEY"]),
    ],
)
def test_what_cannot_be_is_one_line_and_a_documented_code(home, words, environment, code, said):
    key = {} if any("AUTHKEY" in name for name in environment) else KEY
    done = home.run("start", *words, environment=key | environment)
    one_line(done, code, *said)
    assert KEY["MPSERVE_AUTHKEY"] not in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["strat"], 2, ["strat"]),
        (["status", "--connect", "host:port"], 2, ["--connect", "whole number"]),
        (["status", "--connect", "127.0.0.1:1"], 5, ["127.0.0.1:1", "mpserve start"]),
        (["status", "--connect", "a..b:1"], 5, ["a..b"]),
        (["ping", "--connect", "127.0.0.1:1"], 1, ["127.0.0.1:1", "mpserve start"]),
        (["ping", "--connect", "a..b:1"], 1, ["a..b"]),
        (["ping", "--connect", "unix:/no/such"], 1, ["unix:/no/such"]),
        (["ping", "--timeout", "soon"], 2, ["--timeout", "duration"]),
        (["ping", "--timeout", "0"], 2, ["--timeout", "1ms or more"]),
        (["ping", "extra"], 2, ["extra"]),
        (["rm"], 2, ["NAME"]),
        (["rm", ""], 2, ["mpserve rm: a name is 1 to 200"]),
        (["release"], 2, ["NAME"]),
    ],
)
def test_questions_that_cannot_be_asked(home, words, code, said):
    one_line(home.run(*words, environment=KEY), code, *said)


def test_nobody_is_asked_without_a_key(home):
    one_line(home.run("ping"), 1, "no key", str(home.key_file), "chmod 600")
    one_line(home.run("status"), 4, "no key")
    assert not home.key_file.exists()


def test_a_server_that_says_nothing_is_not_waited_for(home):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        done = home.run("ping", "--connect", where, "--timeout", "100ms", environment=KEY)
    one_line(done, 1, where, "did not answer within 0.1 s")


def test_somebody_who_is_no_mpserve(home, in_thread):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            with other.accept()[0] as connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
                connection.recv(100)

        greeted = in_thread(greet)
        where = f"127.0.0.1:{other.getsockname()[1]}"
        one_line(home.run("status", "--connect", where, environment=KEY), 6, where)
        greeted()


def test_an_interrupt_is_no_traceback(home):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [str(commands.COMMAND), "ping", "--connect", where],
            env=home.environment | KEY,
            stderr=subprocess.PIPE,
            text=True,
        )
        with silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, "mpserve: interrupted\n")


# -- ping -----------------------------------------------------------------------------------------


def test_ping(shared):
    done = shared.run("ping")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mpserve 0")
    assert shared.run("ping", environment={"MPSERVE_ADDRESS": "127.0.0.1:1"}).returncode == 1
    given = shared.run("ping", "--connect", shared.address, environment={"MPSERVE_ADDRESS": "127.0.0.1:1"})
    assert given.returncode == 0


def test_ping_with_a_wrong_key(shared):
    one_line(shared.run("ping", environment=KEY), 1, "key")
    one_line(shared.run("status", environment=KEY), 4, "key")


def test_ping_loads_little(shared):
    """Health checks run it every few seconds; what it needs is a socket and a key."""
    script = "import sys; sys.argv[1:] = ['ping']\nfrom mpserve.cli import main\ntry: main()\n"
    script += "except SystemExit as end: print(end.code, *sys.modules)"
    environment = shared.home.environment | {"MPSERVE_ADDRESS": shared.address}
    command = [sys.executable, "-c", script]
    said = subprocess.check_output(command, env=environment, text=True, timeout=20).splitlines()[-1].split()
    loaded = {name.split(".")[0] for name in said} | set(said)
    assert said[0] == "0"
    heavy = {"typer", "click", "rich", "structlog", "pydantic", "multiprocessing", "asyncio", "logging"}
    heavy |= {"mpshared.symbolic", "mpserve.core", "mpserve.server", "mpclient", "ssl", "argparse"}
    assert loaded & heavy == set()


# -- status ---------------------------------------------------------------------------------------


@pytest.fixture
def inhabited(shared):
    """A cluster whose status has something of each sort; yields it and its objects' common prefix."""
    prefix = f"thing {os.urandom(4).hex()}"
    with mpclient.connect(shared.address, shared.key, name=EVIL) as cluster:
        yield cluster, prefix


def test_status_shows_queues_and_who_holds_locks(shared, inhabited, in_thread):
    cluster, prefix = inhabited
    jobs = cluster.JoinableQueue(name=f"{prefix} jobs")
    for n in range(3):
        jobs.put(n)
    jobs.get()
    lock = cluster.Lock(name=f"{prefix} lock")
    lock.acquire()
    permits = cluster.Semaphore(3, name=f"{prefix} permits")
    permits.acquire()
    waiting = in_thread(lambda: lock.acquire(timeout=20))
    wait_until(lambda: mpclient.testing.waiters(cluster, lock) == 1)

    shown = shared.run("status")
    told = json.loads(shared.run("status", "--json").stdout)
    lock.release()
    assert waiting() is True

    rows = {line.split("  ")[0]: line.split() for line in shown.stdout.splitlines()}
    assert rows[f"{prefix} jobs"][-9:] == ["2", "1", "0", "0", "3", "0", "0", "0", "1"]
    process = f"{socket.gethostname()}:{os.getpid()}"
    assert [process, "thread"] == rows[f"{prefix} lock"][4:6]
    assert rows[f"{prefix} lock"][-2:] == ["1", "1"]
    assert process in rows[f"{prefix} permits"]
    objects = {o["name"]: o for o in told["objects"] if o["name"]}
    holder = objects[f"{prefix} lock"]["holder"]
    assert (holder["host"], holder["pid"]) == (socket.gethostname(), os.getpid())
    assert holder["session"] in {s["id"] for s in told["sessions"]}
    assert objects[f"{prefix} jobs"]["references"] == 1


def test_what_clients_named_is_escaped_and_nothing_is_cut(shared, inhabited):
    cluster, prefix = inhabited
    name = f"{prefix} [red]{'long ' * 30}"
    kept = cluster.dict(name=name)
    shown = shared.run("status", environment={"COLUMNS": "20"}).stdout
    assert name in shown
    assert r"[bold red]evil[/] \x1b[31m\nsecond line" in shown
    assert "\x1b" not in shown
    assert "…" not in shown
    assert json.loads(shared.run("status", "--json").stdout)["sessions"]
    kept.clear()


def test_status_does_not_show_itself_and_no_secret(shared):
    told = json.loads(shared.run("status", "--json").stdout)
    assert "mpserve command" not in [s["name"] for s in told["sessions"]]
    assert set(told["server"]) == {"server", "epoch", "version", "limits", "advertise"}
    assert "secret" not in json.dumps(told)


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["ping"], ["keyfile"], ["--help"]])
def test_a_reader_that_left_is_no_traceback(shared, words):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = shared.run(*words, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a system without /dev/full")  # noqa: PTH110
def test_a_full_disk_is_one_line(shared):
    for words in (["status"], ["ping"]):
        with open("/dev/full", "w") as full:  # noqa: PTH123
            one_line(shared.run(*words, stdout=full), 1, "No space left on device")


def test_output_in_a_poor_alphabet(shared, inhabited):
    cluster, prefix = inhabited
    kept = cluster.Event(name=f"{prefix} 東京")
    done = shared.run("status", environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert rf"{prefix} \u6771\u4eac" in done.stdout
    kept.set()


# -- rm and keyfile -------------------------------------------------------------------------------


def test_rm(shared, inhabited, in_thread):
    cluster, prefix = inhabited
    jobs = cluster.Queue(name=f"{prefix} jobs")
    waiting = in_thread(jobs.get)
    wait_until(lambda: mpclient.testing.waiters(cluster, jobs) == 1)
    assert shared.run("rm", f"{prefix} jobs").returncode == 0
    with pytest.raises(mpclient.NoSuchObject, match="deleted"):
        waiting()
    one_line(shared.run("rm", f"{prefix} jobs"), 1, f"'{prefix} jobs'", "mpserve status")


def test_rm_of_one_name_that_two_have(shared, inhabited):
    cluster, prefix = inhabited
    both = cluster.dict(name=prefix), cluster.list(name=prefix)
    one_line(shared.run("rm", prefix), 1, prefix, "dict, list", "kind")
    one_line(shared.run("rm", prefix, "--kind", "lock"), 1, "no lock", prefix)
    assert shared.run("rm", prefix, "--kind", "list").returncode == 0
    assert [o["kind"] for o in cluster.objects() if o["name"] == prefix] == ["dict"]
    assert len(both) == 2


# -- release --------------------------------------------------------------------------------------


def test_release(shared, inhabited):
    cluster, prefix = inhabited
    with mpclient.connect(shared.address, shared.key) as leaving:
        leaving.Lock(name=prefix, on_owner_death="hold").acquire()
        one_line(shared.run("release", prefix), 1, f"lock '{prefix}' is held", str(os.getpid()), "is alive")
    lock = cluster.Lock(name=prefix)
    assert lock.acquire(False) is False
    assert "(gone)" in shared.run("status").stdout
    done = shared.run("release", prefix)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert lock.acquire(False) is True


def test_release_of_what_cannot_be_released(shared, inhabited):
    cluster, prefix = inhabited
    locks = cluster.Lock(name=prefix), cluster.RLock(name=prefix)
    one_line(shared.run("release", f"{EVIL} {prefix}"), 1, "there is no lock", r"\x1b", "mpserve status")
    one_line(shared.run("release", prefix), 1, "lock, rlock", "say which kind")
    one_line(shared.run("release", prefix, "--kind", "lock"), 1, "nobody holds")
    one_line(shared.run("release", prefix, "--kind", "queue"), 1, "a queue is no lock")
    assert not any(lock.locked() for lock in locks)


def test_keyfile(shared, home):
    assert shared.run("keyfile").stdout == f"{shared.home.key_file}\n"
    assert home.run("keyfile").stdout == f"{home.key_file}\n"
    assert not home.key_file.exists()


# -- what the shared server wrote -----------------------------------------------------------------


def test_the_log_tells_who_was_refused_and_never_the_key(shared):
    shared.run("ping", environment=KEY)
    log = shared.log.read_text()
    assert "peer.refused" in log
    assert shared.key not in log
    assert KEY["MPSERVE_AUTHKEY"] not in log
    assert "\x1b" not in log
