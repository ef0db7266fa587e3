"""Queues, awaited. Nothing is held back: a `put` is at the server when it returns."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpclient.aio.base import AsyncProxy, awaited, shared
from mpclient.objects import t_queue
from mpclient.objects.readers import as_bool, nothing, plain
from mpclient.objects.waiting import join_timeout, queue_timeout
from mpclient.output.no_worker import DESCRIBE, PATIENCE_S, SERVED, STATUS, say_of
from mpshared.errors import BadValue, Full, ShutDown
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.transport.references import Handle
    from mpshared.ops import Op
    from mpshared.values import Blob

__all__ = ["DeadItems", "JoinableQueue", "LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"]

_PUT_MANY: Final[Op] = BY_NAME["queue.put_many"]
_JOIN: Final[Op] = BY_NAME["queue.join"]


class Queue(AsyncProxy):
    """A line of items that any host puts to and any host gets from.

    ``async for item in queue`` takes items until the queue is shut down and empty.
    """

    __slots__ = ("_closed",)

    kind: ClassVar[str] = "queue"
    _PUT: ClassVar[Op] = BY_NAME["queue.put_revocably"]
    leases: ClassVar[bool] = False
    _buffer: ClassVar[None] = None

    def __init__(self, handle: Handle, name: str | None = None) -> None:
        super().__init__(handle, name)
        self._closed = False

    _check_open = shared(t_queue.Queue._check_open)
    _read_values = shared(t_queue.Queue._read_values)
    _batches = shared(t_queue.Queue._batches)
    _batches_of = shared(t_queue.Queue._batches_of)

    put = awaited(t_queue.Queue.put)
    put_nowait = awaited(t_queue.Queue.put_nowait)
    get = awaited(t_queue.Queue.get)
    get_nowait = awaited(t_queue.Queue.get_nowait)
    get_many = awaited(t_queue.Queue.get_many)
    task_done = awaited(t_queue.Queue.task_done)
    clear = awaited(t_queue.Queue.clear)
    shutdown = awaited(t_queue.Queue.shutdown)
    qsize = awaited(t_queue.Queue.qsize)
    empty = awaited(t_queue.Queue.empty)
    full = awaited(t_queue.Queue.full)

    async def put_many(self, items: Iterable[Any], block: bool = True, timeout: float | None = None) -> None:
        """Put many items, in few messages; see `mpclient.objects.t_queue.Queue.put_many`."""
        timeout_s = queue_timeout(block, timeout)
        deadline_s = time.monotonic() + timeout_s if timeout_s else None
        self._check_open()
        done = 0
        for batch in self._batches(items):
            left_s = timeout_s if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            try:
                await self._put_batch(batch, left_s)
            except Full as err:
                err.fields["put"] = done + err.fields.get("put", 0)
                raise
            done += len(batch)

    async def _put_batch(self, batch: Sequence[Blob], timeout_s: float | None) -> None:
        """Put a batch; one that is larger than the whole queue goes in halves."""
        try:
            await self._call(_PUT_MANY, timeout_s, blobs=batch, read=nothing)
        except BadValue:
            if len(batch) == 1:
                raise
            half = len(batch) // 2
            await self._put_batch(batch[:half], timeout_s)
            try:
                await self._put_batch(batch[half:], timeout_s)
            except Full as err:
                err.fields["put"] = half + err.fields.get("put", 0)
                raise

    async def join(self, timeout: float | None = None) -> bool | None:
        """Wait until all items that were put are finished.

        Args:
            timeout: Seconds. With one, returns whether all were finished in time.
        """
        left_s = join_timeout(timeout)
        finished = False
        if self._name == SERVED and (left_s is None or left_s > PATIENCE_S):
            finished = await self._call(_JOIN, PATIENCE_S, read=as_bool)
            left_s = None if left_s is None else left_s - PATIENCE_S
            if not finished:
                await self._say_if_no_worker()
        finished = finished or await self._call(_JOIN, left_s, read=as_bool)
        return None if timeout is None else finished

    async def _say_if_no_worker(self) -> None:
        session = self._own_session
        status = await session.call(STATUS, "", [], read=plain)
        queue = await session.call(DESCRIBE, "", [self._handle.ident], read=plain)
        say_of(session, status, queue)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            try:
                item = await self.get()
            except ShutDown:
                return
            yield item

    @property
    def dead(self) -> DeadItems:
        """The items that were set aside because the processes that took them died."""
        return DeadItems(self)

    def close(self) -> None:
        """Say that this program puts nothing more by this object."""
        self._closed = True


class JoinableQueue(Queue):
    """A queue whose items are leased: each returns if its taker's program dies before `task_done()`."""

    __slots__ = ()

    flavour: ClassVar[str] = "JoinableQueue"
    leases: ClassVar[bool] = True


class SimpleQueue(Queue):
    """An unbounded queue."""

    __slots__ = ()

    flavour: ClassVar[str] = "SimpleQueue"


class LifoQueue(Queue):
    """A stack: the item put last is taken first."""

    __slots__ = ()

    flavour: ClassVar[str] = "LifoQueue"


class PriorityQueue(Queue):
    """The smallest item is taken first. The server compares plain data: numbers, strings, tuples of them."""

    __slots__ = ()

    flavour: ClassVar[str] = "PriorityQueue"


class DeadItems:
    """What was set aside on one queue; see `mpclient.objects.t_queue.DeadItems`."""

    __slots__ = ("_queue",)

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    list = awaited(t_queue.DeadItems.list)
    requeue = awaited(t_queue.DeadItems.requeue)
    drop = awaited(t_queue.DeadItems.drop)
