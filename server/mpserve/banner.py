"""What `mpserve start` prints for people: what to type next. Each line can be copied as it stands."""

from __future__ import annotations

import getpass
import shlex
import socket
from typing import TYPE_CHECKING

from mpshared.address import DEFAULT_PORT, Address
from mpshared.keys import KeyProblem, default_key_file
from mpshared.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from mpshared.keys import Key

__all__ = ["banner"]

_COPY = "mpserve.key"
_ANYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def banner(address: Address, key: Key, advertise: Address | None = None, data: str | None = None) -> str:
    """Return the next steps: workers here and elsewhere, the key's way there, programs, how to stop.

    Args:
        address: Where the server listens, with its real port.
        key: Where the key is; of the key itself nothing is shown.
        advertise: How others reach the server, where that differs.
        data: The folder of its journal, if it has one.
    """
    kept = "What it holds is in memory, and gone when it stops."
    if data is not None:
        kept = f"What it holds is kept in {data}, also when it is killed."
    lines = [f"mpserve listens at {address}", kept, ""]
    for title, steps in [*_here(address, key), *_elsewhere(address, key, advertise)]:
        lines += [f"  {title}", *(f"    {step}" for step in steps)]
    lines += ["  To stop:", "    Ctrl-C", ""]
    return "\n".join(printable(line) for line in lines)


_Part = tuple[str, list[str]]


def _here(address: Address, key: Key) -> list[_Part]:
    dial = _dial(address, {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host))  # noqa: S104
    at = [] if str(dial) == f"127.0.0.1:{DEFAULT_PORT}" else ["--connect", str(dial)]
    file = key.file if key.file is not None and not _is_own(key.file) else None
    known = ["--authkey-file", str(file.absolute())] if file is not None else []
    note = "" if key.file is not None else f" ({key.source} is set to the key)"
    exports = [
        f"MPSERVE_ADDRESS={dial}",
        *(f"MPSERVE_AUTHKEY_FILE={path.absolute()}" for path in _some(file)),
    ]
    return [
        (f"Workers on this machine{note}:", [shlex.join(["mpworker", *at, *known])]),
        (f"Programs on this machine{note}:", [shlex.join(["export", *exports])]),
        ("To look inside:", [shlex.join(["mpserve", "status", *at, *known])]),
    ]


def _elsewhere(address: Address, key: Key, advertise: Address | None) -> list[_Part]:
    if address.is_unix:
        return []
    if address.is_local and advertise is None:
        return [("For other machines, in a network you trust:", ["mpserve start --host 0.0.0.0 --insecure"])]
    host = socket.gethostname() if address.host in _ANYWHERE else address.host
    dial = advertise or _dial(address, host)
    note = "" if key.file is not None else f" ({key.source} is set to the same key)"
    fetch = [_fetch(host, path) for path in _some(key.file)]
    worker = ["mpworker", "--connect", str(dial), *(["--authkey-file", _COPY] if fetch else [])]
    programs = shlex.join(["export", f"MPSERVE_ADDRESS={dial}"])
    if fetch:
        programs += f' MPSERVE_AUTHKEY_FILE="$PWD/{_COPY}"'  # absolute: programs change their folder
    return [
        (f"A worker on another machine{note}:", [*fetch, shlex.join(worker)]),
        (f"Programs on another machine{note}:", [programs]),
    ]


def _fetch(host: str, file: Path) -> str:
    """Return the line that copies the key, with its mode, to where it is typed."""
    there = f"[{host}]" if ":" in host else host
    return shlex.join(["scp", "-p", f"{_user()}{there}:{file.absolute()}", _COPY])


def _dial(address: Address, host: str) -> Address:
    return address if address.is_unix else Address.tcp(host, address.port)


def _is_own(file: Path) -> bool:
    """Tell whether commands of this user find the file by themselves."""
    try:
        return file.absolute() == default_key_file().absolute()
    except KeyProblem:
        return False


def _some(file: Path | None) -> list[Path]:
    return [] if file is None else [file]


def _user() -> str:
    """Return `name@`, or nothing where this user has no name (a container run under any number)."""
    try:
        return f"{getpass.getuser()}@"
    except (OSError, KeyError):  # KeyError: before Python 3.13
        return ""
