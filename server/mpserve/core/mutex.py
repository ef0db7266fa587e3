"""What Lock and RLock share: one holder, a line of acquirers, and ownership that is handed over.

    FREE --acquire--> HELD --release, or death of the holder--> handed to the first awake acquirer, or FREE

RULES
* Nobody awake waits for a free lock: whatever frees it hands it on in the same step.
* Each holder has a number of its own, the fence. An answer that never arrived is taken back only while that
  number holds, so what somebody else took in between is safe.
* A condition's waiter that was notified stands in the same line as all others, with a `Claim` as its note.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mpserve.core.machine import Change, Machine
from mpserve.core.owner import Owner
from mpserve.core.parking import ParkingLot
from mpshared.errors import NoSuchObject, NotHeld

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpshared.errors import MpserveError

__all__ = ["Claim", "Claimant", "Mutex"]


class Claimant(Protocol):
    """Whoever queues for a lock on behalf of a call of its own: a condition."""

    def regained(self, fx: Effects, call: Call) -> None:
        """Answer `call`, which holds the lock again."""

    def lock_lost(self, fx: Effects, call: Call, error: MpserveError) -> None:
        """Fail `call`: the lock is being deleted."""


class Claim(NamedTuple):
    """The note of an acquirer that had the lock before and gave it up to wait for something."""

    levels: int
    claimant: Claimant


class Mutex(Machine):
    """Mutual exclusion that outlives its holder."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.holder: Owner | None = None
        self.levels = 0
        """How often the holder took it and did not release it; at most 1 but for an RLock."""
        self.fence = 0
        """How many holders there have been; the number of the present one."""
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
            self._hand_to(fx, call)
        elif timeout_s == 0:
            fx.reply(call, False)
        else:
            self.acquirers.park(fx, call, timeout_s, _not_acquired)

    def release(self, fx: Effects, call: Call) -> None:
        """Release the lock; who may do so depends on its kind."""
        raise NotImplementedError

    def locked(self, fx: Effects, call: Call) -> None:
        """Answer whether somebody holds it."""
        fx.reply(call, self.holder is not None)

    # -- for the condition that stands on this lock ----------------------------------------------

    def held_by(self, call: Call) -> bool:
        """Tell whether the caller may wait or notify: who that is depends on the kind of lock."""
        raise NotImplementedError

    def give_up(self, fx: Effects) -> int:
        """Free all levels, hand the lock on, and return how many levels there were."""
        levels = self.levels
        self._pass_on(fx)
        return levels

    def claim(self, fx: Effects, call: Call, levels: int, claimant: Claimant) -> None:
        """Give `call` the lock with so many levels, now or at its turn; its claimant then answers it."""
        self.acquirers.park(fx, call, None, _not_acquired, Claim(levels, claimant))
        self.retry(fx)

    # -- changes ---------------------------------------------------------------------------------

    def on_held(self, _fx: Effects, session_id: str, lane: int, levels: int) -> None:
        """Note a new holder."""
        self.holder = Owner(session_id, lane)
        self.levels = levels
        self.fence += 1

    def on_freed(self, _fx: Effects) -> None:
        """Note that nobody holds it."""
        self.holder = None
        self.levels = 0

    def on_numbered(self, _fx: Effects, fence: int) -> None:
        """Note how many holders there have been."""
        self.fence = fence

    def rebuild(self) -> Iterator[Change]:
        """Yield the holder and its number."""
        if self.holder is not None:
            yield "held", (*self.holder, self.levels)
        yield "numbered", (self.fence,)

    # -- ownership -------------------------------------------------------------------------------

    def _hand_to(self, fx: Effects, call: Call) -> None:
        claim = None
        if call.waiter is not None:
            claim = call.waiter.note
            self.acquirers.forget(call)
        lane = call.lane
        self.change(fx, "held", lane.session.id, lane.number, 1 if claim is None else claim.levels)
        lane.session.held[self] = None
        call.took = self.fence
        if claim is None:
            fx.reply(call, True)
        else:
            claim.claimant.regained(fx, call)

    def _pass_on(self, fx: Effects) -> None:
        heir = self.acquirers.first()
        if heir is not None:
            self._hand_to(fx, heir)
        elif self.holder is not None:
            self.change(fx, "freed")

    def owners(self) -> Iterable[str]:
        """Return the holder's session."""
        return () if self.holder is None else (self.holder.session,)

    def _still_has(self, call: Call) -> bool:
        return call.took == self.fence and self.holder == Owner.of(call)

    def retry(self, fx: Effects) -> None:
        """Hand a free lock to a waiter that was suspended when it became free."""
        if self.holder is None:
            self._pass_on(fx)

    def undo_acquire(self, fx: Effects, call: Call) -> None:
        """Take back an acquire whose answer never arrived, if its caller still has what it took."""
        if self._still_has(call):
            self._pass_on(fx)

    def undo_claim(self, fx: Effects, call: Call) -> bool:
        """Take back a lock regained for an answer that never arrived; tell whether it was still held."""
        has = self._still_has(call)
        if has:
            self._pass_on(fx)
        return has

    def let_go(self, fx: Effects, session: Session, lane: int | None = None) -> None:
        """Hand the lock on if `session` holds it; with a lane, only if that lane does."""
        if self.holder is not None and self.holder.session == session.id and lane in {None, self.holder.lane}:
            self._pass_on(fx)

    def _refuse_release(self) -> NotHeld:
        msg = f"cannot release un-acquired lock: nobody holds {self.label}"
        return NotHeld(f"{msg}; each release() needs an acquire() before it")

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the one line of acquirers."""
        return (self.acquirers,)

    def break_waiters(self, fx: Effects, error: MpserveError | None = None) -> None:
        """Fail everybody in the line; a condition's waiter through its condition, which keeps books."""
        why = error or NoSuchObject(f"{self.label} was deleted while this call waited for it")
        for call in self.acquirers:
            claim = None if call.waiter is None else call.waiter.note
            self.acquirers.forget(call)
            if claim is None:
                fx.fail(call, why)
            else:
                claim.claimant.lock_lost(fx, call, why)

    def state(self) -> tuple[Owner | None, int, int]:
        """Return holder, levels and fence."""
        return self.holder, self.levels, self.fence

    def statistics(self) -> dict[str, Any]:
        """Return holder, its levels, its number, and how many wait."""
        about = {"holder": self.holder, "levels": self.levels, "fence": self.fence}
        return {**about, "waiters": len(self.acquirers)}

    def validate(self) -> None:
        """Raise AssertionError if somebody awake waits for a free lock, or nobody holds some levels."""
        super().validate()
        assert (self.holder is None) == (self.levels == 0)
        assert self.holder is not None or self.acquirers.first() is None


def _not_acquired(fx: Effects, call: Call) -> None:
    fx.reply(call, False)
