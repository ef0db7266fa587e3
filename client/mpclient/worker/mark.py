"""The mark: which job a worker process is at, where its supervisor can read it when the process is dead.

    bytes 0 to 7: the job's number, 0: none | the ident of the pool that it is from, and a zero; empty: none

The number costs a tenth of a microsecond to write, so it is written for every job; the rest once a batch.
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

    def set(self, number: int) -> None:
        """Say that this process is at job `number`."""
        self._memory[:_NUMBER_BYTES] = number.to_bytes(_NUMBER_BYTES, "little")

    def begin(self, pool: str | None) -> None:
        """Say that the jobs to come are those of a pool; None: of the recipe queue."""
        self.set(0)
        place = (pool or "").encode()[: _SIZE_BYTES - _NUMBER_BYTES - 1]
        self._memory[_NUMBER_BYTES:] = place.ljust(_SIZE_BYTES - _NUMBER_BYTES, b"\0")

    def get(self) -> int:
        """Return the number of the job that it is at, 0 between batches."""
        return int.from_bytes(self._memory[:_NUMBER_BYTES], "little")

    def pool(self) -> str | None:
        """Return the ident of the pool whose jobs it runs or ran last; None: the recipe queue's."""
        return self._memory[_NUMBER_BYTES:].split(b"\0", 1)[0].decode() or None

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
