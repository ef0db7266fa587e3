"""A fresh interpreter that runs one of our modules: a worker process, or the nursery.

RULES
* Never a fork of this process: it has threads. (A worker process may be one of the nursery: see `Child`.)
* It leads a session of its own, so that Ctrl-C in the terminal reaches the supervisor only.
* Its standard output and error are pipes read here; it is given an end of a socket pair, which its module
  finds by the first word of its command line, and nothing else that it is not to have.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.worker.channel import Channel
from mpclient.worker.output import Lines
from mpshared.interpreters import module_command
from mpshared.reports import MAX_LINES

if TYPE_CHECKING:
    from mpclient.worker.options import Options

__all__ = ["Interpreter", "execute", "kill", "send_signal"]

_READ_BYTES: Final = 1 << 16


class Interpreter:
    """One that was started.

    Args:
        options: Where it runs, and what it finds in its environment.
        module: What it runs.
        words: The rest of its command line.
        give: Descriptors that it inherits.

    Raises:
        OSError: It cannot be started: no such folder to run in, no more processes allowed, …
    """

    def __init__(self, options: Options, module: str, *words: str, give: tuple[int, ...] = ()) -> None:
        ours, theirs = socket.socketpair()
        pipes = [os.pipe(), os.pipe()]
        self.channel = Channel(ours)
        try:
            self.pid = self._begin(options, [module, *words], theirs, (*give, pipes[0][1], pipes[1][1]))
        except BaseException:
            ours.close()
            for reading, _ in pipes:
                os.close(reading)
            raise
        finally:
            theirs.close()
            for _, writing in pipes:
                os.close(writing)
        self.last: deque[str] = deque(maxlen=MAX_LINES)
        """The last lines it printed."""
        self.streams = {
            reading: (name, Lines(self.last))
            for (reading, _), name in zip(pipes, ("stdout", "stderr"), strict=True)
        }
        """Reading ends of its output that are open: the stream's name, and what cuts it into lines."""
        for reading in self.streams:
            os.set_blocking(reading, False)

    def _begin(
        self, options: Options, command: Sequence[str], theirs: socket.socket, give: Sequence[int]
    ) -> int:
        """Start it; return its pid.

        Args:
            options: As above.
            command: Its module and words.
            theirs: Its end of the socket pair.
            give: Its other descriptors; the last two become its standard output and error.
        """
        *passed, stdout, stderr = give
        module, *words = command
        output = {"stdout": stdout, "stderr": stderr}
        about = {"cwd": options.chdir, "env": _environment(options)}
        self._process = execute(module, theirs, words, passed, **output, **about)
        return self._process.pid

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

    def close(self) -> None:
        """Close this side of the socket pair and of its streams."""
        self.channel.close()
        for reading in self.streams:
            os.close(reading)
        self.streams.clear()


def execute(
    module: str, theirs: socket.socket, words: Sequence[str] = (), give: Sequence[int] = (), **more: Any
) -> subprocess.Popen[bytes]:
    """Start a fresh interpreter that leads a session of its own and reads nothing from a terminal.

    Args:
        module: What it runs.
        theirs: Its end of a socket pair, whose descriptor is the first word of its command line.
        words: The other words.
        give: Further descriptors that it inherits.
        more: As for `Popen`.
    """
    return subprocess.Popen(
        module_command(module, str(theirs.fileno()), *words),
        stdin=subprocess.DEVNULL,
        pass_fds=(theirs.fileno(), *give),
        start_new_session=True,
        **more,
    )


def kill(pid: int) -> None:
    """Kill a process that leads a group of its own, and what it has started in there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    send_signal(pid, signal.SIGKILL)


def send_signal(pid: int, number: int) -> None:
    """Send a signal, unless the process is gone, or has become another user's (by sudo, for one)."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _environment(options: Options) -> dict[str, str]:
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
