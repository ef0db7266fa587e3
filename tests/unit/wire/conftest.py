"""What the tests of the wire share: keys, nonces, and a way to let two machines talk."""

from types import SimpleNamespace
from typing import Any

import pytest
from tests.stock_client import StockClient

from mpshared.wire.handshake import Refused
from mpshared.wire.own import handshake as own
from mpshared.wire.stock.server import OwnHello
from mpshared.wire.stock.server import ServerHandshake as StockServer

KEY = b"a key of the tests, 128 bits"


def pieces(data, size):
    """Cut data into pieces of `size` bytes; 0: all at once."""
    step = size or max(1, len(data))
    return [data[i : i + step] for i in range(0, len(data), step)]


class Server:
    """The server's side of a connection: begins as the standard library's, goes on as the client wants."""

    def __init__(self, key=KEY, *, md5_allowed=True, versions=own.VERSIONS, nonce=b"S" * 32):
        self.key, self.versions, self.nonce = key, versions, nonce
        self.machine: Any = StockServer(key, md5_allowed=md5_allowed, nonce=nonce + bytes(8))
        self.event = None

    def receive_data(self, data):
        self.machine.receive_data(data)

    def next_event(self):
        event = self.machine.next_event()
        if isinstance(event, OwnHello):
            trailing = self.machine.trailing_data()
            self.machine = own.ServerHandshake(
                self.key, event.hello, nonce=self.nonce, versions=self.versions
            )
            self.machine.receive_data(trailing)
            event = self.machine.next_event()
        self.event = event or self.event
        return event

    def data_to_send(self):
        return self.machine.data_to_send()


def talk(client, server, size=0, change=lambda sender, data: data):
    """Carry bytes in pieces of `size` until both are silent; `change` may alter them on the way.

    Returns:
        What each side said at its end: its events, and the error that the client raised.
    """
    said = SimpleNamespace(client=[], server=[], error=None, sent_by_client=b"", sent_by_server=b"")
    while said.error is None:
        to_client, to_server = server.data_to_send(), client.data_to_send()
        if not to_client and not to_server:
            break
        said.sent_by_client += to_server
        said.sent_by_server += to_client
        for piece in pieces(change("client", to_server), size):
            server.receive_data(piece)
            said.server += [event for event in [server.next_event()] if event is not None]
        try:
            for piece in pieces(change("server", to_client), size):
                client.receive_data(piece)
                said.client += [event for event in [client.next_event()] if event is not None]
        except Exception as err:  # the test says which one it expects
            said.error = err
            server.receive_data(client.data_to_send())
            said.server += [event for event in [server.next_event()] if event is not None]
    said.refused = [event.reason for event in said.server if isinstance(event, Refused)]
    return said


@pytest.fixture
def wire():
    """Keys, machines with sensible arguments, and `talk`."""

    def own_client(key=KEY, versions=own.VERSIONS, nonce=b"C" * 32):
        return own.ClientHandshake(key, nonce=nonce, versions=versions)

    def stock_client(key=KEY, *, md5_allowed=True):
        return StockClient(key, md5_allowed=md5_allowed, nonce=b"c" * 40)

    return SimpleNamespace(
        KEY=KEY, Server=Server, own_client=own_client, stock_client=stock_client, talk=talk, pieces=pieces
    )
