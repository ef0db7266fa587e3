"""What worker processes print: bytes to lines, and the last lines of each process for its death report."""

from __future__ import annotations

from collections import deque
from typing import Final

from mpshared.reports import MAX_LINES

__all__ = ["LINE_BYTES", "Lines"]

LINE_BYTES: Final = 8192
"""Longer lines are broken up: something that prints without line ends must not fill the memory."""


class Lines:
    """Cuts one stream into lines. The streams of a process share `last`."""

    def __init__(self, last: deque[str] | None = None) -> None:
        self.last: deque[str] = deque(maxlen=MAX_LINES) if last is None else last
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Take bytes as they come and return the lines that are whole, without their ends."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        pieces = [piece for line in whole for piece in _broken(line.removesuffix(b"\r"))]
        if len(self._rest) > LINE_BYTES:
            *full, self._rest = _broken(self._rest)
            pieces += full
        return self._keep(pieces)

    def finish(self) -> list[str]:
        """Return the last line if it has no end."""
        rest, self._rest = self._rest, b""
        return self._keep([rest]) if rest else []

    def _keep(self, pieces: list[bytes]) -> list[str]:
        lines = [piece.decode("utf-8", "backslashreplace") for piece in pieces]
        self.last.extend(lines)
        return lines


def _broken(line: bytes) -> list[bytes]:
    return [line[at : at + LINE_BYTES] for at in range(0, len(line), LINE_BYTES)] or [b""]
