"""Serve a bare echo and a bare lock over raw sockets: what a call costs before anybody's protocol.

    python -m tests.bench.bare      serves on a free loopback port, which is printed; ends with standard input

Rules:
- A frame is 20 bytes of header and 40 of body, the reply is the same frame; the body is never looked at.
- ACQUIRE is answered when the lock is the caller's, RELEASE at once, and hands the lock to the longest
  waiting, in order.
- No pickles, no sessions, no limits: nothing here is what a server should be.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
from collections import deque

__all__ = ["Caller"]

HEADER = struct.Struct("!IHHQI")  # body bytes, operation, unused, call number, lock
FRAME = 60
ECHO, ACQUIRE, RELEASE = range(3)


class Server:
    """Keep the connections and the locks."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.poll = select.epoll()
        self.peers: dict[int, socket.socket] = {}
        self.rests: dict[int, bytes] = {}
        self.held: set[int] = set()
        self.waiting: dict[int, deque[tuple[socket.socket, bytes]]] = {}
        for watched in (listener.fileno(), sys.stdin.fileno()):
            self.poll.register(watched, select.EPOLLIN)

    def run(self) -> None:
        """Serve until standard input ends."""
        while True:
            for fd, _mask in self.poll.poll():
                if (sock := self.peers.get(fd)) is not None:
                    self.read(fd, sock)
                elif fd == self.listener.fileno():
                    self.accept()
                else:
                    return

    def accept(self) -> None:
        """Take one connection in."""
        sock, _address = self.listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peers[sock.fileno()] = sock
        self.poll.register(sock.fileno(), select.EPOLLIN)

    def read(self, fd: int, sock: socket.socket) -> None:
        """Answer the whole frames of one read."""
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            del self.peers[fd]
            self.rests.pop(fd, None)
            sock.close()
            return
        data = self.rests.pop(fd, b"") + data
        whole = len(data) // FRAME * FRAME
        if whole < len(data):
            self.rests[fd] = data[whole:]
        for at in range(0, whole, FRAME):
            self.answer(sock, data[at : at + FRAME])

    def answer(self, sock: socket.socket, frame: bytes) -> None:
        """Answer one frame, now or at its turn."""
        _size, operation, _unused, _call, lock = HEADER.unpack_from(frame)
        if operation == ACQUIRE and lock in self.held:
            self.waiting.setdefault(lock, deque()).append((sock, frame))
            return
        if operation == ACQUIRE:
            self.held.add(lock)
        sock.sendall(frame)
        if operation == RELEASE:
            self.release(lock)

    def release(self, lock: int) -> None:
        """Hand the lock to the longest waiting that is still there."""
        waiting = self.waiting.get(lock)
        while waiting:
            sock, frame = waiting.popleft()
            if sock.fileno() >= 0:
                sock.sendall(frame)
                return
        self.held.discard(lock)


class Caller:
    """Call the bare server over one blocking socket."""

    def __init__(self, address: tuple[str, int], lock: int = 0) -> None:
        self.sock = socket.create_connection(address, timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.frames = [
            HEADER.pack(FRAME - 20, operation, 0, 1, lock) + bytes(FRAME - 20) for operation in range(3)
        ]

    def call(self, operation: int) -> None:
        """Send one frame and wait for its reply.

        Raises:
            EOFError: The server closed the connection.
        """
        self.sock.sendall(self.frames[operation])
        need = FRAME
        while need:
            got = len(self.sock.recv(need))
            if not got:
                raise EOFError("the bare server closed the connection")
            need -= got


def main() -> None:
    """Serve until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(json.dumps(listener.getsockname()), flush=True)
    Server(listener).run()


if __name__ == "__main__":
    main()
