"""Which job has which number: runs of numbers, one for each message of jobs.

RULES
* Numbers ascend and are never used again, so a new span goes to the end, and looking one up is a bisection.
* A span lives until each of its jobs has had its outcome.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

__all__ = ["Sink", "Span", "Spans"]


class Sink(Protocol):
    """Who gets the outcomes of a span's jobs."""

    def deliver(self, index: int, outcomes: Sequence[Any]) -> None:
        """Take the outcomes of some jobs in a row, the first of which is job `index`."""


class Span:
    """Jobs `first` to `last`; the first one is job `base` of its sink."""

    __slots__ = ("base", "first", "last", "left", "sink")

    def __init__(self, first: int, n: int, sink: Sink, base: int) -> None:
        self.first = first
        self.last = first + n - 1
        self.sink = sink
        self.base = base
        self.left = n
        """How many have no outcome yet."""


class Spans:
    """All spans under way. Not safe in threads: its owner has a lock."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._spans: list[Span] = []

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(list(self._spans))

    def add(self, span: Span) -> None:
        """Add the span with the highest numbers so far."""
        self._firsts.append(span.first)
        self._spans.append(span)

    def split(self, first: int, last: int) -> Iterator[tuple[Span, int, int]]:
        """Yield (span, first, last) of the parts that a range of numbers falls into; others are left out."""
        at = max(0, bisect_right(self._firsts, first) - 1)
        while at < len(self._spans) and self._firsts[at] <= last:
            span = self._spans[at]
            low, high = max(first, span.first), min(last, span.last)
            if low <= high:
                yield span, low, high
            at += 1

    def settle(self, span: Span, n: int) -> bool:
        """Note that `n` jobs of a span have had their outcomes; False: the span was forgotten meanwhile."""
        at = self._find(span)
        if at is None:
            return False
        span.left -= n
        if span.left <= 0:
            del self._firsts[at], self._spans[at]
        return True

    def remove(self, span: Span) -> bool:
        """Forget a span; False: it was forgotten before."""
        at = self._find(span)
        if at is not None:
            del self._firsts[at], self._spans[at]
        return at is not None

    def _find(self, span: Span) -> int | None:
        at = bisect_right(self._firsts, span.first) - 1
        return at if at >= 0 and self._spans[at] is span else None

    def clear(self) -> list[Span]:
        """Forget all; return them."""
        spans = self._spans
        self._firsts, self._spans = [], []
        return spans
