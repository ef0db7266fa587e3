"""Chunks in, whole records out.

RULES
* A record's own first bytes tell its size; `_measure` reads them, and refuses a size over the limit *there*.
* A small record is cut out of the chunk it came in. Of a record of more than `LARGE_BYTES` that is not there
  yet the payload is gathered: its parts are kept as they come, and joined when the last one is here. So a
  header that announces what never comes costs nothing.
* A payload that comes in one part is never copied. `wants` says how much to read so that it does: behind a
  large record no more than the next one's head.
* Bytes after a record stay unread until they are asked for.

      receive_data ─┬─> chunk ──> record within the chunk           (small)
                    └─> parts ──> record's head, and its payload    (large)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final, TypeAlias

from mpshared.memory import keep_freed

__all__ = ["LARGE_BYTES", "Assembler", "Record"]

LARGE_BYTES: Final = 1 << 16
"""Below this, joining chunks costs less than to gather them. 64 KiB is what one recv of a stream usually
gives."""
PART_BYTES: Final = 1 << 14
"""Parts smaller than this are put together: to keep each would take more than is in it."""
WANTS_MOST_BYTES: Final = 4 << 20
"""Room for as much is asked of malloc at once, whatever comes then."""

Record: TypeAlias = tuple[bytes, int, int, "bytes | None"]
"""A buffer, where in it the record begins and ends, and its payload, if that is elsewhere."""


class Assembler(ABC):
    """Base of the decoders: keeps what has arrived and finds where a record ends."""

    __slots__ = ("_chunk", "_head", "_missing", "_parts", "_pos", "wants")

    LEAST_BYTES: ClassVar[int]
    """What `_measure` needs at least."""

    def __init__(self) -> None:
        self._chunk = b""
        """What is not read yet begins in it at `_pos`; empty if there is nothing."""
        self._pos = 0
        self._parts: list[bytes | bytearray] | None = None
        """Of the payload of a large record."""
        self._head = b""
        """What comes before it."""
        self._missing = 0
        self.wants = 0
        """How many bytes to read next, at most, for the sake of speed; 0: as they come."""

    @abstractmethod
    def _measure(self, chunk: bytes, pos: int, available: int) -> int:
        """Return how many bytes the record at `pos` has, header included; or how many its header needs.

        Raises:
            ProtocolError: The header asks for more than this side accepts.
        """

    @abstractmethod
    def _before(self, chunk: bytes, pos: int) -> int:
        """Return how many bytes of the measured record at `pos` come before its payload: few."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes in the order in which they came, in pieces of any size.

        Ask for all events before the next call: bytes that nobody reads are joined again each time.
        """
        if self._parts is not None:
            data = self._gather(self._parts, data)
        self._chunk = self._chunk[self._pos :] + data if self._chunk else data
        self._pos = 0

    @property
    def idle(self) -> bool:
        """Tell that everything that came was read: no record is only partly here."""
        return self._parts is None and not self._chunk

    def unread(self) -> bytes:
        """Return the bytes that belong to no record yet; the next reader of the stream begins with them."""
        return b"".join((self._head, *(self._parts or ()), self._chunk[self._pos :]))

    def _next_record(self) -> Record | None:
        """Return the next whole record and go on behind it, or None when more bytes are needed."""
        if self._parts is not None:
            return self._take_parts(self._parts)
        chunk, pos = self._chunk, self._pos
        available = len(chunk) - pos
        need = self._measure(chunk, pos, available)
        if need <= available:
            self.wants = 0
            self._pos = pos + need
            if need == available:
                self._chunk = b""
                self._pos = 0
            return chunk, pos, pos + need, None
        if need > LARGE_BYTES:
            before = self._before(chunk, pos)
            if before <= available:
                self._begin(chunk[pos : pos + before], chunk[pos + before :], need - before)
                return None
            need = before
        if self.wants:
            self.wants = need - available
        return None

    def _begin(self, head: bytes, data: bytes, missing: int) -> None:
        """Begin to gather a large record."""
        keep_freed()
        self._head, self._parts, self._missing = head, [], missing
        self._chunk = b""
        self._pos = 0
        self._gather(self._parts, data)

    def _gather(self, parts: list[bytes | bytearray], data: bytes) -> bytes:
        """Keep what belongs to the large record; return the rest."""
        part = data if len(data) <= self._missing else data[: self._missing]
        self._missing -= len(part)
        self.wants = min(self._missing, WANTS_MOST_BYTES)
        self._keep(parts, part)
        return data[len(part) :]

    def _keep(self, parts: list[bytes | bytearray], part: bytes) -> None:
        """Keep a part of a large record."""
        if len(part) >= PART_BYTES or not self._missing:
            parts.append(part)
        elif part:
            last = parts[-1] if parts else b""
            if type(last) is bytearray:
                last += part
            else:
                parts.append(bytearray(part))

    def _take_parts(self, parts: list[bytes | bytearray]) -> Record | None:
        if self._missing:
            return None
        head, self._head, self._parts = self._head, b"", None
        self.wants = self.LEAST_BYTES  # often the next one is as large
        return head, 0, len(head), self._joined(parts)

    def _joined(self, parts: list[bytes | bytearray]) -> bytes:
        """Return the payload of a large record."""
        return parts[0] if len(parts) == 1 and type(parts[0]) is bytes else b"".join(parts)
