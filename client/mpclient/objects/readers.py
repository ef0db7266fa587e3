"""What callers want of an answer, where that is no value of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpshared.wire.own.frames import Reply

__all__ = ["as_bool", "as_int", "is_zero", "nothing", "plain"]


def nothing(_reply: Reply) -> None:
    """Read an answer that only says that it was done."""


def plain(reply: Reply) -> Any:
    """Return what was answered, as it is."""
    return reply.result


def as_bool(reply: Reply) -> bool:
    """Return whether."""
    return bool(reply.result)


def as_int(reply: Reply) -> int:
    """Return a whole number."""
    return int(reply.result)


def is_zero(reply: Reply) -> bool:
    """Return whether a number is 0."""
    return bool(reply.result == 0)
