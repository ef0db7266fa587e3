"""Chunks in, whole records out.

RULES
* A record's own first bytes tell its size; `_measure` reads them, and refuses a size over the limit *there*.
* A small record is cut out of the chunk it came in. A record of more than `LARGE_BYTES` that is not there
  yet gets a room, into which its bytes are copied (or received) however many chunks they come in.
* A room that is full and too small gives way to one of up to `STEP` times its size: a header may announce
  what never comes, and costs `STEP` times what has come at most.
* Rooms are used again, by any connection: new memory costs more than receiving into it. So a decoder copies
  what it returns of a record, and leaves the room.
* Bytes after a record stay unread until they are asked for.

      receive_data ─┬─> chunk ──> record within the chunk          (small)
                    └─> room  ──> record that fills the room       (large)
      get_buffer ───┘   received straight into the room, else into the scratch: then it is a chunk

The scratch is only in use between `get_buffer` and `buffer_updated`, so all connections of one event loop
may share one: ten thousand idle peers then cost no buffers at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import insort
from contextlib import suppress
from typing import Final, TypeAlias

from mpshared.memory import keep_freed

__all__ = ["LARGE_BYTES", "SCRATCH_BYTES", "Assembler", "Record"]

LARGE_BYTES: Final = 1 << 16
"""Below this, joining chunks costs less than a room of its own. 64 KiB is what one recv of a stream usually
gives."""
SCRATCH_BYTES: Final = 1 << 18

STEP: Final = 4
"""So a third of a large record is copied once more."""
FIRST_BYTES: Final = STEP * LARGE_BYTES
SPARE_MOST: Final = 4
SPARE_BYTES: Final = 4 << 20
"""So many rooms of up to so many bytes are kept in a process while nobody needs them."""

Record: TypeAlias = tuple["bytes | memoryview", int, int]
"""A buffer, and where in it the record begins and ends."""


_spare: Final[list[bytearray]] = []
"""By size, the largest last: of what many threads do here each step is whole by itself."""


class Assembler(ABC):
    """Base of the decoders: keeps what has arrived and finds where a record ends."""

    __slots__ = ("_chunk", "_filled", "_into_room", "_need", "_pos", "_room", "_scratch")

    def __init__(self, scratch: bytearray | None = None) -> None:
        self._chunk = b""
        self._pos = 0
        self._room: memoryview | None = None
        self._filled = 0
        self._need = 0
        self._scratch = scratch
        self._into_room = False

    @abstractmethod
    def _measure(self, chunk: bytes, pos: int, available: int) -> int:
        """Return how many bytes the record at `pos` has, header included; or how many its header needs.

        Raises:
            ProtocolError: The header asks for more than this side accepts.
        """

    def receive_data(self, data: bytes) -> None:
        """Take bytes in the order in which they came, in pieces of any size.

        Ask for all events before the next call: bytes that nobody reads are joined again each time.
        """
        if self._room is not None:
            data = self._fill_room(data)
        self._chunk = self._chunk[self._pos :] + data if self._pos < len(self._chunk) else data
        self._pos = 0

    def get_buffer(self) -> memoryview:
        """Return where the next bytes may be received into; valid until `buffer_updated`. Never empty."""
        space = self._space()
        self._into_room = space is not None
        if space is not None:
            return space
        if self._scratch is None:
            self._scratch = bytearray(SCRATCH_BYTES)
        return memoryview(self._scratch)

    def buffer_updated(self, size_bytes: int) -> None:
        """Say how many bytes were received into the last `get_buffer`."""
        if self._into_room:
            self._filled += size_bytes
        elif self._scratch is not None:
            with memoryview(self._scratch) as scratch:
                self.receive_data(bytes(scratch[:size_bytes]))

    @property
    def idle(self) -> bool:
        """Tell that everything that came was read: no record is only partly here."""
        return self._room is None and self._pos >= len(self._chunk)

    @property
    def room(self) -> memoryview | None:
        """Where the rest of a large record may be received into (say so with `fill`), or None."""
        return self._space()

    def fill(self, size_bytes: int) -> None:
        """Say how many bytes were received into `room`."""
        self._filled += size_bytes

    def unread(self) -> bytes:
        """Return the bytes that belong to no record yet; the next reader of the stream begins with them."""
        room = b"" if self._room is None else bytes(self._room[: self._filled])
        return room + self._chunk[self._pos :]

    def _next_record(self) -> Record | None:
        """Return the next whole record and go on behind it, or None when more bytes are needed."""
        if self._room is not None:
            return self._take_room()
        chunk, pos = self._chunk, self._pos
        available = len(chunk) - pos
        need = self._measure(chunk, pos, available)
        if need <= available:
            self._pos = end = pos + need
            return chunk, pos, end
        if need > LARGE_BYTES:
            self._open_room(need)
        elif not available:
            self._chunk = b""  # an idle peer keeps no chunk alive
            self._pos = 0
        return None

    def _open_room(self, need: int) -> None:
        rest = self._chunk[self._pos :]
        self._need = need
        self._room = _new_room(need, STEP * len(rest))
        self._room[: len(rest)] = rest
        self._filled = len(rest)
        self._chunk = b""
        self._pos = 0

    def _space(self) -> memoryview | None:
        """Return where the next bytes of a large record go; None: there is none, or it is whole."""
        room = self._room
        if room is None or self._filled == self._need:
            return None
        if self._filled == len(room):
            self._room = larger = _made(min(self._need, STEP * len(room)))
            larger[: self._filled] = room
            self._leave_room(room)
            room = larger
        return room[self._filled :]

    def _fill_room(self, data: bytes) -> bytes:
        """Copy what belongs to the large record into its place; return the rest."""
        while data and (space := self._space()) is not None:
            took = min(len(space), len(data))
            space[:took] = data if took == len(data) else data[:took]
            self._filled += took
            data = data[took:]
        return data

    def _take_room(self) -> Record | None:
        room = self._room
        if room is None or self._filled < self._need:
            return None
        self._room = None
        return room, 0, self._need

    @staticmethod
    def _leave_room(room: memoryview) -> None:
        """Let others use the room of a record of which nothing is needed any more."""
        spare = room.obj
        room.release()
        if type(spare) is bytearray and len(spare) <= SPARE_BYTES:
            insort(_spare, spare, key=len)
            if len(_spare) > SPARE_MOST:
                del _spare[0]


def _new_room(need: int, least: int) -> memoryview:
    """Return a room of `need` bytes if that is no more than `least` or `FIRST_BYTES`; else a smaller one,
    unless a spare one is larger.
    """
    size = min(need, max(least, FIRST_BYTES))
    with suppress(IndexError):
        spare = _spare.pop()
        if len(spare) >= size:
            return memoryview(spare)[:need]
    return _made(size)


def _made(size: int) -> memoryview:
    """Return a new room of `size` bytes, cut from one that takes records of about this size as well."""
    keep_freed()
    return memoryview(bytearray(-(-size // FIRST_BYTES) * FIRST_BYTES))[:size]
