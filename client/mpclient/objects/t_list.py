"""List: a list that many hosts share, as `multiprocessing.Manager().list()`, with compound operations.

RULES
* Each method is one step on the server. Iterating fetches items as it comes to them, many at a time: it meets
  those that are added meanwhile, as with any list.
* Items are compared by structure on the server (`in`, `index`, `remove`, `count`, `cas`), never by their own
  ``__eq__``.
* What needs the items' own code (`sort` with a key, ordering objects) is done here, on a copy, which is
  stored if nothing has changed meanwhile; else it is done again.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from mpclient.objects.base import Proxy, in_parts
from mpclient.objects.readers import as_bool, as_int, nothing, plain
from mpshared.errors import Conflict, NotSupported
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpshared.ops import Op
    from mpshared.values import Blob
    from mpshared.wire.own.frames import Reply

__all__ = ["CLASSES", "List"]

_GET: Final[Op] = BY_NAME["list.get"]
_SET: Final[Op] = BY_NAME["list.set"]
_DELETE: Final[Op] = BY_NAME["list.delete"]
_GET_SLICE: Final[Op] = BY_NAME["list.get_slice"]
_SET_SLICE: Final[Op] = BY_NAME["list.set_slice"]
_DELETE_SLICE: Final[Op] = BY_NAME["list.delete_slice"]
_APPEND: Final[Op] = BY_NAME["list.append"]
_EXTEND: Final[Op] = BY_NAME["list.extend"]
_INSERT: Final[Op] = BY_NAME["list.insert"]
_POP: Final[Op] = BY_NAME["list.pop"]
_REMOVE: Final[Op] = BY_NAME["list.remove"]
_INDEX: Final[Op] = BY_NAME["list.index"]
_COUNT: Final[Op] = BY_NAME["list.count"]
_CONTAINS: Final[Op] = BY_NAME["list.contains"]
_LEN: Final[Op] = BY_NAME["list.len"]
_REVERSE: Final[Op] = BY_NAME["list.reverse"]
_SORT: Final[Op] = BY_NAME["list.sort"]
_CLEAR: Final[Op] = BY_NAME["list.clear"]
_REPEAT: Final[Op] = BY_NAME["list.repeat"]
_CAS: Final[Op] = BY_NAME["list.cas"]
_INCR: Final[Op] = BY_NAME["list.incr"]
_SNAPSHOT: Final[Op] = BY_NAME["list.snapshot"]
_REPLACE: Final[Op] = BY_NAME["list.replace"]

SORT_TRIES: Final = 20
_PAGE: Final = 1024
"""So many items are fetched at a time where a list is iterated over."""
_OWN_TRIES: Final = 3
"""So many where a key or a comparison calls the server: it may be what makes the list longer."""
_FAR: Final = (1 << 63) - 1
"""No list is as long."""
SORT_CONFLICT: Final = (
    "the {} was changed each time it was sorted here, by others or by its own key; hold a lock while it is "
    "sorted"
)


class List(Proxy, MutableSequence[Any]):
    """A shared list."""

    __slots__ = ()

    kind: ClassVar[str] = "list"

    # -- items and slices ------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._call(_GET_SLICE, wire_slice(index), read=self._read_values)
        return self._call(_GET, wire_index(index, "list"), read=self._read_value)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            return self._call(_SET_SLICE, wire_slice(index), blobs=self._blobs(value), read=nothing)
        return self._call(_SET, wire_index(index, "list"), blobs=(self._blob(value),), read=nothing)

    def __delitem__(self, index: Any) -> None:
        if isinstance(index, slice):
            return self._call(_DELETE_SLICE, wire_slice(index), read=nothing)
        return self._call(_DELETE, wire_index(index, "list"), read=nothing)

    def incr(self, index: int, n: float = 1) -> Any:
        """Add `n` to the number at `index`; return the sum.

        Raises:
            IndexError: No such item.
            TypeError: It is no number.
        """
        return self._call(_INCR, wire_index(index, "list"), n, read=plain)

    def cas(self, index: int, old: Any, new: Any) -> bool:
        """Compare and swap: store `new` at `index` if `old` (by structure) is there; return whether."""
        return self._call(_CAS, wire_index(index, "list"), blobs=self._blobs((old, new)), read=as_bool)

    # -- growing and shrinking -------------------------------------------------------------------

    def append(self, value: Any) -> None:
        """Add an item at the end."""
        return self._call(_APPEND, blobs=(self._blob(value),), read=nothing)

    def extend(self, values: Iterable[Any]) -> None:
        """Add items at the end, in one step up to 65,536; more in several, between which others may come."""
        for part in in_parts(self._blobs(values)):
            self.extend_blobs(part)

    def extend_blobs(self, blobs: Sequence[Blob]) -> None:
        """Add items that are pickled, all in one step."""
        return self._call(_EXTEND, blobs=blobs, read=nothing)

    def insert(self, index: int, value: Any) -> None:
        """Add an item before the one at `index`."""
        return self._call(_INSERT, wire_index(index, "list"), blobs=(self._blob(value),), read=nothing)

    def pop(self, index: int = -1) -> Any:
        """Remove the item at `index` and return it.

        Raises:
            IndexError: No such item.
        """
        return self._call(_POP, wire_index(index, "list"), read=self._read_value)

    def remove(self, value: Any) -> None:
        """Remove the first item that equals `value`, by structure.

        Raises:
            ValueError: There is none.
        """
        return self._call(_REMOVE, blobs=(self._blob(value),), read=nothing)

    def clear(self) -> None:
        """Remove everything."""
        return self._call(_CLEAR, read=nothing)

    def __iadd__(self, values: Iterable[Any]) -> Self:
        self.extend(values)
        return self

    def __imul__(self, n: int) -> Self:
        self._call(_REPEAT, wire_index(n, "list"), read=nothing)
        return self

    def __add__(self, other: Iterable[Any]) -> list[Any]:
        return self.copy() + list(other)

    def __mul__(self, n: int) -> list[Any]:
        return self.copy() * n

    __rmul__ = __mul__

    # -- looking ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._call(_LEN, read=as_int)

    def __iter__(self) -> Iterator[Any]:
        start = 0
        while page := self[start : start + _PAGE]:
            yield from page
            start += len(page)

    def __reversed__(self) -> Iterator[Any]:
        return iter(self.copy()[::-1])

    def __contains__(self, value: object) -> bool:
        return self._call(_CONTAINS, blobs=(self._blob(value),), read=as_bool)

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Return where the first item is that equals `value`, by structure.

        Raises:
            ValueError: There is none between `start` and `stop`.
        """
        return self._call(_INDEX, _near(start), _near(stop), blobs=(self._blob(value),), read=as_int)

    def count(self, value: Any) -> int:
        """Return how many items equal `value`, by structure."""
        return self._call(_COUNT, blobs=(self._blob(value),), read=as_int)

    def copy(self) -> list[Any]:
        """Return a plain list of the moment."""
        return self._call(_GET_SLICE, wire_slice(slice(None)), read=self._read_values)

    _getvalue = copy

    def __eq__(self, other: object) -> bool:
        return self.copy() == other if isinstance(other, list) else Proxy.__eq__(self, other)

    __hash__ = Proxy.__hash__

    def __str__(self) -> str:
        return str(self.copy())

    # -- order -----------------------------------------------------------------------------------

    def reverse(self) -> None:
        """Turn the order round."""
        return self._call(_REVERSE, read=nothing)

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Sort in place, stably.

        Plain data is sorted on the server. With `key`, or where the items' own code compares, it is done here
        and stored if the list has not changed meanwhile.

        Raises:
            TypeError: The items have no order.
            Conflict: Others, or `key` itself, changed the list each time that it was sorted (a ValueError).
        """
        if key is None:
            try:
                self._call(_SORT, bool(reverse), read=nothing)
            except NotSupported:
                self._sort_here(None, reverse)
        else:
            self._sort_here(key, reverse)

    def _sort_here(self, key: Callable[[Any], Any] | None, reverse: bool) -> None:
        session, left = self._handle.session, SORT_TRIES
        while left:
            version, blobs, items = self._call(_SNAPSHOT, read=self._read_snapshot)
            before = session.calls()
            order = sorted_order(items, key, reverse)
            left = (left if session.calls() == before else min(left, _OWN_TRIES)) - 1
            # The values go back as they came: what cannot be pickled again need not be.
            if self._call(_REPLACE, version, blobs=[blobs[i] for i in order], read=plain):
                return
        raise Conflict(SORT_CONFLICT.format(self._label))

    def _read_snapshot(self, reply: Reply) -> tuple[int, list[Blob], list[Any]]:
        return reply.result, list(reply.blobs), self._read_values(reply)


def sorted_order(items: list[Any], key: Callable[[Any], Any] | None, reverse: bool) -> list[int]:
    """Return the indices of items in their order, by the items' own code."""
    ranks = items if key is None else [key(item) for item in items]
    return sorted(range(len(items)), key=ranks.__getitem__, reverse=reverse)


def wire_slice(part: slice) -> list[int | None]:
    """Return a slice as it travels."""
    return [_near(at) for at in (part.start, part.stop, part.step)]


def _near(at: Any) -> int | None:
    """Return an end that slices take for the same, and that travels: one of 64 bits."""
    return None if at is None else max(-_FAR, min(operator.index(at), _FAR))


def wire_index(index: Any, kind: str) -> int:
    """Return an index as it travels.

    Raises:
        TypeError: It is no index, in the builtin's words.
    """
    try:
        return int(index.__index__())
    except AttributeError:
        raise TypeError(f"{kind} indices must be integers or slices, not {type(index).__name__}") from None


CLASSES: Final[dict[str, type[Proxy]]] = {"List": List}
