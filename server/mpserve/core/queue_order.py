"""The READY items of a queue, in the order in which they are served: what all orders share, and `Fifo`.

RULES
* An item is a number (given once, ascending), the deaths of its holders that were laid to it, and its value.
* `choose` says which items are next; `take` removes items by number. So a record of a take names numbers, and
  a rebuilt queue gives the same items, however it keeps them.
* New items of a fifo are plain deques with implied numbers, one for each Python version that items need
  (None: any). Only items that came back have an entry of their own, on a shelf, one for each version too.

    fifo, for each version:   shelf (few, all older) | head -> new new new new new
    others, for each version: shelf
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, groupby, islice, repeat
from operator import itemgetter
from typing import Any, ClassVar, TypeAlias

from mpserve.core.machine import CHUNK, Change, chunks
from mpserve.core.queue_ranges import Range
from mpserve.core.queue_shelf import Entry, Line, Shelf
from mpshared.bunch import joined, odd_ones
from mpshared.values import NONE, Blob, needs_python

__all__ = ["Fifo", "Python", "Ready", "Run", "ranges_of"]

Python: TypeAlias = tuple[int, int]
"""(major, minor)"""
Run: TypeAlias = tuple[int, int, Sequence[Blob]]
"""First number, deaths, values: items with consecutive numbers and the same number of deaths."""


class Ready:
    """What all orders share: the shelves."""

    __slots__ = ("next", "shelves", "size", "versions")

    compares: ClassVar[bool] = False
    """Whether `check` may refuse something."""

    def __init__(self) -> None:
        self.next = 1
        """The number of the next new item."""
        self.size = 0
        self.shelves: dict[Python | None, Shelf] = {}
        """Only shelves that hold something."""
        self.versions: dict[Python, int] = {}
        """How many items need a certain Python."""

    def __iter__(self) -> Iterator[tuple[int, int, Blob]]:
        """Yield (number, deaths, value) of all, in no particular order."""
        for shelf in self.shelves.values():
            for _, number, deaths, blob in shelf:
                yield number, deaths, blob

    # -- what an order decides -------------------------------------------------------------------

    def check(self, blobs: Sequence[Blob]) -> None:
        """Raise unless `blobs` can be ordered among what is here; nothing is changed."""

    def rank(self, number: int, blob: Blob) -> Any:
        """Return what a new entry is ordered by, before its number."""
        _ = number, blob
        return 0

    def rank_of(self, number: int) -> Any:
        """Return the rank of an item that is on a shelf."""
        _ = number
        return 0

    # -- moves -----------------------------------------------------------------------------------

    def push(self, blobs: Sequence[Blob], odd: Sequence[Blob] = ()) -> None:
        """Add new items; `odd` are those among them that are more than plain bytes."""
        if odd:
            self._count_versions(odd, 1)
        first = self.next
        self.next += len(blobs)
        self.size += len(blobs)
        self._shelve(first, 0, blobs)

    def choose(
        self, n: int, barred: Collection[Python] = (), suspects: Collection[int] | None = None
    ) -> list[Range]:
        """Say which up to `n` items are next, in order, without taking them.

        Args:
            n: How many at most.
            barred: Versions of Python whose items are passed over.
            suspects: None for a plain take. Else this is a batch of jobs: it ends with the first pill, and an
                item whose number is in `suspects` travels alone.

        Returns:
            Ranges, each of items with the same number of deaths; empty when there is nothing to take.
        """
        return ranges_of(_batch(islice(self._in_order(barred), n), suspects))

    def find(self, ranges: Sequence[Range]) -> list[Range]:
        """Say which numbers of `ranges` (ascending, apart) are here, in ascending order. Cost: O(items)."""
        highest = [hi for _, hi in ranges]
        found = [
            part for first, last in self._stretches() for part in _overlaps(ranges, highest, first, last)
        ]
        return sorted(found)

    def _stretches(self) -> Iterator[Range]:
        """Yield the numbers of all items as ranges that may touch."""
        return ((number, number) for shelf in self.shelves.values() for _, number, _, _ in shelf)

    def take(self, ranges: Sequence[Range]) -> list[Run]:
        """Remove items by number, wherever they stand, and return them, one run for each range."""
        return [self._take_range(lo, hi) for lo, hi in ranges]

    def restore(self, runs: Iterable[Run], *, apart: bool = False) -> None:
        """Put items that were taken back to their old places.

        `apart` keeps them from melting into a fifo's fresh items, where nobody would notice a suspect.
        """
        _ = apart
        for first, deaths, blobs in runs:
            self._count_back(blobs)
            self._shelve(first, deaths, blobs)

    def reshelve(self, first: int, deaths: int, blobs: Sequence[Blob]) -> None:
        """Put items on a shelf; for a rebuilt queue, whose items stood there."""
        self._count_back(blobs)
        self._shelve(first, deaths, blobs)

    def skip(self) -> int:
        """Return the number of a new item that is not READY yet."""
        self.next += 1
        return self.next - 1

    def pass_by(self) -> int:
        """Return the number of a new item that somebody has at once; nothing is READY."""
        return self.skip()

    def has(self, number: int) -> bool:
        """Tell whether an item is here. Cost: a search."""
        rank = self.rank_of(number)
        return any(shelf.has(rank, number) for shelf in self.shelves.values())

    def single_out(self, number: int, rank: int) -> None:
        """Have an item stand apart whenever it is here, where the order knows of that."""

    def let_go(self, number: int) -> None:
        """Forget the rank of an item that is not here."""

    def set_apart(self, number: int, deaths: int, blob: Blob) -> None:
        """Put an item back that stands apart."""
        self.restore([(number, deaths, [blob])], apart=True)

    def drain(self) -> list[Blob]:
        """Remove all items and return their values."""
        blobs = [blob for _, _, blob in self]
        self.shelves.clear()
        self.versions.clear()
        self.size = 0
        return blobs

    def rebuild(self) -> Iterator[Change]:
        """Yield the changes of a queue that bring all items back."""
        for shelf in self.shelves.values():
            for _, number, deaths, blob in shelf:
                yield "shelved", (number, deaths, [blob])

    def refill(self, first: int, blobs: Sequence[Blob], odd: Sequence[Blob]) -> None:
        """Add items that never went out, in ascending order; for a rebuilt fifo."""
        self.next = first
        self.push(blobs, odd)

    def rebuilt(self, following: int) -> None:
        """Note the number of the next new item: all others are here."""
        self.next = following

    # -- details ---------------------------------------------------------------------------------

    def _in_order(self, barred: Collection[Python]) -> Iterable[Entry]:
        shelves = [shelf for version, shelf in self.shelves.items() if version not in barred]
        return shelves[0] if len(shelves) == 1 else merge(*shelves)

    def _take_range(self, lo: int, hi: int) -> Run:
        entries = [self._unshelve(number) for number in range(lo, hi + 1)]
        blobs = [entry[3] for entry in entries]
        self.size -= len(blobs)
        if self.versions:
            self._count_versions(blobs, -1)
        return lo, entries[0][2], blobs

    def _shelve(self, first: int, deaths: int, blobs: Iterable[Blob]) -> None:
        numbered = enumerate(blobs, first)
        entries = sorted([(self.rank(number, blob), number, deaths, blob) for number, blob in numbered])
        if not self.versions:
            self._shelf(None).add_all(entries)
        else:
            for entry in entries:
                self._shelf(needs_python(entry[3])).add(entry)

    def _shelf(self, version: Python | None) -> Shelf:
        shelf = self.shelves.get(version)
        if shelf is None:
            shelf = self.shelves[version] = Shelf()
        return shelf

    def _unshelve(self, number: int) -> Entry:
        rank = self.rank_of(number)
        for version, shelf in self.shelves.items():
            entry = shelf.remove(rank, number)
            if entry is not None:
                if not shelf.count:
                    del self.shelves[version]
                return entry
        raise LookupError(number)

    def _count_back(self, blobs: Sequence[Blob]) -> bool:
        """Count returned items; return whether some are more than plain bytes."""
        self.size += len(blobs)
        odd = odd_ones(blobs)
        self._count_versions(odd, 1)
        return bool(odd)

    def _count_versions(self, blobs: Iterable[Blob], sign: int) -> None:
        versions = self.versions
        for blob in blobs:
            version = needs_python(blob)
            if version is not None:
                count = versions[version] = versions.get(version, 0) + sign
                if not count:
                    del versions[version]

    def validate(self) -> None:
        """Raise AssertionError when the counts are wrong or a shelf is empty or out of order."""
        items = list(self)
        versions = [version for _, _, blob in items if (version := needs_python(blob)) is not None]
        assert self.versions == {version: versions.count(version) for version in versions}
        assert self.size == len(items) == len({number for number, _, _ in items})
        assert all(number < self.next for number, _, _ in items)
        for version, shelf in self.shelves.items():
            entries = list(shelf)
            assert shelf.count == len(entries) > 0
            assert [entry[:2] for entry in entries] == sorted(entry[:2] for entry in entries)
            assert all(needs_python(entry[3]) == version for entry in entries)


Segment: TypeAlias = tuple[int, int, int, Sequence[Blob]]
"""First and last number, deaths, and values of items with consecutive numbers."""


class Fifo(Ready):
    """First in, first out. A shelf's items are older than those of the line for the same Python."""

    __slots__ = ("lines", "plain")

    def __init__(self) -> None:
        super().__init__()
        self.plain = Line()
        self.lines: dict[Python | None, Line] = {None: self.plain}
        """By the Python that the items need; `plain` is for those that need none."""

    def __iter__(self) -> Iterator[tuple[int, int, Blob]]:
        """Yield (number, deaths, value) of all, in no particular order."""
        yield from super().__iter__()
        for line in self.lines.values():
            for first, blobs in line.runs:
                yield from zip(range(first, first + len(blobs)), repeat(0), blobs, strict=False)

    def push(self, blobs: Sequence[Blob], odd: Sequence[Blob] = ()) -> None:
        """Add new items at the end. Cost: one copy of references, unless some need a certain Python."""
        first = self.next
        self.next += len(blobs)
        self.size += len(blobs)
        if odd:
            self._count_versions(odd, 1)
            for version, numbered in groupby(enumerate(blobs, first), lambda item: needs_python(item[1])):
                items = list(numbered)
                self.lines.setdefault(version, Line()).push(items[0][0], [blob for _, blob in items])
        else:
            self.plain.push(first, blobs)

    def pass_by(self) -> int:
        """Return the number of a new item that somebody has at once; nothing is READY."""
        number = self.next
        self.next = self.plain.head = number + 1
        return number

    def choose(
        self, n: int, barred: Collection[Python] = (), suspects: Collection[int] | None = None
    ) -> list[Range]:
        """Say which up to `n` items are next; O(1) for a plain take while nothing is on a shelf."""
        if self.shelves or self.versions:
            return self._choose(n, barred, suspects)
        runs = self.plain.runs
        if not runs:
            return []
        first = runs[0][0]
        if n == 1:
            return [(first, first)]
        reach = self.plain.reach(n)
        if reach < n and reach < self.size:
            return self._choose(n, barred, suspects)
        if suspects is not None:
            reach = self.plain.up_to(NONE, reach)
        return [(first, first + reach - 1)]

    def take(self, ranges: Sequence[Range]) -> list[Run]:
        """Remove items by number."""
        if len(ranges) == 1 and self.plain.runs:
            lo, hi = ranges[0]
            n = hi - lo + 1
            if lo == self.plain.runs[0][0] and (n == 1 or n == self.plain.reach(n)):
                self.size -= n
                return [(lo, 0, self.plain.pop(n))]
        return [self._take_range(lo, hi) for lo, hi in ranges]

    def restore(self, runs: Iterable[Run], *, apart: bool = False) -> None:
        """Put items back to their old places: into the line where that is simple, else on a shelf."""
        for first, deaths, blobs in runs:
            odd = self._count_back(blobs)
            if not (odd or deaths or apart or None in self.shelves) and first + len(blobs) == self.plain.head:
                self.plain.put_back(first, blobs)
            else:
                self._shelve(first, deaths, blobs)

    def has(self, number: int) -> bool:
        """Tell whether an item is here. Cost: O(runs), and a search."""
        runs = chain.from_iterable(line.runs for line in self.lines.values())
        return any(first <= number < first + len(blobs) for first, blobs in runs) or super().has(number)

    def _stretches(self) -> Iterator[Range]:
        runs = chain.from_iterable(line.runs for line in self.lines.values())
        return chain(super()._stretches(), ((first, first + len(blobs) - 1) for first, blobs in runs))

    def drain(self) -> list[Blob]:
        """Remove all items and return their values."""
        blobs = super().drain()
        for line in self.lines.values():
            line.runs.clear()
        return blobs

    def rebuild(self) -> Iterator[Change]:
        """Yield what is on shelves, then the lines, together in the order of numbers."""
        yield from super().rebuild()
        runs = [run for line in self.lines.values() for run in line.runs]
        for first, blobs in sorted(runs, key=itemgetter(0)):
            for at, part in zip(range(first, first + len(blobs), CHUNK), chunks(blobs), strict=True):
                yield "lined", (at, part)

    def refill(self, first: int, blobs: Sequence[Blob], odd: Sequence[Blob]) -> None:
        """Add items that never went out; whatever is on a shelf for their Python went out before."""
        for version in {needs_python(blob) for blob in blobs}:
            line = self.lines.setdefault(version, Line())
            if not line.runs:
                line.head = first
        super().refill(first, blobs, odd)

    def rebuilt(self, following: int) -> None:
        """Note the number of the next new item, also for lines that have none."""
        super().rebuilt(following)
        for line in self.lines.values():
            if not line.runs:
                line.head = following

    def _choose(self, n: int, barred: Collection[Python], suspects: Collection[int] | None) -> list[Range]:
        versions = [version for version in {*self.lines, *self.shelves} if version not in barred]
        ranges: list[Range] = []
        deaths_before = -1
        for lo, hi, deaths, blobs in merge(*[self._segments(version, n) for version in versions]):
            alone = suspects is not None and lo in suspects
            if n <= 0 or (alone and ranges):
                break
            taken = min(n, hi - lo + 1)
            if suspects is not None:
                taken = _up_to_pill(blobs[:taken])
            if ranges and deaths == deaths_before and lo == ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], lo + taken - 1)
            else:
                ranges.append((lo, lo + taken - 1))
            deaths_before = deaths
            n -= taken
            if alone or (suspects is not None and blobs[taken - 1] == NONE):
                break
        return ranges

    def _segments(self, version: Python | None, n: int) -> Iterator[Segment]:
        """Yield the first items that need `version`, oldest first, until they are `n`."""
        shelf = self.shelves.get(version)
        if shelf is not None:
            for _, number, deaths, blob in islice(shelf, n):
                yield number, number, deaths, (blob,)
            n -= shelf.count
        line = self.lines.get(version)
        for first, blobs in () if line is None else line.runs:
            count = min(len(blobs), n)
            if count <= 0:
                return
            yield first, first + count - 1, 0, list(islice(blobs, count))
            n -= count

    def _take_range(self, lo: int, hi: int) -> Run:
        parts: list[Sequence[Blob]] = []
        deaths, number = 0, lo
        while number <= hi:
            for line in self.lines.values():
                if taken := line.cut(number, hi):
                    break
            else:
                _, _, deaths, blob = self._unshelve(number)
                taken = [blob]
            parts.append(taken)
            number += len(taken)
        blobs = joined(parts)
        self.size -= len(blobs)
        if self.versions:
            self._count_versions(blobs, -1)
        return lo, deaths, blobs

    def validate(self) -> None:
        """Raise AssertionError when numbers do not add up."""
        super().validate()
        for version, line in self.lines.items():
            ends = [line.head]
            for first, blobs in line.runs:
                ends += [first, first + len(blobs)]
                assert blobs
                assert all(needs_python(blob) == version for blob in blobs)
            assert ends == sorted(ends)
            assert all(number < line.head for _, number, _, _ in self.shelves.get(version, ()))


