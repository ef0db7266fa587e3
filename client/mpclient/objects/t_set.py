"""Set: a set that many hosts share. Members are keys: they are compared by structure, on the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from mpclient.objects.base import Proxy, in_parts
from mpclient.objects.readers import as_bool, as_int, nothing
from mpclient.values.pickling import dumps_key, loads_key
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpshared.ops import Op
    from mpshared.wire.own.frames import Reply

__all__ = ["CLASSES", "Set"]

_ADD: Final[Op] = BY_NAME["set.add"]
_DISCARD: Final[Op] = BY_NAME["set.discard"]
_REMOVE: Final[Op] = BY_NAME["set.remove"]
_CONTAINS: Final[Op] = BY_NAME["set.contains"]
_POP: Final[Op] = BY_NAME["set.pop"]
_CLEAR: Final[Op] = BY_NAME["set.clear"]
_LEN: Final[Op] = BY_NAME["set.len"]
_MEMBERS: Final[Op] = BY_NAME["set.members"]
_UPDATE: Final[Op] = BY_NAME["set.update"]
_DIFFERENCE_UPDATE: Final[Op] = BY_NAME["set.difference_update"]
_INTERSECTION_UPDATE: Final[Op] = BY_NAME["set.intersection_update"]
_SYMMETRIC_DIFFERENCE_UPDATE: Final[Op] = BY_NAME["set.symmetric_difference_update"]


class Set(Proxy, MutableSet[Any]):
    """A shared set."""

    __slots__ = ()

    kind: ClassVar[str] = "set"

    # -- one member ------------------------------------------------------------------------------

    def add(self, value: Any) -> None:
        """Add a member."""
        return self._call(_ADD, dumps_key(value), read=nothing)

    def discard(self, value: Any) -> None:
        """Remove a member if it is there."""
        return self._call(_DISCARD, dumps_key(value), read=nothing)

    def remove(self, value: Any) -> None:
        """Remove a member.

        Raises:
            KeyError: It is not there.
        """
        return self._look_up(_REMOVE, value, read=nothing)

    def pop(self) -> Any:
        """Remove a member and return it.

        Raises:
            KeyError: It is empty.
        """
        return self._call(_POP, read=_read_member)

    def __contains__(self, value: object) -> bool:
        return self._call(_CONTAINS, dumps_key(value), read=as_bool)

    # -- all members -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._call(_LEN, read=as_int)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.copy())

    def copy(self) -> set[Any]:
        """Return a plain set of the moment."""
        return self._call(_MEMBERS, read=_read_members)

    def clear(self) -> None:
        """Remove everything."""
        return self._call(_CLEAR, read=nothing)

    def update(self, *others: Iterable[Any]) -> None:
        """Add the members of `others`, in one step up to 65,536; more in several."""
        for part in in_parts(keys_of(*others)):
            self._update(part)

    def _update(self, keys: Sequence[Any]) -> None:
        return self._call(_UPDATE, keys, read=nothing)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove the members of `others`."""
        return self._call(_DIFFERENCE_UPDATE, keys_of(*others), read=nothing)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep only what is in all `others`."""
        if others:
            self._keep(*others)

    def _keep(self, first: Iterable[Any], *others: Iterable[Any]) -> None:
        return self._call(_INTERSECTION_UPDATE, keys_of(set(first).intersection(*others)), read=nothing)

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        """Remove what is in `other` too, add what is only there."""
        return self._call(_SYMMETRIC_DIFFERENCE_UPDATE, keys_of(set(other)), read=nothing)

    def __ior__(self, other: AbstractSet[Any]) -> Self:  # type: ignore[misc]
        self.update(other)
        return self

    def __isub__(self, other: AbstractSet[Any]) -> Self:
        self.difference_update(other)
        return self

    def __iand__(self, other: AbstractSet[Any]) -> Self:
        self.intersection_update(other)
        return self

    def __ixor__(self, other: AbstractSet[Any]) -> Self:  # type: ignore[misc]
        self.symmetric_difference_update(other)
        return self

    # -- plain sets made of it -------------------------------------------------------------------

    def union(self, *others: Iterable[Any]) -> set[Any]:
        """Return a plain set: its members and those of `others`."""
        return self.copy().union(*others)

    def intersection(self, *others: Iterable[Any]) -> set[Any]:
        """Return a plain set: what is here and in all `others`."""
        return self.copy().intersection(*others)

    def difference(self, *others: Iterable[Any]) -> set[Any]:
        """Return a plain set: what is here and in none of `others`."""
        return self.copy().difference(*others)

    def symmetric_difference(self, other: Iterable[Any]) -> set[Any]:
        """Return a plain set: what is only here or only in `other`."""
        return self.copy().symmetric_difference(other)

    def issubset(self, other: Iterable[Any]) -> bool:
        """Return whether `other` has every member."""
        return self.copy().issubset(other)

    def issuperset(self, other: Iterable[Any]) -> bool:
        """Return whether every member of `other` is here."""
        return self.copy().issuperset(other)

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> set[Any]:
        return set(it)  # what `a | b` gives is a plain set

    _getvalue = copy

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AbstractSet) and not isinstance(other, Proxy):
            return self.copy() == other
        return Proxy.__eq__(self, other)

    __hash__ = Proxy.__hash__

    def __str__(self) -> str:
        return str(self.copy())


def _read_member(reply: Reply) -> Any:
    return loads_key(reply.result[0])


def _read_members(reply: Reply) -> set[Any]:
    return {loads_key(key) for key in reply.result}


def keys_of(*members: Iterable[Any]) -> list[Any]:
    return [dumps_key(member) for some in members for member in some]


CLASSES: Final[dict[str, type[Proxy]]] = {"Set": Set}
