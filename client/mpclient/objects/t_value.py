"""Value: one shared number, byte, character or truth value, as `multiprocessing.Value`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpclient.objects.readers import as_bool, nothing, plain
from mpclient.objects.synchronized import Synchronized, Typed, held, shown, typecode_of
from mpclient.values.pickling import dumps
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.objects.base import Proxy
    from mpshared.ops import Op
    from mpshared.values import Blob

__all__ = ["CLASSES", "RawValue", "Value", "first_value", "typecode_of"]

_GET: Final[Op] = BY_NAME["value.get"]
_SET: Final[Op] = BY_NAME["value.set"]
_INCR: Final[Op] = BY_NAME["value.incr"]
_CAS: Final[Op] = BY_NAME["value.cas"]


class RawValue(Typed):
    """One number without a lock. ``v.value += 1`` is two steps; `incr` is one."""

    __slots__ = ()

    kind: ClassVar[str] = "value"
    flavour: ClassVar[str] = "RawValue"

    @property
    def value(self) -> Any:
        """The number (type code "c": a byte, "u": a character; c_bool: True or False)."""
        return self.get()

    @value.setter
    def value(self, value: Any) -> None:
        self.set(value)

    def get(self) -> Any:
        """Return the number."""
        return self._call(_GET, read=self._read_value)

    _getvalue = get

    def set(self, value: Any) -> None:
        """Store a number.

        Raises:
            TypeError: It is no number of the value's type.
            OverflowError: It does not fit.
        """
        return self._call(_SET, blobs=(self._blob(value),), read=nothing)

    def incr(self, n: float = 1) -> Any:
        """Add `n`; return the sum. One step on the server."""
        self._check_counts()
        return self._call(_INCR, n, read=plain)

    def cas(self, old: Any, new: Any) -> bool:
        """Compare and swap: store `new` if the number is `old`; return whether it was."""
        return self._call(_CAS, blobs=(self._blob(old), self._blob(new)), read=as_bool)

    def _blob(self, value: Any) -> Blob:
        given = _converted(self._typecode, value) if self._typecode else value
        return dumps(given, self._handle.session)


class Value(Synchronized, RawValue):
    """One number, and a lock beside it."""

    __slots__ = ()

    flavour: ClassVar[str] = "Value"


def first_value(typecode: str, args: tuple[Any, ...]) -> Any:
    """Return what a new value begins with: the argument, or zero.

    Raises:
        TypeError: More than one argument, or no number of that type.
    """
    if len(args) > 1:
        raise TypeError(f"a Value is given one first value, got {len(args)}")
    return _converted(typecode, args[0]) if args else shown(typecode, 0.0 if typecode in "fd" else 0)


def _converted(typecode: str, value: Any) -> Any:
    """Return `value` as it comes back; raise as `held` does."""
    return shown(typecode, held(typecode, value))


CLASSES: Final[dict[str, type[Proxy]]] = {"RawValue": RawValue, "Value": Value}
