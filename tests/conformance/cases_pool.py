"""Pools: `multiprocessing.pool`."""

from __future__ import annotations

import threading

from tests.conformance import work
from tests.conformance.harness import case

from mpclient.testing import wait_until


def caught(function, *args):
    """Return the type of an exception's cause, and its arguments."""
    try:
        function(*args)
    except Exception as err:
        return type(err).__name__, err.args, type(err.__cause__).__name__, getattr(err, "code", None)
    return None


def called_back(submit):
    """Return what the callbacks of `submit` were given."""
    got: list[object] = []
    result = submit(
        lambda value: got.append(("callback", value)), lambda err: got.append(("error", repr(err)))
    )
    result.wait(30)
    return got


@case(
    "multiprocessing.Pool()",
    of="pool.Pool",
    notes={
        "Process()": "not there: worker processes belong to their hosts",
        "_cache, _taskqueue.qsize()": "what has no result yet, and how much of that more than can run at once: for "
        "programs that hold back, or show how far they are",
    },
)
def pool(side):
    with side.mp.Pool(2) as pool:
        yield from _one_call(pool)
        yield from _maps(pool)
        yield from _streams(pool)
        yield "apply() of what cannot be pickled", lambda: pool.apply(work.double, (threading.Lock(),))
        yield "join() of a running one", pool.join
        yield (
            "_cache when all is done",
            lambda: wait_until(lambda: not pool._cache),
        )  # a moment after the results
        yield (
            "_taskqueue.qsize() when all is done",
            lambda: (pool._taskqueue.qsize(), pool._taskqueue.empty()),
        )
        yield "close()", pool.close
        yield "apply_async() when it is closed", lambda: pool.apply_async(work.double, (1,))
        yield "map() when it is closed", lambda: pool.map(work.double, [1])
        yield "imap() when it is closed", lambda: pool.imap(work.double, [1])
        yield "join()", pool.join
        yield "close() again", pool.close
        yield "terminate()", pool.terminate
        yield "__enter__ when it is closed", pool.__enter__
    yield from _making(side)


def _one_call(pool):
    yield "apply(func, (1,))", lambda: pool.apply(work.double, (1,))
    yield "apply(func, (1,), {'b': 2})", lambda: pool.apply(work.add, (1,), {"b": 2})
    yield "apply(func, kwds={'a': 1})", lambda: pool.apply(work.add, kwds={"a": 1})
    yield "apply(func, [1, 2])", lambda: pool.apply(work.add, [1, 2])
    yield "apply(func, args=(1,), kwds={})", lambda: pool.apply(func=work.add, args=(1,), kwds={})
    yield "apply() that fails", lambda: caught(pool.apply, work.fail)
    yield (
        "apply() that fails with an exception of the program's",
        lambda: caught(pool.apply, work.fail_custom),
    )
    yield "apply() with too many arguments", lambda: caught(pool.apply, work.double, (1, 2))
    yield "apply(func, 5)", lambda: pool.apply(work.double, 5)
    yield "apply(5)", lambda: pool.apply(5)
    yield "apply() that returns what cannot travel", lambda: pool.apply(work.return_what_cannot_travel)
    yield "apply_async(func, (2,))", lambda: pool.apply_async(work.double, (2,)).get(30)
    yield (
        "apply_async(…, callback, error_callback)",
        lambda: called_back(lambda good, bad: pool.apply_async(work.double, (1,), {}, good, bad)),
    )
    yield (
        "apply_async(…, callback=, error_callback=) that fails",
        lambda: called_back(lambda good, bad: pool.apply_async(work.fail, callback=good, error_callback=bad)),
    )


def _maps(pool):
    numbers = list(range(10))
    for args in ((), (1,), (3,), (100,)):
        shown = ", ".join(["func", "numbers", *map(str, args)])
        yield f"map({shown})", lambda args=args: pool.map(work.double, numbers, *args)
    yield "map(func, generator)", lambda: pool.map(work.double, (n for n in numbers))
    yield "map(func, [])", lambda: pool.map(work.double, [])
    yield (
        "map(func, iterable=numbers, chunksize=None)",
        lambda: pool.map(work.double, iterable=numbers, chunksize=None),
    )
    yield "map(func, 5)", lambda: pool.map(work.double, 5)
    yield "map(func, numbers, 0)", lambda: pool.map(work.double, numbers, 0)
    yield "map() that fails", lambda: caught(pool.map, work.fail_at, numbers)
    yield "map() of a text", lambda: pool.map(work.double, "abc")
    yield "starmap(func, pairs)", lambda: pool.starmap(work.add, [(1, 2), (3,)])
    yield "starmap(func, pairs, chunksize=1)", lambda: pool.starmap(work.add, [(1, 2), (3,)], chunksize=1)
    yield "starmap(func, numbers)", lambda: caught(pool.starmap, work.add, numbers)
    yield "map_async(func, numbers)", lambda: pool.map_async(work.double, numbers).get(30)
    yield (
        "map_async(…, 2, callback, error_callback)",
        lambda: called_back(lambda good, bad: pool.map_async(work.double, numbers, 2, good, bad)),
    )
    yield (
        "map_async() that fails",
        lambda: called_back(lambda good, bad: pool.map_async(work.fail_at, numbers, 1, good, bad)),
    )
    yield (
        "map_async(func, [])",
        lambda: called_back(lambda good, bad: pool.map_async(work.double, [], None, good, bad)),
    )
    yield "starmap_async(func, pairs)", lambda: pool.starmap_async(work.add, [(1, 2)]).get(30)
    yield (
        "starmap_async(…, callback=)",
        lambda: called_back(
            lambda good, bad: pool.starmap_async(work.add, [(1, 2)], callback=good, error_callback=bad)
        ),
    )


