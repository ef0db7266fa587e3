"""Numbers of items as ranges: counted, merged, found among others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeAlias

from mpshared.values import Blob

__all__ = ["Range", "count_of", "merged", "numbers_of", "those_of"]

Range: TypeAlias = tuple[int, int]
"""First and last item number, both included."""


def merged(ranges: Sequence[Range]) -> Sequence[Range]:
    """Return the same numbers as ascending ranges that do not touch."""
    if len(ranges) < 2:
        return ranges
    result: list[Range] = []
    for lo, hi in sorted(ranges):
        if result and lo <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(hi, result[-1][1]))
        else:
            result.append((lo, hi))
    return result


def count_of(ranges: Sequence[Range]) -> int:
    """Return how many numbers `ranges` hold."""
    if len(ranges) == 1:
        return ranges[0][1] - ranges[0][0] + 1
    return sum(hi - lo + 1 for lo, hi in ranges)


def numbers_of(ranges: Iterable[Range]) -> Iterator[int]:
    """Yield the numbers that `ranges` hold."""
    return chain.from_iterable(range(lo, hi + 1) for lo, hi in ranges)


def those_of(
    found: Sequence[Range], ranges: Sequence[Range], blobs: Sequence[Blob]
) -> tuple[list[Range], list[Blob]]:
    """Return what of `ranges` is in `found`, each number once, and the results of these."""
    wanted = set(numbers_of(found))
    kept: list[Range] = []
    results: list[Blob] = []
    for number, blob in zip(numbers_of(ranges), blobs, strict=True):
        if number in wanted:
            wanted.discard(number)
            kept.append((number, number))
            results.append(blob)
    return kept, results
