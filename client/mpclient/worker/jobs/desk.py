"""The desk: the batch of jobs under way in a worker process.

    leased --> jobs --next_job--> current --finish--> finished --collect--> results on their way
                '-------- clear (the tender, a stop) --------> handed back

RULES
* Jobs are run in the order in which they were leased: when this process dies, the server takes the oldest
  one for the one it was at.
* The main thread runs jobs; the tender takes from both sides meanwhile. Jobs and results are moved one by one
  by single steps of a deque, so that each goes one way only, without a lock for each; only pills need one.
* `leased` names everything that may still be this session's: the batch, and one before it whose results are
  on their way. What is on it and was finished meanwhile is passed over by the server, so handing all of it
  back is always right.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from operator import eq
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from mpclient.values.partials import Place
from mpclient.values.rows import dump_values
from mpshared.bunch import BUNCH_LEAST, message_bytes
from mpshared.values import NONE, PICKLE_PROTOCOL, Blob, size_bytes

__all__ = [
    "ANSWERS",
    "ANSWER_BYTES",
    "NOTHING",
    "Desk",
    "Finished",
    "Job",
    "Opened",
    "Range",
    "Result",
    "is_answer",
    "ranges_of",
    "result_bytes",
]

Range: TypeAlias = tuple[int, int]
Job: TypeAlias = "Blob | tuple[Any, ...]"
"""A value, or, if all of the batch have been opened together, arguments; of a pool's, the one argument."""
Opened: TypeAlias = tuple[Place, Sequence[Any]]
"""Jobs that have been opened together: where their function is, and their arguments."""
Result: TypeAlias = Blob | int | float | str
"""A value, or an answer that is pickled together with others when results are collected."""
ANSWERS: Final = frozenset({int, float, bool, str})
"""Types of such answers."""
ANSWER_BYTES: Final = 64
"""None of them is larger than about this."""
_WIDE: Final = 1 << 64
_SHORT: Final = 64
T = TypeVar("T")


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
    if len(numbers) == 1:
        return [(numbers[0], numbers[0])]
    if numbers and all(map(eq, numbers, range(numbers[0], numbers[0] + len(numbers)))):
        return [(numbers[0], numbers[-1])]
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
        self._jobs: deque[tuple[int, Job]] = deque()
        self._done: deque[tuple[int, Result, Any]] = deque()
        self.next_job: Callable[[], tuple[int, Job]] = self._jobs.popleft
        """Takes the next job; raises `IndexError` when there is none."""
        self.finish: Callable[[tuple[int, Result, Any]], None] = self._done.append
        """Puts down (number, result, what must not be dropped before the server has it, or None)."""
        self.leased: list[Range] = []
        self._batch: list[Range] = []
        self.pool: str | None = None
        """The pool that the batch is from; None: the recipe queue."""
        self.spec_version = 0
        """Of that pool."""
        self.place: Place | None = None
        """Where the function is, if jobs lie here as arguments for it."""
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
        *,
        ahead: bool = False,
        opened: Opened | None = None,
    ) -> int:
        """Put a batch on the desk: [[first, last, attempt], …] and the values; return the size of these.

        `ahead`: results of the batch before it, of the same pool, may lie here. `opened`: its jobs, if they
        could be opened together.
        """
        before = self._batch if ahead else []
        self.pool, self.spec_version = pool, spec_version
        self.place, jobs_here = opened or (None, blobs)
        self.began_s = time.monotonic()
        if len(blobs) == 1 and (pool is not None or blobs[0] != NONE):  # one job at a time: a short way
            number, blob = runs[0][0], blobs[0]
            self._batch = [(number, number)]
            self.leased = [*before, (number, number)]
            self._jobs.append((number, blob))
            return len(blob) if type(blob) is bytes else size_bytes(blob)
        self._batch = [(first, last) for first, last, _ in runs]
        self.leased = [*before, *self._batch]
        numbers = chain.from_iterable([range(first, last + 1) for first, last, _ in runs])
        jobs: list[tuple[int, Job]] = list(zip(numbers, jobs_here, strict=True))
        if pool is None and jobs and jobs[-1][1] == NONE:
            self._pill = jobs.pop()[0]
        self._jobs.extend(jobs)
        return message_bytes(blobs)

    def collect(self) -> Finished:
        """Take what is finished off the desk."""
        take = self._done.popleft
        try:
            number, result, thing = first = take()
        except IndexError:
            return NOTHING
        if not self._done:
            return Finished((number,), _pickled((result,)), [] if thing is None else [thing], self.pool)
        done = [first, *_emptied(take)]
        numbers, results, alive = zip(*done, strict=True)
        return Finished(
            numbers, _pickled(results), [thing for thing in alive if thing is not None], self.pool
        )

    def put_back(self, finished: Finished) -> None:
        """Put what was collected, and could not be sent, on the desk again: before all that is there."""
        things: Any = finished.alive or None
        for number, result in zip(reversed(finished.numbers), reversed(finished.results), strict=True):
            self._done.appendleft((number, result, things))
            things = None

    def clear(self) -> list[Range]:
        """Take what was not begun off the desk; returns its numbers."""
        numbers = [number for number, _ in _emptied(self._jobs.pop)]
        numbers.reverse()
        pill = self.take_pill()
        return ranges_of(numbers if pill is None else [*numbers, pill])

    def take_pill(self) -> int | None:
        """Take the pill off the desk; None: the tender handed it back meanwhile."""
        with self._lock:
            pill, self._pill = self._pill, None
        return pill

    def __len__(self) -> int:
        """Return how many jobs there are to begin."""
        return len(self._jobs)

    @property
    def has_pill(self) -> bool:
        """Whether the batch ends with a pill."""
        return self._pill is not None

    @property
    def is_at_pill(self) -> bool:
        """Whether a pill is what comes next."""
        return self._pill is not None and not self._jobs

    @property
    def is_empty(self) -> bool:
        """Whether there is no job to begin."""
        return not self._jobs

    @property
    def is_batch(self) -> bool:
        """Whether there is more than one job to begin: a single one leaves nothing to tend."""
        return len(self._jobs) > 1

    @property
    def to_tend(self) -> bool:
        """Whether there is more than the one job that is running."""
        return bool(self._jobs or self._done)


def is_answer(answer: Any) -> bool:
    """Tell whether what a job returned is such an answer."""
    kind = type(answer)
    if kind is int:
        return bool(-_WIDE < answer < _WIDE)
    if kind is str:
        return len(answer) <= _SHORT
    return kind is float or kind is bool


def result_bytes(result: Result) -> int:
    """Return about how much of a message a result takes."""
    return ANSWER_BYTES if type(result) in ANSWERS else size_bytes(result)  # type: ignore[arg-type]


def _pickled(results: Sequence[Result]) -> Sequence[Blob]:
    """Return results as values."""
    kinds: set[type] = {*map(type, results)}
    if kinds <= ANSWERS and len(results) >= BUNCH_LEAST and (row := dump_values(results)) is not None:
        return row
    if kinds.isdisjoint(ANSWERS):
        return results  # type: ignore[return-value]
    return [pickle.dumps(one, PICKLE_PROTOCOL) if type(one) in ANSWERS else one for one in results]  # type: ignore[misc]


def _emptied(take: Callable[[], T]) -> list[T]:
    """Return what `take` returns until it raises IndexError."""
    taken: list[T] = []
    with suppress(IndexError):
        while True:
            taken.append(take())
    return taken
