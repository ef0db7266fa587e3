"""What a peer has still to be told: pieces in order, written with as few copies and system calls as can
be.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["Outbox"]

JOIN_BYTES: Final = 16 << 10
"""Up to this all pieces are joined and sent as one; above, copying costs more than another entry of the
vector."""
VECTOR_MAX: Final = 512
"""Entries of one sendmsg; Linux and macOS take 1024."""

_NONE: Final[Any] = ()
"""A list takes 56 bytes, empty."""
_GATHERS: Final = hasattr(socket.socket, "sendmsg")


class Outbox:
    """Pieces that wait for the socket."""

    __slots__ = ("_pieces", "size_bytes")

    def __init__(self) -> None:
        self._pieces: list[bytes | memoryview] = _NONE
        self.size_bytes = 0
        """All that has not been sent."""

    def add(self, pieces: Sequence[bytes]) -> None:
        """Append."""
        if self._pieces:
            self._pieces.extend(pieces)
        else:
            self._pieces = list(pieces)
        self.size_bytes += len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))

    def sent_at_once(self, sock: socket.socket) -> bool:
        """Send the one small piece that is here, as nearly always; tell whether nothing is left.

        What does not work out is left to `flush`, which finds out why.
        """
        pieces = self._pieces
        if len(pieces) > 1:
            return False
        try:
            sent = sock.send(pieces[0])
        except OSError:
            return False
        if sent < self.size_bytes:
            self._cut(sent)
            return False
        self.clear()
        return True

    def flush(self, sock: socket.socket) -> None:
        """Send until all is gone or the socket takes no more.

        Raises:
            OSError: The connection is broken. (A full socket is not an error.)
        """
        try:
            while self.size_bytes:
                sent = self._send(sock)
                if sent == self.size_bytes:
                    self.clear()
                    return
                self._cut(sent)
        except (BlockingIOError, InterruptedError):
            return

    def clear(self) -> None:
        """Forget everything."""
        self._pieces = _NONE
        self.size_bytes = 0

    def _send(self, sock: socket.socket) -> int:
        pieces = self._pieces
        if len(pieces) == 1:
            return sock.send(pieces[0])
        if self.size_bytes <= JOIN_BYTES or not _GATHERS:
            joined = b"".join(pieces)
            pieces.clear()
            pieces.append(joined)
            return sock.send(joined)
        return sock.sendmsg(pieces[:VECTOR_MAX])

    def _cut(self, sent: int) -> None:
        pieces = self._pieces
        self.size_bytes -= sent
        whole = 0
        while sent >= len(pieces[whole]):
            sent -= len(pieces[whole])
            whole += 1
        del pieces[:whole]
        if sent:
            pieces[0] = memoryview(pieces[0])[sent:]
