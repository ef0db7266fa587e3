"""Lock: held by nobody or by one session; anybody may release it, as `threading.Lock` allows (signalling).

    FREE --acquire--> HELD by (session, lane) --release / death of the session--> handed to the first waiter, or FREE
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.machine import Machine
from mpserve.core.parking import ParkingLot
from mpshared.errors import NotHeld

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects

__all__ = ["Lock"]


class Lock(Machine):
    """A mutual exclusion lock that outlives its holder."""

    kind: ClassVar[str] = "lock"

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.holder: tuple[str, int] | None = None
        """(session id, lane number) of the holder."""
        self.acquirers = ParkingLot()

    # -- operations ------------------------------------------------------------------------------

    def acquire(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Take the lock, answer False at once, or park the call.

        Args:
            fx: Where the answer goes.
            call: The call; its session and thread become the holder.
            timeout_s: Seconds; None waits for ever, 0 never parks.

        Cost: O(1). Source: threading.Lock.acquire; hand-over as in trio.
        """
        if self.holder is None:
            self.hand_to(fx, call)
        elif timeout_s == 0:
            fx.reply(call, False)
        else:
            self.acquirers.park(fx, call, timeout_s, self._expired)

    def release(self, fx: Effects, call: Call) -> None:
        """Release the lock, whoever holds it, and hand it to the first waiter."""
        if self.holder is None:
            msg = f"release of {self.label}, which nobody holds; each release() needs an acquire() before it"
            raise NotHeld(msg)
        self._pass_on(fx)
        fx.reply(call)

    def locked(self, fx: Effects, call: Call) -> None:
        """Answer whether somebody holds it."""
        fx.reply(call, self.holder is not None)

    def undo_acquire(self, fx: Effects, call: Call) -> None:
        """Take back an acquire whose answer never arrived, if its caller still holds the lock."""
        if call.result is True and self.holder == (call.session.id, call.lane.number):
            self._pass_on(fx)

    # -- changes ---------------------------------------------------------------------------------

    def on_held(self, _fx: Effects, session_id: str, lane: int) -> None:
        """Note the new holder."""
        self.holder = (session_id, lane)

    def on_freed(self, _fx: Effects) -> None:
        """Note that nobody holds it."""
        self.holder = None

    # -- ownership -------------------------------------------------------------------------------

    def hand_to(self, fx: Effects, call: Call) -> None:
        """Make the caller the holder and tell it so."""
        self.change(fx, "held", call.session.id, call.lane.number)
        call.session.held[self] = None
        fx.reply(call, True)

    def _pass_on(self, fx: Effects) -> None:
        heir = self.acquirers.unpark()
        if heir is None:
            self.change(fx, "freed")
        else:
            self.hand_to(fx, heir)

    def _expired(self, fx: Effects, call: Call) -> None:
        fx.reply(call, False)

    def retry(self, fx: Effects) -> None:
        """Hand a free lock to a waiter that was suspended when it became free."""
        if self.holder is None and self.acquirers.first() is not None:
            self._pass_on(fx)

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Hand the lock on if the dead session held it."""
        if self.holder is not None and self.holder[0] == session.id:
            self._pass_on(fx)

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the one line of acquirers."""
        return (self.acquirers,)

    def state(self) -> tuple[str, int] | None:
        """Return the holder."""
        return self.holder

    def statistics(self) -> dict[str, Any]:
        """Return holder and number of waiters."""
        return {"holder": self.holder, "waiters": len(self.acquirers)}

    def validate(self) -> None:
        """Raise AssertionError if somebody awake waits for a free lock."""
        super().validate()
        assert self.holder is not None or self.acquirers.first() is None
