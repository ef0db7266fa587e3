"""Our client on our protocol; imported when it is used, so that the others can be measured without it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.bench import stock
from tests.bench.stations.base import PATIENCE_S, WORKERS, Address, Pair, Station, Submit
from tests.bench.stations.works import (
    CHUNK,
    FUTURES,
    NAP_S,
    PAIRS,
    POOLED,
    check,
    imap,
    job,
    naps,
    one_by_one,
    round_trips,
)

__all__ = ["Ours"]

SETTLED_S = 0.5  # a worker host that has its workers makes ready for Processes; nobody else's does
FILLED = 256  # items that one call puts where a queue is filled
STREAMED = 2_000  # jobs of one `imap_unordered` where they go on for a given time


class Ours(Station):
    """Our client on our protocol."""

    def __init__(self, address: Address) -> None:
        import mpclient

        super().__init__(address)
        self._connect = partial(mpclient.connect, f"{address[0]}:{address[1]}", stock.key())
        self.cluster: Any = self._connect()
        self.held: list[Any] = []
        self.loaded = 0

    def pair(self, work: str, name: str, index: int) -> Pair:
        """Return the pair on the named object, or what else is called over and over; see `_others`."""
        if work in PAIRS:
            make = {"dict": "dict", "list": "list", "queue": "Queue", "lock": "Lock"}[work]
            return PAIRS[work](getattr(self.cluster, make)(name=name), index)
        return self._others()[work](name, index)

    def _others(self) -> dict[str, Callable[[str, int], Pair]]:
        return {
            "connect": lambda _name, _index: self._once,
            "proxy": lambda _name, _index: self.cluster.dict,
            "put": lambda name, index: partial(self._queue(name).put, index),
            "look": lambda name, _index: self._queue(name).qsize,
            "batches": lambda name, _index: partial(_batch_pair, self._queue(name)),
            "stream": lambda _name, _index: partial(imap, self.cluster.Pool(WORKERS), STREAMED),
        }

    def submit(self, how: str, name: str, size: int) -> Submit:
        """Return the recipe, one by one, buffered, or in batches."""
        tasks, results = self._queues(name, buffered=how.startswith("buffered"))
        return partial(FLOWS[how], tasks, results, size)

    def await_workers(self) -> None:
        """Wait until all workers wait for jobs, as those of other sides do when they say that they begin."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self._count_waiting() < WORKERS:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"there were no {WORKERS} workers within {PATIENCE_S:.0f} s")
            time.sleep(0.01)
        time.sleep(SETTLED_S)

    def _count_waiting(self) -> int:
        sessions = self.cluster.status()["sessions"]
        return sum(1 for its in sessions if its["role"] == "worker" and its["waiting"])

    def pills(self, name: str, count: int) -> None:
        """Put one None for each worker process."""
        tasks, _results = self._queues(name, buffered=False)
        for _ in range(count):
            tasks.put(None)

    def jobs(self, work: str) -> Submit:
        """Return the jobs by our Pool or executor."""
        if work in FUTURES:
            self.executor = self.cluster.executor()
            return partial(FUTURES[work], self.executor)
        self.pool = self.cluster.Pool(WORKERS)
        return partial(POOLED[work], self.pool)

    def load(self, kind: str, name: str, count: int) -> None:
        """Have the server hold `count` more things of a kind; they stay until this client closes."""
        self._loads()[kind](name, count)

    def _loads(self) -> dict[str, Callable[[str, int], object]]:
        return {
            "items": lambda name, count: fill(self._queue(name), count),
            "keys": lambda name, count: self.cluster.dict(name=name).update(
                {f"key-{number}": number for number in range(self._more(count), self.loaded)}
            ),
            "objects": lambda name, count: self.held.extend(
                self.cluster.dict(name=f"{name}-{number}") for number in range(self._more(count), self.loaded)
            ),
            "clients": lambda _name, count: self.held.extend(self.idle() for _ in range(count)),
            "getters": lambda name, count: self.held.append(Parked(self.address, name, count)),
        }

    def _more(self, count: int) -> int:
        self.loaded += count
        return self.loaded - count

    def idle(self) -> Any:
        """Return a session that has made one call."""
        cluster: Any = self._connect()
        cluster.dict(name="bench-idle").get("nothing")
        return cluster

    def close(self) -> None:
        """End the session, and those of the load."""
        while self.held:
            held = self.held.pop()
            if hasattr(held, "close"):
                held.close()
        with contextlib.suppress(
            OSError, EOFError
        ):  # the server may be gone: the row that needed it has said so
            self.cluster.close()

    def _once(self) -> None:
        self._connect().close()

    def _queue(self, name: str) -> Any:
        return self.cluster.Queue(name=name)

    def _queues(self, name: str, buffered: bool) -> tuple[Any, Any]:
        more = {"buffered": True} if buffered else {}
        return self.cluster.JoinableQueue(name=f"{name}.tasks", **more), self.cluster.Queue(
            name=f"{name}.results"
        )


