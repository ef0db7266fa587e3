"""Event: a flag, and everybody who waits for it to be set.

    CLEAR --set--> SET (all waiters are answered True) --clear--> CLEAR

RULES
* A waiter whose lane is suspended is answered like all others; its answer is kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.machine import Change, Machine
from mpserve.core.parking import ParkingLot, answer_false

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects

__all__ = ["Event"]


class Event(Machine):
    """A flag to wait for."""

    kind: ClassVar[str] = "event"

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.flag = False
        self.waiters = ParkingLot()

    # -- operations ------------------------------------------------------------------------------

    def set(self, fx: Effects, call: Call) -> None:
        """Set the flag and answer everybody who waits. Cost: O(waiters)."""
        if not self.flag:
            self.change(fx, "turned", True)
        for waiter in self.waiters.drain():
            fx.reply(waiter, True)
        fx.reply(call)

    def clear(self, fx: Effects, call: Call) -> None:
        """Clear the flag."""
        if self.flag:
            self.change(fx, "turned", False)
        fx.reply(call)

    def is_set(self, fx: Effects, call: Call) -> None:
        """Answer the flag."""
        fx.reply(call, self.flag)

    def wait(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Answer True once the flag is set, False after `timeout_s` seconds (None: never, 0: at once).

        Source: threading.Event.wait.
        """
        if self.flag or timeout_s == 0:
            fx.reply(call, self.flag)
        else:
            self.waiters.park(fx, call, timeout_s, answer_false)

    # -- changes ---------------------------------------------------------------------------------

    def on_turned(self, _fx: Effects, flag: bool) -> None:
        """Note the flag."""
        self.flag = flag

    def rebuild(self) -> Iterator[Change]:
        """Yield the flag."""
        yield "turned", (self.flag,)

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the one line of waiters."""
        return (self.waiters,)

    def state(self) -> bool:
        """Return the flag."""
        return self.flag

    def statistics(self) -> dict[str, Any]:
        """Return the flag and how many wait."""
        return {"set": self.flag, "waiters": len(self.waiters)}

    def validate(self) -> None:
        """Raise AssertionError if anybody waits for a flag that is set."""
        super().validate()
        assert not (self.flag and len(self.waiters))
