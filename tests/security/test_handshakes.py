"""Handshakes by who has no key: answers sent back, crossed, recorded, and passed on.

Each message by itself is tested in `tests/unit/wire` (`test_own_handshake.py`, `test_stock_handshake.py`);
here attackers do what needs several connections at once, to real servers and clients. What does *not* hold
without TLS is shown at the end; that it holds with TLS, in `tests/integration/test_tls_refused.py`.
"""

from __future__ import annotations

import secrets
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import AuthenticationError, connection
from typing import Any

import pytest
from tests.integration.raw import WAIT_S, wait
from tests.security.attackers import Attacked, request
from tests.unit.net.stage import RawClient

import mpclient
from mpclient.transport.dialling import dial
from mpshared import symbolic
from mpshared.address import Address
from mpshared.errors import ProtocolViolation
from mpshared.wire.framing import join_frame
from mpshared.wire.handshake import CHALLENGE, FAILURE, OWN, WELCOME
from mpshared.wire.own.pack import pack, unpack


def frame_from(sock: socket.socket) -> bytes:
    """Read one frame of a handshake; b"" at the end."""
    header = _exactly(sock, 4)
    return _exactly(sock, struct.unpack("!i", header)[0]) if header else b""


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    with suppress(ConnectionResetError):
        while len(data) < size and (piece := sock.recv(size - len(data))):
            data += piece
    return data


def to(server: Attacked) -> socket.socket:
    return socket.create_connection(server.where, WAIT_S)


# -- at the server -----------------------------------------------------------------------------------------


def hello_to(sock: socket.socket) -> bytes:
    """Begin our own handshake; return the server's answer."""
    frame_from(sock)
    sock.sendall(join_frame(OWN + pack({"versions": [1, 1], "nonce": secrets.token_bytes(32)})))
    return frame_from(sock)


def echo_the_challenge(one: socket.socket, _other: socket.socket) -> bytes:
    challenge = frame_from(one)
    one.sendall(join_frame(challenge))
    return frame_from(one)


def echo_its_random_part(one: socket.socket, _other: socket.socket) -> bytes:
    challenge = frame_from(one)
    one.sendall(join_frame(challenge.removeprefix(CHALLENGE)))
    return frame_from(one)


def have_the_other_answer(one: socket.socket, other: socket.socket) -> bytes:
    """Challenge the other with what the first wants to be answered, and pass on what it says."""
    challenge, _ = frame_from(one), frame_from(other)
    other.sendall(join_frame(challenge))
    one.sendall(join_frame(frame_from(other)))
    return frame_from(one)


def challenge_first(one: socket.socket, _other: socket.socket) -> bytes:
    frame_from(one)
    one.sendall(join_frame(CHALLENGE + b"{sha256}" + bytes(40)))
    return frame_from(one)


def say_that_all_is_well(one: socket.socket, _other: socket.socket) -> bytes:
    frame_from(one)
    one.sendall(join_frame(WELCOME))
    return frame_from(one)


def send_its_answer_back(one: socket.socket, _other: socket.socket) -> bytes:
    one.sendall(join_frame(hello_to(one)))
    return frame_from(one)


def send_its_nonce_back(one: socket.socket, _other: socket.socket) -> bytes:
    answer = unpack(hello_to(one).removeprefix(OWN))
    one.sendall(join_frame(answer["nonce"]))
    return frame_from(one)


def cross_the_answers(one: socket.socket, other: socket.socket) -> bytes:
    """Greet each with what the other said: a proof of one would be good for the other."""
    frame_from(other)
    other.sendall(join_frame(hello_to(one)))
    one.sendall(join_frame(frame_from(other)[:32]))
    return frame_from(one)


CROOKED = [
    echo_the_challenge, echo_its_random_part, have_the_other_answer, challenge_first, say_that_all_is_well,
    send_its_answer_back, send_its_nonce_back, cross_the_answers,
]  # fmt: skip


