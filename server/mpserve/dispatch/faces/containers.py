"""dict, list, set, Namespace, Value and Array as the standard library's managers show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from mpserve.dispatch.faces.base import (
    Face,
    Plan,
    look,
    look_key,
    nothing,
    only,
    refuse_ref,
    show,
    show_all,
    show_key,
    store,
    store_key,
)
from mpshared import symbolic
from mpshared.errors import NotSupported
from mpshared.symbolic import Named
from mpshared.values import Blob

__all__ = [
    "ArrayFace",
    "Default",
    "DictFace",
    "IteratorFace",
    "ListFace",
    "NamespaceFace",
    "NewProxy",
    "SetFace",
    "ValueFace",
    "elements_of",
    "pairs_of",
]

_MISSING: Any = object()
REPEAT_MAX = 1_000_000
"""Elements that list * n may have in a reply."""


def _slice(part: slice) -> list[int | None]:
    return [None if v is None else int(v) for v in (part.start, part.stop, part.step)]


def _keys(result: Any, _out: Sequence[Blob]) -> list[Any]:
    return [show_key(key) for key in result]


def _all(_result: Any, out: Sequence[Blob]) -> list[Any]:
    return show_all(out)


def _items(result: Any, out: Sequence[Blob]) -> list[tuple[Any, Any]]:
    return [(show_key(key), show(blob)) for key, blob in zip(result, out, strict=True)]


def pairs_of(other: Any, kwds: dict[str, Any], what: str) -> tuple[list[Any], list[Blob]]:
    """Return wire keys and values of what `dict(other, **kwds)` accepts."""
    refuse_ref(other, what)
    if isinstance(other, symbolic.Foreign):
        msg = (
            f"{what} from a {type(other).__name__.lower()} would run users' code on the server; pass "
            "dict(...) of it"
        )
        raise NotSupported(msg)
    pairs = dict(other if isinstance(other, dict) else list(other), **kwds)
    return [store_key(key) for key in pairs], [store(value) for value in pairs.values()]


def elements_of(iterable: Any, what: str) -> list[Any]:
    """Return the elements of a plain iterable."""
    refuse_ref(iterable, what)
    if isinstance(iterable, symbolic.Foreign):
        msg = f"{what} from a foreign object would run users' code on the server; pass list(...) of it"
        raise NotSupported(msg)
    return list(iterable)


class DictFace(Face):
    """A dict."""

    kind = "dict"
    EXPOSED: ClassVar = (
        "__contains__", "__delitem__", "__getitem__", "__ior__", "__iter__", "__len__", "__or__",
        "__reversed__", "__ror__", "__setitem__", "clear", "copy", "fromkeys", "get", "has_key", "items",
        "keys", "pop", "popitem", "setdefault", "update", "values",
    )  # fmt: skip

    def m__contains__(self, key: Any) -> Any:
        return self._plan("contains", store_key(key))

    has_key = m__contains__

    def m__getitem__(self, key: Any) -> Any:
        return self._plan("get", store_key(key), then=only, key=key)

    def m__setitem__(self, key: Any, value: Any) -> Any:
        return self._plan("set", store_key(key), values=[store(value)], then=nothing)

    def m__delitem__(self, key: Any) -> Any:
        return self._plan("delete", store_key(key), then=nothing, key=key)

    def m__len__(self) -> Any:
        return self._plan("len")

    def m__iter__(self) -> Any:
        return self._plan("keys", then=_open_iterator)

    def m__reversed__(self) -> Any:
        return self._plan("keys", then=lambda keys, out: _open_iterator(list(reversed(keys)), out))

    def m__or__(self, other: Any) -> Any:
        return self._plan("items", then=lambda keys, out: {**_as_dict(keys, out), **_dict_of(other)})

    def m__ror__(self, other: Any) -> Any:
        return self._plan("items", then=lambda keys, out: {**_dict_of(other), **_as_dict(keys, out)})

    def m__ior__(self, other: Any) -> Any:
        return self.update(other)

    def clear(self) -> Any:
        return self._plan("clear", then=nothing)

    def copy(self) -> Any:
        return self._plan("items", then=_as_dict)

    getvalue = copy

    def fromkeys(self, iterable: Any, value: Any = None) -> Any:
        return dict.fromkeys(elements_of(iterable, "fromkeys"), value)

    def get(self, key: Any, default: Any = None) -> Any:
        return self._plan("get", store_key(key), then=only, key=Default(default))

    def keys(self) -> Any:
        return self._plan("keys", then=_keys)

    def values(self) -> Any:
        return self._plan("values", then=_all)

    def items(self) -> Any:
        return self._plan("items", then=_items)

    def pop(self, key: Any, default: Any = _MISSING) -> Any:
        return self._plan(
            "pop", store_key(key), then=only, key=key if default is _MISSING else Default(default)
        )

    def popitem(self) -> Any:
        return self._plan(
            "popitem", then=lambda keys, out: _items(keys, out)[0], key="popitem(): dictionary is empty"
        )

    def setdefault(self, key: Any, default: Any = None) -> Any:
        return self._plan("setdefault", store_key(key), values=[store(default)], then=only)

    def update(self, other: Any = (), /, **kwds: Any) -> Any:
        keys, values = pairs_of(other, kwds, "dict.update")
        return self._plan("update", keys, values=values, then=nothing)

    def m__repr__(self) -> Any:
        return self._plan(
            "items",
            then=lambda keys, out: symbolic.text(
                {look_key(k): look(b) for k, b in zip(keys, out, strict=True)}
            ),
        )


class Default:
    """Marks what to return instead of raising KeyError."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _as_dict(keys: Any, out: Sequence[Blob]) -> Any:
    """Return a dict for the reply; one with pickled keys is made by the reader, which can hash them."""
    items = _items(keys, out)
    if any(isinstance(key, symbolic.Foreign) for key, _ in items):
        return Named("builtins", "dict", (items,))
    return dict(items)


