"""`mpserve start`: checks what it was told, listens, tells what to do next, serves.

What goes wrong is one line on standard error and an exit code of `mpshared.exit_codes`; never a traceback.
"""

from __future__ import annotations

import errno
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mpshared.address import Address, AddressError
from mpshared.command import fail, say, settle
from mpshared.exit_codes import ExitCode
from mpshared.keys import Key, KeyProblem, make_key, read_key_file
from mpshared.limits import CONNECTIONS_MAX
from mpshared.setting import Setting, setting
from mpshared.settings import ADMIN_KEY_FILE, OBSERVE_KEY_FILE, for_user
from mpshared.units import parse_count

if TYPE_CHECKING:
    from mpserve.net.keyring import Keyring
    from mpserve.server import Options, Server
    from mpshared.log import Logger
    from mpshared.ops import Role
    from mpshared.tls import ServerTls

__all__ = ["FEW_CONNECTIONS", "SETTINGS", "start"]

FEW_CONNECTIONS: Final = 250
"""Fewer are soon used up: a worker process has three, a program one for each thread."""

_LIFELINE: Final[Setting[int]] = setting(
    name="lifeline",
    users=("server",),
    env="",
    metavar="FD",
    parse=parse_count,
    default=-1,
    shown="",
    help="Stop when the other end of this pipe is closed: for programs that start a server of their own.",
)
SETTINGS: Final[tuple[Setting[Any], ...]] = (*for_user("server"), _LIFELINE)

_end = partial(fail, "mpserve start")


def start(*, authkey_file: str | None, log_format: str, log_level: str, lifeline: int, **given: Any) -> int:
    """Serve until stopped; return the exit code.

    Args:
        authkey_file: File with the key, or None to look for it, or make it.
        log_format: "console" or "json".
        log_level: The least important lines to write.
        lifeline: A pipe's reading end, whose end stops the server; -1 for none.
        given: `host`, `port`, `insecure`, and the other settings of a server by their names.
    """
    if sys.platform == "win32":
        _end(ExitCode.USAGE, "servers run on Linux and macOS; `mpserve status` and its like work here, too")
    address = _where(given.pop("host"), given.pop("port"))
    tls = _find_tls(address, *(given.pop(name) for name in ("tls_cert", "tls_key", "tls_ca")))
    _check_exposure(address, insecure=given.pop("insecure") or tls is not None)
    _check_plain(given["plain"])
    keys = _find_keys(
        authkey_file, *(given.pop(name) for name in ("admin_key_file", "observe_key_file", "key_overlap"))
    )
    from mpserve.garbage import keep_collections_short  # noqa: PLC0415 - slow: mistakes first
    from mpshared.log import make_logger  # noqa: PLC0415

    log = make_logger("mpserve", log_format, log_level)
    given["max_connections"] = _fit_files(given["max_connections"], log)
    server = _make_server(_options(address, tls, given), keys, log)
    _listen(server, lifeline)
    _heed_signals(server, reloads=lifeline < 0)
    if log_format == "console":
        _greet(server, keys.get("client"))
    keep_collections_short()
    server.serve()
    signal.set_wakeup_fd(-1)  # the loop is gone, and a second Ctrl-C may come
    return ExitCode.OK


def _fit_files(asked: int | None, log: Logger) -> int:
    """Return how many connections there may be, as there are files for; less than asked for is told."""
    from mpserve.net.files import raise_limit  # noqa: PLC0415 - mistakes of the command line first

    most = raise_limit()
    if most < (FEW_CONNECTIONS if asked is None else asked):
        log.warning(
            "server.few_files",
            connections=most,
            asked=asked,
            why="this user may have no more files open; raise the hard limit (ulimit -Hn)",
        )
    return min(CONNECTIONS_MAX if asked is None else asked, most)


def _where(host: str, port: int) -> Address:
    try:
        if host.startswith("unix:"):
            return Address.parse(host)
        return Address.tcp(host.removeprefix("[").removesuffix("]"), port)
    except AddressError as err:
        with suppress(AddressError):
            both = Address.parse(host)
            _end(ExitCode.USAGE, f"--host takes no port; write --host {both.host} --port {both.port}")
        _end(ExitCode.USAGE, f"--host: {err}")


def _check_exposure(address: Address, *, insecure: bool) -> None:
    if not address.is_local and not insecure:
        text = (
            f"{address} can be reached by other machines, and the traffic is not encrypted: anybody on the "
            "way can read and change it. Encrypt it with --tls-cert and --tls-key (mpserve tls init makes "
            "them); in a network you trust, add --insecure instead"
        )
        _end(ExitCode.USAGE, text)


