"""One worker process as its supervisor sees it: started, heard, and waited for.

RULES
* It is a fork of the nursery if there is one (`orphans`), else started fresh (`interpreter`).
* It is given memory for a `Mark`, and pipes for its descriptors 1 and 2 that it reads itself.
* It is waited for with `wait4`, once, by pid: that tells its peak memory, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from mpclient.worker.descriptors import NAMES
from mpclient.worker.interpreter import Interpreter, kill
from mpclient.worker.reports import Exit
from mpclient.worker.traces import Traces

if TYPE_CHECKING:
    import socket

    from mpclient.worker.descriptors import Pieces
    from mpclient.worker.host.nursing import Bears
    from mpclient.worker.options import Options

__all__ = ["Child"]

_MODULE: Final = "mpclient.worker.process"
_DRAIN_READS: Final = 64
"""What a dead process left in a pipe is at most 64 KiB; more comes from children that it left behind."""


class Child(Interpreter):
    """A worker process.

    Args:
        options: What it is to do.
        worker: Its name.
        supervisor: The supervisor's session.
        bears: Has the nursery give birth to it; None: there is none.
        serves_queue: Whether it runs recipe jobs, too; else those of pools only.

    Raises:
        OSError: It cannot be started: no such folder to run in, no more processes allowed, …
    """

    def __init__(
        self,
        options: Options,
        worker: str,
        supervisor: str,
        bears: Bears | None = None,
        *,
        serves_queue: bool = True,
    ) -> None:
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
        self._bears = bears
        try:
            self._start(options)
        except OSError:
            if bears is None:
                raise
            self._bears = None  # it has died, or has no room
            self._start(options)
        self.channel.send("begin", **options.for_process(worker, supervisor, serves_queue=serves_queue))

    def _start(self, options: Options) -> None:
        self.traces = Traces()
        try:
            super().__init__(options, _MODULE, *map(str, self.traces.ends), give=self.traces.ends)
        except BaseException:
            self.traces.close()
            raise
        finally:
            self.traces.given()

    def _begin(
        self, options: Options, command: Sequence[str], theirs: socket.socket, give: Sequence[int]
    ) -> int:
        if self._bears is not None:
            return self._bears(self.channel, theirs, give)
        pid = super()._begin(options, command, theirs, give)
        self._process.returncode = 0  # it is waited for by pid
        return pid

    # -- listening -------------------------------------------------------------------------------

    def receive(self) -> list[dict[str, Any]] | None:
        """Return what it has to say, without waiting; None: it says nothing any more."""
        self.channel.set_blocking(False)
        try:
            return self.channel.receive()
        finally:
            self.channel.set_blocking(True)

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

    def rest(self) -> Pieces:
        """Return what a process that has ended did not send; the lines among it are its last ones."""
        found = self.traces.pipes.rest()
        for stream in NAMES:
            text = b"".join(data for of, data in found if of == stream).decode("utf-8", "backslashreplace")
            (self.printed if self.traces.mark.program() else self.last).extend(text.splitlines())
        return [*self.traces.mark.notes(), *found]

    # -- its end ---------------------------------------------------------------------------------

    def end(self, how: str, within_s: float | None = None) -> None:
        """Tell it to "stop" or to "quit"; kill it if it is still there after `within_s`."""
        self.channel.send(how)
        if within_s is not None:
            self.kill_at_s = time.monotonic() + within_s

    def kill(self) -> None:
        """Kill it, and what its job has started."""
        kill(self.pid)

    def wait(self, *, block: bool = False) -> Exit | None:
        """Return how it ended, None if it has not."""
        try:
            pid, status, usage = os.wait4(self.pid, 0 if block else os.WNOHANG)
        except ChildProcessError:  # somebody else waited for it; how it ended is not known
            return Exit(0, 0)
        if not pid:
            return None
        ended = Exit.from_wait(status, usage)
        mark = self.traces.mark
        self.job, self.pool, self.printed = mark.number[0], mark.pool(), mark.last_lines()
        return ended

    def close(self) -> None:
        """Close this side of everything that the two share."""
        super().close()
        self.traces.close()