def _dict_of(other: Any) -> dict[Any, Any]:
    if type(other) is not dict:
        msg = "the other operand must be a plain dict"
        raise TypeError(msg)
    return other


def _open_iterator(keys: Any, _out: Sequence[Blob]) -> Plan:
    blobs = [store(look_key(key)) for key in keys]
    return Plan(
        "cluster.open",
        ["iterator", None, {}, False, None],
        blobs,
        then=lambda opened, _: NewProxy("Iterator", "iterator", opened[0]),
    )


class NewProxy:
    """A result that the client gets as a new proxy (`#PROXY`)."""

    __slots__ = ("ident", "kind", "typeid")

    def __init__(self, typeid: str, kind: str, ident: str) -> None:
        self.typeid = typeid
        self.kind = kind
        self.ident = ident


class IteratorFace(Face):
    """What iterating over a dict gives."""

    kind = "iterator"
    EXPOSED: ClassVar = ("__next__", "close", "send", "throw")

    def m__next__(self) -> Any:
        return self._plan("next", then=only)

    def send(self, value: Any) -> Any:
        msg = f"a dict's iterator takes no values, got {type(value).__name__}"
        raise AttributeError(msg)

    def throw(self, *_args: Any) -> Any:
        msg = "a dict's iterator takes no exceptions"
        raise AttributeError(msg)

    def close(self) -> None:
        return


