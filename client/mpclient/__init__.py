"""The client: shared queues, locks and dicts of a cluster.

    import mpclient

    cluster = mpclient.connect("server:7707")
    tasks = cluster.JoinableQueue(name="tasks")

Importing this costs nothing worth mentioning: what a name needs is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from mpshared import __version__
from mpshared.values import set_resolver

if TYPE_CHECKING:
    from mpclient.cluster import Cluster, connect
    from mpclient.objects.t_dict import MISSING
    from mpshared.errors import (
        AlreadyReleased,
        AttributeMissing,
        BadIndex,
        BadType,
        BadValue,
        BrokenBarrierError,
        Conflict,
        Empty,
        Full,
        MpserveError,
        NoRoom,
        NoSuchObject,
        NotAllowed,
        NotHeld,
        NotSupported,
        NoWorkers,
        Overflow,
        ProtocolViolation,
        ServerGone,
        ServerRestarted,
        SessionExpired,
        ShutDown,
        TaskError,
        TimeoutExpired,
        TooBig,
        WorkerDied,
    )

__all__ = [
    "MISSING",
    "AlreadyReleased",
    "AttributeMissing",
    "BadIndex",
    "BadType",
    "BadValue",
    "BrokenBarrierError",
    "Cluster",
    "Conflict",
    "Empty",
    "Full",
    "MpserveError",
    "NoRoom",
    "NoSuchObject",
    "NoWorkers",
    "NotAllowed",
    "NotHeld",
    "NotSupported",
    "Overflow",
    "ProtocolViolation",
    "ServerGone",
    "ServerRestarted",
    "SessionExpired",
    "ShutDown",
    "TaskError",
    "TimeoutExpired",
    "TooBig",
    "WorkerDied",
    "__version__",
    "connect",
]

_HOMES: Final = {
    "Cluster": "mpclient.cluster",
    "connect": "mpclient.cluster",
    "MISSING": "mpclient.objects.t_dict",
}
"""Where a name lives; all others are errors."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES.get(name, "mpshared.errors")), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _resolve(kind: str, ident: str, address: str) -> Any:
    """Turn a reference in a pickle into a live object; the first one loads what that needs."""
    from mpclient.resolve import resolve  # noqa: PLC0415

    return resolve(kind, ident, address)


set_resolver(_resolve)
