"""A server with several keys: each lets in, the answer is made with it, and the event says which it was."""

import hmac

import pytest
from tests.stock_client import StockClient

from mpshared.wire import auth
from mpshared.wire.auth import derive_key, prove
from mpshared.wire.errors import AuthenticationRefused, WeakKey
from mpshared.wire.framing import join_frame
from mpshared.wire.handshake import Refused
from mpshared.wire.own import handshake as own
from mpshared.wire.own.pack import pack
from mpshared.wire.stock.server import ServerHandshake as StockServer

KEYS = (b"the first key of the tests", b"the second key of the tests", b"the third key of the tests")
HELLO = b"#MPSERVE#" + pack({"versions": [1, 1], "nonce": b"C" * 32})


def stock_server(*, md5_allowed=False):
    return StockServer(KEYS[0], md5_allowed=md5_allowed, nonce=b"s" * 40, others=KEYS[1:])


def own_server():
    return own.ServerHandshake(KEYS[0], HELLO, nonce=b"S" * 32, others=KEYS[1:])


@pytest.mark.parametrize("which", range(3))
def test_a_standard_client_of_each_key(wire, which):
    client = StockClient(KEYS[which], md5_allowed=False, nonce=b"c" * 40)
    said = wire.talk(client, stock_server())
    assert said.error is None
    assert [(event.digest, event.key) for event in said.server] == [("sha256", which)]


@pytest.mark.parametrize("which", range(3))
def test_a_standard_client_of_python_3_11_of_each_key(which):
    machine = stock_server(md5_allowed=True)
    machine.data_to_send()
    machine.receive_data(join_frame(hmac.digest(KEYS[which], b"{sha256}" + b"s" * 40, "md5")))
    assert machine.next_event() is None
    machine.receive_data(join_frame(b"#CHALLENGE#" + b"c" * 20) + join_frame(b"#WELCOME#"))
    event = machine.next_event()
    assert (event.digest, event.key) == ("md5", which)
    assert machine.data_to_send().endswith(join_frame(hmac.digest(KEYS[which], b"c" * 20, "md5")))


@pytest.mark.parametrize("which", range(3))
def test_a_client_of_ours_of_each_key(which):
    server, client = own_server(), own.ClientHandshake(KEYS[which], nonce=b"C" * 32)
    client.receive_data(join_frame(b"#CHALLENGE#{sha256}" + b"s" * 40))
    assert client.next_event() is None
    assert client.data_to_send() == join_frame(HELLO)
    client.receive_data(server.data_to_send())
    assert client.next_event() is None
    server.receive_data(client.data_to_send())
    assert server.next_event() == own.Authenticated(1, which)
    client.receive_data(server.data_to_send())
    assert client.next_event() == own.Authenticated(1)


def test_the_server_proves_itself_with_the_clients_key_and_no_other():
    server = own_server()
    (answer,) = [frame[4:] for frame in [server.data_to_send()]]
    server.receive_data(join_frame(prove(derive_key(KEYS[1]), b"client", HELLO, answer)))
    assert server.next_event() == own.Authenticated(1, 1)
    assert server.data_to_send() == join_frame(prove(derive_key(KEYS[1]), b"server", HELLO, answer))


def test_a_key_that_is_none_of_them_is_refused(wire):
    said = wire.talk(
        StockClient(b"a key of somebody else", md5_allowed=False, nonce=b"c" * 40), stock_server()
    )
    assert isinstance(said.error, AuthenticationRefused)
    server = own_server()
    server.receive_data(join_frame(bytes(32)))
    assert isinstance(server.next_event(), Refused)


def test_a_weak_key_among_them_is_refused():
    with pytest.raises(WeakKey):
        StockServer(KEYS[0], md5_allowed=False, nonce=b"s" * 40, others=[b"short"])
    with pytest.raises(WeakKey):
        own.ServerHandshake(KEYS[0], HELLO, nonce=b"S" * 32, others=[b"short"])


@pytest.mark.parametrize("which", [-1, 0, 1, 2])
def test_all_are_compared_whichever_it_is(monkeypatch, which):
    compared = []

    def same(one, other):
        compared.append(one)
        return one == other

    monkeypatch.setattr(auth, "same", same)
    assert auth.find_same(KEYS, KEYS[which] if which >= 0 else b"none of them") == which
    assert compared == list(KEYS)
