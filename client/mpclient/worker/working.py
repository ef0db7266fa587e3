"""`mpworker`: checks what it was told, and lends this machine's cores to a server's jobs.

What goes wrong is one line on standard error and an exit code of `mpshared.exit_codes`; never a traceback.
"""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from mpclient.importing import is_importable
from mpclient.worker.files import raise_limit
from mpclient.worker.host.supervisor import Supervisor
from mpclient.worker.options import Options, usable_cores
from mpshared.address import DEFAULT_PORT, Address
from mpshared.command import fail
from mpshared.exit_codes import ExitCode
from mpshared.keys import Key, KeyProblem, find_key
from mpshared.log import make_logger
from mpshared.setting import Setting, setting
from mpshared.settings import for_user
from mpshared.tls import ClientTls, TlsProblem, find_client_tls
from mpshared.units import parse_count, parse_flag

__all__ = ["SETTINGS", "work"]

_hidden = partial(setting, users=("worker",), env="", shown="")
_LIFELINE: Final[Setting[int]] = _hidden(
    name="lifeline",
    metavar="FD",
    parse=parse_count,
    default=-1,
    help="Stop when the other end of this pipe is closed: for programs that start a host of their own.",
)
_RESPAWN: Final[Setting[bool]] = _hidden(
    name="respawn",
    parse=parse_flag,
    default=False,
    help="Start fresh worker processes when pills have stopped all of them.",
)
_NO_FORK: Final[Setting[bool]] = _hidden(
    name="no_fork",
    parse=parse_flag,
    default=False,
    help="Start each process as a fresh interpreter, where it could be the fork of a prepared one.",
)
SETTINGS: Final[tuple[Setting[Any], ...]] = (*for_user("worker"), _LIFELINE, _RESPAWN, _NO_FORK)


def work(*, address: Address | None, processes: int | None, **given: Any) -> int:
    """Run jobs until a pill has stopped each worker process; return the exit code.

    Args:
        address: Where the server is; None: on this machine.
        processes: How many worker processes; None: as many as there are cores.
        given: The other settings of a worker host, by their names.
    """
    where = address or Address.tcp("127.0.0.1", DEFAULT_PORT)
    options = Options(
        address=where,
        key=_find_key(given["authkey_file"]),
        name=given["name"] or socket.gethostname(),
        processes=processes or usable_cores(),
        tls=_find_tls(where, given["tls_cert"], given["tls_key"], given["tls_ca"]),
        queue=given["queue"],
        results=given["results"],
        max_tasks=given["max_tasks"],
        max_memory_bytes=given["max_memory"],
        max_spawned=given["max_spawned"],
        pythonpath=tuple(map(_importable, given["pythonpath"])),
        chdir=_folder("--chdir", given["chdir"]) if given["chdir"] else None,
        connect_timeout_s=given["connect_timeout"],
        lifeline=_lifeline(given["lifeline"]),
        respawn=given["respawn"],
        files=raise_limit(),
        **({"fork": False} if given["no_fork"] else {}),
    )
    logger = partial(make_logger, "mpworker", given["log_format"], given["log_level"])
    code, text = Supervisor(options, logger).run()
    if text:
        fail("mpworker", code, text)
    return code


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


def _importable(place: str) -> str:
    """Return an absolute path; what nothing can be imported from is an error here, not in every job."""
    if not is_importable(place):
        _fail_for("--pythonpath", place, "a folder or zip file")
    return str(Path(place).absolute())


def _folder(name: str, place: str) -> str:
    """Return an absolute path."""
    if not Path(place).is_dir():
        _fail_for(name, place, "a folder")
    return str(Path(place).absolute())


def _fail_for(name: str, place: str, what: str) -> NoReturn:
    text = f"{name}: {place!r} is not {what} of this machine; create it, or name another"
    fail("mpworker", ExitCode.USAGE, text)


def _lifeline(descriptor: int) -> int:
    if descriptor >= 0:
        os.set_inheritable(descriptor, False)  # worker processes hear of its end from this process
    return descriptor