class ListFace(Face):
    """A list."""

    kind = "list"
    EXPOSED: ClassVar = (
        "__add__", "__contains__", "__delitem__", "__getitem__", "__iadd__", "__imul__", "__len__",
        "__mul__", "__reversed__", "__rmul__", "__setitem__", "append", "clear", "copy", "count", "extend",
        "index", "insert", "pop", "remove", "reverse", "sort",
    )  # fmt: skip

    def m__getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._plan("get_slice", _slice(index), then=_all)
        return self._plan("get", _index(index, "list"), then=only)

    def m__setitem__(self, index: Any, value: Any) -> Any:
        if isinstance(index, slice):
            values = map(store, elements_of(value, "a slice"))
            return self._plan("set_slice", _slice(index), values=values, then=nothing)
        return self._plan("set", _index(index, "list"), values=[store(value)], then=nothing)

    def m__delitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._plan("delete_slice", _slice(index), then=nothing)
        return self._plan("delete", _index(index, "list"), then=nothing)

    def m__len__(self) -> Any:
        return self._plan("len")

    def m__contains__(self, value: Any) -> Any:
        return self._plan("contains", values=[store(value)])

    def m__add__(self, other: Any) -> Any:
        if type(other) is not list:
            msg = f'can only concatenate list (not "{type(other).__name__}") to list'
            raise TypeError(msg)
        return self._plan("snapshot", then=lambda _, out: [*show_all(out), *other])

    def m__mul__(self, n: Any) -> Any:
        def repeat(_: Any, out: Sequence[Blob]) -> list[Any]:
            if len(out) * max(0, n) > REPEAT_MAX:
                msg = f"a list of {len(out) * n} elements is more than a reply may have ({REPEAT_MAX})"
                raise NotSupported(msg)
            return show_all(out) * n

        return self._plan("snapshot", then=repeat)

    m__rmul__ = m__mul__

    def m__imul__(self, n: Any) -> Any:
        return self._plan("repeat", n, then=nothing)

    def m__iadd__(self, other: Any) -> Any:
        return self.extend(other)

    def m__reversed__(self) -> Any:
        return self._plan("snapshot", then=lambda _, out: Named("builtins", "reversed", (show_all(out),)))

    def append(self, value: Any) -> Any:
        return self._plan("append", values=[store(value)], then=nothing)

    def extend(self, iterable: Any) -> Any:
        return self._plan("extend", values=map(store, elements_of(iterable, "list.extend")), then=nothing)

    def insert(self, index: Any, value: Any) -> Any:
        return self._plan("insert", _index(index, "list"), values=[store(value)], then=nothing)

    def pop(self, index: Any = -1) -> Any:
        return self._plan("pop", _index(index, "list"), then=only)

    def remove(self, value: Any) -> Any:
        return self._plan("remove", values=[store(value)], then=nothing)

    def index(self, value: Any, start: Any = 0, stop: Any = None) -> Any:
        return self._plan("index", start, stop, values=[store(value)])

    def count(self, value: Any) -> Any:
        return self._plan("count", values=[store(value)])

    def reverse(self) -> Any:
        return self._plan("reverse", then=nothing)

    def sort(self, *, key: Any = None, reverse: Any = False) -> Any:
        if key is not None:
            msg = (
                "sort(key=...) would run users' code on the server; sort a copy and assign it: shared[:] = "
                "sorted(shared, key=...)"
            )
            raise NotSupported(msg)
        return self._plan("sort", bool(reverse), then=nothing)

    def clear(self) -> Any:
        return self._plan("clear", then=nothing)

    def copy(self) -> Any:
        return self._plan("snapshot", then=_all)

    getvalue = copy

    def m__repr__(self) -> Any:
        return self._plan("snapshot", then=lambda _, out: symbolic.text([look(blob) for blob in out]))


def _index(index: Any, what: str) -> int:
    if not isinstance(index, int):
        msg = f"{what} indices must be integers or slices, not {type(index).__name__}"
        raise TypeError(msg)
    return int(index)


