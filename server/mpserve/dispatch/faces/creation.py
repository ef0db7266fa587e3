"""Making objects for stock clients: one function per typeid of `SyncManager`, its parameters those of the
standard library's callable; and ``get_<kind>(name="default")``, the named objects behind recipes that
register ``get_queue``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mpserve.dispatch.faces.base import Plan, store, store_key
from mpserve.dispatch.faces.containers import elements_of, pairs_of
from mpshared.errors import NotSupported
from mpshared.symbolic import Foreign, Ref, Stub
from mpshared.values import Blob

__all__ = ["CREATORS"]


def _open(
    kind: str,
    settings: dict[str, Any] | None = None,
    values: list[Blob] | None = None,
    name: str | None = None,
) -> Plan:
    return Plan("cluster.open", [kind, name, settings or {}, False, None], values or [])


def _queue(maxsize: Any = 0) -> Plan:
    if not isinstance(maxsize, int):
        msg = f"maxsize must be an integer, not {type(maxsize).__name__}"
        raise TypeError(msg)
    return _open("queue", {"maxsize": max(0, maxsize)} if maxsize > 0 else None)


def _semaphore(value: Any = 1) -> Plan:
    return _open("semaphore", {"value": _initial(value)})


def _bounded_semaphore(value: Any = 1) -> Plan:
    return _open("semaphore", {"value": _initial(value), "bounded": True})


def _initial(value: Any) -> Any:
    if value < 0:
        msg = "semaphore initial value must be >= 0"
        raise ValueError(msg)
    return value


def _condition(lock: Any = None) -> Plan:
    if lock is None:
        return _open("condition")
    if isinstance(lock, Ref):
        return _open("condition", {"lock": lock.ident})
    msg = "Condition takes a shared Lock or RLock of this server, or nothing"
    raise TypeError(msg)


def _barrier(parties: Any, action: Any = None, timeout: Any = None) -> Plan:
    if action is not None:
        msg = (
            "Barrier(action=...) would run users' code on the server; use mpclient, whose barriers run it "
            "in a client"
        )
        raise NotSupported(msg)
    return _open("barrier", {"parties": parties, "timeout_s": None if timeout is None else float(timeout)})


def _list(sequence: Any = (), /) -> Plan:
    return _open("list", None, [store(element) for element in elements_of(sequence, "list")])


def _dict(other: Any = (), /, **kwds: Any) -> Plan:
    keys, values = pairs_of(other, kwds, "dict")
    plan = _open("dict")
    if keys:
        plan.then = lambda opened, _: Plan("dict.update", [keys], values, lambda _r, _o: opened, opened[0])
    return plan


def _set(iterable: Any = (), /) -> Plan:
    keys = [store_key(member) for member in elements_of(iterable, "set")]
    plan = _open("set")
    if keys:
        plan.then = lambda opened, _: Plan("set.update", [keys], [], lambda _r, _o: opened, opened[0])
    return plan


def _namespace(*args: Any, **kwds: Any) -> Plan:
    if args:
        msg = f"Namespace() takes keyword arguments only, got {len(args)} positional"
        raise TypeError(msg)
    return _filled_namespace(_open("namespace"), list(kwds.items()))


def _filled_namespace(plan: Plan, attributes: list[tuple[str, Any]]) -> Plan:
    """Set the attributes one after the other; the object is nobody else's yet."""
    if attributes:
        (name, value), *rest = attributes

        def fill(opened: Any, _out: Any) -> Plan:
            step = Plan("namespace.set", [name], [store(value)], lambda _r, _o: opened, opened[0])
            return step if not rest else _after(step, opened, rest)

        plan.then = fill
    return plan


def _after(step: Plan, opened: Any, rest: list[tuple[str, Any]]) -> Plan:
    (name, value), *more = rest

    def go_on(_result: Any, _out: Any) -> Plan:
        following = Plan("namespace.set", [name], [store(value)], lambda _r, _o: opened, opened[0])
        return _after(following, opened, more) if more else following

    step.then = go_on
    return step


def _value(typecode: Any, value: Any, lock: Any = True) -> Plan:
    _ = lock  # the standard library's manager takes and needs none: each call is atomic
    return _open("value", {"typecode": typecode if isinstance(typecode, str) else ""}, [store(value)])


def _array(typecode: Any, sequence: Any, lock: Any = True) -> Plan:
    _ = lock
    if isinstance(sequence, Stub) or not isinstance(typecode, str):
        msg = "Array takes a type code of the array module and plain numbers; pass list(...) of the sequence"
        raise TypeError(msg)
    return _open("array", {"typecode": typecode, "numbers": list(sequence)})


def _refuse(what: str, instead: str) -> Callable[..., Plan]:
    def refuse(*_args: Any, **_kwds: Any) -> Plan:
        msg = f"{what} would run users' code on the server; {instead}"
        raise NotSupported(msg)

    return refuse


def _named(kind: str, settings: dict[str, Any] | None = None) -> Callable[..., Plan]:
    def get(name: Any = "default") -> Plan:
        if isinstance(name, Foreign) or not isinstance(name, str):
            msg = "the name of a shared object is a string"
            raise TypeError(msg)
        return _open(kind, settings, None, name)

    return get


# typeid -> (kind, function)
CREATORS: Final[dict[str, tuple[str, Callable[..., Plan]]]] = {
    "Queue": ("queue", _queue),
    "JoinableQueue": ("queue", _queue),
    "Event": ("event", lambda: _open("event")),
    "Lock": ("lock", lambda: _open("lock")),
    "RLock": ("rlock", lambda: _open("rlock")),
    "Semaphore": ("semaphore", _semaphore),
    "BoundedSemaphore": ("semaphore", _bounded_semaphore),
    "Condition": ("condition", _condition),
    "Barrier": ("barrier", _barrier),
    "list": ("list", _list),
    "dict": ("dict", _dict),
    "set": ("set", _set),
    "Namespace": ("namespace", _namespace),
    "Value": ("value", _value),
    "Array": ("array", _array),
    "Pool": ("queue", _refuse("a Pool", "run workers with mpworker and use mpclient.Pool")),
    "get_queue": ("queue", _named("queue")),
    "get_joinable_queue": ("queue", _named("queue")),
    "get_tasks": ("queue", lambda name="tasks": _named("queue")(name)),
    "get_results": ("queue", lambda name="results": _named("queue")(name)),
    "get_dict": ("dict", _named("dict")),
    "get_list": ("list", _named("list")),
    "get_set": ("set", _named("set")),
    "get_namespace": ("namespace", _named("namespace")),
    "get_event": ("event", _named("event")),
    "get_lock": ("lock", _named("lock")),
    "get_rlock": ("rlock", _named("rlock")),
    "get_condition": ("condition", _named("condition")),
    "get_semaphore": ("semaphore", _named("semaphore")),
}
