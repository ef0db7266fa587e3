"""Queues: Queue, JoinableQueue, SimpleQueue, LifoQueue, PriorityQueue, as in `queue` and `multiprocessing`.

RULES
* They are one kind. Which class a program uses says how it takes items: `JoinableQueue.get` *leases*, so that
  an item whose taker dies before `task_done()` returns; every other `get` takes for good.
* `put` returns when the server has the item, unless the queue is buffered (see `objects.buffer`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpclient.objects.base import Proxy
from mpclient.objects.buffer import Buffer
from mpclient.objects.readers import as_bool, as_int, is_zero, nothing
from mpclient.objects.waiting import join_timeout, queue_timeout
from mpclient.output.no_worker import PATIENCE_S, SERVED, say_if_no_worker
from mpclient.values.partials import dump_all
from mpclient.values.pickling import dumps, loads_all, own_buffers
from mpclient.values.rows import dump_values
from mpshared.bunch import BUNCH_LEAST
from mpshared.errors import BadValue, Full
from mpshared.ops import BY_NAME
from mpshared.terms import Terms
from mpshared.values import size_bytes

if TYPE_CHECKING:
    from mpclient.transport.references import Handle
    from mpshared.ops import Op
    from mpshared.values import Blob
    from mpshared.wire.own.frames import Reply

__all__ = ["CLASSES", "DeadItems", "JoinableQueue", "LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"]

_PUT_MANY: Final[Op] = BY_NAME["queue.put_many"]
_GET: Final[Op] = BY_NAME["queue.get"]
_GET_MANY: Final[Op] = BY_NAME["queue.get_many"]
_TASK_DONE: Final[Op] = BY_NAME["queue.task_done"]
_JOIN: Final[Op] = BY_NAME["queue.join"]
_QSIZE: Final[Op] = BY_NAME["queue.qsize"]
_PUT_LATER: Final[Op] = BY_NAME["queue.put_later"]
_FULL: Final[Op] = BY_NAME["queue.full"]
_CLEAR: Final[Op] = BY_NAME["queue.clear"]
_SHUTDOWN: Final[Op] = BY_NAME["queue.shutdown"]
_DEAD_LIST: Final[Op] = BY_NAME["queue.dead_list"]
_DEAD_REQUEUE: Final[Op] = BY_NAME["queue.dead_requeue"]
_DEAD_DROP: Final[Op] = BY_NAME["queue.dead_drop"]

_BATCH_ITEMS: Final = 1024
_BATCH_BYTES: Final = 1 << 20
"""Items travel together up to this many and about this size, whichever is less."""


class Queue(Proxy):
    """A line of items that any host puts to and any host gets from."""

    __slots__ = ("_buffer", "_closed")

    kind: ClassVar[str] = "queue"
    _PUT: ClassVar[Op] = BY_NAME["queue.put"]
    leases: ClassVar[bool] = False
    """Whether what `get` takes stays the server's to give again until `task_done`."""

    def __init__(self, handle: Handle, name: str | None = None, *, buffered: bool = False) -> None:
        super().__init__(handle, name)
        self._buffer = Buffer(handle) if buffered else None
        self._closed = False

    @classmethod
    def from_handle(cls, handle: Handle, details: str) -> Queue:
        """Make the proxy that was pickled; "buffered" is the one detail."""
        return cls(handle, buffered=details == "buffered")

    def _details(self) -> str:
        return "buffered" if self._buffer is not None else ""

    # -- putting ---------------------------------------------------------------------------------

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item, waiting for a free place if need be.

        Raises:
            Full: No place within `timeout` seconds (None: for ever), or at once without `block`.
            ShutDown: The queue takes nothing any more.
            ValueError: A negative timeout; or this program closed the queue.
        """
        timeout_s = queue_timeout(block, timeout)
        blob = dumps(obj, self._handle.session, whole=self._buffer is not None)
        if self._closed:
            self._check_open()
        if self._buffer is not None:
            return self._buffer.put(blob)
        return self._call(self._PUT, timeout_s, blobs=(blob,), read=nothing)

    def put_later(
        self,
        obj: Any,
        delay: float,
        *,
        expires: float | None = None,
        block: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Put an item that nobody gets earlier than in `delay` seconds.

        Args:
            obj: The item.
            delay: Seconds, 0 for none. It takes a place meanwhile, and `join` waits for it.
            expires: If nobody has got it within so many seconds from now it is set aside: see `dead`.
            block: As for `put`.
            timeout: As for `put`.

        Raises:
            As `put`, and ValueError or TypeError for what is no time.
        """
        timeout_s = queue_timeout(block, timeout)
        terms = Terms.asked(delay=delay, expires=expires)
        blob = dumps(obj, self._handle.session)
        self._check_open()
        if self._buffer is not None:
            self._buffer.flush()
        self._call(_PUT_LATER, timeout_s, terms.given(), blobs=(blob,), read=nothing)

    def put_nowait(self, obj: Any) -> None:
        """Put an item without waiting; see `put`."""
        return self.put(obj, block=False)

    def put_many(self, items: Iterable[Any], block: bool = True, timeout: float | None = None) -> None:
        """Put many items, in few messages.

        Args:
            items: May be endless; it is consumed as it is sent.
            block: Whether to wait for places.
            timeout: Seconds for all of them together.

        Raises:
            Full: Time is up. ``error.fields["put"]`` is how many items are in the queue all the same.
        """
        timeout_s = queue_timeout(block, timeout)
        deadline_s = time.monotonic() + timeout_s if timeout_s else None
        self._check_open()
        done = 0
        for batch in self._batches(items):
            try:
                self._put_batch(
                    batch, timeout_s if deadline_s is None else max(0.0, deadline_s - time.monotonic())
                )
            except Full as err:
                err.fields["put"] = done + err.fields.get("put", 0)
                raise
            done += len(batch)

    def _batches(self, items: Iterable[Any]) -> Iterator[Sequence[Blob]]:
        if type(items) is not list and type(items) is not tuple:  # made one at a time, perhaps
            yield from self._batches_of(items)
            return
        for start in range(0, len(items), _BATCH_ITEMS):
            part = items[start : start + _BATCH_ITEMS]
            bunch = dump_all(part) or dump_values(part) if len(part) >= BUNCH_LEAST else None
            if bunch is None:
                yield from self._batches_of(part)
            else:
                yield bunch

    def _batches_of(self, items: Iterable[Any]) -> Iterator[list[Blob]]:
        session = self._handle.session
        iterator = iter(items)
        batch: list[Blob] = []
        batch_bytes = 0
        for item in iterator:
            blob = dumps(item, session)
            if type(blob) is bytes:
                batch_bytes += len(blob)
            else:
                blob = own_buffers(blob)  # who makes the items may use a buffer again
                batch_bytes += size_bytes(blob)
            batch.append(blob)
            if len(batch) >= _BATCH_ITEMS or batch_bytes >= _BATCH_BYTES:
                yield batch
                batch, batch_bytes = [], 0
        if batch:
            yield batch

    def _put_batch(self, batch: Sequence[Blob], timeout_s: float | None) -> None:
        """Put a batch; one that is larger than the whole queue goes in halves."""
        if self._buffer is not None:
            self._buffer.flush()
        try:
            self._call(_PUT_MANY, timeout_s, blobs=batch, read=nothing)
        except BadValue:
            if len(batch) == 1:
                raise
            half = len(batch) // 2
            self._put_batch(batch[:half], timeout_s)
            try:
                self._put_batch(batch[half:], timeout_s)
            except Full as err:
                err.fields["put"] = half + err.fields.get("put", 0)
                raise

    # -- getting ---------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next item, waiting for one if need be.

        Raises:
            Empty: None within `timeout` seconds (None: for ever), or at once without `block`.
            ShutDown: None, and none will come.
            ValueError: A negative timeout.
        """
        timeout_s = queue_timeout(block, timeout)
        return self._take(_GET, timeout_s, self.leases, read=self._read_value)

    def get_nowait(self) -> Any:
        """Take the next item if there is one; see `get`."""
        return self.get(block=False)

    def get_many(self, n: int, block: bool = True, timeout: float | None = None) -> list[Any]:
        """Take up to `n` items, as many as are there, waiting for the first if need be.

        Raises:
            Empty: None within `timeout` seconds.
            ShutDown: None, and none will come.
        """
        timeout_s = queue_timeout(block, timeout)
        return self._take(_GET_MANY, n, timeout_s, self.leases, read=self._read_values)

    def _read_values(self, reply: Reply) -> list[Any]:
        try:
            return loads_all(reply.blobs, self._handle.session)
        except Exception as err:
            err.add_note(f"while opening {len(reply.blobs)} items from the {self._label}")
            raise

    # -- finishing -------------------------------------------------------------------------------

    def task_done(self, n: int = 1) -> None:
        """Say that `n` items are finished: the oldest that this thread has, else that this process has.

        Raises:
            ValueError: Called more often than items were put.
        """
        return self._finish(_TASK_DONE, n, read=nothing)

    def join(self, timeout: float | None = None) -> bool | None:
        """Wait until all items that were put are finished.

        Args:
            timeout: Seconds (the standard library has none). With one, returns whether all were finished in
                time.
        """
        left_s = join_timeout(timeout)
        finished = False
        if self._name == SERVED and (left_s is None or left_s > PATIENCE_S):
            finished = self._call(_JOIN, PATIENCE_S, read=as_bool)
            left_s = None if left_s is None else left_s - PATIENCE_S
            if not finished:
                say_if_no_worker(self._handle.session, self._handle.ident)
        finished = finished or self._call(_JOIN, left_s, read=as_bool)
        return None if timeout is None else finished

    def clear(self) -> int:
        """Forget what nobody has taken yet; return how many items that were."""
        return self._call(_CLEAR, read=as_int)

    def shutdown(self, immediate: bool = False) -> None:
        """Have every `put` raise `ShutDown`, and every `get` once it is empty; `immediate` empties it."""
        return self._call(_SHUTDOWN, immediate, read=nothing)

    # -- looking ---------------------------------------------------------------------------------

    def qsize(self) -> int:
        """Return how many items are there to be taken."""
        return self._call(_QSIZE, read=as_int)

    def empty(self) -> bool:
        """Return whether there is nothing to be taken."""
        return self._call(_QSIZE, read=is_zero)

    def full(self) -> bool:
        """Return whether a `put` would have to wait."""
        return self._call(_FULL, read=as_bool)

    @property
    def dead(self) -> DeadItems:
        """The items that were set aside because the processes that took them died."""
        return DeadItems(self)

    # -- the buffer ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what a buffered queue holds back; returns when the server has it."""
        if self._buffer is not None:
            self._buffer.flush()

    def close(self) -> None:
        """Say that this program puts nothing more; what was put is sent."""
        self._closed = True
        self.flush()

    def join_thread(self) -> None:
        """Wait until everything put is with the server. Only after `close`.

        Raises:
            ValueError: The queue is not closed here.
        """
        if not self._closed:
            raise ValueError(f"Queue {self!r} not closed")
        self.flush()

    def cancel_join_thread(self) -> None:
        """Let the program end without waiting until what was put is with the server: it may be lost then."""
        if self._buffer is not None:
            self._buffer.awaited = False

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")


