"""Certificates in files, and the TLS that is made of them: for servers, and for those who dial.

| who            | certificate and key                        | CA                                           |
|----------------|--------------------------------------------|----------------------------------------------|
| server         | needed: they make it speak TLS             | if given, clients need a certificate from it |
| worker, client | shown to a server that wants a certificate | needed: it makes them speak TLS              |

RULES
* What is wrong with a file is told at once, by its name, with what to do: `TlsProblem`.
* A private key that others may read is refused, as in `keys.py`; one with a password, too: nobody is there to
  type it.
* Files are read again when they have changed: a program that runs for weeks dials with the certificate of
  today. Where they cannot be read any more, those of before go on. A server reads them when it is told to.
* A private key is never pickled: what travels to child processes is where the files are.
* `ssl` is loaded where TLS is used, and nowhere else.

Sources: the verdict on a certificate is OpenSSL's own, of a handshake in memory; Python shows its dates
nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from mpshared import settings
from mpshared.keys import readable_by_others
from mpshared.text import shorten
from mpshared.wire.errors import AuthenticationRefused

if TYPE_CHECKING:
    import ssl

    from mpshared.address import Address
    from mpshared.wire.tls import TlsMachine

__all__ = ["ClientTls", "ServerTls", "TlsFiles", "TlsProblem", "find_client_tls", "find_server_tls"]

_FILE_MAX_BYTES: Final = 4 << 20  # the bundle of a whole system has a quarter of it
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_KEY_END: Final = b"PRIVATE KEY-----"
_ENCRYPTED: Final = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")


class TlsProblem(ValueError):
    """TLS as it was asked for cannot be; the text says what to do."""


class TlsFiles(NamedTuple):
    """Absolute paths, or "" where there is none."""

    cert: str = ""
    key: str = ""
    ca: str = ""


_Given = str | os.PathLike[str] | None


def find_server_tls(cert: _Given = None, key: _Given = None, ca: _Given = None) -> ServerTls | None:
    """Return the TLS of a server, of what was given or is in the environment; None: it has none.

    Raises:
        TlsProblem: What there is cannot be used.
    """
    files = _read(cert, key, ca)
    if not any(files):
        return None
    _needs(files, "--tls-cert", "--tls-key")
    return ServerTls(files)


def find_client_tls(
    address: Address, cert: _Given = None, key: _Given = None, ca: _Given = None
) -> ClientTls | None:
    """Return the TLS of who dials `address`, of what was given or is in the environment; None: none.

    Raises:
        TlsProblem: What there is cannot be used.
    """
    if address.is_unix:
        _refuse_over_unix(address, {"tls_cert": cert, "tls_key": key, "tls_ca": ca})
        return None
    files = _read(cert, key, ca)
    if not any(files):
        return None
    _needs(files, "--tls-ca", *(("--tls-cert", "--tls-key") if files.cert or files.key else ()))
    return ClientTls(files)


_SETTINGS: Final = (settings.TLS_CERT, settings.TLS_KEY, settings.TLS_CA)


def _read(*given: _Given) -> TlsFiles:
    found = (
        setting.read(None if one is None else os.fspath(one))
        for setting, one in zip(_SETTINGS, given, strict=True)
    )
    return TlsFiles(*(str(Path(path).absolute()) if path else "" for path in found))


def _needs(files: TlsFiles, *options: str) -> None:
    by_option = dict(
        zip((setting.option for setting in _SETTINGS), zip(_SETTINGS, files, strict=True), strict=True)
    )
    for option in options:
        setting, path = by_option[option]
        if not path:
            given = ", ".join(setting.option for setting, path in by_option.values() if path)
            raise TlsProblem(
                f"{given} needs {option} ({setting.env}) beside it; mpserve tls init makes all files"
            )


def _refuse_over_unix(address: Address, given: Mapping[str, _Given]) -> None:
    """Refuse what was asked for here; what is in the environment may be for others."""
    for setting in _SETTINGS:
        path = given[setting.name]
        if path is not None and os.fspath(path) != os.environ.get(setting.env):
            text = (
                f"{address} is a Unix socket of this machine, over which nothing is encrypted; leave out "
                f"{setting.option}"
            )
            raise TlsProblem(text)


# -- the two roles --------------------------------------------------------------------------------


class ServerTls:
    """The TLS of a server.

    Raises:
        TlsProblem: A file cannot be used, or clients would refuse the certificate.
    """

    def __init__(self, files: TlsFiles) -> None:
        from mpshared.wire.tls import channel_of, context_for  # noqa: PLC0415 - loads ssl

        self.files = files
        self.context = context_for(server=True)
        certificates = _load(self.context, files)
        if files.ca:
            self.context.verify_mode = _ssl().CERT_REQUIRED
        self.channel: bytes = channel_of(_first_of(certificates))
        """The channels' name; see `mpshared.wire.tls`."""
        self.until_s = _check_own(files, certificates)
        """When the certificate expires, seconds of the wall clock."""

    @property
    def wants_certificates(self) -> bool:
        """Whether clients need a certificate."""
        return bool(self.files.ca)

    def reload(self) -> None:
        """Read the files again, for the connections to come.

        Raises:
            TlsProblem: What they are now cannot be used; those of before go on.
        """
        now = ServerTls(self.files)
        self.context, self.channel, self.until_s = now.context, now.channel, now.until_s

    def machine(self) -> TlsMachine:
        """Return the TLS of one accepted connection."""
        from mpshared.wire.tls import TlsMachine  # noqa: PLC0415 - loaded already

        return TlsMachine(self.context, server=True)


