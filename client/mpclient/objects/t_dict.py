"""Dict: a dict that many hosts share, as `multiprocessing.Manager().dict()`, with compound operations.

RULES
* Each method is one step on the server; iterating works on a copy of the moment.
* A shared object stored inside is live: what is changed through it is changed for everybody. A plain list or
  dict inside is a value: changing it does nothing until it is stored again.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from mpclient.objects.base import REQUIRED, Proxy, in_parts
from mpclient.objects.readers import as_bool, as_int, nothing, plain
from mpclient.values.pickling import dumps, dumps_key, loads_key
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpshared.ops import Op
    from mpshared.values import Blob
    from mpshared.wire.own.frames import Reply

__all__ = ["CLASSES", "MISSING", "Dict"]

_FROZEN: Final[Any] = getattr(builtins, "frozendict", ())
"""From Python 3.15 on."""
_GET: Final[Op] = BY_NAME["dict.get"]
_SET: Final[Op] = BY_NAME["dict.set"]
_DELETE: Final[Op] = BY_NAME["dict.delete"]
_CONTAINS: Final[Op] = BY_NAME["dict.contains"]
_LEN: Final[Op] = BY_NAME["dict.len"]
_KEYS: Final[Op] = BY_NAME["dict.keys"]
_VALUES: Final[Op] = BY_NAME["dict.values"]
_ITEMS: Final[Op] = BY_NAME["dict.items"]
_POP: Final[Op] = BY_NAME["dict.pop"]
_POPITEM: Final[Op] = BY_NAME["dict.popitem"]
_SETDEFAULT: Final[Op] = BY_NAME["dict.setdefault"]
_UPDATE: Final[Op] = BY_NAME["dict.update"]
_CLEAR: Final[Op] = BY_NAME["dict.clear"]
_INCR: Final[Op] = BY_NAME["dict.incr"]
_CAS: Final[Op] = BY_NAME["dict.cas"]


class _Missing:
    """The one value that stands for "no such key"."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""For `Dict.cas`: "there is no such key", before or after."""


class Dict(Proxy, MutableMapping[Any, Any]):
    """A shared dict, in the order of insertion."""

    __slots__ = ()

    kind: ClassVar[str] = "dict"

    # -- one key ---------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        return self._look_up(_GET, key, read=self._read_value)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, or `default`."""
        return self._look_up(_GET, key, read=self._read_value, default=default)

    def __setitem__(self, key: Any, value: Any) -> None:
        wire_key, blob = dumps_key(key), dumps(value, self._handle.session)
        return self._call(_SET, wire_key, blobs=(blob,), read=nothing)

    def __delitem__(self, key: Any) -> None:
        return self._look_up(_DELETE, key, read=nothing)

    def __contains__(self, key: object) -> bool:
        return self._call(_CONTAINS, dumps_key(key), read=as_bool)

    def pop(self, key: Any, default: Any = MISSING) -> Any:
        """Remove a key and return its value, or `default` if one is given.

        Raises:
            KeyError: No such key, and no default.
        """
        given = REQUIRED if default is MISSING else default
        return self._look_up(_POP, key, read=self._read_value, default=given)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key; a missing one is set to `default` first. One step on the server."""
        return self._call(_SETDEFAULT, dumps_key(key), blobs=(self._blob(default),), read=self._read_value)

    def incr(self, key: Any, n: float = 1) -> Any:
        """Add `n` to the number stored under a key (a missing one counts as 0); return the sum.

        Raises:
            TypeError: What is stored is no number.
            OverflowError: The sum leaves 64 bits.
        """
        return self._call(_INCR, dumps_key(key), n, read=plain)

    def cas(self, key: Any, old: Any, new: Any) -> bool:
        """Compare and swap: store `new` if the key has the value `old`; return whether it had.

        Args:
            key: The key.
            old: Compared by structure, not by its own ``__eq__``. `MISSING`: there must be no such key.
            new: `MISSING` deletes the key.
        """
        given = [value for value in (old, new) if value is not MISSING]
        blobs = [self._blob(value) for value in given]
        given_both = old is not MISSING, new is not MISSING
        return self._call(_CAS, dumps_key(key), *given_both, blobs=blobs, read=as_bool)

    # -- all keys --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._call(_LEN, read=as_int)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def __reversed__(self) -> Iterator[Any]:
        return iter(self.keys()[::-1])

    def keys(self) -> list[Any]:  # type: ignore[override]
        """Return a list of the keys of the moment, as a manager's dict does."""
        return self._call(_KEYS, read=read_keys)

    def values(self) -> list[Any]:  # type: ignore[override]
        """Return a list of the values of the moment."""
        return self._call(_VALUES, read=self._read_values)

    def items(self) -> list[tuple[Any, Any]]:  # type: ignore[override]
        """Return a list of the (key, value) pairs of the moment."""
        return self._call(_ITEMS, read=self._read_items)

    def copy(self) -> dict[Any, Any]:
        """Return a plain dict of the moment."""
        return self._call(_ITEMS, read=self._read_dict)

    _getvalue = copy

    @staticmethod
    def fromkeys(keys: Iterable[Any], value: Any = None, /) -> dict[Any, Any]:
        """Return a plain dict with these keys, as a manager's dict does from Python 3.14 on."""
        return dict.fromkeys(keys, value)

    def popitem(self) -> tuple[Any, Any]:
        """Remove and return the pair that was inserted last.

        Raises:
            KeyError: It is empty.
        """
        return self._call(_POPITEM, read=self._read_item)

    def update(self, other: Mapping[Any, Any] | Iterable[Any] = (), /, **others: Any) -> None:  # type: ignore[override]
        """Set many keys, in one step up to 65,536; more in several, between which others may come."""
        for keys, blobs in self._updates(other, **others):
            self._update(keys, blobs)

    def _updates(
        self, other: Mapping[Any, Any] | Iterable[Any], /, **others: Any
    ) -> Iterable[tuple[Sequence[Any], Sequence[Blob]]]:
        new = dict(other.items() if isinstance(other, Mapping) else other, **others)
        keys = [dumps_key(key) for key in new]
        return zip(in_parts(keys), in_parts(self._blobs(new.values())), strict=True)

    def _update(self, keys: Sequence[Any], blobs: Sequence[Blob]) -> None:
        return self._call(_UPDATE, keys, blobs=blobs, read=nothing)

    def clear(self) -> None:
        """Remove everything."""
        return self._call(_CLEAR, read=nothing)

    def __or__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return self.copy() | dict(other)

    def __ror__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return (other if isinstance(other, _FROZEN) else dict(other)) | self.copy()

    def __ior__(self, other: Mapping[Any, Any] | Iterable[Any]) -> Self:
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapping) and not isinstance(other, Proxy):
            return self.copy() == other
        return Proxy.__eq__(self, other)

    __hash__ = Proxy.__hash__

    def __str__(self) -> str:
        return str(self.copy())

    # -- what travels ----------------------------------------------------------------------------

    def _read_items(self, reply: Reply) -> list[tuple[Any, Any]]:
        return list(zip(map(loads_key, reply.result), self._read_values(reply), strict=True))

    def _read_item(self, reply: Reply) -> tuple[Any, Any]:
        return self._read_items(reply)[0]

    def _read_dict(self, reply: Reply) -> dict[Any, Any]:
        return dict(self._read_items(reply))


def read_keys(reply: Reply) -> list[Any]:
    """Return the keys of an answer."""
    return [loads_key(key) for key in reply.result]


CLASSES: Final[dict[str, type[Proxy]]] = {"Dict": Dict}
