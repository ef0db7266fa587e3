"""One worker process as its supervisor sees it: started fresh, heard, and waited for.

RULES
* Never a fork of this process: it has threads. A new interpreter is executed, in a session of its own, so
  that Ctrl-C in the terminal reaches the supervisor only.
* Its standard output and error are pipes read here; it is given an end of a socket pair,
  memory for a `Mark`, and pipes for its descriptors 1 and 2 that it reads itself, and nothing else.
* It is waited for with `wait4`, once, by pid: that tells its peak memory, too.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.worker.channel import Channel
from mpclient.worker.descriptors import NAMES, Pieces, Pipes
from mpclient.worker.mark import Mark, new_mark
from mpclient.worker.output import Lines
from mpclient.worker.reports import Exit
from mpshared.reports import MAX_LINES

if TYPE_CHECKING:
    from mpclient.worker.options import Options

__all__ = ["Child", "environment"]

_READ_BYTES: Final = 1 << 16
_DRAIN_READS: Final = 64
"""What a dead process left in a pipe is at most 64 KiB; more comes from children that it left behind."""


class Child:
    """A worker process.

    Raises:
        OSError: It cannot be started: no such folder to run in, no more processes allowed, …
    """

    def __init__(self, options: Options, worker: str, supervisor: str, *, serves_queue: bool = True) -> None:
        self.supervisor = supervisor
        """The session id that it was told to name as its supervisor's."""
        self.started_s = time.monotonic()
        self.session = ""
        """Its session's id, once it has one."""
        self.ready = False
        self.why: str | None = None
        """Why it says it ends (`channel.Why`); None while it has said nothing."""
        self.text = ""
        self.refused = False
        """Whether it asked for its slot to be lent, and that could not be."""
        self.given_up = ""
        """Why the server does not want it any more."""
        self.job = 0
        """Once it has ended: the number of the job that it was at."""
        self.pool: str | None = None
        """Once it has ended: the ident of the pool that the job was from."""
        self.printed: list[str] = []
        """Once it has ended: the last lines that jobs of that pool printed."""
        self.kill_at_s: float | None = None
        """When it is killed if it is still there, monotonic."""
        self.last: deque[str] = deque(maxlen=MAX_LINES)
        """The last lines it printed."""
        self._start(options)
        told = options.for_process(worker, supervisor, serves_queue=serves_queue)
        self.channel.send("begin", descriptors=self.descriptors.ends, **told)

    def _start(self, options: Options) -> None:
        ours, theirs = socket.socketpair()
        pipes = [os.pipe(), os.pipe()]
        mark = new_mark()
        descriptors = Pipes()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "mpclient.worker.process", str(theirs.fileno()), str(mark)],
                stdin=subprocess.DEVNULL,
                stdout=pipes[0][1],
                stderr=pipes[1][1],
                cwd=options.chdir,
                env=environment(options),
                pass_fds=(theirs.fileno(), mark, *descriptors.ends),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            descriptors.close()
            for descriptor in (mark, *(reading for reading, _ in pipes)):
                os.close(descriptor)
            raise
        finally:
            theirs.close()
            descriptors.begun()
            for _, writing in pipes:
                os.close(writing)
        self.pid = self._process.pid
        self.channel = Channel(ours)
        self.mark = Mark(mark)
        self.descriptors = descriptors
        """What is written past its streams; it is read here when the process does not."""
        self.streams = {
            reading: (name, Lines(self.last))
            for (reading, _), name in zip(pipes, ("stdout", "stderr"), strict=True)
        }
        """Reading ends of its output that are open: the stream's name, and what cuts it into lines."""
        for reading in self.streams:
            os.set_blocking(reading, False)

    # -- listening -------------------------------------------------------------------------------

    def receive(self) -> list[dict[str, Any]] | None:
        """Return what it has to say, without waiting; None: it says nothing any more."""
        self.channel.set_blocking(False)
        try:
            return self.channel.receive()
        finally:
            self.channel.set_blocking(True)

    def read(self, reading: int) -> list[tuple[str, str]] | None:
        """Read once from one of its streams; return (stream, line) for each whole line, None at its end."""
        name, lines = self.streams[reading]
        try:
            data = os.read(reading, _READ_BYTES)
        except BlockingIOError:
            return []
        if data:
            return [(name, line) for line in lines.feed(data)]
        return None

    def drain(self) -> list[tuple[str, str]]:
        """Return the last lines of a process that has ended."""
        found: list[tuple[str, str]] = []
        for reading, (name, lines) in self.streams.items():
            for _ in range(_DRAIN_READS):
                more = self.read(reading)
                if not more:
                    break
                found += more
            found += [(name, line) for line in lines.finish()]
        return found

    def overdue(self) -> Pieces:
        """Return what was written past its streams and lies unread for long."""
        return self.descriptors.overdue(self.mark)

    def rest(self) -> Pieces:
        """Return what a process that has ended did not send: what it noted, and what is in its pipes."""
        found = self.descriptors.rest()
        for stream in NAMES:
            text = b"".join(data for of, data in found if of == stream).decode("utf-8", "backslashreplace")
            (self.printed if self.mark.program() else self.last).extend(text.splitlines())
        return [*self.mark.notes(), *found]

    # -- its end ---------------------------------------------------------------------------------

    def end(self, how: str, within_s: float | None = None) -> None:
        """Tell it to "stop" or to "quit"; kill it if it is still there after `within_s`."""
        self.channel.send(how)
        if within_s is not None:
            self.kill_at_s = time.monotonic() + within_s

    def kill(self) -> None:
        """Kill it, and what its job has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # it leads a group of its own
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, *, block: bool = False) -> Exit | None:
        """Return how it ended, None if it has not."""
        try:
            pid, status, usage = os.wait4(self.pid, 0 if block else os.WNOHANG)
        except ChildProcessError:  # somebody else waited for it; how it ended is not known
            return Exit(0, 0)
        if not pid:
            return None
        ended = Exit.from_wait(status, usage)
        self._process.returncode = ended.code
        self.job, self.pool, self.printed = self.mark.number[0], self.mark.pool(), self.mark.last_lines()
        return ended

    def close(self) -> None:
        """Close this side of its streams, of the socket pair, and of the mark."""
        self.channel.close()
        self.descriptors.close()
        self.mark.close()
        for reading in self.streams:
            os.close(reading)
        self.streams.clear()


def environment(options: Options) -> dict[str, str]:
    """Return its environment: jobs that call `mpclient.connect()` find the key, and the
    certificates, where the supervisor did.
    """
    environment = dict(os.environ)
    if options.key.file is not None:
        environment["MPSERVE_AUTHKEY_FILE"] = str(options.key.file.absolute())
        environment.pop("MPSERVE_AUTHKEY", None)
    files = ("", "", "") if options.tls is None else options.tls.files
    for name, path in zip(("CERT", "KEY", "CA"), files, strict=True):
        environment[f"MPSERVE_TLS_{name}"] = path  # "" counts as not set
    return environment
