"""What is in the body of an OUTPUT; the table of all bodies stands in `frames.py`."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["is_output"]

_STREAMS: Final = frozenset({1, 2})


def is_output(body: Any) -> bool:
    """Tell whether it is the body of an OUTPUT."""
    if len(body) != 2 or type(body[1]) is not list:
        return False
    return (type(body[0]) is str or (type(body[0]) is int and body[0] >= 0)) and all(map(_is_entry, body[1]))


def _is_entry(entry: Any) -> bool:
    return type(entry) is list and [*map(type, entry)] == [int, bytes] and entry[0] in _STREAMS
