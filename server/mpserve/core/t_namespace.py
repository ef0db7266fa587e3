"""Namespace: attributes to values.

Names that begin with an underscore are nobody's: Python's own machinery asks for them when it copies, pickles
or inspects a proxy, and must be told that there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.comparing import Number, add, number_blob
from mpserve.core.machine import Change, Machine
from mpserve.core.room import weight
from mpshared.errors import AttributeMissing

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpshared.values import Blob

__all__ = ["Namespace"]


class Namespace(Machine):
    """A shared namespace."""

    kind: ClassVar[str] = "namespace"

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.blobs: dict[str, Blob] = {}

    # -- operations ------------------------------------------------------------------------------

    def get(self, fx: Effects, call: Call, attribute: str) -> None:
        """Answer the value; raise `AttributeMissing`. Cost: O(1)."""
        fx.reply(call, None, [self._get_blob(attribute)])

    def set(self, fx: Effects, call: Call, attribute: str) -> None:
        """Set an attribute; raise `AttributeMissing` for a private name. Cost: O(1)."""
        self._check_public(attribute)
        self.change(fx, "set", attribute, call.blobs[0])
        fx.reply(call)

    def delete(self, fx: Effects, call: Call, attribute: str) -> None:
        """Delete an attribute; raise `AttributeMissing`. Cost: O(1)."""
        self._get_blob(attribute)
        self.change(fx, "deleted", attribute)
        fx.reply(call)

    def items(self, fx: Effects, call: Call) -> None:
        """Answer a list of all names, and their values in the same order. Cost: O(n)."""
        fx.reply(call, list(self.blobs), list(self.blobs.values()))

    def incr(self, fx: Effects, call: Call, attribute: str, by: Number) -> None:
        """Add to the number in an attribute, a missing one counting as 0; answer the sum.

        Raises:
            AttributeMissing: A private name.
            BadType: What is stored is no number.
            Overflow: The sum leaves 64 bits.

        Cost: O(1).
        """
        self._check_public(attribute)
        total = add(self, self.blobs.get(attribute), by)
        self.change(fx, "set", attribute, number_blob(total))
        fx.reply(call, total)

    # -- changes ---------------------------------------------------------------------------------

    def on_set(self, fx: Effects, attribute: str, blob: Blob) -> None:
        """Store one value."""
        old = self.blobs.get(attribute)
        if old is None:
            fx.room.held_bytes += len(attribute)
        else:
            fx.keep((old,), -1)
        self.blobs[attribute] = blob
        fx.keep((blob,))

    def on_deleted(self, fx: Effects, attribute: str) -> None:
        """Drop one value."""
        fx.keep((self.blobs.pop(attribute),), -1)
        fx.room.held_bytes -= len(attribute)

    def rebuild(self) -> Iterator[Change]:
        """Yield each attribute."""
        for item in self.blobs.items():
            yield "set", item

    # -- looking ---------------------------------------------------------------------------------

    def _get_blob(self, attribute: str) -> Blob:
        try:
            return self.blobs[attribute]
        except KeyError:
            raise AttributeMissing(
                f"'Namespace' object has no attribute {attribute!r:.200} ({self.label}); set it first"
            ) from None

    def _check_public(self, attribute: str) -> None:
        if attribute.startswith("_"):
            raise AttributeMissing(
                f"'Namespace' object has no attribute {attribute!r:.200}: {self.label} shares no names that "
                "begin with '_'; choose another one"
            )

    def extra_bytes(self) -> int:
        """Return the size of all names."""
        return sum(map(len, self.blobs))

    def growth(self, call: Call, args: list[Any]) -> int:
        """Return what a new value needs beyond the one whose place it takes."""
        old = self.blobs.get(args[0])
        return weight(call.blobs) + len(args[0]) if old is None else weight(call.blobs) - weight([old])

    def stored(self) -> Iterator[Blob]:
        """Yield every value."""
        return iter(self.blobs.values())

    def state(self) -> list[tuple[str, Blob]]:
        """Return names and values, in order."""
        return list(self.blobs.items())

    def statistics(self) -> dict[str, Any]:
        """Return the number of attributes."""
        return {"length": len(self.blobs)}

    def validate(self) -> None:
        """Raise AssertionError if a private name got in."""
        super().validate()
        assert not any(name.startswith("_") for name in self.blobs)
