"""A whole server in this thread: real sockets, a clock that the test moves, and no thread that could race.

stage = Stage(tmp_path)
client = stage.client()          # a raw socket; waiting for it lets the server turn
client.shake_hands()
client.attach_new()
assert client.call("cluster.count").result == 0
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Any

from tests.contract.wired_rig import Log

from mpserve.net.loop import Loop
from mpserve.server import Options, Server
from mpshared.address import Address
from mpshared.ops import BY_NAME
from mpshared.values import Blob
from mpshared.wire.own import frames
from mpshared.wire.own import handshake as own
from mpshared.wire.own.frames import Control, FrameDecoder, Type

__all__ = ["KEY", "Closed", "RawClient", "Stage"]

KEY = b"a key of the tests, 128 bits"
TURNS_MAX = 2000
"""Turns of the server in which what a test waits for has to happen."""


class Closed(Exception):
    """The server closed the connection."""


class RawClient:
    """One connection of our own protocol, by hand.

    Args:
        sock: Connected.
        wait: Called with the socket when nothing can be read, or written (then the second argument is True);
            returns when it may be tried again, or raises.
    """

    def __init__(
        self, sock: socket.socket, wait: Callable[[socket.socket, bool], None], key: bytes = KEY
    ) -> None:
        self.sock = sock
        self.key = key
        self._wait = wait
        self._decoder = FrameDecoder(1 << 30)
        self._lanes: dict[int, int] = {}
        self.session = ""
        self.secret = ""
        self.channel = b""
        sock.setblocking(False)

    # -- bytes ---------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[self.sock.send(left) :]
            except BlockingIOError:
                self._wait(self.sock, True)

    def recv(self, size: int = 1 << 16) -> bytes:
        """Read what is there; raise `Closed` at the end."""
        while True:
            try:
                data = self.sock.recv(size)
            except BlockingIOError:
                self._wait(self.sock, False)
                continue
            if not data:
                raise Closed
            return data

    def recv_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.recv(size - len(data))
        return data

    def recv_all(self) -> bytes:
        """Read to the end."""
        data = b""
        while True:
            try:
                data += self.recv()
            except (Closed, ConnectionResetError):
                return data

    def close(self, *, reset: bool = False) -> None:
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    # -- the protocol --------------------------------------------------------------------------------

    def shake_hands(self, versions: tuple[int, int] = own.VERSIONS) -> RawClient:
        handshake = own.ClientHandshake(
            self.key, nonce=secrets.token_bytes(32), versions=versions, channel=self.channel
        )
        while handshake.next_event() is None:
            if said := handshake.data_to_send():
                self.send(said)
            else:
                handshake.receive_data(self.recv())
        self._decoder.receive_data(handshake.trailing_data())
        return self

    def next_event(self) -> frames.Event:
        while (event := self._decoder.next_event()) is None:
            self._decoder.receive_data(self.recv())
        return event

    def frame(self, pieces: Sequence[bytes]) -> None:
        self.send(b"".join(pieces))

    def control(self, kind: Type, lane: int = 0, number: int = 0, ack: int = 0, body: Any = None) -> None:
        self.frame(frames.encode_control(kind, lane, number, ack, body))

    def attached(self, body: dict[str, Any]) -> dict[str, Any]:
        self.control(Type.ATTACH, body=body)
        event = self.next_event()
        assert isinstance(event, Control), event
        assert event.type is Type.ATTACHED
        told: dict[str, Any] = event.body
        return told

    def attach_new(self, **more: Any) -> RawClient:
        told = self.attached({"new": {"role": "program", "python": [3, 11], "pid": 1, **more}})
        self.session, self.secret = told["session"], told["secret"]
        return self

    def attach(self, to: RawClient, lane: int, ack: int = 0) -> int:
        """Carry a lane of another client's session; return the last number that the server knows."""
        self.session, self.secret = to.session, to.secret
        told = self.attached({"session": to.session, "secret": to.secret, "lane": lane, "ack": ack})
        last: int = told["last"]
        return last

    def encode(
        self,
        name: str,
        target: str = "",
        *args: Any,
        lane: int = 0,
        number: int = 0,
        blobs: Sequence[Blob] = (),
    ) -> bytes:
        """Return the next call of a lane, or with a number that one."""
        number = number or self._lanes.get(lane, 0) + 1
        self._lanes[lane] = number
        pieces = frames.encode_call(BY_NAME[name].code, lane, number, number - 1, target, args, blobs)
        return b"".join(pieces)

    def call(
        self, name: str, target: str = "", *args: Any, lane: int = 0, blobs: Sequence[Blob] = ()
    ) -> frames.Reply:
        """Make a call and wait for its answer."""
        self.send(self.encode(name, target, *args, lane=lane, blobs=blobs))
        event = self.next_event()
        assert isinstance(event, frames.Reply), event
        assert (event.lane, event.number) == (lane, self._lanes[lane])
        return event

    def open(self, kind: str, name: str | None = None, **settings: Any) -> str:
        ident: str = self.call("cluster.open", "", kind, name, settings, False, None).result[0]
        return ident


def _connected_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


class Stage:
    """A server that turns when a client waits."""

    def __init__(self, address: Address | None = None, **options: Any) -> None:
        self.now_s = 5000.0
        self.log = Log()
        where = address or Address.tcp("127.0.0.1", 0)
        self.server = Server(Options(where, **options), KEY, self.log)
        self.loop: Loop = self.server.loop
        self.loop.clock = self.server.dispatcher.clock = self.clock
        try:
            self.address = self.server.listen()
        except OSError:
            self.server.close()
            raise
        self.clients: list[RawClient] = []

    def clock(self) -> float:
        return self.now_s

    def turn(self) -> None:
        self.loop.turn(0)

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until something is so."""
        for _ in range(TURNS_MAX):
            if condition():
                return
            self.turn()
        raise AssertionError(f"not so after {TURNS_MAX} turns; the log: {self.log.lines[-5:]}")

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
        self.turn()

    def connect(self) -> socket.socket:
        if self.address.is_unix:
            return _connected_unix(self.address.path)
        sock = socket.create_connection(("127.0.0.1", self.address.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def client(self, key: bytes = KEY, sock: socket.socket | None = None) -> RawClient:
        turns = iter(range(TURNS_MAX))

        def wait(_sock: socket.socket, _write: bool) -> None:
            assert next(turns, None) is not None, f"nothing comes; the log: {self.log.lines[-5:]}"
            self.loop.turn(0.002)  # what the system does by itself takes some time

        client = RawClient(sock or self.connect(), wait, key)
        self.clients.append(client)
        return client

    def program(self, **more: Any) -> RawClient:
        """Return an authenticated client with a session."""
        return self.client().shake_hands().attach_new(**more)

    @property
    def peers(self) -> list[Any]:
        return self.server.listener._all_peers()

    def events(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.log.lines if event == name]

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.server.close()
