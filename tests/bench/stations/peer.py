"""What stations of other systems have in common: jobs are sent one by one, or mapped; workers are theirs.

Rules:
- Results are checked as on every side.
- Workers end with the station.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.stations.base import Address, Station, Submit

__all__ = ["Peer"]


class Peer(Station):
    """Another system's client: `send`, `receive` and, where it has the notion, `mapped`."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, command: str, *words: str) -> None:
        """Start a worker command of this Python's environment."""
        beside = str(Path(sys.executable).parent / command)
        self.workers.append(subprocess.Popen([beside, *words], stdin=subprocess.DEVNULL))

    def send(self, number: int) -> Any:
        """Have `operator.neg` called, and return what `receive` takes."""
        raise NotImplementedError(f"{type(self).__name__} sends no {number}")

    def receive(self, ticket: Any) -> Any:
        """Return a result."""
        raise NotImplementedError(f"{type(self).__name__} has no result of {ticket}")

    def receive_all(self, tickets: Sequence[Any]) -> list[Any]:
        """Return results."""
        return [self.receive(ticket) for ticket in tickets]

    def mapped(self, count: int) -> list[Any]:
        """Return the results of as many jobs, sent together."""
        raise NotImplementedError(f"{type(self).__name__} does not map {count} jobs")

    def jobs(self, work: str) -> Submit:
        """Return the jobs, one message each, one after the other, or mapped."""
        return {"futures": self._all, "trips": self._trips, "map": self._map}[work]

    def _all(self, count: int) -> list[float]:
        found = self.receive_all([self.send(number) for number in range(count)])
        assert found == [-number for number in range(count)]
        return []

    def _trips(self, count: int) -> list[float]:
        took = []
        for number in range(count):
            begin = time.perf_counter()
            assert self.receive(self.send(number)) == -number
            took.append(time.perf_counter() - begin)
        return took

    def _map(self, count: int) -> list[float]:
        assert list(self.mapped(count)) == [-number for number in range(count)]
        return []

    def close(self) -> None:
        """End the workers."""
        while self.workers:
            worker = self.workers.pop()
            worker.terminate()
            try:
                worker.wait(5)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait(5)
