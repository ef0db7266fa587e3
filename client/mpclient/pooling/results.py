"""What a Pool gives for what was submitted: `ApplyResult`, `MapResult`, and the iterators of `imap`.

RULES
* They behave as those of `multiprocessing.pool`, to the text of the exceptions. Where those would wait for
  ever (the pool was terminated, the server is gone) these raise.
* Callbacks run in the pool's own threads, before the result counts as ready; one that raises is reported, and
  the result is ready all the same.
* A result keeps its Pool alive until it is ready: a Pool nobody refers to is terminated.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mpclient.objects.waiting import join_timeout
from mpclient.pooling.outcomes import Failure, JobCancelled
from mpclient.pooling.threads import report

if TYPE_CHECKING:
    from mpclient.jobs import Jobs
    from mpclient.pooling.flow import Flow
    from mpclient.pooling.progress import Progress

__all__ = ["ApplyResult", "IMapIterator", "IMapUnorderedIterator", "MapResult", "Stream"]


def _call_back(function: Callable[[Any], Any], value: Any) -> None:
    """Call a user's function; what it raises is reported."""
    try:
        function(value)
    except Exception as err:  # noqa: BLE001 - users' code: it must not end the pool
        report(err)


def _timeout() -> Exception:
    from multiprocessing import TimeoutError as TimedOut  # noqa: PLC0415 - most programs never need it

    return TimedOut()