# -- numbers --------------------------------------------------------------------------------------


def _overlaps(ranges: Sequence[Range], highest: Sequence[int], first: int, last: int) -> Iterator[Range]:
    """Yield what ``first .. last`` has in common with `ranges`, whose upper ends are `highest`."""
    for lo, hi in islice(ranges, bisect_left(highest, first), None):
        if lo > last:
            return
        yield max(lo, first), min(hi, last)


# -- batches --------------------------------------------------------------------------------------


def ranges_of(entries: Iterable[Entry]) -> list[Range]:
    """Return the numbers of `entries` as ranges, in the same order; a range has one number of deaths."""
    ranges: list[Range] = []
    lo, hi, last_deaths = 0, -1, -1
    for _, number, deaths, _ in entries:
        if number == hi + 1 and deaths == last_deaths:
            hi = number
            continue
        if last_deaths >= 0:
            ranges.append((lo, hi))
        lo, hi, last_deaths = number, number, deaths
    return [*ranges, (lo, hi)] if last_deaths >= 0 else ranges


def _batch(entries: Iterable[Entry], suspects: Collection[int] | None) -> Iterator[Entry]:
    """Cut a batch of jobs where it must end; without `suspects` nothing is cut."""
    started = False
    for entry in entries:
        if started and suspects is not None and entry[1] in suspects:
            return
        yield entry
        started = True
        if _ends_batch(entry, suspects):
            return


def _ends_batch(entry: Entry, suspects: Collection[int] | None) -> bool:
    return suspects is not None and (entry[3] == NONE or entry[1] in suspects)


def _up_to_pill(blobs: Sequence[Blob]) -> int:
    """Return how many there are up to the first pill, included."""
    return blobs.index(NONE) + 1 if NONE in blobs else len(blobs)
