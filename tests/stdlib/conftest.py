"""A running `mpserve` for each module, and the Pythons whose standard library is to work with it."""

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from multiprocessing import current_process
from pathlib import Path

import pytest
from tests import prepared
from tests.stdlib.steps import Manager

from mpserve.net.ask import inquire
from mpshared.address import Address

KEY = b"a key of the tests, 128 bits"
ROOT = Path(__file__).parents[2]
READY_S = 20
WAIT_S = 20
OURS = "{}.{}".format(*sys.version_info[:2])


class Served:
    """One `mpserve start` and what a test asks of it."""

    def __init__(self, process, lines):
        self.process = process
        self.lines = lines
        self.address = self._heard("server.ready")["address"]
        host, _, port = self.address.rpartition(":")
        self.where = (host, int(port))

    def _heard(self, event, wait_s=READY_S):
        """Return the log line of that event; forget those before it."""
        until_s = time.monotonic() + wait_s
        while True:
            line = self.lines.get(timeout=max(0.01, until_s - time.monotonic()))
            if line is None:
                raise AssertionError(f"the server ended before {event}")
            if line.startswith("{") and json.loads(line)["event"] == event:
                return json.loads(line)

    heard = _heard

    def manager(self, kind=Manager, address=None, key=KEY):
        """Return a connected manager of the standard library."""
        manager = kind(address or self.where, key)
        manager.connect()
        return manager

    def status(self):
        """Return what `mpserve status` shows."""
        with inquire(Address.parse(self.address), KEY, "test", WAIT_S) as asked:
            return asked.call("cluster.status")

    def wait_until(self, holds):
        """Ask until `holds(status)`; return the status."""
        until_s = time.monotonic() + WAIT_S
        while True:
            status = self.status()
            if holds(status):
                return status
            assert time.monotonic() < until_s, status

    def wait_for_waiters(self, count):
        """Return once so many calls of stock clients wait on the server."""
        self.wait_until(
            lambda status: (
                sum(each["waiting"] for each in status["sessions"] if each["role"] == "stock") == count
            )
        )

    def end(self):
        """Stop it, and see that it stops."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(WAIT_S)
        finally:
            self.process.kill()
            self.process.wait(WAIT_S)


def environment(**more):
    """Return the environment for a child: no options of the user's own, and our key."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("MPSERVE_")}
    return {**own, "MPSERVE_AUTHKEY": KEY.decode(), **more}


@contextmanager
def served(*options, cwd, **more):
    """Run `mpserve start` with some options, in a folder from where our tests cannot be imported."""
    process = prepared.start(
        *("mpserve", "start", "--port", "0", "--log-format", "json", *options),
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        server = Served(process, lines)
        yield server
        server.end()
    finally:
        process.kill()
        process.wait(WAIT_S)
        reader.join(WAIT_S)
        process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The module's server."""
    with served(cwd=tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _key_of_this_process():
    """What nested proxies authenticate with."""
    before = current_process().authkey
    current_process().authkey = KEY
    yield
    current_process().authkey = before


@pytest.fixture(scope="module")
def manager(server):
    """A manager of the standard library, connected to the module's server."""
    return server.manager()


# -- Pythons ---------------------------------------------------------------------------------------


def _version(path):
    command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=WAIT_S, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _candidates(version):
    """Yield where a Python of that version may be: on the path, or among pyenv's."""
    found = shutil.which(f"python{version}")
    if found:
        yield found
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True))


def find_pythons():
    """Return version and path of each other Python: those of MPSERVE_STOCK_PYTHONS, or what can be found."""
    named = os.environ.get("MPSERVE_STOCK_PYTHONS", "")
    if named:
        pairs = dict(pair.split("=", 1) for pair in named.split(",") if "=" in pair)
        return {version: path for version, path in pairs.items() if re.fullmatch(r"3\.\d+", version)}
    found = {}
    for version in ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"):
        working = next((path for path in _candidates(version) if _version(path) == version), None)
        if working:
            found[version] = working
    return found


PYTHONS = find_pythons()


@pytest.fixture(params=PYTHONS)
def python(request):
    """A Python, by its path."""
    return PYTHONS[request.param]


def run_python(path, *arguments, **more):
    """Run a client program to its end in another Python; return what it printed."""
    done = subprocess.run(
        [path, *map(str, arguments)],
        cwd=ROOT,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Program:
    """A client program that runs beside the test, talks by lines, and may be killed."""

    START = """
import os, queue, sys, threading
from multiprocessing import current_process
from tests.stdlib.named import Named
key = os.environ["MPSERVE_AUTHKEY"].encode()
current_process().authkey = key
m = Named((sys.argv[1], int(sys.argv[2])), key)
m.connect()
def say(*words):
    print(*words, flush=True)
"""

    def __init__(self, server, code, *, path=sys.executable, arguments=()):
        command = [path, "-c", self.START + code, *map(str, server.where), *map(str, arguments)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def hear(self):
        """Return its next line."""
        line = self._lines.get(timeout=WAIT_S)
        assert line is not None, f"the program ended with {self.process.wait(WAIT_S)}"
        return line

    def tell(self, line):
        """Give it a line to read."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self):
        """Kill it with -9."""
        self.process.kill()
        self.process.wait(WAIT_S)

    def end(self):
        """Wait for its end; return its exit code."""
        return self.process.wait(WAIT_S)

    def close(self):
        """Leave nothing behind."""
        self.kill()
        self._reader.join(WAIT_S)
        self.process.stdout.close()
        self.process.stdin.close()


@pytest.fixture
def program(server):
    """Start client programs of the module's server; they end with the test."""
    started = []

    def start(code, **more):
        started.append(Program(server, code, **more))
        return started[-1]

    yield start
    for each in started:
        each.close()
