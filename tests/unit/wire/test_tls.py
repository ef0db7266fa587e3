"""TLS as a machine: both roles against each other, in every chunking, and against what is no TLS."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.certificates import Made

from mpshared.address import Address
from mpshared.tls import ClientTls, ServerTls
from mpshared.wire.errors import CertificateRefused, NotTls, ProtocolError, ServerBusy
from mpshared.wire.handshake import TLS_ONLY_FRAME, busy_frame
from mpshared.wire.tls import TlsMachine, channel_of, context_for

HERE = Address.tcp("127.0.0.1", 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def server(made) -> ServerTls:
    return ServerTls(made.server())


@pytest.fixture(scope="module")
def client(made) -> ClientTls:
    return ClientTls(made.client())


def talk(client: TlsMachine, server: TlsMachine, size: int = 1 << 20) -> None:
    """Carry the bytes of a handshake, in pieces of `size`, until neither side has anything to say."""
    quiet = False
    while not quiet:
        quiet = True
        for one, other in ((client, server), (server, client)):
            data = one.data_to_send()
            for at in range(0, len(data), size):
                quiet = False
                assert other.receive_data(data[at : at + size]) == b""


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_both_roles_agree_in_any_chunking(client, server, size):
    here, there = client.machine(HERE), server.machine()
    talk(here, there, size)
    assert here.established
    assert there.established
    assert here.channel == server.channel
    assert len(here.channel) == 32


@given(
    st.lists(st.binary(max_size=70000), min_size=1, max_size=4), st.integers(min_value=1, max_value=100_000)
)
def test_what_is_sent_arrives_whole_however_it_is_cut(client, server, pieces, size):
    here, there = client.machine(HERE), server.machine()
    talk(here, there)
    for one, other in ((here, there), (there, here)):
        cipher = one.send(pieces)
        plain = [other.receive_data(cipher[at : at + size]) for at in range(0, len(cipher), size)]
        assert b"".join(plain) == b"".join(pieces)


class Poor:
    """One of `ssl`'s objects, without memory at some calls of `method`."""

    def __init__(self, rich, method, fails):
        self._rich = rich
        self._method = method
        self._fails = fails
        self._calls = 0

    def __getattr__(self, name):
        return self._tried if name == self._method else getattr(self._rich, name)

    def _tried(self, data):
        self._calls += 1
        if self._calls in self._fails:
            raise MemoryError
        return getattr(self._rich, self._method)(data)


@pytest.mark.parametrize(("part", "method"), [("_incoming", "write"), ("_tls", "read")])
@pytest.mark.parametrize("fails", [{1}, {1, 2}, {2, 3}, {1, 4}, {10}])
def test_without_memory_nothing_is_lost(client, server, part, method, fails):
    here, there = client.machine(HERE), server.machine()
    talk(here, there)
    setattr(there, part, Poor(getattr(there, part), method, fails))
    values = [bytes([n]) * 150_000 for n in range(6)]
    plain, missed = b"", 0
    for value in values:
        coming = [here.send([value])]
        while there.behind or coming:
            try:
                plain += there.catch_up() if there.behind else there.receive_data(coming.pop())
            except MemoryError:
                missed += 1
    assert plain == b"".join(values)
    assert missed == len([n for n in fails if n <= getattr(there, part)._calls])
    assert not there.behind


def test_in_parts_it_is_the_same(client, server):
    here, there = client.machine(HERE), server.machine()
    talk(here, there)
    pieces = [b"a", b"b" * 300_000, memoryview(b"c" * 600_000), b"", b"d" * 10]
    parts = list(here.send_in_parts(pieces))
    assert len(parts) == 4
    assert max(map(len, parts)) < 270_000
    assert b"".join(map(there.receive_data, parts)) == b"".join(pieces)


def test_an_idle_connection_has_nothing_to_read(client, server):
    here, there = client.machine(HERE), server.machine()
    talk(here, there)
    assert there.data_to_send() == b""


def test_an_end_is_told(client, server):
    here, there = client.machine(HERE), server.machine()
    talk(here, there)
    assert here.receive_data(there.send([b"the last"]) + there.close()) == b"the last"
    assert here.ended
    assert not there.ended


def test_before_the_handshake_there_is_no_end_to_tell(client, server):
    assert server.machine().close() == b""


def fails(client: TlsMachine, server: TlsMachine) -> tuple[Exception | None, Exception | None]:
    """Return what each side raises."""
    raised: dict[TlsMachine, Exception] = {}
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            data = one.data_to_send()
            if data and other not in raised:
                try:
                    other.receive_data(data)
                except (CertificateRefused, ProtocolError) as err:
                    raised[other] = err
    return raised.get(client), raised.get(server)


