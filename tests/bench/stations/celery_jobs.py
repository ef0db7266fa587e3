"""Celery, with Redis for broker and results; the workers import this module too."""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

from celery import Celery
from tests.bench.stations.base import PATIENCE_S, URL_VARIABLE, WORKERS, Address
from tests.bench.stations.peer import Peer

__all__ = ["CeleryJobs", "app"]

URL = os.environ[URL_VARIABLE]
app = Celery("bench", broker=URL, backend=URL)
app.conf.update(worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True, result_expires=600)
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR")
CHUNK = 100


@app.task  # type: ignore[untyped-decorator]
def neg(number: int) -> int:
    """Be the job."""
    return -number


class CeleryJobs(Peer):
    """A program that has tasks done."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.start("celery", "-A", __name__, "worker", "--concurrency", str(WORKERS), *QUIET)

    def send(self, number: int) -> Any:
        """Send a task."""
        return neg.delay(number)

    def receive(self, ticket: Any) -> Any:
        """Wait for its result."""
        return ticket.get(PATIENCE_S)

    def mapped(self, count: int) -> list[Any]:
        """Send chunks of tasks."""
        jobs = neg.chunks(((number,) for number in range(count)), CHUNK)
        return list(chain.from_iterable(jobs.apply_async().get(PATIENCE_S)))
