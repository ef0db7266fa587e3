"""Offer the same small framed echo on several event loops; the servers of `loop_trial`.

Rules:
- Every variant does the same work per frame: parse a 20-byte header, look one operation up in a dict, answer
  in the same size.
- Every variant answers all frames of one read with one write.
- No per-connection read buffer: reads land in one buffer shared by the process, only a frame that is
  incomplete is kept.
- The servers end when their standard input does, so none outlives the process that started it.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import socket
import struct
import sys
from collections.abc import Callable
from typing import cast

HEADER = struct.Struct("!IHHQI")  # body bytes, operation, flags, call number, reserved
READ_SIZE = 256 * 1024  # what asyncio and uvloop read at most at once
LARGE = 16 * 1024  # bytes from which a frame is read in place, and written without joining it to its header
OPERATIONS: dict[int, int] = {number: number for number in range(64)}

SHARED = bytearray(READ_SIZE)
SHARED_VIEW = memoryview(SHARED)

Reply = list[bytes | bytearray | memoryview]


def answer(data: bytes | bytearray | memoryview, out: Reply) -> int:
    """Append the replies to all whole frames in `data` to `out`; return how many bytes they took."""
    at, end = 0, len(data)
    while end - at >= 20:
        size, operation, flags, call, reserved = HEADER.unpack_from(data, at)
        stop = at + 20 + size
        if stop > end:
            break
        out.append(HEADER.pack(size, OPERATIONS[operation], flags, call, reserved))
        out.append(data[at + 20 : stop])
        at = stop
    return at


class Framer:
    """Collect the bytes of one connection and answer whole frames.

    A large incomplete frame becomes the buffer that further reads fill: its bytes are copied once.
    """

    __slots__ = ("filled", "large", "rest")

    def __init__(self) -> None:
        self.rest: bytes = b""
        self.large: bytearray | None = None
        self.filled = 0

    def feed(self, data: bytes) -> Reply:
        """Take what one read returned; return the pieces to write."""
        out: Reply = []
        if self.large is not None:
            data = self._fill_large(data, out)
        if self.rest:
            data = self.rest + data
        taken = answer(data, out)
        self._keep(data[taken:] if taken else data)
        return out

    def room(self) -> memoryview | None:
        """Return the unfilled part of a large frame, or None when a read belongs in the shared buffer."""
        return None if self.large is None else memoryview(self.large)[self.filled :]

    def filled_by(self, count: int) -> Reply:
        """Note that `count` bytes were read into `room()`; return the pieces to write."""
        out: Reply = []
        self.filled += count
        self._finish_large(out)
        return out

    def _fill_large(self, data: bytes, out: Reply) -> bytes:
        room = memoryview(cast(bytearray, self.large))[self.filled :]
        part = min(len(room), len(data))
        room[:part] = data[:part]
        self.filled += part
        self._finish_large(out)
        return data[part:]

    def _finish_large(self, out: Reply) -> None:
        if self.large is not None and self.filled == len(self.large):
            view = memoryview(self.large)
            answer(view, out)
            self.large = None

    def _keep(self, rest: bytes) -> None:
        self.rest = rest
        if len(rest) < 20:
            return
        size = HEADER.unpack_from(rest)[0] + 20
        if size > LARGE:
            self.large = bytearray(size)
            self.large[: len(rest)] = rest
            self.filled, self.rest = len(rest), b""


# --- loops of our own -----------------------------------------------------------------------------


class Peer:
    """Hold one connection of a loop of our own: its socket, framer and unsent bytes."""

    __slots__ = ("framer", "sock", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.framer = sock, Framer()
        self.unsent: memoryview | None = None

    def read(self) -> Reply | None:
        """Read once; return the pieces to write, or None at the end of the connection."""
        try:
            room = self.framer.room()
            if room is not None:
                count = self.sock.recv_into(room)
                return self.framer.filled_by(count) if count else None
            data = self.receive()
        except BlockingIOError:
            return []
        except OSError:
            return None
        return self.framer.feed(data) if data else None

    def receive(self) -> bytes:
        """Read into bytes of their own."""
        return self.sock.recv(READ_SIZE)

    def write(self, pieces: Reply) -> bool:
        """Send what the socket takes now, large replies unjoined; return whether something is left."""
        if self.unsent is not None:
            pieces, self.unsent = [self.unsent, *pieces], None
        try:
            if len(pieces) == 2 and len(pieces[1]) > LARGE:
                sent = self.sock.sendmsg(pieces)
            else:
                pieces = [b"".join(pieces)]
                sent = self.sock.send(pieces[0])
        except BlockingIOError:
            sent = 0
        while pieces and sent >= len(pieces[0]):
            sent -= len(pieces.pop(0))
        if pieces:
            pieces[0] = memoryview(pieces[0])[sent:]
            self.unsent = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return self.unsent is not None


class PeerSmallReads(Peer):
    """Read 64 KiB at most at once."""

    __slots__ = ()

    def receive(self) -> bytes:
        """Read into bytes of their own."""
        return self.sock.recv(64 * 1024)


class PeerSharedBuffer(Peer):
    """Read into the shared buffer, and copy what came."""

    __slots__ = ()

    def receive(self) -> bytes:
        """Read through the shared buffer."""
        return bytes(SHARED_VIEW[: self.sock.recv_into(SHARED)])


def serve_selectors(listener: socket.socket) -> None:
    """Serve with the standard library's `selectors`."""
    chooser = selectors.DefaultSelector()
    chooser.register(listener, selectors.EVENT_READ, None)
    chooser.register(sys.stdin, selectors.EVENT_READ, sys.stdin)

    def watch(peer: Peer, left: bool) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if left else 0)
        chooser.modify(peer.sock, events, peer)

    def forget(peer: Peer) -> None:
        chooser.unregister(peer.sock)

    while True:
        for key, mask in chooser.select():
            if key.data is None:
                peer = accept(listener, Peer)
                chooser.register(peer.sock, selectors.EVENT_READ, peer)
            elif key.data is sys.stdin:
                return
            else:
                step(key.data, bool(mask & selectors.EVENT_WRITE), watch, forget)


