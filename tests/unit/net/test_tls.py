"""A port that speaks TLS: as any other, once the hands are shaken; who is closed before, how soon, why."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.certificates import Made
from tests.unit.net.stage import Closed, RawClient, Stage

from mpserve.net.gate import GateLimits
from mpserve.net.listener import LINGER_S, SILENT_S
from mpserve.net.peer import HIGH_BYTES
from mpserve.net.tls import CHUNK_BYTES
from mpshared.address import Address
from mpshared.tls import ClientTls, ServerTls
from mpshared.wire.errors import AuthenticationRefused, CertificateRefused
from mpshared.wire.handshake import TLS_ONLY_FRAME

BIG = b"v" * (1 << 20)

GREETING_S = GateLimits().auth_timeout_s


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def server_tls(made) -> ServerTls:
    return ServerTls(made.server())


@pytest.fixture(scope="module")
def tls(made) -> ClientTls:
    return ClientTls(made.client())


@pytest.fixture
def stage(server_tls) -> Iterator[Stage]:
    stage = Stage(tls=server_tls)
    yield stage
    stage.close()


class TlsClient(RawClient):
    """A raw client that speaks TLS."""

    def __init__(self, raw: RawClient, tls: ClientTls) -> None:
        super().__init__(raw.sock, raw._wait, raw.key)
        self.machine = tls.machine(Address.tcp("127.0.0.1", 1))

    def shake_tls(self) -> TlsClient:
        early = b""
        while True:
            self.send_cipher(self.machine.data_to_send())
            if self.machine.established:
                break
            early = self.machine.receive_data(super().recv())
        self.early = early
        self.channel = self.machine.channel
        return self

    def send(self, data: bytes) -> None:
        for part in self.machine.send_in_parts([data]):
            self.send_cipher(part)

    def send_cipher(self, data: bytes) -> None:
        super().send(data)

    def recv(self, size: int = 1 << 16) -> bytes:
        data, self.early = self.early, b""
        while not data:
            data = self.machine.receive_data(super().recv(size))
            if not data and self.machine.ended:
                raise Closed
        return data


class Slow(TlsClient):
    """One whose bytes arrive one by one."""

    def __init__(self, stage: Stage, raw: RawClient, tls: ClientTls) -> None:
        super().__init__(raw, tls)
        self.stage = stage

    def send_cipher(self, data: bytes) -> None:
        for i in range(len(data)):
            super().send_cipher(data[i : i + 1])
            self.stage.turn()


class PoorOnce:
    """What TLS is to be read from, for which there is no memory at first."""

    def __init__(self, rich) -> None:
        self._rich = rich
        self.write = self._fail

    def __getattr__(self, name):
        return getattr(self._rich, name)

    def _fail(self, _data) -> None:
        del self.write
        raise MemoryError


@pytest.fixture
def client(stage, tls):
    """A factory: clients with a session."""

    def make(tls: ClientTls = tls) -> TlsClient:
        made = TlsClient(stage.client(), tls)
        made.shake_tls().shake_hands().attach_new()
        return made

    return make


class TestServed:
    def test_an_honest_client(self, stage, client):
        assert client().call("cluster.count").result == 0
        assert len(stage.peers) == 1

    def test_it_is_not_closed_when_a_silent_one_would_be(self, stage, client):
        program = client()
        stage.advance(SILENT_S + 1)
        stage.advance(GREETING_S + 1)
        assert program.call("cluster.count").result == 0
        assert stage.events("peer.refused") == []

    @pytest.mark.parametrize("size", [0, 1, 1000, 16 << 10, (16 << 10) + 1, 1 << 20, 9 << 20])
    def test_values_of_every_size(self, stage, client, size):
        program = client()
        box = program.open("dict")
        value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        program.call("dict.set", box, "k", blobs=[value])
        assert program.call("dict.get", box, "k").blobs == (value,)
        assert stage.peers[0]._outbox.size_bytes == 0

    def test_what_does_not_fit_the_socket_at_once(self, stage, client):
        program = client()
        for side in (program.sock, stage.peers[0]._sock):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                side.setsockopt(socket.SOL_SOCKET, option, 32 << 10)
        box = program.open("dict")
        program.call("dict.set", box, "k", blobs=[BIG])
        assert program.call("dict.get", box, "k").blobs == (BIG,)

    def test_many_small_ones_in_one_read(self, stage, client):
        program = client()
        calls = [program.encode("cluster.count") for _ in range(60)]
        program.send(b"".join(calls))
        answers = [program.next_event() for _ in calls]
        assert [answer.number for answer in answers] == list(range(1, 61))

    def test_many_records_in_one_read(self, stage, client):
        program = client()
        calls = [program.machine.send([program.encode("cluster.count")]) for _ in range(60)]
        program.send_cipher(b"".join(calls))
        answers = [program.next_event() for _ in calls]
        assert [answer.number for answer in answers] == list(range(1, 61))

    def test_a_call_behind_the_end_of_a_large_value(self, stage, client):
        program = client()
        box = program.open("dict")
        large = program.encode("dict.set", box, "k", blobs=[bytes(200_000)])
        program.send(large + program.encode("cluster.count") + program.encode("cluster.count"))
        assert [program.next_event().number for _ in range(3)] == [2, 3, 4]

    def test_byte_by_byte(self, stage, tls):
        program = Slow(stage, stage.client(), tls)
        program.shake_tls().shake_hands().attach_new()
        assert program.call("cluster.count").result == 0

    def test_who_does_not_read_is_not_listened_to_and_what_is_kept_is_bounded(self, stage, client):
        program, other = client(), client()
        box = program.open("dict")
        program.call("dict.set", box, "k", blobs=[BIG])
        stuck = next(peer for peer in stage.peers if peer.side._session.id == program.session)
        calls = b"".join(program.encode("dict.get", box, "k") for _ in range(50))
        program.send_cipher(program.machine.send([calls]))
        for _ in range(100):
            stage.turn()
            assert other.call("cluster.count").result == 1
            assert stuck._outbox.size_bytes < HIGH_BYTES + len(BIG) + CHUNK_BYTES
            assert len(stuck._outbox._cipher) < CHUNK_BYTES * 1.01
        assert stuck._outbox.size_bytes
        for _ in range(50):
            assert program.next_event().blobs == (BIG,)
        stage.until(lambda: not stuck._outbox.size_bytes)

    def test_our_own_end_is_told(self, stage, client):
        program = client()
        stage.server.listener.say_goodbye("gone")
        with pytest.raises(Closed):
            while True:
                program.recv()
        assert program.machine.ended

    def test_both_doors_of_one_server(self, stage, client):
        stage.server.listen_plain(Address.tcp("127.0.0.1", 0))
        plain = stage.client(sock=socket.create_connection(("127.0.0.1", stage.server.plain.port)))
        queue = plain.shake_hands().attach_new().open("queue", "shared")
        assert client().open("queue", "shared") == queue


class TestRefused:
    @pytest.fixture
    def program(self, client):
        """Another client, which notices nothing."""
        return client()

    def reasons(self, stage: Stage) -> list[str]:
        return [line["reason"] for line in stage.events("peer.refused")]

    def test_a_silent_client_is_told_what_is_spoken_here(self, stage, program):
        silent = stage.client()
        stage.until(lambda: len(stage.peers) == 2)
        stage.advance(SILENT_S - 0.1)
        assert len(stage.peers) == 2
        stage.advance(0.2)
        assert silent.recv_all() == TLS_ONLY_FRAME
        silent.close()
        stage.until(lambda: len(stage.peers) == 1)
        [reason] = self.reasons(stage)
        assert "a client without TLS waits so" in reason
        assert "--plain" in reason
        assert stage.server.listener.gate.refused == {"silent": 1}
        assert program.call("cluster.count").result == 0

    def test_one_that_stays_is_closed(self, stage, program):
        stage.client()
        stage.until(lambda: len(stage.peers) == 2)
        stage.advance(SILENT_S + 0.1)
        stage.turn()
        stage.advance(LINGER_S + 0.1)
        assert len(stage.peers) == 1

    def test_a_handshake_that_stalls_is_ended_at_its_deadline(self, stage, program, tls):
        raw = stage.client()
        raw.send(TlsClient(raw, tls).machine.data_to_send()[:50])
        stage.until(lambda: len(stage.peers) == 2)
        stage.turn()
        stage.advance(SILENT_S + 1)
        assert len(stage.peers) == 2
        stage.advance(GREETING_S)
        assert len(stage.peers) == 1
        assert "10 s" in self.reasons(stage)[0]
        assert program.call("cluster.count").result == 0

    def test_one_that_shakes_hands_and_says_nothing(self, stage, program, tls):
        TlsClient(stage.client(), tls).shake_tls()
        stage.advance(GREETING_S + 0.1)
        assert len(stage.peers) == 1

    @pytest.mark.parametrize(
        "data", [b"\0\0\0\x20#MPSERVE#" + bytes(23), b"GET / HTTP/1.1\r\n\r\n", bytes(5000), b"\xff" * 100]
    )
    def test_whoever_speaks_something_else_is_told_at_once(self, stage, program, data):
        raw = stage.client()
        raw.send(data)
        assert raw.recv_all() == TLS_ONLY_FRAME
        raw.close()
        stage.until(lambda: len(stage.peers) == 1)
        assert "does not speak TLS" in self.reasons(stage)[0]
        assert program.call("cluster.count").result == 0

    @pytest.mark.parametrize(
        ("which", "told", "logged"),
        [
            ("none", "the server wants a certificate", "it has no certificate"),
            ("expired_client", "certificate expired", "certificate has expired"),
            ("foreign", "does not accept this side's certificate", "--tls-ca"),
        ],
    )
    def test_certificates(self, stage, program, made, tmp_path, which, told, logged):
        files = {
            "none": lambda: made.client()._replace(cert="", key=""),
            "expired_client": made.expired_client,
            "foreign": lambda: Made(tmp_path / "foreign").client()._replace(ca=made.ca),
        }[which]()
        refused = TlsClient(stage.client(), ClientTls(files))
        with pytest.raises(CertificateRefused, match=told):
            refused.shake_tls().shake_hands()
        refused.close()
        stage.until(lambda: len(stage.peers) == 1)
        [reason] = self.reasons(stage)
        assert logged in reason
        assert program.call("cluster.count").result == 0

    def test_a_wrong_key_within(self, stage, program, tls):
        refused = TlsClient(stage.client(b"another key, long enough"), tls)
        with pytest.raises(AuthenticationRefused, match="keys differ"):
            refused.shake_tls().shake_hands()
        assert "another key" in self.reasons(stage)[0]

    def test_a_relay_with_another_certificate(self, stage, program, tls):
        """What the client would say if its TLS ended elsewhere."""
        relayed = TlsClient(stage.client(), tls).shake_tls()
        relayed.channel = b"another certificate's digest...."
        with pytest.raises(AuthenticationRefused, match="somebody stands between"):
            relayed.shake_hands()
        assert "somebody stands between" in self.reasons(stage)[0]

    def test_a_connection_that_is_cut(self, stage, client, program):
        other = client()
        cipher = other.machine.send([b"x" * 1000])
        other.send_cipher(cipher[:500])
        stage.turn()
        other.close(reset=True)
        stage.until(lambda: len(stage.peers) == 1)
        assert program.call("cluster.count").result == 0

    def test_who_breaks_tls_later_is_dropped_and_the_log_tells_why(self, stage, client, program):
        other = client()
        other.send_cipher(b"\x17\x03\x03\x00\x20" + bytes(32))
        stage.until(lambda: len(stage.peers) == 1)
        [line] = stage.events("peer.dropped")
        assert "TLS" in line["reason"]
        assert program.call("cluster.count").result == 0

    def test_who_does_so_while_there_is_no_memory_is_dropped_like_everybody(self, stage, client, program):
        [before] = stage.peers
        other = client()
        [peer] = {*stage.peers} - {before}
        box = other.open("dict")
        other.send(other.encode("dict.set", box, "k", blobs=[BIG])[:-1])
        stage.until(lambda: stage.loop._poller.wait(0) == [])
        peer._machine._incoming = PoorOnce(peer._machine._incoming)
        other.send_cipher(b"\x17\x03\x03\x00\x20" + bytes(32))
        stage.until(lambda: len(stage.peers) == 1)
        [line] = stage.events("peer.dropped")
        assert "TLS" in line["reason"]
        assert program.call("cluster.count").result == 1

    def test_at_a_stop_nobody_waits_for_those_on_the_way(self, stage, program):
        stage.client()
        stage.until(lambda: len(stage.peers) == 2)
        stage.server.listener.say_goodbye("gone")
        stage.until(lambda: len(stage.peers) <= 1)


def test_a_tls_client_where_none_is_spoken(tls):
    stage = Stage()
    try:
        raw = TlsClient(stage.client(), tls)
        with pytest.raises(Exception, match="start it with --tls-cert"):
            raw.shake_tls()
        stage.until(lambda: stage.events("peer.refused"))
        [line] = stage.events("peer.refused")
        assert "it speaks TLS, and this port does not" in line["reason"]
    finally:
        stage.close()
