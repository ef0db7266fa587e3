"""What Value and Array have in common: type codes, and the lock that goes with them."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any, Final, Self

from mpclient.objects.base import Proxy
from mpshared.errors import NotSupported

if TYPE_CHECKING:
    from types import TracebackType

    from mpclient.objects.t_lock import Mutex
    from mpclient.references import Handle

__all__ = ["INTEGERS", "TYPECODES", "Synchronized", "check_number", "typecode_of"]

INTEGERS: Final = "bBhHiIlLqQ"
TYPECODES: Final = INTEGERS + "fd"


def typecode_of(typecode_or_type: Any) -> str:
    """Return the type code for what `multiprocessing.Value` and `Array` take.

    Raises:
        TypeError: It names no type.
        NotSupported: A ctypes structure, pointer or character type.
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
        or not hasattr(ctypes, typecode_or_type.__name__)
    ):
        raise TypeError(f"{typecode_or_type!r:.60} is neither a type code nor a ctypes type")
    if typecode_or_type is ctypes.c_bool:
        return "B"
    if not isinstance(code, str) or code not in TYPECODES:
        raise NotSupported(
            f"{typecode_or_type.__name__} cannot be shared between hosts as one number; use a type code "
            f"({', '.join(TYPECODES)}), a dict or a Namespace"
        )
    return code


def check_number(typecode: str, value: Any) -> Any:
    """Return `value` as the type code holds it: a whole number, or a float with its precision.

    Raises:
        TypeError: It is no number of that type.
        OverflowError: It does not fit.
    """
    return array(typecode, [value])[0]


class Synchronized(Proxy):
    """A proxy with a lock beside it, like `multiprocessing.sharedctypes.Synchronized`."""

    __slots__ = ("_lock", "_typecode")

    def __init__(
        self, handle: Handle, name: str | None = None, *, typecode: str = "", lock: Mutex | None = None
    ) -> None:
        super().__init__(handle, name)
        self._typecode = typecode
        self._lock = lock

    @classmethod
    def from_handle(cls, handle: Handle, details: str) -> Self:
        """Make the proxy that was pickled: ``typecode`` or ``typecode:ident of the lock:its kind``."""
        from mpclient.objects import find_class  # noqa: PLC0415 - the import would be circular

        typecode, *rest = details.split(":")
        if not rest:
            return cls(handle, typecode=typecode)
        ident, kind = rest
        lock: Any = find_class(kind)(handle.session.adopt(ident))
        return cls(handle, typecode=typecode, lock=lock)

    def _details(self) -> str:
        lock = self._lock
        return self._typecode if lock is None else f"{self._typecode}:{lock._handle.ident}:{lock.kind}"  # noqa: SLF001

    def _handles(self) -> tuple[Handle, ...]:
        return (self._handle,) if self._lock is None else (self._handle, self._lock._handle)  # noqa: SLF001

    def get_obj(self) -> Self:
        """Return the object without its lock: here that is the same."""
        return self

    def get_lock(self) -> Mutex:
        """Return the lock that goes with it.

        Raises:
            AttributeError: It was made with ``lock=False``.
        """
        if self._lock is None:
            raise AttributeError(f"the {self._label} was made with lock=False and has no lock")
        return self._lock

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
