"""`multiprocessing.synchronize`: locks, semaphores and their kin, with the arguments of `multiprocessing`.

RULES
* `multiprocessing` and `threading` read the same arguments differently: ``acquire(False, 1)`` is an error in
  one of them, and ``acquire(True, -1)`` waits for ever there. Here they mean what they mean in
  `multiprocessing`; what a `Cluster` or a `Manager` makes follows `threading`. Behind both are the same
  objects.
* They are made by functions, `mpclient.Lock()` or a context's, or by their classes: `mpclient.made`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from mpclient.made import Made
from mpclient.objects import t_barrier, t_condition, t_event, t_lock, t_rlock, t_semaphore

if TYPE_CHECKING:
    from mpclient.objects.base import Proxy

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]


class _Acquired(Made, t_lock.Mutex):
    """A lock whose `acquire` has the arguments of `multiprocessing`."""

    __slots__ = ()

    offered: ClassVar[bool] = True

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:  # type: ignore[override]
        """Take the lock; return whether it was taken.

        Args:
            block: Whether to wait.
            timeout: Seconds; None waits for ever, below 0 counts as 0. Without `block` it does not matter.
        """
        return super().acquire(timeout=timeout, block=bool(block))


class Lock(_Acquired, t_lock.Lock):
    """A lock that many hosts share and anybody may release."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.Lock"


class RLock(_Acquired, t_rlock.RLock):
    """A lock that its holder, one thread of one process, may take again."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.RLock"


class Condition(_Acquired, t_condition.Condition):
    """A lock whose holders can wait for each other."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.Condition"


class Semaphore(Made, t_semaphore.Semaphore):
    """So many permits."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.Semaphore"
    offered: ClassVar[bool] = True

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:  # type: ignore[override]
        """Take a permit; return whether there was one. Arguments as `Lock.acquire`."""
        return super().acquire(timeout=timeout, block=bool(block))


class BoundedSemaphore(Semaphore):
    """A semaphore that never has more permits than it began with."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.BoundedSemaphore"


class Event(Made, t_event.Event):
    """A flag that any host sets and any host waits for."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.Event"
    offered: ClassVar[bool] = True


class Barrier(Made, t_barrier.Barrier):
    """A meeting point of so many threads or processes, on any hosts."""

    __slots__ = ()

    flavour: ClassVar[str] = "mp.Barrier"
    offered: ClassVar[bool] = True


CLASSES: Final[dict[str, type[Proxy]]] = {
    kind.flavour: kind for kind in (Lock, RLock, Condition, Semaphore, BoundedSemaphore, Event, Barrier)
}
