"""A cluster as tasks of asyncio see it."""

from __future__ import annotations

import asyncio
from builtins import dict as _dict
from builtins import set as _set
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar, cast

from mpclient.aio import containers, locks, numbers, pipes, queues
from mpclient.aio.base import Method, awaited
from mpclient.aio.kinds import find_class
from mpclient.aio.session import Session
from mpclient.aio.threads import in_thread
from mpclient.cluster import Cluster as BlockingCluster
from mpclient.cluster import ClusterBase, read_key, read_place, read_tls
from mpclient.default import find_existing
from mpclient.factories import Factories, Opening, lock_name
from mpclient.objects.t_array import array_settings
from mpclient.objects.t_value import first_value, typecode_of
from mpclient.session import Session as BlockingSession
from mpclient.transport.term import Describes
from mpshared.errors import NotSupported

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from mpclient.executor import Executor
    from mpclient.local import LocalCluster
    from mpshared.address import Address
    from mpshared.keys import Key
    from mpshared.tls import ClientTls

__all__ = ["Cluster", "Connecting", "connect"]

P = ParamSpec("P")
T = TypeVar("T")


def _opened(method: Callable[Concatenate[Any, P], Any], kind: type[T]) -> Method[P, Coroutine[Any, Any, T]]:
    """Take a factory over: what it opens is awaited, and of the class `kind`."""
    _ = kind
    return cast("Any", method)  # type: ignore[no-any-return]


