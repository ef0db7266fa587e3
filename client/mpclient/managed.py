"""What a `Manager` makes that is not as a `Cluster` has it: values, arrays and queues."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from mpclient.made import Made
from mpclient.objects import t_queue
from mpclient.objects.t_array import RawArray
from mpclient.objects.t_value import RawValue

if TYPE_CHECKING:
    from mpclient.objects.base import Proxy
    from mpclient.transport.references import Handle

__all__ = ["CLASSES", "Array", "JoinableQueue", "Queue", "Value"]


class Value(Made, RawValue):
    """One shared value of any type, which a manager makes.

    Args:
        handle: What the server knows it by.
        name: Its name, if it has one.
        called: What its maker calls its type, for `str`.
    """

    __slots__ = ("_called",)

    flavour: ClassVar[str] = "mp.Value"

    def __init__(
        self, handle: Handle | None = None, name: str | None = None, *, called: str = "None", **more: Any
    ) -> None:
        super().__init__(handle, name, **more)
        self._called = called

    @classmethod
    def from_handle(cls, handle: Handle, details: str) -> Self:
        """Make the proxy that was pickled: with what its type is called."""
        return cls(handle, called=details)

    def _details(self) -> str:
        return self._called

    def __str__(self) -> str:
        return f"Value({self._called}, {self.get()!r})"


class Array(Made, RawArray):
    """A shared `array.array` of fixed length, which a manager makes; its slices are arrays."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.Array"

    def _joined(self, items: list[Any]) -> Any:
        return array(self._typecode, items)


class Queue(Made, t_queue.Queue):
    """A queue as `queue.Queue`, which a manager makes."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.QueueProxy"

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item; see `Queue.put` of a `Cluster`."""
        super().put(item, block, timeout)

    def put_nowait(self, item: Any) -> None:
        """Put an item without waiting."""
        super().put(item, block=False)


class JoinableQueue(Queue, t_queue.JoinableQueue):
    """A queue as `queue.Queue`, whose items are leased until `task_done`."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.JoinableQueueProxy"


CLASSES: Final[dict[str, type[Proxy]]] = {kind.flavour: kind for kind in (Value, Array, Queue, JoinableQueue)}
