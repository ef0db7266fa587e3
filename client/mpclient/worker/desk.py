"""The desk: the batch of jobs under way in a worker process.

    leased --> jobs --next_job--> current --finish--> finished --collect--> results on their way
                '-------- clear (the tender, a stop) --------> handed back

RULES
* Jobs are run in the order in which they were leased: when this process dies, the server takes the oldest
  one for the one it was at.
* The main thread runs jobs; the tender takes from both ends meanwhile. Every method holds the lock and
  waits for nothing.
* `leased` names everything that may still be this session's. What is on it and was finished meanwhile is
  passed over by the server, so handing all of it back is always right.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from mpshared.values import NONE, Blob, size_bytes

__all__ = ["NOTHING", "Desk", "Finished", "Range", "ranges_of"]

Range: TypeAlias = tuple[int, int]


class Finished(NamedTuple):
    """Jobs that are done and not yet acknowledged."""

    numbers: Sequence[int]
    results: Sequence[Blob]
    """One for each number."""
    alive: Sequence[Any]
    """Answers that mention shared objects: these must not be dropped before the server has the results."""
    pool: str | None = None
    """The pool they are from; None: the recipe queue."""

    def part(self, start: int, stop: int) -> Finished:
        """Return some of them."""
        return self._replace(numbers=self.numbers[start:stop], results=self.results[start:stop])


NOTHING: Final = Finished((), (), ())


def ranges_of(numbers: Sequence[int]) -> list[Range]:
    """Return numbers, mostly ascending, as ranges with both ends included."""
    ranges: list[Range] = []
    first = last = -1
    for number in numbers:
        if number != last + 1 or first < 0:
            if first >= 0:
                ranges.append((first, last))
            first = number
        last = number
    if first >= 0:
        ranges.append((first, last))
    return ranges


class Desk:
    """See the file's beginning."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[tuple[int, Blob]] = deque()
        self._numbers: list[int] = []
        self._results: list[Blob] = []
        self._alive: list[Any] = []
        self.leased: list[Range] = []
        self.pool: str | None = None
        """The pool that the batch is from; None: the recipe queue."""
        self.spec_version = 0
        """Of that pool."""
        self.result_bytes = 0
        """Of the results that wait here."""
        self.began_s = 0.0
        """When the batch was received, monotonic."""
        self._pill: int | None = None
        """Number of the pill that ended the batch."""

    def receive(
        self,
        runs: Sequence[Sequence[int]],
        blobs: Sequence[Blob],
        pool: str | None = None,
        spec_version: int = 0,
    ) -> int:
        """Put a batch on the desk: [[first, last, attempt], …] and the values; return the size of these."""
        numbers = [number for first, last, _ in runs for number in range(first, last + 1)]
        with self._lock:
            self.leased = [(first, last) for first, last, _ in runs]
            self.pool, self.spec_version = pool, spec_version
            self.began_s = time.monotonic()
            if pool is None and blobs and blobs[-1] == NONE:
                self._pill = numbers[-1]
            self._jobs.extend(zip(numbers, blobs, strict=True))
            if self._pill is not None:
                self._jobs.pop()
        return sum(map(size_bytes, blobs))

    def next_job(self) -> tuple[int, Blob] | None:
        """Take the next job, or None."""
        with self._lock:
            return self._jobs.popleft() if self._jobs else None

    def finish(self, number: int, result: Blob, alive: Any) -> None:
        """Put down the result of a job; `alive` is kept until the server has it, unless None."""
        with self._lock:
            self._numbers.append(number)
            self._results.append(result)
            self.result_bytes += len(result) if type(result) is bytes else size_bytes(result)
            if alive is not None:
                self._alive.append(alive)

    def collect(self) -> Finished:
        """Take what is finished off the desk."""
        with self._lock:
            finished = Finished(self._numbers, self._results, self._alive, self.pool)
            self._numbers, self._results, self._alive = [], [], []
            self.result_bytes = 0
        return finished

    def clear(self) -> list[Range]:
        """Take what was not begun off the desk; returns its numbers."""
        with self._lock:
            numbers = [number for number, _ in self._jobs]
            if self._pill is not None:
                numbers.append(self._pill)
                self._pill = None
            self._jobs.clear()
        return ranges_of(numbers)

    def take_pill(self) -> int | None:
        """Take the pill off the desk; None: the tender handed it back meanwhile."""
        with self._lock:
            pill, self._pill = self._pill, None
        return pill

    @property
    def is_at_pill(self) -> bool:
        """Whether a pill is what comes next."""
        return self._pill is not None and not self._jobs

    @property
    def is_empty(self) -> bool:
        """Whether there is no job to begin."""
        return not self._jobs

    @property
    def to_tend(self) -> bool:
        """Whether there is more than the one job that is running."""
        return bool(self._jobs or self._numbers)
