"""set as the standard library's managers show it (`SyncManager.set` is new in 3.14)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeAlias

from mpserve.dispatch.faces.arguments import with_all_elements
from mpserve.dispatch.faces.base import Face, Plan, look_key, nothing, show_key, store_key
from mpserve.dispatch.faces.dicts import ready_iterator
from mpshared import symbolic
from mpshared.symbolic import Named
from mpshared.values import Blob

__all__ = ["SetFace"]

Combine: TypeAlias = Callable[..., Any]


class SetFace(Face):
    """A set. What makes another set of it is worked out here, over a snapshot of the members.

    Operators take sets only, named methods anything to iterate over, as `set` itself does.
    """

    kind = "set"
    title = "set"
    EXPOSED: ClassVar = (
        "__and__", "__contains__", "__ge__", "__gt__", "__iand__", "__ior__", "__isub__", "__iter__",
        "__ixor__", "__le__", "__len__", "__lt__", "__or__", "__rand__", "__ror__", "__rsub__", "__rxor__",
        "__sub__", "__xor__", "add", "clear", "copy", "difference", "difference_update", "discard",
        "intersection", "intersection_update", "isdisjoint", "issubset", "issuperset", "pop", "remove",
        "symmetric_difference", "symmetric_difference_update", "union", "update",
    )  # fmt: skip

    def m__contains__(self, member: Any, /) -> Any:
        return self._plan("contains", store_key(member))

    def m__len__(self) -> Any:
        return self._plan("len")

    def m__iter__(self) -> Any:
        return self._plan("members", then=ready_iterator)

    def add(self, member: Any, /) -> Any:
        return self._plan("add", store_key(member), then=nothing)

    def discard(self, member: Any, /) -> Any:
        return self._plan("discard", store_key(member), then=nothing)

    def remove(self, member: Any, /) -> Any:
        return self._plan("remove", store_key(member), then=nothing, key=member)

    def pop(self) -> Any:
        return self._plan("pop", then=lambda keys, _: show_key(keys[0]), key="pop from an empty set")

    def clear(self) -> Any:
        return self._plan("clear", then=nothing)

    def copy(self) -> Any:
        return self._plan("members", then=_as_set)

    def getvalue(self) -> Any:
        return self.copy()

    # -- in place ------------------------------------------------------------------------------------

    def _changed(self, method: str, others: Sequence[Any], then: Any = nothing) -> Any:
        """Apply `method` with the members of all `others`: read them first, then one call each, in order."""

        def go_on(found: list[list[Any]]) -> Any:
            return self._apply(method, [[store_key(m) for m in members] for members in found], then)

        return with_all_elements(others, go_on)

    def _apply(self, method: str, several: list[list[Any]], then: Any) -> Any:
        if not several:
            return self._plan("len", then=then)
        keys, rest = several[0], several[1:]
        following = (lambda _r, _o: self._apply(method, rest, then)) if rest else then
        return self._plan(method, keys, then=following)

    def update(self, *others: Any) -> Any:
        return self._changed("update", others)

    def difference_update(self, *others: Any) -> Any:
        return self._changed("difference_update", others)

    def intersection_update(self, *others: Any) -> Any:
        return self._changed("intersection_update", others)

    def symmetric_difference_update(self, other: Any, /) -> Any:
        return self._changed("symmetric_difference_update", [other])

    def _changed_by_set(self, method: str, other: Any) -> Any:
        if not _is_set(other):
            return NotImplemented
        return self._changed(method, [other], lambda _r, _o: self.copy())

    def m__ior__(self, other: Any, /) -> Any:
        return self._changed_by_set("update", other)

    def m__isub__(self, other: Any, /) -> Any:
        return self._changed_by_set("difference_update", other)

    def m__iand__(self, other: Any, /) -> Any:
        return self._changed_by_set("intersection_update", other)

    def m__ixor__(self, other: Any, /) -> Any:
        return self._changed_by_set("symmetric_difference_update", other)

    # -- to another set, or to an answer -------------------------------------------------------------

    def _combined(self, combine: Combine, others: Sequence[Any]) -> Any:
        """Work out `combine` over canonical keys; answer with the original members."""

        def go_on(found: list[list[Any]]) -> Plan:
            return self._plan("members", then=lambda mine, _: _work(combine, map(look_key, mine), found))

        return with_all_elements(others, go_on)

    def union(self, *others: Any) -> Any:
        return self._combined(lambda mine, *theirs: mine.union(*theirs), others)

    def intersection(self, *others: Any) -> Any:
        return self._combined(lambda mine, *theirs: mine.intersection(*theirs), others)

    def difference(self, *others: Any) -> Any:
        return self._combined(lambda mine, *theirs: mine.difference(*theirs), others)

    def symmetric_difference(self, other: Any, /) -> Any:
        return self._combined(lambda mine, theirs: mine ^ theirs, [other])

    def isdisjoint(self, other: Any, /) -> Any:
        return self._combined(lambda mine, theirs: mine.isdisjoint(theirs), [other])

    def issubset(self, other: Any, /) -> Any:
        return self._combined(lambda mine, theirs: mine <= theirs, [other])

    def issuperset(self, other: Any, /) -> Any:
        return self._combined(lambda mine, theirs: mine >= theirs, [other])

    def _with_set(self, combine: Combine, other: Any) -> Any:
        return self._combined(combine, [other]) if _is_set(other) else NotImplemented

    def m__or__(self, other: Any, /) -> Any:
        return self._with_set(lambda mine, theirs: mine | theirs, other)

    def m__and__(self, other: Any, /) -> Any:
        return self._with_set(lambda mine, theirs: mine & theirs, other)

    def m__sub__(self, other: Any, /) -> Any:
        return self._with_set(lambda mine, theirs: mine - theirs, other)

    def m__rsub__(self, other: Any, /) -> Any:
        return self._with_set(lambda mine, theirs: theirs - mine, other)

    def m__xor__(self, other: Any, /) -> Any:
        return self._with_set(lambda mine, theirs: mine ^ theirs, other)

    m__ror__, m__rand__, m__rxor__ = m__or__, m__and__, m__xor__

    def m__lt__(self, other: Any, /) -> Any:
        return self._with_set(lambda mine, theirs: mine < theirs, other)

    def m__le__(self, other: Any, /) -> Any:
        return self._with_set(lambda mine, theirs: mine <= theirs, other)

    def m__gt__(self, other: Any, /) -> Any:
        return self._with_set(lambda mine, theirs: mine > theirs, other)

    def m__ge__(self, other: Any, /) -> Any:
        return self._with_set(lambda mine, theirs: mine >= theirs, other)

    def m__repr__(self) -> Any:
        def spell(keys: Any, _out: Sequence[Blob]) -> str:
            members = ", ".join(symbolic.text(look_key(key)) for key in keys)
            return f"{{{members}}}" if keys else "set()"

        return self._plan("members", then=spell)


def _is_set(other: Any) -> bool:
    return isinstance(other, (set, frozenset))


def _work(combine: Combine, mine: Iterable[Any], others: list[list[Any]]) -> Any:
    """Return the answer, or a set whose members are those that came first among equals."""
    known: dict[Any, Any] = {}

    def keys(members: Iterable[Any]) -> set[Any]:
        by_key = {symbolic.key(member): member for member in members}
        known.update({key: member for key, member in by_key.items() if key not in known})
        return set(by_key)

    found = combine(keys(mine), *map(keys, others))
    return _set([known[key] for key in found]) if isinstance(found, set) else found


def _as_set(keys: Iterable[Any], _out: Sequence[Blob]) -> Named:
    return _set([show_key(key) for key in keys])


def _set(members: list[Any]) -> Named:
    """Return a set for the reply, which its reader makes: it can hash the members, whatever they are."""
    return Named("builtins", "set", (members,))
