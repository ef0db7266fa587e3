"""`multiprocessing.queues`: queues as `multiprocessing` has them, buffered and with its arguments.

RULES
* Behind them are the same objects as behind a `Cluster`'s or a `Manager`'s queues; only what arguments mean
  (a timeout below 0 does not wait) and what `close` does (nothing is taken any more, either) is different.
* They are made by functions, `mpclient.Queue()` or a context's, or by their classes: `mpclient.made`.
* A queue of the standard library is a pipe inside, and programs wait for its `_reader` with other things:
  here it is the queue itself as one waits for it. To close it, or the `_writer`, is for that object alone.
"""

from __future__ import annotations

from queue import Empty, Full
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpclient.made import Made
from mpclient.objects import t_queue
from mpclient.objects.base import Proxy
from mpclient.objects.bell import Watched
from mpclient.objects.waiting import event_timeout, join_timeout, unused_timeout
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.transport.references import Handle

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue"]

_WAIT: Final = BY_NAME["cluster.wait"]


class _End(Proxy):
    """One side of a queue, as programs know it that look inside the standard library's."""

    __slots__ = ("closed",)

    kind: ClassVar[str] = "queue"

    def __init__(self, handle: Handle, name: str | None = None) -> None:
        super().__init__(handle, name)
        self.closed = False

    def close(self) -> None:
        """Have this object refuse from now on; the queue goes on."""
        self.closed = True

    def _check_open(self) -> None:
        if self.closed:
            raise OSError("handle is closed")


class _Reader(_End, Watched):
    """Where items come out: to be waited for, by `mpclient.connection.wait`, `select` and their kin."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.Reader"

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Return whether there is an item, waiting up to `timeout` seconds (None: for ever) until so."""
        handle = self._watch()
        ready = handle.session.call(_WAIT, "", [[handle.ident], join_timeout(timeout)]).result
        if handle.bell is not None:
            handle.bell.quiet()
        return bool(ready)

    def recv(self) -> Any:
        """Take the next item, waiting for one; see `Queue.get`."""
        self._check_open()
        return t_queue.Queue(self._handle).get()

    def _watch(self) -> Handle:
        self._check_open()
        return super()._watch()


class _Writer(_End):
    """Where items go in."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.Writer"

    def send(self, obj: Any) -> None:
        """Put an item; returns when the server has it."""
        self._check_open()
        t_queue.Queue(self._handle).put(obj)


class _Piped(Made, t_queue.Queue):
    """A queue that has ends; they are made when somebody asks for them."""

    __slots__ = ("_reader", "_writer")

    def __getattr__(self, name: str) -> Any:
        kind = {"_reader": _Reader, "_writer": _Writer}.get(name)
        if kind is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        end = kind(self._handle)
        setattr(self, name, end)
        return end


class Queue(_Piped):
    """A line of items that any host puts to and any host gets from."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.Queue"
    offered: ClassVar[bool] = True

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item, waiting for a free place if need be.

        Raises:
            Full: No place within `timeout` seconds (None: for ever; below 0: at once), or at once without
                `block`.
            ValueError: This program closed the queue.
        """
        if timeout is not None:
            timeout = event_timeout(timeout) if block else unused_timeout(timeout)
        super().put(obj, bool(block), timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next item, waiting for one if need be.

        Raises:
            Empty: None within `timeout` seconds (None: for ever; below 0: at once), or at once without
                `block`.
            ValueError: This program closed the queue.
        """
        self._check_open()
        if timeout is not None:
            timeout = join_timeout(timeout) if block else unused_timeout(timeout)
        return super().get(bool(block), timeout)

    def join_thread(self) -> None:
        """Wait until everything put is with the server. Only after `close`."""
        assert self._closed, f"Queue {self!r} not closed"
        super().join_thread()


class JoinableQueue(Queue, t_queue.JoinableQueue):
    """A queue whose items are leased: each returns if its taker dies before `task_done()`."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.JoinableQueue"


class SimpleQueue(_Piped, t_queue.SimpleQueue):
    """An unbounded queue with few methods (`put get empty close`); the others are there, too."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.SimpleQueue"
    offered: ClassVar[bool] = True

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next item, waiting for one; arguments as `mpclient.queues.Queue` (the standard library's
        has none).

        Raises:
            OSError: This program closed the queue.
        """
        self._check_open()
        if timeout is not None:
            timeout = join_timeout(timeout) if block else unused_timeout(timeout)
        return super().get(bool(block), timeout)

    def empty(self) -> bool:
        """Return whether there is nothing to be taken.

        Raises:
            OSError: This program closed the queue.
        """
        self._check_open()
        return super().empty()

    def _check_open(self) -> None:
        if self._closed:
            raise OSError("handle is closed")


CLASSES: Final[dict[str, type[Proxy]]] = {
    kind.flavour: kind for kind in (Queue, JoinableQueue, SimpleQueue, _Reader, _Writer)
}
