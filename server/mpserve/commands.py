"""What the `mpserve` command can do: start, ping, status, rm, keyfile.

What goes wrong is one line on standard error and an exit code of `mpshared.exit_codes`; never a traceback.
"""

# No `from __future__ import annotations`: typer evaluates the annotations.
import errno
import signal
import socket
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from mpserve.banner import banner
from mpserve.manager import Options, Server
from mpserve.ping import Unanswered, ask, ping
from mpserve.status_view import show
from mpshared import settings
from mpshared.address import Address, AddressError
from mpshared.exit_codes import ExitCode
from mpshared.keys import Key, KeyProblem, default_key_file, make_key
from mpshared.log import make_logger
from mpshared.options import option

__all__ = ["app"]

app = typer.Typer(
    name="mpserve",
    help="Serve multiprocessing's objects to every machine you have.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Connect = Annotated[
    str, typer.Option("--connect", envvar="MPSERVE_ADDRESS", metavar="HOST:PORT", help="The server to ask.")
]
KeyFile = Annotated[Any, option(settings.AUTHKEY_FILE)]


# -- start ----------------------------------------------------------------------------------------


@app.command()
def start(
    host: Annotated[str, option(settings.HOST)] = settings.HOST.default,
    port: Annotated[int, option(settings.PORT)] = settings.PORT.default,
    advertise: Annotated[Any, option(settings.ADVERTISE)] = settings.ADVERTISE.default,
    insecure: Annotated[bool, option(settings.INSECURE)] = settings.INSECURE.default,
    authkey_file: Annotated[Any, option(settings.AUTHKEY_FILE)] = settings.AUTHKEY_FILE.default,
    max_message: Annotated[int, option(settings.MAX_MESSAGE)] = settings.MAX_MESSAGE.default,
    max_attempts: Annotated[int, option(settings.MAX_ATTEMPTS)] = settings.MAX_ATTEMPTS.default,
    grace: Annotated[float, option(settings.GRACE)] = settings.GRACE.default,
    session_timeout: Annotated[float, option(settings.SESSION_TIMEOUT)] = settings.SESSION_TIMEOUT.default,
    register: Annotated[list[str] | None, option(settings.REGISTER)] = None,
    md5: Annotated[str, option(settings.MD5)] = settings.MD5.default,
    allow_shutdown: Annotated[bool, option(settings.ALLOW_SHUTDOWN)] = settings.ALLOW_SHUTDOWN.default,
    log_format: Annotated[str, option(settings.LOG_FORMAT)] = settings.LOG_FORMAT.default,
    log_level: Annotated[str, option(settings.LOG_LEVEL)] = settings.LOG_LEVEL.default,
    lifeline: Annotated[int, typer.Option("--lifeline", hidden=True)] = -1,
) -> None:
    """Start the server and serve until it is stopped."""
    options = Options(
        address=_where(host, port),
        advertise=advertise,
        max_message=max_message,
        max_attempts=max_attempts,
        grace_s=grace,
        session_timeout_s=session_timeout,
        register=tuple(register or ()),
        md5=md5,  # type: ignore[arg-type]  # one of its choices
        allow_shutdown=allow_shutdown,
    )
    _check_exposure(options.address, insecure=insecure)
    key = _server_key(authkey_file)
    _serve(options, key, log_format, log_level, lifeline)


def _where(host: str, port: int) -> Address:
    try:
        return Address.parse(host) if host.startswith("unix:") else Address.tcp(host.strip("[]"), port)
    except AddressError as err:
        _end(ExitCode.USAGE, f"--host: {err}")


def _check_exposure(address: Address, *, insecure: bool) -> None:
    if not address.is_local and not insecure:
        text = (
            f"{address} can be reached by other machines, and the traffic is not encrypted: anybody on the "
            "way can read and change it. "
            "In a network you trust, add --insecure; else listen at 127.0.0.1 and tunnel (ssh -L)"
        )
        _end(ExitCode.USAGE, text)


def _server_key(file: str | None) -> Key:
    try:
        return make_key(file)
    except KeyProblem as err:
        _end(ExitCode.BAD_KEY, str(err))


def _serve(options: Options, key: Key, log_format: str, log_level: str, lifeline: int) -> None:
    server = Server(options, key.secret, make_logger("mpserve", log_format, log_level))
    try:
        address = server.listen()
    except OSError as err:
        server.close()
        _end(ExitCode.CANNOT_LISTEN, _why_not(options.address, err))
    if lifeline >= 0:
        server.stop_at_end_of(lifeline)
    _stop_on_signals(server)
    if log_format == "console":
        print(banner(address, key), flush=True)
    server.serve()


def _why_not(address: Address, err: OSError) -> str:
    if err.errno == errno.EADDRINUSE:
        what = (
            "another server listens there"
            if address.is_unix
            else "the port is taken; stop who uses it, or take another with --port (0: any free one)"
        )
        return f"cannot listen at {address}: {what}"
    if isinstance(err, socket.gaierror):
        return f"cannot listen at {address}: no such host; --host takes a name or address of this machine"
    if err.errno == errno.EADDRNOTAVAIL:
        return (
            f"cannot listen at {address}: that is not an address of this machine; see `ip addr`, or use "
            "--host 0.0.0.0 for all"
        )
    return f"cannot listen at {address}: {err.strerror or err}"


def _stop_on_signals(server: Server) -> None:
    def stop(number: int, _frame: object) -> None:
        server.stop(signal.Signals(number).name)

    signal.set_wakeup_fd(server.loop.wakeup_fd, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


# -- asking a running server ----------------------------------------------------------------------


@app.command(name="ping")
def _ping(
    connect: Connect = "",
    authkey_file: KeyFile = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for the answer.")] = 5.0,
) -> None:
    """Tell whether a server answers: exit code 0, or another and a line that says why not."""
    words = ["--timeout", str(timeout)]
    words += ["--connect", connect] if connect else []
    words += ["--authkey-file", authkey_file] if authkey_file else []
    sys.exit(ping(words))


@app.command()
def status(
    connect: Connect = "",
    authkey_file: KeyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Show sessions, workers, queues, locks and all other objects of a running server."""
    show(
        _ask(connect, authkey_file, lambda asked: {"server": asked.greeting, **asked.call("cluster.status")}),
        as_json=as_json,
    )


@app.command()
def rm(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The object's name.")],
    kind: Annotated[str, typer.Option(help="Its kind, where several objects have that name.")] = "",
    connect: Connect = "",
    authkey_file: KeyFile = None,
) -> None:
    """Delete the object of that name; who waits for it gets an error."""
    if not _ask(connect, authkey_file, lambda asked: asked.call("cluster.delete", name, kind or None)):
        _end(
            ExitCode.FAILED,
            f"there is no {kind or 'object'} named {name!r}; `mpserve status` lists what there is",
        )


@app.command()
def keyfile() -> None:
    """Print the path of the file with this user's key."""
    print(default_key_file())


def _ask(connect: str, authkey_file: str, question: Callable[..., Any]) -> Any:
    try:
        return ask(connect, authkey_file, 10.0, question)
    except Unanswered as err:
        _end(err.code, str(err))


def _end(code: ExitCode, text: str) -> NoReturn:
    print(f"mpserve: {text}", file=sys.stderr, flush=True)
    sys.exit(code)
