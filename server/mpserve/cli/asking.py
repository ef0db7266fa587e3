"""Asking a running server, from the command line. `mpserve ping` loads no more than this, so it is fast."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mpserve.net.ask import Inquiry, inquire
from mpshared import settings
from mpshared.address import DEFAULT_PORT, Address
from mpshared.errors import MpserveError
from mpshared.exit_codes import ExitCode
from mpshared.keys import KeyProblem, find_key
from mpshared.setting import Setting, positive_duration, setting
from mpshared.text import printable
from mpshared.wire.errors import (
    AuthenticationRefused,
    CertificateRefused,
    ProtocolError,
    ServerBusy,
    VersionMismatch,
)

if TYPE_CHECKING:
    from mpshared.tls import ClientTls

__all__ = ["SETTINGS", "TIMEOUT", "TlsGiven", "Unanswered", "ask", "ping"]

TIMEOUT: Final[Setting[float]] = setting(
    name="timeout",
    users=(),
    env="",
    metavar="DURATION",
    parse=partial(positive_duration, least_s=0.001, example="1ms"),
    default=5.0,
    shown="5s",
    help="How long to wait for the answer.",
)
SETTINGS: Final[tuple[Setting[Any], ...]] = (
    *(settings.ADDRESS, settings.AUTHKEY_FILE, settings.TLS_CERT, settings.TLS_KEY, settings.TLS_CA, TIMEOUT),
)
TlsGiven = tuple[str | None, str | None, str | None]
"""Files of --tls-cert, --tls-key, --tls-ca."""


class Unanswered(Exception):
    """The server did not answer; `code` is the exit code, the text says why and what to do."""

    def __init__(self, code: ExitCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def ping(
    address: Address | None,
    authkey_file: str | None,
    timeout: float,
    *,
    tls_cert: str | None = None,
    tls_key: str | None = None,
    tls_ca: str | None = None,
) -> int:
    """Print whether a server answers; return 0 or 1, as health checks want it."""
    tls = tls_cert, tls_key, tls_ca
    try:
        version = ask(address, authkey_file, timeout, lambda inquiry: inquiry.greeting["version"], tls)
    except Unanswered as err:
        print(f"mpserve ping: {printable(str(err))}", file=sys.stderr)
        return ExitCode.FAILED
    print(printable(f"mpserve {version} answers"))
    return ExitCode.OK


def ask(
    address: Address | None,
    key_file: str | None,
    timeout_s: float,
    question: Callable[[Inquiry], Any],
    tls: TlsGiven = (None, None, None),
) -> Any:
    """Return what `question` finds out from the server.

    Args:
        address: Where it listens; None is this machine's default port.
        key_file: File with the key, or None to look for it.
        timeout_s: Seconds for each step.
        question: Is given the open `Inquiry`.
        tls: Files that were named.

    Raises:
        Unanswered: For every reason there can be.
    """
    where = address or Address.tcp("127.0.0.1", DEFAULT_PORT)
    try:
        key = find_key(key_file)
        with inquire(where, key.secret, "mpserve command", timeout_s, _find_tls(where, tls)) as inquiry:
            return question(inquiry)
    except _EXPECTED as err:
        raise Unanswered(*_explain(err, where, timeout_s)) from None


_EXPECTED: Final = (
    *(KeyProblem, AuthenticationRefused, CertificateRefused, ServerBusy, VersionMismatch, ProtocolError),
    *(MpserveError, UnicodeError, OSError),
)


def _explain(err: Exception, where: Address, timeout_s: float) -> tuple[ExitCode, str]:
    """Return the exit code for what went wrong, and what to say."""
    match err:
        case CertificateRefused():
            return ExitCode.BAD_KEY, f"{where}: {err}"
        case KeyProblem() | AuthenticationRefused():
            return ExitCode.BAD_KEY, str(err)
        case ServerBusy():
            return ExitCode.UNREACHABLE, f"{where} takes nobody more now: {err}"
        case VersionMismatch() | ProtocolError():
            return ExitCode.INCOMPATIBLE, f"{where}: {err}"
        case MpserveError():
            return ExitCode.FAILED, str(err)
        case TimeoutError():
            return ExitCode.UNREACHABLE, f"{where} did not answer within {timeout_s:g} s; is it mpserve?"
        case UnicodeError():  # what the name's encoding for DNS says of it
            return ExitCode.UNREACHABLE, f"{where}: there cannot be a host of that name"
    why = f"no server answers at {where}: {getattr(err, 'strerror', None) or err}"
    return ExitCode.UNREACHABLE, f"{why}; start one with `mpserve start`, or say where with --connect"


def _find_tls(address: Address, given: TlsGiven) -> ClientTls | None:
    if not any(given):  # they hold what the environment says, too
        return None
    from mpshared.tls import TlsProblem, find_client_tls  # noqa: PLC0415 - `ping` without TLS is to be quick

    try:
        return find_client_tls(address, *given)
    except TlsProblem as err:
        raise Unanswered(ExitCode.BAD_KEY, str(err)) from None