class Cluster(Opening, ClusterBase):
    """One server, its workers, and the shared objects on it, for tasks of one event loop.

    Make it with `connect`. Closing it (also by ``async with``) says goodbye: what this program held is free.
    """

    def __init__(self, session: Session, *, owns: LocalCluster | None = None, borrowed: bool = False) -> None:
        self.session = session
        """This program's session with the server."""
        self._owns = owns
        self._borrowed = borrowed
        self._work: _Work | None = None
        self._work_beginning = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Cluster at {self.address}, asyncio>"

    async def close(self) -> None:
        """Say goodbye; what this program held is free. An embedded server and its workers end.

        One that came in a value is only borrowed: it stays open for whoever opened it.
        """
        if self._borrowed:
            return
        work, self._work = self._work, None
        if work is not None:
            await in_thread(work.end)
        await self.session.close()
        owns, self._owns = self._owns, None
        if owns is not None:
            await in_thread(owns.stop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- the cluster -----------------------------------------------------------------------------

    delete = awaited(BlockingCluster.delete)
    objects = awaited(BlockingCluster.objects)
    status = awaited(BlockingCluster.status)

    # -- work ------------------------------------------------------------------------------------

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function on one of the workers and return what it returns, or raise what it raises.

        Cancelled, a job that no worker has begun is not run at all.
        """
        executor = await self.executor()
        return await asyncio.wrap_future(executor.submit(function, *args, **kwargs))

    async def executor(self) -> Executor:
        """Return the workers as a `concurrent.futures.Executor`, for `loop.run_in_executor` and the like.

        It has a connection of its own, and threads; both end with this cluster.
        """
        async with self._work_beginning:
            if self._work is None:
                self._work = await in_thread(partial(_begin_work, self.session), _Work.end)
            return self._work.executor

    # -- objects ---------------------------------------------------------------------------------

    def _find_class(self, kind: str, flavour: str) -> Any:
        return find_class(kind, flavour)

    def _is_mutex(self, lock: object) -> bool:
        return isinstance(lock, locks.Mutex)

    Queue = _opened(Factories.Queue, queues.Queue)
    JoinableQueue = _opened(Factories.JoinableQueue, queues.JoinableQueue)
    SimpleQueue = _opened(Factories.SimpleQueue, queues.SimpleQueue)
    LifoQueue = _opened(Factories.LifoQueue, queues.LifoQueue)
    PriorityQueue = _opened(Factories.PriorityQueue, queues.PriorityQueue)
    Lock = _opened(Factories.Lock, locks.Lock)
    RLock = _opened(Factories.RLock, locks.RLock)
    Semaphore = _opened(Factories.Semaphore, locks.Semaphore)
    BoundedSemaphore = _opened(Factories.BoundedSemaphore, locks.BoundedSemaphore)
    Event = _opened(Factories.Event, locks.Event)
    Barrier = _opened(Factories.Barrier, locks.Barrier)
    Condition = _opened(Factories.Condition, locks.Condition)

    async def dict(
        self, *args: Any, name: str | None = None, fresh: bool = False, ttl: float | None = None, **items: Any
    ) -> containers.Dict:
        """Return a shared dict; see `mpclient.factories.Factories.dict`."""
        first = _dict(*args, **items)
        found: containers.Dict = await self._open("dict", "", {}, (), name, fresh, ttl)
        if name is None or fresh:
            await found.update(first)
        else:
            for key, value in first.items():
                await found.setdefault(key, value)
        return found

    async def list(
        self,
        sequence: Iterable[Any] = (),
        /,
        *,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> containers.List:
        """Return a shared list. One that exists already, by `name`, stays as it is."""
        parts = self._parts(sequence, is_new=name is None or fresh)
        found: containers.List = await self._open("list", "", {}, next(parts), name, fresh, ttl)
        for part in parts:
            await found.extend_blobs(part)
        return found

    async def set(
        self,
        iterable: Iterable[Any] = (),
        /,
        *,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> containers.Set:
        """Return a shared set. To one that exists already, by `name`, the members are added."""
        first = _set(iterable)
        found: containers.Set = await self._open("set", "", {}, (), name, fresh, ttl)
        await found.update(first)
        return found

    async def Namespace(  # noqa: N802 - the standard library's name, here and below
        self, /, *, name: str | None = None, fresh: bool = False, ttl: float | None = None, **attributes: Any
    ) -> containers.Namespace:
        """Return named values."""
        found: containers.Namespace = await self._open("namespace", "", {}, (), name, fresh, ttl)
        for attribute, value in attributes.items():
            await found.set(attribute, value)
        return found

    async def Value(  # noqa: N802
        self,
        typecode_or_type: Any,
        *args: Any,
        lock: bool | locks.Mutex | None = True,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> numbers.Value:
        """Return a shared number; see `mpclient.factories.Factories.Value`."""
        typecode = typecode_of(typecode_or_type)
        blobs = self._blobs([first_value(typecode, args)])
        return await self._numbers(  # type: ignore[no-any-return]
            "value", typecode, {"typecode": typecode}, blobs, lock, name, fresh, ttl
        )

    async def Array(  # noqa: N802
        self,
        typecode_or_type: Any,
        size_or_initializer: int | Sequence[Any],
        *,
        lock: bool | locks.Mutex | None = True,
        name: str | None = None,
        fresh: bool = False,
        ttl: float | None = None,
    ) -> numbers.Array:
        """Return a shared array; see `mpclient.factories.Factories.Array`."""
        typecode = typecode_of(typecode_or_type)
        given = array_settings(typecode, size_or_initializer)
        return await self._numbers(  # type: ignore[no-any-return]
            "array", typecode, given, (), lock, name, fresh, ttl
        )

    async def _numbers(
        self,
        kind: str,
        typecode: str,
        given: Mapping[str, Any],
        blobs: Sequence[Any],
        lock: bool | locks.Mutex | None,
        name: str | None,
        fresh: bool,
        ttl: float | None,
    ) -> Any:
        if lock is True or lock is None:
            mutex = await self._open("rlock", "", {}, (), lock_name(kind, name), False, None)
        else:
            mutex = None if lock is False else self._mutex(lock)
        flavour = ("Raw" if mutex is None else "") + kind.capitalize()
        return await self._open(kind, flavour, given, blobs, name, fresh, ttl, typecode=typecode, lock=mutex)

    async def Pipe(self, duplex: bool = True) -> tuple[pipes.Connection, pipes.Connection]:  # noqa: N802
        """Return the two ends of a new pipe; without `duplex` one only receives and the other only sends."""
        modes = ("rw", "rw") if duplex else ("r", "w")
        first: pipes.Connection = await self.make("pipe", "", {}, mode=modes[0])
        peer = {"peer": first._handle.ident}
        return first, await self.make("pipe", "", peer, mode=modes[1])

    def _queue(self, *args: Any) -> Any:
        if args[-1]:
            raise NotSupported("mpclient.aio has no buffered queues: put() returns when the server has it")
        return super()._queue(*args)


# -- connecting -----------------------------------------------------------------------------------


def connect(
    address: str | tuple[str, int] | Address | None = None,
    authkey: bytes | str | None = None,
    *,
    name: str = "",
    authkey_file: str | os.PathLike[str] | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
    tls_cert: str | os.PathLike[str] | None = None,
    tls_key: str | os.PathLike[str] | None = None,
    connect_timeout: float | None = None,
    reconnect_timeout: float | None = None,
) -> Connecting:
    """Return what connects to a server when it is awaited, or entered with ``async with``.

    Arguments and errors as those of `mpclient.connect`. Without an address, and without ``MPSERVE_ADDRESS``,
    that is the default cluster's server, or one of this program's own.
    """
    given = address, authkey, authkey_file, (tls_cert, tls_key, tls_ca), connect_timeout, reconnect_timeout
    return Connecting(partial(_read_arguments, *given), name)


def _read_arguments(
    address: str | tuple[str, int] | Address | None,
    authkey: bytes | str | None,
    authkey_file: str | os.PathLike[str] | None,
    tls_files: tuple[str | os.PathLike[str] | None, ...],
    connect_timeout: float | None,
    reconnect_timeout: float | None,
) -> _Place:
    """Find out where to connect to. Reads files, and may start a server: in a thread."""
    place, limits = read_place(address, connect_timeout, reconnect_timeout)
    if place is not None:
        return _Place(place, read_key(authkey, authkey_file), limits, read_tls(place, *tls_files))
    existing = find_existing()
    if existing is not None:
        return _Place(existing.session.address, existing.session.found_key, limits, existing.session.tls)
    from mpclient.local import LocalCluster  # noqa: PLC0415 - only where there is no server

    local = LocalCluster()
    local.start()
    return _Place(local.address, local.key, limits, owns=local)


class _Place(NamedTuple):
    """Where to connect to."""

    address: Address
    key: bytes | Key
    limits: _dict[str, float]
    tls: ClientTls | None = None
    owns: LocalCluster | None = None

    def drop(self) -> None:
        """Stop what was started: nobody wants it any more."""
        if self.owns is not None:
            self.owns.stop()


class Connecting:
    """A cluster that is about to be connected to. Awaited, or entered with ``async with``, once."""

    def __init__(self, read: Callable[[], _Place], name: str) -> None:
        self._read = read
        self._name = name
        self._cluster: Cluster | None = None

    def __await__(self) -> Generator[Any, None, Cluster]:
        return self._connect().__await__()

    async def __aenter__(self) -> Cluster:
        self._cluster = await self._connect()
        return self._cluster

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._cluster is not None:
            await self._cluster.close()

    async def _connect(self) -> Cluster:
        place = await in_thread(self._read, _Place.drop)
        describes = Describes(name=self._name)
        session = Session(place.address, place.key, describes, tls=place.tls, **place.limits)
        try:
            await session.start()
        except BaseException:
            await session.close()
            await in_thread(place.drop)
            raise
        return Cluster(session, owns=place.owns)


# -- work -----------------------------------------------------------------------------------------


def _begin_work(session: Session) -> _Work:
    """Make an executor, with a session of its own: it has threads that wait."""
    beside = BlockingSession(
        *(session.address, session.found_key, session.describes),
        tls=session.tls,
        connect_timeout_s=session.connect_timeout_s,
        reconnect_timeout_s=session.reconnect_timeout_s,
    )
    beside.start()
    cluster = BlockingCluster(beside)
    return _Work(cluster, cluster.executor())


class _Work(NamedTuple):
    cluster: BlockingCluster
    executor: Executor

    def end(self) -> None:
        """Cancel what has not begun, and say goodbye."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.cluster.close()