def serve_epoll(listener: socket.socket, kind: type[Peer] = Peer) -> None:
    """Serve with a bare `select.epoll` and a dict from descriptor to peer."""
    poll, peers = select.epoll(), dict[int, Peer]()
    poll.register(listener.fileno(), select.EPOLLIN)
    poll.register(sys.stdin.fileno(), select.EPOLLIN)

    def watch(peer: Peer, left: bool) -> None:
        poll.modify(peer.sock.fileno(), select.EPOLLIN | (select.EPOLLOUT if left else 0))

    def forget(peer: Peer) -> None:
        del peers[peer.sock.fileno()]

    while True:
        for fd, mask in poll.poll():
            if (known := peers.get(fd)) is not None:
                step(known, bool(mask & select.EPOLLOUT), watch, forget)
            elif fd == listener.fileno():
                peer = accept(listener, kind)
                peers[peer.sock.fileno()] = peer
                poll.register(peer.sock.fileno(), select.EPOLLIN)
            else:
                return


def serve_epoll_by_turns(listener: socket.socket) -> None:
    """Serve as `serve_epoll`, but read from all peers of a turn before anything is written."""
    poll, peers = select.epoll(), dict[int, Peer]()
    poll.register(listener.fileno(), select.EPOLLIN)
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    while True:
        due: list[tuple[int, Peer, Reply]] = []
        for fd, mask in poll.poll():
            if (known := peers.get(fd)) is not None:
                pieces = [] if known.unsent is not None and mask & select.EPOLLOUT else known.read()
                if pieces is None:
                    del peers[fd]
                    known.sock.close()
                else:
                    due.append((fd, known, pieces))
            elif fd == listener.fileno():
                peer = accept(listener, Peer)
                peers[peer.sock.fileno()] = peer
                poll.register(peer.sock.fileno(), select.EPOLLIN)
            else:
                return
        for fd, peer, pieces in due:
            had = peer.unsent is not None
            if (pieces or had) and peer.write(pieces) is not had:
                poll.modify(fd, select.EPOLLIN | (0 if had else select.EPOLLOUT))


def accept(listener: socket.socket, kind: type[Peer]) -> Peer:
    """Accept one connection, set up for small replies."""
    sock, _address = listener.accept()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return kind(sock)


