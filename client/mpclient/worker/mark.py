"""The mark: which job a worker process is at, where its supervisor can read it when the process is dead.

    bytes 0 to 7: the job's number, 0: none | the ident of the pool that it is from, and a zero; empty: none

The number is written for every job, which costs some hundredths of a microsecond; the rest once a batch.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

__all__ = ["Mark", "new_mark"]

_NUMBER_BYTES: Final = 8
_SIZE_BYTES: Final = 256


def new_mark() -> int:
    """Return the descriptor of new memory for a mark."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("mpworker-mark")
    else:
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
        """Whose first cell is the number of the job that this process is at; 0 between batches."""

    def begin(self, pool: str | None) -> None:
        """Say that the jobs to come are those of a pool; None: of the recipe queue."""
        self.number[0] = 0
        place = (pool or "").encode()[: _SIZE_BYTES - _NUMBER_BYTES - 1]
        self._memory[_NUMBER_BYTES:] = place.ljust(_SIZE_BYTES - _NUMBER_BYTES, b"\0")

    def pool(self) -> str | None:
        """Return the ident of the pool whose jobs it runs or ran last; None: the recipe queue's."""
        return self._memory[_NUMBER_BYTES:].split(b"\0", 1)[0].decode() or None

    def close(self) -> None:
        """Let go of the memory."""
        self.number.release()
        self._memory.close()
