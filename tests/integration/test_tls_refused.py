"""Who is not let in over TLS, what he is told, and what the server's log says; files that cannot be used."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests import prepared
from tests.certificates import Made
from tests.integration import encrypted
from tests.integration.conftest import Server, in_thread
from tests.integration.encrypted import TlsServer, Tunnel, keywords, options

import mpclient
from mpclient.testing import wait_until
from mpshared.errors import NotAllowed, ProtocolViolation, ServerGone
from mpshared.tls import TlsFiles, TlsProblem

made = encrypted.made
tls_server = encrypted.tls_server
pytestmark = pytest.mark.hosts


def run(command: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
    return prepared.run(command, *words, env=kept | environment, timeout_s=30)


class TestRefused:
    """One line that says what is wrong, its exit code, and a line in the server's log."""

    @pytest.fixture
    def cases(self, made, tmp_path) -> dict[str, TlsFiles]:
        foreign = Made(tmp_path / "foreign")
        return {
            "no certificate": TlsFiles(ca=made.ca),
            "expired": made.expired_client(),
            "foreign": foreign.client()._replace(ca=made.ca),
            "foreign authority": foreign.client(),
        }

    CASES = (
        ("no certificate", "the server wants a certificate", "it has no certificate"),
        ("expired", "certificate expired", "its certificate is not accepted: certificate has expired"),
        ("foreign", "does not accept this side's certificate", "its certificate is not accepted"),
        ("foreign authority", "the server's certificate is not accepted", "does not accept this server's"),
    )

    @pytest.mark.parametrize(("case", "told", "logged"), CASES)
    def test_programs(self, tls_server, cases, case, told, logged):
        before = len(tls_server.log)
        with pytest.raises(NotAllowed, match=told) as caught:
            mpclient.connect(tls_server.address, tls_server.key, **keywords(cases[case]))
        assert caught.value.fields["reason"] == "certificate"
        wait_until(lambda: logged in tls_server.log[before:], 10)

    @pytest.mark.parametrize("command", ["ping", "status", "mpworker"])
    @pytest.mark.parametrize(("case", "told", "logged"), CASES)
    def test_commands(self, tls_server, cases, command, case, told, logged):
        words = ("--connect", tls_server.address, *options(cases[case]))
        key = {"MPSERVE_AUTHKEY": tls_server.key}
        done = (
            run(command, *words, **key) if command == "mpworker" else run("mpserve", command, *words, **key)
        )
        assert done.returncode == (1 if command == "ping" else 4)
        [line] = [line for line in done.stderr.splitlines() if not line.startswith("{")][-1:]
        assert told in line
        assert "Traceback" not in done.stderr

    def test_a_program_and_a_command_without_tls(self, tls_server):
        before = len(tls_server.log)
        words, key = ("mpserve", "ping", "--connect", tls_server.address), tls_server.key
        command = in_thread(lambda: _told_of_tls(run(*words, MPSERVE_AUTHKEY=key)))
        with pytest.raises(ProtocolViolation, match="speaks TLS there; .* --tls-ca") as caught:
            mpclient.connect(tls_server.address, tls_server.key)
        assert caught.value.fields["reason"] == "tls"
        wait_until(lambda: "a client without TLS waits so" in tls_server.log[before:], 10)
        command()

    def test_a_program_with_tls_where_none_is_spoken(self, made, server):
        before = len(server.log)
        with pytest.raises(
            ProtocolViolation, match="the server does not speak TLS; start it with --tls-cert"
        ):
            mpclient.connect(server.address, server.key, **keywords(made.client()))
        wait_until(lambda: "it speaks TLS, and this port does not" in server.log[before:], 10)

    def test_a_name_that_is_not_in_the_certificate(self, made, fresh_server):
        server = fresh_server(*options(made.server("server.example")))
        with pytest.raises(NotAllowed, match="mpserve tls init --host"):
            mpclient.connect(server.address, server.key, **keywords(made.client()))

    def test_a_wrong_key_within(self, tls_server):
        with pytest.raises(NotAllowed, match="keys differ"):
            mpclient.connect(tls_server.address, "another key of 16 bytes", **keywords(tls_server.files))

    def test_a_relay_that_ends_tls_is_found_out(self, made, tls_server):
        """It has a certificate that the client accepts, and one that the server accepts."""
        mine = made.server()
        ends = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ends.load_cert_chain(mine.cert, mine.key)
        before = len(tls_server.log)
        with (
            Tunnel(tls_server, made.client(), ends) as (host, port),
            pytest.raises(NotAllowed, match="somebody stands between"),
        ):
            mpclient.connect(f"{host}:{port}", tls_server.key, **keywords(tls_server.files))
        wait_until(lambda: "somebody stands between" in tls_server.log[before:], 10)

    def test_slow_handshakes_stall_nobody_and_end(self, made, tmp_path):
        server = TlsServer(tmp_path / "server", (*options(made.server()), "--auth-timeout", "1s"))
        server.files = made.client()
        with ExitStack() as stack:
            stack.callback(server.stop)
            host, _, port = server.start().address.rpartition(":")
            box = stack.enter_context(server.connect()).dict()
            where = host, int(port)
            slow = [stack.enter_context(socket.create_connection(where, timeout=20)) for _ in range(50)]
            for sock in slow[:25]:
                sock.sendall(b"\x16\x03\x01\x02\x00\x01")
            for number in range(100):
                box[number] = number
            for sock in slow:
                while sock.recv(1000):
                    pass
            assert box[99] == 99

    def test_a_program_over_a_unix_socket(self, made, tls_server):
        with pytest.raises(TlsProblem, match="leave out --tls-ca"):
            mpclient.connect(f"unix:{tls_server.folder.parent / 'plain'}", tls_server.key, tls_ca=made.ca)

    def test_nobody_there(self, made):
        with pytest.raises(ServerGone, match="nobody listens"):
            mpclient.connect("127.0.0.1:1", "k" * 16, tls_ca=made.ca, connect_timeout=0.1)


