"""Raw connections of our own protocol to a real server: what tests that do without a client speak through."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.unit.net.stage import RawClient

__all__ = ["LANE", "WAIT_S", "Raw", "raw_of", "wait"]

WAIT_S = 60.0
LANE = 5


def wait(sock: socket.socket, write: bool) -> None:
    """Wait until the socket can be read, or written; every wait in these tests is bounded here."""
    poll = select.poll()  # select() knows a thousand descriptors only
    poll.register(sock, select.POLLIN | (select.POLLOUT if write else 0))
    assert poll.poll(WAIT_S * 1000), "the server says nothing"


class Raw:
    """Makes raw clients of one server."""

    def __init__(self, server):
        self.address = server.address
        self.key = server.key.encode()
        self.clients: list[RawClient] = []

    def socket(self) -> socket.socket:
        if self.address.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(self.address.removeprefix("unix:"))
            return sock
        host, port = self.address.rsplit(":", 1)
        sock = socket.create_connection((host, int(port)), WAIT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def client(self) -> RawClient:
        client = RawClient(self.socket(), wait, self.key)
        self.clients.append(client)
        return client

    def program(self) -> RawClient:
        return self.client().shake_hands().attach_new()

    def lane(self, program: RawClient, ack: int = 0) -> tuple[RawClient, int]:
        """Carry the test's lane; return the client, and the last number that the server knows."""
        client = self.client().shake_hands()
        return client, client.attach(program, LANE, ack)

    def close(self) -> None:
        for client in self.clients:
            client.close()


@contextmanager
def raw_of(server) -> Iterator[Raw]:
    raw = Raw(server)
    try:
        yield raw
    finally:
        raw.close()
