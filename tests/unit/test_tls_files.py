"""Certificates in files: what is found, what is refused and how that is told; and `mpserve tls init`."""

from __future__ import annotations

import os
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.certificates import Made

from mpserve.cli.tls_init import init
from mpshared.address import Address
from mpshared.tls import ClientTls, ServerTls, TlsFiles, TlsProblem, find_client_tls, find_server_tls

WHERE = Address.tcp("server", 7707)
NAMES = ("MPSERVE_TLS_CERT", "MPSERVE_TLS_KEY", "MPSERVE_TLS_CA")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


class TestFound:
    def test_nothing_given_is_no_tls(self):
        assert find_server_tls() is None
        assert find_client_tls(WHERE) is None

    def test_given(self, made):
        files = made.client()
        assert find_client_tls(WHERE, *files).files == files
        assert find_client_tls(WHERE, ca=Path(made.ca)).files == TlsFiles(ca=made.ca)
        assert find_server_tls(*made.server()).wants_certificates

    def test_in_the_environment(self, made, monkeypatch):
        files = made.client()
        for name, path in zip(NAMES, files, strict=True):
            monkeypatch.setenv(name, path)
        assert find_client_tls(WHERE).files == files
        assert find_client_tls(Address.unix("/tmp/s")) is None
        assert find_client_tls(Address.unix("/tmp/s"), *files) is None

    def test_a_path_is_absolute_from_then_on(self, made, monkeypatch):
        monkeypatch.chdir(made.folder)
        assert find_client_tls(WHERE, ca="ca.pem").files.ca == made.ca

    @pytest.mark.parametrize(
        ("given", "missing"),
        [
            (("cert",), "--tls-key"),
            (("key",), "--tls-cert"),
            (("ca",), "--tls-cert"),
            (("cert", "ca"), "--tls-key"),
        ],
    )
    def test_a_server_needs_certificate_and_key(self, made, given, missing):
        files = made.server()._asdict()
        with pytest.raises(TlsProblem, match=f"needs {missing} .* mpserve tls init"):
            find_server_tls(**{name: files[name] for name in given})

    @pytest.mark.parametrize(
        ("given", "missing"),
        [(("cert", "key"), "--tls-ca"), (("cert", "ca"), "--tls-key"), (("key", "ca"), "cert")],
    )
    def test_a_client_needs_a_ca(self, made, given, missing):
        files = made.client()._asdict()
        with pytest.raises(TlsProblem, match=missing):
            find_client_tls(WHERE, **{name: files[name] for name in given})

    def test_over_a_unix_socket_what_is_asked_for_is_refused(self, made):
        with pytest.raises(TlsProblem, match="nothing is encrypted; leave out --tls-ca"):
            find_client_tls(Address.unix("/tmp/s"), ca=made.ca)

    def test_it_travels_to_children_as_paths(self, made):
        import pickle

        files = made.client()
        data = pickle.dumps(ClientTls(files))
        assert b"PRIVATE" not in data
        assert pickle.loads(data).files == files

    def test_new_certificates_are_found_and_half_new_ones_do_no_harm(self, tmp_path):
        one, other = Made(tmp_path / "one"), Made(tmp_path / "other")
        files = TlsFiles(*(str(tmp_path / name) for name in ("cert", "key", "ca")))

        def put(source: TlsFiles, *which: str) -> None:
            for name in which:
                target = Path(getattr(files, name))
                target.write_bytes(Path(getattr(source, name)).read_bytes())
                target.chmod(0o600)

        put(one.client(), "cert", "key", "ca")
        tls = ClientTls(files)
        before = tls._context
        new = other.client()
        put(new, "cert")
        tls.machine(WHERE)
        assert tls._context is before
        put(new, "key", "ca")
        tls.machine(WHERE)
        assert tls._context is not before
        Path(files.key).unlink()
        tls.machine(WHERE)


