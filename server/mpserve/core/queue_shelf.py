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

from mpshared.bunch import Bunch, joined
from mpshared.values import Blob

__all__ = ["PART", "Entry", "Line", "Shelf"]

Entry: TypeAlias = tuple[Any, int, int, Blob]
"""Rank, number, deaths, value. Numbers differ, so that comparing entries never reaches the values."""

_FEW = 8
"""Where fewer than one in so many of a bunch are taken it is cut into single values."""
PART = 512
"""Entries per part of a shelf; parts are split at twice that."""

_last = itemgetter(-1)


class Shelf:
    """Entries in ascending order. Cost of each move: a search and a short copy, however many there are."""

    __slots__ = ("_parts", "count")

    def __init__(self) -> None:
        self._parts: list[list[Entry]] = []
        self.count = 0

    def __iter__(self) -> Iterator[Entry]:
        return chain.from_iterable(self._parts)

    def add(self, entry: Entry) -> None:
        """Put an entry at its place."""
        self.count += 1
        parts = self._parts
        if not parts:
            parts.append([entry])
            return
        at = min(bisect_left(parts, entry, key=_last), len(parts) - 1)
        part = parts[at]
        insort(part, entry)
        if len(part) >= 2 * PART:
            parts[at : at + 1] = [part[:PART], part[PART:]]

    def add_all(self, entries: list[Entry]) -> None:
        """Put many entries, in ascending order, at their places. Cost: little, where they come together."""
        parts = self._parts
        if len(entries) > PART and (not parts or entries[-1] < parts[0][0] or entries[0] > parts[-1][-1]):
            at = len(parts) if parts and entries[0] > parts[-1][-1] else 0
            parts[at:at] = [entries[i : i + PART] for i in range(0, len(entries), PART)]
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
        parts, wanted = self._parts, (rank, number)
        at = bisect_left(parts, wanted, key=_last)
        if at == len(parts):
            return None
        part = parts[at]
        place = bisect_left(part, wanted)
        if place == len(part) or part[place][1] != number:
            return None
        entry = part.pop(place)
        self.count -= 1
        if not part:
            del parts[at]
        return entry

    def neighbours(self, wanted: tuple[Any, int]) -> list[Entry]:
        """Return the entries between which `wanted` would stand: two, or one at an end."""
        parts = self._parts
        at = bisect_left(parts, wanted, key=_last)
        if at == len(parts):
            return [parts[-1][-1]]
        place = bisect_left(parts[at], wanted)
        before = parts[at][place - 1 : place] if place else parts[at - 1][-1:] if at else []
        return [*before, parts[at][place]]


