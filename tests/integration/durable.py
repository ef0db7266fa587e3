"""Servers with a journal, for tests that kill them; a test module takes `durable` over by name.

durable    a factory: servers with a journal
restart    kills one and starts it again at its address
connect    a client that waits for that
"""

from __future__ import annotations

import signal

import pytest
from tests.integration.conftest import START_S, Server

import mpclient

__all__ = ["connect", "durable", "restart"]


@pytest.fixture
def durable(tmp_path):
    """Start servers that keep what they hold in a folder, `data` unless given."""
    started = []

    def start(*options: str, folder=tmp_path / "data") -> Server:
        server = Server(tmp_path / f"server{len(started)}", ("--data", str(folder), *options))
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()


def restart(server: Server, number: int = signal.SIGKILL) -> None:
    server.send_signal(number)
    server.wait()
    server.start(port=int(server.address.rpartition(":")[2]))


def connect(server: Server) -> mpclient.Cluster:
    return server.connect(reconnect_timeout=START_S)
