"""What this process prints for programs, on its way to the server.

    add --> arrived --seal--> frames, numbered --ahead of a call, or by the keeper--> server
                                 '--------------- until the server has them <---ACK---'

RULES
* `add` takes no lock and waits for nothing: it is called by prints, in signal handlers and finalisers, too.
* Each connection carries every frame that the server has not acknowledged, once, in order: so whatever call
  comes after a print finds the print at the server, by whichever connection it goes. The server passes over
  the frames it has already.
* The server withholds its acknowledgement while a program has much to print; `wait_for_room` is how those
  who print much for it are slowed down to its pace.
* A line is cut only where it is longer than `ENTRY_BYTES`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mpshared.wire.own.frames import Control, Type, encode_control

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpclient.transport.dialling import Connection
    from mpshared.wire.own.frames import Event

__all__ = ["ENTRY_BYTES", "STDERR", "STDOUT", "Outgoing"]

STDOUT: Final = 1
STDERR: Final = 2
ENTRY_BYTES: Final = 32 << 10
_FRAME_BYTES: Final = 48 << 10
"""A server's --max-message is at least 64 KiB."""
_ENTRY_COST_BYTES: Final = 8
_URGENT_BYTES: Final = 64 << 10
"""From here on the keeper does not wait for more."""
_FULL_BYTES: Final = 1 << 20
_LOOK_S: Final = 1.0

_Entry = tuple[str, int, bytes]


class Outgoing:
    """See the file's beginning. A session that sends output has one: `Session.outgoing`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.look: Callable[[], None] | None = None
        """Called ahead of each call: adds what was written to this process's descriptors."""
        self.leaving: Callable[[], None] | None = None
        """Called when what has arrived is about to leave."""
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()
        self._room = threading.Condition(self._lock)
        self._busy = False
        self._arrived: deque[_Entry] = deque()
        self._arrived_bytes = 0
        """About; exact enough for what it decides."""
        self._frames: deque[tuple[int, int, list[bytes]]] = deque()
        """Number, size and pieces of what the server has not acknowledged."""
        self._frames_bytes = 0
        self._last = 0
        self._told = False
        """The keeper knows that there is something."""
        self._hurry = False
        self.over = False
        """There is no session to send it by; `add` refuses."""

    # -- from those who print --------------------------------------------------------------------

    def add(self, program: str, stream: int, data: bytes) -> bool:
        """Have `data` printed by the program of that session id; False: there is no server to send it to.

        Args:
            program: Id of the session whose program prints it.
            stream: `STDOUT` or `STDERR`.
            data: Whole lines, or a piece of one that must not wait for its end.
        """
        if self.over:
            return False
        if len(data) <= ENTRY_BYTES:
            self._arrived.append((program, stream, data))
        else:
            self._arrived.extend((program, stream, part) for part in _cut(data))
        self._arrived_bytes += len(data)
        if not self._told or self._arrived_bytes > _URGENT_BYTES:
            self._told = True
            self._session.wake()
        return True

    @property
    def full(self) -> bool:
        """Whether so much is on its way that who prints should wait."""
        return self._arrived_bytes + self._frames_bytes > _FULL_BYTES

    def wait_for_room(self) -> None:
        """Wait until less is on its way, or there is no session any more."""
        with self._room:
            while self.full and not (self.over or self._busy):
                self._room.wait(_LOOK_S)

    # -- from those who send ---------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether there is something that the server may not have."""
        return bool(self._arrived or self._frames)

    @property
    def urgent(self) -> bool:
        """Whether the keeper should send at once."""
        return self._hurry or self._arrived_bytes > _URGENT_BYTES

    def hurry(self) -> None:
        """Have the keeper send at once what there is."""
        if self._arrived:
            self._hurry = self._told = True
            self._session.wake()

    def ahead_of_call(self, connection: Connection) -> list[bytes]:
        """Return what a call over this connection is to have ahead of it: see `ahead`."""
        if self.look is not None and not self.full:
            self.look()
        return self.ahead(connection) if self.waiting else []

    def ahead(self, connection: Connection) -> list[bytes]:
        """Return the pieces of all frames that this connection has still to carry, and take them for sent."""
        with self._lock:
            if self._busy:
                return []  # a call of a signal handler's or finaliser's, in the middle of this
            self._busy = True
            try:
                self._seal()
                pieces: list[bytes] = []
                for number, _, frame in self._frames:
                    if number > connection.output_sent:
                        connection.output_sent = number
                        pieces += frame
            finally:
                self._busy = False
        return pieces

    def _seal(self) -> None:
        """Make frames of what has arrived."""
        if self.leaving is not None and self._arrived:
            self.leaving()
        self._hurry = False
        self._arrived_bytes = 0
        program, size = "", 0
        entries: list[list[Any]] = []
        for _ in range(len(self._arrived)):
            to, stream, data = self._arrived.popleft()
            if entries and (to != program or size + len(data) > _FRAME_BYTES):
                self._close_frame(program, entries, size)
                entries, size = [], 0
            program = to
            size += len(data) + _ENTRY_COST_BYTES
            if entries and entries[-1][0] == stream and len(entries[-1][1]) + len(data) <= ENTRY_BYTES:
                entries[-1][1] += data
            else:
                entries.append([stream, data])
        if entries:
            self._close_frame(program, entries, size)

    def _close_frame(self, program: str, entries: list[list[Any]], size: int) -> None:
        self._last += 1
        pieces = encode_control(Type.OUTPUT, number=self._last, body=[program, entries])
        self._frames.append((self._last, size, pieces))
        self._frames_bytes += size

    def hear(self, event: Event) -> None:
        """Take an acknowledgement, if it is one: forget the frames that the server has."""
        if type(event) is not Control or event.type is not Type.ACK:
            return
        number = event.ack
        with self._lock:
            if self._busy:
                return  # it is acknowledged again, with the next frame
            while self._frames and self._frames[0][0] <= number:
                self._frames_bytes -= self._frames.popleft()[1]
            self._room.notify_all()

    def idle(self) -> bool:
        """Note that the keeper goes to sleep, unless there is something to send after all."""
        self._told = False
        return not self.waiting

    # -- the session's ends ----------------------------------------------------------------------

    def session_over(self) -> None:
        """Drop everything: the server it was for is gone, or gave this process up."""
        with self._lock:
            self.over = True
            self._clear()
            self._room.notify_all()

    def renew(self) -> None:
        """Note a new session: its server has nothing of this yet."""
        self.over = False

    def _clear(self) -> None:
        self._arrived.clear()
        self._frames.clear()
        self._arrived_bytes = self._frames_bytes = 0

    def forked(self) -> None:
        """Forget what the parent printed: the parent sends it."""
        self._begin_anew()
        self.over = True


def _cut(data: bytes) -> list[bytes]:
    """Cut at line ends where there are some, never within a character."""
    parts: list[bytes] = []
    start = 0
    while len(data) - start > ENTRY_BYTES:
        end = data.rfind(b"\n", start, start + ENTRY_BYTES) + 1
        if not end:
            end = start + ENTRY_BYTES
            while data[end] & 0xC0 == 0x80 and end > start + ENTRY_BYTES - 4:
                end -= 1
        parts.append(data[start:end])
        start = end
    parts.append(data[start:])
    return parts
