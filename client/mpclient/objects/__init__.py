"""The shared objects as programs see them: one file per kind, the same names as the server's core.

`make` turns what travels in a value (kind, flavour, ident) into a live object. A *flavour* is what one kind
can look like: the kind "queue" is Queue, JoinableQueue, SimpleQueue, LifoQueue or PriorityQueue. It travels
behind the kind: ``queue/JoinableQueue``; without one the first class of the kind is meant. A flavour ``mp.…``
is what the standard library's names make: its class is in the module of that name (`mpclient.queues`, …).

Beside the kinds: `base` is what all share, `readers` what callers want of an answer, `waiting` what they
write as a timeout, `synchronized` what Value and Array share, `buffer` the puts that wait a moment,
`bell` the descriptor of what can be waited for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from mpshared.errors import NotSupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpclient.objects.base import Held, Proxy
    from mpclient.transport.references import Handle

__all__ = ["find_class", "make"]

_MODULES: Final = {
    "array": "t_array",
    "barrier": "t_barrier",
    "condition": "t_condition",
    "dict": "t_dict",
    "event": "t_event",
    "list": "t_list",
    "lock": "t_lock",
    "namespace": "t_namespace",
    "pipe": "t_pipe",
    "process": "t_process",
    "queue": "t_queue",
    "rlock": "t_rlock",
    "semaphore": "t_semaphore",
    "set": "t_set",
    "value": "t_value",
}

_NAMED_MODULES: Final = {
    "Queue": "mpclient.queues",
    "JoinableQueue": "mpclient.queues",
    "SimpleQueue": "mpclient.queues",
    **dict.fromkeys(("Reader", "Writer"), "mpclient.queues"),
    **dict.fromkeys(("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"), "mpclient.synchronize"),
    **dict.fromkeys(("Event", "Barrier"), "mpclient.synchronize"),
    **dict.fromkeys(("Value", "Array", "QueueProxy", "JoinableQueueProxy"), "mpclient.managed"),
}
"""Where flavours ``mp.…`` are, by what follows."""


def find_class(kind: str, flavour: str = "") -> type[Proxy]:
    """Return the class of a kind and flavour.

    Raises:
        NotSupported: There is none: the value comes from a newer version.
    """
    if flavour.startswith("mp."):
        module = _NAMED_MODULES.get(flavour.removeprefix("mp."))
    else:
        module = f"mpclient.objects.{_MODULES[kind]}" if kind in _MODULES else None
    classes: dict[str, type[Proxy]] = import_module(module).CLASSES if module else {}
    try:
        return classes[flavour] if flavour else next(iter(classes.values()))
    except (KeyError, StopIteration):
        text = (
            f"this version knows no shared {kind} {flavour}; it comes from a newer one: upgrade mpserve here"
        )
        raise NotSupported(text) from None


def make(kind: str, handle: Handle, find: Callable[[str, str], type[Held]] = find_class) -> Any:
    """Return the live object for what stood in a value.

    Args:
        kind: ``kind`` or ``kind/flavour`` or ``kind/flavour/details``.
        handle: This process's hold on it.
        find: Returns its class.
    """
    base, _, rest = kind.partition("/")
    flavour, _, details = rest.partition("/")
    return find(base, flavour).from_handle(handle, details)
