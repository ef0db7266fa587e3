"""The real `mpworker`, started by its command line, for tests to give jobs to, to stop, and to kill.

A test module takes the fixtures over by name: ``mpworker = workers.mpworker``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests import prepared

from mpclient.testing import wait_until

__all__ = [
    "WorkerHost",
    "begun",
    "children_of",
    "gate",
    "is_alive",
    "mpworker",
    "nursery_of",
    "other_pythons",
    "processes_of",
    "results",
    "starting_in",
    "tasks",
    "waits",
]

COMMAND = Path(sys.executable).with_name("mpworker")
LIMIT_S = 60.0


@dataclass
class WorkerHost:
    """One `mpworker` command, running; its log is JSON lines in a file."""

    process: subprocess.Popen[bytes]
    log: Path
    names: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Return the log's lines of one event that have these fields."""
        found = []
        for line in self.text.splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if entry.get("event") == event and fields.items() <= entry.items():
                    found.append(entry)
        return found

    def wait_for(self, event: str, n: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """Return the lines of an event once there are `n`."""

        def there() -> bool:
            return len(self.events(event, **fields)) >= n or self.process.poll() is not None

        wait_until(there, LIMIT_S)
        found = self.events(event, **fields)
        assert len(found) >= n, self.text
        return found

    def ready(self) -> WorkerHost:
        self.wait_for("worker.ready")
        return self

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = LIMIT_S) -> int:
        """Return the command's exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"mpworker did not end; its log:\n{self.text}")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)  # it begins none that are not killed here
            wait_until(lambda: _state(self.process.pid) in {"T", "Z", ""}, LIMIT_S)
            pids = children_of(self.process.pid)
            self.process.kill()
            self.process.wait(LIMIT_S)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not any(map(is_alive, pids)), LIMIT_S)  # or it takes a job of the next test


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    try:
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [child for child in found if _name(child) != prepared.BESIDE]


def nursery_of(supervisor: int) -> list[int]:
    """Return the pid of a supervisor's nursery, if it has one."""
    return [child for child in children_of(supervisor) if _is_nursery(child)]


def processes_of(supervisor: int) -> list[int]:
    """Return the pids of a supervisor's worker processes."""
    return [child for child in children_of(supervisor) if not _is_nursery(child)]


def is_fork(pid: int) -> bool:
    """Tell whether a worker process was born of a nursery."""
    return _name(pid) == "mpworker"


def _is_nursery(pid: int) -> bool:
    return _name(pid) == "nursery" or (b".nursery" in _read(pid, "cmdline") and not is_fork(pid))


def _name(pid: int) -> str:
    return _read(pid, "comm").decode().rstrip("\n")


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def is_alive(pid: int) -> bool:
    """Tell whether a process runs: one that ended and waits to be noticed by its parent does not."""
    return _state(pid) not in {"Z", ""}


def _state(pid: int) -> str:
    return next(iter(_read(pid, "stat").decode().rpartition(")")[2].split()), "")


def other_pythons() -> dict[str, str]:
    """Return version and path of further interpreters that have this distribution (MPSERVE_TEST_PYTHONS)."""
    pairs = os.environ.get("MPSERVE_TEST_PYTHONS", "").split(",")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


@pytest.fixture
def mpworker(tmp_path) -> Iterator[Callable[..., WorkerHost]]:
    """Start worker hosts: ``mpworker(server, "--processes", "2", queue=…)``."""
    with starting_in(tmp_path) as start:
        yield start


@pytest.fixture
def tasks(cluster: Any, unique: str) -> Any:
    """The recipe queue of worker hosts that are started with ``queue=unique``."""
    return cluster.JoinableQueue(name=unique)


@pytest.fixture
def results(cluster: Any, unique: str) -> Any:
    """Where these put their results."""
    return cluster.Queue(name=f"{unique} results")


@pytest.fixture
def begun(cluster: Any) -> Any:
    """Where jobs say that they run: (name, pid)."""
    return cluster.Queue()


@pytest.fixture
def gate(cluster: Any) -> Any:
    """What jobs wait for."""
    return cluster.Event()


@pytest.fixture
def waits(begun: Any, gate: Any) -> Callable[[object], tuple[object, int]]:
    """Return a job that says that it has begun, waits for the gate, and answers its name and process."""

    def job(name: object) -> tuple[object, int]:
        begun.put((name, os.getpid()))
        gate.wait()
        return name, os.getpid()

    return job


@contextmanager
def starting_in(folder: Path) -> Iterator[Callable[..., WorkerHost]]:
    """Start worker hosts whose logs are in a folder, and which end with the block."""
    started: list[WorkerHost] = []

    def start(
        server: Any,
        *options: str,
        queue: str = "tasks",
        processes: int = 1,
        python: str | None = None,
        environment: dict[str, str] | None = None,
        **popen: Any,
    ) -> WorkerHost:
        where = ["--queue", queue, "--results", f"{queue} results", "--processes", str(processes)]
        log = folder / f"mpworker{len(started)}.log"
        with log.open("wb") as file:
            more: dict[str, Any] = {
                "stdin": subprocess.DEVNULL,
                "stdout": file,
                "stderr": file,
                "cwd": folder,
            }
            more |= {"env": server.environment | (environment or {}), **popen}
            words = [*where, "--log-format", "json", *options]
            if python is None:
                process = prepared.start("mpworker", *words, **more)
            else:
                process = subprocess.Popen([python, "-m", "mpclient.worker", *words], **more)
        started.append(WorkerHost(process, log))
        return started[-1]

    try:
        yield start
    finally:
        for host in started:
            host.end()