@pytest.fixture(scope="module")
def twin(server, tmp_path_factory):
    """Another server with the same key."""
    started = Attacked(tmp_path_factory.mktemp("twin") / "server", server.options, key=server.key)
    started.start()
    yield started
    started.stop()


@pytest.mark.parametrize("pair", ["one server", "two servers of one key"])
@pytest.mark.parametrize("attempt", CROOKED)
def test_no_server_lets_in_who_has_only_what_servers_say(server, twin, attempt, pair):
    with to(server) as one, to(server if pair == "one server" else twin) as other:
        said = attempt(one, other)
        assert said.startswith(FAILURE) or not said, said
        assert not frame_from(one), "the connection is closed"


def recorded(server: Attacked, shake: Callable[[Address], Any]) -> tuple[list[bytes], list[bytes]]:
    """Return what both sides say in a handshake that succeeds, by passing it on."""
    up, down, taken = relayed(server, shake)
    taken.close()
    return up, down


def test_what_was_recorded_lets_nobody_in(server):
    for shake in (own_client(server), stock_client(server)):
        up, _ = recorded(server, shake)
        with to(server) as thief:
            for said in up:
                if not frame_from(thief):
                    break
                thief.sendall(join_frame(said))
            said = frame_from(thief)
            assert said.startswith(FAILURE) or not said, said
            assert not frame_from(thief)


# -- at the client -----------------------------------------------------------------------------------------


def rogue(
    answer: Callable[[list[socket.socket]], None], connections: int
) -> tuple[Address, threading.Thread]:
    """Listen for so many clients, and then do as `answer` does."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(WAIT_S)

    def serve() -> None:
        socks = []
        try:
            with listener:
                socks = [listener.accept()[0] for _ in range(connections)]
            with suppress(OSError):
                answer(socks)
        finally:
            for sock in socks:
                sock.close()

    serving = threading.Thread(target=serve)
    serving.start()
    return Address.tcp(*listener.getsockname()), serving


def parrot(socks: list[socket.socket]) -> None:
    [sock] = socks
    sock.sendall(join_frame(CHALLENGE + b"{sha256}" + bytes(40)))
    while said := frame_from(sock):
        sock.sendall(join_frame(said))


def parrot_with_a_nonce(socks: list[socket.socket]) -> None:
    """Answer as a server would, and give the client's own proof back."""
    [sock] = socks
    sock.sendall(join_frame(CHALLENGE + b"{sha256}" + bytes(40)))
    frame_from(sock)
    sock.sendall(join_frame(OWN + pack({"version": 1, "nonce": bytes(32)})))
    sock.sendall(join_frame(frame_from(sock)))
    frame_from(sock)


def cross_two(socks: list[socket.socket]) -> None:
    """Have two connections of one program prove themselves to each other."""
    one, other = socks
    for sock in socks:
        sock.sendall(join_frame(CHALLENGE + b"{sha256}" + bytes(40)))
    hellos = {sock: unpack(frame_from(sock).removeprefix(OWN)) for sock in socks}
    for sock, peer in ((one, other), (other, one)):
        sock.sendall(join_frame(OWN + pack({"version": 1, "nonce": hellos[peer]["nonce"]})))
    proofs = {sock: frame_from(sock) for sock in socks}
    for sock, peer in ((one, other), (other, one)):
        sock.sendall(join_frame(proofs[peer]))
    for sock in socks:
        frame_from(sock)


def try_to_connect(server: Attacked, address: Address) -> Exception:
    with pytest.raises(mpclient.MpserveError) as refused:
        dial(address, server.key.encode(), 5.0)
    return refused.value


@pytest.mark.parametrize(("answer", "connections"), [(parrot, 1), (parrot_with_a_nonce, 1), (cross_two, 2)])
def test_no_client_believes_who_has_only_what_clients_say(server, answer, connections):
    address, serving = rogue(answer, connections)
    with ThreadPoolExecutor(connections) as pool:
        errors = list(pool.map(lambda _: try_to_connect(server, address), range(connections)))
    serving.join(WAIT_S)
    assert {type(error) for error in errors} <= {
        mpclient.NotAllowed,
        mpclient.MpserveError,
        ProtocolViolation,
    }


