"""Dramatiq, with Redis for broker and results; the workers import this module too."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from tests.bench.stations.base import PATIENCE_S, URL_VARIABLE, WORKERS, Address
from tests.bench.stations.peer import Peer

__all__ = ["DramatiqJobs"]

URL = os.environ[URL_VARIABLE]
broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)  # type: ignore[untyped-decorator]
def neg(number: int) -> int:
    """Be the job."""
    return -number


class DramatiqJobs(Peer):
    """A program that has messages worked on."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.start("dramatiq", __name__, "--processes", str(WORKERS), "--threads", "1")

    def send(self, number: int) -> Any:
        """Send a message."""
        return neg.send(number)

    def receive(self, ticket: Any) -> Any:
        """Wait for its result."""
        return ticket.get_result(block=True, timeout=int(PATIENCE_S * 1000))
