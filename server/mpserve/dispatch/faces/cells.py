"""Namespace, Value and Array as the standard library's managers show them."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from mpserve.dispatch.faces.arguments import as_array, few, part, type_name, whole
from mpserve.dispatch.faces.base import Face, look, nothing, only, show, store
from mpshared import symbolic
from mpshared.symbolic import Global, How, Named, Stub, Verb
from mpshared.values import NUMBERS_MOST, Blob

__all__ = ["ArrayFace", "NamespaceFace", "ValueFace"]

_MANAGERS: Final = "multiprocessing.managers"
_WRONG_INDEX: Final = "array indices must be integers"


class NamespaceFace(Face):
    """A `multiprocessing.managers.Namespace`."""

    kind = "namespace"
    title = "Namespace"
    EXPOSED: ClassVar = ("__delattr__", "__getattribute__", "__setattr__")

    def m__getattribute__(self, name: Any, /) -> Any:
        return self._plan("get", _name(name), then=only)

    def m__setattr__(self, name: Any, value: Any, /) -> Any:
        return self._plan("set", _name(name), values=[store(value)], then=nothing)

    def m__delattr__(self, name: Any, /) -> Any:
        return self._plan("delete", _name(name), then=nothing)

    def getvalue(self) -> Any:
        return self._plan("items", then=_as_namespace)

    def m__repr__(self) -> Any:
        def spell(names: Any, out: Sequence[Blob]) -> str:
            values = zip(names, out, strict=True)
            return f"Namespace({', '.join(sorted(f'{n}={symbolic.text(look(b))}' for n, b in values))})"

        return self._plan("items", then=spell)


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"attribute name must be string, not {type_name(name)!r}")
    return name


def _as_namespace(names: Any, out: Sequence[Blob]) -> Stub:
    namespace = Stub(How.NEW, Global(_MANAGERS, "Namespace"), ())
    namespace.steps.append((Verb.STATE, {name: show(blob) for name, blob in zip(names, out, strict=True)}))
    return namespace


class ValueFace(Face):
    """A `multiprocessing.managers.Value`."""

    kind = "value"
    title = "Value"
    EXPOSED: ClassVar = ("get", "set")

    def get(self) -> Any:
        return self._plan("get", then=only)

    def set(self, value: Any) -> Any:
        return self._plan("set", values=[store(value)], then=nothing)

    def getvalue(self) -> Any:
        return self._plan(
            "get_typed", then=lambda typecode, out: Named(_MANAGERS, "Value", (typecode, show(out[0])))
        )

    def m__repr__(self) -> Any:
        return self._plan(
            "get_typed", then=lambda typecode, out: f"Value({typecode!r}, {symbolic.text(look(out[0]))})"
        )


class ArrayFace(Face):
    """An `array.array` of numbers."""

    kind = "array"
    title = "array"
    EXPOSED: ClassVar = ("__getitem__", "__len__", "__setitem__")

    def m__getitem__(self, index: Any, /) -> Any:
        if isinstance(index, slice):
            return self._plan("get_typed", part(index), then=_as_array)
        return self._plan("get", whole(index, _WRONG_INDEX))

    def m__setitem__(self, index: Any, value: Any, /) -> Any:
        if not isinstance(index, slice):
            return self._plan("set", whole(index, _WRONG_INDEX), _number(value), then=nothing)
        where, new = part(index), as_array(value)
        if new is None:
            raise TypeError(f'can only assign array (not "{type_name(value)}") to array slice')

        def replace(typed: Any, _out: Sequence[Blob]) -> Any:
            if typed[0] != new.typecode:
                raise TypeError(
                    f"the shared array's type code is {typed[0]!r}, that of the new numbers {new.typecode!r}"
                )
            return self._plan("set_slice", where, few(new, NUMBERS_MOST).tolist(), then=nothing)

        return self._plan("get_typed", [0, 0, None], then=replace)

    def m__len__(self) -> Any:
        return self._plan("len")

    def getvalue(self) -> Any:
        return self._plan("get_typed", [None, None, None], then=_as_array)

    def m__repr__(self) -> Any:
        return self._plan("get_typed", [None, None, None], then=lambda typed, _: repr(array.array(*typed)))


def _number(value: Any) -> int | float:
    """Return what an array can hold; raise TypeError for what is no number."""
    if isinstance(value, float):
        return value
    return whole(value)


def _as_array(typed: Any, _out: Sequence[Blob]) -> Any:
    return Named("array", "array", tuple(typed))
