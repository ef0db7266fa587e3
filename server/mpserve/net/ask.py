"""Asking a running server one thing: what `mpserve ping`, `status`, `why`, `rm` and `release` are made of.
Blocking, and cheap to import.

The server's own package has no client (that is `mpclient`, which it never imports), and needs none but this.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mpshared import __version__ as VERSION
from mpshared import errors
from mpshared.ops import BY_NAME
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Control, FrameDecoder, Type
from mpshared.wire.own.handshake import ClientHandshake

if TYPE_CHECKING:
    from mpshared.address import Address
    from mpshared.tls import ClientTls
    from mpshared.wire.own.frames import Event
    from mpshared.wire.tls import TlsMachine

__all__ = ["Inquiry", "inquire"]

READ_BYTES = 64 << 10
_CLOSED = "the server closed the connection"


class Inquiry:
    """An open session for a few calls."""

    def __init__(
        self, sock: socket.socket, authkey: bytes, purpose: str, machine: TlsMachine | None = None
    ) -> None:
        self._sock = sock
        self._tls = machine
        self._early = b"" if machine is None else self._shake(machine)
        self._decoder = FrameDecoder(1 << 30)
        self._number = 0
        self._shake_hands(authkey)
        described = {"role": "program", "python": [0, 0], "name": purpose, "version": VERSION}
        self._send(frames.encode_control(Type.ATTACH, body={"new": described}))
        self.greeting: dict[str, Any] = self._receive(Type.ATTACHED).body

    def call(self, name: str, *args: Any) -> Any:
        """Return what an operation without values answers, or raise its error."""
        self._number += 1
        self._send(frames.encode_call(BY_NAME[name].code, 0, self._number, self._number - 1, "", args, ()))
        while True:
            event = self._next_event()
            if isinstance(event, frames.Reply):
                return event.result

    def close(self) -> None:
        """Say goodbye, so that the server forgets this session at once."""
        with suppress(OSError):  # the answer is here already
            self._send(frames.encode_control(Type.GOODBYE, body="bye"))
        self._sock.close()

    def _shake_hands(self, authkey: bytes) -> None:
        channel = b"" if self._tls is None else self._tls.channel
        handshake = ClientHandshake(authkey, nonce=secrets.token_bytes(32), channel=channel)
        while handshake.next_event() is None:
            said = handshake.data_to_send()
            if said:
                self._send([said])
            handshake.receive_data(self._read())
        self._decoder.receive_data(handshake.trailing_data())

    def _shake(self, machine: TlsMachine) -> bytes:
        """Go through the handshake of TLS; return what came behind it."""
        early = b""
        while True:
            self._sock.sendall(machine.data_to_send())
            if machine.established:
                return early
            data = self._recv()
            try:
                early = machine.receive_data(data)
            except BaseException:
                with suppress(OSError):
                    self._sock.sendall(machine.data_to_send())  # the alert: the server's log is to tell why
                raise

    def _receive(self, kind: Type) -> Control:
        event = self._next_event()
        if isinstance(event, Control) and event.type is kind:
            return event
        raise errors.ProtocolViolation(f"expected {kind.name}, got {event!r:.200}")

    def _next_event(self) -> Event:
        while True:
            event = self._decoder.next_event()
            if isinstance(event, frames.Failed):
                raise errors.make(event.code, event.text, event.fields)
            if isinstance(event, Control) and event.type is Type.GOODBYE:
                raise errors.ServerGone("the server is stopping")
            if event is not None:
                return event
            self._decoder.receive_data(self._read())

    def _read(self) -> bytes:
        if self._tls is None:
            return self._recv()
        data, self._early = self._early, b""
        while not data:
            data = self._tls.receive_data(self._recv())
            if not data and self._tls.ended:
                raise errors.ServerGone(_CLOSED)
        return data

    def _recv(self) -> bytes:
        data = self._sock.recv(READ_BYTES)
        if not data:
            raise errors.ServerGone(_CLOSED)
        return data

    def _send(self, pieces: Sequence[bytes]) -> None:
        self._sock.sendall(b"".join(pieces) if self._tls is None else self._tls.send(pieces))


@contextmanager
def inquire(
    address: Address, authkey: bytes, purpose: str, timeout_s: float, tls: ClientTls | None = None
) -> Iterator[Inquiry]:
    """Connect, ask, hang up.

    Raises:
        OSError: No connection, or no answer within `timeout_s`.
        mpshared.errors.MpserveError, mpshared.wire.errors.*: What the server said.
    """
    with _connect(address, timeout_s) as sock:
        machine = None if tls is None else tls.machine(address)
        inquiry = Inquiry(sock, authkey, purpose, machine)
        try:
            yield inquiry
        finally:
            inquiry.close()


def _connect(address: Address, timeout_s: float) -> socket.socket:
    if not address.is_unix:
        sock = socket.create_connection((address.host, address.port), timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        sock.connect(address.path)
    except OSError:
        sock.close()
        raise
    return sock
