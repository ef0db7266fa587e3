"""The real server, started by its command line, and clients of it.

server      one for the whole run; tests use anonymous objects, or names that contain `unique`
cluster     this test's own connection to it
fresh_server   a factory: servers that a test may stop, kill or start with options
typed       has what this test starts begin in interpreters of its own, as everybody's does
program     runs a Python program as a client in a process of its own
relay       stands between clients and the server, and cuts when it is told to
crew        a module's own cluster with two worker processes, which find the modules of this folder
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests import prepared
from tests.integration.relay import Relay

import mpclient
from mpclient.testing import running_cluster, wait_until

READY = re.compile(r'"address": "([^"]+)"')
ROOT = Path(__file__).parents[2]
START_S = 60.0


@dataclass
class Server:
    """One `mpserve start` process."""

    folder: Path
    options: tuple[str, ...] = ()
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    address: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
        return {**kept, "MPSERVE_AUTHKEY": self.key, "MPSERVE_ADDRESS": self.address}

    def start(self, host: str = "127.0.0.1", port: int = 0) -> Server:
        self.folder.mkdir(exist_ok=True)
        where = [] if host.startswith("unix:") else ["--port", str(port)]
        before = len(self.log) if (self.folder / "server.log").exists() else 0
        environment = {k: v for k, v in self.environment.items() if k != "MPSERVE_ADDRESS"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = prepared.start(
                *("mpserve", "start", "--host", host, "--log-format", "json", *where, *self.options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        wait_until(
            lambda: self.process.poll() is not None or READY.search(self.log, before) is not None, START_S
        )
        assert self.process.poll() is None, self.log
        self.address = READY.search(self.log, before)[1]
        return self

    def connect(self, **more) -> mpclient.Cluster:
        return mpclient.connect(
            self.address, self.key, **{"reconnect_timeout": 5.0, "connect_timeout": 10.0, **more}
        )

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 10.0) -> int:
        return self.process.wait(timeout)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


@dataclass
class Program:
    """A client program in a process of its own, running."""

    process: subprocess.Popen[str]

    def line(self) -> str:
        """Return its next line: how it says how far it is. The test's time limit bounds the wait."""
        return self.process.stdout.readline().strip()

    def say(self, text: str = "go") -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def finish(self, timeout: float = 20.0) -> str:
        """Wait for its end; return the rest of its output. It must end well."""
        out, err = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, f"exit code {self.process.returncode}\n{out}\n{err}"
        return out.strip()


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("server") / "main").start()
    yield started
    started.stop()


@pytest.fixture
def fresh_server(tmp_path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(*options: str, host: str = "127.0.0.1") -> Server:
        server = Server(tmp_path / f"server{len(started)}", options)
        started.append(server)
        return server.start(host)

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def cluster(server) -> Iterator[mpclient.Cluster]:
    with server.connect(name="test") as cluster:
        yield cluster


@pytest.fixture
def relay(server) -> Iterator[Relay]:
    """Stand between clients and the server, and cut when it is told to."""
    host, _, port = server.address.rpartition(":")
    relay = Relay((host, int(port)))
    yield relay
    relay.close()


@pytest.fixture(scope="module")
def crew() -> Iterator[mpclient.Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
        with running_cluster(2) as cluster:
            yield cluster


@pytest.fixture
def unique(request) -> str:
    """A name that no other test uses."""
    return f"{request.node.name[:120]} {secrets.token_hex(4)}"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_all_typed", True)


@pytest.fixture
def program(server, tmp_path) -> Iterator[Callable[..., Program]]:
    started: list[subprocess.Popen[str]] = []

    def run(
        source: str,
        *args: str,
        connected: bool = True,
        environment: dict[str, str] | None = None,
        **popen: Any,
    ) -> Program:
        """Run `source`, which has a connected `cluster` at hand, and `say`/`hear` to speak with the test."""
        path = tmp_path / f"program{len(started)}.py"
        path.write_text(PRELUDE + source if connected else source)
        process = prepared.start(
            *(path, *args),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**server.environment, **(environment or {})},
            cwd=tmp_path,
            **popen,
        )
        started.append(process)
        return Program(process)

    yield run
    for process in started:
        process.kill()
        process.communicate(timeout=10)


PRELUDE = """\
import os, sys, threading, time
import mpclient
cluster = mpclient.connect(connect_timeout=10.0, reconnect_timeout=5.0)
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline().strip()
"""


def in_thread(function: Callable[[], object]) -> Callable[[], object]:
    """Run a call in a thread; calling the result waits for it (60 s) and returns or raises what it did."""
    import threading

    outcome: list[tuple[bool, object]] = []

    def run() -> None:
        try:
            outcome.append((True, function()))
        except BaseException as err:
            outcome.append((False, err))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> object:
        thread.join(60)
        assert outcome, "the call did not return"
        good, value = outcome[0]
        if not good:
            raise value
        return value

    return result


@pytest.fixture(name="in_thread")
def in_thread_fixture() -> Callable[[Callable[[], object]], Callable[[], object]]:
    return in_thread
