"""Results of a pool's jobs until its program collects them, in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypeAlias

from mpserve.core.queue_order import Range
from mpshared.values import Blob

__all__ = ["Finished", "Results", "those_of"]

Finished: TypeAlias = tuple[int, Sequence[Blob]]
"""Number of the first job, and the results of this and the jobs after it. Never changed: answers hold it."""


class Results:
    """A line of runs; no object for each result."""

    __slots__ = ("_runs", "count")

    def __init__(self) -> None:
        self._runs: deque[Finished] = deque()
        self.count = 0

    def __iter__(self) -> Iterator[tuple[int, Blob]]:
        """Yield (number, result) of all, in order."""
        return chain.from_iterable(enumerate(blobs, first) for first, blobs in self._runs)

    def add(self, ranges: Sequence[Range], blobs: Sequence[Blob]) -> None:
        """Add one result for each number in `ranges`, in the same order. Cost: O(ranges), and a copy."""
        self.count += len(blobs)
        if len(ranges) == 1:
            self._runs.append((ranges[0][0], blobs))
            return
        at = 0
        for lo, hi in ranges:
            n = hi - lo + 1
            self._runs.append((lo, blobs[at : at + n]))
            at += n

    def take(self, n: int) -> list[Finished]:
        """Remove the first up to `n` results."""
        runs = self._runs
        taken: list[Finished] = []
        while runs and n > 0:
            first, blobs = runs.popleft()
            if len(blobs) > n:
                runs.appendleft((first + n, blobs[n:]))
                blobs = blobs[:n]
            taken.append((first, blobs))
            n -= len(blobs)
            self.count -= len(blobs)
        return taken

    def put_back(self, runs: Sequence[Finished]) -> None:
        """Return results that were taken, before all others."""
        self._runs.extendleft(reversed(runs))
        self.count += sum([len(blobs) for _, blobs in runs])

    def validate(self) -> None:
        """Raise AssertionError when the count is wrong or a job has two results."""
        numbers = [number for number, _ in self]
        assert self.count == len(numbers) == len(set(numbers))
        assert all(blobs for _, blobs in self._runs)


def those_of(
    found: Sequence[Range], ranges: Sequence[Range], blobs: Sequence[Blob]
) -> tuple[list[Range], list[Blob]]:
    """Return what of `ranges` is in `found`, each number once, and the results of these."""
    wanted = set(chain.from_iterable(range(lo, hi + 1) for lo, hi in found))
    kept: list[Range] = []
    results: list[Blob] = []
    numbers = chain.from_iterable(range(lo, hi + 1) for lo, hi in ranges)
    for number, blob in zip(numbers, blobs, strict=True):
        if number in wanted:
            wanted.discard(number)
            kept.append((number, number))
            results.append(blob)
    return kept, results
