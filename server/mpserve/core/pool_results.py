"""Results of a pool's jobs until its program collects them, in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from typing import Final, TypeAlias

from mpserve.core.queue_ranges import Range
from mpshared.bunch import odd_ones, total_bytes
from mpshared.values import Blob, size_bytes

__all__ = ["MOST_BYTES", "Finished", "Results", "bytes_of"]

MOST_BYTES: Final = 1 << 20
"""Of the values in one answer, unless a single one is larger: then another worker, or the caller's next call,
has to wait only as long as it takes to move this."""

Finished: TypeAlias = tuple[int, Sequence[Blob]]
"""Number of the first job, and the results of this and the jobs after it. Never changed: answers hold it."""


class Results:
    """A line of runs; no object for each result."""

    __slots__ = ("count", "rich", "runs")

    def __init__(self) -> None:
        self.runs: deque[Finished] = deque()
        self.count = 0
        self.rich = 0
        """How many are more than plain bytes; while 0 nobody looks for them."""

    def __iter__(self) -> Iterator[tuple[int, Blob]]:
        """Yield (number, result) of all, in order."""
        return chain.from_iterable(enumerate(blobs, first) for first, blobs in self.runs)

    def add(self, ranges: Sequence[Range], blobs: Sequence[Blob]) -> None:
        """Add one result for each number in `ranges`, in the same order.

        Cost: O(ranges), and a copy where they are several.
        """
        self.count += len(blobs)
        at = 0
        for lo, hi in ranges:
            n = hi - lo + 1
            self.runs.append((lo, blobs if n == len(blobs) else blobs[at : at + n]))
            at += n
        self.rich += len(odd_ones(blobs))

    def fitting(self, n: int) -> int:
        """Return how many of the first `n` fit into one answer: at least one if there is one."""
        count = size = 0
        for _, blobs in self.runs:
            part = blobs[: n - count]
            size += bytes_of(part, plain=not self.rich)
            if size > MOST_BYTES:
                return count or _fitting(part)
            count += len(part)
            if count == n:
                break
        return count

    def take(self, n: int) -> list[Finished]:
        """Remove and return the first up to `n` results."""
        runs = self.runs
        taken: list[Finished] = []
        while runs and n > 0:
            first, blobs = runs.popleft()
            if len(blobs) > n:
                runs.appendleft((first + n, blobs[n:]))
                blobs = blobs[:n]
            taken.append((first, blobs))
            n -= len(blobs)
            self.count -= len(blobs)
        if self.rich:
            self._count_rich(taken, -1)
        return taken

    def put_back(self, runs: Sequence[Finished]) -> None:
        """Return results that were taken, before all others."""
        self.runs.extendleft(reversed(runs))
        self.count += sum([len(blobs) for _, blobs in runs])
        self._count_rich(runs, 1)

    def _count_rich(self, runs: Sequence[Finished], sign: int) -> None:
        self.rich += sign * sum([len(odd_ones(blobs)) for _, blobs in runs])

    def validate(self) -> None:
        """Raise AssertionError when a count is wrong or a job has two results."""
        numbers = [number for number, _ in self]
        assert self.count == len(numbers) == len(set(numbers))
        assert self.rich == sum(type(blob) is not bytes for _, blob in self)
        assert all(blobs for _, blobs in self.runs)


def bytes_of(blobs: Sequence[Blob], *, plain: bool) -> int:
    """Return how much of a message values take; `plain`: all of them are plain bytes."""
    return total_bytes(blobs) if plain else sum(map(size_bytes, blobs))


def _fitting(blobs: Sequence[Blob]) -> int:
    sizes = accumulate(map(size_bytes, blobs))
    return max(1, sum(size <= MOST_BYTES for size in sizes))
