"""The banner's lines can be typed as they stand."""

from __future__ import annotations

import getpass
import shlex
import socket
from pathlib import Path

import pytest

from mpserve.cli.banner import banner
from mpshared.address import Address
from mpshared.keys import Key, default_key_file
from mpshared.tls import TlsFiles

MADE = " ".join(f"--tls-{what} mpserve-tls/server/{what}.pem" for what in ("cert", "key", "ca"))
SECRET = b"a key of more than sixteen bytes"


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """Return the key in this user's own file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "gethostname", lambda: "one")
    monkeypatch.setattr(getpass, "getuser", lambda: "me")
    return Key(SECRET, "the file", default_key_file())


def commands_of(text: str) -> list[str]:
    """Return the lines to type, without their titles."""
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


def test_a_journal_is_named():
    text = banner(Address.parse("127.0.0.1:7707"), Key(SECRET, "MPSERVE_AUTHKEY"), data="/srv/data")
    assert "What it holds is kept in /srv/data, also when it is killed." in text


def test_at_home_nobody_thinks_of_keys(own):
    assert commands_of(banner(Address.parse("127.0.0.1:7707"), own)) == [
        "mpworker",
        "export MPSERVE_ADDRESS=127.0.0.1:7707",
        "mpserve status",
        "mpserve tls init mpserve-tls",
        f"mpserve start --host 0.0.0.0 {MADE}",
        "mpserve start --host 0.0.0.0 --insecure",
        "Ctrl-C",
    ]


def test_for_other_machines(own):
    assert commands_of(banner(Address.parse("0.0.0.0:7708"), own)) == [
        "mpworker --connect 127.0.0.1:7708",
        "export MPSERVE_ADDRESS=127.0.0.1:7708",
        "mpserve status --connect 127.0.0.1:7708",
        f"scp -p me@one:{own.file} mpserve.key",
        "mpworker --connect one:7708 --authkey-file mpserve.key",
        'export MPSERVE_ADDRESS=one:7708 MPSERVE_AUTHKEY_FILE="$PWD/mpserve.key"',
        "Ctrl-C",
    ]


def test_what_a_shell_would_take_apart_is_quoted():
    key = Key(SECRET, "a file", Path("/home/me/my keys/one's"))
    lines = commands_of(banner(Address.parse("[fe80::1%eth0]:7707"), key))
    words = [shlex.split(line) for line in lines]
    assert words[3] == ["scp", "-p", "me@[fe80::1%eth0]:/home/me/my keys/one's", "mpserve.key"]
    assert words[4][:3] == ["mpworker", "--connect", "[fe80::1%eth0]:7707"]
    assert words[1][2] == "MPSERVE_AUTHKEY_FILE=/home/me/my keys/one's"
    assert words[2][-2:] == ["--authkey-file", "/home/me/my keys/one's"]
    assert [line for line in lines if "[" in line and "'" not in line and '"' not in line] == []


def test_a_unix_socket_is_for_this_machine_only(own):
    lines = commands_of(banner(Address.parse("unix:/tmp/a socket"), own))
    assert lines[0] == "mpworker --connect 'unix:/tmp/a socket'"
    assert "scp" not in "".join(lines)
    assert len(lines) == 4


def test_a_key_in_the_environment_is_said_to_be_there_and_not_shown():
    text = banner(Address.parse("10.0.0.1:7707"), Key(SECRET, "MPSERVE_AUTHKEY"))
    assert "MPSERVE_AUTHKEY is set to the same key" in text
    assert SECRET.decode() not in text
    assert "scp" not in text
    assert "mpworker --connect 10.0.0.1:7707" in text


def test_the_advertised_address_is_the_one_to_dial(own):
    lines = commands_of(banner(Address.parse("0.0.0.0:7707"), own, Address.parse("example.org:80")))
    assert "mpworker --connect example.org:80 --authkey-file mpserve.key" in lines
    assert "export MPSERVE_ADDRESS=127.0.0.1:7707" in lines


@pytest.fixture
def made(tmp_path) -> TlsFiles:
    """Return a server's files as `mpserve tls init` makes them, with the clients' beside them."""
    for name in ("server", "client"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ca.pem").touch()
    return TlsFiles(*(str(tmp_path / "server" / name) for name in ("cert.pem", "key.pem", "ca.pem")))


def test_with_tls_each_line_has_the_files_of_clients(own, made, tmp_path):
    lines = commands_of(banner(Address.parse("0.0.0.0:7707"), own, tls=made))
    client = tmp_path / "client"
    files = f"--tls-cert {client}/cert.pem --tls-key {client}/key.pem --tls-ca {client}/ca.pem"
    assert lines[0] == f"mpworker {files}"
    assert lines[1].endswith(
        f"MPSERVE_TLS_CERT={client}/cert.pem MPSERVE_TLS_KEY={client}/key.pem MPSERVE_TLS_CA={client}/ca.pem"
    )
    assert lines[2] == f"mpserve status {files}"
    assert f"scp -rp me@one:{client} mpserve-tls" in lines
    assert lines[-3].endswith(
        "--tls-cert mpserve-tls/cert.pem --tls-key mpserve-tls/key.pem --tls-ca mpserve-tls/ca.pem"
    )
    assert lines[-2].endswith('MPSERVE_TLS_CA="$PWD/mpserve-tls/ca.pem"')


def test_certificates_of_others_are_named_and_not_fetched(own, made, tmp_path):
    text = banner(Address.parse("0.0.0.0:7707"), own, tls=made._replace(cert="/etc/tls/server.pem"))
    assert "A worker on another machine (its certificates in the folder mpserve-tls):" in text
    assert "scp -rp" not in text
    assert commands_of(text)[0].startswith("mpworker --tls-cert /path/to/cert.pem ")


def test_without_a_ca_clients_need_no_certificate(own, made, tmp_path):
    lines = commands_of(banner(Address.parse("127.0.0.1:7707"), own, tls=made._replace(ca="")))
    assert lines[0] == f"mpworker --tls-ca {tmp_path}/client/ca.pem"


def test_with_tls_it_tells_where_managers_of_the_standard_library_connect(own, made):
    where = Address.parse("127.0.0.1:7707")
    assert "no TLS: they connect with --plain" in banner(where, own, tls=made)
    plain = Address.parse("unix:/run/plain")
    assert "no TLS: they connect at unix:/run/plain" in banner(where, own, tls=made, plain=plain)


def test_a_user_without_a_name(own, monkeypatch):
    def nobody() -> str:
        raise KeyError(12345)

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert f"scp -p one:{own.file} mpserve.key" in banner(Address.parse("0.0.0.0:7707"), own)
