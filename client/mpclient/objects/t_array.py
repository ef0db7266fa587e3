"""Array: shared numbers, bytes or characters, as `multiprocessing.Array`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpclient.objects.readers import as_int, nothing, plain
from mpclient.objects.synchronized import ARRAY_CODES, Synchronized, Typed, held, shown, typecode_of
from mpclient.objects.t_list import wire_index, wire_slice
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.objects.base import Proxy
    from mpshared.ops import Op
    from mpshared.wire.own.frames import Reply

__all__ = ["CLASSES", "Array", "RawArray", "array_settings", "typecode_of"]

_GET: Final[Op] = BY_NAME["array.get"]
_SET: Final[Op] = BY_NAME["array.set"]
_GET_SLICE: Final[Op] = BY_NAME["array.get_slice"]
_SET_SLICE: Final[Op] = BY_NAME["array.set_slice"]
_LEN: Final[Op] = BY_NAME["array.len"]
_INCR: Final[Op] = BY_NAME["array.incr"]


class RawArray(Typed):
    """A fixed number of numbers, without a lock. Slices of bytes are bytes, those of characters text."""

    __slots__ = ()

    kind: ClassVar[str] = "array"
    flavour: ClassVar[str] = "RawArray"

    def __len__(self) -> int:
        return self._call(_LEN, read=as_int)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._call(_GET_SLICE, wire_slice(index), read=self._read_joined)
        return self._call(_GET, wire_index(index, "array"), read=self._read_one)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._store(index, value, len(self) if isinstance(index, slice) else 0)

    def _store(self, index: Any, value: Any, length: int) -> None:
        """Store a number at an index; or numbers in a slice of an array of this length."""
        if isinstance(index, slice):
            numbers = [self._number(number) for number in value]
            if len(numbers) != len(range(*index.indices(length))):
                raise ValueError("Can only assign sequence of same size")  # the words of ctypes arrays
            return self._call(_SET_SLICE, wire_slice(index), numbers, read=nothing)
        return self._call(_SET, wire_index(index, "array"), self._number(value), read=nothing)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __contains__(self, value: object) -> bool:
        return value in self.tolist()

    def tolist(self) -> list[Any]:
        """Return a plain list of the moment."""
        return self._call(_GET_SLICE, wire_slice(slice(None)), read=self._read_items)

    def incr(self, index: int, n: float = 1) -> Any:
        """Add `n` to the number at `index`; return the sum. One step on the server."""
        self._check_counts()
        return self._call(_INCR, wire_index(index, "array"), n, read=plain)

    def __str__(self) -> str:
        return str(self[:])

    def _getvalue(self) -> Any:
        return self[:]

    # -- bytes and characters --------------------------------------------------------------------

    @property
    def value(self) -> Any:
        """What stands before the first zero: bytes for type code "c", text for "u"; others have none."""
        zero = shown(self._text_code("value", "cu"), 0)
        return self[:].partition(zero)[0]

    @value.setter
    def value(self, value: Any) -> None:
        kind = bytes if self._text_code("value", "cu") == "c" else str
        if not isinstance(value, kind):
            raise TypeError(f"{kind.__name__} expected for the {self._label}, not {type(value).__name__}")
        self._write(value, ended=True)

    @property
    def raw(self) -> bytes:
        """All bytes. Only with type code "c"."""
        self._text_code("raw", "c")
        return self[:]  # type: ignore[no-any-return]

    @raw.setter
    def raw(self, value: Any) -> None:
        self._text_code("raw", "c")
        self._write(memoryview(value).tobytes(), ended=False)

    def _text_code(self, attribute: str, typecodes: str) -> str:
        if self._typecode and self._typecode in typecodes:
            return self._typecode
        raise AttributeError(
            f"the {self._label} has no attribute {attribute!r}: its type code is {self._typecode!r}, "
            f"not one of {', '.join(typecodes)}; use slices",
            name=attribute,
            obj=self,
        )

    def _write(self, text: bytes | str, *, ended: bool) -> None:
        """Store `text` at the beginning; `ended` by a zero if there is room."""
        length = len(self)
        if len(text) > length:
            raise ValueError(f"string too long: {len(text)} for the {self._label} of {length}")
        numbers = [self._number(item) for item in text]
        if ended and len(text) < length:
            numbers.append(0)
        self._call(_SET_SLICE, wire_slice(slice(0, len(numbers))), numbers, read=nothing)

    # -- what travels ----------------------------------------------------------------------------

    def _read_one(self, reply: Reply) -> Any:
        return shown(self._typecode, reply.result)

    def _read_joined(self, reply: Reply) -> Any:
        return self._joined(self._read_items(reply))

    def _read_items(self, reply: Reply) -> list[Any]:
        numbers: list[Any] = reply.result
        if self._typecode in ARRAY_CODES:
            return [shown(self._typecode, number) for number in numbers]
        return numbers

    def _joined(self, items: list[Any]) -> Any:
        if self._typecode == "c":
            return b"".join(items)
        return "".join(items) if self._typecode == "u" else items

    def _number(self, value: Any) -> Any:
        return held(self._typecode, value) if self._typecode else value


class Array(Synchronized, RawArray):
    """A fixed number of numbers, and a lock beside them."""

    __slots__ = ()

    flavour: ClassVar[str] = "Array"


def array_settings(typecode: str, size_or_initializer: int | Sequence[Any]) -> dict[str, Any]:
    """Return the settings of a new array of a type code from `typecode_of`.

    Raises:
        TypeError, OverflowError: The numbers are not of that type.
        ValueError: A negative length.
    """
    code = ARRAY_CODES.get(typecode, typecode)
    if isinstance(size_or_initializer, int):
        if size_or_initializer < 0:
            raise ValueError(f"an array has no negative length, got {size_or_initializer}")
        return {"typecode": code, "size": size_or_initializer}
    numbers = [held(typecode, number) for number in size_or_initializer]
    return {"typecode": code, "numbers": numbers}


CLASSES: Final[dict[str, type[Proxy]]] = {"RawArray": RawArray, "Array": Array}
