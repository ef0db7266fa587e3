"""A manager of the standard library that knows the named objects of `mpserve`, as a recipe would register them."""

from tests.stdlib.steps import Manager

__all__ = ["KINDS", "Named"]

KINDS = (
    *("queue", "joinable_queue", "tasks", "results", "dict", "list", "set", "namespace"),
    *("event", "lock", "rlock", "condition", "semaphore"),
)


class Named(Manager):
    """Objects by name, for programs that meet."""


for _kind in KINDS:
    Named.register("get_" + _kind)