class ClientTls:
    """The TLS of who dials.

    Raises:
        TlsProblem: A file cannot be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self._seen = self._stamp()
        self._context = self._make()

    def __reduce__(self) -> tuple[Any, ...]:
        return ClientTls, (self.files,)

    def _make(self) -> ssl.SSLContext:
        from mpshared.wire.tls import context_for  # noqa: PLC0415 - loads ssl

        context = context_for(server=False)
        _load(context, self.files)
        return context

    def _stamp(self) -> list[tuple[int, int, int]]:
        try:
            found = [os.stat(path) for path in self.files if path]  # noqa: PTH116 - strings
        except OSError:
            return []
        return [(one.st_ino, one.st_size, one.st_mtime_ns) for one in found]

    def machine(self, address: Address) -> TlsMachine:
        """Return the TLS of one connection to `address`."""
        from mpshared.wire.tls import TlsMachine  # noqa: PLC0415 - loaded already

        seen = self._stamp()
        if seen and seen != self._seen:
            try:
                self._context = self._make()
                self._seen = seen
            except TlsProblem:  # they are being replaced, one after the other
                pass
        return TlsMachine(self._context, server=False, host=address.host.partition("%")[0])


# -- files ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _File:
    """A file that was named."""

    setting: settings.Setting[str | None]
    path: Path

    def read(self, *, secret: bool = False) -> bytes:
        try:
            with self.path.open("rb") as opened:
                mode = os.fstat(opened.fileno()).st_mode
                data = opened.read(_FILE_MAX_BYTES + 1)
        except OSError as err:
            self.fail(f"cannot be read ({err.strerror})", "name another one")
        if secret and readable_by_others(self.path, mode):
            self.fail(
                f"can be opened by other users (mode {mode & 0o7777:04o}), who could then pass for its owner",
                f"type: chmod 600 {self}",
            )
        if len(data) > _FILE_MAX_BYTES:
            self.fail("is too large to be one", "is it the right file?")
        return data

    def fail(self, what: str, todo: str) -> NoReturn:
        raise TlsProblem(f"{self.setting.option}: the file {self} {what}; {todo}") from None

    def __str__(self) -> str:
        return shorten(str(self.path), 1000)


def _load(context: ssl.SSLContext, files: TlsFiles) -> bytes:
    """Load the files into a context; return the certificate's text, b"" where there is none."""
    if files.ca:
        _load_ca(context, _File(settings.TLS_CA, Path(files.ca)))
    if not files.cert:
        return b""
    cert = _File(settings.TLS_CERT, Path(files.cert))
    key = _File(settings.TLS_KEY, Path(files.key))
    certificates, secret = cert.read(), key.read(secret=True)
    if _CERTIFICATE not in certificates:
        cert.fail("holds no certificate in PEM form", "is it the right file?")
    if _KEY_END not in secret:
        key.fail("holds no private key in PEM form", "is it the right file?")
    if any(mark in secret for mark in _ENCRYPTED):
        key.fail(
            "is encrypted, and nobody is there to type its password",
            f"decrypt it into another file: openssl pkey -in {key}",
        )
    try:
        context.load_cert_chain(
            files.cert, files.key, password=partial(key.fail, "is encrypted", "decrypt it")
        )
    except OSError as err:  # ssl.SSLError is one, too
        _explain_chain(err, cert, key)
    return certificates


