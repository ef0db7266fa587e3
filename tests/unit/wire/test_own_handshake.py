"""Our own handshake: both roles against each other, and each against liars."""

import pytest

from mpshared.wire.auth import derive_key, prove
from mpshared.wire.errors import (
    AuthenticationRefused,
    NotMpserve,
    NotTls,
    ProtocolError,
    ServerBusy,
    VersionMismatch,
)
from mpshared.wire.framing import FrameReader, join_frame
from mpshared.wire.handshake import OWN, TLS_ONLY_FRAME, Refused, busy_frame
from mpshared.wire.own.handshake import Authenticated, ClientHandshake, ServerHandshake
from mpshared.wire.own.pack import pack
from mpshared.wire.stock.server import OwnHello

KEY = b"a key of the tests, 128 bits"
NONCE = b"C" * 32
HELLO = OWN + pack({"versions": [1, 1], "nonce": NONCE})
STOCK_CHALLENGE = join_frame(b"#CHALLENGE#{sha256}" + b"s" * 40)


def frames(data):
    reader = FrameReader(1 << 20)
    reader.receive_data(data)
    return list(iter(reader.next_frame, None))


@pytest.mark.parametrize("size", [0, 1, 7, 100])
def test_both_roles_agree(wire, size):
    said = wire.talk(wire.own_client(), wire.Server(), size)
    assert said.error is None
    assert said.client == [Authenticated(1)]
    assert [event for event in said.server if not isinstance(event, OwnHello)] == [Authenticated(1)]


def test_the_client_never_answers_the_stock_challenge(wire):
    said = wire.talk(wire.own_client(), wire.Server())
    hello, proof = frames(said.sent_by_client)
    assert hello.startswith(b"#MPSERVE#")
    assert len(proof) == 32


@pytest.mark.parametrize("size", [0, 1])
def test_different_keys_are_refused_on_both_sides(wire, size):
    said = wire.talk(wire.own_client(b"another key of the tests"), wire.Server(), size)
    assert isinstance(said.error, AuthenticationRefused)
    assert "the keys differ" in str(said.error)
    assert "another key" in said.refused[0]


@pytest.mark.parametrize(
    ("client", "server", "chosen"),
    [
        ((1, 1), (1, 1), 1),
        ((1, 3), (2, 9), 3),
        ((4, 9), (1, 5), 5),
        ((0, 65535), (7, 7), 7),
        ((2, 4), (1, 3), 3),
    ],
)
def test_the_highest_common_version_is_chosen(wire, client, server, chosen):
    said = wire.talk(wire.own_client(versions=client), wire.Server(versions=server))
    assert said.client == [Authenticated(chosen)]
    assert said.server[-1] == Authenticated(chosen)


@pytest.mark.parametrize(
    ("client", "server", "older"), [((5, 9), (1, 4), "the server"), ((1, 1), (2, 3), "this host")]
)
def test_without_a_common_version_both_ranges_are_named(wire, client, server, older):
    said = wire.talk(wire.own_client(versions=client), wire.Server(versions=server))
    error = said.error
    assert isinstance(error, VersionMismatch)
    assert (error.ours, error.theirs) == (client, server)
    for low, high in (client, server):
        assert f"{low} to {high}" in str(error)
        assert f"{low} to {high}" in said.refused[0]
    assert str(error).endswith(f"upgrade mpserve on {older}")


def hello_of(**fields):
    return OWN + pack({"versions": [1, 1], "nonce": NONCE} | fields)


@pytest.mark.parametrize(
    ("hello", "field"),
    [
        (b"", "hello"),
        (b"#MPSERVE", "hello"),
        (OWN, "head"),
        (OWN + b"\xc1", "head"),
        (OWN + pack([]), "hello"),
        (OWN + pack({}), "hello nonce"),
        (hello_of(nonce=b"C" * 31), "hello nonce"),
        (hello_of(nonce="C" * 32), "hello nonce"),
        (hello_of(versions=None), "hello versions"),
        (hello_of(versions=[1]), "hello versions"),
        (hello_of(versions=[2, 1]), "hello versions"),
        (hello_of(versions=[-1, 1]), "hello versions"),
        (hello_of(versions=[1, 65536]), "hello versions"),
        (hello_of(versions=[1.0, 1]), "hello versions"),
        (hello_of(versions=[True, True]), "hello versions"),
        (HELLO + b"x", "head"),
    ],
)
def test_a_faulty_hello_is_refused(hello, field):
    machine = ServerHandshake(KEY, hello, nonce=b"S" * 32)
    event = machine.next_event()
    assert isinstance(event, Refused)
    assert f"in {field}:" in event.reason
    assert frames(machine.data_to_send()) == [b"#FAILURE#bad hello"]
    assert machine.next_event() is None