class SetFace(Face):
    """A set. Comparisons and operators are worked out here over a snapshot of the members."""

    kind = "set"
    EXPOSED: ClassVar = (
        "__and__", "__contains__", "__ge__", "__gt__", "__iand__", "__ior__", "__isub__", "__iter__",
        "__ixor__", "__le__", "__len__", "__lt__", "__or__", "__rand__", "__ror__", "__rsub__", "__rxor__",
        "__sub__", "__xor__", "add", "clear", "copy", "difference", "difference_update", "discard",
        "intersection", "intersection_update", "isdisjoint", "issubset", "issuperset", "pop", "remove",
        "symmetric_difference", "symmetric_difference_update", "union", "update",
    )  # fmt: skip

    def m__contains__(self, member: Any) -> Any:
        return self._plan("contains", store_key(member))

    def m__len__(self) -> Any:
        return self._plan("len")

    def m__iter__(self) -> Any:
        return self._plan("members", then=_open_iterator)

    def add(self, member: Any) -> Any:
        return self._plan("add", store_key(member), then=nothing)

    def discard(self, member: Any) -> Any:
        return self._plan("discard", store_key(member), then=nothing)

    def remove(self, member: Any) -> Any:
        return self._plan("remove", store_key(member), then=nothing, key=member)

    def pop(self) -> Any:
        return self._plan("pop", then=lambda keys, _: show_key(keys[0]), key="pop from an empty set")

    def clear(self) -> Any:
        return self._plan("clear", then=nothing)

    def copy(self) -> Any:
        return self._plan("members", then=lambda keys, _: _as_set(keys))

    getvalue = copy

    def _changed(self, method: str, others: Sequence[Any]) -> Any:
        """Return the plan that applies `method` with the members of all `others` (one call each, in
        order).
        """
        if not others:
            return self._plan("len", then=nothing)
        keys = [store_key(member) for member in elements_of(others[0], "a set")]
        rest = others[1:]
        return self._plan(
            method, keys, then=(lambda _r, _o: self._changed(method, rest)) if rest else nothing
        )

    def update(self, *others: Any) -> Any:
        return self._changed("update", others)

    def difference_update(self, *others: Any) -> Any:
        return self._changed("difference_update", others)

    def intersection_update(self, *others: Any) -> Any:
        return self._changed("intersection_update", others)

    def symmetric_difference_update(self, other: Any) -> Any:
        return self._changed("symmetric_difference_update", [other])

    def m__ior__(self, other: Any) -> Any:
        return self.update(other)

    def m__isub__(self, other: Any) -> Any:
        return self.difference_update(other)

    def m__iand__(self, other: Any) -> Any:
        return self.intersection_update(other)

    def m__ixor__(self, other: Any) -> Any:
        return self.symmetric_difference_update(other)

    def _combined(self, combine: Callable[[set[Any], list[set[Any]]], Any], others: Iterable[Any]) -> Any:
        """Return the plan that works out `combine` over canonical keys, and answers with the original
        members.
        """
        known: dict[Any, Any] = {}

        def keys(members: Iterable[Any]) -> set[Any]:
            by_key = {symbolic.key(m): m for m in members}
            known.update({k: m for k, m in by_key.items() if k not in known})
            return set(by_key)

        def work(result: Any, _out: Sequence[Blob]) -> Any:
            mine = keys([look_key(key) for key in result])
            found = combine(mine, [keys(elements_of(other, "a set")) for other in others])
            return _set_reply([known[key] for key in found]) if isinstance(found, set) else found

        return self._plan("members", then=work)

    def union(self, *others: Any) -> Any:
        return self._combined(lambda mine, theirs: mine.union(*theirs), others)

    def intersection(self, *others: Any) -> Any:
        return self._combined(lambda mine, theirs: mine.intersection(*theirs), others)

    def difference(self, *others: Any) -> Any:
        return self._combined(lambda mine, theirs: mine.difference(*theirs), others)

    def symmetric_difference(self, other: Any) -> Any:
        return self._combined(lambda mine, theirs: mine ^ theirs[0], [other])

    def isdisjoint(self, other: Any) -> Any:
        return self._combined(lambda mine, theirs: mine.isdisjoint(theirs[0]), [other])

    def issubset(self, other: Any) -> Any:
        return self._combined(lambda mine, theirs: mine <= theirs[0], [other])

    def issuperset(self, other: Any) -> Any:
        return self._combined(lambda mine, theirs: mine >= theirs[0], [other])

    def m__lt__(self, other: Any) -> Any:
        return self._combined(lambda mine, theirs: mine < theirs[0], [other])

    def m__gt__(self, other: Any) -> Any:
        return self._combined(lambda mine, theirs: mine > theirs[0], [other])

    def m__rsub__(self, other: Any) -> Any:
        return self._combined(lambda mine, theirs: theirs[0] - mine, [other])

    m__or__ = m__ror__ = union
    m__and__ = m__rand__ = intersection
    m__sub__ = difference
    m__xor__ = m__rxor__ = symmetric_difference
    m__le__, m__ge__ = issubset, issuperset

    def m__repr__(self) -> Any:
        return self._plan(
            "members",
            then=lambda keys, _: (
                "{" + ", ".join(symbolic.text(look_key(k)) for k in keys) + "}" if keys else "set()"
            ),
        )


