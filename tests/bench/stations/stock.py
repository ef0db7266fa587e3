"""The standard library's client, of its own server and of ours."""

from __future__ import annotations

import multiprocessing.connection as plain
import socket
from functools import partial
from typing import Any

from tests.bench import stock
from tests.bench.stations.base import Address, Pair, Station, Submit
from tests.bench.stations.works import PAIRS, chunk_pair, chunks, naps, one_by_one, round_trips

__all__ = ["Stock"]

FLOWS = {"recipe": one_by_one, "round trip": round_trips, "chunks": chunks, "naps": naps}


class Stock(Station):
    """The standard library's SyncManager, against its own server or against ours."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.manager = stock.connect(address)

    def pair(self, work: str, name: str, index: int) -> Pair:
        """Return the pair on a proxy of the named object."""
        if work == "connect":
            return partial(stock.connect, self.address)
        if work == "proxy":
            return self.manager.dict  # type: ignore[no-any-return]  # made, and dropped by the caller
        if work == "batches":
            return chunk_pair(self.manager.get_queue(name), index)
        return PAIRS[work](getattr(self.manager, f"get_{work}")(name), index)

    def submit(self, how: str, name: str, size: int) -> Submit:
        """Return the recipe with one put and one get for each job."""
        tasks, results = self._queues(name)
        return partial(FLOWS[how], tasks, results, size)

    def pills(self, name: str, count: int) -> None:
        """Put one None for each worker."""
        for _ in range(count):
            self._queues(name)[0].put(None)

    def work(self, name: str) -> int:
        """Get, call, put until the pill."""
        tasks, results = self._queues(name)
        done = 0
        while (call := tasks.get()) is not None:
            results.put([one() for one in call] if type(call) is list else call())
            done += 1
        return done

    def idle(self) -> plain.Connection:
        """Return a connection on which a proxy would make its calls.

        Written out, because `Client()` leaves Nagle's algorithm on: 5,000 handshakes would take 220 s.
        """
        sock = socket.create_connection(self.address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = plain.Connection(sock.detach())
        plain.answer_challenge(connection, stock.key())
        plain.deliver_challenge(connection, stock.key())
        connection.send((None, "accept_connection", ("idle",), {}))
        kind, result = connection.recv()
        assert kind == "#RETURN", result
        return connection

    def _queues(self, name: str) -> tuple[Any, Any]:
        return self.manager.get_queue(f"{name}.tasks"), self.manager.get_queue(f"{name}.results")
