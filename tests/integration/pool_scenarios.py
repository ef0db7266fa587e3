"""What programs do with a Pool or an executor, as functions that are run against the standard library's and
against ours, and must tell the same.

Each takes a factory and returns what it saw: plain data. `seen` makes plain data of what a call returns or
raises.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import pickle
import re
import threading

from tests.integration.pool_jobs import (
    Scaled,
    Unsendable,
    add,
    chained,
    fail,
    fail_at_five,
    fail_twice,
    nothing,
    recall,
    remember,
    slow_first,
    square,
    unpicklable,
    wait_for_file,
)

LIMIT_S = 20


def seen(call):
    """Return what a call returns, or type, arguments, text and causes of what it raises."""
    try:
        return "returned", call()
    except Exception as err:
        return "raised", shown(err)


def shown(err):
    kind = type(err)
    text = re.sub(r"0x[0-9a-f]+", "0x…", str(err)).replace("mpclient.pool.", "multiprocessing.pool.")
    text = text.replace("mpclient.pooling.results.", "multiprocessing.pool.")
    text = text.replace("ProcessPoolExecutor.", "Executor.")
    cause = type(err.__cause__).__name__.removeprefix("_") if err.__cause__ is not None else None
    return f"{kind.__module__}.{kind.__qualname__}", text, cause


def taken(iterator, n=100):
    """Return what each `next` does, to the second StopIteration."""
    steps = []
    for _ in range(n):
        try:
            steps.append(next(iterator))
        except StopIteration:
            steps.append("stop")
            if steps[-2:] == ["stop", "stop"]:
                break
        except Exception as err:
            steps.append(shown(err))
    return steps


def raising(n):
    """Yield n numbers, then raise."""
    yield from range(n)
    raise LookupError("the iterable", n)


# -- Pool ------------------------------------------------------------------------------------------


def apply(pool):
    return [
        pool.apply(square, (3,)),
        pool.apply(add, [1]),
        pool.apply(add, (1, 2), {"third": 3}),
        pool.apply(nothing),
        seen(lambda: pool.apply(fail, (7,))),
        seen(lambda: pool.apply(chained, (7,))),
        seen(lambda: pool.apply(square)),
        seen(lambda: pool.apply(square, (1, 2))),
        seen(lambda: pool.apply(square, 5)),
        seen(lambda: pool.apply("no function", (1,))),
        pool.apply(functools.partial(add, 5, third=6), (7,)),
        pool.apply(Scaled(3), (5,)),
        pool.apply(Scaled(3).method, (5,)),
        pool.apply(Scaled.made, (5,)),
        pool.apply(int, ("12",), {"base": 16}),
        pool.apply(str.upper, ("abc",)),
    ]


def apply_async(pool):
    results, errors = [], []
    good = pool.apply_async(square, (4,), {}, results.append, errors.append)
    bad = pool.apply_async(fail, (4,), callback=results.append, error_callback=errors.append)
    good.wait(LIMIT_S)
    bad.wait(LIMIT_S)
    return [
        (good.get(), good.get(0), good.ready(), good.successful(), good.wait()),
        (bad.ready(), bad.successful(), seen(bad.get), seen(lambda: bad.get(5))),
        results,
        [shown(err) for err in errors],
    ]


def not_ready(pool, path):
    result = pool.apply_async(wait_for_file, (str(path),))
    early = [
        result.ready(),
        seen(result.successful),
        seen(lambda: result.get(0.01)),
        seen(lambda: result.get(timeout=0)),
        seen(lambda: result.get(-1)),
        result.wait(0.01),
    ]
    path.write_text("go")
    return early, result.get(LIMIT_S), result.successful()


def unpicklable_result(pool):
    (kind, (name, text, _)) = seen(lambda: pool.apply(unpicklable, (1,)))
    again = pool.apply(square, (2,))
    return kind, name, text.startswith("Error sending result: '<unlocked"), "cannot pickle" in text, again


def map_sizes(pool):
    sources = (range(7), [], (), "abc", {"a": 1, "b": 2}, {5}, b"xy")
    sizes = (None, 1, 2, 3, 7, 100, 0, -1)
    return [seen(lambda s=source, c=size: pool.map(str, s, c)) for source in sources for size in sizes]


def map_other_iterables(pool):
    return [
        pool.map(square, (n for n in range(5))),
        pool.map(square, iter([])),
        seen(lambda: pool.map(square, 5)),
        seen(lambda: pool.map(square, None)),
        seen(lambda: pool.map(square, raising(3))),
        pool.map(square, range(5), chunksize=2),
        pool.map(func=square, iterable=range(3)),
        pool.map(Scaled(2), range(5)),
        pool.map(Scaled(2).method, range(5), 2),
        pool.map(functools.partial(add, third=1), range(3)),
    ]


def map_failures(pool):
    return [
        seen(lambda: pool.map(fail_at_five, range(10), 1)),
        seen(lambda: pool.map(fail_at_five, range(10), 3)),
        seen(lambda: pool.map(fail, [3])),
        seen(lambda: pool.map(square, ["a"])),
        pool.map(fail_at_five, range(5)),
    ]


def map_async(pool):
    results, errors = [], []
    given = {"callback": results.append, "error_callback": errors.append}
    all_ = [
        pool.map_async(square, range(5), **given),
        pool.map_async(square, [], **given),
        pool.map_async(fail_at_five, range(10), 1, **given),
        pool.starmap_async(add, [(1, 2)], None, **given),
        pool.starmap_async(add, [1], **given),
    ]
    for result in all_:
        result.wait(LIMIT_S)
    return (
        [(result.ready(), result.successful(), seen(result.get)) for result in all_],
        sorted(results, key=repr),
        sorted((shown(err) for err in errors), key=repr),
    )


def starmap(pool):
    return [
        pool.starmap(pow, [(2, 3), (3, 2), (10, 0)]),
        pool.starmap(pow, [(2, 3), (3, 2), (10, 0)], chunksize=2),
        pool.starmap(add, [(1,), (1, 2), "ab"]),
        pool.starmap(add, iter([[1], [2]])),
        pool.starmap(add, []),
        seen(lambda: pool.starmap(add, [1, 2])),
        seen(lambda: pool.starmap(add, [(1, 2, 3)])),
    ]


def imap(pool):
    sources = (lambda: range(10), list, lambda: "abc", lambda: (n for n in range(3)))
    return [
        list(pool.imap(str, source(), chunksize=size)) for source in sources for size in (1, 2, 3, 100)
    ] + [sorted(pool.imap_unordered(str, source(), size)) for source in sources for size in (1, 2, 3, 100)]


def imap_many(pool):
    mixed = [n if n % 300 else [n, None] for n in range(700)]
    return [
        list(pool.imap(str, range(700))),
        list(pool.imap(int, [*map(str, range(700))])),
        list(pool.imap(str, mixed)),
        list(pool.imap(square, tuple(n / 3 for n in range(100)))),
        sorted(pool.imap_unordered(square, range(700))),
        taken(pool.imap(fail_twice, [0] * 300 + [*range(8)])),
        list(pool.imap(add, range(0))),
    ]


def imap_failures(pool):
    return [
        taken(pool.imap(fail_twice, range(8))),
        taken(pool.imap(fail_twice, range(8), 3)),
        taken(pool.imap(square, raising(3))),
        taken(pool.imap(square, raising(5), 2)),
        taken(pool.imap(square, raising(0))),
        taken(pool.imap(square, 5)),
        taken(pool.imap(square, 5, 2)),
        taken(pool.imap_unordered(fail, [1])),
        taken(pool.imap_unordered(square, raising(0), 2)),
        sorted(map(str, taken(pool.imap_unordered(fail_twice, range(8))))),
    ]


def imap_sizes(pool):
    return [
        seen(lambda: pool.imap(square, [1], chunksize=0)),
        seen(lambda: pool.imap(square, [1], chunksize=-5)),
        seen(lambda: pool.imap_unordered(square, [1], chunksize=0)),
        seen(lambda: pool.imap_unordered(square, [1], chunksize=-5)),
    ]


def imap_order(pool):
    return list(pool.imap(slow_first, range(6))), sorted(pool.imap_unordered(slow_first, range(6)))


def imap_timeouts(pool, path):
    results = pool.imap(wait_for_file, [str(path)])
    early = [seen(lambda: results.next(timeout=0.01)), seen(lambda: results.next(0))]
    path.write_text("go")
    return early, results.next(LIMIT_S), seen(lambda: next(results, "the end")), iter(results) is results


def imap_in_imap(pool):
    return list(pool.imap(square, pool.imap(square, range(300)))), sum(
        pool.imap_unordered(square, pool.imap(square, range(300), 7), 5)
    )


def attributes(pool):
    result = pool.map_async(square, range(8), 2)
    result.wait(LIMIT_S)
    return result._number_left, type(pool.imap(square, [])).__name__, seen(lambda: pickle.dumps(pool))


POOL = [
    apply,
    apply_async,
    unpicklable_result,
    map_sizes,
    map_other_iterables,
    map_failures,
    map_async,
    starmap,
    imap,
    imap_many,
    imap_failures,
    imap_sizes,
    imap_order,
    imap_in_imap,
    attributes,
]
"""Each takes a pool of two processes."""
WAITING = [not_ready, imap_timeouts]
"""These take a path, too."""


# -- the life of a Pool ----------------------------------------------------------------------------


def closed(make):
    pool = make(2)
    result, stream = pool.map_async(square, range(100), 1), pool.imap(square, range(50))
    pool.close()
    calls = [
        lambda: pool.apply(square, (1,)),
        lambda: pool.apply_async(square, (1,)),
        lambda: pool.map(square, []),
        lambda: pool.map_async(square, [1]),
        lambda: pool.starmap(add, [(1,)]),
        lambda: pool.imap(square, [1]),
        lambda: pool.imap_unordered(square, [1], 0),
        pool.__enter__,
    ]
    answers = [seen(call) for call in calls]
    pool.join()
    pool.close()
    pool.join()
    return answers, result.ready(), result.get(), list(stream)


def running(make):
    pool = make(1)
    answer = seen(pool.join)
    pool.terminate()
    return answer, pool.join(), pool.terminate(), seen(lambda: pool.apply(square, (1,)))


def entered(make):
    with make(2) as pool:
        inside = pool.map(square, range(4))
    return inside, seen(lambda: pool.map(square, range(4))), pool.join()


def refused(make):
    return [
        seen(lambda: make(0)),
        seen(lambda: make(-3)),
        seen(lambda: make(1, initializer=5)),
        seen(lambda: make(1, maxtasksperchild=0)),
        seen(lambda: make(1, maxtasksperchild=-1)),
        seen(lambda: make(1, maxtasksperchild=1.5)),
    ]


def initialized(make):
    with make(2, functools.partial(remember, tall=5)) as pool:
        first = pool.map(recall, ["tall", "small"] * 5)
    with make(2, setdefault, ("tall", 7)) as pool:
        second = pool.map(recall, ["tall"] * 4)
    return first, second


def setdefault(key, value):
    remember(**{key: value})


def replaced(make):
    from tests.integration.pool_jobs import process_id

    with make(1, maxtasksperchild=2) as pool:
        pids = pool.map(process_id, range(6), chunksize=1)
        chunks = pool.map(process_id, range(6), chunksize=3)
    return len(set(pids)), len(set(chunks))


def with_exit(make):
    with make(1) as pool:
        return seen(lambda: pool.apply(square, (2,)))


LIFE = [closed, running, entered, refused, initialized, replaced, with_exit]
"""Each takes what makes a pool."""


# -- executors -------------------------------------------------------------------------------------


def submit(executor):
    futures = [
        executor.submit(square, 3),
        executor.submit(add, 1, third=2),
        executor.submit(functools.partial(add, 5, third=6), 7),
        executor.submit(Scaled(3).method, 5),
        executor.submit(fail, 3),
        executor.submit(chained, 3),
        executor.submit(square),
        executor.submit(5),
    ]
    return [
        (
            seen(lambda f=f: f.result(LIMIT_S)),
            shown_or_none(f.exception()),
            f.done(),
            f.cancel(),
            f.cancelled(),
            f.running(),
        )
        for f in futures
    ]


def shown_or_none(err):
    return None if err is None else shown(err)


def submit_nothing(executor):
    return [seen(executor.submit), executor.submit(nothing).result(LIMIT_S)]


def executor_map(executor):
    return [
        list(executor.map(square, range(10))),
        list(executor.map(square, range(10), chunksize=3)),
        list(executor.map(pow, [2, 3], [3, 2, 1])),
        list(executor.map(pow, [2, 3], [3, 2, 1], chunksize=2)),
        list(executor.map(square, [])),
        list(executor.map(nothing)),
        seen(lambda: executor.map(square, [1], chunksize=0)),
        seen(lambda: executor.map(square, [1], chunksize=-1)),
        seen(lambda: executor.map(square, raising(3))),
        seen(lambda: executor.map(square, 5)),
        taken(executor.map(fail_at_five, range(10))),
        taken(executor.map(fail_at_five, range(10), chunksize=3)),
        taken(executor.map(square, ["a"])),
        list(executor.map(slow_first, range(5))),
        list(executor.map(square, range(5), timeout=LIMIT_S)),
    ]


def executor_callbacks(executor):
    called = []
    done = threading.Event()
    future = executor.submit(square, 4)
    future.add_done_callback(lambda f: called.append(f.result()))
    future.add_done_callback(lambda _: done.set())
    done.wait(LIMIT_S)
    future.add_done_callback(lambda f: called.append(f is future))
    return called


def executor_waits(executor):
    futures = [executor.submit(fail_at_five, n) for n in range(8)]
    done, not_done = concurrent.futures.wait(futures, LIMIT_S)
    first, _ = concurrent.futures.wait(futures, LIMIT_S, concurrent.futures.FIRST_EXCEPTION)
    finished = list(concurrent.futures.as_completed(futures, LIMIT_S))
    return len(done), len(not_done), len(first), len(finished), set(finished) == set(futures)


def executor_answers_what_cannot_be_pickled(executor):
    return [
        seen(lambda: executor.submit(unpicklable, 1).result(LIMIT_S)),
        seen(lambda: executor.submit(Unsendable, pickle.PicklingError("on purpose")).result(LIMIT_S)),
        taken(executor.map(unpicklable, [1])),
    ]


def executor_asyncio(executor):
    async def main():
        loop = asyncio.get_running_loop()
        numbers = await asyncio.gather(*(loop.run_in_executor(executor, square, n) for n in range(10)))
        try:
            await loop.run_in_executor(executor, fail, 3)
        except Exception as err:
            return numbers, shown(err)
        return numbers, None

    return asyncio.run(main())


EXECUTOR = [
    submit,
    submit_nothing,
    executor_map,
    executor_callbacks,
    executor_waits,
    executor_answers_what_cannot_be_pickled,
    executor_asyncio,
]
"""Each takes an executor of two processes."""


def executor_not_ready(executor, path):
    future = executor.submit(wait_for_file, str(path))
    stream = executor.map(wait_for_file, [str(path)], timeout=0.05)
    early = [
        future.done(),
        future.cancelled(),
        seen(lambda: future.result(0.01)),
        seen(lambda: future.exception(timeout=0)),
        seen(lambda: next(stream)),
        seen(lambda: next(stream, "the end")),
    ]
    path.write_text("go")
    return early, future.result(LIMIT_S)


def shut_down(make):
    executor = make(2)
    futures = [executor.submit(square, n) for n in range(20)]
    executor.shutdown()
    return [
        [future.result(0) for future in futures],
        seen(lambda: executor.submit(square, 1)),
        seen(lambda: executor.map(square, [1])),
        executor.shutdown(),
        executor.shutdown(wait=False, cancel_futures=True),
    ]


def executor_entered(make):
    with make(1) as executor:
        future = executor.submit(square, 3)
    return future.result(0), seen(lambda: executor.submit(square, 3))


def executor_refused(make):
    return [
        seen(lambda: make(0)),
        seen(lambda: make(-1)),
        seen(lambda: make(1, initializer=5)),
        seen(lambda: make(1, max_tasks_per_child=0)),
        seen(lambda: make(1, max_tasks_per_child=1.5)),
    ]


def executor_initialized(make):
    with make(2, initializer=setdefault, initargs=("tall", 9)) as executor:
        return list(executor.map(recall, ["tall"] * 6))


EXECUTOR_LIFE = [shut_down, executor_entered, executor_refused, executor_initialized]
"""Each takes what makes an executor."""
