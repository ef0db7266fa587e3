"""Timers: a heap of deadlines with lazy deletion, so that to cancel costs nothing.

The engine asks `next_s` how long the loop may sleep and calls `due` when it wakes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, TypeAlias

__all__ = ["Timer", "Timers"]

Action: TypeAlias = Callable[..., None]


class Timer:
    """One deadline. Cancelled by `cancel`; the heap forgets it when it comes up."""

    __slots__ = ("action", "args", "deadline_s")

    def __init__(self, deadline_s: float, action: Action, args: tuple[Any, ...]) -> None:
        self.deadline_s = deadline_s
        self.action: Action | None = action
        self.args = args

    def cancel(self) -> None:
        """Never run the action."""
        self.action = None
        self.args = ()


class Timers:
    """All deadlines of an engine."""

    __slots__ = ("_cancelled_limit", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled_limit = 1024

    def __len__(self) -> int:
        return sum(timer.action is not None for _, _, timer in self._heap)

    def add(self, deadline_s: float, action: Action, *args: Any) -> Timer:
        """Run ``action(fx, *args)`` at `deadline_s` (monotonic seconds). Cost: O(log n)."""
        timer = Timer(deadline_s, action, args)
        heapq.heappush(self._heap, (deadline_s, next(self._order), timer))
        if len(self._heap) > self._cancelled_limit:
            self._sweep()
        return timer

    def next_s(self) -> float | None:
        """Return the earliest deadline, or None."""
        heap = self._heap
        while heap and heap[0][2].action is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now_s: float) -> Iterator[Timer]:
        """Yield, earliest first, the timers that are due; each is removed before it is yielded."""
        while self._heap and self._heap[0][0] <= now_s:
            timer = heapq.heappop(self._heap)[2]
            if timer.action is not None:
                yield timer

    def _sweep(self) -> None:
        # Long timeouts that are always cancelled early (get(timeout=3600) in a loop) would pile up otherwise.
        self._heap = [entry for entry in self._heap if entry[2].action is not None]
        heapq.heapify(self._heap)
        self._cancelled_limit = max(1024, 2 * len(self._heap))