class TestCertificates:
    def test_a_client_without_one(self, made, server):
        there = server.machine()
        here, at_server = fails(ClientTls(made.client()._replace(cert="", key="")).machine(HERE), there)
        assert isinstance(here, CertificateRefused)
        assert "the server wants a certificate" in str(here)
        assert isinstance(at_server, CertificateRefused)
        assert "it has no certificate; start it with --tls-cert" in str(at_server)

    @pytest.mark.parametrize(
        ("which", "at_client", "at_server"),
        [
            (
                "expired_client",
                "does not accept this side's certificate (certificate expired)",
                "has expired",
            ),
            ("client_of_the_future", "does not accept this side's certificate", "not yet valid"),
        ],
    )
    def test_a_client_out_of_date(self, made, server, which, at_client, at_server):
        here, there = fails(ClientTls(getattr(made, which)()).machine(HERE), server.machine())
        assert at_client in str(here)
        assert at_server in str(there)
        assert "mpserve tls init" in str(there)

    def test_a_foreign_client(self, made, server, tmp_path):
        foreign = Made(tmp_path / "foreign").client()._replace(ca=made.ca)
        here, there = fails(ClientTls(foreign).machine(HERE), server.machine())
        assert isinstance(here, CertificateRefused)
        assert "does not accept this side's certificate" in str(here)
        assert isinstance(there, CertificateRefused)
        assert "--tls-ca" in str(there)

    def test_a_foreign_server(self, made, server, tmp_path):
        foreign = Made(tmp_path / "foreign").client()
        here, there = fails(ClientTls(foreign).machine(HERE), server.machine())
        assert isinstance(here, CertificateRefused)
        assert "the server's certificate is not accepted" in str(here)
        assert "--tls-ca" in str(here)
        assert isinstance(there, CertificateRefused)
        assert "it does not accept this server's certificate (unknown ca)" in str(there)

    @pytest.mark.parametrize("name", ["example.org", "10.1.2.3", "::1"])
    def test_a_server_of_another_name(self, made, server, client, name):
        here, _ = fails(client.machine(Address.tcp(name, 1)), server.machine())
        assert name in str(here) or "mismatch" in str(here)
        assert "mpserve tls init --host" in str(here)

    @pytest.mark.parametrize("name", ["localhost", "server", "10.0.0.9", "::1", "fe80::1"])
    def test_names_and_addresses(self, made, client, name):
        there = ServerTls(made.server("localhost", "server", "10.0.0.9", "::1", "fe80::1")).machine()
        dialled = "fe80::1%eth0" if name == "fe80::1" else name
        here = client.machine(Address.tcp(dialled, 1))
        talk(here, there)
        assert here.established

    def test_a_workers_certificate_is_none_of_a_server(self, made, client):
        context = context_for(server=True)
        stolen = made.client()
        context.load_cert_chain(stolen.cert, stolen.key)
        here, _ = fails(client.machine(HERE), TlsMachine(context, server=True))
        assert isinstance(here, CertificateRefused)
        assert "purpose" in str(here)

    def test_without_a_ca_the_server_wants_none(self, made):
        there = ServerTls(made.server()._replace(ca="")).machine()
        here = ClientTls(made.client()._replace(cert="", key="")).machine(HERE)
        talk(here, there)
        assert there.established


class TestOthers:
    @pytest.mark.parametrize(
        "data", [b"\0\0\0\x20#MPSERVE#", b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", bytes(500)]
    )
    def test_a_client_without_tls(self, server, data):
        there = server.machine()
        with pytest.raises(NotTls, match="does not speak TLS"):
            there.receive_data(data)
        assert not there.speaks_tls

    def test_a_server_without_tls(self, client):
        with pytest.raises(NotTls, match="start it with --tls-cert"):
            client.machine(HERE).receive_data(b"\0\0\0\x3b#CHALLENGE#{sha256}" + bytes(40))

    def test_a_server_of_something_else(self, client):
        with pytest.raises(NotTls, match="what answers does not speak TLS"):
            client.machine(HERE).receive_data(b"220 mail.example.org ESMTP\r\n")

    def test_a_server_that_has_given_up_waiting(self, client):
        here = client.machine(HERE)
        with pytest.raises(NotTls):
            here.receive_data(TLS_ONLY_FRAME)
        assert here.was_late

    def test_older_versions_are_not_spoken(self, made, server, client):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.load_verify_locations(made.ca)
        there = server.machine()
        here, at_server = fails(TlsMachine(old, server=False, host="127.0.0.1"), there)
        assert isinstance(at_server, NotTls)
        assert "no TLS 1.3 in common" in str(at_server)
        assert there.speaks_tls
        assert here is not None

    def test_what_is_changed_on_the_way_is_found(self, client, server):
        here, there = client.machine(HERE), server.machine()
        talk(here, there)
        cipher = bytearray(here.send([b"x" * 100]))
        cipher[50] ^= 1
        with pytest.raises(ProtocolError):
            there.receive_data(bytes(cipher))

    @given(st.binary(min_size=1, max_size=3000))
    def test_only_documented_errors(self, client, server, data):
        for machine in (server.machine(), client.machine(HERE)):
            with suppress(CertificateRefused, ProtocolError):
                machine.receive_data(data)
                machine.receive_data(data)
            assert not machine.established

    @given(st.binary(min_size=1, max_size=3000))
    def test_only_documented_errors_once_established(self, client, server, data):
        here, there = client.machine(HERE), server.machine()
        talk(here, there)
        for machine in (here, there):
            with suppress(CertificateRefused, ProtocolError):
                assert machine.receive_data(data) == b""


def test_what_clients_without_tls_are_told_fits_their_frames():
    assert len(TLS_ONLY_FRAME) <= 4 + 256


def test_the_channel_is_the_certificates_digest():
    assert channel_of(b"").hex().startswith("e3b0c442")


def test_a_server_that_takes_nobody_more_says_so_in_plain(client):
    here = client.machine(HERE)
    with pytest.raises(ServerBusy, match=r"enough \(--max-connections\); try again later"):
        here.receive_data(busy_frame("enough (--max-connections); try again later"))
