"""What a connection looks like from here: two small interfaces between net and dispatch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Side", "Transport"]


class Transport(Protocol):
    """The bytes' way out. Implemented by `mpserve.net.peer.Peer`."""

    label: str
    """The peer's address, for logs."""

    @property
    def full(self) -> bool:
        """Tell that the peer has much to read before it may ask for more; `Side.drained` says when it has."""

    def send(self, pieces: Sequence[bytes]) -> None:
        """Send bytes, in order, at the end of the turn."""

    def close(self, reason: str = "") -> None:
        """Send what was given, then close; a reason is logged."""

    def dialled(self) -> tuple[str, int] | str:
        """Return the address the peer dialled, as its own side of the connection shows it."""


class Side(Protocol):
    """One authenticated connection: what dispatch does with its bytes."""

    attentive: bool
    """Wants to hear when everything has left (`drained`)."""

    def receive_data(self, data: bytes) -> int:
        """Take bytes and act on every whole message in them; return how many to read next, at most; 0: as
        they come.
        """

    def drop(self) -> bool:
        """Drop what is coming, as there is no memory to read it; False: nothing can be dropped."""

    def starved(self) -> bool:
        """Tell whether a message is only partly here (so that the peer should be acknowledged quickly)."""

    def drained(self) -> None:
        """Note that everything sent so far has left for the peer."""

    def closed(self) -> None:
        """Note that the connection is gone."""

    def goodbye(self, reason: str) -> bool:
        """Tell the peer that the server stops; return whether it will hang up by itself then."""