def test_what_was_recorded_of_a_server_convinces_nobody(server):
    _, down = recorded(server, own_client(server))

    def replay(socks: list[socket.socket]) -> None:
        [sock] = socks
        for said in down:
            sock.sendall(join_frame(said))
            frame_from(sock)

    address, serving = rogue(replay, 1)
    error = try_to_connect(server, address)
    serving.join(WAIT_S)
    assert isinstance(error, mpclient.NotAllowed)


# -- what does not hold without TLS -------------------------------------------------------------------------


def own_client(server: Attacked) -> Callable[[Address], Any]:
    return lambda address: dial(address, server.key.encode(), 5.0)


def stock_client(server: Attacked) -> Callable[[Address], Any]:
    return lambda address: connection.Client((address.host, address.port), authkey=server.key.encode())


def relayed(
    server: Attacked, shake: Callable[[Address], Any]
) -> tuple[list[bytes], list[bytes], socket.socket]:
    """Stand between a client and the server until they believe each other; return what was said, and the end
    at which the server takes us for the client.
    """
    up: list[bytes] = []
    down: list[bytes] = []
    upstream = to(server)

    def pass_on(socks: list[socket.socket]) -> None:
        [client] = socks
        while True:
            down.append(frame_from(upstream))
            client.sendall(join_frame(down[-1]))
            if len(down) == 3:
                break
            up.append(frame_from(client))
            upstream.sendall(join_frame(up[-1]))
        if up[0].startswith(OWN):
            return
        up.append(frame_from(client))
        upstream.sendall(join_frame(up[-1]))

    address, serving = rogue(pass_on, 1)
    shake(address).close()
    serving.join(WAIT_S)
    return up, down, upstream


def test_without_tls_who_stands_between_has_the_connection_afterwards(server):
    """As the model says: without TLS the network is kept out of the key exchange, and of nothing after it."""
    _, _, taken = relayed(server, own_client(server))
    thief = RawClient(taken, wait, b"no key at all, and none needed")
    thief.attach_new()
    assert thief.call("cluster.count").result >= 0
    thief.close()
    _, _, taken = relayed(server, stock_client(server))
    taken.sendall(join_frame(request("", "dummy")))
    assert symbolic.load(frame_from(taken)) == ("#RETURN", None)
    taken.close()


def test_the_standard_librarys_clients_can_be_made_to_vouch_for_who_has_no_key(server):
    """It signs what whoever it dials wants signed, and takes its own signatures back: nothing that a server
    can mend. Ours does neither (`cross_two`).
    """
    fooled = []

    def fool(socks: list[socket.socket]) -> None:
        one, other = socks
        one.sendall(join_frame(CHALLENGE + b"{sha256}" + bytes(40)))
        frame_from(one)
        one.sendall(join_frame(WELCOME))
        other.sendall(join_frame(frame_from(one)))
        one.sendall(join_frame(frame_from(other)))
        fooled.append(frame_from(one))

    address, serving = rogue(fool, 2)
    with ThreadPoolExecutor(2) as pool:
        for attempt in [pool.submit(stock_client(server), address) for _ in range(2)]:
            with suppress(EOFError, OSError, AuthenticationError):
                attempt.result(WAIT_S).close()
    serving.join(WAIT_S)
    assert fooled == [WELCOME]


def test_but_it_is_that_one_connection_and_not_the_key(server):
    """Nothing that was passed on is of use for another connection, or in the other protocol."""
    for shake in (own_client(server), stock_client(server)):
        up, down, taken = relayed(server, shake)
        taken.close()
        assert not [said for said in (*up, *down) if server.key.encode() in said]
        for proof in up:
            with to(server) as thief:
                frame_from(thief)
                thief.sendall(join_frame(proof))
                said = frame_from(thief)
                assert said.startswith((FAILURE, OWN)) or not said