def _told_of_tls(done):
    assert done.returncode == 1
    assert "--tls-ca" in done.stderr
    assert len(done.stderr.splitlines()) == 1


class TestCommandLines:
    def broken(self, made: Made, tmp_path: Path, what: str) -> TlsFiles:
        files, other = made.server(), made.server()
        wrong = tmp_path / "wrong"
        wrong.write_text("nothing")
        open_key = tmp_path / "open.key"
        open_key.write_bytes(Path(files.key).read_bytes())
        open_key.chmod(0o644)
        return {
            "no such file": files._replace(cert="/no/such"),
            "no key": files._replace(key=""),
            "wrong file": files._replace(ca=str(wrong)),
            "key of another": files._replace(key=other.key),
            "open key": files._replace(key=str(open_key)),
            "expired": made.expired_server(),
            "for clients": made.client(),
        }[what]

    @pytest.mark.parametrize(
        ("what", "told"),
        [
            ("no such file", "--tls-cert: the file /no/such cannot be read"),
            ("no key", "needs --tls-key"),
            ("wrong file", "holds no certificate"),
            ("key of another", "is not the key of the certificate"),
            ("open key", "type: chmod 600"),
            ("expired", "would be refused by every client (certificate has expired)"),
            ("for clients", "would be refused by every client"),
        ],
    )
    def test_a_server_with_files_that_cannot_be(self, made, tmp_path, what, told):
        done = run(
            "mpserve",
            "start",
            "--port",
            "0",
            *options(self.broken(made, tmp_path, what)),
            MPSERVE_AUTHKEY="k" * 16,
        )
        assert done.returncode == 4
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.parametrize("what", ["no such file", "no key", "wrong file", "key of another", "open key"])
    def test_a_worker_and_a_question_with_files_that_cannot_be(self, made, tmp_path, what):
        words = options(self.broken(made, tmp_path, what))
        for command in (("mpworker",), ("mpserve", "status")):
            done = run(*command, "--connect", "127.0.0.1:1", *words, MPSERVE_AUTHKEY="k" * 16)
            assert done.returncode == 4
            assert len(done.stderr.splitlines()) == 1
            assert "--tls" in done.stderr

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("--host", "unix:/tmp/never"), "nothing is encrypted; leave out --tls-cert"),
            (("--port", "0", "--plain", "0.0.0.0:7"), "--plain: 0.0.0.0:7 can be reached by other machines"),
        ],
    )
    def test_where_a_server_may_not_listen(self, made, words, told):
        done = run("mpserve", "start", *words, *options(made.server()), MPSERVE_AUTHKEY="k" * 16)
        assert done.returncode == 2
        assert told in done.stderr

    def test_a_plain_door_that_is_taken_is_named(self, made):
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            done = run(
                *("mpserve", "start", "--port", "0", "--plain", where, *options(made.server())),
                MPSERVE_AUTHKEY="k" * 16,
            )
        assert done.returncode == 3
        assert f"cannot listen at {where}: the port is taken" in done.stderr

    def test_with_tls_it_may_listen_everywhere(self, made, fresh_server):
        server = Server(made.folder / "wide", options(made.server()))
        try:
            server.start("0.0.0.0")
            port = server.address.rpartition(":")[2]
            files = keywords(made.client())
            with mpclient.connect(f"127.0.0.1:{port}", server.key, **files) as cluster:
                assert cluster.list([1])[0] == 1
        finally:
            server.stop()


def test_a_certificate_that_expires_soon_is_told_of(made, tmp_path):
    files = made.old_server()
    server = Server(tmp_path / "server", options(files)).start()
    try:
        wait_until(lambda: "tls.expires_soon" in server.log, 10)
        assert "certificate_until" in server.log
    finally:
        server.stop()
