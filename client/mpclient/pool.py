"""`Pool`, as in `multiprocessing.pool`, with the cluster's workers in place of processes of its own.

RULES
* Arguments, results, exceptions and their texts are the standard library's. What is more (`buffersize`,
  `progress`, `max_attempts`) is by keyword only.
* Who is interrupted while `apply`, `map` or `starmap` waits, or `imap` by Ctrl-C, has what has not begun
  cancelled: nobody will ask for it.
* A Pool that nobody refers to is terminated; its results refer to it until they are ready.
"""

from __future__ import annotations

import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from mpclient.jobs import Jobs
from mpclient.pooling.flow import WINDOW, Flow, Ready
from mpclient.pooling.outcomes import JobCancelled
from mpclient.pooling.progress import progress_of
from mpclient.pooling.results import (
    ApplyResult,
    IMapIterator,
    IMapUnorderedIterator,
    MapResult,
    Stream,
    chained,
)
from mpclient.pooling.vigil import slots_of
from mpclient.values.jobs_format import ITEM, MAP, STAR
from mpshared.terms import Terms

if TYPE_CHECKING:
    from types import TracebackType

    from mpclient.pooling.progress import Wanted
    from mpclient.session import Session

__all__ = [
    "ApplyResult",
    "AsyncResult",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapResult",
    "Pool",
    "ThreadPool",  # noqa: F822 - made when it is asked for
]

AsyncResult = ApplyResult

RUN: Final = "RUN"
CLOSE: Final = "CLOSE"
TERMINATE: Final = "TERMINATE"

_NO_KWARGS: Final[dict[str, Any]] = {}
_INTERRUPTED: Final = "the call that waited for this was interrupted"
_SLOTS_S: Final = 1.0
"""How long the number of the workers' slots is taken for granted."""
_CHUNK_BYTES: Final = 8 << 20
"""About what a chunk has at most, where nobody says how large it is to be."""
_SLOTS_UNKNOWN: Final = 16
"""What chunks are cut for while no worker is connected: some may come."""
_READY: Final = frozenset({range, list, tuple, str, bytes, frozenset})
"""Iterables whose next item is there at once, and never an exception."""


