"""`sys.stdout` and `sys.stderr` of a process that works for programs: what is printed goes home.

RULES
* They are put in place once, before users' modules are imported, and stay: a logging handler that took
  `sys.stderr` at any time has the right one. Where they lead changes: to a program, or (at rest, and in what
  a job forks) to this process's own output: its descriptors 1 and 2.
* A line leaves when it is whole, so that lines of two processes or threads never mix: each thread has its own
  unfinished line. A piece of one leaves at `flush`, at a carriage return, and when the route changes.
* What has left is at the server ahead of this process's next call, and within 0.1 s
  (`mpclient.output.outgoing`).
* `fileno` is that of the process's own output. What is written there does not pass through here, but in a
  worker process it goes the same way (`descriptors`), and in order with what does.
* They cannot be closed: the next job prints, too.

Cost: about 0.5 µs for each write, 2 µs for the one that ends a line.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

from mpclient.output.outgoing import ENTRY_BYTES, STDERR, STDOUT, Outgoing
from mpclient.values.pickling import standard_stream
from mpclient.worker.descriptors import NAMES

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpclient.worker.descriptors import Descriptors
    from mpclient.worker.mark import Mark

__all__ = ["Stream", "Streams", "flush_standard", "install"]

_UTF8: Final = codecs.lookup("utf-8").name
_PARTS: Final = 64
"""A line in more parts than this is put together, and let go if it is long."""


class Stream(io.TextIOBase):
    """One of the two. Text is UTF-8 from here on; the program prints it in its own encoding.

    Args:
        number: `STDOUT` or `STDERR`.
        own: The process's own output.
        streams: Where it leads.
    """

    def __init__(self, number: int, own: TextIO, streams: Streams) -> None:
        super().__init__()
        self.name = f"<{NAMES[number]}>"
        self.mode = "w"
        self.own = own
        self.write_through = False
        self._number = number
        self._streams = streams
        self._errors = "backslashreplace"
        self._bytes = _Bytes(self)
        self._lines: dict[int, deque[str | bytes]] = {}
        """Unfinished lines by thread, in parts. A thread's deque stays the same: what a signal handler or a
        finaliser prints in the middle of a print is neither lost nor doubled."""

    def __repr__(self) -> str:
        return f"<mpclient {NAMES[self._number]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return standard_stream, (NAMES[self._number],)

    # -- what io.TextIOWrapper has ---------------------------------------------------------------

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Always UTF-8."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What becomes of text that has no UTF-8: lone surrogates."""
        return self._errors

    @property
    def line_buffering(self) -> bool:
        """Whether whole lines leave at once."""
        return True

    @property
    def buffer(self) -> io.BufferedIOBase:
        """The same stream, for bytes; they arrive as they are."""
        return self._bytes

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return False."""
        return False

    def fileno(self) -> int:
        """Return the descriptor of the process's own output."""
        return self.own.fileno()

    def close(self) -> None:
        """Flush; whoever prints next is heard."""
        self.flush()

    def detach(self) -> NoReturn:
        """Refuse.

        Raises:
            io.UnsupportedOperation: Always.
        """
        raise io.UnsupportedOperation(f"{self.name} of a worker process cannot be detached; use its `buffer`")

    def reconfigure(
        self,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        line_buffering: bool | None = None,
        write_through: bool | None = None,
    ) -> None:
        """Change what can be changed: `errors` and `write_through`.

        Raises:
            io.UnsupportedOperation: Another encoding, line end or buffering is asked for.
        """
        if (
            (encoding is not None and codecs.lookup(encoding).name != _UTF8)
            or newline not in {None, "", "\n"}
            or line_buffering is False
        ):
            raise io.UnsupportedOperation(
                f"{self.name} of a worker process takes lines of UTF-8: the program that prints them chooses "
                f"encoding and line ends; set these there"
            )
        if errors is not None:
            codecs.lookup_error(errors)
            self._errors = errors
        if write_through is not None:
            self.write_through = write_through
        self.flush()

    # -- writing ---------------------------------------------------------------------------------

    def write(self, text: str) -> int:
        """Write; whole lines leave at once."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not self._streams.program:
            self.own.write(text)
        elif self._errors == "strict":
            self.put(text.encode())  # what is wrong with it is told now, not when the line ends
        else:
            parts = self._parts()
            parts.append(text)
            if "\n" in text:
                self._leave_whole(parts)
            elif "\r" in text or self.write_through or len(text) > ENTRY_BYTES or len(parts) > _PARTS:
                self._look(parts)
        return len(text)

    def put(self, data: bytes) -> None:
        """Write bytes."""
        if not self._streams.program:
            self._write_own(data)
            return
        parts = self._parts()
        parts.append(data)
        if b"\n" in data:
            self._leave_whole(parts)
        else:
            self._look(parts)

    def _parts(self) -> deque[str | bytes]:
        try:
            return self._lines[get_ident()]
        except KeyError:
            return self._lines.setdefault(get_ident(), deque())

    def _taken(self, parts: deque[str | bytes]) -> bytes:
        """Return what the parts are together; they are somebody else's no more."""
        taken: list[str | bytes] = []
        with suppress(IndexError):  # a signal handler, or a flush of all threads' lines, took the rest
            while parts:
                taken.append(parts.popleft())
        encoded = [part.encode("utf-8", self._errors) if isinstance(part, str) else part for part in taken]
        return b"".join(encoded)

    def _leave_whole(self, parts: deque[str | bytes]) -> None:
        """Let whole lines leave, keep what is behind them."""
        data = self._taken(parts)
        end = data.rfind(b"\n") + 1
        if end < len(data):
            parts.appendleft(data[end:])
        if end:
            self._leave(data[:end])
        if parts:
            self._look(parts)

    def _look(self, parts: deque[str | bytes]) -> None:
        """Let an unfinished line leave if it must not wait for its end; it becomes one part if it may."""
        data = self._taken(parts)
        if self.write_through or b"\r" in data or len(data) > ENTRY_BYTES:
            self._leave(data)
        elif data:
            parts.appendleft(data)

    def _leave(self, data: bytes) -> None:
        streams = self._streams
        outgoing = streams.outgoing
        if streams.descriptors is not None:
            streams.descriptors.drain()
        if not streams.send(self._number, data):
            self._write_own(data)
        elif outgoing.full:
            outgoing.wait_for_room()

    def _write_own(self, data: bytes) -> None:
        self.own.write(data.decode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Let this thread's unfinished line leave."""
        if self._lines:
            self._flush_line(get_ident())
        if not self._streams.program:
            try:  # noqa: SIM105 - done after each batch of jobs: `suppress` takes longer than the flush
                self.own.flush()
            except (OSError, ValueError):
                pass

    def flush_all(self) -> None:
        """Let every thread's unfinished line leave."""
        for thread in list(self._lines):
            self._flush_line(thread)

    def _flush_line(self, thread: int) -> None:
        parts = self._lines.get(thread)
        if parts and (data := self._taken(parts)):
            self._leave(data)

    def forget(self) -> None:
        """Drop unfinished lines: this is a fork, they are its parent's."""
        self._lines.clear()


class _Bytes(io.BufferedIOBase):
    """A `Stream` for bytes."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    @property
    def raw(self) -> io.BufferedIOBase:
        """Itself: nothing is held back here."""
        return self

    @property
    def name(self) -> str:
        """As the stream's."""
        return self._stream.name

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the process's own output."""
        return self._stream.fileno()

    def write(self, data: Any) -> int:
        """Write bytes; whole lines leave at once."""
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        copy = bytes(memoryview(data))
        self._stream.put(copy)
        return len(copy)

    def flush(self) -> None:
        """Let the thread's unfinished line leave."""
        self._stream.flush()

    def close(self) -> None:
        """Flush."""
        self.flush()


class Streams:
    """Both streams of this process, and where they lead."""

    def __init__(
        self, session: Session, descriptors: Descriptors | None = None, mark: Mark | None = None
    ) -> None:
        if session.outgoing is None:
            session.outgoing = Outgoing(session)
        self.outgoing = session.outgoing
        self.descriptors = descriptors
        """What is written past them; None: this process's own output is not ours."""
        self._mark = mark
        self.program = ""
        """Session id of the program they lead to; "": to this process's own output."""
        self.keep: Callable[[bytes], None] | None = None
        """Is given all that leaves for a program, for the report of this process's death."""
        self.out = Stream(STDOUT, sys.stdout, self)
        self.err = Stream(STDERR, sys.stderr, self)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)
        if mark is not None:
            self.outgoing.leaving = mark.forget_notes
        if descriptors is not None:
            descriptors.lead(self._goes_home, self._bring, self.outgoing)

    def _goes_home(self, data: bytes) -> bool:
        """Keep what was written to a descriptor for a report, if it is for a program."""
        if self.program and self.keep is not None:
            self.keep(data)
        return bool(self.program)

    def _bring(self, number: int, data: bytes) -> None:
        """Take lines that were written to a descriptor."""
        if not self._add(number, data) and self.descriptors is not None:
            self.descriptors.write_own(number, data)

    def send(self, number: int, data: bytes) -> bool:
        """Have the program print something; False: there is no server any more."""
        if self.keep is not None:
            self.keep(data)
        return self._add(number, data)

    def _add(self, number: int, data: bytes) -> bool:
        """Send it soon; noted, so that it comes home also if this process is killed before."""
        if self._mark is not None:
            self._mark.note(number, data)
        added = self.outgoing.add(self.program, number, data)
        if not added and self._mark is not None:
            self._mark.forget_notes()
        return added

    def route(self, program: str) -> None:
        """Lead what is printed from now on to another program; unfinished lines still go to the one before.

        Another program's jobs find `sys.stdout` and `sys.stderr` as they should be, whatever the last one's
        put there.
        """
        if program == self.program:
            return
        if self.program or self.descriptors is not None:
            self.flush()
        self.program = program
        if self._mark is not None:
            self._mark.lead(program)
        if program:
            self.put_in_place()

    def flush(self) -> None:
        """Let unfinished lines of all threads leave; they are at the server ahead of the next call."""
        if self.descriptors is not None:
            self.descriptors.flush()
        self.out.flush_all()
        self.err.flush_all()

    def put_in_place(self) -> None:
        """Make them `sys.stdout` and `sys.stderr`."""
        sys.stdout = sys.__stdout__ = self.out  # type: ignore[misc,assignment]
        sys.stderr = sys.__stderr__ = self.err  # type: ignore[misc,assignment]

    def _after_fork(self) -> None:
        self.program = ""
        self.keep = None
        self._mark = self.outgoing.leaving = None  # what is noted is the parent's
        self.out.forget()
        self.err.forget()


def flush_standard() -> None:
    """Flush `sys.stdout` and `sys.stderr`, whatever somebody has put there, closed or not."""
    for stream in (sys.stdout, sys.stderr):
        try:  # done after each batch of jobs: `suppress` takes longer than the flush
            stream.flush()
        except Exception:  # noqa: BLE001, S112 - whatever
            continue


def install(session: Session, descriptors: Descriptors | None = None, mark: Mark | None = None) -> Streams:
    """Put the two streams in place; they lead nowhere else yet.

    Args:
        session: By which they go home.
        descriptors: Descriptors 1 and 2, where these are to lead to the same place.
        mark: Where who started this process sees what place that is.
    """
    streams = Streams(session, descriptors, mark)
    streams.put_in_place()
    return streams
