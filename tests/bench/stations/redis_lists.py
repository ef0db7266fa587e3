"""redis-py, a command for each call: what programs write by hand on a Redis server."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

from tests.bench.stations.base import PATIENCE_S, Address, Pair, Station, Submit
from tests.bench.stations.works import lock_pair, one_by_one, round_trips

__all__ = ["RedisLists"]


class Line:
    """A queue: pickles in a Redis list."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name

    def put(self, thing: object) -> None:
        """Append an item."""
        self.client.rpush(self.name, pickle.dumps(thing))

    def get(self, _block: bool = True, timeout: float = PATIENCE_S) -> Any:
        """Wait for an item.

        Raises:
            TimeoutError: None came.
        """
        if (found := self.client.blpop([self.name], timeout)) is None:
            raise TimeoutError(f"nothing in {self.name} for {timeout:.0f} s")
        return pickle.loads(found[1])


class RedisLists(Station):
    """A client of a Redis server."""

    def __init__(self, address: Address) -> None:
        import redis

        super().__init__(address)
        self._connect = partial(redis.Redis, *address)
        self.client: Any = self._connect()

    def pair(self, work: str, name: str, index: int) -> Pair:
        """Return a pair of commands; the lock is redis-py's own."""
        if work == "connect":
            return self._once
        if work == "lock":
            return lock_pair(self.client.lock(name, timeout=PATIENCE_S), index)
        return {"dict": self._dict, "list": self._list, "queue": self._queue}[work](name, index)

    def submit(self, how: str, name: str, size: int) -> Submit:
        """Return the recipe with one put and one get for each job."""
        tasks, results = self._lines(name)
        return partial({"recipe": one_by_one, "round trip": round_trips}[how], tasks, results, size)

    def pills(self, name: str, count: int) -> None:
        """Put one None for each worker."""
        for _ in range(count):
            self._lines(name)[0].put(None)

    def work(self, name: str) -> int:
        """Get, call, put until the pill."""
        tasks, results = self._lines(name)
        done = 0
        while (call := tasks.get()) is not None:
            results.put(call())
            done += 1
        return done

    def idle(self) -> Any:
        """Return a client that has made one call."""
        client: Any = self._connect()
        client.ping()
        return client

    def close(self) -> None:
        """Disconnect."""
        self.client.close()

    def _dict(self, name: str, index: int) -> Pair:
        def pair() -> None:
            self.client.hset(name, f"key-{index}", pickle.dumps(index))
            assert pickle.loads(self.client.hget(name, f"key-{index}")) == index

        return pair

    def _list(self, name: str, index: int) -> Pair:
        def pair() -> None:
            self.client.rpush(name, pickle.dumps(index))
            pickle.loads(self.client.rpop(name))

        return pair

    def _queue(self, name: str, index: int) -> Pair:
        line = Line(self.client, name)

        def pair() -> None:
            line.put(index)
            line.get()

        return pair

    def _once(self) -> None:
        client = self._connect()
        client.ping()
        client.close()

    def _lines(self, name: str) -> tuple[Line, Line]:
        return Line(self.client, f"{name}.tasks"), Line(self.client, f"{name}.results")
