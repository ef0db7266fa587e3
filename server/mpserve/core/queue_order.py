"""The READY items of a queue, in the order in which they are served: `Fifo`, `Lifo` or `Priority`.

RULES
* An item is a number (given once, ascending), the deaths of its holders that were laid to it, and its value.
* `choose` says which items are next; `take` removes items by number. So a record of a take names numbers, and
  a rebuilt queue gives the same items, however it keeps them.
* New items of a fifo are a plain deque with implied numbers. Only items that came back, or that somebody had
  to pass over, get an entry of their own, on a shelf per Python version that they need (None: any).

    fifo:   shelves (few, all older than) | head -> fresh fresh fresh fresh <- next
    others: shelves only

Source: a shelf is a list of short sorted lists, as in the sortedcontainers package, with what is needed here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice, pairwise
from operator import itemgetter
from typing import Any, Final, TypeAlias

from mpserve.core.queue_ranks import Rank, any_rank_of, comparable, describe, rank_of
from mpshared.errors import BadType
from mpshared.values import NONE, Blob, needs_python

__all__ = ["ORDERS", "Fifo", "Lifo", "Priority", "Python", "Range", "Ready", "Run", "ranges_of"]

Python: TypeAlias = tuple[int, int]
"""(major, minor)"""
Range: TypeAlias = tuple[int, int]
"""First and last item number, both included."""
Run: TypeAlias = tuple[int, int, Sequence[Blob]]
"""First number, deaths, values: items with consecutive numbers and the same number of deaths."""
Entry: TypeAlias = tuple[Any, int, int, Blob]
"""Rank, number, deaths, value. Numbers differ, so that comparing entries never reaches the values."""

CHUNK = 512
"""Entries per chunk of a shelf; chunks are split at twice that."""

_last = itemgetter(-1)


class Shelf:
    """Entries in ascending order. Cost of each move: a search and a short copy, however many there are."""

    __slots__ = ("_chunks", "count")

    def __init__(self) -> None:
        self._chunks: list[list[Entry]] = []
        self.count = 0

    def __iter__(self) -> Iterator[Entry]:
        return chain.from_iterable(self._chunks)

    def add(self, entry: Entry) -> None:
        """Put an entry at its place."""
        self.count += 1
        chunks = self._chunks
        if not chunks:
            chunks.append([entry])
            return
        at = min(bisect_left(chunks, entry, key=_last), len(chunks) - 1)
        chunk = chunks[at]
        insort(chunk, entry)
        if len(chunk) >= 2 * CHUNK:
            chunks[at : at + 1] = [chunk[:CHUNK], chunk[CHUNK:]]

    def remove(self, rank: Any, number: int) -> Entry | None:
        """Remove and return an entry, or None when it is not here."""
        chunks, wanted = self._chunks, (rank, number)
        at = bisect_left(chunks, wanted, key=_last)
        if at == len(chunks):
            return None
        chunk = chunks[at]
        place = bisect_left(chunk, wanted)
        if place == len(chunk) or chunk[place][1] != number:
            return None
        entry = chunk.pop(place)
        self.count -= 1
        if not chunk:
            del chunks[at]
        return entry

    def neighbours(self, wanted: tuple[Any, int]) -> list[Entry]:
        """Return the entries between which `wanted` would stand: two, or one at an end."""
        chunks = self._chunks
        at = bisect_left(chunks, wanted, key=_last)
        if at == len(chunks):
            return [chunks[-1][-1]]
        place = bisect_left(chunks[at], wanted)
        before = chunks[at][place - 1 : place] if place else chunks[at - 1][-1:] if at else []
        return [*before, chunks[at][place]]


class Ready:
    """What all orders share: the shelves."""

    __slots__ = ("next", "shelves", "size", "versions")

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
        _ = blob
        return self.rank_of(number)

    def rank_of(self, number: int) -> Any:
        """Return the rank of an item that is on a shelf."""
        _ = number
        return 0

    # -- moves -----------------------------------------------------------------------------------

    def begin_at(self, number: int) -> None:
        """Give the next new item this number."""
        self.next = number

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

    def take(self, ranges: Sequence[Range]) -> list[Run]:
        """Remove items by number and return them, one run for each range."""
        return [self._take_range(lo, hi) for lo, hi in ranges]

    def restore(self, runs: Iterable[Run], *, apart: bool = False) -> None:
        """Put items that were taken back to their old places.

        `apart` keeps them from melting into a fifo's fresh items, where nobody would notice a suspect.
        """
        _ = apart
        for first, deaths, blobs in runs:
            self._count_back(blobs)
            self._shelve(first, deaths, blobs)

    def drain(self) -> list[Blob]:
        """Remove all items and return their values."""
        blobs = [blob for _, _, blob in self]
        self.shelves.clear()
        self.versions.clear()
        self.size = 0
        return blobs

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
        for number, blob in enumerate(blobs, first):
            version = needs_python(blob) if self.versions else None
            shelf = self.shelves.get(version)
            if shelf is None:
                shelf = self.shelves[version] = Shelf()
            shelf.add((self.rank(number, blob), number, deaths, blob))

    def _unshelve(self, number: int) -> Entry:
        rank = self.rank_of(number)
        for version, shelf in self.shelves.items():
            entry = shelf.remove(rank, number)
            if entry is not None:
                if not shelf.count:
                    del self.shelves[version]
                return entry
        raise LookupError(number)

    def _count_back(self, blobs: Sequence[Blob]) -> None:
        self.size += len(blobs)
        odd = [blob for blob in blobs if type(blob) is not bytes]
        if odd:
            self._count_versions(odd, 1)

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


class Fifo(Ready):
    """First in, first out. Every shelved item is older than every fresh one."""

    __slots__ = ("fresh", "head")

    def __init__(self) -> None:
        super().__init__()
        self.fresh: deque[Blob] = deque()
        self.head = 1
        """The number of ``fresh[0]``; `next` when there is none."""

    def begin_at(self, number: int) -> None:
        """Give the next new item this number."""
        self.next = self.head = number

    def __iter__(self) -> Iterator[tuple[int, int, Blob]]:
        """Yield (number, deaths, value) of all, in no particular order."""
        yield from super().__iter__()
        for number, blob in enumerate(self.fresh, self.head):
            yield number, 0, blob

    def push(self, blobs: Sequence[Blob], odd: Sequence[Blob] = ()) -> None:
        """Add new items at the end. Cost: one copy of references."""
        if odd:
            self._count_versions(odd, 1)
        self.next += len(blobs)
        self.size += len(blobs)
        self.fresh.extend(blobs)

    def choose(
        self, n: int, barred: Collection[Python] = (), suspects: Collection[int] | None = None
    ) -> list[Range]:
        """Say which up to `n` items are next; O(1) for a plain take while nothing is on a shelf."""
        if n == 1 and not self.shelves and not barred:
            return [(self.head, self.head)] if self.fresh else []
        if barred:
            self._unroll(n, barred)
            return super().choose(n, barred, suspects)
        older: list[Range] = []
        if self.shelves:
            entries = list(_batch(islice(self._in_order(()), n), suspects))
            older = ranges_of(entries)
            cut = len(entries) < self.size - len(self.fresh) or _ends_batch(entries[-1], suspects)
            n = 0 if cut else n - len(entries)
        fresh = min(n, len(self.fresh))
        if fresh > 1 and suspects is not None:
            fresh = _up_to_pill(list(islice(self.fresh, fresh)))
        if fresh:
            older.append((self.head, self.head + fresh - 1))
        return older

    def take(self, ranges: Sequence[Range]) -> list[Run]:
        """Remove items by number."""
        if len(ranges) == 1:
            lo, hi = ranges[0]
            if lo == self.head:
                return [(lo, 0, self._pop(hi - lo + 1))]
        return [self._take_range(lo, hi) for lo, hi in ranges]

    def restore(self, runs: Iterable[Run], *, apart: bool = False) -> None:
        """Put items back to their old places: before the fresh ones where that is simple, else on a shelf."""
        for first, deaths, blobs in runs:
            self._count_back(blobs)
            if not (deaths or apart or self.shelves) and first + len(blobs) == self.head:
                self.fresh.extendleft(reversed(blobs))
                self.head = first
            else:
                self._shelve(first, deaths, blobs)

    def drain(self) -> list[Blob]:
        """Remove all items and return their values."""
        blobs = super().drain()
        self.fresh.clear()
        self.head = self.next
        return blobs

    def _take_range(self, lo: int, hi: int) -> Run:
        if hi >= self.head:
            # Rebuilding: who took these was not allowed the ones before them, which are still fresh here.
            self._unroll_to(lo if lo >= self.head else hi + 1)
        if lo == self.head:
            return lo, 0, self._pop(hi - lo + 1)
        return super()._take_range(lo, hi)

    def _pop(self, n: int) -> list[Blob]:
        fresh = self.fresh
        if n == 1:
            blobs = [fresh.popleft()]
        elif n == len(fresh):
            blobs = list(fresh)
            fresh.clear()
        else:
            pop = fresh.popleft
            blobs = [pop() for _ in range(n)]
        self.head += n
        self.size -= n
        if self.versions:
            self._count_versions(blobs, -1)
        return blobs

    def _unroll(self, n: int, barred: Collection[Python]) -> None:
        """Shelve fresh items until `n` are there that are not barred. Each is moved once in its life."""
        here = sum(shelf.count for version, shelf in self.shelves.items() if version not in barred)
        while here < n and self.fresh:
            here += needs_python(self.fresh[0]) not in barred
            self._unroll_to(self.head + 1)

    def _unroll_to(self, number: int) -> None:
        while self.head < number:
            self._shelve(self.head, 0, (self.fresh.popleft(),))
            self.head += 1

    def validate(self) -> None:
        """Raise AssertionError when numbers do not add up."""
        super().validate()
        assert self.head + len(self.fresh) == self.next
        assert all(number < self.head for shelf in self.shelves.values() for _, number, _, _ in shelf)


class Lifo(Ready):
    """Last in, first out."""

    __slots__ = ()

    def rank(self, number: int, blob: Blob) -> int:  # noqa: ARG002 - a lifo does not look at values
        """Order by number, highest first."""
        return -number

    def rank_of(self, number: int) -> int:
        """Order by number, highest first."""
        return -number


class Priority(Ready):
    """Lowest value first, equal ones by number. Values are compared as data, never by users' code."""

    __slots__ = ("_known", "_ranks")

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

    def drain(self) -> list[Blob]:
        """Remove all items and return their values."""
        self._ranks.clear()
        return super().drain()

    def _unshelve(self, number: int) -> Entry:
        entry = super()._unshelve(number)
        del self._ranks[number]
        return entry


ORDERS: Final[dict[str, type[Ready]]] = {"fifo": Fifo, "lifo": Lifo, "priority": Priority}


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


def _up_to_pill(blobs: list[Blob]) -> int:
    """Return how many there are up to the first pill, included."""
    return blobs.index(NONE) + 1 if NONE in blobs else len(blobs)
