"""dict as the standard library's managers show it, and what iterating over one gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from mpserve.dispatch.faces.arguments import Pairs, dict_pairs, with_elements, with_pairs
from mpserve.dispatch.faces.base import (
    Default,
    Face,
    NewProxy,
    NotExposed,
    Plan,
    every,
    look,
    look_key,
    nothing,
    only,
    show,
    show_key,
    store,
    store_key,
)
from mpshared import symbolic
from mpshared.symbolic import Named
from mpshared.values import Blob

__all__ = ["DictFace", "IteratorFace", "ready_iterator"]

_MISSING: Final[Any] = object()


def _keys(result: Any, _out: Sequence[Blob]) -> list[Any]:
    return [show_key(key) for key in result]


def _items(result: Any, out: Sequence[Blob]) -> list[tuple[Any, Any]]:
    return [(show_key(key), show(blob)) for key, blob in zip(result, out, strict=True)]


def _dict(pairs: Pairs, name: str = "dict") -> Named:
    """Return a dict for the reply, which its reader makes: it can hash the keys, whatever they are."""
    return Named("builtins", name, (pairs,))


def _as_dict(keys: Any, out: Sequence[Blob]) -> Any:
    items = _items(keys, out)
    return _dict(items) if any(isinstance(key, symbolic.Foreign) for key, _ in items) else dict(items)


class DictFace(Face):
    """A dict."""

    kind = "dict"
    title = "dict"
    EXPOSED: ClassVar = (
        "__contains__", "__delitem__", "__getitem__", "__ior__", "__iter__", "__len__", "__or__",
        "__reversed__", "__ror__", "__setitem__", "clear", "copy", "fromkeys", "get", "items", "keys", "pop",
        "popitem", "setdefault", "update", "values",
    )  # fmt: skip

    def m__contains__(self, key: Any, /) -> Any:
        return self._plan("contains", store_key(key))

    def m__getitem__(self, key: Any, /) -> Any:
        return self._plan("get", store_key(key), then=only, key=key)

    def m__setitem__(self, key: Any, value: Any, /) -> Any:
        return self._plan("set", store_key(key), values=[store(value)], then=nothing)

    def m__delitem__(self, key: Any, /) -> Any:
        return self._plan("delete", store_key(key), then=nothing, key=key)

    def m__len__(self) -> Any:
        return self._plan("len")

    def m__iter__(self) -> Any:
        return self._plan("keys", then=_open_iterator)

    def m__reversed__(self) -> Any:
        return self._plan("keys", then=lambda keys, out: ready_iterator(keys[::-1], out))

    def m__or__(self, other: Any, /) -> Any:
        theirs = dict_pairs(other)
        if theirs is None:
            return NotImplemented
        return self._plan("items", then=lambda keys, out: _dict([*_items(keys, out), *theirs]))

    def m__ror__(self, other: Any, /) -> Any:
        theirs = dict_pairs(other)
        if theirs is None:
            return NotImplemented
        name = "dict" if type(other) is dict else "frozendict"
        return self._plan("items", then=lambda keys, out: _dict([*theirs, *_items(keys, out)], name))

    def m__ior__(self, other: Any, /) -> Any:
        return self._updated(other, {}, lambda _result, _out: self.copy())

    def clear(self) -> Any:
        return self._plan("clear", then=nothing)

    def copy(self) -> Any:
        return self._plan("items", then=_as_dict)

    def getvalue(self) -> Any:
        return self.copy()

    def fromkeys(self, iterable: Any, value: Any = None, /) -> Any:
        return with_elements(iterable, lambda keys: _dict([(key, value) for key in keys]))

    def get(self, key: Any, default: Any = None, /) -> Any:
        return self._plan("get", store_key(key), then=only, key=Default(default))

    def keys(self) -> Any:
        return self._plan("keys", then=_keys)

    def values(self) -> Any:
        return self._plan("values", then=every)

    def items(self) -> Any:
        return self._plan("items", then=_items)

    def pop(self, key: Any, default: Any = _MISSING, /) -> Any:
        instead = key if default is _MISSING else Default(default)
        return self._plan("pop", store_key(key), then=only, key=instead)

    def popitem(self) -> Any:
        return self._plan(
            "popitem", then=lambda keys, out: _items(keys, out)[0], key="popitem(): dictionary is empty"
        )

    def setdefault(self, key: Any, default: Any = None, /) -> Any:
        return self._plan("setdefault", store_key(key), values=[store(default)], then=only)

    def update(self, other: Any = (), /, **kwds: Any) -> Any:
        return self._updated(other, kwds, nothing)

    def _updated(self, other: Any, kwds: dict[str, Any], then: Any) -> Any:
        def go_on(pairs: Pairs) -> Plan:
            pairs = [*pairs, *kwds.items()]
            keys = [store_key(key) for key, _ in pairs]
            return self._plan("update", keys, values=[store(value) for _, value in pairs], then=then)

        return with_pairs(other, go_on)

    def m__repr__(self) -> Any:
        def spell(keys: Any, out: Sequence[Blob]) -> str:
            # A pickled key stays one here: hashing what is in it could take long.
            return symbolic.text({show_key(key): look(blob) for key, blob in zip(keys, out, strict=True)})

        return self._plan("items", then=spell)


def ready_iterator(keys: Any, out: Sequence[Blob]) -> Named:
    """Return an iterator that holds all of `keys`: what the standard library's proxies of sets expect."""
    return Named("builtins", "iter", (_keys(keys, out),))


def _open_iterator(keys: Any, _out: Sequence[Blob]) -> Plan:
    """Return the plan that makes a proxy to iterate over a snapshot of `keys`."""
    blobs = [store(look_key(key)) for key in keys]
    return Plan(
        "cluster.open",
        ["iterator", None, {}, False, None],
        blobs,
        then=lambda opened, _: NewProxy("Iterator", "iterator", opened[0]),
    )


class IteratorFace(Face):
    """What iterating over a dict gives: it has no more than `__next__`, whatever its proxy offers."""

    kind = "iterator"
    title = "iterator"
    EXPOSED: ClassVar = ("__next__", "close", "send", "throw")

    def m__next__(self) -> Any:
        return self._plan("next", then=only)

    def send(self, *_args: Any) -> Any:
        raise NotExposed("an iterator over a dict has no attribute 'send'")

    def throw(self, *_args: Any) -> Any:
        raise NotExposed("an iterator over a dict has no attribute 'throw'")

    def close(self, *_args: Any) -> Any:
        raise NotExposed("an iterator over a dict has no attribute 'close'")
