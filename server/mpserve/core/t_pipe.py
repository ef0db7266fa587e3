"""Pipe: one end of a pipe. Each end has an inbox, which the other end fills.

    send --> in the peer's inbox --recv--> gone
      |         ^           ^          |
      |  room --'           '----------' answer lost, or its reader died before it came
      '--> waits while that inbox holds more than `ROOM_BYTES`

RULES
* Ends are opened in pairs: the second one names the first in its settings. Neither keeps the other alive.
* An end lives while somebody refers to it, as a file descriptor does that several processes share: it is
  closed when the last of them is gone. Then the other end still reads what is in its inbox, and after that
  the end of the stream; what is sent to it is refused.
* A message goes to the reader that waited longest, room to the sender that waited longest. Messages keep
  their order, the one that returns comes first.

Source: CPython's `Lib/multiprocessing/connection.py`, `Connection`; pipe(7) for what follows a close.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.machine import Change, Machine
from mpserve.core.parking import ParkingLot, answer_false
from mpserve.core.watching import Watched
from mpshared.errors import BadType, BrokenPipe, Conflict, EndOfPipe, NoSuchObject
from mpshared.values import size_bytes

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpshared.errors import MpserveError
    from mpshared.values import Blob

__all__ = ["ROOM_BYTES", "Pipe"]

ROOM_BYTES = 1 << 20
"""An inbox that holds more than this takes no further message: one message of any size always fits."""


class Pipe(Watched):
    """One end of a pipe."""

    kind: ClassVar[str] = "pipe"
    SETTINGS: ClassVar[dict[str, Any]] = {"peer": ""}
    """Ident of the end that was opened before, for the second of a pair."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        if type(self.settings["peer"]) is not str:
            raise BadType(f"{self.label} needs the ident of an end, got {self.settings['peer']!r:.80}")
        if name is not None:
            raise Conflict("an end of a pipe has no name: send it to whoever is to have it")
        self.peer_ident: str = self.settings["peer"]
        self.inbox: deque[Blob] = deque()
        self.inbox_bytes = 0
        self.readers, self.pollers = ParkingLot(), ParkingLot()
        self.senders = ParkingLot()
        """Calls of the other end that wait for room here."""
        self._machines: Mapping[str, Machine] = {}

    def bind(self, machines: Mapping[str, Machine]) -> None:
        """Find the first end.

        Raises:
            NoSuchObject, Conflict: It is gone, is no end of a pipe, or has another end already.
        """
        self._machines = machines
        if self.peer_ident:
            peer = machines.get(self.peer_ident)
            if peer is None:
                raise NoSuchObject(f"the other end of {self.label} is gone; make both anew")
            if not isinstance(peer, Pipe) or peer.peer_ident not in {"", self.ident}:
                raise Conflict(f"{peer.label} is no end of a pipe that still lacks its other end")

    def setup(self, fx: Effects, blobs: list[Blob]) -> None:
        """Tell the first end who its peer is."""
        super().setup(fx, blobs)
        if self.peer_ident:
            self.change(fx, "joined")

    # -- operations ------------------------------------------------------------------------------

    def send(self, fx: Effects, call: Call) -> None:
        """Put the call's value into the peer's inbox, waiting for room.

        Raises:
            BrokenPipe: The other end is closed.

        Cost: O(1). Source: multiprocessing.connection.Connection.send.
        """
        peer = self._find_peer()
        if peer is None:
            raise self._broken()
        if peer.inbox_bytes > ROOM_BYTES or peer.senders.first() is not None:
            peer.senders.park(fx, call, None, answer_false)
            return
        peer.change(fx, "sent", call.blobs[0])
        fx.reply(call)
        peer.settle(fx)

    def recv(self, fx: Effects, call: Call) -> None:
        """Answer the next message, waiting for one.

        Raises:
            EndOfPipe: There is none, and the other end is closed.

        Cost: O(1). Source: multiprocessing.connection.Connection.recv.
        """
        if self.inbox:
            self._hand(fx, call)
            self.settle(fx)
        elif self._find_peer() is None:
            raise self._ended()
        else:
            self.readers.park(fx, call, None, answer_false)

    def undo_recv(self, fx: Effects, call: Call) -> None:
        """Put a message back that did not arrive, before all others."""
        if call.took is not None:
            blob, call.took = call.took, None
            self.change(fx, "returned", blob)
            self.settle(fx)

    def poll(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Answer True once `recv` need not wait (there is a message, or the end), False after `timeout_s`."""
        if self.is_ready() or timeout_s == 0:
            fx.reply(call, self.is_ready())
        else:
            self.pollers.park(fx, call, timeout_s, answer_false)

    def is_ready(self) -> bool:
        """Tell whether `recv` need not wait."""
        return bool(self.inbox) or self._find_peer() is None

    # -- handing out -----------------------------------------------------------------------------

    def settle(self, fx: Effects) -> None:
        """Hand out messages, let senders in, tell who polls, and who reads that nothing comes any more.

        Cost: O(what is handed out).
        """
        self._hand_out(fx)
        while self.inbox_bytes <= ROOM_BYTES and (sender := self.senders.unpark()) is not None:
            self.change(fx, "sent", sender.blobs[0])
            fx.reply(sender)
            self._hand_out(fx)
        if self.is_ready():
            if not self.inbox:
                for reader in self.readers.drain():
                    fx.fail(reader, self._ended())
            for poller in self.pollers.drain():
                fx.reply(poller, True)
            self.stir(fx)

    def _hand_out(self, fx: Effects) -> None:
        while self.inbox and (reader := self.readers.unpark()) is not None:
            self._hand(fx, reader)

    def _hand(self, fx: Effects, call: Call) -> None:
        blob = call.took = self.change(fx, "taken")
        fx.reply(call, None, [blob])

    def retry(self, fx: Effects) -> None:
        """Let those go on that were away: readers of this end, and its calls that wait for room in the
        other.
        """
        self.settle(fx)
        peer = self._find_peer()
        if peer is not None:
            peer.settle(fx)

    # -- the end of an end -----------------------------------------------------------------------

    def break_waiters(self, fx: Effects, error: MpserveError | None = None) -> None:
        """Answer who waits here, and tell the other end: this one is closed."""
        peer = self._find_peer()
        if peer is not None:
            for call in self.senders.drain():
                fx.fail(call, peer._broken())  # noqa: SLF001 - the other half
        super().break_waiters(fx, error)
        if peer is not None:
            for call in peer.senders.drain():
                fx.fail(call, NoSuchObject(f"{self.label} was closed while this call waited for room"))
            peer.settle(fx)

    def _find_peer(self) -> Pipe | None:
        """Return the other end, None if it is closed."""
        peer = self._machines.get(self.peer_ident)
        return peer if isinstance(peer, Pipe) else None

    def _broken(self) -> BrokenPipe:
        means = "nobody can read what is sent"
        return BrokenPipe(f"the other end of {self.label} is closed: {means}")

    def _ended(self) -> EndOfPipe:
        return EndOfPipe(
            f"the other end of {self.label} is closed, and everything that was sent has been read"
        )

    # -- changes ---------------------------------------------------------------------------------

    def on_joined(self, _fx: Effects) -> None:
        """Note this end at the first one; a rehearsal, which is not among the objects, leaves no trace."""
        peer = self._machines[self.peer_ident]
        if self._machines.get(self.ident) is self and isinstance(peer, Pipe):
            peer.peer_ident = self.ident

    def on_sent(self, fx: Effects, blob: Blob) -> None:
        """Store a message."""
        self.inbox.append(blob)
        self.inbox_bytes += size_bytes(blob)
        fx.keep((blob,))

    def on_taken(self, fx: Effects) -> Blob:
        """Give the next message away."""
        blob = self.inbox.popleft()
        self.inbox_bytes -= size_bytes(blob)
        fx.keep((blob,), -1)
        return blob

    def on_returned(self, fx: Effects, blob: Blob) -> None:
        """Store a message again, as the next one."""
        self.inbox.appendleft(blob)
        self.inbox_bytes += size_bytes(blob)
        fx.keep((blob,))

    def on_peered(self, _fx: Effects, ident: str, second: bool) -> None:
        """Note the other end, which may be gone."""
        self.peer_ident = ident
        if second:
            self.settings["peer"], self.explicit = ident, True

    def given(self) -> dict[str, Any]:
        """Return nothing: the end that the settings name may be gone."""
        return {}

    def rebuild(self) -> Iterator[Change]:
        """Yield the other end, and the messages."""
        yield "peered", (self.peer_ident, self.explicit)
        for blob in self.inbox:
            yield "sent", (blob,)

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the lines of readers, pollers and senders."""
        return self.readers, self.pollers, self.senders

    def stored(self) -> Iterator[Blob]:
        """Yield the messages."""
        return iter(self.inbox)

    def state(self) -> tuple[str, list[Blob]]:
        """Return the peer's ident and the messages."""
        return self.peer_ident, list(self.inbox)

    def statistics(self) -> dict[str, Any]:
        """Return how many messages are here, their size, and how many wait."""
        waiting = sum(map(len, self.lots())) + len(self.watchers)
        return {"messages": len(self.inbox), "bytes": self.inbox_bytes, "waiters": waiting}

    def validate(self) -> None:
        """Raise AssertionError if sizes are wrong, or somebody waits for what is there."""
        super().validate()
        assert self.inbox_bytes == sum(map(size_bytes, self.inbox))
        ready = self.is_ready()
        assert not (ready and (self.readers.first() or len(self.pollers)))
        assert not (self.inbox_bytes <= ROOM_BYTES and self.senders.first())
