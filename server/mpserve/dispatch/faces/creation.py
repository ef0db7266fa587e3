"""Making objects for stock clients: one function per typeid of `SyncManager`, its parameters those of the
standard library's callable; and ``get_<kind>(name="default")``, the named objects behind recipes that
register ``get_queue``.

RULES
* Everything is checked before anything is made: nobody would free what a failed creation left behind.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any, Final

from mpserve.core.t_array import TYPECODES
from mpserve.dispatch.faces.arguments import (
    Pairs,
    as_array,
    duration_s,
    elements_of,
    few,
    type_name,
    whole,
    with_elements,
    with_pairs,
)
from mpserve.dispatch.faces.base import Plan, kind_of, store, store_key
from mpshared.errors import NotSupported
from mpshared.symbolic import Ref
from mpshared.values import NUMBERS_MOST, Blob

__all__ = ["CREATORS", "Creator"]

Creator = Callable[..., Any]
"""Takes the arguments of the standard library's callable; returns the plan that makes the object."""

_STEP: Final = 1 << 15
"""Values that a new list gets at once; some 20 ms."""
_ATTRIBUTES: Final = 1000
"""Attributes that a new namespace gets at once; as long."""

CREATORS: Final[dict[str, tuple[str, Creator]]] = {}
"""typeid -> kind of object, function."""


def _makes(kind: str, *typeids: str) -> Callable[[Creator], Creator]:
    """Enter a function into the table; its messages call it by its typeid."""

    def enter(function: Creator) -> Creator:
        function.__qualname__ = typeids[0]
        CREATORS.update(dict.fromkeys(typeids, (kind, function)))
        return function

    return enter


def _open(
    kind: str,
    settings: dict[str, Any] | None = None,
    values: list[Blob] | None = None,
    name: str | None = None,
) -> Plan:
    return Plan("cluster.open", [kind, name, settings or {}, False, None], values or [])


# -- queues and synchronisation --------------------------------------------------------------------


@_makes("queue", "Queue", "JoinableQueue")
def _queue(maxsize: Any = 0) -> Plan:
    limit = whole(maxsize, "maxsize must be an integer, not {}")
    return _open("queue", {"maxsize": limit} if limit > 0 else None)


@_makes("event", "Event")
def _event() -> Plan:
    return _open("event")


@_makes("lock", "Lock")
def _lock() -> Plan:
    return _open("lock")


@_makes("rlock", "RLock")
def _rlock() -> Plan:
    return _open("rlock")


@_makes("semaphore", "Semaphore")
def _semaphore(value: Any = 1) -> Plan:
    return _open("semaphore", {"value": _initial(value)})


@_makes("semaphore", "BoundedSemaphore")
def _bounded_semaphore(value: Any = 1) -> Plan:
    return _open("semaphore", {"value": _initial(value), "bounded": True})


def _initial(value: Any) -> int:
    initial = whole(value)
    if initial < 0:
        raise ValueError("semaphore initial value must be >= 0")
    return initial


@_makes("condition", "Condition")
def _condition(lock: Any = None) -> Plan:
    if lock is None:
        return _open("condition")
    if isinstance(lock, Ref) and kind_of(lock) in {"lock", "rlock"}:
        return _open("condition", {"lock": lock.ident})
    raise TypeError(
        f"Condition takes a shared Lock or RLock of this server, or nothing, not {type_name(lock)}"
    )


@_makes("barrier", "Barrier")
def _barrier(parties: Any, action: Any = None, timeout: Any = None) -> Plan:
    if action is not None:
        raise NotSupported(
            "Barrier(action=...) would run users' code on the server; use mpclient, whose barriers run it in "
            "a client"
        )
    timeout_s = None if timeout is None else duration_s(timeout)
    return _open("barrier", {"parties": whole(parties), "timeout_s": timeout_s})


# -- containers ------------------------------------------------------------------------------------


@_makes("list", "list")
def _list(sequence: Any = (), /) -> Any:
    return with_elements(sequence, _filled_list, NUMBERS_MOST)


def _filled_list(elements: list[Any]) -> Plan:
    """Fill a long list step by step; it is nobody else's yet."""
    values = [store(element) for element in elements]
    plan = _open("list", None, values[:_STEP])

    def go_on(opened: Any, start: int) -> Any:
        if start >= len(values):
            return opened
        step = Plan("list.extend", [], values[start : start + _STEP], target=opened[0], lets_others=True)
        step.then = lambda _r, _o: go_on(opened, start + _STEP)
        return step

    if len(values) > _STEP:
        plan.then = lambda opened, _: go_on(opened, _STEP)
    return plan


