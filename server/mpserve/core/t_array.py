"""Array: numbers of one type code, held as the `array` module holds them, 1 to 8 bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpserve.core.comparing import Number
from mpserve.core.indexes import check_slice, place
from mpserve.core.machine import Change, Machine
from mpshared.errors import BadType, BadValue, Conflict, Overflow, TooBig

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects

__all__ = ["MAX_SIZE_BYTES", "TYPECODES", "Array", "array_bytes"]

TYPECODES: Final = "bBhHiIlLqQfd"
"""Those of the array module that hold numbers. (Those of text are going to be removed from Python.)"""
MAX_SIZE_BYTES: Final = 2**28
"""Of an array that is created by its size alone; as much as the largest message that could read it whole."""

_NO_ITEM = "array index out of range"
_NO_TARGET = "array assignment index out of range"


class Array(Machine):
    """A shared array.

    Settings: `typecode`, and either `size` (so many zeros) or `numbers` (the first content).
    """

    kind: ClassVar[str] = "array"
    SETTINGS: ClassVar[dict[str, Any]] = {"typecode": "", "size": 0, "numbers": None}

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        typecode, size, numbers = (self.settings[key] for key in ("typecode", "size", "numbers"))
        self._check_settings(typecode, size, numbers)
        self.typecode: str = typecode
        zeros = bytes(size * _width(typecode))
        self.numbers: array[Any] = self._convert(numbers) if numbers else array(typecode, zeros)

    # -- operations ------------------------------------------------------------------------------

    def get(self, fx: Effects, call: Call, index: int) -> None:
        """Answer one number; raise `BadIndex`. Cost: O(1)."""
        fx.reply(call, self.numbers[self._place(index, _NO_ITEM)])

    def get_slice(self, fx: Effects, call: Call, part: slice) -> None:
        """Answer the numbers of a slice as a list. Cost: O(result)."""
        check_slice(self, part, len(self.numbers))
        fx.reply(call, self.numbers[part].tolist())

    def get_typed(self, fx: Effects, call: Call, part: slice) -> None:
        """Answer [type code, numbers] of a slice: what it takes to make an `array.array`. Cost: O(result)."""
        check_slice(self, part, len(self.numbers))
        fx.reply(call, [self.typecode, self.numbers[part].tolist()])

    def len(self, fx: Effects, call: Call) -> None:
        """Answer the number of numbers. Cost: O(1)."""
        fx.reply(call, len(self.numbers))

    def set(self, fx: Effects, call: Call, index: int, number: Number) -> None:
        """Set one number.

        Raises:
            BadIndex: There is no such place.
            BadType: A float for an array of integers.
            Overflow: It does not fit the type code.

        Cost: O(1).
        """
        where = self._place(index, _NO_TARGET)
        self.change(fx, "set", where, self._convert([number])[0])
        fx.reply(call)

    def set_slice(self, fx: Effects, call: Call, part: slice, numbers: list[Any]) -> None:
        """Replace a slice; with step 1 the length may change.

        Raises:
            BadValue: Step 0, or an extended slice of another size.
            BadType: Something that is no number of the array's kind.
            Overflow: A number that does not fit the type code.

        Cost: O(n).
        """
        check_slice(self, part, len(self.numbers), len(numbers))
        self.change(fx, "replaced", part.start, part.stop, part.step, self._convert(numbers).tolist())
        fx.reply(call)

    def incr(self, fx: Effects, call: Call, index: int, by: Number) -> None:
        """Add to one number; answer the sum as it is stored.

        Raises:
            BadIndex: There is no such place.
            BadType: A float for an array of integers.
            Overflow: The sum does not fit the type code.

        Cost: O(1).
        """
        where = self._place(index, _NO_ITEM)
        total = self._convert([self.numbers[where] + by])[0]
        self.change(fx, "set", where, total)
        fx.reply(call, total)

    # -- changes ---------------------------------------------------------------------------------

    def on_set(self, _fx: Effects, where: int, number: Number) -> None:
        """Store one number."""
        self.numbers[where] = number

    def on_replaced(
        self, fx: Effects, start: int | None, stop: int | None, step: int | None, numbers: Sequence[Number]
    ) -> None:
        """Replace a slice."""
        before = self.extra_bytes()
        self.numbers[slice(start, stop, step)] = array(self.typecode, numbers)
        fx.room.held_bytes += self.extra_bytes() - before

    def rebuild(self) -> Iterator[Change]:
        """Yield the numbers."""
        yield "replaced", (None, None, None, self.numbers.tolist())

    # -- looking ---------------------------------------------------------------------------------

    def _check_settings(self, typecode: object, size: object, numbers: object) -> None:
        if type(typecode) is not str or len(typecode) != 1 or typecode not in TYPECODES:
            raise BadValue(f"bad typecode {typecode!r:.80} for {self.label} (must be one of {TYPECODES})")
        if numbers is not None and type(numbers) is not list:
            raise BadType(f"the first numbers of {self.label} must be a list, not {type(numbers).__name__}")
        if type(size) is not int or size < 0:
            raise BadValue(f"the size of {self.label} must be a number >= 0, not {size!r:.80}")
        if size and numbers:
            raise Conflict(f"{self.label} was given a size and numbers; give one of them")
        if size * _width(typecode) > MAX_SIZE_BYTES:
            raise TooBig(f"{size} numbers for {self.label} are over the limit of {MAX_SIZE_BYTES} bytes")

    def _convert(self, numbers: list[Any]) -> array[Any]:
        try:
            return array(self.settings["typecode"], numbers)
        except OverflowError as err:
            raise Overflow(f"a number does not fit {self.label}: {err}") from None
        except TypeError as err:
            typecode = self.settings["typecode"]
            raise BadType(f"not a number for {self.label} of type code {typecode!r}: {err}") from None

    def _place(self, index: int, text: str) -> int:
        return place(self, index, len(self.numbers), text)

    def extra_bytes(self) -> int:
        """Return the size of all numbers."""
        return len(self.numbers) * self.numbers.itemsize

    def growth(self, call: Call, args: list[Any]) -> int:
        """Return what the numbers of a slice need beyond those whose places they take."""
        _ = call
        part, numbers = args
        return (len(numbers) - len(self.numbers[part])) * self.numbers.itemsize

    def state(self) -> tuple[str, bytes]:
        """Return type code and content; bytes, because NaN equals nothing."""
        return self.typecode, self.numbers.tobytes()

    def statistics(self) -> dict[str, Any]:
        """Return length and type code."""
        return {"length": len(self.numbers), "typecode": self.typecode}

    def validate(self) -> None:
        """Raise AssertionError if the numbers are held in another type."""
        super().validate()
        assert self.numbers.typecode == self.typecode


def array_bytes(settings: dict[str, Any]) -> int:
    """Return about how much an array with these settings, not checked yet, would hold."""
    size, numbers = settings.get("size"), settings.get("numbers")
    return 8 * ((size if type(size) is int else 0) + (len(numbers) if type(numbers) is list else 0))


def _width(typecode: str) -> int:
    return array(typecode).itemsize
