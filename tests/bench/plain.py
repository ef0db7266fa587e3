"""Serve a dict, a list and a queue over raw sockets in as few steps of Python as can be: the floor for all
servers that are plain Python.

    python -m tests.bench.plain     serves on a free loopback port, which is printed; ends with standard input

Rules:
- A frame is a header, a key and a value; key and value are pickles, which only clients make and open.
- One frame a read, answered at once: no sessions, no limits, nothing repeated, nothing checked.
"""

from __future__ import annotations

import json
import pickle
import select
import socket
import struct
import sys
from collections import deque
from typing import Any

__all__ = ["KINDS", "Shared"]

HEADER = struct.Struct("!IHHQI")  # bytes of the key and the value, operation, bytes of the key, call, object
SET, GET, APPEND, POP, TAKE = range(5)
KINDS = ("dict", "list", "queue")
START, NOTHING = HEADER.size, pickle.dumps(None)


def do(store: dict[int, Any], operation: int, number: int, key: bytes, value: bytes) -> bytes:
    """Do one operation on an object; return the value that answers it."""
    if operation == SET:
        store[number][key] = value
    elif operation == GET:
        return store[number][key]  # type: ignore[no-any-return]
    elif operation == POP:
        return store[number].pop()  # type: ignore[no-any-return]
    elif operation == TAKE:
        return store[number].popleft()  # type: ignore[no-any-return]
    else:
        store[number].append(value)
    return NOTHING


def serve(listener: socket.socket) -> None:
    """Serve until standard input ends."""
    poll = select.epoll()
    peers: dict[int, socket.socket] = {}
    store: dict[int, Any] = {}
    for watched in (listener.fileno(), sys.stdin.fileno()):
        poll.register(watched, select.EPOLLIN)
    while True:
        for fd, _mask in poll.poll():
            if (sock := peers.get(fd)) is not None:
                if data := sock.recv(65536):
                    _size, operation, keyed, call, number = HEADER.unpack_from(data)
                    at = START + keyed
                    value = do(store, operation, number, data[START:at], data[at:])
                    sock.sendall(HEADER.pack(len(value), operation, 0, call, number) + value)
                else:
                    del peers[fd]
                    sock.close()
            elif fd == listener.fileno():
                sock, _address = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peers[sock.fileno()] = sock
                poll.register(sock.fileno(), select.EPOLLIN)
                for number, make in enumerate((dict, list, deque)):
                    store.setdefault(number, make())
            else:
                return


class Shared:
    """A dict, a list or a queue there, called over one blocking socket."""

    def __init__(self, address: tuple[str, int], kind: str) -> None:
        self.sock = socket.create_connection(address, timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number, self.calls = KINDS.index(kind), 0

    def call(self, operation: int, key: object = None, value: object = None) -> Any:
        """Send one call and return its answer."""
        keyed, valued = pickle.dumps(key), pickle.dumps(value)
        self.calls += 1
        size = len(keyed) + len(valued)
        self.sock.sendall(HEADER.pack(size, operation, len(keyed), self.calls, self.number) + keyed + valued)
        data = self.sock.recv(65536)
        HEADER.unpack_from(data)
        return pickle.loads(data[START:])

    def __setitem__(self, key: object, value: object) -> None:
        self.call(SET, key, value)

    def __getitem__(self, key: object) -> Any:
        return self.call(GET, key)

    def append(self, value: object) -> None:
        """Append to the list, or put on the queue."""
        self.call(APPEND, value=value)

    def pop(self) -> Any:
        """Take the last."""
        return self.call(POP)

    put = append

    def get(self) -> Any:
        """Take the first."""
        return self.call(TAKE)


def main() -> None:
    """Serve until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(json.dumps(listener.getsockname()), flush=True)
    serve(listener)


if __name__ == "__main__":
    main()