def step(
    peer: Peer, writable: bool, watch: Callable[[Peer, bool], None], forget: Callable[[Peer], None]
) -> None:
    """Do what one readiness event asks for."""
    had = peer.unsent is not None
    pieces: Reply | None = [b""] if had and writable else peer.read()
    if pieces is None:
        forget(peer)
        peer.sock.close()
    elif pieces:
        left = peer.write(pieces)
        if left is not had:
            watch(peer, left)


# --- asyncio and uvloop ---------------------------------------------------------------------------


class Plain(asyncio.Protocol):
    """Answer from `data_received`."""

    __slots__ = ("framer", "transport")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set up one connection."""
        self.transport, self.framer = cast(asyncio.Transport, transport), Framer()

    def data_received(self, data: bytes) -> None:
        """Answer the whole frames of one read."""
        if pieces := self.framer.feed(data):
            self.transport.write(b"".join(pieces))


class PlainLines(Plain):
    """Answer from `data_received`, large replies with `writelines`."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Answer the whole frames of one read, without joining a large reply."""
        if pieces := self.framer.feed(data):
            if len(pieces) == 2 and len(pieces[1]) > LARGE:
                self.transport.writelines(pieces)
            else:
                self.transport.write(b"".join(pieces))


class Buffered(asyncio.BufferedProtocol):
    """Answer from a buffer that all connections share; a large frame is read in place."""

    __slots__ = ("framer", "room", "transport")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set up one connection."""
        self.transport, self.framer = cast(asyncio.Transport, transport), Framer()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the shared buffer, or the unfilled part of a large frame."""
        self.room = self.framer.room()
        return SHARED_VIEW if self.room is None else self.room

    def buffer_updated(self, nbytes: int) -> None:
        """Answer the whole frames of one read."""
        if self.room is None:
            pieces = self.framer.feed(bytes(SHARED_VIEW[:nbytes]))
        else:
            pieces, self.room = self.framer.filled_by(nbytes), None
        if pieces:
            self.write(pieces)

    def write(self, pieces: Reply) -> None:
        """Write all pieces at once."""
        self.transport.write(b"".join(pieces))


class BufferedLines(Buffered):
    """Answer as `Buffered`, large replies with `writelines`."""

    __slots__ = ()

    def write(self, pieces: Reply) -> None:
        """Write all pieces at once, without joining a large reply."""
        if len(pieces) == 2 and len(pieces[1]) > LARGE:
            self.transport.writelines(pieces)
        else:
            self.transport.write(b"".join(pieces))


def serve_asyncio(listener: socket.socket, protocol: Callable[[], asyncio.BaseProtocol], fast: bool) -> None:
    """Serve `protocol` on asyncio's own loop, or on uvloop when `fast`."""
    if fast:
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    loop.run_until_complete(loop.create_server(protocol, sock=listener, backlog=4096))
    loop.add_reader(sys.stdin.fileno(), loop.stop)
    loop.run_forever()


VARIANTS: dict[str, Callable[[socket.socket], None]] = {
    "selectors": serve_selectors,
    "epoll": serve_epoll,
    "epoll, reads of 64 KiB": lambda listener: serve_epoll(listener, PeerSmallReads),
    "epoll, shared buffer": lambda listener: serve_epoll(listener, PeerSharedBuffer),
    "epoll, by turns": serve_epoll_by_turns,
    "asyncio Protocol": lambda listener: serve_asyncio(listener, Plain, fast=False),
    "asyncio BufferedProtocol": lambda listener: serve_asyncio(listener, Buffered, fast=False),
    "uvloop Protocol": lambda listener: serve_asyncio(listener, Plain, fast=True),
    "uvloop Protocol + writelines": lambda listener: serve_asyncio(listener, PlainLines, fast=True),
    "uvloop BufferedProtocol": lambda listener: serve_asyncio(listener, Buffered, fast=True),
    "uvloop BufferedProtocol + writelines": lambda listener: serve_asyncio(
        listener, BufferedLines, fast=True
    ),
}


def main(variant: str) -> None:
    """Serve one variant on a free port of the loopback, which is printed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    if not variant.startswith(("asyncio", "uvloop")):
        listener.setblocking(True)
    VARIANTS[variant](listener)


if __name__ == "__main__":
    main(sys.argv[1])
