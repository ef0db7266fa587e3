"""Orders that look at each item: `Lifo` and `Priority`. All their items lie on shelves; see `queue_order`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from mpserve.core.queue_order import Ready
from mpserve.core.queue_ranks import Rank, any_rank_of, comparable, describe, rank_of
from mpserve.core.queue_shelf import Entry
from mpshared.errors import BadType
from mpshared.values import Blob

__all__ = ["Lifo", "Priority"]


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
        ranks = [rank_of(blob) for blob in blobs]
        pairs = list(pairwise(sorted(ranks)))
        for shelf in self.shelves.values():
            pairs += [(rank, entry[0]) for rank in ranks for entry in shelf.neighbours((rank, self.next))]
        for one, other in pairs:
            if not comparable(one, other):
                types = f"a {describe(one)} and a {describe(other)}"
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
        rank = self._ranks[number] = any_rank_of(blob) if known is None else known[1]
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
