"""What the `mpworker` command does: lend this machine's cores to a server's jobs.

What goes wrong is one line on standard error and an exit code of `mpshared.exit_codes`; never a traceback.
"""

# No `from __future__ import annotations`: typer evaluates the annotations.
import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mpclient.worker.files import raise_limit
from mpclient.worker.options import Options, usable_cores
from mpclient.worker.supervisor import Supervisor
from mpshared import settings
from mpshared.address import DEFAULT_PORT, Address
from mpshared.command import fail, make_app, version_option
from mpshared.exit_codes import ExitCode
from mpshared.keys import Key, KeyProblem, find_key
from mpshared.log import make_logger
from mpshared.options import option
from mpshared.tls import ClientTls, TlsProblem, find_client_tls

__all__ = ["app"]

app = make_app("mpworker")


@app.command()
def work(
    connect: Annotated[Any, option(settings.ADDRESS)] = None,
    processes: Annotated[Any, option(settings.PROCESSES)] = settings.PROCESSES.default,
    queue: Annotated[str, option(settings.QUEUE)] = settings.QUEUE.default,
    results: Annotated[str, option(settings.RESULTS)] = settings.RESULTS.default,
    max_tasks: Annotated[Any, option(settings.MAX_TASKS)] = settings.MAX_TASKS.default,
    max_memory: Annotated[Any, option(settings.WORKER_MAX_MEMORY)] = settings.WORKER_MAX_MEMORY.default,
    max_spawned: Annotated[Any, option(settings.MAX_SPAWNED)] = settings.MAX_SPAWNED.default,
    name: Annotated[Any, option(settings.WORKER_NAME)] = settings.WORKER_NAME.default,
    pythonpath: Annotated[list[str] | None, option(settings.PYTHONPATH)] = None,
    chdir: Annotated[Any, option(settings.CHDIR)] = settings.CHDIR.default,
    authkey_file: Annotated[Any, option(settings.AUTHKEY_FILE)] = settings.AUTHKEY_FILE.default,
    tls_cert: Annotated[Any, option(settings.TLS_CERT)] = settings.TLS_CERT.default,
    tls_key: Annotated[Any, option(settings.TLS_KEY)] = settings.TLS_KEY.default,
    tls_ca: Annotated[Any, option(settings.TLS_CA)] = settings.TLS_CA.default,
    connect_timeout: Annotated[float, option(settings.CONNECT_TIMEOUT)] = settings.CONNECT_TIMEOUT.default,
    log_format: Annotated[str, option(settings.LOG_FORMAT)] = settings.LOG_FORMAT.default,
    log_level: Annotated[str, option(settings.LOG_LEVEL)] = settings.LOG_LEVEL.default,
    _version: Annotated[bool, version_option("mpworker")] = False,
    lifeline: Annotated[int, typer.Option("--lifeline", hidden=True)] = -1,
    respawn: Annotated[bool, typer.Option("--respawn", hidden=True)] = False,
    no_fork: Annotated[bool, typer.Option("--no-fork", hidden=True)] = False,
) -> None:
    """Run jobs from a server's queue, until a pill has stopped each worker process.

    The server is the one on this machine unless --connect says where.
    """
    address = connect or Address.tcp("127.0.0.1", DEFAULT_PORT)
    options = Options(
        address=address,
        key=_find_key(authkey_file),
        name=name or socket.gethostname(),
        processes=processes or usable_cores(),
        tls=_find_tls(address, tls_cert, tls_key, tls_ca),
        queue=queue,
        results=results,
        max_tasks=max_tasks,
        max_memory_bytes=max_memory,
        max_spawned=max_spawned,
        pythonpath=_folders("--pythonpath", pythonpath or ()),
        chdir=_folders("--chdir", (chdir,))[0] if chdir else None,
        connect_timeout_s=connect_timeout,
        lifeline=_lifeline(lifeline),
        respawn=respawn,
        files=raise_limit(),
        **({"fork": False} if no_fork else {}),
    )
    code, text = Supervisor(options, partial(make_logger, "mpworker", log_format, log_level)).run()
    if text:
        fail("mpworker", code, text)
    sys.exit(code)


def _find_key(file: str | None) -> Key:
    try:
        return find_key(file)
    except KeyProblem as err:
        fail("mpworker", ExitCode.BAD_KEY, str(err))


def _find_tls(address: Address, *files: str | None) -> ClientTls | None:
    if not any(files):
        return None
    try:
        return find_client_tls(address, *files)
    except TlsProblem as err:
        fail("mpworker", ExitCode.BAD_KEY, str(err))


def _folders(name: str, folders: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Return absolute paths; no such folder is an error here, not in every job."""
    for folder in folders:
        if not Path(folder).is_dir():
            fail(
                "mpworker",
                ExitCode.USAGE,
                f"{name}: {folder!r} is not a folder of this machine; create it, or name another",
            )
    return tuple(str(Path(folder).absolute()) for folder in folders)


def _lifeline(descriptor: int) -> int:
    if descriptor >= 0:
        os.set_inheritable(descriptor, False)  # worker processes hear of its end from this process
    return descriptor