def _explain_chain(err: OSError, cert: _File, key: _File) -> NoReturn:
    reason = getattr(err, "reason", None) or ""
    if "MISMATCH" in reason:
        key.fail(f"is not the key of the certificate {cert}", "take the two that were made together")
    if "KEY_TOO_SMALL" in reason or "MD_TOO_WEAK" in reason:
        cert.fail(f"is too weak for TLS 1.3 ({reason.lower().replace('_', ' ')})", "make a new one")
    text = reason.lower().replace("_", " ") or err.strerror or str(err)
    raise TlsProblem(
        f"--tls-cert, --tls-key: the files {cert} and {key} cannot be used ({shorten(text)}); are they "
        "whole, and in PEM form?"
    )


def _load_ca(context: ssl.SSLContext, file: _File) -> None:
    data = file.read()
    if _CERTIFICATE not in data:
        file.fail("holds no certificate in PEM form", "is it the right file?")
    try:
        context.load_verify_locations(cadata=data.decode("ascii", "replace"))
    except (OSError, ValueError) as err:
        text = (getattr(err, "reason", None) or str(err)).lower().replace("_", " ")
        file.fail(f"cannot be used ({shorten(text)})", "is it whole, and in PEM form?")
    authorities = context.get_ca_certs()
    if not authorities:
        file.fail(
            "holds no authority's certificate, but somebody's own",
            "name the file of the CA that made it (ca.pem)",
        )
    import time  # noqa: PLC0415 - rarely needed

    until_s = max(_ssl().cert_time_to_seconds(str(one["notAfter"])) for one in authorities)
    if until_s < time.time():
        file.fail("holds only authorities that have expired", "make new ones: mpserve tls init")


def _first_of(certificates: bytes) -> bytes:
    """Return the first certificate of a chain, DER: the one that peers see."""
    text = certificates.decode("ascii", "replace")
    end = "-----END CERTIFICATE-----"
    begin = text.index(_CERTIFICATE.decode())
    first: bytes = _ssl().PEM_cert_to_DER_cert(text[begin : text.index(end, begin) + len(end)])
    return first


def _check_own(files: TlsFiles, certificates: bytes) -> float:
    """Refuse a certificate that every client would refuse: out of date, or not a server's; return its end.

    A handshake with ourselves, in memory, in which the client trusts this very certificate.
    """
    from mpshared.wire.tls import TlsMachine, context_for  # noqa: PLC0415 - loaded already

    ssl = _ssl()
    server, client = context_for(server=True), context_for(server=False)
    server.load_cert_chain(files.cert, files.key)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=_first_of(certificates))
    here, there = TlsMachine(client, server=False), TlsMachine(server, server=True)
    try:
        while not here.established:
            there.receive_data(here.data_to_send())
            here.receive_data(there.data_to_send())
    except AuthenticationRefused as err:
        why = str(err).removeprefix("the server's certificate is not accepted: ").partition(";")[0]
        cert = _File(settings.TLS_CERT, Path(files.cert))
        cert.fail(f"would be refused by every client ({why})", "make another one: mpserve tls init")
    until_s: float = ssl.cert_time_to_seconds(here.valid_until)
    return until_s


def _ssl() -> Any:
    import ssl  # noqa: PLC0415 - see RULES

    return ssl
