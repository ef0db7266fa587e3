"""What a station is: one side's client, in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["PATIENCE_S", "URL_VARIABLE", "WORKERS", "Address", "Pair", "Station", "Submit"]

Address = tuple[str, int]
Pair = Callable[[], object]
Submit = Callable[[int], list[float]]
PATIENCE_S = 120.0
WORKERS = 2
URL_VARIABLE = "BENCH_REDIS_URL"  # for modules that a worker of another system imports too


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

    def await_workers(self) -> None:
        """Wait until all workers wait for jobs, where they did not say so themselves."""

    def pills(self, name: str, count: int) -> None:
        """Stop `count` workers of the recipe."""
        raise NotImplementedError(f"{type(self).__name__} cannot stop the {count} workers of {name}")

    def work(self, name: str) -> int:
        """Do jobs of the recipe until a pill; return how many were done."""
        raise NotImplementedError(f"{type(self).__name__} has no worker of its own for {name}")

    def jobs(self, work: str) -> Submit:
        """Return a callable that has so many small jobs done by `work`, and checks their results."""
        raise NotImplementedError(f"{type(self).__name__} has no {work}")

    def load(self, kind: str, name: str, count: int) -> None:
        """Have the server hold `count` more things of a kind; they stay until this client closes."""
        raise NotImplementedError(f"{type(self).__name__} has no {count} {kind} for {name}")

    def idle(self) -> Any:
        """Return a client that is connected, has made a call, and does nothing more; it has a `close`."""
        raise NotImplementedError(f"{type(self).__name__} has no idle clients")

    def close(self) -> None:
        """Disconnect."""
