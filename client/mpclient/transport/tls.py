"""A connection that speaks TLS: the machine of `mpshared.wire.tls` between the frames and a blocking socket.

RULES
* As for every `Connection`; those without TLS know nothing of this file.
* A connection is closed without a word of TLS: in a forked child that word would spoil the parent's. What
  must not be missed has a frame of its own, and a stream that was cut short ends in the middle of one.
* How a handshake fails is told with what to do: `NotAllowed` for certificates, `ProtocolViolation` where one
  side speaks no TLS.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mpclient.transport.awake import RECV_BYTES
from mpclient.transport.dialling import Connection, Lost, let_pass
from mpshared.errors import ProtocolViolation
from mpshared.wire.errors import AuthenticationRefused, ProtocolError

if TYPE_CHECKING:
    from mpshared.wire.own.frames import Event
    from mpshared.wire.own.replies import ReplyDecoder
    from mpshared.wire.tls import TlsMachine

__all__ = ["TlsConnection", "shake"]

_RECV_LARGE_BYTES: Final = 1 << 18


def shake(sock: socket.socket, machine: TlsMachine, deadline_s: float) -> bytes:
    """Go through the handshake of TLS; return what came behind it.

    Raises:
        AuthenticationRefused, ProtocolError: As `TlsMachine`.
        OSError: The connection broke, or time is up.
    """
    early = b""
    while True:
        sock.sendall(machine.data_to_send())
        if machine.established:
            return early
        sock.settimeout(max(0.01, deadline_s - time.monotonic()))
        data = sock.recv(RECV_BYTES)
        if not data:
            raise ConnectionResetError("closed by the server during the handshake of TLS")
        try:
            early = machine.receive_data(data)
        except (AuthenticationRefused, ProtocolError):
            if machine.was_late:
                raise ConnectionResetError("the server had waited too long for us") from None
            sock.sendall(machine.data_to_send())  # the alert: the server's log is to tell why
            raise


class TlsConnection(Connection):
    """Frames over one socket, encrypted."""

    __slots__ = ("_machine",)

    def __init__(self, sock: socket.socket, received: bytes, machine: TlsMachine) -> None:
        super().__init__(sock, received)
        self._machine = machine

    def send(self, pieces: Sequence[bytes]) -> None:
        """Write the pieces of a frame in order; see `Connection.send`."""
        try:
            for data in self._machine.send_in_parts(pieces):
                self._sock.sendall(data)
        except OSError as err:
            let_pass(err)
            raise Lost(f"the connection broke while sending ({err})") from None

    def ask(self, pieces: Sequence[bytes], may_park: bool = False) -> Event:
        """Write a frame and return the next one that comes, waiting for it."""
        _ = may_park
        self.send(pieces)
        return self.next_event()

    def _receive(self) -> None:
        """Read until there is plaintext."""
        while not self._receive_once(RECV_BYTES):
            pass

    def _fill(self, size: int) -> None:
        """Read more of a large frame."""
        _ = size
        while not self._receive_once(_RECV_LARGE_BYTES):
            pass

    def _receive_once(self, size: int) -> int:
        """Read once, and return how much plaintext that brought."""
        data = self._read(size)
        try:
            plain = self._machine.receive_data(data)
        except AuthenticationRefused as err:  # the last word of a handshake that the server refused late
            raise ProtocolViolation(str(err)) from None
        except ProtocolError as err:
            raise Lost(f"the connection broke ({err})") from None
        if plain:
            self._decoder.receive_data(plain)
        elif self._machine.ended:
            raise Lost("the server closed the connection")
        return len(plain)

    def events(self) -> list[Event]:
        """Read once, and return the frames that are whole; half a record brings none."""
        self._receive_once(RECV_BYTES)
        return self.unheard()

    def hand_over(self) -> tuple[socket.socket, ReplyDecoder, list[Event], TlsMachine | None]:
        """Give the socket and what belongs to it to a reader of its own; see `Connection.hand_over`."""
        sock, decoder, events, _ = super().hand_over()
        return sock, decoder, events, self._machine
