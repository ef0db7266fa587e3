"""What a turn leads to: answers, records, timers. State machines write here and nowhere else.

RULES
* One `Effects` serves all calls of an engine; methods fill it, the engine empties it. No object per effect.
* A call is answered exactly once, by `reply` or `fail`, or it is parked (`parking.ParkingLot.park`).
* `records` has every change, from before it is made. Where it is None nobody listens, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mpserve.core.bounds import Bounds
from mpserve.core.room import VALUE_BYTES, Room, plain_bytes
from mpserve.core.timers import Timers
from mpshared.bunch import Bunch
from mpshared.values import size_bytes

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Lane, Session
    from mpshared.errors import MpserveError
    from mpshared.values import Blob

__all__ = ["Effects", "Record"]

Record: TypeAlias = tuple[str, str, tuple[Any, ...]]
"""ident of the object ("" for the catalogue), verb, arguments."""


class Effects:
    """The outcome of one turn."""

    __slots__ = (
        "answered",
        "bounds",
        "closed",
        "ended",
        "events",
        "handed_over",
        "kept",
        "now_s",
        "parked",
        "records",
        "room",
        "timers",
        "wall_offset_s",
    )

    def __init__(self, *, recording: bool = False) -> None:
        self.now_s = 0.0
        """Monotonic seconds; set by the engine at the start of a turn."""
        self.wall_offset_s = 0.0
        """What turns `now_s` into wall-clock seconds."""
        self.answered: list[Call] = []
        self.records: list[Record] | None = [] if recording else None
        self.parked: dict[Call, None] | None = None
        """Calls that took a place in a line, in order, for who keeps the places over a restart; None: nobody
        does."""
        self.kept: dict[str, int] = {}
        """Changes to the number of stored mentions, by ident; the catalogue applies them at the end of the
        turn."""
        self.ended: list[Session] = []
        """Sessions that a call or a timer found dead; the engine ends them after the turn's calls."""
        self.closed: list[Lane] = []
        """Lanes that were suspended for too long; the engine closes them."""
        self.events: list[tuple[str, dict[str, Any]]] = []
        """What an operator should know: names and fields for the log."""
        self.handed_over = False
        """A lock has a new holder, for whom others wait."""
        self.timers = Timers()
        self.bounds = Bounds()
        self.room = Room()
        """What is stored, and may be. Who stores plain bytes past `keep` counts them by itself."""

    @property
    def wall_s(self) -> float:
        """Wall-clock seconds, for records and reports only."""
        return self.now_s + self.wall_offset_s

    def reply(self, call: Call, result: Any = None, out: Sequence[Blob] = ()) -> None:
        """Answer `call` with plain data and values."""
        call.answered = True
        call.result = result
        call.out = out
        if self.records is not None:
            call.at = len(self.records)
        self.answered.append(call)

    def fail(self, call: Call, error: MpserveError) -> None:
        """Answer `call` with an error; a call that fails at once may simply raise it, before any change."""
        error.__traceback__ = error.__context__ = None  # kept with the answer: its frames would be kept, too
        call.answered = True
        call.error = error
        if self.records is not None:
            call.at = len(self.records)
        self.answered.append(call)

    def keep(self, blobs: Sequence[Blob], sign: int = 1) -> None:
        """Note that `blobs` are stored from now on (or no longer, with -1): their size, and the references
        they mention.
        """
        if type(blobs) is Bunch:
            self.room.held_bytes += sign * plain_bytes(blobs)
            return
        size = VALUE_BYTES * len(blobs)
        for blob in blobs:
            if type(blob) is bytes:
                size += len(blob)
            else:
                size += size_bytes(blob)
                for ident in blob.refs:  # type: ignore[union-attr]
                    self.kept[ident] = self.kept.get(ident, 0) + sign
        self.room.held_bytes += sign * size