class ApplyResult:
    """The result of one call that may not have happened yet."""

    __slots__ = (
        "__weakref__",
        "_callback",
        "_claim",
        "_done",
        "_error_callback",
        "_gate",
        "_jobs",
        "_outcome",
        "_pool",
        "number",
    )

    def __init__(
        self,
        pool: Any,
        jobs: Jobs,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> None:
        self._pool = pool
        self._jobs = jobs
        self._callback = callback
        self._error_callback = error_callback
        self._gate = threading.Lock()  # a tenth of an Event's cost
        self._gate.acquire()
        self._claim = threading.Lock()
        """Taken by who settles it: a pool's end may come together with its outcome."""
        self._outcome: Any = None
        self._done = False
        self.number = 0

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)

    def ready(self) -> bool:
        """Tell whether the call has ended."""
        return self._done

    def successful(self) -> bool:
        """Tell whether it ended without an exception.

        Raises:
            ValueError: It has not ended.
        """
        if not self._done:
            raise ValueError(f"{self!r} not ready")
        return type(self._outcome) is not Failure

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call has ended, `timeout` seconds at most."""
        if self._done:
            return
        self._jobs.check_may_wait()
        limit_s = join_timeout(timeout)
        if self._gate.acquire(timeout=-1 if limit_s is None else limit_s):
            self._gate.release()  # for the next who waits

    def get(self, timeout: float | None = None) -> Any:
        """Return what the call returned, or raise what it raised.

        Raises:
            multiprocessing.TimeoutError: It has not ended within `timeout` seconds.
        """
        self.wait(timeout)
        if not self._done:
            raise _timeout()
        outcome = self._outcome
        if type(outcome) is Failure:
            raise outcome.error
        return outcome

    def settle(self, outcome: Any) -> None:
        """Take the outcome, the first one; see `sources.Ticket`."""
        if self._done or not self._claim.acquire(blocking=False):
            return
        self._outcome = outcome
        if type(outcome) is Failure:
            if self._error_callback is not None:
                _call_back(self._error_callback, outcome.error)
        elif self._callback is not None:
            _call_back(self._callback, outcome)
        self._set_done()

    def _set_done(self) -> None:
        self._done = True
        self._pool = self._callback = self._error_callback = None
        self._gate.release()

    def forked(self, error: BaseException) -> None:
        """End, in a forked child; see `sources.Ticket`."""
        if not self._done:
            self._outcome = Failure(error)
            self._set_done()


class MapResult(ApplyResult):
    """The results of many calls, in their order."""

    __slots__ = ("_chunks", "_chunksize", "_lock", "_number_left", "_progress", "_values")

    def __init__(
        self,
        pool: Any,
        jobs: Jobs,
        chunk: int,
        length: int,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(pool, jobs, callback, error_callback)
        self._chunksize = chunk
        self._values: list[Any] = [None] * length
        self._chunks = -(-length // chunk) if chunk > 0 else 0
        self._number_left = self._chunks
        self._progress = progress
        self._lock = threading.Lock()
        if not self._chunks:  # as in the standard library: ready at once, and nobody is called back
            self._outcome = self._values
            self._set_done()

    @property
    def expects(self) -> bool:
        """Whether there is anything to wait for."""
        return self._chunks > 0

    def deliver(self, index: int, outcomes: Sequence[Any]) -> None:
        """Take the answers of chunks; see `flow.Outlet`."""
        if self._done:
            return
        chunk, values = self._chunksize, self._values
        for at, outcome in enumerate(outcomes, index):
            if type(outcome) is not Failure:
                values[at * chunk : (at + 1) * chunk] = outcome
            elif self._outcome is None:
                self._outcome = outcome  # the first one counts
        if self._progress is not None:
            self._note(index, outcomes)
        self._count(len(outcomes))

    def _note(self, index: int, outcomes: Sequence[Any]) -> None:
        assert self._progress is not None
        done = failed = 0
        for at, outcome in enumerate(outcomes, index):
            size = max(1, min(self._chunksize, len(self._values) - at * self._chunksize))
            done += size
            failed += size if type(outcome) is Failure else 0
        self._progress.note(done, failed)

    def _count(self, n: int) -> None:
        with self._lock:
            self._number_left -= n
            left = self._number_left
        if left == 0 and not self._done:
            self.settle(self._values if self._outcome is None else self._outcome)

    def _set_done(self) -> None:
        if self._progress is not None:
            self._progress.close()
        super()._set_done()

    def finish(self, n: int) -> None:
        """See `flow.Outlet`. An iterable may give another number of items than it said."""
        if n != self._chunks and not self._done:
            self._count(self._chunks - n)

    def fail(self, error: BaseException) -> None:
        """See `flow.Outlet`."""
        self.settle(Failure(error))

    def taken(self) -> int:
        """See `flow.Outlet`: all of it is wanted at once."""
        return 0

    def forked(self, error: BaseException) -> None:
        """See `flow.Outlet`."""
        self._progress = None
        super().forked(error)


class Stream:
    """What the outcomes of a flow go through on their way to an iterator.

    Args:
        ordered: Whether they come out in the order of the items.
        chunk: How many items each job has.
        progress: Told of each.
    """

    def __init__(self, *, ordered: bool, chunk: int = 1, progress: Progress | None = None) -> None:
        self.items: deque[Any] = deque()
        """What can be taken now."""
        self._ordered = ordered
        self._chunk = chunk
        self._progress = progress
        self._unsorted: dict[int, Sequence[Any]] = {}
        """Outcomes that others must precede, by the index of the first."""
        self._arrived = 0
        """How many have ever been in `items`."""
        self._length: int | None = None
        self._error: BaseException | None = None
        self._failed = False
        self._unread = False
        """Whether nobody will ever take anything."""
        self._changed = threading.Condition(threading.Lock())

    def deliver(self, index: int, outcomes: Sequence[Any]) -> None:
        """See `flow.Outlet`."""
        if self._progress is not None:
            self._note(outcomes)
        with self._changed:
            if self._failed:
                return
            if self._ordered and index != self._arrived:
                self._unsorted[index] = outcomes
                return
            self._add(outcomes)
            while self._unsorted and self._arrived in self._unsorted:
                self._add(self._unsorted.pop(self._arrived))
            self._changed.notify_all()

    def _add(self, outcomes: Sequence[Any]) -> None:
        if not self._unread:
            self.items.extend(outcomes)
        self._arrived += len(outcomes)

    def _note(self, outcomes: Sequence[Any]) -> None:
        assert self._progress is not None
        sizes = [1 if self._chunk == 1 or type(o) is Failure else len(o) for o in outcomes]
        self._progress.note(sum(sizes), sum(type(o) is Failure for o in outcomes))

    def finish(self, n: int) -> None:
        """See `flow.Outlet`."""
        with self._changed:
            if not self._failed:
                self._length = n
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """See `flow.Outlet`. What has arrived can still be taken."""
        with self._changed:
            if not self._failed and (self._length is None or self._arrived < self._length):
                self._failed, self._error = True, error
            self._changed.notify_all()

    def taken(self) -> int:
        """See `flow.Outlet`."""
        return self._arrived - len(self.items)

    def forked(self, error: BaseException) -> None:
        """See `flow.Outlet`."""
        self._changed = threading.Condition(threading.Lock())
        self._progress = None
        self.fail(error)

    def discard(self) -> None:
        """Keep nothing: who iterated is gone. For finalisers: takes no lock."""
        self._unread = True
        self.items.clear()
        self._end()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to take, and nothing to wait for."""
        return not self.items and self._arrived == self._length

    def wait(self, timeout_s: float | None, timed_out: Callable[[], Exception]) -> Any:
        """Return the next outcome, waiting for it.

        Raises:
            StopIteration: There is none.
            Whatever ended the flow; what `timed_out` makes, after `timeout_s` seconds.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self.items:
                if self._error is not None:
                    error, self._error, self._length = self._error, None, self._arrived
                    raise error
                if self._arrived == self._length:
                    self._end()
                    raise StopIteration
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise timed_out()
                self._changed.wait(left_s)
            return self.items.popleft()

    def _end(self) -> None:
        if self._progress is not None:
            self._progress.close()


class IMapIterator:
    """The results of `imap`, as they come, in the order of the items."""

    def __init__(self, pool: Any, jobs: Jobs, flow: Flow, stream: Stream) -> None:
        self._pool = pool
        self._jobs = jobs
        self._flow = flow
        self._stream = stream
        self._items = stream.items
        self._unlooked = 0
        """How many may be taken before the flow, if it is starved, is to be looked at."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            outcome = self._items.popleft()
        except IndexError:
            outcome = self._wait(None)
        if self._flow.starved:
            self._unlooked -= 1
            if self._unlooked < 0:
                self._unlooked = self._flow.look()
        if type(outcome) is Failure:
            raise outcome.error
        return outcome

    def next(self, timeout: float | None = None) -> Any:
        """Return the next result; see `__next__`.

        Raises:
            multiprocessing.TimeoutError: It did not come within `timeout` seconds.
        """
        if timeout is None or self._items:
            return self.__next__()
        outcome = self._wait(join_timeout(timeout))
        if type(outcome) is Failure:
            raise outcome.error
        return outcome

    def _wait(self, timeout_s: float | None) -> Any:
        self._flow.look()
        self._jobs.check_may_wait()
        try:
            return self._stream.wait(timeout_s, _timeout)
        except StopIteration:
            self._pool = None
            raise
        except KeyboardInterrupt:
            self._jobs.cancel(self._flow, JobCancelled("Ctrl-C cancelled what had not begun"))
            raise

    def __del__(self) -> None:
        # As in the standard library the rest runs all the same; nobody reads it any more.
        self._stream.discard()
        self._flow.close()


class IMapUnorderedIterator(IMapIterator):
    """The results of `imap_unordered`, as they come."""


def chained(chunks: Iterator[Sequence[Any]]) -> Iterator[Any]:
    """Return the items of chunks. A generator, as in the standard library: the first exception ends it."""
    return (item for chunk in chunks for item in chunk)