def _streams(pool):
    numbers = range(6)
    yield "imap(func, numbers)", lambda: list(pool.imap(work.double, numbers))
    yield "imap(func, numbers, 2)", lambda: list(pool.imap(work.double, numbers, 2))
    yield (
        "imap(func, iterable=numbers, chunksize=4)",
        lambda: list(pool.imap(work.double, iterable=numbers, chunksize=4)),
    )
    yield "imap(func, numbers, 0)", lambda: pool.imap(work.double, numbers, 0)
    yield "imap(func, [])", lambda: list(pool.imap(work.double, []))
    yield "imap(func, 5)", lambda: list(pool.imap(work.double, 5))
    yield "imap_unordered(func, numbers)", lambda: sorted(pool.imap_unordered(work.double, numbers))
    yield "imap_unordered(func, numbers, 2)", lambda: sorted(pool.imap_unordered(work.double, numbers, 2))
    yield "imap_unordered(func, numbers, 0)", lambda: pool.imap_unordered(work.double, numbers, 0)

    def around_a_failure():
        got, results = [], pool.imap(work.fail_at, range(5))
        while True:
            try:
                got.append(next(results))
            except StopIteration:
                return got
            except KeyError as err:
                got.append(repr(err))

    yield "imap() goes on behind a failure", around_a_failure


def _making(side):
    make = side.mp.Pool
    yield "Pool(0)", lambda: make(0)
    yield "Pool(-1)", lambda: make(-1)
    yield "Pool('x')", lambda: make("x")
    yield "Pool(1, 5)", lambda: make(1, 5)
    yield "Pool(maxtasksperchild=0)", lambda: make(maxtasksperchild=0)
    yield "Pool(maxtasksperchild='x')", lambda: make(maxtasksperchild="x")

    def initialized():
        with make(1, work.note, (1, 2)) as pool:
            return pool.map(work.noted, range(3), 1)

    yield "Pool(1, initializer, initargs)", initialized

    def pids(**more):
        with make(1, **more) as pool:
            return len(set(pool.map(work.pid, range(4), 1)))

    yield "Pool(1, maxtasksperchild=2)", lambda: pids(maxtasksperchild=2)
    yield "Pool(1)", pids

    def closed():
        pool = make(2)
        results = pool.imap(work.double, range(3))
        pool.close()
        pool.join()
        return list(results)

    yield "close() before the results of imap are taken", closed

    def terminated():
        pool = make(1)
        pool.terminate()
        pool.join()
        return pool.apply(work.double, (1,))

    yield "apply() when it was terminated", terminated


@case("multiprocessing.pool.AsyncResult", of="pool.AsyncResult")
def async_result(side):
    with side.mp.Pool(1) as pool, side.mp.Manager() as manager:
        event = manager.Event()
        result = pool.apply_async(work.wait_for, (event,))
        yield "ready() of one that is not", result.ready
        yield "successful() of one that is not ready", lambda: _without_a_name(result.successful)
        yield "wait(0.01)", lambda: result.wait(0.01)
        yield "get(0.01)", lambda: result.get(0.01)
        yield "get(timeout=0)", lambda: result.get(timeout=0)
        yield "get(-1)", lambda: result.get(-1)
        event.set()
        yield "get(30)", lambda: result.get(30)
        yield "get()", result.get
        yield "ready()", result.ready
        yield "successful()", result.successful
        yield "wait()", result.wait
        failed = pool.apply_async(work.fail)
        yield "get() of one that failed", failed.get
        yield "successful() of one that failed", failed.successful
        several = pool.map_async(work.fail_at, range(5), 1)
        yield "get() of a map that failed", several.get
        yield "successful() of a map that failed", several.successful


def _without_a_name(function):
    try:
        return function()
    except ValueError as err:
        return str(err).rpartition(">")[2]


@case("multiprocessing.pool.IMapIterator", of="pool.IMapIterator")
def imap_iterator(side):
    with side.mp.Pool(1) as pool, side.mp.Manager() as manager:
        event = manager.Event()
        results = pool.imap(work.wait_for, [event, event])
        yield "next(0.01) of one that is not there", lambda: results.next(0.01)
        yield "next(timeout=0)", lambda: results.next(timeout=0)
        yield "__iter__", lambda: iter(results) is results
        event.set()
        yield "next()", results.next
        yield "__next__", lambda: next(results)
        yield "next() at the end", results.next


@case(
    "multiprocessing.pool",
    notes={
        "ApplyResult, AsyncResult, MapResult, IMapIterator, IMapUnorderedIterator": "the classes of what a Pool "
        "returns, for `isinstance`",
    },
)
def module(side):
    def threads():
        with side.modules["pool"].ThreadPool(2) as pool:
            return pool.map(str, range(3))

    def by_class():
        with side.find("pool.Pool")(1, context=side.mp) as pool:
            return pool.apply(work.double, (4,))

    for name in ("MaybeEncodingError", "RemoteTraceback"):
        yield name, lambda name=name: side.find(f"pool.{name}")
    yield "ThreadPool(2)", threads
    yield "Pool(1, context=context)", by_class
