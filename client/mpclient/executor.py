"""`cluster.executor()`: a `concurrent.futures.Executor` on the cluster's workers.

RULES
* `map` takes its iterables in the thread that calls it, at once, as the standard library does; with
  `buffersize` as that of Python 3.14: so many at the call, and one more whenever a result is asked for, in
  the thread that asks.
* A program that ends waits for what its executors still have to do, as the standard library's do.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from mpclient.jobs import Jobs
from mpclient.pool import Slots, chunks_of, open_jobs, session_of, window_of
from mpclient.pooling.flow import Flow
from mpclient.pooling.futures import Future, as_executors_say
from mpclient.pooling.outcomes import Failure, JobCancelled, PoolClosed
from mpclient.pooling.results import Stream, chained
from mpclient.pooling.threads import NoThreads
from mpclient.transport.living import Living
from mpclient.values.jobs_format import CALL, STAR
from mpshared.terms import Terms

if TYPE_CHECKING:
    from mpclient.session import Session

__all__ = ["Executor", "Future", "OnTerms"]

_SHUT: Final = "cannot schedule new futures after shutdown"


class OnTerms:
    """An executor's `submit`, on terms; made by `Executor.options`."""

    def __init__(self, executor: Executor, terms: Terms) -> None:
        self._executor = executor
        self.terms = terms

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Have ``fn(*args, **kwargs)`` called on these terms; see `Executor.submit`."""
        return self._executor._submit(fn, args, kwargs, self.terms)  # noqa: SLF001 - its other half


class Executor(concurrent.futures.Executor):
    """Calls that run on the cluster's workers.

    Args:
        max_workers: At most so many worker processes work for it at once; None: as many as there are.
        mp_context: A cluster, or a context made of one.
        initializer: Called once in each worker process that serves it, before the first call.
        initargs: Its arguments.
        max_tasks_per_child: A worker process is replaced after so many calls of this executor.
        max_attempts: How often a call is begun whose worker dies with it; None: as the server has it.
        name: What messages call it.

    Raises:
        ValueError, TypeError: As `concurrent.futures.ProcessPoolExecutor`.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        max_attempts: int | None = None,
        name: str = "",
    ) -> None:
        _check(max_workers, max_tasks_per_child, initializer)
        session: Session = session_of(mp_context)
        bounds = {"processes": max_workers, "max_tasks": max_tasks_per_child, "max_attempts": max_attempts}
        self._jobs = open_jobs(session, bounds, initializer, initargs, name)
        self._shut = False
        self._given_workers = max_workers
        self._slots = Slots(session)
        weakref.finalize(self, Jobs.abandon, self._jobs, finish=True).atexit = False
        _open.add(self._jobs)
        atexit.unregister(_wait_for_all)
        atexit.register(_wait_for_all)  # the last one runs first: an embedded cluster must still be there

    @property
    def _max_workers(self) -> int:
        """How many calls can run at once: what libraries read who choose how much they submit."""
        return self._given_workers or self._slots.number()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Have ``fn(*args, **kwargs)`` called; return its future.

        Raises:
            RuntimeError: The executor was shut down.
            BrokenProcessPool: Its threads cannot be started (a RuntimeError).
            TypeError, PicklingError, …: Something in the call cannot travel; the text says what.
        """
        return self._submit(fn, args, kwargs, None)

    def options(self, **terms: Any) -> OnTerms:
        """Return what submits calls to this executor on terms: ``executor.options(retries=3).submit(f, x)``.

        Args:
            **terms: what `mpshared.terms` has: retries, delay, timeout, ….

        Raises:
            TypeError, ValueError: There is no such term, or it cannot be that.
        """
        return OnTerms(self, Terms.asked_of_a_pool(**terms))

    def _submit(
        self, fn: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], terms: Terms | None
    ) -> Future:
        self._check_open()
        jobs = self._jobs
        future = Future(jobs)
        job = jobs.functions.call(fn, args, kwargs)
        try:
            jobs.submit(future, job, None if terms is None else terms.given())
        except NoThreads as err:
            raise as_executors_say(err) from err
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Return an iterator over the results of ``fn(*items)``, in the order of the items.

        Args:
            fn: What is called.
            *iterables: Its arguments; the shortest ends it.
            timeout: Seconds from now within which all results must have come.
            chunksize: How many calls travel and run as one.
            buffersize: At most so many jobs (calls, or chunks of them) are made ahead of the results that the
                program has asked for. None: all items are taken at once.

        Raises:
            Whatever the iterables raise; by the iterator, if it asks for more.
            TimeoutError: Time is up; by the iterator. What has not begun is cancelled then.
            RuntimeError: The executor was shut down, and items are left out; by the iterator.
        """
        deadline_s = None if timeout is None else time.monotonic() + timeout
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        self._check_open()
        lazy = buffersize is not None
        ahead = window_of(buffersize, 1)
        items: Iterable[tuple[Any, ...]] = zip(*iterables, strict=False)
        if not lazy:
            items = list(items)
        stream = Stream(ordered=True, chunk=chunksize)
        digest, lent = self._jobs.functions.lend(fn)
        made = _made(digest, items, chunksize)
        try:
            flow = Flow(self._jobs, stream, made, items=chunksize, lent=lent, by_hand=lazy)
            if lazy:
                flow.make(ahead, self._check_open)
            else:
                flow.start()
        except NoThreads as err:
            raise as_executors_say(err) from err
        # Who iterates lazily keeps the executor: collected, it would be closed, and the rest be left out.
        results = _results(self._jobs, flow, stream, deadline_s, self._check_open if lazy else None)
        if lazy:
            weakref.finalize(results, flow.let_go).atexit = False
        return results if chunksize == 1 else chained(results)

    def terminate_workers(self) -> None:
        """Take no more calls, cancel what has not begun, and end the worker processes of what runs.

        The futures of that raise `BrokenProcessPool`. Source: ProcessPoolExecutor, from Python 3.14 on.
        """
        self.shutdown(wait=False, cancel_futures=True)
        self._jobs.terminate()

    kill_workers = terminate_workers

    def _check_open(self) -> None:
        if self._shut:
            raise RuntimeError(_SHUT)
        if self._jobs in _closed_at_exit:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait`, return when all are over.

        Args:
            wait: Whether to wait.
            cancel_futures: Whether to cancel what has not begun.
        """
        self._shut = True
        if cancel_futures:
            self._jobs.cancel_all_now(JobCancelled("the executor was shut down before this call began"))
        self._jobs.close()
        if wait:
            self._jobs.join()


def _made(digest: str, items: Iterable[tuple[Any, ...]], chunksize: int) -> Iterator[tuple[Any, ...]]:
    if chunksize == 1:
        return ((CALL, digest, args, {}) for args in items)
    return ((STAR, digest, chunk) for chunk in chunks_of(items, chunksize))


def _results(
    jobs: Jobs, flow: Flow, stream: Stream, deadline_s: float | None, check: Callable[[], None] | None
) -> Iterator[Any]:
    """Yield the outcomes of a flow; whatever ends that early cancels the rest.

    Args:
        jobs: Whose.
        flow: What makes the calls.
        stream: Where the outcomes come.
        deadline_s: Until when all must have come.
        check: With it the flow is one whose calls are made by hand; see `Flow.make`.
    """
    try:
        while True:
            if check is not None:
                flow.make(1, check)
            try:
                outcome = [stream.items.popleft() if stream.items else _wait(jobs, stream, deadline_s)]
            except StopIteration:
                return
            if type(outcome[0]) is Failure:
                raise as_executors_say(outcome[0].error)
            yield outcome.pop()  # held by nobody but who takes it
    finally:
        if not stream.is_over:
            stream.discard()
            jobs.cancel(flow, JobCancelled("nobody waits for this any more"))
            flow.let_go()


def _wait(jobs: Jobs, stream: Stream, deadline_s: float | None) -> Any:
    jobs.check_may_wait()
    left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
    try:
        return stream.wait(left_s, TimeoutError)
    except (NoThreads, PoolClosed) as err:
        raise as_executors_say(err) from err


def _check(max_workers: int | None, max_tasks_per_child: int | None, initializer: object) -> None:
    """Refuse what the standard library refuses, in its words."""
    if max_workers is not None and max_workers <= 0:
        raise ValueError("max_workers must be greater than 0")
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be a callable")
    if max_tasks_per_child is not None:
        if not isinstance(max_tasks_per_child, int):
            raise TypeError("max_tasks_per_child must be an integer")
        if max_tasks_per_child <= 0:
            raise ValueError("max_tasks_per_child must be >= 1")


def _wait_for_all() -> None:
    """Finish what was submitted before the program ends."""
    for jobs in _open.all():
        if jobs.over is None:
            _closed_at_exit.add(jobs)
            jobs.close()
            jobs.join()


_open: Final[Living[Jobs]] = Living()
_closed_at_exit: Final[weakref.WeakSet[Jobs]] = weakref.WeakSet()