def buffered(tasks: Any, results: Any, size: int, count: int) -> list[float]:
    """Put one by one into a queue that collects, get in batches."""
    for number in range(count):
        tasks.put(job(number, size))
    check(gather(results, count), count, size)
    return []


def buffered_naps(tasks: Any, results: Any, _size: int, count: int) -> list[float]:
    """The same, with jobs that take their time."""
    for _ in range(count):
        tasks.put(partial(time.sleep, NAP_S))
    assert gather(results, count) == [None] * count
    return []


def batched(tasks: Any, results: Any, size: int, count: int) -> list[float]:
    """Put and get in batches of a hundred."""
    for start in range(0, count, CHUNK):
        tasks.put_many([job(number, size) for number in range(start, min(start + CHUNK, count))])
    check(gather(results, count, CHUNK), count, size)
    return []


def gather(results: Any, count: int, most: int = 1024) -> list[Any]:
    """Return `count` results, got in batches."""
    found: list[Any] = []
    while len(found) < count:
        found += results.get_many(min(most, count - len(found)), PATIENCE_S)
    return found


FLOWS = {
    "recipe": one_by_one,
    "round trip": round_trips,
    "buffered": buffered,
    "batched": batched,
    "naps": naps,
    "buffered naps": buffered_naps,
}


def fill(line: Any, count: int) -> None:
    """Put as many items into a queue, in batches."""
    for start in range(0, count, FILLED):
        line.put_many(range(start, min(start + FILLED, count)))


def _batch_pair(line: Any) -> None:
    line.put_many(range(CHUNK))
    line.get_many(CHUNK)


class Parked(threading.Thread):
    """Tasks of one client that wait for items of a queue that nobody puts."""

    def __init__(self, address: Address, name: str, count: int) -> None:
        super().__init__(daemon=True)
        self.address, self.queue, self.count = address, name, count
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self.start()
        if not self._ready.wait(PATIENCE_S):
            raise TimeoutError(f"{count} waiting gets were not there within {PATIENCE_S:.0f} s")

    def run(self) -> None:
        """Wait until `close`."""
        asyncio.run(self._wait())

    async def _wait(self) -> None:
        from mpclient import aio

        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with aio.connect(f"{self.address[0]}:{self.address[1]}", stock.key()) as cluster:
            line = await cluster.Queue(name=self.queue)
            tasks = [asyncio.create_task(line.get()) for _ in range(self.count)]
            await self._parked(cluster)
            self._ready.set()
            await self._over.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _parked(self, cluster: Any) -> None:
        """Ask the server until all of them wait."""
        found = 0
        while found < self.count:
            status = await cluster.status()
            found = sum(one["getters"] for one in status["objects"] if one.get("name") == self.queue)

    def close(self) -> None:
        """Cancel them, and disconnect."""
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(PATIENCE_S)
