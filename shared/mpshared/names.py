"""What an object may be called."""

from __future__ import annotations

from typing import Final

__all__ = ["why_no_name"]

_MOST: Final = 200
_RESERVED: Final = "mpserve."


def why_no_name(name: str) -> str:
    """Say what is wrong with a name; nothing if an object may have it."""
    if not 0 < len(name) <= _MOST or not name.isprintable():
        return f"a name is 1 to {_MOST} printable characters, got {name!r:.80}"
    if name.startswith(_RESERVED):
        return f"the name {name!r} is reserved: names that begin with {_RESERVED!r} belong to the server"
    return ""