def test_what_a_later_version_adds_is_ignored_but_proved():
    hello = hello_of(versions=[1, 2], features=["new"])
    machine = ServerHandshake(KEY, hello, nonce=b"S" * 32)
    (answer,) = frames(machine.data_to_send())
    machine.receive_data(join_frame(prove(derive_key(KEY), b"client", HELLO, answer)))
    assert isinstance(machine.next_event(), Refused)

    machine = ServerHandshake(KEY, hello, nonce=b"S" * 32)
    machine.receive_data(join_frame(prove(derive_key(KEY), b"client", hello, answer)))
    assert machine.next_event() == Authenticated(1)


def client():
    machine = ClientHandshake(KEY, nonce=NONCE)
    machine.receive_data(STOCK_CHALLENGE)
    assert machine.next_event() is None
    assert machine.data_to_send() == join_frame(HELLO)
    return machine


def fails(machine, payload, error, match):
    machine.receive_data(join_frame(payload))
    for _ in range(2):
        with pytest.raises(error, match=match):
            machine.next_event()


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        (b"#FAILURE#", NotMpserve, "manager of the standard library"),
        (b"#FAILURE#bad hello", ProtocolError, "bad hello"),
        (b"#WELCOME#", ProtocolError, "expected #MPSERVE#"),
        (OWN + pack({"nonce": b"S" * 32}), ProtocolError, "answer version"),
        (OWN + pack({"version": 2, "nonce": b"S" * 32}), ProtocolError, "answer version"),
        (OWN + pack({"version": True, "nonce": b"S" * 32}), ProtocolError, "answer version"),
        (OWN + pack({"version": 1}), ProtocolError, "answer nonce"),
        (OWN + pack({"version": 1, "nonce": NONCE}), ProtocolError, "only repeats us"),
        (OWN + pack({"refused": "no"}), ProtocolError, "answer versions"),
        (OWN + pack({"refused": "\x1b[2J", "versions": [3, 4]}), VersionMismatch, r"3 to 4 \(\\x1b\[2J\)"),
        (HELLO, ProtocolError, "answer version"),
    ],
)
def test_a_faulty_answer_is_refused_and_stays_refused(answer, error, match):
    machine = client()
    fails(machine, answer, error, match)
    assert machine.data_to_send() == b""


@pytest.mark.parametrize("greeting", [b"SSH-2.0", b"#WELCOME#", HELLO])
def test_who_does_not_begin_like_a_server_is_none(greeting):
    fails(ClientHandshake(KEY, nonce=NONCE), greeting, NotMpserve, "address of your server")


@pytest.mark.parametrize(
    ("proof", "match"),
    [
        (b"x" * 32, "cannot prove"),
        (b"", "cannot prove"),
        (b"#FAILURE#the keys differ", "the keys differ"),
        (b"#FAILURE#", "no reason given"),
    ],
)
def test_a_server_that_cannot_prove_itself_is_refused(proof, match):
    machine = client()
    machine.receive_data(join_frame(OWN + pack({"version": 1, "nonce": b"S" * 32})))
    assert machine.next_event() is None
    assert len(machine.data_to_send()) == 36
    fails(machine, proof, AuthenticationRefused, match)


def test_a_clients_own_messages_sent_back_prove_nothing(wire):
    machine = client()
    answer = OWN + pack({"version": 1, "nonce": b"S" * 32})
    machine.receive_data(join_frame(answer))
    assert machine.next_event() is None
    (own_proof,) = frames(machine.data_to_send())
    fails(machine, own_proof, AuthenticationRefused, "cannot prove")


def test_a_proof_of_another_connection_is_refused(wire):
    said = wire.talk(wire.own_client(), wire.Server())
    _, proof = frames(said.sent_by_client)
    machine = ServerHandshake(KEY, HELLO, nonce=b"T" * 32)
    machine.receive_data(join_frame(proof))
    assert isinstance(machine.next_event(), Refused)


def test_a_relay_that_changes_the_versions_is_found_out(wire):
    """Both sides speak 1 and 2; someone between them hides the 2."""

    def downgrade(sender, data):
        return data.replace(pack({"versions": [1, 2]})[1:], pack({"versions": [1, 1]})[1:])

    versions = (1, 2)
    said = wire.talk(wire.own_client(versions=versions), wire.Server(versions=versions), change=downgrade)
    assert isinstance(said.error, AuthenticationRefused)
    assert said.refused


def test_a_rogue_server_gets_nothing_that_another_server_would_accept(wire):
    """It relays the client's hello to the real server, but offers the client a nonce of its own."""
    real = ServerHandshake(KEY, HELLO, nonce=b"S" * 32)
    machine = client()
    machine.receive_data(join_frame(OWN + pack({"version": 1, "nonce": b"R" * 32})))
    assert machine.next_event() is None
    real.receive_data(machine.data_to_send())
    assert isinstance(real.next_event(), Refused)


