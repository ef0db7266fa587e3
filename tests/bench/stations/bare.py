"""Bare sockets: two frames out and back for a pair, whatever the work."""

from __future__ import annotations

import socket

from tests.bench import bare
from tests.bench.stations.base import Pair, Station

__all__ = ["Bare"]


class Bare(Station):
    """Two frames out and back for a pair, whatever the work; the lock is a lock."""

    def pair(self, work: str, name: str, index: int) -> Pair:
        """Return two exchanges, or a connection with one in it."""
        if work == "connect":
            return self._connect
        caller = bare.Caller(self.address, lock=sum(name.encode()))
        calls = (bare.ACQUIRE, bare.RELEASE) if work == "lock" else (bare.ECHO, bare.ECHO)

        def pair() -> None:
            caller.call(calls[0])
            caller.call(calls[1])

        return pair

    def idle(self) -> socket.socket:
        """Return a connection."""
        caller = bare.Caller(self.address)
        caller.call(bare.ECHO)
        return caller.sock

    def _connect(self) -> None:
        caller = bare.Caller(self.address)
        caller.call(bare.ECHO)
        caller.sock.close()