class TestRefused:
    def refused(self, files: TlsFiles, role=ClientTls) -> str:
        with pytest.raises(TlsProblem) as caught:
            role(files)
        text = str(caught.value)
        assert "\n" not in text
        return text

    @pytest.mark.parametrize("which", ["cert", "key", "ca"])
    def test_no_such_file(self, made, which):
        text = self.refused(made.client()._replace(**{which: "/no/such"}))
        assert f"--tls-{which}: the file /no/such cannot be read (No such file" in text

    @pytest.mark.parametrize("which", ["cert", "key", "ca"])
    def test_something_else(self, made, which, tmp_path):
        other = tmp_path / "other"
        other.write_text("hello")
        other.chmod(0o600)
        assert f"--tls-{which}: the file {other} holds no" in self.refused(
            made.client()._replace(**{which: str(other)})
        )

    def test_exchanged(self, made):
        files = made.client()
        assert "holds no certificate" in self.refused(files._replace(cert=files.key))
        assert "holds no certificate" in self.refused(files._replace(ca=files.key))

    @pytest.mark.parametrize("which", ["cert", "key", "ca"])
    def test_cut_short(self, made, which, tmp_path):
        files = made.client()
        data = Path(getattr(files, which)).read_bytes()
        cut = tmp_path / "cut"
        cut.write_bytes(data[: len(data) // 2])
        cut.chmod(0o600)
        assert str(cut) in self.refused(files._replace(**{which: str(cut)}))

    def test_a_key_that_does_not_fit(self, made):
        text = self.refused(made.client()._replace(key=made.client().key))
        assert "is not the key of the certificate" in text
        assert "made together" in text

    @pytest.mark.skipif(os.name != "posix", reason="modes")
    def test_a_key_that_others_may_read(self, made):
        files = made.client()
        Path(files.key).chmod(0o640)
        text = self.refused(files)
        assert "mode 0640" in text
        assert f"type: chmod 600 {files.key}" in text

    @pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
    def test_a_key_that_cannot_be_read(self, made):
        files = made.client()
        Path(files.key).chmod(0)
        assert "Permission denied" in self.refused(files)

    def test_a_key_with_a_password(self, made, tmp_path):
        from cryptography.hazmat.primitives import serialization as form

        files = made.client()
        private = form.load_pem_private_key(Path(files.key).read_bytes(), None)
        for number, shape in enumerate((form.PrivateFormat.PKCS8, form.PrivateFormat.TraditionalOpenSSL)):
            path = tmp_path / f"{number}.key"
            path.write_bytes(
                private.private_bytes(form.Encoding.PEM, shape, form.BestAvailableEncryption(b"pw"))
            )
            path.chmod(0o600)
            text = self.refused(files._replace(key=str(path)))
            assert "is encrypted" in text
            assert f"openssl pkey -in {path}" in text

    def test_a_large_file(self, made):
        assert "too large" in self.refused(made.client()._replace(ca="/dev/zero"))

    def test_somebodys_own_certificate_as_ca(self, made):
        text = self.refused(made.client()._replace(ca=made.client().cert))
        assert "holds no authority's certificate" in text

    def test_a_server_out_of_date(self, made):
        text = self.refused(made.expired_server(), ServerTls)
        assert "would be refused by every client (certificate has expired)" in text
        assert "mpserve tls init" in text

    def test_a_clients_certificate_for_a_server(self, made):
        assert "would be refused by every client (" in self.refused(made.client(), ServerTls)

    def test_an_authority_out_of_date(self, tmp_path, monkeypatch):
        files = Made(tmp_path / "made").client()
        later = time.time() + 20 * 365 * 86400
        monkeypatch.setattr(time, "time", lambda: later)
        assert "only authorities that have expired" in self.refused(files)


class TestInit:
    @pytest.fixture
    def folder(self, tmp_path, capsys):
        assert init(tmp_path / "tls", ["example.org", "10.0.0.7", "[::7]"]) == 0
        return tmp_path / "tls"

    def files(self, folder):
        return TlsFiles(*(str(folder / name) for name in ("cert.pem", "key.pem", "ca.pem")))

    def test_what_ssl_reads_of_them(self, folder):
        server = ServerTls(self.files(folder / "server"))
        client = ClientTls(self.files(folder / "client"))
        years = (server.until_s - time.time()) / 86400 / 365
        assert 2 < years < 2.5
        [authority] = client._context.get_ca_certs()
        assert 9.9 < (ssl.cert_time_to_seconds(authority["notAfter"]) - time.time()) / 86400 / 365 < 10.1
        for name in ("example.org", "10.0.0.7", "::7", "localhost", "127.0.0.1", "::1"):
            here, there = client.machine(Address.tcp(name, 1)), server.machine()
            while not (here.established and there.established):
                there.receive_data(here.data_to_send())
                here.receive_data(there.data_to_send())
            assert here.channel == server.channel

    def test_keys_are_for_this_user_only(self, folder):
        keys = [folder / "ca.key", folder / "server" / "key.pem", folder / "client" / "key.pem"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
        assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "client")} == {0o700}

    def test_nothing_is_overwritten(self, folder, capsys):
        before = (folder / "ca.key").read_bytes()
        with pytest.raises(SystemExit) as caught:
            init(folder, [])
        assert caught.value.code == 2
        assert "nothing is overwritten" in capsys.readouterr().err
        assert (folder / "ca.key").read_bytes() == before

    def test_a_file_in_the_way(self, tmp_path, capsys):
        (tmp_path / "file").touch()
        for where in (tmp_path / "file", tmp_path / "file" / "deeper"):
            with pytest.raises(SystemExit):
                init(where, [])
            assert capsys.readouterr().err.count("\n") == 1

    @pytest.mark.parametrize(
        "host", ["a b", "", "server:7707", "bücher.example", "bücher..example", "x" * 300]
    )
    def test_names_that_are_none(self, tmp_path, capsys, host):
        with pytest.raises(SystemExit) as caught:
            init(tmp_path / "tls", [host])
        assert caught.value.code == 2
        assert capsys.readouterr().err.startswith("mpserve tls init: --host: ")
        assert not (tmp_path / "tls").exists()

    def test_a_folder_that_is_there_and_empty(self, tmp_path, capsys):
        assert init(tmp_path, []) == 0
        assert "valid until" in capsys.readouterr().out

    def test_a_long_name_fits(self, tmp_path, capsys):
        assert init(tmp_path, [f"{'n' * 60}.{'m' * 60}.example"]) == 0


def test_who_speaks_no_tls_does_not_load_it():
    code = (
        "import sys, mpshared.tls, mpserve.net.ask, mpserve.net.listener;"
        "import mpserve.cli.starting, mpserve.cli.asking;"
        "import mpclient, mpclient.transport.dialling, mpclient.session, mpclient.worker.process;"
        "names = ('ssl', 'cryptography', 'mpclient.transport.tls', 'mpserve.net.tls');"
        "print([name for name in names if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
