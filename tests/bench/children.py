"""Run child processes that are spoken to in lines of JSON, and end every one of them.

Rules:
- Every wait has a deadline; a child that misses it is ended and the error says what it last wrote to its
  standard error.
- A child ends with its standard input or, where it cannot watch that, with its parent (Linux:
  PR_SET_PDEATHSIG).
- Children are ended by their process id, never by name.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Self

import psutil

__all__ = ["ROOT", "Child", "ChildError"]

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1


class ChildError(Exception):
    """A child ended, went silent, or answered that it failed."""


class Child:
    """Own one child process: speak to it, look at what it takes, end it."""

    def __init__(self, *command: str, speaks: bool = True, serves: bool = False) -> None:
        """Start `command` (beginning with `-m`: this Python runs it) in the repository's folder.

        One that does not speak JSON writes to a file (see `written`): an unread pipe would stop it. One that
        serves has a session of its own, as a service or a container has: the scheduler then divides
        processors between it and the clients of one program, and not among it and each of these.
        """
        self.command = [sys.executable, *command] if command[0] == "-m" else list(command)
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if speaks else self.errors,
            stderr=self.errors,
            cwd=ROOT,
            process_group=None if serves else 0,  # Ctrl-C is for the bench alone, which then ends all others
            start_new_session=serves,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads here yet
        )
        self._heard = b""

    def __enter__(self) -> Self:
        """Return itself; the block's end ends the child."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """End the child."""
        self.end()

    @property
    def alive(self) -> bool:
        """Tell whether it still runs."""
        return self.process.poll() is None

    def tell(self, **fields: object) -> None:
        """Send one line of JSON.

        Raises:
            ChildError: It ended.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(fields).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise ChildError(self.story("does not listen any more")) from error

    def hear(self, timeout_s: float) -> Any:
        """Return the next line it says, as JSON.

        Raises:
            ChildError: It ended, said nothing for `timeout_s`, or answered `{"error": …}`.
        """
        answer = json.loads(self.hear_line(timeout_s))
        if isinstance(answer, dict) and "error" in answer:
            raise ChildError(str(answer["error"]))
        return answer

    def hear_line(self, timeout_s: float) -> str:
        """Return the next line it says, as text; errors as in `hear`."""
        assert self.process.stdout is not None
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._heard:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([self.process.stdout], [], [], left_s)[0]:
                raise ChildError(self.story(f"said nothing for {timeout_s:.0f} s"))
            part = os.read(self.process.stdout.fileno(), 65536)
            if not part:
                raise ChildError(self.story("ended"))
            self._heard += part
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode(errors="replace")

    def written(self) -> list[str]:
        """Return the lines it wrote to its standard error, or to both streams if it does not speak."""
        self.errors.flush()
        size = os.fstat(self.errors.fileno()).st_size
        return os.pread(self.errors.fileno(), size, 0).decode(errors="replace").splitlines()

    def ask(self, timeout_s: float, **fields: object) -> Any:
        """Tell and hear in one."""
        self.tell(**fields)
        return self.hear(timeout_s)

    def wait(self, timeout_s: float) -> None:
        """Wait until it ends by itself, with exit code 0; else raise ChildError."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ChildError(self.story(f"did not end within {timeout_s:.0f} s")) from None
        if code:
            raise ChildError(self.story("failed"))

    def pin(self, processors: tuple[int, ...]) -> None:
        """Let all its threads run on `processors` only: where a process runs decides what a wake-up costs."""
        if sys.platform == "linux":
            for thread in self.process_info().threads():
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                    os.sched_setaffinity(thread.id, processors)

    def process_info(self) -> psutil.Process:
        """Return what psutil knows of it."""
        return psutil.Process(self.process.pid)

    def cpu_s(self) -> float:
        """Return the processor time that it and its children used, in seconds."""
        return sum(sum(process.cpu_times()[:2]) for process in self._family())

    def rss_bytes(self) -> int:
        """Return the resident memory of it and its children."""
        return sum(process.memory_info().rss for process in self._family())

    def threads(self) -> int:
        """Return how many threads it and its children have."""
        return sum(process.num_threads() for process in self._family())

    def end(self, patience_s: float = 5) -> None:
        """Close its standard input, ask it to stop, kill it when it stays."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.alive:
                self.process.send_signal(number)
                try:
                    self.process.wait(patience_s)
                except subprocess.TimeoutExpired:
                    continue
        with contextlib.suppress(ProcessLookupError):  # what it started and left behind
            os.killpg(self.process.pid, signal.SIGKILL)
        self.errors.close()

    def _family(self) -> list[psutil.Process]:
        root = self.process_info()
        return [root, *root.children(recursive=True)]

    def story(self, what: str) -> str:
        """Tell what it did (`what`), whether it runs, and its last words; paths as seen from this tree."""
        last = self.written()[-3:]
        code = self.process.poll()
        state = "running" if code is None else f"exit code {code}"
        told = f"{' '.join(self.command[-4:])} {what} ({state}): {' / '.join(last) or 'nothing on stderr'}"
        return told.replace(f"{ROOT}/", "")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
