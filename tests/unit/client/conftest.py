"""A server that does what the test says, and a session at it."""

from __future__ import annotations

import threading

import pytest
from tests.unit.client.peer import KEY, Peer

from mpclient.session import Session


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def session(peer):
    session = Session(peer.address, KEY, connect_timeout_s=5, reconnect_timeout_s=5)
    yield session
    session.close()


@pytest.fixture
def in_thread():
    """Run a call in a thread and wait for its end, ten seconds at most."""

    def run(function):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()

    return run
