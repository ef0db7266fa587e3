"""Dask distributed: a scheduler and workers of this machine."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from tests.bench.stations.base import PATIENCE_S, WORKERS, Address
from tests.bench.stations.peer import Peer

__all__ = ["DaskJobs"]


class DaskJobs(Peer):
    """A program with a cluster of its own."""

    def __init__(self, address: Address) -> None:
        from distributed import Client, LocalCluster

        super().__init__(address)
        self.cluster: Any = LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
        )
        self.client: Any = Client(self.cluster)

    def send(self, number: int) -> Any:
        """Send a task; a pure one would be done once."""
        return self.client.submit(operator.neg, number, pure=False)

    def receive(self, ticket: Any) -> Any:
        """Wait for its result."""
        return ticket.result(PATIENCE_S)

    def receive_all(self, tickets: Sequence[Any]) -> list[Any]:
        """Wait for all results."""
        return list(self.client.gather(list(tickets)))

    def mapped(self, count: int) -> list[Any]:
        """Send all tasks together."""
        return self.receive_all(self.client.map(operator.neg, range(count), pure=False))

    def close(self) -> None:
        """End the cluster."""
        self.client.close()
        self.cluster.close()