@_makes("dict", "dict")
def _dict(other: Any = (), /, **kwds: Any) -> Any:
    return with_pairs(other, lambda pairs: _filled_dict([*pairs, *kwds.items()]))


def _filled_dict(pairs: Pairs) -> Plan:
    keys, values = [store_key(key) for key, _ in pairs], [store(value) for _, value in pairs]
    plan = _open("dict")
    if keys:
        plan.then = lambda opened, _: Plan("dict.update", [keys], values, lambda _r, _o: opened, opened[0])
    return plan


@_makes("set", "set")
def _set(iterable: Any = (), /) -> Any:
    return with_elements(iterable, lambda members: _filled_set([store_key(member) for member in members]))


def _filled_set(keys: list[Any]) -> Plan:
    plan = _open("set")
    if keys:
        plan.then = lambda opened, _: Plan("set.update", [keys], [], lambda _r, _o: opened, opened[0])
    return plan


@_makes("namespace", "Namespace")
def _namespace(**kwds: Any) -> Plan:
    private = sorted(name for name in kwds if name.startswith("_"))
    if private:
        raise AttributeError(f"a shared Namespace has no private attributes: rename {private[0]!r:.200}")
    return _filled_namespace([(name, store(value)) for name, value in kwds.items()])


def _filled_namespace(attributes: list[tuple[str, Blob]]) -> Plan:
    """Set the attributes one after the other; the object is nobody else's yet."""
    plan, left = _open("namespace"), enumerate(attributes, 1)

    def set_next(opened: Any) -> Any:
        for number, (name, value) in left:
            step = Plan("namespace.set", [name], [value], lambda _r, _o: set_next(opened), opened[0])
            step.lets_others = number % _ATTRIBUTES == 0
            return step
        return opened

    plan.then = lambda opened, _: set_next(opened)
    return plan


@_makes("value", "Value")
def _value(typecode: Any, value: Any, lock: Any = True) -> Plan:
    _ = lock  # the standard library's manager takes and needs none: each call is atomic
    return _open("value", {"typecode": typecode if isinstance(typecode, str) else ""}, [store(value)])


@_makes("array", "Array")
def _array(typecode: Any, sequence: Any, lock: Any = True) -> Any:
    _ = lock
    if not isinstance(typecode, str) or len(typecode) != 1:
        raise TypeError(f"array() argument 1 must be a unicode character, not {type_name(typecode)}")
    if typecode not in TYPECODES:
        raise ValueError(f"bad typecode {typecode!r} (a shared Array holds numbers: one of {TYPECODES})")
    if isinstance(sequence, Ref):
        return with_elements(sequence, lambda numbers: _open_array(array.array(typecode, numbers)))
    return _open_array(_first_numbers(typecode, sequence))


def _first_numbers(typecode: str, sequence: Any) -> array.array[Any]:
    """Return what array.array makes of the arguments: bytes are taken as machine values, for one."""
    numbers = as_array(sequence)
    if numbers is not None:
        return array.array(typecode, numbers)
    plain = isinstance(sequence, (bytes, bytearray, str))
    return array.array(typecode, sequence if plain else elements_of(sequence, NUMBERS_MOST))


def _open_array(numbers: array.array[Any]) -> Plan:
    return _open("array", {"typecode": numbers.typecode, "numbers": few(numbers, NUMBERS_MOST).tolist()})


@_makes("queue", "Pool")
def _pool(*_args: Any, **_kwds: Any) -> Plan:
    raise NotSupported(
        "a Pool would run users' code on the server; run workers with mpworker and use mpclient.Pool"
    )


# -- named objects ---------------------------------------------------------------------------------


def _named(typeid: str, kind: str, usual: str = "default") -> None:
    def get(name: Any = usual) -> Plan:
        if not isinstance(name, str):
            raise TypeError(f"the name of a shared object is a string, not {type_name(name)}")
        return _open(kind, None, None, name)

    _makes(kind, typeid)(get)


for _kind in (
    "queue",
    "dict",
    "list",
    "set",
    "namespace",
    "event",
    "lock",
    "rlock",
    "condition",
    "semaphore",
):
    _named(f"get_{_kind}", _kind)
_named("get_joinable_queue", "queue")
_named("get_tasks", "queue", "tasks")
_named("get_results", "queue", "results")
