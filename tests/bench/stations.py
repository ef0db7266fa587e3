"""What a client process does on each side: the same calls and the same recipe, in that side's words.

Rules:
- `pair` returns one callable; what it does is named by `work` (see `rows`), and is the same on every side.
- `submit` checks its results: a side that loses or mixes up a job fails, however fast.
- Our side is imported when it is used, so that the others can be measured without it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection as plain
import operator
import socket
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from tests.bench import bare, stock

__all__ = ["STATIONS", "WORKERS", "Station"]

Address = tuple[str, int]
Pair = Callable[[], object]
Submit = Callable[[int], list[float]]
PATIENCE_S = 120.0
WORKERS = 2
CHUNK = 256  # jobs or results that one batched call moves


class Station:
    """One side's client."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def pair(self, work: str, name: str, index: int) -> Pair:
        """Return the pair of calls to repeat, on the object `name`, as client number `index`."""
        raise NotImplementedError(f"{type(self).__name__} has no {work} for client {index} of {name}")

    def submit(self, how: str, name: str, size: int) -> Submit:
        """Return a callable that runs so many jobs of the recipe `name` and returns each one's seconds."""
        raise NotImplementedError(f"{type(self).__name__} has no {how} recipe for {name} of {size} bytes")

    def pills(self, name: str, count: int) -> None:
        """Stop `count` workers of the recipe."""
        raise NotImplementedError(f"{type(self).__name__} cannot stop the {count} workers of {name}")

    def work(self, name: str) -> int:
        """Do jobs of the recipe until a pill; return how many were done."""
        raise NotImplementedError(f"{type(self).__name__} has no worker of its own for {name}")

    def jobs(self, work: str) -> Submit:
        """Return a callable that has so many small jobs done by `work`, and checks their results."""
        raise NotImplementedError(f"{type(self).__name__} has no {work}")

    def fill(self, count: int) -> None:
        """Put as many items into the queue that is prepared."""
        raise NotImplementedError(f"{type(self).__name__} has no {count} items to fill a queue with")

    def idle(self) -> Any:
        """Return a client that is connected, has made a call, and does nothing more; it has a `close`."""
        raise NotImplementedError(f"{type(self).__name__} has no idle clients")

    def close(self) -> None:
        """Disconnect."""


# --- bare sockets ---------------------------------------------------------------------------------


class Bare(Station):
    """Two frames out and back for a pair, whatever the work; the lock is a lock."""

    def pair(self, work: str, name: str, index: int) -> Pair:
        """Return two exchanges, or a connection with one in it."""
        if work == "connect":
            return self._connect
        caller = bare.Caller(self.address, lock=sum(name.encode()))
        calls = (bare.ACQUIRE, bare.RELEASE) if work == "lock" else (bare.ECHO, bare.ECHO)

        def pair() -> None:
            caller.call(calls[0])
            caller.call(calls[1])

        return pair

    def idle(self) -> socket.socket:
        """Return a connection."""
        caller = bare.Caller(self.address)
        caller.call(bare.ECHO)
        return caller.sock

    def _connect(self) -> None:
        caller = bare.Caller(self.address)
        caller.call(bare.ECHO)
        caller.sock.close()


# --- the standard library's client ----------------------------------------------------------------


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


