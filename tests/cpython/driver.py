"""Runs CPython's tests on a real server with real workers, and finds out where one hangs.

RULES
* Tests run in a process beside this one (`runner`), one after the other. One that does not end in time is
  killed with its process and told as "hangs", with the places where its threads were; the next begins in a
  new process.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from tests.cpython.left_out import reason_for

from mpclient import testing

__all__ = ["Outcome", "names_of_all", "run"]

_ROOT: Final = Path(__file__).parents[2]
_WORKERS: Final = 4
_LIMIT_S: Final = 150.0
"""How long a test may take, on a machine that has other things to do."""
_TELL_S: Final = 5.0
_SHOWN_CHARS: Final = 6000


class Outcome(NamedTuple):
    """What came of a test: the runner's verdict, or "left out", "hangs", "ends" (its process did)."""

    name: str
    verdict: str
    text: str = ""

    @property
    def good(self) -> bool:
        """Whether it is as it should be."""
        return self.verdict in {"passed", "skipped", "left out"}


def names_of_all() -> list[str]:
    """Return the names of all tests that this Python has."""
    with _Child([], os.environ.copy(), None) as child:
        return child.read_all().split()


def run(names: Iterable[str], tell: Callable[[Outcome], None], limit_s: float = _LIMIT_S) -> list[Outcome]:
    """Run tests, on a cluster made for them; `tell` is called after each."""
    outcomes: list[Outcome] = []
    todo = []
    for name in names:
        why = reason_for(name)
        if why is None:
            todo.append(name)
        else:
            outcomes.append(Outcome(name, "left out", why))
    with _cluster() as environment:
        while todo:
            for outcome in _run_until_it_breaks(todo, environment, limit_s):
                outcomes.append(outcome)
                tell(outcome)
            done = {outcome.name for outcome in outcomes}
            todo = [name for name in todo if name not in done]
    return outcomes


@contextmanager
def _cluster() -> Iterator[dict[str, str]]:
    """Start a cluster in a folder of its own, where the tests put their files; yield what to find it by."""
    before = Path.cwd()
    sys.path.insert(0, str(_ROOT))  # the workers import what this program can
    with tempfile.TemporaryDirectory(prefix="mpserve-cpython-") as folder:
        os.chdir(folder)
        try:
            with testing.running_cluster(_WORKERS) as cluster:
                yield {**os.environ, **testing.environment(cluster)}
        finally:
            os.chdir(before)
            sys.path.remove(str(_ROOT))


def _run_until_it_breaks(names: list[str], environment: dict[str, str], limit_s: float) -> Iterator[Outcome]:
    """Run tests in one process; the last outcome may be that of the one that broke it.

    Raises:
        RuntimeError: The process ends before a test has begun, or what surrounds a test fails.
    """
    with tempfile.TemporaryFile() as log, _Child(names, environment, log) as child:
        now = None
        for news in child.news(limit_s):
            if "broken" in news:
                raise RuntimeError(f"{news['broken']}: {news['text']}")
            now = news.get("begin")
            if "end" in news:
                yield Outcome(news["end"], news["verdict"], news["text"])
        code = child.end()
        if now is not None:
            yield Outcome(now, "ends" if code is not None else "hangs", f"exit code {code}\n{_tail(log)}")
        elif code:
            raise RuntimeError(f"the runner ended with exit code {code}\n{_tail(log)}")


def _tail(log: Any) -> str:
    log.seek(0)
    return log.read().decode("utf-8", "replace")[-_SHOWN_CHARS:]  # type: ignore[no-any-return]


class _Child:
    """A runner."""

    def __init__(self, names: list[str], environment: dict[str, str], log: Any) -> None:
        self._reading, writing = os.pipe()
        path = os.pathsep.join([str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cpython.runner", str(writing)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**environment, "PYTHONPATH": path},
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join(names).encode())
        self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._reading)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def read_all(self) -> str:
        with os.fdopen(os.dup(self._reading), encoding="utf-8") as reading:
            return reading.read()

    def news(self, limit_s: float) -> Iterator[dict[str, str]]:
        """Yield what it tells, until there is no more, or nothing came for so long."""
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._reading, selectors.EVENT_READ)
            while selector.select(limit_s) and (data := os.read(self._reading, 1 << 16)):
                *lines, rest = (rest + data).split(b"\n")
                yield from map(json.loads, lines)

    def end(self) -> int | None:
        """Return its exit code; None if it had to be killed, which then has said where it was."""
        try:
            return self._process.wait(_TELL_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGUSR1)
        try:
            self._process.wait(_TELL_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        return None
