"""`multiprocessing.context`: the names of `multiprocessing`, bound to a cluster and a start method.

RULES
* Locks, semaphores and queues are those of `mpclient.synchronize` and `mpclient.queues`: their arguments mean
  what they mean in `multiprocessing`, and queues without a bound are buffered. Behind them are the same
  objects that a `Cluster` makes.
* The default context belongs to the default cluster, which is found, or started, when something is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from multiprocessing import AuthenticationError, BufferTooShort, ProcessError, TimeoutError  # noqa: A004 - its name
from typing import TYPE_CHECKING, Any, Final

from mpclient.offers import METHODS, Offers, check_method

if TYPE_CHECKING:
    from mpclient.cluster import Cluster
    from mpclient.objects.t_array import Array
    from mpclient.objects.t_lock import Mutex
    from mpclient.objects.t_pipe import Connection
    from mpclient.objects.t_value import Value
    from mpclient.pool import Pool
    from mpclient.process import Process
    from mpclient.queues import JoinableQueue, Queue, SimpleQueue
    from mpclient.session import Session
    from mpclient.synchronize import Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore

__all__ = [
    "AuthenticationError",
    "BaseContext",
    "BufferTooShort",
    "DefaultContext",
    "ForkServerContext",
    "ProcessError",
    "SpawnContext",
    "TimeoutError",
    "context_for",
    "default_context",
]


class BaseContext(Offers):
    """The names of `multiprocessing`, as one object.

    Args:
        cluster: Whose objects it makes; None: the default cluster's.
    """

    def __init__(self, cluster: Cluster | None = None) -> None:
        self._cluster = cluster

    def _find_cluster(self) -> Cluster:
        if self._cluster is not None:
            return self._cluster
        from mpclient.default import default_cluster  # noqa: PLC0415 - only where no cluster is named

        return default_cluster()

    @property
    def session(self) -> Session:
        """This process's session with the cluster."""
        return self._find_cluster().session

    def cpu_count(self) -> int:
        """Return how many jobs the cluster can run at once; see `Cluster.cpu_count`."""
        return self._find_cluster().cpu_count()

    @property
    def Process(self) -> type[Process]:  # noqa: N802 - the standard library's names
        """The class of processes that run on the cluster's hosts; see `mpclient.process.Process`."""
        from mpclient.process import Process  # noqa: PLC0415 - not every program has one

        return Process if self._cluster is None else self._cluster.Process

    def Pool(  # noqa: N802
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> Pool:
        """Return the cluster's workers as a Pool; see `mpclient.pool.Pool`."""
        self._settle()
        return self._find_cluster().Pool(processes, initializer, initargs, maxtasksperchild)

    # -- queues and pipes ------------------------------------------------------------------------

    def Queue(self, maxsize: int = 0) -> Queue:  # noqa: N802
        """Return a queue; without a bound (`maxsize` 0 or less) `put` does not wait for the server."""
        return self._queue("mp.Queue", maxsize)  # type: ignore[no-any-return]

    def JoinableQueue(self, maxsize: int = 0) -> JoinableQueue:  # noqa: N802
        """Return a queue whose items are leased until `task_done`; see `Queue`."""
        return self._queue("mp.JoinableQueue", maxsize)  # type: ignore[no-any-return]

    def SimpleQueue(self) -> SimpleQueue:  # noqa: N802
        """Return an unbounded queue with few methods."""
        return self._queue("mp.SimpleQueue", 0)  # type: ignore[no-any-return]

    def _queue(self, flavour: str, maxsize: int) -> Any:
        if maxsize > 0:
            return self._make("queue", flavour, {"maxsize": maxsize})
        return self._make("queue", flavour, {"maxsize": 0}, buffered=True)

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802
        """Return the two ends of a new pipe; see `Cluster.Pipe`."""
        return self._find_cluster().Pipe(duplex)

    # -- locks and signals -----------------------------------------------------------------------

    def Lock(self) -> Lock:  # noqa: N802
        """Return a lock that anybody may release."""
        return self._make("lock", "mp.Lock", {})  # type: ignore[no-any-return]

    def RLock(self) -> RLock:  # noqa: N802
        """Return a lock that its holder, one thread of one process, may take again."""
        return self._make("rlock", "mp.RLock", {})  # type: ignore[no-any-return]

    def Condition(self, lock: Mutex | None = None) -> Condition:  # noqa: N802
        """Return a condition on `lock` (None: an RLock of its own)."""
        settings = self._find_cluster()._lock_setting(lock)  # noqa: SLF001 - one of ours
        return self._make("condition", "mp.Condition", settings)  # type: ignore[no-any-return]

    def Semaphore(self, value: int = 1) -> Semaphore:  # noqa: N802
        """Return a semaphore of `value` permits."""
        return self._semaphore("mp.Semaphore", value)  # type: ignore[no-any-return]

    def BoundedSemaphore(self, value: int = 1) -> BoundedSemaphore:  # noqa: N802
        """Return a semaphore that never has more than `value` permits."""
        return self._semaphore("mp.BoundedSemaphore", value, bounded=True)  # type: ignore[no-any-return]

    def _semaphore(self, flavour: str, value: int, **more: bool) -> Any:
        from mpclient.factories import whole  # noqa: PLC0415 - with the cluster

        return self._make("semaphore", flavour, {"value": whole(value, "value"), **more})

    def Event(self) -> Event:  # noqa: N802
        """Return a flag to wait for."""
        return self._make("event", "mp.Event", {})  # type: ignore[no-any-return]

    def Barrier(  # noqa: N802
        self, parties: int, action: Callable[[], Any] | None = None, timeout: float | None = None
    ) -> Barrier:
        """Return a meeting point; see `Cluster.Barrier`."""
        from mpclient.factories import barrier_settings  # noqa: PLC0415 - with the cluster

        settings = barrier_settings(parties, action, timeout)
        return self._make("barrier", "mp.Barrier", settings, action=action)  # type: ignore[no-any-return]

    # -- numbers ---------------------------------------------------------------------------------

    def Value(self, typecode_or_type: Any, *args: Any, lock: bool | Mutex | None = True) -> Value:  # noqa: N802
        """Return a shared number with a lock beside it; see `Cluster.Value`."""
        self._settle()
        return self._find_cluster().Value(typecode_or_type, *args, lock=lock)

    def Array(  # noqa: N802
        self,
        typecode_or_type: Any,
        size_or_initializer: int | Sequence[Any],
        *,
        lock: bool | Mutex | None = True,
    ) -> Array:
        """Return a shared array with a lock beside it; see `Cluster.Array`."""
        self._settle()
        return self._find_cluster().Array(typecode_or_type, size_or_initializer, lock=lock)

    # -- making ----------------------------------------------------------------------------------

    def _make(self, kind: str, flavour: str, settings: dict[str, Any], **more: Any) -> Any:
        self._settle()
        return self._find_cluster().make(kind, flavour, settings, **more)

    def _settle(self) -> None:
        """Settle the start method: something was made by it."""
        self.get_start_method()


class DefaultContext(BaseContext):
    """The context whose start method can be set: the module `mpclient` itself."""


class _OneMethod(BaseContext):
    """A context of one start method."""

    _name = ""

    @cached_property
    def Process(self) -> type[Process]:  # noqa: N802
        """The class of processes; they find this context's start method to be theirs."""
        from mpclient.process import bound_to, kind_for  # noqa: PLC0415 - not every program has one

        kind = kind_for(self._name)
        return kind if self._cluster is None else bound_to(self._cluster, kind)

    def get_context(self, method: str | None = None) -> BaseContext:
        """Return this context, or that of another start method."""
        return self if method is None else super().get_context(method)

    def get_start_method(self, allow_none: bool = False) -> str:
        """Return its start method; `allow_none` makes no difference."""
        _ = allow_none
        return self._name

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Refuse, whatever is asked for."""
        _ = method, force
        raise ValueError("cannot set start method of concrete context")


class SpawnContext(_OneMethod):
    """The names of `multiprocessing` with the start method "spawn"."""

    _name = "spawn"


class ForkServerContext(_OneMethod):
    """The names of `multiprocessing` with the start method "forkserver"."""

    _name = "forkserver"


default_context: Final[DefaultContext] = DefaultContext()

_KINDS: Final[dict[str, type[BaseContext]]] = {"spawn": SpawnContext, "forkserver": ForkServerContext}
_of_the_default: Final = {method: _KINDS[method]() for method in METHODS}


def context_for(method: str, of: Offers) -> BaseContext:
    """Return the context of a start method for the cluster of `of`."""
    cluster = of._cluster if isinstance(of, BaseContext) else of._find_cluster()  # noqa: SLF001 - one of ours
    return _of_the_default[method] if cluster is None else _KINDS[method](cluster)


def __getattr__(name: str) -> Any:
    if name in {"ForkContext", "ForkProcess"}:
        check_method("fork")
    if name in {"Process", "SpawnProcess", "ForkServerProcess"}:
        import mpclient.process  # noqa: PLC0415 - not every program has one

        return getattr(mpclient.process, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
