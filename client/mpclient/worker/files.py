"""How many files may be open: more in the supervisor and the nursery than in the processes that they start.

RULES
* These two have several open for each process that they look after, of which there may be hundreds.
* What jobs find is what the command was started with: code that uses `select` counts on a low limit.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

__all__ = ["raise_limit", "restore_limit"]

_MOST: Final = 1 << 16


def raise_limit() -> int:
    """Have as many as this user may; return how many there were before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # macOS says infinity and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return soft


def restore_limit(before: int) -> None:
    """Have as many as there were before `raise_limit`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
