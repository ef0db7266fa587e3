"""What a server reads: frames, of which it drops what it has no memory for.

RULES
* A payload for which there is no memory is dropped as it comes, and the stream goes on behind it. Its call is
  told with values that nobody can count: who tries raises `NoRoom`, for that call alone.
* Where not even the head of such a call is known, MemoryError it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpshared.errors import NoRoom
from mpshared.wire.own.frames import HEADER, HEADER_BYTES, Call, FrameDecoder, Type
from mpshared.wire.own.metas import three
from mpshared.wire.own.pack import unpack

if TYPE_CHECKING:
    from mpshared.wire.assembler import Record
    from mpshared.wire.own.frames import Event

__all__ = ["CallDecoder"]


class _Lost(tuple[()]):
    """The values that were dropped."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        raise NoRoom(
            "the server has no memory for what this call carries; it was not done, all else goes on. Send "
            "less at once, take away what is not needed any more, or give the server more memory"
        )


class CallDecoder(FrameDecoder):
    """See the file's beginning; arguments as `FrameDecoder`."""

    __slots__ = ("_drops",)

    def __init__(self, max_message: int, *, bounded: bool) -> None:
        super().__init__(max_message, bounded=bounded)
        self._drops = False

    def drop(self) -> bool:
        """Drop the payload that is coming; False: there is none, or it is dropped already."""
        if self._parts is None or self._drops:
            return False
        self._parts.clear()
        self._drops = True
        self.wants = 0
        return True

    def _keep(self, parts: list[bytes | bytearray], part: bytes) -> None:
        if self._drops:
            self.wants = 0
            return
        try:
            super()._keep(parts, part)
        except MemoryError:
            self.drop()

    def _joined(self, parts: list[bytes | bytearray]) -> bytes:
        drops, self._drops = self._drops, False
        try:
            return b"" if drops else super()._joined(parts)
        except MemoryError:
            return b""

    def _without_memory(self, record: Record) -> Event:
        return super()._without_memory(record) if record[3] is None else _without_values(*record)


def _without_values(buffer: bytes, start: int, end: int, _: bytes | None) -> Call:
    _, kind, _, op, lane, number, ack, head_size = HEADER.unpack_from(buffer, start)
    start += HEADER_BYTES
    if kind != Type.CALL or end - start < head_size:
        raise MemoryError
    target, args, _ = three(unpack(buffer[start : start + head_size], bounded=True), str, list, list)
    return Call(op, lane, number, ack, target, args, _Lost())
