"""Certificates for tests: what `mpserve tls init` makes, and others that are good for nothing.

made = Made(tmp_path)              # an authority of its own
made.server("127.0.0.1"), made.client(), made.expired_client(): TlsFiles
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography.x509 import SubjectAlternativeName
from cryptography.x509.oid import ExtendedKeyUsageOID

from mpserve.cli.tls_init import _BEFORE, CERTIFICATE_DAYS, _general_name, _Signer
from mpshared.tls import TlsFiles

__all__ = ["Made"]

_SERVER = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
_CLIENT = [ExtendedKeyUsageOID.CLIENT_AUTH]


class Made:
    """One authority, and what it signs; all files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.now = dt.datetime.now(dt.UTC)
        self._signer = _Signer(self.now)
        self._count = 0
        self.ca = self._write("ca.pem", self._signer.certificate)

    def server(self, *names: str) -> TlsFiles:
        return self._signed(_SERVER, names or ("127.0.0.1", "localhost"))

    def client(self) -> TlsFiles:
        return self._signed(_CLIENT)

    def expired_server(self) -> TlsFiles:
        return self._at(dt.timedelta(days=-CERTIFICATE_DAYS - 1), _SERVER, "127.0.0.1")

    def old_server(self) -> TlsFiles:
        """One that expires in some days."""
        return self._at(dt.timedelta(days=10 - CERTIFICATE_DAYS), _SERVER, "127.0.0.1")

    def expired_client(self) -> TlsFiles:
        return self._at(dt.timedelta(days=-CERTIFICATE_DAYS - 1), _CLIENT)

    def client_of_the_future(self) -> TlsFiles:
        return self._at(_BEFORE + dt.timedelta(days=1), _CLIENT)

    def _at(self, offset: dt.timedelta, purposes: list[object], *names: str) -> TlsFiles:
        self._signer._now = self.now + offset
        files = self._signed(purposes, names)
        self._signer._now = self.now
        return files

    def _signed(self, purposes: list[object], names: tuple[str, ...] = ()) -> TlsFiles:
        san = SubjectAlternativeName([_general_name(name) for name in names]) if names else None
        certificate, key = self._signer.sign("test", purposes, san)
        self._count += 1
        return TlsFiles(
            self._write(f"{self._count}.pem", certificate),
            self._write(f"{self._count}.key", key, 0o600),
            self.ca,
        )

    def _write(self, name: str, data: bytes, mode: int = 0o644) -> str:
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(mode)
        return str(path)
