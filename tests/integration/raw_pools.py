"""A pool as the wire has it: numbered jobs in, numbered results out. What Pools and executors are made of.

A test module takes the fixture over by name: ``pool = raw_pools.pool``.
"""

from __future__ import annotations

from typing import Any

import pytest

from mpclient.pooling import nested
from mpclient.values.jobs_format import CALL, MAP, STAR, Spec, digest_of, dump_source, dump_spec, read_result
from mpclient.values.pickling import dumps
from mpshared.ops import BY_NAME

__all__ = ["RawPool", "pool"]

LIMIT_S = 20.0


class RawPool:
    """One object of the kind pool, opened over a cluster's session."""

    def __init__(self, cluster: Any, **settings: Any) -> None:
        self._session = cluster.session
        opened = self._session.call(BY_NAME["cluster.open"], "", ["pool", None, settings, False, None])
        self._handle = self._session.claim(opened.result[0])
        self.ident = opened.result[0]
        self._next = 1
        self._open = 0
        """Jobs that count as nested work of this process."""

    def ask(self, name: str, *args: Any, blobs: Any = ()) -> Any:
        return self._session.call(BY_NAME[f"pool.{name}"], self.ident, list(args), list(blobs))

    def teach(self, thing: Any) -> str:
        """Teach a function, or anything else; return its digest."""
        return self.teach_blob(dumps(thing, self._session))

    def teach_blob(self, blob: Any) -> str:
        digest = digest_of(blob)
        self.ask("teach", digest, blobs=[blob])
        return digest

    def teach_source(self, source: str, origin: str = "/home/far/module.py") -> str:
        return self.teach_blob(dump_source(source.encode(), origin))

    def equip(self, **spec: Any) -> None:
        self.ask("equip", blobs=[dump_spec(Spec(**spec))])

    def call(self, function: Any, *args: Any, **kwargs: Any) -> int:
        """Submit one call; return its number."""
        return self.submit([(CALL, self.teach(function), args, kwargs)])

    def map(self, function: Any, *chunks: Any) -> int:
        """Submit chunks; return the first one's number."""
        digest = self.teach(function)
        return self.submit([(MAP, digest, chunk) for chunk in chunks])

    def starmap(self, function: Any, *chunks: Any) -> int:
        digest = self.teach(function)
        return self.submit([(STAR, digest, chunk) for chunk in chunks])

    def submit(self, jobs: list[Any]) -> int:
        first, self._next = self._next, self._next + len(jobs)
        self.ask("submit", first, blobs=[dumps(job, self._session) for job in jobs])
        self._open += len(jobs)
        nested.submitted(len(jobs))
        return first

    def collect(self, n: int = 1) -> dict[int, Any]:
        """Wait for n results; return them, or the exceptions they are, by number."""
        found: dict[int, Any] = {}
        while len(found) < n:
            reply = self.ask("collect", n - len(found), LIMIT_S)
            numbers = [number for first, last in reply.result[0] for number in range(first, last + 1)]
            assert numbers, f"only {len(found)} of {n} results came: {found}"
            self._open -= len(numbers)
            nested.settled(len(numbers))
            for number, blob in zip(numbers, reply.blobs, strict=True):
                assert number not in found
                found[number] = self._read(blob)
        return found

    def _read(self, blob: Any) -> Any:
        try:
            return read_result(blob, self._session)
        except BaseException as err:
            return err

    def result(self) -> Any:
        """Wait for one result and return it, or raise what it is."""
        ((_, result),) = self.collect().items()
        if isinstance(result, BaseException):
            raise result
        return result

    def close(self) -> None:
        """Give the pool up: its program does not want it any more."""
        self._handle = None
        nested.settled(self._open)
        self._open = 0


@pytest.fixture
def pool(cluster):
    """Make pools."""
    made: list[RawPool] = []

    def make(**settings: Any) -> RawPool:
        made.append(RawPool(cluster, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
