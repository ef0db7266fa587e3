"""What the `mpserve` command can do: start, ask a server, look into a folder of --data, make certificates;
and its help.

What goes wrong is one line on standard error and an exit code of `mpshared.exit_codes`; never a traceback.
"""

# No `from __future__ import annotations`: typer evaluates the annotations.
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from mpserve.cli import asking, starting
from mpserve.cli.status_view import show
from mpserve.cli.why_view import show as show_why
from mpserve.net.ask import Inquiry
from mpshared import limits, settings
from mpshared.address import Address
from mpshared.command import fail, make_app, say, version_option
from mpshared.exit_codes import ExitCode
from mpshared.keys import KeyProblem, default_key_file
from mpshared.names import why_no_name
from mpshared.options import option

__all__ = ["app"]

ANSWER_S = 10.0
"""For each step of asking a server."""
WATCH = "Show it anew each second, with what goes in and out, until Ctrl-C; with --json, a line each."

app = make_app("mpserve", "Serve multiprocessing's objects to every machine you have.")
Connect = Annotated[Any, option(settings.ADDRESS)]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of --data.", show_default=False)]
KeyFile = Annotated[Any, option(settings.AUTHKEY_FILE)]
Kind = Annotated[
    str, typer.Option(metavar="KIND", help="Its kind, where several have that name.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
TlsCert = Annotated[Any, option(settings.TLS_CERT)]
TlsKey = Annotated[Any, option(settings.TLS_KEY)]
TlsCa = Annotated[Any, option(settings.TLS_CA)]

PerAddress = Annotated[int, option(limits.MAX_CONNECTIONS_PER_ADDRESS)]
SessionObjects = Annotated[int, option(limits.MAX_SESSION_OBJECTS)]
Unauthenticated = Annotated[int, option(limits.MAX_UNAUTHENTICATED)]


@app.callback()
def _mpserve(
    version: Annotated[bool, version_option("mpserve")] = False,
) -> None:
    """Serve multiprocessing's objects to every machine you have."""


@app.command()
def start(
    host: Annotated[str, option(settings.HOST)] = settings.HOST.default,
    port: Annotated[int, option(settings.PORT)] = settings.PORT.default,
    advertise: Annotated[Any, option(settings.ADVERTISE)] = settings.ADVERTISE.default,
    insecure: Annotated[bool, option(settings.INSECURE)] = settings.INSECURE.default,
    plain: Annotated[Any, option(settings.PLAIN)] = settings.PLAIN.default,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    authkey_file: Annotated[Any, option(settings.AUTHKEY_FILE)] = settings.AUTHKEY_FILE.default,
    admin_key_file: Annotated[Any, option(settings.ADMIN_KEY_FILE)] = settings.ADMIN_KEY_FILE.default,
    observe_key_file: Annotated[Any, option(settings.OBSERVE_KEY_FILE)] = settings.OBSERVE_KEY_FILE.default,
    key_overlap: Annotated[float, option(settings.KEY_OVERLAP)] = settings.KEY_OVERLAP.default,
    max_memory: Annotated[int | None, option(settings.MAX_MEMORY)] = settings.MAX_MEMORY.default,
    max_attempts: Annotated[int, option(settings.MAX_ATTEMPTS)] = settings.MAX_ATTEMPTS.default,
    data: Annotated[Any, option(settings.DATA)] = settings.DATA.default,
    sync: Annotated[str, option(settings.SYNC)] = settings.SYNC.default,
    grace: Annotated[float, option(settings.GRACE)] = settings.GRACE.default,
    session_timeout: Annotated[float, option(settings.SESSION_TIMEOUT)] = settings.SESSION_TIMEOUT.default,
    register: Annotated[list[str] | None, option(settings.REGISTER)] = None,
    md5: Annotated[str, option(settings.MD5)] = settings.MD5.default,
    allow_shutdown: Annotated[bool, option(settings.ALLOW_SHUTDOWN)] = settings.ALLOW_SHUTDOWN.default,
    tcp_only: Annotated[bool, option(settings.TCP_ONLY)] = settings.TCP_ONLY.default,
    spin: Annotated[float, option(settings.SPIN)] = settings.SPIN.default,
    log_format: Annotated[str, option(settings.LOG_FORMAT)] = settings.LOG_FORMAT.default,
    log_level: Annotated[str, option(settings.LOG_LEVEL)] = settings.LOG_LEVEL.default,
    max_connections: Annotated[Any, option(limits.MAX_CONNECTIONS)] = limits.MAX_CONNECTIONS.default,
    max_connections_per_address: PerAddress = limits.MAX_CONNECTIONS_PER_ADDRESS.default,
    max_unauthenticated: Unauthenticated = limits.MAX_UNAUTHENTICATED.default,
    auth_timeout: Annotated[float, option(limits.AUTH_TIMEOUT)] = limits.AUTH_TIMEOUT.default,
    max_failures: Annotated[int, option(limits.MAX_FAILURES)] = limits.MAX_FAILURES.default,
    max_message: Annotated[int, option(limits.MAX_MESSAGE)] = limits.MAX_MESSAGE.default,
    max_objects: Annotated[int, option(limits.MAX_OBJECTS)] = limits.MAX_OBJECTS.default,
    max_names: Annotated[int, option(limits.MAX_NAMES)] = limits.MAX_NAMES.default,
    max_session_objects: SessionObjects = limits.MAX_SESSION_OBJECTS.default,
    max_lanes: Annotated[int, option(limits.MAX_LANES)] = limits.MAX_LANES.default,
    max_waiting: Annotated[int, option(limits.MAX_WAITING)] = limits.MAX_WAITING.default,
    max_unread: Annotated[int, option(limits.MAX_UNREAD)] = limits.MAX_UNREAD.default,
    lifeline: Annotated[int, typer.Option("--lifeline", hidden=True)] = -1,
) -> int:
    """Start the server and serve until it is stopped.

    The key that lets others in is MPSERVE_AUTHKEY's text, or a file's (see --authkey-file), or made at the
    first start. SIGHUP has the files of keys and certificates read again.
    """
    given = {**locals(), "register": tuple(register or ())}
    return starting.start(**given)


@app.command()
def ping(
    connect: Connect = None,
    authkey_file: KeyFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    timeout: Annotated[float, option(asking.TIMEOUT)] = asking.TIMEOUT.default,
) -> int:
    """Tell whether a server answers.

    The exit code is 0, or 1 after a line that says why not.
    """
    return asking.ping(connect, authkey_file, timeout, tls_cert=tls_cert, tls_key=tls_key, tls_ca=tls_ca)


@app.command()
def status(
    connect: Connect = None,
    authkey_file: KeyFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
    watching: Annotated[bool, typer.Option("--watch", help=WATCH)] = False,
) -> None:
    """Show what a running server holds, and who uses it.

    Sessions, workers, queues, locks and all other objects; values are not opened.
    """

    def question(asked: Inquiry) -> dict[str, Any]:
        return {"server": asked.greeting, **asked.call("cluster.status")}

    def ask() -> Any:
        return asking.ask(connect, authkey_file, ANSWER_S, question, (tls_cert, tls_key, tls_ca))

    with _answered("mpserve status"):
        if watching:
            from mpserve.cli.watch import watch  # noqa: PLC0415

            watch(ask, as_json=as_json)
        else:
            show(ask(), as_json=as_json)


@app.command()
def rm(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The object's name.", show_default=False)],
    kind: Kind = "",
    connect: Connect = None,
    authkey_file: KeyFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
) -> None:
    """Delete the object of that name; who waits for it gets an error."""
    if problem := why_no_name(name):
        fail("mpserve rm", ExitCode.USAGE, problem)
    if not _ask(
        "mpserve rm",
        connect,
        authkey_file,
        (tls_cert, tls_key, tls_ca),
        lambda asked: asked.call("cluster.delete", name, kind or None),
    ):
        text = f"there is no {kind or 'object'} named {name!r}; `mpserve status` lists what there is"
        fail("mpserve rm", ExitCode.FAILED, text)


@app.command()
def why(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A lock's or condition's name, or what `mpserve status` shows for one without; else all.",
            show_default=False,
        ),
    ] = "",
    kind: Kind = "",
    connect: Connect = None,
    authkey_file: KeyFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Tell who waits for whose lock, and where that has no end.

    With a name: who waits for that lock, whom its holder waits for, and so on.
    """
    told = _ask(
        "mpserve why",
        connect,
        authkey_file,
        (tls_cert, tls_key, tls_ca),
        lambda asked: asked.call("cluster.why", name or None, kind or None),
    )
    show_why(told, as_json=as_json)


@app.command()
def release(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The lock's or condition's name, or what `mpserve status` shows for one without.",
            show_default=False,
        ),
    ],
    kind: Kind = "",
    connect: Connect = None,
    authkey_file: KeyFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
) -> None:
    """Release a lock whose holder is gone, for the next who waits.

    Locks that were made with on_owner_death="hold" or "raise" stay as their dead holder left them. One whose
    holder is alive is not released.
    """
    _ask(
        "mpserve release",
        connect,
        authkey_file,
        (tls_cert, tls_key, tls_ca),
        lambda asked: asked.call("cluster.release", name, kind or None),
    )


@app.command()
def keyfile() -> None:
    """Print the path of the file with this user's key."""
    try:
        say(str(default_key_file()))
    except KeyProblem as err:
        fail("mpserve keyfile", ExitCode.BAD_KEY, str(err))


tls_app = make_app("tls", "Make certificates for TLS.")
app.add_typer(tls_app)


@tls_app.callback()
def _tls() -> None:
    """Make certificates for TLS."""


@tls_app.command("init")
def tls_init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Where to: a folder that is empty, or new.", show_default=False),
    ],
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name or IP address by which workers and programs dial the server; may be given several "
            "times. This machine's name and loopback addresses are always among them.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Make the certificates of a small cluster.

    An authority, a server's certificate and a client's; what to do with them is printed.
    """
    from mpserve.cli.tls_init import init  # noqa: PLC0415 - loads cryptography

    return init(folder, host or ())


@app.command()
def check(folder: Folder) -> int:
    """Tell what is in a folder of --data, and whether it is whole.

    No server may use the folder meanwhile.
    """
    from mpserve.cli import data  # noqa: PLC0415 - loads SQLite, as the two below

    return data.check(folder)


@app.command()
def export(
    folder: Folder,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Where to; standard output unless given.", show_default=False),
    ] = None,
) -> int:
    """Write what is in a folder of --data as lines of JSON."""
    from mpserve.cli import data  # noqa: PLC0415

    return data.export(folder, file)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export.", show_default=False)],
    folder: Folder,
) -> int:
    """Make a new folder for --data of an export."""
    from mpserve.cli import data  # noqa: PLC0415

    return data.import_(file, folder)


def _ask(
    command: str,
    address: Address | None,
    key_file: str | None,
    tls: asking.TlsGiven,
    question: Callable[[Inquiry], Any],
) -> Any:
    with _answered(command):
        return asking.ask(address, key_file, ANSWER_S, question, tls)


@contextmanager
def _answered(command: str) -> Iterator[None]:
    """End the command where the server gave no answer; say why."""
    try:
        yield
    except asking.Unanswered as err:
        fail(command, err.code, str(err))
