"""The standard library's pools of processes of this machine."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from tests.bench.stations.base import WORKERS, Address, Station, Submit
from tests.bench.stations.works import FUTURES, POOLED

__all__ = ["Pipes"]


class Pipes(Station):
    """The standard library's pools of processes of this machine."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.pools: list[Any] = []

    def jobs(self, work: str) -> Submit:
        """Return the jobs by `multiprocessing.Pool` or `ProcessPoolExecutor`."""
        if work in FUTURES:
            self.pools.append(ProcessPoolExecutor(WORKERS))
            return partial(FUTURES[work], self.pools[-1])
        self.pools.append(multiprocessing.Pool(WORKERS))
        return partial(POOLED[work], self.pools[-1])

    def close(self) -> None:
        """End the processes."""
        while self.pools:
            pool = self.pools.pop()
            pool.shutdown() if isinstance(pool, ProcessPoolExecutor) else pool.terminate()
