"""How many files the server may have open: as many as its user may have.

RULES
* Each connection takes one. What is neither connection nor listening socket (the journal's files, threads'
  pipes, modules that are loaded late) has `RESERVED` of them, but no more than half: connections never take
  those.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

__all__ = ["RESERVED", "raise_limit"]

RESERVED: Final = 64
"""Precedent: Redis keeps 32 (CONFIG_MIN_RESERVED_FDS)."""
_MOST: Final = 1 << 20
"""Linux gives no process more unless it is told to (fs.nr_open)."""


def raise_limit() -> int:
    """Have as many as this user may; return how many connections that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # macOS says infinity and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST if soft == resource.RLIM_INFINITY else soft
    return files - min(RESERVED, files // 2)
