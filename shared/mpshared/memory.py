"""The memory of large values: kept by malloc for the next one.

RULES
* By itself glibc asks the system for the memory of each large value and gives it back after it. Every page
  is then cleared and mapped anew, which takes five times as long as to copy a value into it.
* What is kept is never more than the process has had at once, and `KEPT_BYTES` at the end of its heap. All of
  it can be given back (`give_back`).
* Who has set malloc's own settings keeps them. Where there is no glibc, nothing is done.
* Nothing is changed before a process has to do with a large value.

Source: mallopt(3). glibc raises the same two numbers by itself when a large block is freed, up to
`MAPPED_BYTES` and twice that.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any, Final

__all__ = ["KEPT_BYTES", "MAPPED_BYTES", "give_back", "keep_freed"]

KEPT_BYTES: Final = 128 << 20
"""More than this, free at the end of the heap, goes back to the system."""
MAPPED_BYTES: Final = 32 << 20
"""Larger blocks are asked of the system each time, whatever is set: glibc takes no more for this."""
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_SETTINGS: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")
"""Variables of the environment by which malloc is set; GLIBC_TUNABLES is the other way."""


@cache
def keep_freed() -> bool:
    """Have malloc keep what large values leave; tell whether it does.

    Cost: 2 ms the first time, then nothing.
    """
    libc = _glibc()
    if libc is None or any(name in os.environ for name in _SETTINGS):
        return False
    if "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    kept = libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES) and libc.mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    return bool(kept)


def give_back() -> None:
    """Return what is free to the system. Cost: some ms for 100 MiB."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> Any:
    """Return the C library of this process if it is glibc."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes  # noqa: PLC0415 - only where there are large values

        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - another one has no such function
    except (ImportError, OSError, AttributeError):
        return None
    return libc
