"""What a client process says of itself when it begins a session: read, and refused where it cannot be."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, Final

from mpserve.core.calls import SessionInfo
from mpshared.wire.errors import ProtocolError

__all__ = ["read_info"]

_ROLES: Final = frozenset({"program", "process", "worker", "supervisor"})
_NUMBERS: Final = ("pid", "slots", "max_spawned")
_TEXTS: Final = ("role", "host", "version", "name", "supervisor", "queue")


def read_info(described: Any) -> SessionInfo:
    """Return what a client says of itself.

    Raises:
        ProtocolError: It is not what one of ours says.
    """
    if type(described) is not dict or str(described.get("role")) not in _ROLES:
        raise ProtocolError(
            "attach", f"a new session describes itself, with a role of {', '.join(sorted(_ROLES))}"
        )
    python = described.get("python")
    if type(python) is not list or [type(v) for v in python] != [int, int]:
        raise ProtocolError("attach", "python is [major, minor]")
    # Interned: what all programs of a host say of it is kept once.
    texts = {key: sys.intern(str(described.get(key, ""))[:200]) for key in _TEXTS}
    try:
        numbers = {key: int(described.get(key, 0)) for key in _NUMBERS}
        started_s = float(described.get("started_s", 0))
    except (TypeError, ValueError, OverflowError):
        raise ProtocolError("attach", f"{', '.join(_NUMBERS)} and started_s are numbers") from None
    return SessionInfo(
        started_s=started_s,
        python=_version(*python),
        pools=described.get("pools") is True,
        **(numbers | texts),  # type: ignore[arg-type]  # two kinds of fields, by their names
    )


@lru_cache(maxsize=64)
def _version(major: int, minor: int) -> tuple[int, int]:
    """Return the same tuple for all programs of one Python."""
    return major, minor