class Pool:
    """Worker processes of the cluster, as a pool of this program's.

    Args:
        processes: At most so many work for this pool at once; None: as many as there are.
        initializer: Called once in each worker process that serves the pool, before its first job.
        initargs: Its arguments.
        maxtasksperchild: A worker process is replaced after so many jobs of this pool (a chunk is one).
        context: A cluster, or a context made of one; None: the default cluster.
        max_attempts: How often a job is begun whose worker dies with it; None: as the server has it.
        name: What messages call the pool.

    Raises:
        ValueError, TypeError: As the standard library's.
        NoWorkers: The initializer is code of a Python that none of the connected workers has.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        *,
        max_attempts: int | None = None,
        name: str = "",
    ) -> None:
        self._state = "INIT"
        _check(processes, maxtasksperchild, initializer)
        self._given_processes = processes
        self._session = session_of(context)
        self._slots = Slots(self._session)
        bounds = {"processes": processes, "max_tasks": maxtasksperchild, "max_attempts": max_attempts}
        self._jobs = open_jobs(self._session, bounds, initializer, initargs, name)
        self._finalizer = weakref.finalize(self, Jobs.abandon, self._jobs)
        self._finalizer.atexit = False  # the session says goodbye then
        self._state = RUN

    def __del__(self) -> None:
        if self._state == RUN:
            warnings.warn(
                f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self, stacklevel=2
            )

    def __repr__(self) -> str:
        size = "any" if self._given_processes is None else self._given_processes
        return f"<{type(self).__module__}.{type(self).__qualname__} state={self._state} pool_size={size}>"

    def __reduce__(self) -> NoReturn:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    @property
    def _processes(self) -> int:
        """How many jobs can run at once: what programs read who choose their own chunks."""
        return self._given_processes or self._slots.number()

    @property
    def _cache(self) -> dict[int, Any]:
        """What has no outcome yet; see `pooling.backlog`."""
        from mpclient.pooling.backlog import under_way  # noqa: PLC0415 - for few programs

        return under_way(self._jobs)

    @property
    def _taskqueue(self) -> Any:
        """Who waits for a worker; see `pooling.backlog`."""
        from mpclient.pooling.backlog import Backlog  # noqa: PLC0415 - for few programs

        return Backlog(self._jobs, lambda: self._processes)

    # -- one call --------------------------------------------------------------------------------

    def apply(
        self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = _NO_KWARGS
    ) -> Any:
        """Return ``func(*args, **kwds)``, called in a worker."""
        return self._wait(self.apply_async(func, args, kwds))

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = _NO_KWARGS,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        **terms: Any,
    ) -> ApplyResult:
        """Have ``func(*args, **kwds)`` called in a worker; return what will hold the result.

        Args:
            func: What is called.
            args: Its arguments.
            kwds: Its arguments by name.
            callback: Called with the result.
            error_callback: Called with the exception instead.
            **terms: what `mpshared.terms` has: retries, delay, timeout, ….

        Raises:
            TypeError, PicklingError, …: Something in the call cannot travel; the text says what.
            TypeError, ValueError: There is no such term, or it cannot be that.
        """
        self._check_running()
        agreed = Terms.asked_of_a_pool(**terms).given() if terms else None
        result = ApplyResult(self, self._jobs, callback, error_callback)
        self._jobs.submit(result, self._jobs.functions.call(func, args, kwds), agreed)
        return result

    # -- many calls ------------------------------------------------------------------------------

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        *,
        progress: Wanted = False,
    ) -> list[Any]:
        """Return the results of `func` for each item, in their order."""
        return self._map(MAP, func, iterable, chunksize, progress)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        *,
        progress: Wanted = False,
    ) -> list[Any]:
        """Return the results of ``func(*item)`` for each item, in their order."""
        return self._map(STAR, func, iterable, chunksize, progress)

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        *,
        progress: Wanted = False,
    ) -> MapResult:
        """Begin what `map` does; return what will hold the results."""
        result, flow = self._mapping(MAP, func, iterable, chunksize, callback, error_callback, progress)
        flow.start()
        return result

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        *,
        progress: Wanted = False,
    ) -> MapResult:
        """Begin what `starmap` does; return what will hold the results."""
        result, flow = self._mapping(STAR, func, iterable, chunksize, callback, error_callback, progress)
        flow.start()
        return result

    def _map(
        self,
        how: int,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        progress: Wanted,
    ) -> list[Any]:
        result, flow = self._mapping(how, func, iterable, chunksize, None, None, progress)
        try:
            flow.feed()
            values: list[Any] = result.get()
            return values
        except BaseException:
            if not result.ready():
                self._jobs.cancel(flow, JobCancelled(_INTERRUPTED))
            raise

    def _wait(self, result: ApplyResult) -> Any:
        try:
            return result.get()
        except BaseException:
            if not result.ready():
                self._jobs.cancel_soon(result, JobCancelled(_INTERRUPTED))
            raise

    def _mapping(
        self,
        how: int,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        callback: Callable[[list[Any]], Any] | None,
        error_callback: Callable[[BaseException], Any] | None,
        progress: Wanted,
    ) -> tuple[MapResult, Flow]:
        self._check_running()
        items: Any = iterable if hasattr(iterable, "__len__") else list(iterable)
        length = len(items)
        chunk = 0 if not length else self._chunk_of(items, length) if chunksize is None else chunksize
        shown = progress_of(progress, items, _name_of(func))
        result = MapResult(self, self._jobs, chunk, length, callback, error_callback, shown)
        if not result.expects:
            return result, Flow(self._jobs, result, ())
        digest, lent = self._jobs.functions.lend(func)
        made = jobs_of(how, digest, items, chunk)
        return result, Flow(self._jobs, result, made, items=chunk, lent=lent)

    def _chunk_of(self, items: Any, length: int) -> int:
        """Return the standard library's number, less where that would be too much for one message."""
        chunk = -(-length // (self._processes * 4))
        with suppress(Exception):  # not all that has a length has a first item
            return min(chunk, max(1, _CHUNK_BYTES // _size_bytes(items[0])))
        return chunk

    # -- streams ---------------------------------------------------------------------------------

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        progress: Wanted = False,
    ) -> Iterator[Any]:
        """Return an iterator over the results, in the order of the items, which are taken lazily.

        Args:
            func: What is called.
            iterable: May be endless: at most `buffersize` items are taken ahead of the results that the
                program has taken. `close` lifts that bound.
            chunksize: How many items a job has.
            buffersize: None: thousands.
            progress: See `progress.Wanted`.
        """
        return self._stream(func, iterable, chunksize, buffersize, progress, ordered=True)

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        progress: Wanted = False,
    ) -> Iterator[Any]:
        """Return an iterator over the results as they come; see `imap`."""
        return self._stream(func, iterable, chunksize, buffersize, progress, ordered=False)

    def _stream(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int,
        buffersize: int | None,
        progress: Wanted,
        *,
        ordered: bool,
    ) -> Iterator[Any]:
        self._check_running()
        if chunksize < 1:
            shown = f"{chunksize:n}" if ordered else f"{chunksize!r}"  # each as in the standard library
            raise ValueError(f"Chunksize must be 1+, not {shown}")
        window = window_of(buffersize, chunksize)
        stream = Stream(
            ordered=ordered, chunk=chunksize, progress=progress_of(progress, iterable, _name_of(func))
        )
        digest, lent = self._jobs.functions.lend(func)
        made: Iterable[tuple[Any, ...]] | Ready = (
            Ready(digest, iterable)
            if chunksize == 1 and type(iterable) in _READY
            else jobs_of(ITEM if chunksize == 1 else MAP, digest, iterable, chunksize)
        )
        flow = Flow(self._jobs, stream, made, items=chunksize, window=window, bounded=True, lent=lent)
        results = (IMapIterator if ordered else IMapUnorderedIterator)(self, self._jobs, flow, stream)
        flow.start()
        return results if chunksize == 1 else chained(results)

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more jobs; those that are there are finished."""
        if self._state == RUN:
            self._state = CLOSE
            self._jobs.close()

    def terminate(self) -> None:
        """End now: what is not finished has no result, and worker processes that are at it are ended."""
        self._state = TERMINATE
        self._jobs.terminate()

    def join(self) -> None:
        """Wait until everything is finished, after `close` or `terminate`.

        Raises:
            ValueError: Neither was called.
        """
        if self._state == RUN:
            raise ValueError("Pool is still running")
        self._jobs.join()


def open_jobs(
    session: Session,
    bounds: Mapping[str, int | None],
    initializer: Callable[..., object] | None,
    initargs: Iterable[Any],
    name: str,
) -> Jobs:
    """Open a pool at the server, and tell it what its workers have to know."""
    jobs = Jobs(session, {key: value for key, value in bounds.items() if value is not None})
    try:
        jobs.equip(name, initializer, tuple(initargs))
    except BaseException:
        jobs.terminate()
        raise
    return jobs


class Slots:
    """How many jobs can run at once; asked of the server now and then only."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known = 0, 0.0

    def number(self) -> int:
        """Return it; some number while no worker is connected."""
        slots, asked_s = self._known
        if time.monotonic() - asked_s > _SLOTS_S or not asked_s:
            slots = slots_of(self._session)
            self._known = slots, time.monotonic()
        return slots or _SLOTS_UNKNOWN


def window_of(buffersize: int | None, chunksize: int) -> int:
    """Return how many jobs may be made ahead for a buffer of so many items.

    Raises:
        TypeError, ValueError: As `concurrent.futures.Executor.map`.
    """
    if buffersize is None:
        return max(2, WINDOW // chunksize)
    if not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    return max(1, buffersize // chunksize)


def chunks_of(iterable: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Yield the items of an iterable, `size` at a time."""
    iterator = iter(iterable)
    while chunk := tuple(islice(iterator, size)):
        yield chunk


def _size_bytes(item: Any) -> int:
    """Return about how large an item is, without pickling it."""
    size = getattr(item, "nbytes", None)
    return max(1, size if isinstance(size, int) else sys.getsizeof(item))


def jobs_of(how: int, digest: str, iterable: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Yield a job (see `jobs_format`) for each item, or for each `size` items; begins the iterable lazily."""
    if how == ITEM:
        for item in iterable:
            yield ITEM, digest, item
    else:
        for chunk in chunks_of(iterable, size):
            yield how, digest, chunk


def _check(processes: int | None, maxtasksperchild: int | None, initializer: object) -> None:
    """Refuse what the standard library refuses, in its words."""
    if processes is not None and processes < 1:
        raise ValueError("Number of processes must be at least 1")
    given: Any = maxtasksperchild  # anything, whatever its annotation says
    if given is not None and (not isinstance(given, int) or given <= 0):
        raise ValueError("maxtasksperchild must be a positive int or None")
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be a callable")


def session_of(context: Any) -> Session:
    """Return the session that a cluster, or a context made of one, stands for."""
    if context is None:
        from mpclient.default import default_cluster  # noqa: PLC0415 - only where nothing else is given

        return default_cluster().session
    session = getattr(context, "session", None)
    if session is None:
        raise TypeError(f"context must be a cluster, or a context made of one, not {context!r:.80}")
    return session  # type: ignore[no-any-return]


def _name_of(function: Any) -> str:
    """Return what stands beside a progress bar."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def __getattr__(name: str) -> Any:
    if name not in {"MaybeEncodingError", "RemoteTraceback", "ThreadPool"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import multiprocessing.pool  # noqa: PLC0415 - only for who asks

    found = globals()[name] = getattr(multiprocessing.pool, name)
    return found
