"""One connection: bytes in, bytes out, and who speaks on it.

    accepted --handshake--> authenticated as stock or own --bytes--> its `Side` --pieces--> out

RULES
* Until it has authenticated a peer may send little, and must be done by its deadline; the listener sees to
  that.
* A peer that does not read what it is told is not listened to any more until it has (`HIGH_BYTES`), so what
  it can make the server keep is bounded. One that takes nothing at all for `listener.STALLED_S` is dropped;
  what it was not told is kept for its next connection.
* Pieces leave in one write per turn: small ones joined, large ones gathered without a copy. What answers a
  peer's own calls leaves as soon as they are read, but not before what was answered earlier; what others'
  calls lead to leaves at the end of the turn. What is large, and so in several pieces, leaves after what
  others are told: meanwhile they go on.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mpserve.net.outbox import Outbox
from mpserve.net.poll import READ, WRITE
from mpshared.wire.errors import ProtocolError

if TYPE_CHECKING:
    from mpserve.dispatch.transport import Side
    from mpserve.net.loop import Loop
    from mpshared.log import Logger

__all__ = ["READ_BYTES", "Owner", "Peer"]

READ_BYTES = 64 << 10
"""From 128 KiB on, malloc asks the system for the room of each read, and gives it back: twice the cost of a
call."""
HIGH_BYTES = 4 << 20
"""More than this unsent, and nothing more is read from the peer. Precedent: Redis' client-output-buffer soft
limit for replicas."""
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class Owner(Protocol):
    """Who keeps the peers and their deadlines."""

    def gone(self, peer: Peer) -> None:
        """Forget a closed peer."""

    def stalls(self, peer: Peer) -> None:
        """Note that a peer has more to read, and took something just now, or begins not to."""

    def reads(self, peer: Peer) -> None:
        """Note that a peer has read all it was told."""

    def lingers(self, peer: Peer) -> None:
        """Close a peer soon: it is being told the last, or was and has not closed its end."""

    def complain(self, event: str, peer: Peer, reason: str) -> None:
        """Tell the log what a peer did wrong."""

    def refused(self, peer: Peer, reason: str) -> None:
        """Close a peer that could not authenticate."""


class Peer:
    """One accepted connection."""

    __slots__ = (
        "_closed",
        "_closing",
        "_interest",
        "_is_tcp",
        "_log",
        "_loop",
        "_outbox",
        "_owner",
        "_reading",
        "_sock",
        "_stalls",
        "_waits",
        "_wants",
        "counted",
        "label",
        "origin",
        "side",
    )

    def __init__(
        self, loop: Loop, sock: socket.socket, label: str, log: Logger, owner: Owner, origin: str = ""
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._log = log
        self._owner = owner
        self._outbox = Outbox()
        self._interest = READ
        self._closing = False
        """Nothing more is read, or taken to be sent."""
        self._waits = True
        """Once closing, until the peer has closed its end."""
        self._closed = False
        self._reading = False
        """What is sent now answers what it has just sent."""
        self._wants = 0
        """How many bytes to read next, at most, while messages are large."""
        self._stalls = False
        """The socket did not take all there was."""
        self._is_tcp = sock.family != getattr(socket, "AF_UNIX", None)
        self.label = label
        self.origin = origin
        """What stands for all peers that count as one; see `gate`."""
        self.side: Side | None = None
        """Who gets the bytes; set by the listener, first the greeting, then the side that authenticated."""
        self.counted = False
        """The listener counts it."""
        fd = sock.fileno()
        loop.watch(fd, self)
        if self._is_tcp:
            loop.note_sleeper(fd)

    # -- in --------------------------------------------------------------------------------------

    def readable(self) -> None:
        """Read once, act on it, and answer."""
        side = self.side
        if self._closing or side is None:
            self._drop_input()
            return
        try:
            data = self._sock.recv(self._wants or READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except MemoryError:  # nothing was read
            if not side.drop():
                raise
            self._wants = 0
            return
        except OSError:
            data = b""
        if not data:
            self.close_now()
            return
        self._reading = True
        wants = self._wants
        self._wants = side.receive_data(data)
        if self._wants and len(data) == (wants or READ_BYTES):
            self._read_more()
        self._reading = False
        outbox, loop = self._outbox, self._loop
        if (loop.dirty and self in loop.dirty) or (loop.laden and self in loop.laden):
            loop.write()  # others were answered before: with a lock, all wait for its next holder
            return
        now = self.side  # the greeting may have given way, or nobody speaks here any more
        if outbox.size_bytes:
            if now is None or not outbox.sent_at_once(self._sock):
                self.writable()
            elif now.attentive:
                now.drained()
        elif self._is_tcp and now is not None and now.starved():
            self._acknowledge_quickly()
        if loop.laden:
            loop.write()  # whoever gave this job makes the next one while a worker is sent it

    def _read_more(self) -> None:
        """Read more of a large message, of which only the beginning came, if it is there."""
        while (wants := self._wants) and not (self._closing or self._outbox.size_bytes):
            try:
                data = self._sock.recv(wants)
            except (BlockingIOError, InterruptedError, MemoryError):  # the next turn sees to it
                return
            except OSError:
                data = b""
            side = self.side
            if not data or side is None:
                self.close_now()
                return
            self._wants = side.receive_data(data)
            if len(data) < wants or wants >= READ_BYTES:
                return

    def _drop_input(self) -> None:
        """While the last answers leave, take and forget what comes, as it comes (encrypted, with TLS): unread
        bytes would turn the close into a reset.
        """
        try:
            if socket.socket.recv(self._sock, READ_BYTES):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self.close_now()

    def _acknowledge_quickly(self) -> None:
        # A stock client writes twice before it reads; without this the kernel lets it wait 40 ms in between.
        # It has to be said again each time. Linux only.
        if _QUICKACK is not None:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    # -- out -------------------------------------------------------------------------------------

    def send(self, pieces: Sequence[bytes]) -> None:
        """Send at the end of the turn."""
        if self._closing:
            return
        self._outbox.add(pieces)
        if len(pieces) > 1:
            self._loop.mark_laden(self)
        elif not self._reading or self._loop.dirty:
            self._loop.mark_dirty(self)

    @property
    def full(self) -> bool:
        """Tell that more waits to be read by the peer than it may leave unread."""
        return self._outbox.size_bytes >= HIGH_BYTES

    def writable(self) -> None:
        """Write what the socket takes."""
        outbox, side = self._outbox, self.side
        is_calm = self._interest == READ and not self._closing and (side is None or not side.attentive)
        if is_calm and outbox.size_bytes and outbox.sent_at_once(self._sock):
            return
        before = outbox.size_bytes
        try:
            outbox.flush(self._sock)
        except OSError:
            self.close_now()
            return
        self._mind_stall(before)
        interest = READ
        if outbox.size_bytes:
            interest = WRITE if self.full else READ | WRITE
        elif self._closing:
            if self._waits:
                self._shut_down()
            else:
                self.close_now()
            return
        elif (side := self.side) is not None and side.attentive:
            side.drained()
        if interest != self._interest and not self._closed:
            self._interest = interest
            self._loop.change(self._sock.fileno(), interest)

    def _mind_stall(self, before: int) -> None:
        left = self._outbox.size_bytes
        if left and (left < before or not self._stalls):
            self._stalls = True
            self._owner.stalls(self)
        elif self._stalls and not left:
            self._stalls = False
            self._owner.reads(self)

    # -- end -------------------------------------------------------------------------------------

    def close(self, reason: str = "", *, wait: bool = True) -> None:
        """Send what was given, then close, after the peer has closed its end; or at once, without `wait`."""
        if self._closing or self._closed:
            return
        self._waits = wait
        if reason:
            self._owner.complain("peer.closed", self, reason)
        self._closing = True
        self._owner.lingers(self)  # from now on: a peer that reads nothing must not be kept for ever
        self._loop.mark_dirty(self)

    def _shut_down(self) -> None:
        """Say that nothing follows, and wait for the peer's end: closing over unread bytes would destroy the
        last answer.
        """
        self._end_side()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close_now()
            return
        if self._interest != READ:
            self._interest = READ
            self._loop.change(self._sock.fileno(), READ)
        self._owner.lingers(self)

    def close_now(self) -> None:
        """Close, and tell whoever spoke here."""
        if self._closed:
            return
        self._closed = self._closing = True
        self._loop.forget(self._sock.fileno(), self)
        self._sock.close()
        self._outbox.clear()
        self._end_side()
        self._owner.gone(self)

    def _end_side(self) -> None:
        side, self.side = self.side, None
        if side is None:
            return
        try:
            side.closed()
        except Exception as err:  # noqa: BLE001 - the connection is gone all the same
            self._log.error("peer.failed", peer=self.label, error=repr(err), exc_info=err)

    def broken(self, error: Exception) -> None:
        """End after an exception in our own code, or a protocol error that nobody answered."""
        if isinstance(error, ProtocolError):
            self._owner.complain("peer.refused", self, str(error))
        else:
            self._log.error("peer.failed", peer=self.label, error=repr(error), exc_info=error)
        self.close_now()

    def dialled(self) -> tuple[str, int] | str:
        """Return our side's address: what the peer dialled."""
        name = self._sock.getsockname()
        return name if isinstance(name, str) else (name[0], name[1])
