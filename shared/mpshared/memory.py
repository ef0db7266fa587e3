"""The memory of large values: kept by malloc for the next one.

RULES
* By itself glibc asks the system for the memory of each large value and gives it back after it. Every page
  is then cleared and mapped anew, which takes five times as long as to copy a value into it.
* What is kept is never more than the process has had at once, and `KEPT_BYTES` at the end of its heap. All of
  it can be given back (`give_back`).
* Who has set malloc's own settings keeps them. Where there is no glibc, nothing is done.
* Nothing is changed before a process has to do with a large value.
* Then the heap grows by `KEPT_BYTES` at once, and the system is asked to make that of large pages: what no
  cache holds is reached in less time there. Linux does so where it leaves that to programs, as it does by
  default. What nobody has used yet takes no memory; but where even a promise of memory is limited, this is
  left out.

Source: mallopt(3), madvise(2), the kernel's `admin-guide/mm/transhuge`. glibc raises the first two numbers by
itself when a large block is freed, up to `MAPPED_BYTES` and twice that.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

__all__ = ["KEPT_BYTES", "MAPPED_BYTES", "give_back", "keep_freed"]

KEPT_BYTES: Final = 128 << 20
"""More than this, free at the end of the heap, goes back to the system."""
MAPPED_BYTES: Final = 32 << 20
"""Larger blocks are asked of the system each time, whatever is set: glibc takes no more for this."""
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_GROWS_BYTES: Final = 16 << 20
"""So much is hardly ever free at the end of a heap, and less than `MAPPED_BYTES`."""
_OVERCOMMIT: Final = Path("/proc/sys/vm/overcommit_memory")
_STRICT: Final = "2"
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
    if kept and _may_reserve() and libc.mallopt(_M_TOP_PAD, KEPT_BYTES):
        _ask_for_large_pages(libc)
    return bool(kept)


def _may_reserve() -> bool:
    """Tell whether memory that is not used costs nothing here."""
    if sys.platform != "linux":
        return False
    import resource  # noqa: PLC0415 - only where there are large values

    limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    if any(resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit in limits):
        return False
    try:
        return _OVERCOMMIT.read_text().strip() != _STRICT
    except OSError:
        return False


def _ask_for_large_pages(libc: Any) -> None:
    """Grow the heap, and ask for large pages in what is new. In a thread with a heap of its own: nothing."""
    import mmap  # noqa: PLC0415 - only where there are large values
    from ctypes import c_size_t, c_void_p  # noqa: PLC0415

    libc.malloc.restype = libc.sbrk.restype = c_void_p
    begin = -(-libc.sbrk(0) // mmap.PAGESIZE) * mmap.PAGESIZE
    libc.free(c_void_p(libc.malloc(c_size_t(_GROWS_BYTES))))
    size = libc.sbrk(0) - begin
    if sys.platform == "linux" and size > 0:
        libc.madvise(c_void_p(begin), c_size_t(size), mmap.MADV_HUGEPAGE)


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
