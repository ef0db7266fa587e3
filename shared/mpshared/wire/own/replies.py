"""Frames as a client reads them: long `bytes` in a value are received apart from the pickle around them.

      payload:  PROTO [FRAME …] BINBYTES n │ the n bytes │ what follows them
                └ with the head, or next ──┘   one read    one read

RULES
* It saves a copy: what the socket gives is the value's own (`mpclient.values.pickling` opens such `Pieces`).
  Any other payload comes as one piece, as in every `FrameDecoder`; so does what was not read as `wants` says.
* Only of a reply that brings one plain pickle, and only the first long bytes in it.
* Pickle writes what is long outside of its frames, which hold whole opcodes only (PEP 3154).
* Where there is nothing long, to look for it costs the copy that it saves elsewhere. So who looks in vain
  rests, the longer the more often.
* For who trusts the other side, as a client does: malloc is asked for as much as is announced.
"""

from __future__ import annotations

import struct
from typing import Final

from mpshared.values import LONG_HEADER, Pieces
from mpshared.wire.assembler import LARGE_BYTES, PART_BYTES, Record
from mpshared.wire.own.frames import HEADER_BYTES, FrameDecoder

__all__ = ["ReplyDecoder", "before_long"]

_BINBYTES: Final = 0x42
_FRAME: Final = 0x95
_FRAME_BYTES: Final = 9
_PROTO_BYTES: Final = 2
_LEAST: Final = _PROTO_BYTES + LONG_HEADER.size
"""Before long bytes are so many at least."""
_ONE_META: Final = struct.Struct(">HI")
_ONE: Final = 0x91CE
"""How msgpack begins a list of one number of 32 bits."""
_REST_MOST: Final = 63


def before_long(begin: bytes | bytearray) -> int:
    """Return how many bytes of a pickle are before its first long bytes, as far as its beginning tells.

    As many as `begin` has: they follow it. More: so many have to be known. 0: there are none, or far behind.
    """
    pos, here = _PROTO_BYTES, len(begin)
    if here >= pos and not (begin[0] == 0x80 and begin[1] in {4, 5}):
        return 0
    while here > pos and begin[pos] == _FRAME:
        if here < pos + _FRAME_BYTES:
            return pos + _FRAME_BYTES
        pos += _FRAME_BYTES + int.from_bytes(begin[pos + 1 : pos + _FRAME_BYTES], "little")
    if here > pos and begin[pos] != _BINBYTES:
        return 0
    before = pos + LONG_HEADER.size
    return before if before < PART_BYTES else 0


class ReplyDecoder(FrameDecoder):
    """A `FrameDecoder` for a client; see the file's beginning."""

    __slots__ = ("_before_long", "_guess", "_long", "_rest", "_resting")

    def __init__(self, max_message: int, max_head: int) -> None:
        super().__init__(max_message, max_head)
        self._before_long = 0
        """How much of the payload under way has to be known, or is before the long bytes; 0: do not look."""
        self._long = 0
        """How many these are; 0: not known yet."""
        self._guess = _LEAST
        """How much of a payload is read with the head: what most of them need."""
        self._resting = self._rest = 0
        """In how many large frames not to look."""

    def _next_record(self) -> Record | None:
        record = super()._next_record()
        if record is None and self.wants and self._parts is None and not self._resting and self._is_large():
            self.wants += self._guess
        return record

    def _is_large(self) -> bool:
        """Tell whether what is here is a header that announces more than a head and the guess."""
        here = len(self._chunk) - self._pos
        return here >= HEADER_BYTES and self._measure(self._chunk, self._pos, here) > 2 * LARGE_BYTES

    def _begin(self, head: bytes, data: bytes, missing: int) -> None:
        self._before_long = self._long = 0
        if self._resting:
            self._resting -= 1
        elif len(head) > HEADER_BYTES and head.endswith(_ONE_META.pack(_ONE, missing)):
            self._before_long = _LEAST
        else:
            self._look_no_more()
        super()._begin(head, data, missing)

    def _gather(self, parts: list[bytes | bytearray], data: bytes) -> bytes:
        rest = super()._gather(parts, data)
        if self._long:  # what follows the long bytes, or what a signal kept from coming with them
            self.wants = self._missing
        elif self._before_long:
            self._look(parts)
        return rest

    def _look(self, parts: list[bytes | bytearray]) -> None:
        """Look whether the long bytes come next; ask for these, or for as much as has to be known."""
        begin = parts[0] if parts else b""
        here = len(begin)
        if len(parts) > 1 or here >= PART_BYTES:  # not as it was asked for
            self._before_long = 0
            return
        self._before_long = before = before_long(begin)
        if here < before:
            self.wants = before - here
            return
        long = LONG_HEADER.unpack_from(begin, here - LONG_HEADER.size)[1] if here == before else 0
        if LARGE_BYTES <= long < self._missing:
            self._long = self.wants = long
        else:
            self._look_no_more()

    def _look_no_more(self) -> None:
        self._before_long, self._guess = 0, _LEAST
        self._resting = self._rest = min(_REST_MOST, 2 * self._rest + 1)

    def _joined(self, parts: list[bytes | bytearray]) -> bytes:
        if not self._long or [*map(len, parts[:2])] != [self._before_long, self._long]:
            return super()._joined(parts)
        begin, long, *rest = parts
        self._rest, self._guess = 0, min(len(begin), _PROTO_BYTES + _FRAME_BYTES)
        return Pieces((bytes(begin), bytes(long), b"".join(rest)))  # type: ignore[return-value]  # as good as bytes
