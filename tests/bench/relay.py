"""Stand between clients and a server, and let every byte take its time: a distance, on one machine.

    python -m tests.bench.relay HOST PORT ROUND_TRIP_MS     its address is printed; ends with standard input

Rules:
- Bytes are read as soon as they come and leave half a round trip later, in order, each way: how much is
  under way at once is not limited, as on a good line.
- `select` knows microseconds, `epoll` and the loops that stand on it only milliseconds.
- To connect takes no distance; the first answer does.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time
from collections import deque

__all__: list[str] = []

READ_BYTES = 1 << 18


class Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.line: deque[tuple[float, bytes | memoryview]] = deque()
        self.full = False
        """The sink takes no more for now."""

    def read(self, due_s: float) -> None:
        """Take what is there; no bytes are the end, which takes its time too."""
        try:
            data = self.source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.line.append((due_s, data))

    def write(self, now_s: float) -> bool:
        """Send what is due; tell whether this was the end."""
        self.full = False
        while self.line and self.line[0][0] <= now_s:
            due_s, data = self.line.popleft()
            if not data:
                return True
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return True
            if sent < len(data):
                self.line.appendleft((due_s, memoryview(data)[sent:]))
                self.full = True
                return False
        return False


class Relay:
    """All connections."""

    def __init__(self, target: tuple[str, int], delay_s: float) -> None:
        self.target, self.delay_s = target, delay_s
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.ways: dict[socket.socket, Way] = {}
        """By where they read; those whose source has ended are not in it."""

    def run(self) -> None:
        """Forward until standard input ends."""
        while True:
            now_s = time.perf_counter()
            for way in list(self.ways.values()):
                if way.line and not way.full and way.write(now_s):
                    self.close(way)
            readable, writable, _ = select.select(
                [sys.stdin, self.listener, *self.ways],
                [way.sink for way in self.ways.values() if way.full],
                [],
                self.rest_s(),
            )
            if sys.stdin in readable:
                return
            self.move(readable, writable)

    def rest_s(self) -> float | None:
        """Return how long nothing is due."""
        dues = [way.line[0][0] for way in self.ways.values() if way.line and not way.full]
        return max(0.0, min(dues) - time.perf_counter()) if dues else None

    def move(self, readable: list[socket.socket], writable: list[socket.socket]) -> None:
        """Read from all that have something, go on with those that were full."""
        due_s = time.perf_counter() + self.delay_s
        for way in self.ways.values():
            way.full = way.full and way.sink not in writable
        for sock in readable:
            if sock is self.listener:
                self.accept()
            elif sock in self.ways:
                self.ways[sock].read(due_s)

    def accept(self) -> None:
        """Take a client in, and dial the server for it."""
        client, _address = self.listener.accept()
        try:
            server = socket.create_connection(self.target, timeout=10)
        except OSError:
            client.close()
            return
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
        self.ways[client], self.ways[server] = Way(client, server), Way(server, client)

    def close(self, way: Way) -> None:
        """End both directions: a client that has hung up waits for no answer."""
        for sock in (way.source, way.sink):
            self.ways.pop(sock, None)
            with contextlib.suppress(OSError):
                sock.close()


def main() -> None:
    """Forward until standard input ends."""
    host, port, round_trip_ms = sys.argv[1:]
    relay = Relay((host, int(port)), float(round_trip_ms) / 2000)
    print(json.dumps(relay.listener.getsockname()), flush=True)
    relay.run()


if __name__ == "__main__":
    main()
