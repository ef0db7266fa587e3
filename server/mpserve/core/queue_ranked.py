"""A fifo in which some items have a place of their own: a priority, or a number that came due late.

RULES
* An item that stands apart goes alone, never in a batch: whoever has it can be told about it alone.
* Order: those with a negative rank, then all others by number, then those with a positive one. A rank is a
  priority with its sign turned.
* What comes back and is newer than what went out last (its number says so) cannot go to a fifo's shelf,
  whose items are older than those of the line; it stands apart with rank 0, which is its old place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Final

from mpserve.core.machine import Change
from mpserve.core.queue_order import Fifo, Python, Ready, Run
from mpserve.core.queue_ranges import Range
from mpserve.core.queue_shelf import Entry, Shelf
from mpserve.core.queue_sorted import Lifo, Priority
from mpshared.values import Blob, needs_python

__all__ = ["ORDERS", "Ranked"]


class Ranked(Fifo):
    """See the file's beginning."""

    __slots__ = ("apart", "ranks")

    def __init__(self) -> None:
        super().__init__()
        self.ranks: dict[int, int] = {}
        """Rank of each item on terms, READY or not, by number."""
        self.apart: dict[Python | None, Shelf] = {}
        """Only shelves that hold something."""

    def __iter__(self) -> Iterator[tuple[int, int, Blob]]:
        """Yield (number, deaths, value) of all, in no particular order."""
        yield from super().__iter__()
        for _, number, deaths, blob in self._all_apart():
            yield number, deaths, blob

    def _all_apart(self) -> Iterator[Entry]:
        return chain.from_iterable(self.apart.values())

    def single_out(self, number: int, rank: int) -> None:
        """Have an item stand apart whenever it is here."""
        self.ranks[number] = rank

    def let_go(self, number: int) -> None:
        """Forget the rank of an item that is not here."""
        self.ranks.pop(number, None)

    def has(self, number: int) -> bool:
        """Tell whether an item is here."""
        rank = self.ranks.get(number, 0)
        return any(shelf.has(rank, number) for shelf in self.apart.values()) or super().has(number)

    # -- moves -----------------------------------------------------------------------------------

    def choose(
        self, n: int, barred: Collection[Python] = (), suspects: Collection[int] | None = None
    ) -> list[Range]:
        """Say which up to `n` items are next; see `Ready.choose`."""
        if not self.apart:
            return Fifo.choose(self, n, barred, suspects)  # `super()` costs as much again
        allowed = [shelf for python, shelf in self.apart.items() if python not in barred]
        first = min((next(iter(shelf))[:2] for shelf in allowed), default=None)
        others = super().choose(n, barred, suspects)
        if first is not None and n > 0 and (not others or first < (0, others[0][0])):
            return [(first[1], first[1])]
        if first is not None and not first[0]:
            return [(lo, min(hi, first[1] - 1)) for lo, hi in others if lo < first[1]]
        return others

    def restore(self, runs: Iterable[Run], *, apart: bool = False) -> None:
        """Put items back to their old places."""
        others = []
        for first, deaths, blobs in runs:
            if len(blobs) == 1 and (first in self.ranks or self._is_ahead(first, blobs[0])):
                self.set_apart(first, deaths, blobs[0])
            else:
                others.append((first, deaths, blobs))
        if others:
            super().restore(others, apart=apart)

    def _is_ahead(self, number: int, blob: Blob) -> bool:
        line = self.lines.get(needs_python(blob))
        return line is None or number >= line.head

    def set_apart(self, number: int, deaths: int, blob: Blob) -> None:
        """Put an item back, apart from all others."""
        self._count_back([blob])
        python = needs_python(blob)
        if python not in self.apart:
            self.apart[python] = Shelf()
        self.apart[python].add((self.ranks.get(number, 0), number, deaths, blob))

    def _unshelve(self, number: int) -> Entry:
        rank = self.ranks.get(number, 0)
        for python, shelf in self.apart.items():
            entry = shelf.remove(rank, number)
            if entry is not None:
                if not shelf.count:
                    del self.apart[python]
                return entry
        return super()._unshelve(number)

    def _stretches(self) -> Iterator[Range]:
        return chain(super()._stretches(), ((number, number) for _, number, _, _ in self._all_apart()))

    def drain(self) -> list[Blob]:
        """Remove all items and return their values."""
        blobs = super().drain()
        self.apart.clear()
        return blobs

    def rebuild(self) -> Iterator[Change]:
        """Yield the changes of a queue that bring all items back, those apart first."""
        for _, number, deaths, blob in self._all_apart():
            yield "stood_apart", (number, deaths, blob)
        yield from super().rebuild()

    def validate(self) -> None:
        """Raise AssertionError when a shelf is empty or out of order."""
        super().validate()
        for python, shelf in self.apart.items():
            entries = list(shelf)
            assert shelf.count == len(entries) > 0
            assert [entry[:2] for entry in entries] == sorted(entry[:2] for entry in entries)
            assert all(needs_python(entry[3]) == python for entry in entries)
            assert all(entry[0] == self.ranks.get(entry[1], 0) for entry in entries)


ORDERS: Final[dict[str, type[Ready]]] = {"fifo": Ranked, "lifo": Lifo, "priority": Priority}
