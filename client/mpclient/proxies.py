"""The classes of `multiprocessing.managers`: to derive from, to register, and for `isinstance`.

RULES
* Each is derived from the standard library's class of its name, so a manager of the program's own makes
  proxies of it, and of classes that are derived from it. What is derived from `SyncManager` is such a one;
  `SyncManager()` itself is one of ours.
* Our managers, and what they make, are of classes of our own, and instances of these all the same.
* The proxies of a program's own manager travel with the key that opens them: workers serve many programs, and
  do not have each one's, as the processes of a Pool of the standard library do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn

from mpclient import managed
from mpclient.managers import Manager
from mpclient.objects.base import Proxy
from mpclient.objects.t_barrier import Barrier
from mpclient.objects.t_condition import Condition
from mpclient.objects.t_dict import Dict
from mpclient.objects.t_event import Event
from mpclient.objects.t_list import List
from mpclient.objects.t_lock import Mutex
from mpclient.objects.t_namespace import Namespace
from mpclient.objects.t_semaphore import Semaphore
from mpclient.objects.t_set import Set
from mpclient.pool import Pool
from mpclient.values import pickling
from mpshared.errors import NotSupported

if TYPE_CHECKING:
    from mpclient.transport.term import SessionBase

__all__ = ["proxy_class"]

_standard: Final[Any] = import_module("multiprocessing.managers")
_OURS: Final[dict[str, tuple[type, ...]]] = {
    "AcquirerProxy": (Mutex, Semaphore),
    "ArrayProxy": (managed.Array,),
    "BarrierProxy": (Barrier,),
    "BaseManager": (Manager,),
    "BaseProxy": (Proxy,),
    "ConditionProxy": (Condition,),
    "DictProxy": (Dict,),
    "EventProxy": (Event,),
    "JoinableQueueProxy": (managed.JoinableQueue,),
    "ListProxy": (List,),
    "NamespaceProxy": (Namespace,),
    "PoolProxy": (Pool,),
    "QueueProxy": (managed.Queue,),
    "SetProxy": (Set,),
    "SyncManager": (Manager,),
    "ValueProxy": (managed.Value,),
}


class _Both(type):
    """A class that stands for others, of ours and of theirs; what is derived from it does not."""

    def __call__(cls, *args: Any, **more: Any) -> Any:
        return vars(cls).get("_made", super().__call__)(*args, **more)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, vars(cls).get("_others", ())) or super().__instancecheck__(instance)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, vars(cls).get("_others", ())) or super().__subclasscheck__(kind)


def proxy_class(name: str) -> Any:
    """Return the class of this name; None: nothing of ours is an instance of it."""
    ours, theirs = _OURS.get(name), getattr(_standard, name, None)
    if ours is None or theirs is None:
        return ours and ours[0]
    others = *ours, theirs
    about = {
        "_others": others,
        "__module__": "mpclient.managers",
        "__qualname__": name,
        "__doc__": theirs.__doc__,
    }
    if name == "SyncManager":
        about |= {"_made": Manager, "register": classmethod(_register)}
    return _Both(name, (theirs,), about)


def _register(cls: type, typeid: str, *args: Any, **more: Any) -> None:
    """Register a class with a program's own manager; see `BaseManager.register`."""
    if "_made" in vars(cls):
        _refuse(typeid)
    _standard.BaseManager.register.__func__(cls, typeid, *args, **more)


def _refuse(typeid: str) -> NoReturn:
    raise NotSupported(
        f"SyncManager.register({typeid!r:.40}): what a SyncManager makes lives on the mpserve server, which "
        f"never runs a program's own classes. Derive a class from it, and register with that: its server is "
        f"a process of this machine. Or have it served: mpserve start --register package.module:Class"
    )


def _with_key(proxy: Any, session: SessionBase) -> Any:
    """Write a proxy of a program's own manager with its key; see `BaseProxy.__reduce__`."""
    key, reduced = bytes(proxy._authkey), proxy.__reduce__()  # noqa: SLF001 - theirs does so for a child
    given = reduced[1][-1] if isinstance(reduced, tuple) and reduced[1] else None
    if not isinstance(given, dict) or key == getattr(session, "key", None):
        return reduced
    return reduced[0], (*reduced[1][:-1], {**given, "authkey": key}), *reduced[2:]


pickling.write_by(_standard.BaseProxy, _with_key)
