"""The client: `multiprocessing`, on every machine you have.

    import mpclient as multiprocessing

    queue = multiprocessing.Queue()             # of the default cluster, see `mpclient.default`

    cluster = mpclient.connect("server:7707")   # of a cluster that is named, and the default one from now on
    tasks = cluster.JoinableQueue(name="tasks")

RULES
* The names of `multiprocessing` mean what they mean there (how far: docs/reference/compatibility.md).
* Importing this costs nothing worth mentioning: what a name needs is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from mpshared import __version__
from mpshared.values import set_resolver

if TYPE_CHECKING:
    from mpclient.cluster import Cluster, connect
    from mpclient.context import (
        AuthenticationError,
        BufferTooShort,
        ProcessError,
        TimeoutError,  # noqa: A004 - the standard library's name
    )
    from mpclient.context import default_context as _context
    from mpclient.objects.t_dict import MISSING
    from mpclient.process import Process
    from mpshared.errors import (
        AlreadyReleased,
        AttributeMissing,
        BadIndex,
        BadType,
        BadValue,
        BrokenBarrierError,
        BrokenPipe,
        Conflict,
        DeadlockError,
        Empty,
        EndOfPipe,
        Full,
        JobExpired,
        JobTimeout,
        LockAbandoned,
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
        StaleOwner,
        TaskError,
        TimeoutExpired,
        TooBig,
        WorkerDied,
    )

    Array = _context.Array
    Barrier = _context.Barrier
    BoundedSemaphore = _context.BoundedSemaphore
    Condition = _context.Condition
    Event = _context.Event
    JoinableQueue = _context.JoinableQueue
    Lock = _context.Lock
    Manager = _context.Manager
    Pipe = _context.Pipe
    Pool = _context.Pool
    Queue = _context.Queue
    RLock = _context.RLock
    RawArray = _context.RawArray
    RawValue = _context.RawValue
    Semaphore = _context.Semaphore
    SimpleQueue = _context.SimpleQueue
    Value = _context.Value
    active_children = _context.active_children
    allow_connection_pickling = _context.allow_connection_pickling
    cpu_count = _context.cpu_count
    current_process = _context.current_process
    freeze_support = _context.freeze_support
    get_all_start_methods = _context.get_all_start_methods
    get_context = _context.get_context
    get_logger = _context.get_logger
    get_start_method = _context.get_start_method
    log_to_stderr = _context.log_to_stderr
    parent_process = _context.parent_process
    set_executable = _context.set_executable
    set_forkserver_preload = _context.set_forkserver_preload
    set_start_method = _context.set_start_method

__all__ = [
    "MISSING",
    "AlreadyReleased",
    "Array",
    "AttributeMissing",
    "AuthenticationError",
    "BadIndex",
    "BadType",
    "BadValue",
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "BrokenPipe",
    "BufferTooShort",
    "Cluster",
    "Condition",
    "Conflict",
    "DeadlockError",
    "Empty",
    "EndOfPipe",
    "Event",
    "Full",
    "JobExpired",
    "JobTimeout",
    "JoinableQueue",
    "Lock",
    "LockAbandoned",
    "Manager",
    "MpserveError",
    "NoRoom",
    "NoSuchObject",
    "NoWorkers",
    "NotAllowed",
    "NotHeld",
    "NotSupported",
    "Overflow",
    "Pipe",
    "Pool",
    "Process",
    "ProcessError",
    "ProtocolViolation",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "Semaphore",
    "ServerGone",
    "ServerRestarted",
    "SessionExpired",
    "ShutDown",
    "SimpleQueue",
    "StaleOwner",
    "TaskError",
    "TimeoutError",
    "TimeoutExpired",
    "TooBig",
    "Value",
    "WorkerDied",
    "__version__",
    "active_children",
    "allow_connection_pickling",
    "connect",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_start_method",
    "log_to_stderr",
    "parent_process",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
]

_HOMES: Final = {
    "Cluster": "mpclient.cluster",
    "connect": "mpclient.cluster",
    "MISSING": "mpclient.objects.t_dict",
    "Process": "mpclient.process",
}
"""Where a name lives. Errors are `mpshared.errors`'; all other names belong to the default context."""
_MODULES: Final = frozenset(
    {
        *("aio", "connection", "context", "dummy", "managers", "pool", "process", "queues", "shared_memory"),
        *("sharedctypes", "synchronize", "util"),
    }
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"mpclient.{name}")
    if name not in __all__ and name != "reducer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = _find(name)
    return value


def _find(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    found = getattr(import_module("mpshared.errors"), name, None)
    return found or getattr(import_module("mpclient.context").default_context, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})


def _resolve(kind: str, ident: str, address: str) -> Any:
    """Turn a reference in a pickle into a live object; the first one loads what that needs."""
    from mpclient.resolve import resolve  # noqa: PLC0415

    return resolve(kind, ident, address)


set_resolver(_resolve)
