"""Descriptors 1 and 2 of a process that works for programs: what is written past `sys.stdout` comes home.

    os.write, printf in C, programs that a job starts, its forks
        '--> descriptor 1 or 2 --pipe--> a thread of this process, or who makes a call here just then --> home
                                   '---> who started this process: what is left in the pipe when it is dead,
                                         and what it does not read while C code holds the interpreter

RULES
* Each process has two pipes of its own. It reads them itself, so that what was written before a call can go
  ahead of that call; it costs one look (`poll`) a call, and nothing for each job of a batch.
* The thread leaves what was written in the pipe for a moment, where it outlives a process that is killed just
  then, and sends at once what it took.
* Who started it keeps the reading ends, too, and reads what lay there for a second: so nobody who writes is
  stuck for want of a reader. It leaves alone what waits because the program is slow to print (`Mark.held`).
* Lines leave whole. A piece of one leaves at a carriage return, when it is long, at `flush`, and when its end
  has not come for a second.
* A fork only writes: its parent reads.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from mpclient.output.outgoing import ENTRY_BYTES, STDERR, STDOUT

if TYPE_CHECKING:
    from mpclient.output.outgoing import Outgoing
    from mpclient.worker.mark import Mark

__all__ = ["LOOK_S", "NAMES", "Descriptors", "Pieces", "Pipes"]

LOOK_S: Final = 1.0
"""How long something may lie unread before who started the process takes it."""
NAMES: Final = {STDOUT: "stdout", STDERR: "stderr"}
_PIECE_S: Final = 1.0
_MOMENT_S: Final = 0.05
_MUCH_BYTES: Final = 1 << 15
_FLOOD_S: Final = 1.0
"""After a read of so much the thread leaves nothing in the pipe for so long: there is more to come."""
_READ_BYTES: Final = 1 << 16
"""As much as a pipe holds."""
_REST_READS: Final = 64

Pieces: TypeAlias = list[tuple[int, bytes]]
"""(`STDOUT` or `STDERR`, what was written)."""


class Pipes:
    """The pipes of one process, as who starts it has them.

    Raises:
        OSError: Too many files are open.
    """

    def __init__(self) -> None:
        self._ends: dict[int, tuple[int, int]] = {}
        self._readings: dict[int, int] = {}
        self._poll = select.poll()
        try:
            for stream in NAMES:
                reading, _ = self._ends[stream] = os.pipe()
                os.set_blocking(reading, False)
                self._readings[reading] = stream
                self._poll.register(reading, select.POLLIN)
        except OSError:
            self.begun()
            self.close()
            raise
        self._look_at_s = time.monotonic() + LOOK_S
        self._lay: int | None = None
        """How much the process had read when something lay there at the last look; None: nothing did."""

    @property
    def ends(self) -> list[int]:
        """What the process is given: a reading and a writing end for each of the two descriptors."""
        return [end for pair in self._ends.values() for end in pair]

    @property
    def readings(self) -> list[int]:
        """The reading ends that are open."""
        return list(self._readings)

    def begun(self) -> None:
        """Close the writing ends: the process has them now, or never will."""
        for _, writing in self._ends.values():
            os.close(writing)

    def overdue(self, mark: Mark) -> Pieces:
        """Return what has lain there for long, although nothing holds the process up; mostly nothing.

        Cost: one look in `LOOK_S` seconds, otherwise none.
        """
        now_s = time.monotonic()
        if now_s < self._look_at_s:
            return []
        self._look_at_s = now_s + LOOK_S
        lies = any(event & select.POLLIN for _, event in self._poll.poll(0))
        before, self._lay = self._lay, mark.reads if lies and not mark.held else None
        return self.rest(1) if self._lay is not None and self._lay == before else []

    def rest(self, reads: int = _REST_READS) -> Pieces:
        """Return what lies there, of each in so many reads at most."""
        found: Pieces = []
        for reading, stream in list(self._readings.items()):
            for _ in range(reads):
                data = self.read(reading)
                if not data:
                    break
                found.append((stream, data))
        return found

    def read(self, reading: int) -> bytes | None:
        """Return what lies in one of them; None at its end."""
        try:
            return os.read(reading, _READ_BYTES) or None
        except BlockingIOError:
            return b""

    def shut(self, reading: int) -> None:
        """Close one of them."""
        self._poll.unregister(reading)
        del self._readings[reading]
        os.close(reading)

    def stream_of(self, reading: int) -> int:
        """Return which of the two descriptors an open reading end belongs to."""
        return self._readings[reading]

    def close(self) -> None:
        """Close the reading ends."""
        for reading in self._readings:
            os.close(reading)
        self._readings.clear()


class Descriptors:
    """The two descriptors in the process that has them.

    Until `lead`, what is written there lies in the pipes.

    Args:
        ends: `Pipes.ends` of who started it.
        mark: Where it sees how far this has read.
    """

    def __init__(self, ends: Sequence[int], mark: Mark) -> None:
        self._mark = mark
        self.own = {stream: os.dup(stream) for stream in NAMES}
        """The output that this process was started with: who started it reads that, too, for its log."""
        self._readings: dict[int, int] = {}
        for stream, reading, writing in zip(NAMES, ends[::2], ends[1::2], strict=True):
            os.dup2(writing, stream)
            os.close(writing)
            os.set_inheritable(reading, False)
            self._readings[reading] = stream
        self._goes_home: Callable[[bytes], bool] = bool
        self._take: Callable[[int, bytes], None] = self.write_own
        self._outgoing: Outgoing | None = None
        self._ear, self._bell = os.pipe()
        for end in (self._ear, self._bell):
            os.set_blocking(end, False)
        self._begin_anew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()
        self._busy = False
        self._poll = select.poll()
        for reading in self._readings:
            self._poll.register(reading, select.POLLIN)
        self._pieces = dict.fromkeys(NAMES, b"")
        """By stream: a line's beginning."""
        self._due_s: dict[int, float] = {}
        """When it leaves though its end has not come."""
        self._reader: int | None = None
        self._flood_until_s = 0.0

    def lead(
        self, goes_home: Callable[[bytes], bool], take: Callable[[int, bytes], None], outgoing: Outgoing
    ) -> None:
        """Begin to read, in a thread.

        Args:
            goes_home: Is given what was read, and says whether there is a program that it is for; else it
                goes to this process's own output as it is.
            take: Is given (stream, lines), in whichever thread comes first, and must not wait.
            outgoing: Where they go from there: nothing is read while it is full.
        """
        self._goes_home = goes_home
        self._take = take
        self._outgoing = outgoing
        outgoing.look = self.drain
        threading.Thread(target=self._run, name="mpserve-descriptors", daemon=True).start()

    def drain(self) -> None:
        """Take what was written so far; unfinished lines stay. Safe in signal handlers. Cost: about 1 µs."""
        with self._lock:
            if self._busy:
                return  # a signal handler's or finaliser's, in the middle of this
            try:
                self._busy = True
                for reading, _ in self._poll.poll(0):
                    self._read(reading)
            finally:
                self._busy = False

    def flush(self) -> None:
        """Take what was written so far, unfinished lines too; wait if too much is on its way."""
        self.drain()
        if self._due_s:
            self._leave(self._due_s)
        self.wait_for_room()

    def _leave(self, streams: Iterable[int]) -> None:
        """Take unfinished lines."""
        with self._lock:
            for stream in list(streams):
                piece, self._pieces[stream] = self._pieces[stream], b""
                self._due_s.pop(stream, None)
                if piece:
                    self._take(stream, piece)

    def _read(self, reading: int) -> None:
        stream = self._readings[reading]
        try:
            data = os.read(reading, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a job has closed all there was
            data = b""
        if not data:
            self._poll.unregister(reading)
            del self._readings[reading]
            return
        self._mark.reads += len(data)
        if not self._goes_home(data):
            self.write_own(stream, data)
            return
        data = self._pieces[stream] + data
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if len(data) - end > ENTRY_BYTES:
            end = len(data)
        self._pieces[stream] = data[end:]
        if end:
            self._due_s.pop(stream, None)
            self._take(stream, data[:end])
        if end < len(data) and stream not in self._due_s:
            self._note_piece(stream)

    def _note_piece(self, stream: int) -> None:
        """Have the thread look after a line's beginning."""
        self._due_s[stream] = time.monotonic() + _PIECE_S
        if self._reader not in {None, threading.get_ident()}:
            with suppress(OSError):
                os.write(self._bell, b"\0")

    def write_own(self, stream: int, data: bytes) -> None:
        """Write to the output that this process was started with; nobody there: dropped."""
        with suppress(OSError):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self.own[stream], rest) :]

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        self._reader = threading.get_ident()
        poll, known = select.poll(), {self._ear, *self._readings}
        for descriptor in known:
            poll.register(descriptor, select.POLLIN)
        while self._readings:
            if any(descriptor == self._ear for descriptor, _ in poll.poll(self._sleep_ms())):
                with suppress(OSError):
                    os.read(self._ear, 4096)
            if time.monotonic() > self._flood_until_s:
                time.sleep(_MOMENT_S)
            before = self._mark.reads
            self.drain()
            now_s = time.monotonic()
            if self._mark.reads - before > _MUCH_BYTES:
                self._flood_until_s = now_s + _FLOOD_S
            self._leave([stream for stream, due_s in list(self._due_s.items()) if due_s <= now_s])
            for closed in known - {self._ear, *self._readings}:
                poll.unregister(closed)
                known.remove(closed)
            if self._outgoing is not None:
                self._outgoing.hurry()
            self.wait_for_room()

    def _sleep_ms(self) -> float | None:
        due_s = min(list(self._due_s.values()), default=None)
        return None if due_s is None else max(0.0, due_s - time.monotonic()) * 1000

    def wait_for_room(self) -> None:
        """Wait while too much is on its way; who started this process sees that it is not stuck."""
        if self._outgoing is not None and self._outgoing.full:
            self._mark.held = True
            self._outgoing.wait_for_room()
            self._mark.held = False

    # -- forks -----------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        """Only write: the parent reads."""
        for descriptor in (*self._readings, *self.own.values(), self._ear, self._bell):
            with suppress(OSError):
                os.close(descriptor)
        self._readings.clear()
        self._begin_anew()
