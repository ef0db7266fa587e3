"""What `mpserve start` prints for people: what to type next."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpshared.address import Address
    from mpshared.keys import Key

__all__ = ["banner"]


def banner(address: Address, key: Key) -> str:
    """Return the next steps: workers here and elsewhere, the key's way there, programs, how to stop."""
    lines = [f"mpserve listens at {address}; the objects live in memory and are gone when it stops.", ""]
    steps = _local(address) if address.is_local else _remote(address, key)
    width = max(len(what) for what, _ in steps)
    lines += [f"  {what:<{width}}  {command}" for what, command in steps]
    return "\n".join([*lines, ""])


def _local(address: Address) -> list[tuple[str, str]]:
    steps = [
        ("workers on this machine", f"mpworker --connect {address}"),
        ("programs", f"export MPSERVE_ADDRESS={address}"),
        ("look inside", f"mpserve status --connect {address}"),
    ]
    if not address.is_unix:
        steps.insert(1, ("other machines", "start with --host 0.0.0.0 --insecure in a network you trust"))
    return [*steps, ("stop", "Ctrl-C")]


def _remote(address: Address, key: Key) -> list[tuple[str, str]]:
    anywhere = address.host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    here = socket.gethostname() if anywhere else address.host
    dial = f"[{here}]:{address.port}" if ":" in here else f"{here}:{address.port}"
    steps = []
    if key.file is not None:
        steps.append(
            (
                "key for another machine",
                f"scp -p {_user()}{here}:{key.file.absolute()} ./mpserve.key   (on that machine)",
            )
        )
        worker = f"mpworker --connect {dial} --authkey-file ./mpserve.key"
    else:
        worker = f"{key.source}=… mpworker --connect {dial}"
    return [
        *steps,
        ("worker on another machine", worker),
        ("programs", f"export MPSERVE_ADDRESS={dial}"),
        ("look inside", f"mpserve status --connect {f'127.0.0.1:{address.port}' if anywhere else dial}"),
        ("stop", "Ctrl-C"),
    ]


def _user() -> str:
    """Return `name@`, or nothing where this user has no name (a container run under any number)."""
    try:
        return f"{getpass.getuser()}@"
    except (OSError, KeyError):  # KeyError: before Python 3.13
        return ""
