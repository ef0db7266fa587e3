"""What a program's user is told without having asked: one line on standard error.

RULES
* The line is escaped: an address, a name or an error's text may come from the server, or from other programs.
* A standard error that is closed, or missing, costs the line and nothing else.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from mpshared.text import printable

__all__ = ["remark"]


def remark(text: str) -> None:
    """Write one line to standard error, with the name of this package before it."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"mpclient: {printable(text)}\n")
        sys.stderr.flush()
