"""A relay between clients and a server that cuts connections where a test wants it."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Relay"]


class Relay:
    """Forwards every connection to `target`; counts the bytes of each direction since `arm`.

    `arm(direction, n)` cuts, once, all connections after exactly n more bytes in that direction ("up": to the
    server, "down": to the client), and calls `on_cut`; with `refuse` no connection is let through afterwards.
    `passed` counts the bytes since `arm` or `disarm`.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._cut_after: dict[str, int] = {}
        self._refuse_then = False
        self.passed: Counter[str] = Counter()
        self.on_cut: Callable[[], None] | None = None
        self.refusing = False
        self.refused = 0
        self.cuts = 0
        self.connections = 0
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, direction: str, after_bytes: int, *, refuse: bool = False) -> None:
        with self._lock:
            self._cut_after = {direction: after_bytes}
            self._refuse_then = refuse
            self.passed.clear()

    def disarm(self) -> None:
        with self._lock:
            self._cut_after = {}
            self.passed.clear()

    def cut(self) -> None:
        """Cut all connections now."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            self._cut_after = {}
            self.cuts += 1
        for pair in pairs:
            _close(*pair)

    def close(self) -> None:
        self.refusing = True
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                self.refused += 1
                _close(client)
                continue
            self.connections += 1
            try:
                server = socket.create_connection(self._target)
            except OSError:  # it is being restarted
                _close(client)
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((client, server))
            for direction, source, sink in (("up", client, server), ("down", server, client)):
                threading.Thread(target=self._pump, args=(direction, source, sink), daemon=True).start()

    def _pump(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                allowed, cut = self._admit(direction, len(data))
                sink.sendall(data[:allowed])
                if cut:
                    if self.on_cut is not None:
                        self.on_cut()
                    self.cut()
                    return
        _close(source, sink)

    def _admit(self, direction: str, size: int) -> tuple[int, bool]:
        with self._lock:
            self.passed[direction] += size
            left = self._cut_after.get(direction)
            if left is None:
                return size, False
            if size < left:
                self._cut_after[direction] = left - size
                return size, False
            del self._cut_after[direction]
            self.refusing = self.refusing or self._refuse_then
            return left, True


def _close(*sockets: socket.socket) -> None:
    for sock in sockets:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
