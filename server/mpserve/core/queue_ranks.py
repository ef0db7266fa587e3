"""Priorities as data: what a priority queue orders its items by.

RULES
* A rank stands for a value: ``("number", 3)``, ``("str", "a")``, ``("tuple", (rank, rank))``. Two ranks can
  always be compared, where values may refuse to: what comes back finds a place, whatever was put meanwhile.
* `comparable` says whether Python would have compared the values; what it would not is refused when put.
* An object of a user's class is `UNORDERED`: it may stand in a tuple, behind what decides; nobody looks in.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from mpshared import symbolic
from mpshared.errors import BadType, BadValue, MpserveError, NotSupported
from mpshared.values import Blob

__all__ = ["Rank", "any_rank_of", "comparable", "describe", "rank_of"]

Rank: TypeAlias = tuple[str, Any]

MAX_PARTS: Final = 100
"""Values looked at in one priority, however it is nested; honest ones are a number, or a few in a tuple."""
UNORDERED: Final = "object"
_NAMES: Final[dict[type, str]] = {
    int: "number",
    float: "number",
    bool: "number",
    str: "str",
    bytes: "bytes",
    tuple: "tuple",
    list: "list",
    type(None): "None",
}


def rank_of(blob: Blob) -> Rank:
    """Return the rank of a stored value.

    Raises:
        NotSupported: Only users' code could order it.
        BadType: It has no order in Python either, such as a dict.
        BadValue: Its pickle cannot be read.
    """
    data, buffers = (blob, ()) if isinstance(blob, bytes) else (blob.data, blob.buffers)
    try:
        value = symbolic.load(data, buffers=buffers)
    except ValueError as err:
        raise BadValue(f"a priority queue cannot read a value: {err}") from None
    rank = _rank(value, [MAX_PARTS])
    if rank[0] != UNORDERED:
        return rank
    if isinstance(value, symbolic.Foreign):
        why = "its order is users' code, which the server does not run; put (number, object) instead"
        raise NotSupported(f"a priority queue cannot order {_told(value)}: {why}")
    raise BadType(f"a {type(value).__name__} has no order; put (number, object) instead")


def _told(value: symbolic.Foreign) -> str:
    name = value.name if isinstance(value, symbolic.Stub) else ""
    if not name or name.startswith("cloudpickle."):  # the class came by value: its name is deep inside
        return "objects of a program's own class"
    return f"objects of {name[:80]}"


def any_rank_of(blob: Blob) -> Rank:
    """Return a rank also for what `rank_of` refuses: it is on the queue already, and goes first."""
    try:
        return rank_of(blob)
    except MpserveError:
        return "", 0


def _rank(value: Any, budget: list[int]) -> Rank:
    budget[0] -= 1
    name = _NAMES.get(type(value), UNORDERED)
    if budget[0] < 0 or name == UNORDERED or value != value:  # noqa: PLR0124 - not a number
        return UNORDERED, 0
    if name in {"tuple", "list"}:
        return name, tuple([_rank(part, budget) for part in value[: max(0, budget[0]) + 1]])
    return name, (0 if value is None else value)


def comparable(one: Rank, other: Rank) -> bool:
    """Tell whether Python would compare the two values: where they first differ, the types must agree."""
    if one[0] != other[0] or one[0] == UNORDERED:
        return False
    if type(one[1]) is tuple:
        for a, b in zip(one[1], other[1], strict=False):
            if not comparable(a, b):
                return False
            if a != b:
                return True
    return True


def describe(rank: Rank) -> str:
    """Return a rank's type, for messages."""
    name, value = rank
    return f"{name} of {', '.join(map(describe, value[:5]))}" if type(value) is tuple and value else name