def test_limits_hold_before_authentication():
    server = ServerHandshake(KEY, HELLO, nonce=b"S" * 32)
    server.receive_data(b"\0\0\1\1")
    event = server.next_event()
    assert isinstance(event, Refused)
    assert "257 bytes announced" in event.reason
    assert frames(server.data_to_send())[-1] == b"#FAILURE#"
    machine = ClientHandshake(KEY, nonce=NONCE)
    machine.receive_data(bytes(1025))
    with pytest.raises(ProtocolError, match="1024 are allowed"):
        machine.next_event()


def test_what_comes_behind_the_proof_is_left_for_the_decoder():
    machine = ServerHandshake(KEY, HELLO, nonce=b"S" * 32)
    (answer,) = frames(machine.data_to_send())
    machine.receive_data(join_frame(prove(derive_key(KEY), b"client", HELLO, answer)) + b"first call")
    assert machine.next_event() == Authenticated(1)
    assert machine.next_event() is None
    assert machine.trailing_data() == b"first call"


def test_the_longest_refusal_fits_a_frame_of_the_handshake(wire):
    said = wire.talk(wire.own_client(versions=(65535, 65535)), wire.Server(versions=(65533, 65534)))
    assert isinstance(said.error, VersionMismatch)


def test_nonces_are_checked():
    with pytest.raises(ValueError, match="32 bytes"):
        ClientHandshake(KEY, nonce=b"n" * 20)
    with pytest.raises(ValueError, match="32 bytes"):
        ServerHandshake(KEY, HELLO, nonce=b"n" * 20)


class TestChannel:
    """Over TLS both sides name the server's certificate as they see it."""

    @staticmethod
    def talk(client_channel, server_channel, tamper=lambda frame: frame):
        """Let both sides talk; return how each ends."""
        client = ClientHandshake(KEY, nonce=NONCE, channel=client_channel)
        client.receive_data(STOCK_CHALLENGE)
        ends = []

        def step():
            try:
                return client.next_event()
            except (AuthenticationRefused, ProtocolError) as err:
                return err

        assert step() is None
        [hello] = frames(client.data_to_send())
        server = ServerHandshake(KEY, tamper(hello), nonce=b"S" * 32, channel=server_channel)
        for _ in range(3):
            ends.append(server.next_event())
            for frame in frames(server.data_to_send()):
                client.receive_data(join_frame(tamper(frame)))
            ends.append(step())
            server.receive_data(client.data_to_send())
        return [end for end in ends if end is not None]

    def test_the_same_on_both_sides(self):
        assert self.talk(b"one" * 10, b"one" * 10) == [Authenticated(1), Authenticated(1)]

    @pytest.mark.parametrize(
        ("client", "server"), [(b"a" * 32, b"b" * 32), (b"a" * 32, b""), (b"", b"b" * 32)]
    )
    def test_another_certificate_or_none(self, client, server):
        refused, error = self.talk(client, server)[:2]
        assert isinstance(refused, Refused)
        assert "somebody stands between" in refused.reason
        assert isinstance(error, AuthenticationRefused)
        assert "somebody stands between" in str(error)

    def test_a_relay_that_changes_the_names_is_found_by_the_proofs(self):
        def tamper(frame):
            """Show each side the certificate that it sees itself."""
            if b"a" * 32 in frame:
                return frame.replace(b"a" * 32, b"b" * 32)
            return frame.replace(b"b" * 32, b"a" * 32)

        ends = self.talk(b"a" * 32, b"b" * 32, tamper)
        assert isinstance(ends[0], Refused)
        assert "another key" in ends[0].reason
        assert not any(isinstance(end, Authenticated) for end in ends)

    def test_a_name_that_is_no_bytes_is_another(self):
        hello = OWN + pack({"versions": [1, 1], "nonce": NONCE, "channel": 7})
        server = ServerHandshake(KEY, hello, nonce=b"S" * 32, channel=b"b" * 32)
        assert isinstance(server.next_event(), Refused)
        assert isinstance(ServerHandshake(KEY, hello, nonce=b"S" * 32).next_event(), Refused)

    def test_what_a_client_without_tls_is_told(self):
        client = ClientHandshake(KEY, nonce=NONCE)
        client.receive_data(TLS_ONLY_FRAME)
        with pytest.raises(NotTls, match="--tls-ca"):
            client.next_event()


@pytest.mark.parametrize("text", ["enough (--max-connections)", "x" * 1000, "\x1b[2J\n", "ß" * 300])
def test_a_server_that_takes_nobody_more_is_told_apart(text):
    client = ClientHandshake(KEY, nonce=NONCE)
    told = busy_frame(text)
    assert len(told) <= 4 + 256
    client.receive_data(told)
    for _ in range(2):
        with pytest.raises(ServerBusy) as caught:
            client.next_event()
        assert str(caught.value)[:5] in text.encode("unicode_escape").decode() + text
        assert str(caught.value).isprintable()
