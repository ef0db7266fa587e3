"""Array: shared numbers of one type, as `multiprocessing.Array`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpclient.objects.synchronized import Synchronized, check_number, typecode_of
from mpclient.objects.t_list import wire_index, wire_slice
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.objects.base import Proxy
    from mpshared.ops import Op

__all__ = ["CLASSES", "Array", "array_settings"]

_GET: Final[Op] = BY_NAME["array.get"]
_SET: Final[Op] = BY_NAME["array.set"]
_GET_SLICE: Final[Op] = BY_NAME["array.get_slice"]
_SET_SLICE: Final[Op] = BY_NAME["array.set_slice"]
_LEN: Final[Op] = BY_NAME["array.len"]
_INCR: Final[Op] = BY_NAME["array.incr"]


class Array(Synchronized):
    """A fixed number of numbers."""

    __slots__ = ()

    kind: ClassVar[str] = "array"
    flavour: ClassVar[str] = "Array"

    def __len__(self) -> int:
        return int(self._call(_LEN).result)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._call(_GET_SLICE, wire_slice(index)).result
        return self._call(_GET, wire_index(index, "array")).result

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            numbers = [self._number(number) for number in value]
            if len(numbers) != len(range(*index.indices(len(self)))):
                raise ValueError("Can only assign sequence of same size")  # the words of ctypes arrays
            self._call(_SET_SLICE, wire_slice(index), numbers)
        else:
            self._call(_SET, wire_index(index, "array"), self._number(value))

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:])

    def __contains__(self, value: object) -> bool:
        return value in self[:]

    def tolist(self) -> list[Any]:
        """Return a plain list of the moment."""
        return self[:]  # type: ignore[no-any-return]

    def incr(self, index: int, n: float = 1) -> Any:
        """Add `n` to the number at `index`; return the sum. One step on the server."""
        return self._call(_INCR, wire_index(index, "array"), n).result

    def __str__(self) -> str:
        return str(self[:])

    def _number(self, value: Any) -> Any:
        return check_number(self._typecode, value) if self._typecode else value


def array_settings(typecode_or_type: Any, size_or_initializer: int | Sequence[Any]) -> dict[str, Any]:
    """Return the settings of a new array.

    Raises:
        TypeError, OverflowError, NotSupported: The type or the numbers cannot be shared.
        ValueError: A negative length.
    """
    typecode = typecode_of(typecode_or_type)
    if isinstance(size_or_initializer, int):
        if size_or_initializer < 0:
            raise ValueError(f"an array has no negative length, got {size_or_initializer}")
        return {"typecode": typecode, "size": size_or_initializer}
    numbers = [check_number(typecode, number) for number in size_or_initializer]
    return {"typecode": typecode, "numbers": numbers}


CLASSES: Final[dict[str, type[Proxy]]] = {"Array": Array}
