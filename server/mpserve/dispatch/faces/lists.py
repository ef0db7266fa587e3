"""list as the standard library's managers show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final

from mpserve.dispatch.faces.arguments import flag, near, part, type_name, whole, with_elements
from mpserve.dispatch.faces.base import Face, Plan, every, look, nothing, only, show_all, store
from mpshared import symbolic
from mpshared.errors import NotSupported
from mpshared.symbolic import Named
from mpshared.values import Blob

__all__ = ["ListFace"]

REPEAT_MAX: Final = 1_000_000
"""Elements that list * n may have in a reply."""
_WRONG_INDEX: Final = "list indices must be integers or slices, not {}"
_WRONG_END: Final = "slice indices must be integers or have an __index__ method"


class ListFace(Face):
    """A list."""

    kind = "list"
    title = "list"
    EXPOSED: ClassVar = (
        "__add__", "__contains__", "__delitem__", "__getitem__", "__iadd__", "__imul__", "__len__",
        "__mul__", "__reversed__", "__rmul__", "__setitem__", "append", "clear", "copy", "count", "extend",
        "index", "insert", "pop", "remove", "reverse", "sort",
    )  # fmt: skip
    STORES: ClassVar = frozenset({"append"})

    def m__getitem__(self, index: Any, /) -> Any:
        if isinstance(index, slice):
            return self._plan("get_slice", part(index), then=every)
        return self._plan("get", whole(index, _WRONG_INDEX), then=only)

    def m__setitem__(self, index: Any, value: Any, /) -> Any:
        if not isinstance(index, slice):
            return self._plan("set", whole(index, _WRONG_INDEX), values=[store(value)], then=nothing)
        where = part(index)

        def go_on(elements: Iterable[Any]) -> Plan:
            return self._plan("set_slice", where, values=map(store, elements), then=nothing)

        try:
            return with_elements(value, go_on)
        except NotSupported:
            raise
        except TypeError:
            raise TypeError("can only assign an iterable") from None

    def m__delitem__(self, index: Any, /) -> Any:
        if isinstance(index, slice):
            return self._plan("delete_slice", part(index), then=nothing)
        return self._plan("delete", whole(index, _WRONG_INDEX), then=nothing)

    def m__len__(self) -> Any:
        return self._plan("len")

    def m__contains__(self, value: Any, /) -> Any:
        return self._plan("contains", values=[store(value)])

    def m__add__(self, other: Any, /) -> Any:
        if type(other) is not list:
            raise TypeError(f'can only concatenate list (not "{type_name(other)}") to list')
        return self._plan("snapshot", then=lambda _, out: [*show_all(out), *other])

    def m__mul__(self, n: Any, /) -> Any:
        times = max(0, whole(near(n), "can't multiply sequence by non-int of type {!r}"))

        def repeat(_: Any, out: Sequence[Blob]) -> list[Any]:
            if len(out) * times > REPEAT_MAX:
                raise NotSupported(
                    f"a list of {len(out) * times} elements is more than a reply may have ({REPEAT_MAX}); "
                    "multiply a copy in your program"
                )
            return show_all(out) * times

        return self._plan("snapshot", then=repeat)

    m__rmul__ = m__mul__

    def m__imul__(self, n: Any, /) -> Any:
        times = whole(near(n), "can't multiply sequence by non-int of type {!r}")
        return self._plan("repeat", times, then=lambda _result, _out: self.copy())

    def m__iadd__(self, other: Any, /) -> Any:
        return self._extended(other, lambda _result, _out: self.copy())

    def m__reversed__(self) -> Any:
        return self._plan("snapshot", then=lambda _, out: Named("builtins", "reversed", (show_all(out),)))

    def append(self, value: Any, /) -> Any:
        return self._plan("append", values=[store(value)], then=nothing)

    def extend(self, iterable: Any, /) -> Any:
        return self._extended(iterable, nothing)

    def _extended(self, iterable: Any, then: Any) -> Any:
        def go_on(elements: Iterable[Any]) -> Plan:
            return self._plan("extend", values=map(store, elements), then=then)

        return with_elements(iterable, go_on)

    def insert(self, index: Any, value: Any, /) -> Any:
        return self._plan("insert", whole(index), values=[store(value)], then=nothing)

    def pop(self, index: Any = -1, /) -> Any:
        return self._plan("pop", whole(index), then=only)

    def remove(self, value: Any, /) -> Any:
        return self._plan("remove", values=[store(value)], then=nothing)

    def index(self, value: Any, start: Any = 0, stop: Any = 2**63 - 1, /) -> Any:
        ends = whole(near(start), _WRONG_END), whole(near(stop), _WRONG_END)
        return self._plan("index", *ends, values=[store(value)])

    def count(self, value: Any, /) -> Any:
        return self._plan("count", values=[store(value)])

    def reverse(self) -> Any:
        return self._plan("reverse", then=nothing)

    def sort(self, *, key: Any = None, reverse: Any = False) -> Any:
        if key is not None:
            raise NotSupported(
                "sort(key=...) would run users' code on the server; sort a copy and assign it: shared[:] = "
                "sorted(shared, key=...)"
            )
        return self._plan("sort", flag(reverse), then=nothing)

    def clear(self) -> Any:
        return self._plan("clear", then=nothing)

    def copy(self) -> Any:
        return self._plan("snapshot", then=every)

    def getvalue(self) -> Any:
        return self.copy()

    def m__repr__(self) -> Any:
        return self._plan("snapshot", then=lambda _, out: symbolic.text([look(blob) for blob in out]))
