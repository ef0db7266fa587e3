"""A peer on a real socket that does as a test's script says: the wire's server role, no server behind it.

Each frame that arrives is given to the script; what it returns is sent back. `CUT` closes the connection.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from mpshared.address import Address
from mpshared.wire.errors import ProtocolError
from mpshared.wire.own.frames import Call, Control, FrameDecoder, Type, encode_control, encode_reply
from mpshared.wire.own.handshake import ServerHandshake as OwnHandshake
from mpshared.wire.stock import server as stock

__all__ = ["CUT", "KEY", "Peer", "attached"]

KEY: Final = b"a key for tests, long enough"
CUT: Final = [b""]
"""What a script returns to have the connection closed."""

Script = Callable[[Any], list[bytes] | None]


class Peer:
    """Listens on a port of its own; serves each connection in a thread.

    `attaches` and `calls` are all ATTACH bodies and CALL frames, in order; `controls` all other frames.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or (lambda _: None)
        self.attaches: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.controls: list[Control] = []
        self.last: dict[int, int] = {}
        """What to say of lanes: the last number that was accepted."""
        self.session_timeout_s = 30.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = Address.from_sockaddr(self._listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for sock in self._open:
            _close(sock)

    def cut(self, but: int = 0) -> None:
        """Close every connection, but for the first ones."""
        while len(self._open) > but:
            _close(self._open.pop())

    def say(self, pieces: list[bytes]) -> None:
        """Send something on every connection."""
        for sock in self._open:
            with suppress(OSError):
                sock.sendall(b"".join(pieces))

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError, ProtocolError):
            decoder = FrameDecoder(1 << 30)
            decoder.receive_data(_shake_hands(sock))
            while data := sock.recv(65536):
                decoder.receive_data(data)
                while (event := decoder.next_event()) is not None:
                    answer = self._answer(event)
                    if answer is CUT:
                        _close(sock)
                        return
                    sock.sendall(b"".join(answer or ()))
        _close(sock)

    def _answer(self, event: Any) -> list[bytes] | None:
        if isinstance(event, Call):
            self.calls.append(event)
            return self.script(event)
        if event.type is Type.ATTACH:
            self.attaches.append(event.body)
            return self.script(event) or attached(event.body, self.last, self.session_timeout_s)
        self.controls.append(event)
        answer = self.script(event)
        return answer or (encode_control(Type.GOODBYE, body="bye") if event.type is Type.GOODBYE else None)


def attached(
    body: dict[str, Any], last: dict[int, int] | None = None, session_timeout_s: float = 30.0
) -> list[bytes]:
    """Return the answer of a server to an ATTACH."""
    answer: dict[str, Any] = {"session": "session", "epoch": "epoch"}
    if "new" in body:
        answer |= {
            "secret": "secret",
            "server": "server",
            "session_timeout_s": session_timeout_s,
            "grace_s": 0.5,
            "advertise": "",
        }
        answer["limits"] = {"max_message": 1 << 20, "unanswered": 64}
    else:
        answer["last"] = (last or {}).get(body["lane"], 0)
    return encode_control(Type.ATTACHED, body=answer)


def reply(call: Call, result: object = None, *blobs: bytes) -> list[bytes]:
    """Return the answer to a call."""
    return encode_reply(call.lane, call.number, result, blobs)


def _shake_hands(sock: socket.socket) -> bytes:
    first = stock.ServerHandshake(KEY, md5_allowed=False, nonce=secrets.token_bytes(stock.NONCE_BYTES))
    hello = _drive(sock, first)
    second = OwnHandshake(KEY, hello.hello, nonce=secrets.token_bytes(32))
    _drive(sock, second)
    sock.sendall(second.data_to_send())
    return second.trailing_data()


def _drive(sock: socket.socket, handshake: Any) -> Any:
    while (event := handshake.next_event()) is None:
        if data := handshake.data_to_send():
            sock.sendall(data)
        received = sock.recv(1024)
        if not received:
            raise ConnectionResetError
        handshake.receive_data(received)
    return event


def _close(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
