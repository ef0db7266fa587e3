"""What Linux does for a process that asks by `prctl`; other systems do nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

__all__ = ["ADOPT_ORPHANS", "DIE_WITH_PARENT", "NAME", "ask", "find_prctl"]

DIE_WITH_PARENT: Final = 1
"""`PR_SET_PDEATHSIG`, with a signal."""
NAME: Final = 15
"""`PR_SET_NAME`, with bytes."""
ADOPT_ORPHANS: Final = 36
"""`PR_SET_CHILD_SUBREAPER`, with 1."""


@cache
def find_prctl() -> Callable[..., int] | None:
    """Return the function, None if there is none. Who forks calls this before: what it loads takes time."""
    try:
        import ctypes  # noqa: PLC0415 - not everywhere

        return ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None


def ask(option: int, value: object) -> bool:
    """Ask for one of the above; return whether it is done."""
    prctl = find_prctl()
    return prctl is not None and prctl(option, value, 0, 0, 0) == 0
