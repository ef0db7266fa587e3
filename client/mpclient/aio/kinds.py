"""What travels in a value (kind, flavour, details) as a live object of asyncio; see `mpclient.objects`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpclient.aio import containers, locks, numbers, pipes, queues
from mpshared.errors import NotSupported

if TYPE_CHECKING:
    from mpclient.aio.base import AsyncProxy

__all__ = ["find_class"]

_CLASSES: Final[dict[str, tuple[type[AsyncProxy], ...]]] = {
    "array": (numbers.RawArray, numbers.Array),
    "barrier": (locks.Barrier,),
    "condition": (locks.Condition,),
    "dict": (containers.Dict,),
    "event": (locks.Event,),
    "list": (containers.List,),
    "lock": (locks.Lock,),
    "namespace": (containers.Namespace,),
    "pipe": (pipes.Connection,),
    "queue": (queues.Queue, queues.JoinableQueue, queues.SimpleQueue, queues.LifoQueue, queues.PriorityQueue),
    "rlock": (locks.RLock,),
    "semaphore": (locks.Semaphore, locks.BoundedSemaphore),
    "set": (containers.Set,),
    "value": (numbers.RawValue, numbers.Value),
}
"""The classes of each kind; the first is the one without a flavour."""


def find_class(kind: str, flavour: str = "") -> type[AsyncProxy]:
    """Return the class of a kind and flavour; those of the standard library's names (``mp.…``) are the same.

    Raises:
        NotSupported: There is none.
    """
    classes = _CLASSES.get(kind, ())
    wanted = flavour.removeprefix("mp.")
    for cls in classes:
        if wanted in {cls.flavour, cls.__name__}:
            return cls
    if classes and not wanted:
        return classes[0]
    raise NotSupported(f"mpclient.aio has no shared {kind} {flavour}; use a connection of mpclient for it")
