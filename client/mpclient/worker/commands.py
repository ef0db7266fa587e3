"""The `mpworker` command's options and help, and what is wrong with its command line."""

# No `from __future__ import annotations`: typer evaluates the annotations.
from typing import Annotated, Any

import typer

from mpclient.worker import working
from mpshared import settings
from mpshared.command import make_app, version_option
from mpshared.options import option

__all__ = ["app"]

app = make_app("mpworker")


@app.command()
def work(
    address: Annotated[Any, option(settings.ADDRESS)] = None,
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
) -> int:
    """Run jobs from a server's queue, until a pill has stopped each worker process.

    The server is the one on this machine unless --connect says where.
    """
    given = {name: value for name, value in locals().items() if name != "_version"}
    return working.work(**given | {"pythonpath": tuple(pythonpath or ())})
