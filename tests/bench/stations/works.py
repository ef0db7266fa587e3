"""The work that several sides do in the same words: pairs of calls, the recipe, jobs of a pool.

Rules:
- Results are checked: a side that loses or mixes up a job fails, however fast.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.bench.stations.base import PATIENCE_S, Pair

__all__ = [
    "CHUNK",
    "FUTURES",
    "NAP_S",
    "PAIRS",
    "POOLED",
    "Run",
    "check",
    "chunk_pair",
    "chunks",
    "imap",
    "job",
    "naps",
    "one_by_one",
    "round_trips",
]

CHUNK = 100  # jobs or results that one batched call moves
NAP_S = 0.01


def dict_pair(table: Any, index: int) -> Pair:
    """Set a key of one's own and get it."""
    name = f"key-{index}"

    def pair() -> None:
        table[name] = index
        assert table[name] == index

    return pair


def queue_pair(line: Any, index: int) -> Pair:
    """Put an item and get one, whoever put it."""

    def pair() -> None:
        line.put(index)
        line.get()

    return pair


def list_pair(line: Any, index: int) -> Pair:
    """Append an item and pop one, whoever appended it."""

    def pair() -> None:
        line.append(index)
        line.pop()

    return pair


def lock_pair(lock: Any, _index: int) -> Pair:
    """Acquire and release."""

    def pair() -> None:
        lock.acquire()
        lock.release()

    return pair


def chunk_pair(line: Any, _index: int) -> Pair:
    """Put a list of a hundred items, and get one."""

    def pair() -> None:
        line.put(list(range(CHUNK)))
        assert len(line.get()) == CHUNK

    return pair


PAIRS: dict[str, Callable[[Any, int], Pair]] = {
    "dict": dict_pair,
    "queue": queue_pair,
    "list": list_pair,
    "lock": lock_pair,
}


def job(number: int, size: int) -> Callable[[], object]:
    """Return a small job, or one that brings `size` bytes and takes them back."""
    return partial(bytes, bytes(size)) if size else partial(operator.mul, number, 3)


def check(results: list[Any], count: int, size: int) -> None:
    """Raise when the results of `count` jobs are not what they must be."""
    right = [size] * count if size else [number * 3 for number in range(count)]
    found = [len(result) for result in results] if size else sorted(results)
    if found != right:
        raise AssertionError(f"{len(found)} results of {count} jobs, not the right ones: {found[:5]}…")


def chunks(tasks: Any, results: Any, size: int, count: int) -> list[float]:
    """Run the recipe by hand in chunks: a list of jobs is put, a list of results is got."""
    starts = range(0, count, CHUNK)
    for start in starts:
        tasks.put([job(number, size) for number in range(start, min(start + CHUNK, count))])
    check([result for _ in starts for result in results.get(True, PATIENCE_S)], count, size)
    return []


def naps(tasks: Any, results: Any, _size: int, count: int) -> list[float]:
    """Run the recipe with jobs that take their time."""
    for _ in range(count):
        tasks.put(partial(time.sleep, NAP_S))
    for _ in range(count):
        assert results.get(True, PATIENCE_S) is None
    return []


def one_by_one(tasks: Any, results: Any, size: int, count: int) -> list[float]:
    """Run the recipe as everybody writes it: all puts, then all gets, one job a call."""
    for number in range(count):
        tasks.put(job(number, size))
    check([results.get(True, PATIENCE_S) for _ in range(count)], count, size)
    return []


def round_trips(tasks: Any, results: Any, size: int, count: int) -> list[float]:
    """Run one job after the other, each when the last one's result is there."""
    took, found = [], []
    for number in range(count):
        begin = time.perf_counter()
        tasks.put(job(number, size))
        found.append(results.get(True, PATIENCE_S))
        took.append(time.perf_counter() - begin)
    check(found, count, size)
    return took


def imap(pool: Any, count: int) -> list[float]:
    """Send jobs one by one, in any order."""
    assert sum(pool.imap_unordered(operator.neg, range(count), chunksize=1)) == -(count * (count - 1) // 2)
    return []


def mapped(pool: Any, count: int) -> list[float]:
    """Send jobs in the chunks that `map` chooses."""
    assert pool.map(operator.neg, range(count)) == [-number for number in range(count)]
    return []


def imap_naps(pool: Any, count: int) -> list[float]:
    """Send jobs that take their time one by one, in any order."""
    assert sum(1 for _ in pool.imap_unordered(time.sleep, [NAP_S] * count)) == count
    return []


def map_naps(pool: Any, count: int) -> list[float]:
    """Send jobs that take their time in the chunks that `map` chooses."""
    assert pool.map(time.sleep, [NAP_S] * count) == [None] * count
    return []


def future_naps(executor: Any, count: int) -> list[float]:
    """Have a future for each job that takes its time."""
    waiting = [executor.submit(time.sleep, NAP_S) for _ in range(count)]
    assert [future.result(PATIENCE_S) for future in waiting] == [None] * count
    return []


def futures(executor: Any, count: int) -> list[float]:
    """Have a future for each job."""
    waiting = [executor.submit(operator.neg, number) for number in range(count)]
    assert [future.result(PATIENCE_S) for future in waiting] == [-number for number in range(count)]
    return []


def trips(executor: Any, count: int) -> list[float]:
    """Have one job done after the other."""
    took = []
    for number in range(count):
        begin = time.perf_counter()
        assert executor.submit(operator.neg, number).result(PATIENCE_S) == -number
        took.append(time.perf_counter() - begin)
    return took


Run = Callable[[Any, int], list[float]]
POOLED: dict[str, Run] = {"imap": imap, "map": mapped, "imap naps": imap_naps, "map naps": map_naps}
FUTURES: dict[str, Run] = {"futures": futures, "future naps": future_naps, "trips": trips}