class JoinableQueue(Queue):
    """A queue whose items are leased: each returns if its taker dies before `task_done()`."""

    __slots__ = ()

    flavour: ClassVar[str] = "JoinableQueue"
    leases: ClassVar[bool] = True


class SimpleQueue(Queue):
    """A queue as `multiprocessing.SimpleQueue`; the other methods are there too."""

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
    """What was set aside on one queue: each item that as many processes died over as attempts are allowed."""

    __slots__ = ("_queue",)

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def __repr__(self) -> str:
        return f"<dead items of {self._queue!r}>"

    def __len__(self) -> int:
        return len(self.list())

    def list(self) -> list[dict[str, Any]]:
        """Return a report for each item, oldest first: number, attempts, how its last process died."""
        return self._queue._call(_DEAD_LIST, read=_read_reports)  # noqa: SLF001 - a part of it

    def requeue(self, numbers: Iterable[int] = ()) -> int:
        """Give items (by number; none named: all) new attempts; return how many."""
        return self._queue._call(_DEAD_REQUEUE, list(numbers), read=as_int)  # noqa: SLF001

    def drop(self, numbers: Iterable[int] = ()) -> int:
        """Delete items (by number; none named: all); return how many."""
        return self._queue._call(_DEAD_DROP, list(numbers), read=as_int)  # noqa: SLF001


def _read_reports(reply: Reply) -> list[dict[str, Any]]:
    return list(reply.result)


CLASSES: Final[dict[str, type[Proxy]]] = {
    "Queue": Queue,
    "JoinableQueue": JoinableQueue,
    "SimpleQueue": SimpleQueue,
    "LifoQueue": LifoQueue,
    "PriorityQueue": PriorityQueue,
}
