"""`multiprocessing.managers`: what `mpclient.Manager()` returns, a manager on a cluster.

RULES
* A manager has no process of its own: what it makes lives on the cluster's server, until nobody refers to it.
  So `shutdown` ends nobody's use of what exists; the manager makes nothing more.
* The arguments of `dict`, `Namespace` and the others are the standard library's alone: there is no `name=`
  here, which would be a key, or an attribute.
* Locks, semaphores and queues follow `threading` and `queue`, as a manager's do in the standard library.
* A manager that serves a program's own classes is the standard library's: its server is a process of this
  machine. That is `BaseManager`, and what is derived from `SyncManager`. These two and the classes of proxies
  are `mpclient.proxies`'; all else that is not here is the standard library's own.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from mpclient import managed
from mpclient.objects.synchronized import typecode_of
from mpclient.objects.t_array import array_settings
from mpclient.objects.t_lock import Lock, Mutex
from mpclient.shared_memory import refuse
from mpshared.errors import NotSupported
from mpshared.text import shorten

if TYPE_CHECKING:
    from multiprocessing.managers import BaseManager, BaseProxy, SyncManager, Token
    from types import TracebackType

    from mpclient.cluster import Cluster
    from mpclient.managed import Array as ArrayProxy
    from mpclient.managed import JoinableQueue as JoinableQueueProxy
    from mpclient.managed import Queue as QueueProxy
    from mpclient.managed import Value as ValueProxy
    from mpclient.objects.t_barrier import Barrier as BarrierProxy
    from mpclient.objects.t_condition import Condition as ConditionProxy
    from mpclient.objects.t_dict import Dict as DictProxy
    from mpclient.objects.t_event import Event as EventProxy
    from mpclient.objects.t_list import List as ListProxy
    from mpclient.objects.t_namespace import Namespace as NamespaceProxy
    from mpclient.objects.t_rlock import RLock
    from mpclient.objects.t_semaphore import BoundedSemaphore, Semaphore
    from mpclient.objects.t_set import Set as SetProxy
    from mpclient.offers import Offers
    from mpclient.pool import Pool

__all__ = [
    "ArrayProxy",
    "BarrierProxy",
    "BaseManager",
    "BaseProxy",
    "ConditionProxy",
    "DictProxy",
    "EventProxy",
    "JoinableQueueProxy",
    "ListProxy",
    "NamespaceProxy",
    "QueueProxy",
    "SetProxy",
    "SharedMemoryManager",
    "SyncManager",
    "Token",
    "ValueProxy",
]

_INITIAL, _STARTED, _SHUTDOWN = range(3)
_CALLED_CHARS: Final = 100


class Manager:
    """Makes shared objects on a cluster's server, with the methods of the standard library's manager.

    Args:
        address: The server to `connect` to.
        authkey: Its key; None: found as `mpclient.connect` does.
        serializer: Only "pickle".
        ctx: A cluster or a context: whose objects it makes, once started. None: the default cluster's.
        shutdown_timeout: No server process of the manager's own is waited for, so this cannot be exceeded.
    """

    def __init__(
        self,
        address: Any = None,
        authkey: bytes | None = None,
        serializer: str = "pickle",
        ctx: Offers | None = None,
        *,
        shutdown_timeout: float = 1.0,
    ) -> None:
        if serializer != "pickle":
            raise NotSupported(f"serializer={serializer!r:.40}: what is shared is pickled; leave it out")
        _ = shutdown_timeout
        self._address = address
        self._authkey = authkey
        self._ctx = ctx
        self._state = _INITIAL
        self._cluster: Cluster | None = None
        self._owns = False
        self._over = threading.Event()

    # -- its life --------------------------------------------------------------------------------

    def start(self, initializer: Callable[..., object] | None = None, initargs: Iterable[Any] = ()) -> None:
        """Begin to make objects on the cluster.

        Raises:
            NotSupported: An initializer, or an address to listen at.
            ProcessError: It is started, or over.
        """
        from mpclient.default import default_cluster  # noqa: PLC0415 - the import would be circular

        self._check_initial()
        if initializer is not None:
            raise NotSupported(
                f"initializer={initializer!r:.60}, initargs={initargs!r:.40}: a manager has no process of "
                f"its own in which it could run, and the server runs no program's code; call it where its "
                f"effect is needed"
            )
        if self._address is not None:
            raise NotSupported(
                f"a manager with address={self._address!r:.60} connects to a server there, and starts none; "
                f"run 'mpserve start' there and use connect(), or leave the address out"
            )
        ctx = self._ctx
        self._cluster = default_cluster() if ctx is None else ctx._find_cluster()  # noqa: SLF001 - one of ours
        self._state = _STARTED

    def connect(self) -> None:
        """Connect to the server at the manager's address (None: as `mpclient.connect`)."""
        from mpclient.cluster import make_cluster  # noqa: PLC0415 - the import would be circular

        self._check_initial()
        self._cluster = make_cluster(self._address, self._authkey)
        self._owns = True
        self._state = _STARTED

    def shutdown(self) -> None:
        """Make nothing more. What was made lives on while somebody refers to it."""
        cluster, self._cluster = self._cluster, None
        self._state = _SHUTDOWN
        self._over.set()
        if cluster is not None and self._owns:
            cluster.close()

    def join(self, timeout: float | None = None) -> None:
        """Wait until `shutdown` was called, `timeout` seconds at most."""
        self._over.wait(timeout)

    def get_server(self) -> NoReturn:
        """Refuse: the server is a program of its own."""
        raise NotSupported("get_server(): run 'mpserve start', and connect() a manager to it")

    @property
    def address(self) -> Any:
        """Where the server is: (host, port), or the path of a Unix socket."""
        if self._cluster is None:
            return self._address
        address = self._cluster.session.address
        return address.path or (address.host, address.port)

    def __enter__(self) -> Self:
        if self._state == _INITIAL:
            self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def _check_initial(self) -> None:
        if self._state == _INITIAL:
            return
        from multiprocessing import ProcessError  # noqa: PLC0415 - heavy

        raise ProcessError("Already started server" if self._state == _STARTED else "Manager has shut down")

    @property
    def _made_on(self) -> Cluster:
        assert self._cluster is not None, "server not yet started"
        return self._cluster

    # -- what it makes ---------------------------------------------------------------------------

    def dict(self, /, *args: Any, **items: Any) -> DictProxy:
        """Return a shared dict, with the arguments of the builtin one."""
        return self._made_on.dict(dict(*args, **items))

    def list(self, sequence: Iterable[Any] = (), /) -> ListProxy:
        """Return a shared list."""
        return self._made_on.list(sequence)

    def set(self, iterable: Iterable[Any] = (), /) -> SetProxy:
        """Return a shared set."""
        return self._made_on.set(iterable)

    def Namespace(self, /, **attributes: Any) -> NamespaceProxy:  # noqa: N802 - the standard library's names
        """Return an object with shared attributes."""
        namespace = self._made_on.Namespace()
        for attribute, value in attributes.items():
            setattr(namespace, attribute, value)
        return namespace

    def Queue(self, maxsize: int = 0) -> QueueProxy:  # noqa: N802
        """Return a queue, as `queue.Queue`: `put` returns when the server has the item."""
        made = self._made_on.make("queue", "mp.QueueProxy", {"maxsize": max(0, maxsize)})
        assert isinstance(made, managed.Queue)
        return made

    def JoinableQueue(self, maxsize: int = 0) -> JoinableQueueProxy:  # noqa: N802
        """Return a queue whose items are leased until `task_done`."""
        made = self._made_on.make("queue", "mp.JoinableQueueProxy", {"maxsize": max(0, maxsize)})
        assert isinstance(made, managed.JoinableQueue)
        return made

    def Event(self) -> EventProxy:  # noqa: N802
        """Return a flag to wait for."""
        return self._made_on.Event()

    def Lock(self) -> Lock:  # noqa: N802
        """Return a lock, as `threading.Lock`."""
        return self._made_on.Lock()

    def RLock(self) -> RLock:  # noqa: N802
        """Return a lock that its holder may take again, as `threading.RLock`."""
        return self._made_on.RLock()

    def Semaphore(self, value: int = 1) -> Semaphore:  # noqa: N802
        """Return a semaphore, as `threading.Semaphore`."""
        return self._made_on.Semaphore(value)

    def BoundedSemaphore(self, value: int = 1) -> BoundedSemaphore:  # noqa: N802
        """Return a semaphore that never has more than `value` permits."""
        return self._made_on.BoundedSemaphore(value)

    def Condition(self, lock: Mutex | None = None) -> ConditionProxy:  # noqa: N802
        """Return a condition on `lock` (None: an RLock of its own), as `threading.Condition`."""
        return self._made_on.Condition(lock)

    def Barrier(  # noqa: N802
        self, parties: int, action: Callable[[], Any] | None = None, timeout: float | None = None
    ) -> BarrierProxy:
        """Return a meeting point, as `threading.Barrier`; the action runs in one of the programs."""
        return self._made_on.Barrier(parties, action, timeout)

    def Pool(  # noqa: N802
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> Pool:
        """Return the cluster's workers as a Pool, which may be sent to others; see `managed_pool`."""
        from mpclient.managed_pool import ManagedPool  # noqa: PLC0415 - heavy, and few programs have one

        return ManagedPool(
            self._made_on,
            processes=processes,
            initializer=initializer,
            initargs=tuple(initargs),
            maxtasksperchild=maxtasksperchild,
        )

    def Value(self, typecode: Any, value: Any, lock: bool = True) -> ValueProxy:  # noqa: N802
        """Return one shared value of any type; as in the standard library the type code is only shown.

        Args:
            typecode: What the program wants to call its type.
            value: The first value.
            lock: There is none; each of `get` and `set` is one step.
        """
        _ = lock
        called = shorten(repr(typecode), _CALLED_CHARS)
        made = self._made_on.make("value", "mp.Value", {}, values=(value,), called=called)
        assert isinstance(made, managed.Value)
        return made

    def Array(self, typecode: str, sequence: Iterable[Any], lock: bool = True) -> ArrayProxy:  # noqa: N802
        """Return a shared array.

        Args:
            typecode: As `array.array` has it.
            sequence: Its items; their number stays.
            lock: There is none, as in the standard library; each item or slice is read or set in one step.
        """
        _ = lock
        items = array(typecode, sequence).tolist()
        settings = array_settings(typecode_of(typecode), items)
        made = self._made_on.make("array", "mp.Array", settings, typecode=typecode)
        assert isinstance(made, managed.Array)
        return made

    def SharedMemory(self, size: int) -> NoReturn:  # noqa: N802
        """Refuse; see `mpclient.shared_memory`."""
        refuse(f"SharedMemory({size!r:.20})", "mpclient.Array")


class SharedMemoryManager:
    """Refused; see `mpclient.shared_memory`."""

    def __init__(self, *args: Any, **more: Any) -> None:
        _ = args, more
        refuse("SharedMemoryManager", "Manager()")


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # each `from … import` asks for `__path__`: it need not load what is heavy
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    standard = _standard()
    if name not in __all__ and not hasattr(standard, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mpclient.proxies import proxy_class  # noqa: PLC0415 - heavy, and few programs ask for one

    # kept: a class of proxies is pickled by its name
    found = globals()[name] = proxy_class(name) or getattr(standard, name)
    return found


def _standard() -> Any:
    import multiprocessing.managers  # noqa: PLC0415 - heavy, and few programs derive from what is there

    return multiprocessing.managers
