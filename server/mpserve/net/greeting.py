"""The handshake of a peer: until the server knows whose key it has, and which protocol it speaks.

RULES
* Which keys are accepted is settled when it is greeted. A peer's role is that of the key it has proved.
* The standard library's challenge is sent first, and the answer tells who came.
* An unknown peer is owed nothing: it is told that it is refused, and no more.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from mpshared.wire.own import handshake as own
from mpshared.wire.stock import server as stock

if TYPE_CHECKING:
    from mpserve.net.listener import Listener
    from mpserve.net.peer import Peer
    from mpshared.ops import Role

__all__ = ["Greeting"]


class Greeting:
    """The side of a peer that has not authenticated yet."""

    attentive = False

    def __init__(
        self,
        peer: Peer,
        keys: Sequence[tuple[Role, bytes]],
        listener: Listener,
        *,
        md5_allowed: bool,
        channel: bytes = b"",
    ) -> None:
        self._channel = channel
        self._peer = peer
        self._roles = [role for role, _ in keys]
        self._authkey, *self._others = (secret for _, secret in keys)
        self._listener = listener
        nonce = secrets.token_bytes(stock.NONCE_BYTES)
        self._handshake: stock.ServerHandshake | own.ServerHandshake = stock.ServerHandshake(
            self._authkey, md5_allowed=md5_allowed, nonce=nonce, others=self._others
        )
        peer.send([self._handshake.data_to_send()])

    def receive_data(self, data: bytes) -> int:
        """Go on with the handshake."""
        self._handshake.receive_data(data)
        return self._step()

    def _step(self) -> int:
        event = self._handshake.next_event()
        said = self._handshake.data_to_send()
        if said:
            self._peer.send([said])
        match event:
            case stock.Refused(reason=reason):
                self._listener.refused(self._peer, reason)
            case stock.OwnHello(hello=hello):
                return self._change_to_own(hello)
            case stock.Authenticated(digest=digest, key=which):
                return self._hand_over("stock", digest, which)
            case own.Authenticated(key=which):
                return self._hand_over("own", "", which)
        return 0

    def _change_to_own(self, hello: bytes) -> int:
        rest = self._handshake.trailing_data()
        self._handshake = own.ServerHandshake(
            self._authkey,
            hello,
            nonce=secrets.token_bytes(own.NONCE_BYTES),
            channel=self._channel,
            others=self._others,
        )
        self._handshake.receive_data(rest)
        return self._step()

    def _hand_over(self, protocol: Literal["own", "stock"], detail: str, which: int) -> int:
        rest = self._handshake.trailing_data()
        side = self._listener.authenticated(self._peer, protocol, detail, self._roles[which])
        return side.receive_data(rest) if rest else 0

    def drop(self) -> bool:
        """Nothing: it is little."""
        return False

    def starved(self) -> bool:
        """Always: each side waits for the other during a handshake."""
        return True

    def drained(self) -> None:
        """Nothing depends on it."""

    def closed(self) -> None:
        """Nothing is owed to an unknown peer."""

    def goodbye(self, reason: str) -> bool:
        """An unknown peer is told nothing."""
        _ = reason
        return False
