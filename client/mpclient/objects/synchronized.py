"""What Value and Array have in common: type codes, and the lock that goes with them.

RULES
* Characters and truth values are held by the server as numbers where it holds numbers only; which they are
  says the type code that each proxy has, and that travels with it.
* Made with ``lock=False`` an object is of a class of its own, without the lock's methods, as in
  `multiprocessing`.
"""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any, Final, Self

from mpclient.objects.base import Held, Proxy
from mpshared.errors import NotSupported

if TYPE_CHECKING:
    from types import TracebackType

    from mpclient.objects.t_lock import HasLockOps, Mutex
    from mpclient.transport.references import Handle

__all__ = [
    "ARRAY_CODES",
    "INTEGERS",
    "TYPECODES",
    "HasTypecode",
    "Synchronized",
    "Typed",
    "held",
    "shown",
    "typecode_of",
]

INTEGERS: Final = "bBhHiIlLqQ"
TYPECODES: Final = INTEGERS + "fd" + "cu"
"""Those that `multiprocessing` takes: numbers, bytes ("c") and characters ("u")."""
_CTYPES: Final = TYPECODES + "?"
"""Those of ctypes: "?" is `ctypes.c_bool`, which has no type code that one could give."""

_LOCKS: Final = {"lock": "mp.Lock", "rlock": "mp.RLock"}
"""What `get_lock` returns: the lock with the arguments of `multiprocessing`."""

ARRAY_CODES: Final = {"c": "B", "u": "I", "?": "B"}
"""What the server's array holds for those that are no numbers: bytes, code points, 0 and 1."""


def typecode_of(typecode_or_type: Any) -> str:
    """Return the type code for what `multiprocessing.Value` and `Array` take; "?" for `ctypes.c_bool`.

    Raises:
        TypeError: It names no type.
        NotSupported: A ctypes structure or pointer.
    """
    if isinstance(typecode_or_type, str):
        if typecode_or_type in TYPECODES and len(typecode_or_type) == 1:
            return typecode_or_type
        raise TypeError(f"bad type code {typecode_or_type!r:.40}: use one of {', '.join(TYPECODES)}")
    code = getattr(typecode_or_type, "_type_", None)
    ctypes = sys.modules.get("ctypes")
    if (
        ctypes is None
        or not isinstance(typecode_or_type, type)
        or not issubclass(typecode_or_type, ctypes.Structure.__base__)
    ):
        raise TypeError(f"{typecode_or_type!r:.60} is neither a type code nor a ctypes type")
    if not isinstance(code, str) or code not in _CTYPES:
        raise NotSupported(
            f"{typecode_or_type.__name__} is not one number, and its memory cannot be shared between hosts; "
            f"use an Array for each field, or the dict, list or Namespace of a Manager"
        )
    return code


def held(typecode: str, value: Any) -> Any:
    """Return the number that stands for `value`: a whole one, or a float with its type's precision.

    Raises:
        TypeError: It is nothing of that type.
        OverflowError: It does not fit.
    """
    if typecode == "c":
        return _byte(value)
    if typecode == "u":
        if isinstance(value, str) and len(value) == 1:
            return ord(value)
        raise TypeError(f"one character of text expected for type code 'u', not {value!r:.40}")
    if typecode == "?":
        return int(bool(value))
    return array(typecode, [value])[0]


def _byte(value: Any) -> int:
    if isinstance(value, bytes | bytearray) and len(value) == 1:
        return value[0]
    if isinstance(value, int) and 0 <= value <= 255:
        return int(value)
    raise TypeError(f"one byte, or a whole number below 256, expected for type code 'c', not {value!r:.40}")


def shown(typecode: str, number: Any) -> Any:
    """Return what a number stands for; the other way round than `held`."""
    if typecode == "c":
        return bytes((number,))
    if typecode == "u":
        return chr(number)
    return bool(number) if typecode == "?" else number


class HasTypecode(Held):
    """Something with a type code, and perhaps a lock beside it, whoever drives its calls."""

    __slots__ = ("_lock", "_typecode")

    _lock: Any
    """The lock that goes with it, or None."""

    def __init__(
        self, handle: Handle, name: str | None = None, *, typecode: str = "", lock: HasLockOps | None = None
    ) -> None:
        super().__init__(handle, name)
        self._typecode = typecode
        self._lock = lock

    @classmethod
    def from_handle(cls, handle: Handle, details: str) -> Self:
        """Make the proxy that was pickled: ``typecode`` or ``typecode:ident of the lock:its kind``."""
        typecode, *rest = details.split(":")
        if not rest:
            return cls(handle, typecode=typecode)
        ident, kind = rest
        lock = handle.session.make(f"{kind}/{_LOCKS[kind]}", handle.session.adopt(ident))
        return cls(handle, typecode=typecode, lock=lock)

    def _details(self) -> str:
        lock = self._lock
        return self._typecode if lock is None else f"{self._typecode}:{lock._handle.ident}:{lock.kind}"  # noqa: SLF001

    def _handles(self) -> tuple[Handle, ...]:
        return (self._handle,) if self._lock is None else (self._handle, self._lock._handle)  # noqa: SLF001

    def _check_counts(self) -> None:
        """Raise TypeError for what one cannot add to."""
        if self._typecode in ("c", "u", "?"):
            raise TypeError(
                f"the {self._label} holds no numbers but type code {self._typecode!r}: nothing can be added; "
                "assign a value instead"
            )


class Typed(HasTypecode, Proxy):
    """A proxy of something with a type code; by itself it is what ``lock=False`` makes."""

    __slots__ = ()


class Synchronized(Typed):
    """One with a lock beside it, like `multiprocessing.sharedctypes.Synchronized`."""

    __slots__ = ()

    def get_obj(self) -> Self:
        """Return the object without its lock: here that is the same."""
        return self

    def get_lock(self) -> Mutex:
        """Return the lock that goes with it."""
        return self._lock  # type: ignore[no-any-return]

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take its lock; see `RLock.acquire`."""
        return self.get_lock().acquire(timeout=timeout, block=block)

    def release(self) -> None:
        """Release its lock."""
        self.get_lock().release()

    def __enter__(self) -> bool:
        return self.get_lock().__enter__()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.get_lock().__exit__(exc_type, exc, trace)