class Line:
    """Items that never went out, oldest first: runs of consecutive numbers, as they came.

    Those that came one by one share a run, which is a deque; those that came as a bunch stay one until a part
    of them is taken.
    """

    __slots__ = ("_spare", "head", "runs")

    def __init__(self) -> None:
        self._spare: list[Any] | None = None
        """An empty run, to be used again: a queue is empty before most puts."""
        self.runs: deque[list[Any]] = deque()
        """[first number, values: a `Bunch` or a deque]"""
        self.head = 0
        """Every item of this line that went out has a lower number."""

    def push(self, first: int, blobs: Sequence[Blob]) -> None:
        """Add items at the end."""
        if type(blobs) is Bunch:
            self.runs.append([first, blobs])
            return
        if self.runs:
            start, last = self.runs[-1]
            if type(last) is deque and start + len(last) == first:
                last.extend(blobs)
                return
        elif self._spare is not None:
            run, self._spare = self._spare, None
            run[0] = first
            run[1].extend(blobs)
            self.runs.append(run)
            return
        self.runs.append([first, deque(blobs)])

    def reach(self, n: int) -> int:
        """Return how many of the first `n` items have consecutive numbers."""
        count = 0
        first = self.runs[0][0]
        for start, blobs in self.runs:
            if count >= n or start != first + count:
                break
            count += len(blobs)
        return min(n, count)

    def up_to(self, blob: bytes, n: int) -> int:
        """Return how many of the first `n` items there are up to the first `blob`, included."""
        count = 0
        for _, blobs in self.runs:
            at = _find(blobs, blob, n - count)
            if at >= 0:
                return count + at + 1
            count += len(blobs)
            if count >= n:
                break
        return n

    def pop(self, n: int) -> Sequence[Blob]:
        """Remove items from the front, as many as `reach` says at most."""
        if n == 1 and type(self.runs[0][1]) is deque:
            return [self._pop_first()]
        parts: list[Sequence[Blob]] = []
        self.head = self.runs[0][0] + n
        while n:
            run = self.runs[0]
            count = len(run[1])
            if count <= n:
                self.runs.popleft()
                parts.append(run[1] if type(run[1]) is Bunch else list(run[1]))
            else:
                parts.append(_pop(run, n))
            n -= min(n, count)
        return joined(parts)

    def _pop_first(self) -> Blob:
        """Remove one item: as most are, one put and one got."""
        run = self.runs[0]
        first, blobs = run
        blob: Blob = blobs.popleft()
        run[0] = self.head = first + 1
        if not blobs:
            self._spare = self.runs.popleft()
        return blob

    def cut(self, lo: int, hi: int) -> Sequence[Blob]:
        """Remove items from `lo` to `hi`, or to the end of their run; none when `lo` is not here.

        Cost: O(runs before it), and moving what stands in its run before it or behind, whichever is less.
        """
        for index, (first, blobs) in enumerate(self.runs):  # noqa: B007 - where it breaks is used below
            if lo < first + len(blobs):
                break
        else:
            return []
        if lo < first:
            return []
        n = min(hi, first + len(blobs) - 1) - lo + 1
        if not index and lo == first:
            return self.pop(n)
        before, taken, behind = _divided(blobs, lo - first, n)
        del self.runs[index]
        for part in ([lo + n, behind], [first, before]):  # what is left of it, last first
            if part[1]:
                self.runs.insert(index, part)
        return taken

    def put_back(self, first: int, blobs: Sequence[Blob]) -> None:
        """Return the items that went out last; they end where `head` begins."""
        self.head = first
        runs = self.runs
        if type(blobs) is Bunch:
            runs.appendleft([first, blobs])
        elif runs and type(runs[0][1]) is deque and runs[0][0] == first + len(blobs):
            runs[0][0] = first
            runs[0][1].extendleft(reversed(blobs))
        else:
            runs.appendleft([first, deque(blobs)])


def _pop(run: list[Any], n: int) -> Sequence[Blob]:
    """Remove some items from the front of a run, not all."""
    first, blobs = run
    if type(blobs) is Bunch:
        if n * _FEW > len(blobs):
            run[:] = first + n, blobs[n:]
            return blobs[:n]
        blobs = deque(blobs)  # many such parts may follow, and each would copy the rest
    run[:] = first + n, blobs
    pop = blobs.popleft
    return [pop() for _ in range(n)]


def _divided(blobs: Any, at: int, n: int) -> tuple[Any, Sequence[Blob], Any]:
    """Return the items of a run before `at`, the `n` from there on, and those behind."""
    if type(blobs) is Bunch:
        if n * _FEW > len(blobs):
            return blobs[:at], blobs[at : at + n], blobs[at + n :]
        blobs = deque(blobs)  # as in `_pop`
    behind = len(blobs) - at - n
    if at <= behind:
        before = deque([blobs.popleft() for _ in range(at)])
        return before, [blobs.popleft() for _ in range(n)], blobs
    rest = deque([blobs.pop() for _ in range(behind)])
    taken = [blobs.pop() for _ in range(n)]
    rest.reverse()
    taken.reverse()
    return blobs, taken, rest


def _find(blobs: Any, blob: bytes, n: int) -> int:
    """Return where `blob` is among the first `n` of a run, or -1."""
    if type(blobs) is Bunch:
        return blobs.find(blob, n)
    try:
        return int(blobs.index(blob, 0, n))
    except ValueError:
        return -1
