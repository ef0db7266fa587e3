"""What workers print for this program: received by the keeper, printed here, in order.

RULES
* A thread of its own writes, as a terminal that is paused or a pipe that is full may hold it up for ever: the
  heartbeat must go on. It begins with the first line; a program nobody prints for has none.
* Printed is what was given to `sys.stdout` or `sys.stderr`, whichever objects these are at that moment.
  What they refuse is dropped: who printed it is far away, and nobody here could handle the error.
* An entry without bytes asks for a line end if an unfinished line stands where it is to be printed: that is
  the line printed last, on either stream, where both lead to one screen or file.
* An entry is printed once: what comes again after a reconnect is known by its number.
* An answer that names an entry waits until that is printed, for `WAIT_S` at most; while the printer is held
  up, later answers do not wait at all.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TextIO, TypeAlias

from mpshared.errors import ProtocolViolation
from mpshared.wire.own.frames import Type, encode_control

__all__ = ["WAIT_S", "Printer"]

Entry: TypeAlias = Sequence[Any]
"""[stream, bytes]"""
_Page: TypeAlias = tuple[str, int, list[Entry]]
"""Run of the server, number of the last entry, entries."""

WAIT_S: Final = 1.0
"""How long others wait for the next line to be printed."""
_STDOUT: Final = 1
_IDLE_S: Final = 60.0


class Printer:
    """Prints for one term of a session.

    Args:
        post: Has a frame sent to the server.
        run: Which run of the server counts the entries.
    """

    def __init__(self, post: Callable[[list[bytes]], None], run: str = "") -> None:
        self._post = post
        self._run_id = run
        self._changed = threading.Condition()
        self._pages: deque[_Page] = deque()
        self._thread: threading.Thread | None = None
        self.held_up = False
        """Somebody has waited for the printer in vain, and it has done nothing since."""
        self._over = False
        self._received = 0
        self.printed = 0
        """The number of the last entry that was printed."""
        self._unfinished: dict[int, bool] = {}
        """By stream: whether what was printed last has no line end."""
        self._newest = _STDOUT
        """The stream that was printed to last."""

    # -- from the keeper -------------------------------------------------------------------------

    def take(self, last: int, entries: list[Entry]) -> None:
        """Print entries, of which the last has the number `last`, unless they came before.

        Raises:
            ProtocolViolation: That is no number: only a client's OUTPUT begins with a session.
        """
        if type(last) is not int:
            raise ProtocolViolation(f"the server's output has {last!r:.60} for a number of its last entry")
        known = self._received - (last - len(entries))
        if known >= len(entries):
            self._acknowledge()  # what said so was lost with the old connection
            return
        with self._changed:
            self._received = last
            self._pages.append((self._run_id, last, entries[max(0, known) :]))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mpserve-printer", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def resume(self, run: str) -> None:
        """Note which run of the server goes on: one that was restarted counts anew."""
        if run != self._run_id:
            with self._changed:
                self._run_id = run
                self._received = self.printed = 0

    def _acknowledge(self) -> None:
        self._post(encode_control(Type.OUTPUT, body=[self.printed, []]))

    @property
    def used(self) -> bool:
        """Whether there ever was something to print."""
        return self._received > 0

    # -- from callers ----------------------------------------------------------------------------

    def wait(self, number: int) -> None:
        """Wait until entry `number` is printed, unless printing is held up."""
        if self.must_wait(number) and threading.current_thread() is not self._thread:
            self.held_up = not self._wait(number)

    def must_wait(self, number: int) -> bool:
        """Return whether an answer that names entry `number` is to wait."""
        return self.printed < number and not self.held_up

    def drain(self) -> None:
        """Wait until what had come by `stop` is printed, `WAIT_S` at most."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(WAIT_S)

    def _wait(self, number: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.printed >= number or self._over, WAIT_S)

    def stop(self) -> None:
        """Print what has come, and no more; nobody waits any longer."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while (page := self._next_page()) is not None:
            run, last, entries = page
            for stream, part in groupby(entries, itemgetter(0)):
                data = self._joined(stream, [data for _, data in part])
                _write(sys.stdout if stream == _STDOUT else sys.stderr, data)
            with self._changed:
                self.printed = last if run == self._run_id else self.printed
                self.held_up = False
                self._changed.notify_all()
            self._acknowledge()

    def _joined(self, stream: int, parts: list[bytes]) -> bytes:
        """Return what is to be printed on one stream, with line ends for what asks for them."""
        for at, data in enumerate(parts):
            stands = self._newest if not data and _is_one_place() else stream
            if not data and self._unfinished.get(stands):
                parts[at] = b"\n"
            if parts[at]:
                self._newest = stream
                self._unfinished[stream] = not parts[at].endswith(b"\n")
        return b"".join(parts)

    def _next_page(self) -> _Page | None:
        with self._changed:
            while not self._pages:
                if self._over:
                    self._thread = None
                    return None
                self._changed.wait(_IDLE_S)
            return self._pages.popleft()


def _is_one_place() -> bool:
    """Return whether standard output and standard error lead to the same terminal, file or pipe."""
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, absent, or objects without a descriptor
        return False


def _write(stream: TextIO | None, data: bytes) -> None:
    """Write to whatever stands for a standard stream; swallow what it raises."""
    if stream is None:
        return
    with suppress(BaseException):  # a user's stream may raise SystemExit; nobody is here to exit
        try:
            text = data.decode()
        except UnicodeDecodeError:
            _write_bytes(stream, data)
        else:
            _write_text(stream, text)
        stream.flush()


def _write_text(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _write_bytes(stream: TextIO, data: bytes) -> None:
    """Write what is no text: as it is, where the stream has a place for bytes."""
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        _write_text(stream, data.decode("utf-8", "backslashreplace"))
        return
    stream.flush()
    buffer.write(data)
    buffer.flush()
