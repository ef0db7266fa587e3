"""Value and Array, awaited: shared numbers, with a lock beside them or without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar

from mpclient.aio.base import AsyncProxy, awaited, shared
from mpclient.objects import t_array, t_value
from mpclient.objects.synchronized import HasTypecode

if TYPE_CHECKING:
    from types import TracebackType

    from mpclient.aio.locks import Mutex

__all__ = ["Array", "RawArray", "RawValue", "Value"]


class _Typed(HasTypecode, AsyncProxy):
    """Something with a type code, and perhaps a lock."""

    __slots__ = ()


class _Synchronized(_Typed):
    """One with a lock beside it."""

    __slots__ = ()

    def get_lock(self) -> Mutex:
        """Return the lock that goes with it."""
        return self._lock  # type: ignore[no-any-return]

    async def __aenter__(self) -> bool:
        return await self.get_lock().acquire()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.get_lock().__aexit__(exc_type, exc, trace)


class RawValue(_Typed):
    """One number without a lock."""

    __slots__ = ()

    kind: ClassVar[str] = "value"
    flavour: ClassVar[str] = "RawValue"

    _blob = shared(t_value.RawValue._blob)

    get = awaited(t_value.RawValue.get)
    set = awaited(t_value.RawValue.set)
    incr = awaited(t_value.RawValue.incr)
    cas = awaited(t_value.RawValue.cas)


class Value(_Synchronized, RawValue):
    """One number, and a lock beside it."""

    __slots__ = ()

    flavour: ClassVar[str] = "Value"


class RawArray(_Typed):
    """A fixed number of numbers, without a lock."""

    __slots__ = ()

    kind: ClassVar[str] = "array"
    flavour: ClassVar[str] = "RawArray"

    _joined = shared(t_array.RawArray._joined)
    _number = shared(t_array.RawArray._number)
    _read_one = shared(t_array.RawArray._read_one)
    _read_items = shared(t_array.RawArray._read_items)
    _read_joined = shared(t_array.RawArray._read_joined)
    _store = awaited(t_array.RawArray._store)

    __getitem__ = awaited(t_array.RawArray.__getitem__)
    len = awaited(t_array.RawArray.__len__)
    tolist = awaited(t_array.RawArray.tolist)
    incr = awaited(t_array.RawArray.incr)

    async def set(self, index: Any, value: Any) -> None:
        """Store a number at an index, or as many as a slice has."""
        length = await self.len() if isinstance(index, slice) else 0
        await self._store(index, value, length)

    async def __aiter__(self) -> AsyncIterator[Any]:
        for number in await self.tolist():
            yield number


class Array(_Synchronized, RawArray):
    """A fixed number of numbers, and a lock beside them."""

    __slots__ = ()

    flavour: ClassVar[str] = "Array"