def _as_set(keys: Iterable[Any]) -> Any:
    return Named("builtins", "set", ([show_key(key) for key in keys],))


def _set_reply(members: list[Any]) -> Any:
    return Named("builtins", "set", (members,))


class NamespaceFace(Face):
    """A `multiprocessing.managers.Namespace`."""

    kind = "namespace"
    EXPOSED: ClassVar = ("__delattr__", "__getattribute__", "__setattr__")

    def m__getattribute__(self, name: Any) -> Any:
        return self._plan("get", name, then=only)

    def m__setattr__(self, name: Any, value: Any) -> Any:
        return self._plan("set", name, values=[store(value)], then=nothing)

    def m__delattr__(self, name: Any) -> Any:
        return self._plan("delete", name, then=nothing)

    def m__repr__(self) -> Any:
        def spell(names: Any, out: Sequence[Blob]) -> str:
            pairs = sorted(
                f"{name}={symbolic.text(look(blob))}" for name, blob in zip(names, out, strict=True)
            )
            return f"Namespace({', '.join(pairs)})"

        return self._plan("items", then=spell)


class ValueFace(Face):
    """A `multiprocessing.managers.Value`."""

    kind = "value"
    EXPOSED: ClassVar = ("get", "set")

    def get(self) -> Any:
        return self._plan("get", then=only)

    getvalue = get

    def set(self, value: Any) -> Any:
        return self._plan("set", values=[store(value)], then=nothing)

    def m__repr__(self) -> Any:
        return self._plan("get", then=lambda _, out: f"Value({symbolic.text(look(out[0]))})")


class ArrayFace(Face):
    """An `array.array`."""

    kind = "array"
    EXPOSED: ClassVar = ("__getitem__", "__len__", "__setitem__")

    def m__getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._plan("get_typed", _slice(index), then=_as_array)
        return self._plan("get", _index(index, "array"))

    def m__setitem__(self, index: Any, value: Any) -> Any:
        if isinstance(index, slice):
            return self._plan("set_slice", _slice(index), _numbers(value), then=nothing)
        return self._plan("set", _index(index, "array"), value, then=nothing)

    def m__len__(self) -> Any:
        return self._plan("len")

    def getvalue(self) -> Any:
        return self._plan("get_typed", [None, None, None], then=_as_array)

    def m__repr__(self) -> Any:
        return self._plan(
            "get_typed", [None, None, None], then=lambda typed, _: f"array({typed[0]!r}, {typed[1]!r})"
        )


def _as_array(typed: Any, _out: Sequence[Blob]) -> Any:
    return Named("array", "array", tuple(typed))


def _numbers(value: Any) -> list[Any]:
    match value:
        case list():
            return value
        case (
            symbolic.Stub(args=(_, list(numbers)))
            | symbolic.Stub(args=(symbolic.Global(), str(), int(), bytes(numbers)))
        ):
            return list(numbers)
    msg = f"can only assign array (not {type(value).__name__!r}) to array slice"
    raise TypeError(msg)
