"""Where both commands begin: little is loaded here, so that an interrupt meets its `except` at any moment."""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["enter"]


def enter(program: str, command: Callable[[], int]) -> None:
    """Run a command line and exit."""
    try:
        from mpshared.command import guard

        code = guard(program, command)
    except KeyboardInterrupt:  # before the guard stands, or behind it
        code = 1
    sys.exit(code)