def _find_tls(address: Address, cert: str | None, key: str | None, ca: str | None) -> ServerTls | None:
    if not (cert or key or ca):
        return None  # nothing is loaded for it
    from mpshared.tls import TlsProblem, find_server_tls  # noqa: PLC0415 - loads ssl

    if address.is_unix:
        text = (
            "is a Unix socket of this machine, over which nothing is encrypted; leave out --tls-cert, "
            "--tls-key and --tls-ca (unset MPSERVE_TLS_CERT, MPSERVE_TLS_KEY, MPSERVE_TLS_CA)"
        )
        _end(ExitCode.USAGE, f"{address} {text}")
    try:
        return find_server_tls(cert, key, ca)
    except TlsProblem as err:
        _end(ExitCode.BAD_KEY, str(err))


def _check_plain(address: Address | None) -> None:
    if address is not None and not address.is_local:
        text = (
            f"--plain: {address} can be reached by other machines, and there nothing is encrypted; write a "
            "loopback address or unix:/path"
        )
        _end(ExitCode.USAGE, text)


def _find_keys(clients: str | None, admins: str | None, observers: str | None, overlap_s: float) -> Keyring:
    from mpserve.net.keyring import Keyring  # noqa: PLC0415 - mistakes of the command line first

    try:
        keys: dict[Role, Key] = {"client": make_key(clients)}
        if admins:
            keys["admin"] = read_key_file(admins, ADMIN_KEY_FILE.env)
        if observers:
            keys["observe"] = read_key_file(observers, OBSERVE_KEY_FILE.env)
        return Keyring(keys, overlap_s)
    except KeyProblem as err:
        _end(ExitCode.BAD_KEY, str(err))


def _options(address: Address, tls: ServerTls | None, given: dict[str, Any]) -> Options:
    """Return how the server is to run; `given` are the settings by their names."""
    from mpserve.core.bounds import HeldLimits  # noqa: PLC0415 - slow: mistakes of the command line first
    from mpserve.net.gate import GateLimits  # noqa: PLC0415
    from mpserve.server import Options  # noqa: PLC0415

    for name in ("grace", "session_timeout", "auth_timeout", "spin"):
        given[f"{name}_s"] = given.pop(name)
    gate = GateLimits(**{field.name: given.pop(field.name) for field in fields(GateLimits)})
    held = HeldLimits(**{field.name: given.pop(field.name) for field in fields(HeldLimits)})
    return Options(address, tls=tls, gate=gate, held=held, **given)


def _make_server(options: Options, keys: Keyring, log: Logger) -> Server:
    from mpserve.engines.base import StoreError  # noqa: PLC0415 - slow: mistakes of the command line first
    from mpserve.server import BadRegistration, Server  # noqa: PLC0415

    try:
        return Server(options, keys, log)
    except BadRegistration as err:
        _end(ExitCode.USAGE, f"--register {err}")
    except StoreError as err:
        _end(ExitCode.NO_DATA, f"--data: {err}")


def _listen(server: Server, lifeline: int) -> None:
    try:
        if lifeline >= 0:
            server.stop_at_end_of(lifeline)
    except OSError as err:
        _end(ExitCode.USAGE, f"--lifeline: {lifeline} is not the reading end of a pipe ({err.strerror})")
    options, address = server.options, server.options.address
    try:
        server.listen()
        if options.plain is not None:
            address = options.plain
            server.listen_plain(address)
    except (OSError, UnicodeError) as err:
        server.close()
        _end(ExitCode.CANNOT_LISTEN, f"cannot listen at {address}: {_why_not(address, err)}")


def _why_not(address: Address, err: OSError | UnicodeError) -> str:
    """Tell what keeps the server from listening, and what to do."""
    if isinstance(err, socket.gaierror | UnicodeError):
        return "no such host; --host takes a name or an address of this machine"
    if err.errno == errno.EADDRINUSE and address.is_unix:
        return "a server listens there already, or the path is somebody's file; take another path"
    reasons = {
        errno.EADDRINUSE: "the port is taken, perhaps by another mpserve (ask it: mpserve ping); stop it, "
        "or take another: --port (0: any free one)",
        errno.EADDRNOTAVAIL: "this machine has no such address; see `ip addr`, or use --host 0.0.0.0 for all",
        errno.EACCES: "this user may not; take a port over 1023, or a folder you may write to",
        errno.ENOENT: "there is no such folder; make it first",
    }
    return reasons.get(err.errno or 0, err.strerror or str(err))


def _greet(server: Server, key: Key) -> None:
    """Print the next steps. A server whose banner nobody reads is none the worse."""
    try:
        say(_banner_of(server, key))
    except OSError:
        settle(sys.stdout, 1)


def _banner_of(server: Server, key: Key) -> str:
    from mpserve.cli.banner import banner  # noqa: PLC0415 - people only

    options = server.options
    tls = None if options.tls is None else options.tls.files
    return banner(server.address, key, options.advertise, options.data, tls, server.plain)


def _heed_signals(server: Server, *, reloads: bool) -> None:
    """Stop, or read keys and certificates again. A program's own server has no such files, and goes with its
    terminal.
    """

    def stop(number: int, _frame: object) -> None:
        server.stop(signal.Signals(number).name)

    signal.set_wakeup_fd(server.loop.wakeup_fd, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if reloads:
        signal.signal(signal.SIGHUP, lambda _number, _frame: server.reload())
