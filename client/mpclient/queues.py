"""`multiprocessing.queues`: queues as `multiprocessing` has them, buffered and with its arguments.

RULES
* Behind them are the same objects as behind a `Cluster`'s or a `Manager`'s queues; only what arguments mean
  (a timeout below 0 does not wait) and what `close` does (nothing is taken any more, either) is different.
* They are made by functions, `mpclient.Queue()` or a context's, or by their classes: `mpclient.objects.made`.
"""

from __future__ import annotations

from queue import Empty, Full
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpclient.objects import t_queue
from mpclient.objects.made import Made
from mpclient.objects.waiting import event_timeout, join_timeout, unused_timeout

if TYPE_CHECKING:
    from mpclient.objects.base import Proxy

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue"]


class Queue(Made, t_queue.Queue):
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


class SimpleQueue(Made, t_queue.SimpleQueue):
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


CLASSES: Final[dict[str, type[Proxy]]] = {kind.flavour: kind for kind in (Queue, JoinableQueue, SimpleQueue)}
