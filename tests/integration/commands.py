"""The `mpserve` command as a person has it: a home folder of their own, words typed, lines read.

A test module takes the fixtures over by name: ``home = commands.home``.

home    a fresh home folder: no key, no settings
start   a factory: `mpserve start` in that home, running; all are stopped at the end
shared  one server of one home for the whole run, kept by pytest-xprocess, for tests that only ask
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from tests import prepared
from xprocess import ProcessStarter

from mpclient.testing import wait_until
from mpserve.net.ask import Inquiry, _connect
from mpshared.address import Address

__all__ = ["COMMAND", "Home", "Running", "Shared", "home", "shared", "start"]

COMMAND = Path(sys.executable).with_name("mpserve")
LIMIT_S = 20.0
_READY = re.compile(r"server\.ready.*?address=('[^']*'|\S+)|\"address\": \"([^\"]*)\"")


@dataclass(frozen=True)
class Home:
    """A user's home folder, and the environment of whoever works there."""

    folder: Path

    @property
    def key_file(self) -> Path:
        return self.folder / "config" / "mpserve" / "authkey"

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MPSERVE_", "XDG_"))}
        here = {"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config"), "COLUMNS": "80"}
        return kept | here | {"PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"}

    def run(
        self, *words: str, environment: dict[str, str] | None = None, **popen: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run `mpserve` with these words to its end."""
        return prepared.run("mpserve", *words, timeout_s=LIMIT_S, **self._given(environment, popen))

    def type(
        self, line: str, environment: dict[str, str] | None = None, **popen: Any
    ) -> subprocess.CompletedProcess[str]:
        """Give a line to the shell, as it stands."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        given = {**streams, "text": True, "timeout": LIMIT_S, **self._given(environment, popen)}
        return subprocess.run(["/bin/sh", "-c", line], **given)

    def _given(self, environment: dict[str, str] | None, popen: dict[str, Any]) -> dict[str, Any]:
        return {"env": self.environment | (environment or {}), "cwd": self.folder, **popen}


@dataclass
class Running:
    """One `mpserve start`, running; what it says goes to two files."""

    home: Home
    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    address: str = ""

    @property
    def said(self) -> str:
        """Everything it wrote anywhere."""
        return self.out.read_text() + self.err.read_text()

    def ready(self) -> Running:
        """Wait until it is."""
        wait_until(lambda: self.process.poll() is not None or _READY.search(self.said) is not None, LIMIT_S)
        found = _READY.search(self.said)
        assert found is not None, self.said
        self.address = (found[1] or found[2]).strip("'")
        return self

    def end(self, number: int) -> int:
        """Send it a signal; return its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(LIMIT_S)

    def ask(self, secret: bytes) -> Inquiry:
        """Open a session as the command line's questions do; the caller closes it."""
        return Inquiry(_connect(Address.parse(self.address), LIMIT_S), secret, "test")

    def banner_line(self, beginning: str) -> str:
        """Return the banner's line that begins so."""
        lines = [line.strip() for line in self.out.read_text().splitlines()]
        found = [line for line in lines if line.startswith(beginning)]
        assert found, self.out.read_text()
        return found[0]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    folder = tmp_path / "home"
    folder.mkdir()
    return Home(folder)


@pytest.fixture
def start(home: Home) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(
        *words: str, environment: dict[str, str] | None = None, ready: bool = True, **popen: Any
    ) -> Running:
        out, err = (home.folder / f"{name}{len(started)}" for name in ("out", "err"))
        with out.open("wb") as out_file, err.open("wb") as err_file:
            streams: dict[str, IO[bytes] | int] = {"stdout": out_file, "stderr": err_file}
            process = prepared.start(
                *("mpserve", "start", *words),
                env=home.environment | (environment or {}),
                cwd=home.folder,
                **(streams | popen),
            )
        started.append(Running(home, process, out, err))
        return started[-1].ready() if ready else started[-1]

    yield run
    for running in started:
        running.process.kill()
        running.process.communicate(timeout=LIMIT_S)


@dataclass(frozen=True)
class Shared:
    """The long-lived server: its user's home, its address, its log."""

    home: Home
    address: str
    log: Path

    def run(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Ask it, by MPSERVE_ADDRESS."""
        return self.home.run(
            *words, environment={"MPSERVE_ADDRESS": self.address, **more.pop("environment", {})}, **more
        )

    @property
    def key(self) -> str:
        return self.home.key_file.read_text().strip()


@pytest.fixture(scope="session")
def shared(xprocess: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    user = Home(tmp_path_factory.mktemp("shared"))
    name = f"mpserve-{secrets.token_hex(4)}"  # of this run alone: others may run beside it

    class Starter(ProcessStarter):
        pattern = r"server\.ready"
        timeout = int(LIMIT_S)
        max_read_lines = 1000
        terminate_on_interrupt = True
        args = (COMMAND, "start", "--port", "0", "--log-level", "debug")
        env = user.environment

    _, log = xprocess.ensure(name, Starter)
    found = _READY.search(Path(log).read_text())
    assert found is not None
    yield Shared(user, found[1], Path(log))
    info = xprocess.getinfo(name)
    info.terminate()
    shutil.rmtree(info.controldir)
