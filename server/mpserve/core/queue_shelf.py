"""Where READY items lie: a `Shelf` of entries in ascending order, a `Line` of items without an own entry.

Source: a shelf is a list of short sorted lists, as in the sortedcontainers package, with what is needed here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, TypeAlias

from mpshared.values import Blob

__all__ = ["CHUNK", "Entry", "Line", "Shelf"]

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

    def add_all(self, entries: list[Entry]) -> None:
        """Put many entries, in ascending order, at their places. Cost: little, where they come together."""
        chunks = self._chunks
        if len(entries) > CHUNK and (not chunks or entries[-1] < chunks[0][0] or entries[0] > chunks[-1][-1]):
            at = len(chunks) if chunks and entries[0] > chunks[-1][-1] else 0
            chunks[at:at] = [entries[i : i + CHUNK] for i in range(0, len(entries), CHUNK)]
            self.count += len(entries)
        else:
            for entry in entries:
                self.add(entry)

    def has(self, rank: Any, number: int) -> bool:
        """Tell whether an entry is here."""
        wanted = (rank, number)
        found = self.neighbours(wanted) if self.count else []
        return any(entry[:2] == wanted for entry in found)

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


class Line:
    """Items that never went out, oldest first, with a run of numbers for each stretch without a gap."""

    __slots__ = ("blobs", "head", "runs")

    def __init__(self) -> None:
        self.blobs: deque[Blob] = deque()
        self.runs: deque[list[int]] = deque()
        """[first number, how many]"""
        self.head = 0
        """Every item of this line that went out has a lower number."""

    def push(self, first: int, blobs: Sequence[Blob]) -> None:
        """Add items at the end."""
        self.blobs.extend(blobs)
        runs = self.runs
        if runs and runs[-1][0] + runs[-1][1] == first:
            runs[-1][1] += len(blobs)
        else:
            runs.append([first, len(blobs)])

    def pop(self, n: int) -> list[Blob]:
        """Remove items from the front, not more than its first run holds."""
        blobs, run = self.blobs, self.runs[0]
        self.head = run[0] + n
        if run[1] == n:
            self.runs.popleft()
        else:
            run[0] += n
            run[1] -= n
        if n == 1:
            return [blobs.popleft()]
        if n == len(blobs):
            taken = list(blobs)
            blobs.clear()
            return taken
        pop = blobs.popleft
        return [pop() for _ in range(n)]

    def cut(self, lo: int, hi: int) -> list[Blob]:
        """Remove items from `lo` to `hi`, or to the end of their run; none when `lo` is not here.

        Cost: O(runs before it), and moving what stands before it or behind, whichever is less.
        """
        at = 0
        for index, (first, count) in enumerate(self.runs):  # noqa: B007 - where it breaks is used below
            if lo < first + count:
                break
            at += count
        else:
            return []
        if lo < first:
            return []
        n = min(hi, first + count - 1) - lo + 1
        if not at and lo == first:
            return self.pop(n)
        blobs, at = self.blobs, at + lo - first
        blobs.rotate(-at)
        taken = [blobs.popleft() for _ in range(n)]
        blobs.rotate(at)
        self._cut_run(index, lo, n)
        return taken

    def _cut_run(self, index: int, lo: int, n: int) -> None:
        first, count = self.runs[index]
        del self.runs[index]
        for part in ([lo + n, first + count - lo - n], [first, lo - first]):  # what is left of it, last first
            if part[1]:
                self.runs.insert(index, part)

    def put_back(self, first: int, blobs: Sequence[Blob]) -> None:
        """Return the items that went out last; they end where `head` begins."""
        self.blobs.extendleft(reversed(blobs))
        self.head = first
        runs = self.runs
        if runs and runs[0][0] == first + len(blobs):
            runs[0][0] = first
            runs[0][1] += len(blobs)
        else:
            runs.appendleft([first, len(blobs)])
