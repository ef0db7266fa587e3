"""RQ, with workers that do not fork for each job."""

from __future__ import annotations

import operator
import os
from typing import Any

from tests.bench.stations.base import PATIENCE_S, URL_VARIABLE, WORKERS, Address
from tests.bench.stations.peer import Peer

__all__ = ["RqJobs"]


class RqJobs(Peer):
    """A program that has jobs done."""

    def __init__(self, address: Address) -> None:
        import redis
        import rq

        super().__init__(address)
        self.queue = rq.Queue("bench", connection=redis.Redis(*address))
        for _ in range(WORKERS):
            url = os.environ[URL_VARIABLE]
            self.start("rq", "worker", "bench", "--url", url, "--worker-class", "rq.SimpleWorker", "--quiet")

    def send(self, number: int) -> Any:
        """Send a job."""
        return self.queue.enqueue(operator.neg, number)

    def receive(self, ticket: Any) -> Any:
        """Wait for its result."""
        return ticket.latest_result(timeout=int(PATIENCE_S)).return_value
