"""A manager of the standard library that knows the named objects of `mpserve`, as recipes register them."""

from multiprocessing import managers

from tests.stdlib.steps import Manager

__all__ = ["KINDS", "Named"]

KINDS = (
    *("queue", "joinable_queue", "tasks", "results", "dict", "list", "set", "namespace"),
    *("event", "lock", "rlock", "condition", "semaphore"),
)

_PROXIES = {"namespace": getattr(managers, "NamespaceProxy", None)}  # else: what AutoProxy makes of it


class Named(Manager):
    """Objects by name, for programs that meet."""


for _kind in KINDS:
    Named.register("get_" + _kind, proxytype=_PROXIES.get(_kind))