class Stock(Station):
    """The standard library's SyncManager, against its own server or against ours."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.manager = stock.connect(address)

    def pair(self, work: str, name: str, index: int) -> Pair:
        """Return the pair on a proxy of the named object."""
        if work == "connect":
            return partial(stock.connect, self.address)
        if work == "proxy":
            return self.manager.dict  # type: ignore[no-any-return]  # made, and dropped by the caller
        return PAIRS[work](getattr(self.manager, f"get_{work}")(name), index)

    def submit(self, how: str, name: str, size: int) -> Submit:
        """Return the recipe with one put and one get for each job."""
        tasks, results = self._queues(name)
        return partial({"recipe": one_by_one, "round trip": round_trips}[how], tasks, results, size)

    def pills(self, name: str, count: int) -> None:
        """Put one None for each worker."""
        for _ in range(count):
            self._queues(name)[0].put(None)

    def work(self, name: str) -> int:
        """Get, call, put until the pill."""
        tasks, results = self._queues(name)
        done = 0
        while (call := tasks.get()) is not None:
            results.put(call())
            done += 1
        return done

    def idle(self) -> plain.Connection:
        """Return a connection on which a proxy would make its calls.

        Written out, because `Client()` leaves Nagle's algorithm on: 5,000 handshakes would take 220 s.
        """
        sock = socket.create_connection(self.address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = plain.Connection(sock.detach())
        plain.answer_challenge(connection, stock.key())
        plain.deliver_challenge(connection, stock.key())
        connection.send((None, "accept_connection", ("idle",), {}))
        kind, result = connection.recv()
        assert kind == "#RETURN", result
        return connection

    def _queues(self, name: str) -> tuple[Any, Any]:
        return self.manager.get_queue(f"{name}.tasks"), self.manager.get_queue(f"{name}.results")


# --- ours -----------------------------------------------------------------------------------------


class Ours(Station):
    """Our client on our protocol."""

    def __init__(self, address: Address) -> None:
        import mpclient

        super().__init__(address)
        self._connect = partial(mpclient.connect, f"{address[0]}:{address[1]}", stock.key())
        self.cluster: Any = self._connect()

    def pair(self, work: str, name: str, index: int) -> Pair:
        """Return the pair on the named object; `put` is one call, on a queue that `fill` may fill."""
        if work == "connect":
            return self._once
        if work == "put":
            self.line: Any = self.cluster.Queue(name=name)
            return partial(self.line.put, index)
        if work == "look":
            line = self.cluster.Queue(name=name)
            return line.qsize  # type: ignore[no-any-return]
        if work == "proxy":
            return self.cluster.dict  # type: ignore[no-any-return]
        make = {"dict": "dict", "list": "list", "queue": "Queue", "lock": "Lock"}[work]
        return PAIRS[work](getattr(self.cluster, make)(name=name), index)

    def submit(self, how: str, name: str, size: int) -> Submit:
        """Return the recipe, one by one, buffered, or in batches."""
        tasks, results = self._queues(name, buffered=how == "buffered")
        flows = {"recipe": one_by_one, "round trip": round_trips, "buffered": buffered, "batched": batched}
        return partial(flows[how], tasks, results, size)

    def pills(self, name: str, count: int) -> None:
        """Put one None for each worker process."""
        tasks, _results = self._queues(name, buffered=False)
        for _ in range(count):
            tasks.put(None)

    def jobs(self, work: str) -> Submit:
        """Return the jobs by our Pool or executor."""
        if work == "futures":
            self.executor = self.cluster.executor()
            return partial(futures, self.executor)
        self.pool = self.cluster.Pool(WORKERS)
        return partial(POOLED[work], self.pool)

    def fill(self, count: int) -> None:
        """Put as many items into the queue of `put`."""
        for start in range(0, count, CHUNK):
            self.line.put_many(range(start, min(start + CHUNK, count)))

    def idle(self) -> Any:
        """Return a session that has made one call."""
        cluster: Any = self._connect()
        cluster.dict(name="bench-idle").get("nothing")
        return cluster

    def close(self) -> None:
        """End the session."""
        with contextlib.suppress(
            OSError, EOFError
        ):  # the server may be gone: the row that needed it has said so
            self.cluster.close()

    def _once(self) -> None:
        self._connect().close()

    def _queues(self, name: str, buffered: bool) -> tuple[Any, Any]:
        more = {"buffered": True} if buffered else {}
        return self.cluster.JoinableQueue(name=f"{name}.tasks", **more), self.cluster.Queue(
            name=f"{name}.results"
        )


# --- multiprocessing on pipes ---------------------------------------------------------------------


class Pipes(Station):
    """The standard library's pools of processes of this machine."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.pools: list[Any] = []

    def jobs(self, work: str) -> Submit:
        """Return the jobs by `multiprocessing.Pool` or `ProcessPoolExecutor`."""
        if work == "futures":
            self.pools.append(ProcessPoolExecutor(WORKERS))
            return partial(futures, self.pools[-1])
        self.pools.append(multiprocessing.Pool(WORKERS))
        return partial(POOLED[work], self.pools[-1])

    def close(self) -> None:
        """End the processes."""
        while self.pools:
            pool = self.pools.pop()
            pool.shutdown() if isinstance(pool, ProcessPoolExecutor) else pool.terminate()


def imap(pool: Any, count: int) -> list[float]:
    """Send jobs one by one, in any order."""
    assert sum(pool.imap_unordered(operator.neg, range(count), chunksize=1)) == -(count * (count - 1) // 2)
    return []


def mapped(pool: Any, count: int) -> list[float]:
    """Send jobs in the chunks that `map` chooses."""
    assert pool.map(operator.neg, range(count)) == [-number for number in range(count)]
    return []


def futures(executor: Any, count: int) -> list[float]:
    """Have a future for each job."""
    waiting = [executor.submit(operator.neg, number) for number in range(count)]
    assert [future.result(PATIENCE_S) for future in waiting] == [-number for number in range(count)]
    return []


POOLED: dict[str, Callable[[Any, int], list[float]]] = {"imap": imap, "map": mapped}


# --- flows of ours --------------------------------------------------------------------------------


def buffered(tasks: Any, results: Any, size: int, count: int) -> list[float]:
    """Put one by one into a queue that collects, get in batches."""
    for number in range(count):
        tasks.put(job(number, size))
    check(gather(results, count), count, size)
    return []


def batched(tasks: Any, results: Any, size: int, count: int) -> list[float]:
    """Put and get in batches."""
    for start in range(0, count, CHUNK):
        tasks.put_many([job(number, size) for number in range(start, min(start + CHUNK, count))])
    check(gather(results, count), count, size)
    return []


def gather(results: Any, count: int) -> list[Any]:
    """Return `count` results, got in batches."""
    found: list[Any] = []
    while len(found) < count:
        found += results.get_many(min(4 * CHUNK, count - len(found)), PATIENCE_S)
    return found


STATIONS: dict[str, Callable[[Address], Station]] = {
    "bare": Bare,
    "stock": Stock,
    "ours": Ours,
    "pipes": Pipes,
}
