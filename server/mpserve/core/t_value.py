"""Value: one cell.

Its type code is for programs to see. As in the standard library's manager, any value may be stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.comparing import Number, add, number_blob, same
from mpserve.core.machine import Change, Machine
from mpserve.core.room import weight
from mpshared.errors import BadType
from mpshared.values import NONE, size_bytes

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpshared.values import Blob

__all__ = ["Value"]


class Value(Machine):
    """A shared cell."""

    kind: ClassVar[str] = "value"
    SETTINGS: ClassVar[dict[str, Any]] = {"typecode": ""}

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        if type(self.settings["typecode"]) is not str:
            raise BadType(
                f"the type code of {self.label} must be text, not {self.settings['typecode']!r:.80}"
            )
        self.blob: Blob = NONE

    def setup(self, fx: Effects, blobs: list[Blob]) -> None:
        """Store the first value; raise `BadType` for any number of values but one."""
        if len(blobs) != 1:
            raise BadType(f"{self.label} is created with exactly one value, was sent {len(blobs)}")
        self.change(fx, "set", blobs[0])

    # -- operations ------------------------------------------------------------------------------

    def get(self, fx: Effects, call: Call) -> None:
        """Answer the value. Cost: O(1)."""
        fx.reply(call, None, [self.blob])

    def get_typed(self, fx: Effects, call: Call) -> None:
        """Answer type code and value: what it takes to make a stock `managers.Value`. Cost: O(1)."""
        fx.reply(call, self.settings["typecode"], [self.blob])

    def set(self, fx: Effects, call: Call) -> None:
        """Set the value. Cost: O(1)."""
        self.change(fx, "set", call.blobs[0])
        fx.reply(call)

    def incr(self, fx: Effects, call: Call, by: Number) -> None:
        """Add to the number stored; answer the sum.

        Raises:
            BadType: What is stored is no number.
            Overflow: The sum leaves 64 bits.

        Cost: O(1).
        """
        total = add(self, self.blob, by)
        self.change(fx, "set", number_blob(total))
        fx.reply(call, total)

    def cas(self, fx: Effects, call: Call) -> None:
        """Compare and swap: given old and new, set the new one if the old one is stored; answer whether.

        Cost: O(size of both values).
        """
        old, new = call.blobs
        believed = same(self, self.blob, old)
        if believed:
            self.change(fx, "set", new)
        fx.reply(call, believed)

    # -- changes ---------------------------------------------------------------------------------

    def on_set(self, fx: Effects, blob: Blob) -> None:
        """Store the value."""
        fx.keep((self.blob,), -1)
        self.blob = blob
        fx.keep((blob,))

    def growth(self, call: Call, args: list[Any]) -> int:
        """Return what the new value needs beyond the one whose place it takes."""
        _ = args
        return weight(call.blobs[-1:]) - weight([self.blob])

    def rebuild(self) -> Iterator[Change]:
        """Yield the value."""
        yield "set", (self.blob,)

    # -- looking ---------------------------------------------------------------------------------

    def stored(self) -> Iterator[Blob]:
        """Yield the one value."""
        yield self.blob

    def state(self) -> Blob:
        """Return the value."""
        return self.blob

    def statistics(self) -> dict[str, Any]:
        """Return type code and size of the value."""
        return {"typecode": self.settings["typecode"], "size_bytes": size_bytes(self.blob)}
