"""The mark: which job a worker process is at, where its supervisor can read it when the process is dead.

    bytes 0 to 7: the job's number, 0: none
    8 to 15: how many bytes of output were kept so far
    16 to 23: how many it has read from its descriptors 1 and 2
    24 to 31: 1 while it reads no more of them because the program is slow to print
    32 to 199: the ident of the pool that the job is from, and a zero; empty: none
    200 to 255: the session of the program that output leads to, likewise
    256 to 8447: a ring: the last bytes that jobs of that pool printed
    8448 to 8455: how many bytes of what comes now count
    8456 to 73991: what was printed for the program and is not on its way yet: stream, size, bytes; …

The number is written for every job, which costs some hundredths of a microsecond; the pool once a batch. What
jobs of pools print goes to their program; the report of a death has the last of it from here, and what had
not left yet is brought home from here.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from typing import Final

__all__ = ["Mark", "new_mark"]

_READS: Final = 2
_HELD: Final = 3
_PLACE: Final = slice(32, 200)
_PROGRAM: Final = slice(200, 256)
_RING: Final = 256
_RING_BYTES: Final = 8192
_NOTED: Final = (_RING + _RING_BYTES) // 8
_NOTES: Final = _RING + _RING_BYTES + 8
_NOTES_BYTES: Final = 1 << 16
"""About as much as is printed before it is sent at once."""
_NOTE: Final = struct.Struct("<BI")
_SIZE_BYTES: Final = _NOTES + _NOTES_BYTES


def new_mark() -> int:
    """Return the descriptor of new memory for a mark."""
    if hasattr(os, "memfd_create"):
        descriptor: int = os.memfd_create("mpworker-mark")
    else:
        import tempfile  # noqa: PLC0415 - a twentieth of the start, and Linux does without

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _SIZE_BYTES)
    return descriptor


class Mark:
    """The memory behind a descriptor, which is closed. Item numbers begin at 1; 0 is none."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, _SIZE_BYTES)
        os.close(descriptor)
        self.number = memoryview(self._memory).cast("Q")
        """Whose first cell is the number of the job that this process is at, 0 between batches; the next
        counts output, and two are of `reads` and `held`."""
        self._noting = threading.RLock()  # a signal handler may print, too

    def begin(self, pool: str | None) -> None:
        """Say that the jobs to come are those of a pool; None: of the recipe queue."""
        self.number[0] = 0
        if pool != self.pool():
            self.number[1] = 0  # what jobs of one program print is not told to another
            self._write(_PLACE, pool or "")

    def pool(self) -> str | None:
        """Return the ident of the pool whose jobs it runs or ran last; None: the recipe queue's."""
        return self._read(_PLACE) or None

    def lead(self, program: str) -> None:
        """Say which program output leads to from now on, "" for none."""
        self.forget_notes()
        self._write(_PROGRAM, program)

    def program(self) -> str:
        """Return the session id of the program that output leads to; "": none."""
        return self._read(_PROGRAM)

    @property
    def reads(self) -> int:
        """How many bytes the process has read from its descriptors 1 and 2."""
        return self.number[_READS]

    @reads.setter
    def reads(self, count: int) -> None:
        self.number[_READS] = count

    @property
    def held(self) -> bool:
        """Whether it reads no more because the program is slow to print."""
        return bool(self.number[_HELD])

    @held.setter
    def held(self, held: bool) -> None:
        self.number[_HELD] = held

    def _write(self, place: slice, text: str) -> None:
        room = place.stop - place.start
        self._memory[place] = text.encode()[: room - 1].ljust(room, b"\0")

    def _read(self, place: slice) -> str:
        return self._memory[place].split(b"\0", 1)[0].decode()

    def keep(self, data: bytes) -> None:
        """Keep output for a report, in place of the oldest. Cost: some tenths of a microsecond."""
        count = self.number[1]
        data = data[-_RING_BYTES:]
        at = count % _RING_BYTES
        head, rest = data[: _RING_BYTES - at], data[_RING_BYTES - at :]
        self._memory[_RING + at : _RING + at + len(head)] = head
        self._memory[_RING : _RING + len(rest)] = rest
        self.number[1] = count + len(data)

    def last_lines(self) -> list[str]:
        """Return what was kept, as lines; the first may have lost its beginning."""
        count = self.number[1]
        ring, at = self._memory[_RING : _RING + _RING_BYTES], count % _RING_BYTES
        kept = ring[:count] if count <= _RING_BYTES else ring[at:] + ring[:at]
        return kept.decode("utf-8", "backslashreplace").splitlines()

    def note(self, stream: int, data: bytes) -> None:
        """Note what is to be sent to the program, as far as there is room. Cost: about 1 µs."""
        with self._noting:
            end = self.number[_NOTED]
            note = _NOTE.pack(stream, len(data)) + data
            if end + len(note) <= _NOTES_BYTES:
                self._memory[_NOTES + end : _NOTES + end + len(note)] = note
                self.number[_NOTED] = end + len(note)

    def forget_notes(self) -> None:
        """Forget what was noted: it is on its way."""
        with self._noting:
            self.number[_NOTED] = 0

    def notes(self) -> list[tuple[int, bytes]]:
        """Return what was noted and not forgotten: (stream, data)."""
        noted = self._memory[_NOTES : _NOTES + self.number[_NOTED]]
        found: list[tuple[int, bytes]] = []
        while len(noted) >= _NOTE.size:
            stream, size = _NOTE.unpack_from(noted)
            found.append((stream, noted[_NOTE.size : _NOTE.size + size]))
            noted = noted[_NOTE.size + size :]
        return found

    def close(self) -> None:
        """Let go of the memory."""
        self.number.release()
        self._memory.close()
