"""Orders that look at each item: `Lifo` and `Priority`. All their items lie on shelves; see `queue_order`.

RULES
* A priority queue orders items by ranks, which stand for values: ``("number", 3)``, ``("str", "a")``,
  ``("tuple", (rank, rank))``. Two ranks can always be compared, where values may refuse to: what comes back
  finds a place, whatever was put meanwhile.
* `_comparable` says whether Python would have compared the values; what it would not is refused when put.
* An object of a user's class is `UNORDERED`: it may stand in a tuple, behind what decides; nobody looks in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Final, TypeAlias

from mpserve.core.queue_order import Ready
from mpserve.core.queue_shelf import Entry
from mpshared import symbolic
from mpshared.errors import BadType, BadValue, MpserveError, NotSupported
from mpshared.values import Blob

__all__ = ["Lifo", "Priority"]

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


class Lifo(Ready):
    """Last in, first out."""

    __slots__ = ()

    def rank(self, number: int, blob: Blob) -> int:
        """Order by number, highest first."""
        _ = blob
        return -number

    def rank_of(self, number: int) -> int:
        """Order by number, highest first."""
        return -number


class Priority(Ready):
    """Lowest value first, equal ones by number. Values are compared as data, never by users' code."""

    __slots__ = ("_known", "_ranks")

    compares: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._ranks: dict[int, Rank] = {}
        """Rank of each item on a shelf, by number."""
        self._known: dict[int, tuple[Blob, Rank]] = {}
        """What `check` found and `push` is about to ask for."""

    def check(self, blobs: Sequence[Blob]) -> None:
        """Raise unless `blobs` can be ordered among themselves and with what is queued.

        Raises:
            NotSupported: A value's order is defined by users' code.
            BadType: A value that cannot be compared with its neighbours to be, as in ``"a" < 1``.
            BadValue: A pickle that cannot be read.
        """
        ranks = [_rank_of(blob) for blob in blobs]
        pairs = list(pairwise(sorted(ranks)))
        for shelf in self.shelves.values():
            pairs += [(rank, entry[0]) for rank in ranks for entry in shelf.neighbours((rank, self.next))]
        for one, other in pairs:
            if not _comparable(one, other):
                types = f"a {_describe(one)} and a {_describe(other)}"
                advice = "let the first part of a tuple decide: (number, count, object)"
                raise BadType(f"a priority queue cannot order {types}: {advice}")
        self._known = {id(blob): (blob, rank) for blob, rank in zip(blobs, ranks, strict=True)}

    def push(self, blobs: Sequence[Blob], odd: Sequence[Blob] = ()) -> None:
        """Add new items at their places. Cost: O(log n) each."""
        super().push(blobs, odd)
        self._known = {}

    def rank(self, number: int, blob: Blob) -> Rank:
        """Order by value."""
        known = self._known.get(id(blob))
        rank = self._ranks[number] = _any_rank_of(blob) if known is None else known[1]
        return rank

    def rank_of(self, number: int) -> Rank:
        """Return the rank found when the item was shelved."""
        return self._ranks[number]

    def has(self, number: int) -> bool:
        """Tell whether an item is here."""
        return number in self._ranks

    def drain(self) -> list[Blob]:
        """Remove all items and return their values."""
        self._ranks.clear()
        return super().drain()

    def _unshelve(self, number: int) -> Entry:
        entry = super()._unshelve(number)
        del self._ranks[number]
        return entry


# -- ranks ----------------------------------------------------------------------------------------


def _rank_of(blob: Blob) -> Rank:
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


def _any_rank_of(blob: Blob) -> Rank:
    """Return a rank also for what `_rank_of` refuses: it is on the queue already, and goes first."""
    try:
        return _rank_of(blob)
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


def _comparable(one: Rank, other: Rank) -> bool:
    """Tell whether Python would compare the two values: where they first differ, the types must agree."""
    if one[0] != other[0] or one[0] == UNORDERED:
        return False
    if type(one[1]) is tuple:
        for a, b in zip(one[1], other[1], strict=False):
            if not _comparable(a, b):
                return False
            if a != b:
                return True
    return True


def _describe(rank: Rank) -> str:
    """Return a rank's type, for messages."""
    name, value = rank
    return f"{name} of {', '.join(map(_describe, value[:5]))}" if type(value) is tuple and value else name
