"""The length frames of `multiprocessing.connection`.

RULES
* A negative length other than -1 is refused. (The standard library reads it as an empty message.)
* The length is compared with `max_bytes` before a byte of the payload is waited for. (The standard library
  has no limit after authentication.)

      length <= 0x7fffffff      !i length            payload
      longer (Python >= 3.8)    !i -1    !Q length   payload

Source: CPython `Lib/multiprocessing/connection.py`, `Connection._send_bytes` and `_recv_bytes`, the same
from 3.8 to 3.15.
"""

from __future__ import annotations

import struct
from typing import Final

from mpshared.wire.assembler import Assembler
from mpshared.wire.errors import ProtocolError

__all__ = ["HEADER_BYTES", "FrameReader", "encode_frame", "frame_header", "join_frame"]

_SHORT: Final = struct.Struct("!i")
_LONG: Final = struct.Struct("!iQ")
HEADER_BYTES: Final = _SHORT.size
"""Of a frame up to 2 GiB."""
_SHORT_MAX: Final = 0x7FFFFFFF
_JOINED_MAX_BYTES: Final = 16384
"""Up to this, header and payload leave in one write, as in the standard library: two small writes wait for
each other's acknowledgement (Nagle). Above, a copy would cost more."""


def join_frame(payload: bytes) -> bytes:
    """Return one frame as one piece; for small payloads."""
    return b"".join(encode_frame(payload))


def frame_header(size: int) -> bytes:
    """Return what stands before a payload of `size` bytes."""
    return _SHORT.pack(size) if size <= _SHORT_MAX else _LONG.pack(-1, size)


def encode_frame(payload: bytes) -> list[bytes]:
    """Return one frame: a single piece up to 16 KiB of payload, else header and payload, uncopied."""
    size = len(payload)
    header = frame_header(size)
    return [header + payload] if size <= _JOINED_MAX_BYTES else [header, payload]


class FrameReader(Assembler):
    """Cut a stream into the payloads of its frames."""

    __slots__ = ("max_bytes",)

    LEAST_BYTES = HEADER_BYTES

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self.max_bytes = max_bytes

    def is_one(self, data: bytes) -> bool:
        """Tell that `data` is exactly one small frame and nothing else waits; its payload is all behind the
        header.

        For whoever wants to save the long way with what nearly every read brings.
        """
        size = len(data) - HEADER_BYTES
        return (
            0 < size <= _JOINED_MAX_BYTES
            and _SHORT.unpack_from(data)[0] == size
            and not self._chunk
            and self._parts is None
            and size <= self.max_bytes
        )

    def next_frame(self) -> bytes | None:
        """Return the next payload, or None when more bytes are needed.

        Raises:
            ProtocolError: The length is negative or over the limit; so it will be at every later call.
        """
        record = self._next_record()
        if record is None:
            return None
        chunk, start, end, payload = record
        return chunk[start + self._before(chunk, start) : end] if payload is None else payload

    def _before(self, chunk: bytes, pos: int) -> int:
        return _SHORT.size if chunk[pos] < 0x80 else _LONG.size

    def _measure(self, chunk: bytes, pos: int, available: int) -> int:
        if available < _SHORT.size:
            return _SHORT.size
        size: int = _SHORT.unpack_from(chunk, pos)[0]
        if size >= 0:
            return _SHORT.size + self._checked(size)
        if size != -1:
            msg = f"{size} is no length; the peer speaks another protocol, the connection is closed"
            raise ProtocolError("frame length", msg)
        if available < _LONG.size:
            return _LONG.size
        return _LONG.size + self._checked(_LONG.unpack_from(chunk, pos)[1])

    def _checked(self, size: int) -> int:
        if size > self.max_bytes:
            msg = f"{size} bytes announced, {self.max_bytes} accepted; send less or raise the limit"
            raise ProtocolError("frame length", msg)
        return size
