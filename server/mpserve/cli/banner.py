"""What `mpserve start` prints for people: what to type next. Each line can be copied as it stands."""

from __future__ import annotations

import getpass
import shlex
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from mpshared.address import DEFAULT_PORT, Address
from mpshared.keys import KeyProblem, default_key_file
from mpshared.text import printable
from mpshared.tls import TlsFiles

if TYPE_CHECKING:
    from mpshared.keys import Key

__all__ = ["COPIES", "banner", "bracketed", "fetch_folder", "tls_options", "tls_variables"]

_COPY = "mpserve.key"
COPIES = "mpserve-tls"
"""The folder of certificates on another machine."""
_SOMEWHERE = Path("/path/to")
"""Where clients' certificates are that `mpserve tls init` has not made, or somebody took away."""
_ANYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def banner(
    address: Address,
    key: Key,
    advertise: Address | None = None,
    data: str | None = None,
    tls: TlsFiles | None = None,
    plain: Address | None = None,
) -> str:
    """Return the next steps: workers here and elsewhere, the key's way there, programs, how to stop.

    Args:
        address: Where the server listens, with its real port.
        key: Where the key is; of the key itself nothing is shown.
        advertise: How others reach the server, where that differs.
        data: The folder of its journal, if it has one.
        tls: The files of its TLS, if it speaks that.
        plain: Where it listens too, without TLS.
    """
    kept = "What it holds is in memory, and gone when it stops."
    if data is not None:
        kept = f"What it holds is kept in {data}, also when it is killed."
    spoken = "" if tls is None else " with TLS"
    lines = [f"mpserve listens at {address}{spoken}", kept, ""]
    for title, steps in [*_here(address, key, tls), *_elsewhere(address, key, advertise, tls)]:
        lines += [f"  {title}", *(f"    {step}" for step in steps)]
    if tls is not None:
        where = "with --plain, which has this server listen without TLS" if plain is None else f"at {plain}"
        lines += [f"  Managers of the standard library speak no TLS: they connect {where}.", ""]
    lines += ["  To stop:", "    Ctrl-C", ""]
    return "\n".join(printable(line) for line in lines)


_Part = tuple[str, list[str]]


def _here(address: Address, key: Key, tls: TlsFiles | None) -> list[_Part]:
    dial = _dial(address, {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host))  # noqa: S104
    at = [] if str(dial) == f"127.0.0.1:{DEFAULT_PORT}" else ["--connect", str(dial)]
    file = key.file if key.file is not None and not _is_own(key.file) else None
    files = _for_clients(tls)
    known = ["--authkey-file", str(file.absolute())] if file is not None else []
    known += tls_options(files)
    note = "" if key.file is not None else f" ({key.source} is set to the key)"
    exports = [
        f"MPSERVE_ADDRESS={dial}",
        *(f"MPSERVE_AUTHKEY_FILE={path.absolute()}" for path in _some(file)),
        *(f"{name}={path}" for name, path in tls_variables(files)),
    ]
    return [
        (f"Workers on this machine{note}:", [shlex.join(["mpworker", *at, *known])]),
        (f"Programs on this machine{note}:", [shlex.join(["export", *exports])]),
        ("To look inside:", [shlex.join(["mpserve", "status", *at, *known])]),
    ]


def _elsewhere(address: Address, key: Key, advertise: Address | None, tls: TlsFiles | None) -> list[_Part]:
    if address.is_unix:
        return []
    if address.is_local and advertise is None:
        return _wider(tls)
    host = socket.gethostname() if address.host in _ANYWHERE else address.host
    dial = advertise or _dial(address, host)
    note = "" if key.file is not None else f" ({key.source} is set to the same key)"
    fetch = [_fetch(host, path) for path in _some(key.file)]
    worker = ["mpworker", "--connect", str(dial), *(["--authkey-file", _COPY] if fetch else [])]
    programs = shlex.join(["export", f"MPSERVE_ADDRESS={dial}"])
    if fetch:
        programs += f' MPSERVE_AUTHKEY_FILE="$PWD/{_COPY}"'  # absolute: programs change their folder
    files = _for_clients(tls)
    if files.ca:
        copies = TlsFiles(*(f"{COPIES}/{Path(path).name}" if path else "" for path in files))
        folder = Path(files.ca).parent
        if folder == _SOMEWHERE:
            note += f" (its certificates in the folder {COPIES})"
        else:
            fetch.append(fetch_folder(host, folder))
        worker += tls_options(copies)
        programs += "".join(f' {name}="$PWD/{path}"' for name, path in tls_variables(copies))
    return [
        (f"A worker on another machine{note}:", [*fetch, shlex.join(worker)]),
        (f"Programs on another machine{note}:", [programs]),
    ]


def _wider(tls: TlsFiles | None) -> list[_Part]:
    """Tell how to start a server that other machines reach."""
    start = ["mpserve", "start", "--host", "0.0.0.0"]  # noqa: S104 - typed, not bound
    if tls is not None:
        return [("For other machines:", [shlex.join([*start, *tls_options(tls)])])]
    made = TlsFiles(*(f"{COPIES}/server/{name}" for name in ("cert.pem", "key.pem", "ca.pem")))
    return [
        ("For other machines:", [f"mpserve tls init {COPIES}", shlex.join([*start, *tls_options(made)])]),
        ("For other machines, in a network you trust:", [shlex.join([*start, "--insecure"])]),
    ]


def _for_clients(tls: TlsFiles | None) -> TlsFiles:
    """Return the files for workers and programs: where `mpserve tls init` puts them beside the server's; else
    somebody else has made them, and names are all there is to tell.
    """
    if tls is None:
        return TlsFiles()
    folder = Path(tls.cert).parent.parent / "client"
    if not (folder / "ca.pem").exists():
        folder = _SOMEWHERE
    cert, key = (str(folder / "cert.pem"), str(folder / "key.pem")) if tls.ca else ("", "")
    return TlsFiles(cert, key, str(folder / "ca.pem"))


def tls_options(files: TlsFiles) -> list[str]:
    """Return the options that name these files."""
    named = zip(("--tls-cert", "--tls-key", "--tls-ca"), files, strict=True)
    return [word for option, path in named if path for word in (option, path)]


def tls_variables(files: TlsFiles) -> list[tuple[str, str]]:
    """Return the variables that name these files, and their values."""
    named = zip(("MPSERVE_TLS_CERT", "MPSERVE_TLS_KEY", "MPSERVE_TLS_CA"), files, strict=True)
    return [(name, path) for name, path in named if path]


def bracketed(host: str) -> str:
    """Return a host as it stands before a colon."""
    return f"[{host}]" if ":" in host else host


def _fetch(host: str, file: Path) -> str:
    """Return the line that copies the key, with its mode, to where it is typed."""
    return shlex.join(["scp", "-p", f"{_user_prefix()}{bracketed(host)}:{file.absolute()}", _COPY])


def fetch_folder(host: str, folder: Path) -> str:
    """Return the line that copies the clients' certificates to where it is typed."""
    return shlex.join(["scp", "-rp", f"{_user_prefix()}{bracketed(host)}:{folder}", COPIES])


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


def _user_prefix() -> str:
    """Return `name@`, or nothing where this user has no name (a container run under any number)."""
    try:
        return f"{getpass.getuser()}@"
    except (OSError, KeyError):  # KeyError: before Python 3.13
        return ""
