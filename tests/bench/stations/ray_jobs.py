"""Ray: remote functions, and its `multiprocessing.Pool`, on this machine."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from tests.bench.stations.base import PATIENCE_S, WORKERS, Address
from tests.bench.stations.peer import Peer

__all__ = ["RayJobs"]


class RayJobs(Peer):
    """A program with a cluster of its own."""

    def __init__(self, address: Address) -> None:
        import ray
        from ray.util.multiprocessing import Pool

        super().__init__(address)
        self.ray: Any = ray
        ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
        self.neg: Any = ray.remote(num_cpus=1)(_neg)
        self._make_pool = Pool
        self.pool: Any = None

    def send(self, number: int) -> Any:
        """Call the remote function."""
        return self.neg.remote(number)

    def receive(self, ticket: Any) -> Any:
        """Wait for its result."""
        return self.ray.get(ticket, timeout=PATIENCE_S)

    def receive_all(self, tickets: Sequence[Any]) -> list[Any]:
        """Wait for all results."""
        return list(self.ray.get(list(tickets), timeout=PATIENCE_S))

    def mapped(self, count: int) -> list[Any]:
        """Map, in the pool's own chunks; a pool's actors take the processors for themselves."""
        self.pool = self.pool or self._make_pool(WORKERS)
        return list(self.pool.map(operator.neg, range(count)))

    def close(self) -> None:
        """End the cluster."""
        if self.pool is not None:
            self.pool.terminate()
        self.ray.shutdown()


def _neg(number: int) -> int:
    return -number
