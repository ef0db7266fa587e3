"""The standard library's handshake, its server against a client and against faulty peers."""

import hmac

import pytest

from mpshared.wire.errors import AuthenticationRefused, WeakKey
from mpshared.wire.framing import join_frame
from mpshared.wire.handshake import Refused
from mpshared.wire.stock.server import Authenticated, ServerHandshake

KEY = b"a key of the tests, 128 bits"
CHALLENGE = b"{sha256}" + b"s" * 40


def server(*, md5_allowed=False):
    machine = ServerHandshake(KEY, md5_allowed=md5_allowed, nonce=b"s" * 40)
    assert machine.data_to_send() == join_frame(b"#CHALLENGE#" + CHALLENGE)
    return machine


def proven(*, md5_allowed=False):
    machine = server(md5_allowed=md5_allowed)
    machine.receive_data(join_frame(b"{sha256}" + hmac.digest(KEY, CHALLENGE, "sha256")))
    assert machine.next_event() is None
    assert machine.data_to_send() == join_frame(b"#WELCOME#")
    return machine


def say(machine, payload):
    """Send one frame; return the event and what the machine says to it."""
    machine.receive_data(join_frame(payload))
    return machine.next_event(), machine.data_to_send()


@pytest.mark.parametrize("size", [0, 1, 3, 50])
def test_a_client_is_admitted(wire, size):
    said = wire.talk(wire.stock_client(md5_allowed=False), wire.Server(md5_allowed=False), size)
    assert said.error is None
    assert said.client == said.server == [Authenticated("sha256")]


@pytest.mark.parametrize("size", [0, 1])
def test_a_client_with_another_key_is_refused(wire, size):
    said = wire.talk(wire.stock_client(b"another key of the tests"), wire.Server(), size)
    assert isinstance(said.error, AuthenticationRefused)
    assert "another key" in said.refused[0]
    assert said.sent_by_server.endswith(join_frame(b"#FAILURE#"))


def test_the_server_signs_nothing_before_the_peer_has_proved_itself():
    event, answer = say(server(), b"#CHALLENGE#" + b"{sha256}" + b"c" * 40)
    assert isinstance(event, Refused)
    assert answer == join_frame(b"#FAILURE#")


@pytest.mark.parametrize("bare", [True, False])
def test_a_client_that_knows_only_md5_needs_permission(bare):
    answer = hmac.digest(KEY, CHALLENGE, "md5")
    event, said = say(server(), answer if bare else b"{md5}" + answer)
    assert "MD5" in event.reason
    assert said == join_frame(b"#FAILURE#")


def test_a_client_of_python_3_11_is_admitted_with_permission():
    machine = server(md5_allowed=True)
    assert say(machine, hmac.digest(KEY, CHALLENGE, "md5")) == (None, join_frame(b"#WELCOME#"))
    event, said = say(machine, b"#CHALLENGE#" + b"c" * 20)
    assert (event, said) == (None, join_frame(hmac.digest(KEY, b"c" * 20, "md5")))
    assert say(machine, b"#WELCOME#") == (Authenticated("md5"), b"")


def test_a_proven_client_cannot_have_md5_signed_without_permission():
    event, said = say(proven(), b"#CHALLENGE#" + b"c" * 20)
    assert isinstance(event, Refused)
    assert said == join_frame(b"#FAILURE#")


def test_the_first_request_may_come_with_the_welcome():
    machine = proven()
    challenge = b"{sha384}" + b"c" * 40
    assert say(machine, b"#CHALLENGE#" + challenge)[1] == join_frame(
        b"{sha384}" + hmac.digest(KEY, challenge, "sha384")
    )
    request = join_frame(b"request" * 1000)
    machine.receive_data(join_frame(b"#WELCOME#") + request)
    assert machine.next_event() == Authenticated("sha256")
    assert machine.next_event() is None
    assert machine.trailing_data() == request


@pytest.mark.parametrize(
    ("payloads", "reason"),
    [
        ([b"#WELCOME#"], "client's challenge"),
        ([b"#CHALLENGE#"], "0 bytes"),
        ([b"#CHALLENGE#{sha256}" + b"c" * 40, b"#FAILURE#"], "did not accept"),
        ([b"#CHALLENGE#{sha256}" + b"c" * 40, b"#WELCOME"], "client's welcome"),
        ([b"x" * 257], "257 bytes announced"),
    ],
)
def test_a_proven_client_that_breaks_the_protocol_is_refused_once(payloads, reason):
    machine = proven()
    events = [say(machine, payload)[0] for payload in payloads]
    assert reason in events[-1].reason
    assert say(machine, b"#WELCOME#") == (None, b"")


@pytest.mark.parametrize(
    "piece", [b"\0\0\1\1", b"\xff\xff\xff\xff" + b"\xff" * 8, b"\x80\0\0\0", b"GET / HTTP/1.1\r\n"]
)
def test_pre_authentication_sizes_are_refused_at_the_header(piece):
    machine = server()
    machine.receive_data(piece)
    assert isinstance(machine.next_event(), Refused)


def test_an_unproven_peer_may_send_1_kib_in_all():
    machine = server()
    machine.receive_data(join_frame(b"x" * 16) * 200)
    assert "1024 are allowed" in machine.next_event().reason


def test_what_a_refused_peer_goes_on_sending_is_dropped():
    machine = server()
    assert isinstance(say(machine, b"wrong")[0], Refused)
    for _ in range(100):
        machine.receive_data(bytes(1000))
    assert machine.trailing_data() == b""


def test_key_and_nonce_are_checked():
    with pytest.raises(WeakKey):
        ServerHandshake(b"short", md5_allowed=False, nonce=b"n" * 40)
    with pytest.raises(ValueError, match="40 bytes"):
        ServerHandshake(KEY, md5_allowed=False, nonce=b"n" * 20)
