"""`mpserve tls init`: a certificate authority, a server's certificate and a client's, for a small cluster.

    DIR/ca.key                            makes further certificates; nothing needs it to run
    DIR/server/  ca.pem cert.pem key.pem  for `mpserve start`
    DIR/client/  ca.pem cert.pem key.pem  for workers and programs: copied to their machines

RULES
* Nothing is overwritten: a folder that holds something is refused.
* Private keys are readable by this user only, from their first byte.
* The client's certificate is none of a server: who steals a worker's cannot pass for the server.
* `cryptography` is loaded here and nowhere else.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mpserve.cli.banner import COPIES, bracketed, fetch_folder, tls_options, tls_variables
from mpshared.address import DEFAULT_PORT, Address, AddressError
from mpshared.command import fail, say
from mpshared.exit_codes import ExitCode
from mpshared.text import printable
from mpshared.tls import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["init"]

CA_DAYS: Final = 3653
"""Ten years: it is replaced on every machine at once."""
CERTIFICATE_DAYS: Final = 825
"""As long as the strictest systems take from a private authority (Apple, since 2019)."""
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_BEFORE: Final = dt.timedelta(minutes=10)
"""Clocks of a cluster differ."""
_HOST_MAX: Final = 64  # RFC 5280, ub-common-name


def init(folder: Path, hosts: Iterable[str]) -> int:
    """Make the files and print the next steps; return the exit code.

    Args:
        folder: Where to; made if need be, and empty.
        hosts: Names and IP addresses by which the server is dialled, besides this machine's own.
    """
    names = _names(hosts)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        text = f"{folder} exists and is not an empty folder; nothing is overwritten: name another one"
        fail("mpserve tls init", ExitCode.USAGE, text)
    made = _make(names)
    try:
        _write(folder, made.files)
    except OSError as err:
        text = (
            f"the files cannot be written to {folder} ({err.strerror}); name a folder that you may write to"
        )
        fail("mpserve tls init", ExitCode.FAILED, text)
    say("\n".join(printable(line) for line in _steps(folder.absolute(), names, made.until)))
    return ExitCode.OK


def _names(hosts: Iterable[str]) -> list[str]:
    """Return all names, those that were given first; each once."""
    given = []
    for host in hosts:
        bare = host.removeprefix("[").removesuffix("]")
        try:
            Address.tcp(bare, DEFAULT_PORT)
        except AddressError as err:
            fail("mpserve tls init", ExitCode.USAGE, f"--host: {err}")
        if not bare.isascii():
            fail(
                "mpserve tls init",
                ExitCode.USAGE,
                f"--host: {bare!r}: write it as it is in DNS{_in_dns(bare)}",
            )
        given.append(bare)
    return list(dict.fromkeys([*given, socket.gethostname(), *_LOCAL]))


def _in_dns(host: str) -> str:
    try:
        return f" ({host.encode('idna').decode()})"
    except UnicodeError:  # an empty label, or a long one
        return ""


# -- certificates ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Made:
    """What was made: the files' contents by path, and until when it is valid."""

    files: Mapping[str, bytes]
    until: dt.datetime


def _make(names: list[str]) -> _Made:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    now = dt.datetime.now(dt.UTC)
    authority = _Signer(now)
    san = x509.SubjectAlternativeName([_general_name(name) for name in names])
    # The server's is a client's, too: `mpserve ping` beside it uses the same files.
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    server, server_key = authority.sign(f"mpserve server {names[0]}", both, san)
    client, client_key = authority.sign("mpserve client", [ExtendedKeyUsageOID.CLIENT_AUTH])
    ca = authority.certificate
    files = {
        "ca.key": authority.key,
        "server/ca.pem": ca,
        "server/cert.pem": server,
        "server/key.pem": server_key,
        "client/ca.pem": ca,
        "client/cert.pem": client,
        "client/key.pem": client_key,
    }
    return _Made(files, now + dt.timedelta(days=CERTIFICATE_DAYS))


class _Signer:
    """An authority that was just made."""

    def __init__(self, now: dt.datetime) -> None:
        from cryptography import x509

        self._now = now
        self._private = _new_key()
        self._name = _name(f"mpserve CA {os.urandom(4).hex()}")
        usage = _usage(key_cert_sign=True, crl_sign=True)
        built = (
            self._begin(self._name, self._private.public_key(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
        )
        self._certificate = self._sign(built)
        self.certificate = _pem(self._certificate)
        self.key = _pem_key(self._private)

    def sign(self, name: str, purposes: list[Any], san: Any = None) -> tuple[bytes, bytes]:
        """Return a certificate for these purposes, and its key."""
        from cryptography import x509

        private = _new_key()
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._private.public_key())
        built = (
            self._begin(_name(name), private.public_key(), CERTIFICATE_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(ours, critical=False)
        )
        if san is not None:
            built = built.add_extension(san, critical=False)
        return _pem(self._sign(built)), _pem_key(private)

    def _begin(self, subject: Any, public: Any, days: int) -> Any:
        from cryptography import x509

        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _BEFORE)
            .not_valid_after(self._now + dt.timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )

    def _sign(self, built: Any) -> Any:
        from cryptography.hazmat.primitives import hashes

        return built.sign(self._private, hashes.SHA256())


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:_HOST_MAX])])


def _general_name(host: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return x509.DNSName(host)


def _usage(**allowed: bool) -> Any:
    from cryptography import x509

    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    names = ("digital_signature", *others, "decipher_only", "key_cert_sign", "crl_sign")
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    data: bytes = certificate.public_bytes(serialization.Encoding.PEM)
    return data


def _pem_key(private: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    data: bytes = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return data


# -- files, and what to do with them --------------------------------------------------------------


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = 0o600 if path.name in {"ca.key", "key.pem"} else 0o644
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)


def _steps(folder: Path, names: list[str], until: dt.datetime) -> list[str]:
    server = ["mpserve", "start", "--host", "0.0.0.0", *tls_options(_files(folder / "server"))]  # noqa: S104
    client, dial = _files(Path(COPIES)), f"{bracketed(names[0])}:{DEFAULT_PORT}"
    worker = ["mpworker", "--connect", dial, *tls_options(client)]
    exports = " ".join(f'{name}="$PWD/{path}"' for name, path in tls_variables(client))
    return [
        f"Certificates for {', '.join(names)}, valid until {until:%Y-%m-%d}, are in {folder}",
        "",
        "  The server:",
        f"    {shlex.join(server)}",
        "  On each machine of workers and programs, beside the key that `mpserve start` names:",
        f"    {fetch_folder(names[0], folder / 'client')}",
        "  A worker there:",
        f"    {shlex.join(worker)}",
        "  Programs there:",
        f"    export {exports}",
        f"  {folder / 'ca.key'} makes further certificates, and nothing needs it to run: put it away.",
        "",
    ]


def _files(folder: Path) -> TlsFiles:
    return TlsFiles(*(str(folder / name) for name in ("cert.pem", "key.pem", "ca.pem")))
