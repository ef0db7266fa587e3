"""Iterator: a snapshot of values and how far its reader has come. Stock clients iterate over a dict by
proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.machine import Change, Machine
from mpshared.errors import Exhausted

if TYPE_CHECKING:
    from collections.abc import Iterator as Iterating

    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpshared.values import Blob

__all__ = ["Iterator"]


class Iterator(Machine):
    """A snapshot being read."""

    kind: ClassVar[str] = "iterator"

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self._blobs: list[Blob] = []
        self._at = 0

    def setup(self, fx: Effects, blobs: list[Blob]) -> None:
        """Keep the snapshot."""
        self.change(fx, "filled", blobs)

    def next(self, fx: Effects, call: Call) -> None:
        """Answer the next value, or fail with `Exhausted`."""
        if self._at >= len(self._blobs):
            raise Exhausted(f"{self.label} has no more values")
        blob = self._blobs[self._at]
        self.change(fx, "stepped", 1)
        fx.reply(call, None, [blob])

    def undo_next(self, fx: Effects, _call: Call) -> None:
        """Step back: the value did not arrive."""
        self.change(fx, "stepped", -1)

    def on_filled(self, fx: Effects, blobs: list[Blob]) -> None:
        """Store the snapshot."""
        self._blobs = list(blobs)
        fx.keep(self._blobs)

    def on_stepped(self, _fx: Effects, by: int) -> None:
        """Move."""
        self._at += by

    def rebuild(self) -> Iterating[Change]:
        """Yield values and position."""
        yield "filled", (self._blobs,)
        yield "stepped", (self._at,)

    def stored(self) -> Iterating[Blob]:
        """Yield the whole snapshot: it is kept until the iterator is freed."""
        return iter(self._blobs)

    def state(self) -> tuple[list[Blob], int]:
        """Return values and position."""
        return self._blobs, self._at

    def statistics(self) -> dict[str, Any]:
        """Return how many values are left."""
        return {"length": len(self._blobs) - self._at}
