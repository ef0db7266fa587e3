"""Semaphore: a number of permits, and a line of those who want one.

RULES
* A permit belongs to the session that took it, whichever of its threads gives it back, and returns when that
  session dies; `permits` says who has how many, and which thread took them.
* A semaphore that was created with 0, or once released by somebody who had none of its permits, is a
  *signal*: one side counts up, the other down, and nobody owns anything. From then on deaths return nothing.
* Stock clients share one account, `STOCK`: what one of them takes another may release, and nothing returns
  when a connection ends, because a child process may exit with a permit that its parent gives back.
* Unless it is a signal, what is free and what is taken add up to the initial number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.machine import Change, Machine
from mpserve.core.owner import Owner
from mpserve.core.parking import ParkingLot, answer_false
from mpshared.errors import AlreadyReleased, BadType, BadValue

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects

__all__ = ["MAX_VALUE", "STOCK", "Semaphore"]

MAX_VALUE = 2**31 - 1
"""As much as a POSIX semaphore holds; far from the largest number a message can carry."""

STOCK = ""
"""Stands for the session of all stock clients in `Semaphore.permits`; no session has this id."""


class Semaphore(Machine):
    """A counter that is never taken below zero; with `bounded`, never released above where it began."""

    kind: ClassVar[str] = "semaphore"
    is_lock: ClassVar[bool] = True
    SETTINGS: ClassVar[dict[str, Any]] = {"value": 1, "bounded": False}

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.initial: int = self._checked()
        self.value = self.initial
        """Free permits. (Below zero only if its first explicit settings asked for fewer than were taken.)"""
        self.permits: dict[Owner, int] = {}
        self.signal = self.initial == 0
        self.acquirers = ParkingLot()

    def _checked(self) -> int:
        value, bounded = self.settings["value"], self.settings["bounded"]
        if type(value) is not int or type(bounded) is not bool:
            msg = f"{self.label} needs a whole number as value and True or False as bounded"
            raise BadType(f"{msg}, got {value!r:.40} and {bounded!r:.40}")
        if not 0 <= value <= MAX_VALUE:
            msg = f"semaphore initial value must be >= 0 and <= {MAX_VALUE}"
            raise BadValue(f"{msg}: {self.label} was asked for with {value}")
        return value

    def configure(self) -> None:
        """Adopt the first explicit settings: permits that are taken stay taken."""
        initial = self._checked()
        self.value += initial - self.initial
        self.initial = initial
        if initial == 0:
            self._become_signal()

    # -- operations ------------------------------------------------------------------------------

    def acquire(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Take a permit, answer False at once, or park the call.

        Args:
            fx: Where the answer goes.
            call: The call; the permit will be its session's.
            timeout_s: Seconds; None waits for ever, 0 never parks.

        Cost: O(1). Source: threading.Semaphore.acquire.
        """
        if self.value > 0:
            self._hand_to(fx, call)
        elif timeout_s == 0:
            fx.reply(call, False)
        else:
            self.acquirers.park(fx, call, timeout_s, answer_false)

    def release(self, fx: Effects, call: Call, n: int) -> None:
        """Give back n permits and hand them to the first waiters.

        Raises:
            BadValue: n is 0.
            AlreadyReleased: It is bounded, and would have more permits than it began with.

        Cost: O(waiters served). Source: threading.Semaphore.release.
        """
        if n < 1:
            raise BadValue(f"n must be one or more: {self.label} cannot be released {n} times")
        if self.settings["bounded"] and self.value + n > self.initial:
            msg = f"Semaphore released too many times: {self.label} has {self.value} of {self.initial}"
            raise AlreadyReleased(f"{msg} permits, not {n} less; each release() needs an acquire() before it")
        if self.value + n > MAX_VALUE:
            msg = f"{self.label} has {self.value} permits and cannot be given {n} more"
            raise BadValue(f"{msg}; {MAX_VALUE} are the most; is something released in a loop?")
        self._give_back(fx, _account(call), n)
        fx.reply(call)

    def get_value(self, fx: Effects, call: Call) -> None:
        """Answer how many permits are free."""
        fx.reply(call, max(0, self.value))

    def undo_acquire(self, fx: Effects, call: Call) -> None:
        """Give back the permit of an acquire whose answer never arrived."""
        owner = _account(call)
        if call.took and (self.signal or self._count(owner.session)):
            self._give_back(fx, owner, 1)

    # -- changes ---------------------------------------------------------------------------------

    def on_taken(self, _fx: Effects, session_id: str, lane: int) -> None:
        """Count a permit down, and note whose it is."""
        self.value -= 1
        if not self.signal:
            owner = Owner(session_id, lane)
            self.permits[owner] = self.permits.get(owner, 0) + 1

    def on_given_back(self, _fx: Effects, session_id: str, lane: int, n: int) -> None:
        """Count permits up: those that the lane took, then others of its session.

        Who gives back what it did not take makes this a signal.
        """
        self.value += n
        n = self._take_from(Owner(session_id, lane), n)
        if n:
            for owner in [owner for owner in self.permits if owner.session == session_id]:
                n = self._take_from(owner, n)
        if n:
            self._become_signal()

    def _take_from(self, owner: Owner, n: int) -> int:
        """Take permits off an account; return how many were not there."""
        left = self.permits.pop(owner, 0) - n
        if left > 0:
            self.permits[owner] = left
        return max(0, -left)

    def _become_signal(self) -> None:
        self.signal = True
        self.permits.clear()

    # -- ownership -------------------------------------------------------------------------------

    def _hand_to(self, fx: Effects, call: Call) -> None:
        self.change(fx, "taken", *_account(call))
        call.session.may_own_in(self)
        call.took = True
        fx.reply(call, True)

    def _give_back(self, fx: Effects, owner: Owner, n: int) -> None:
        self.change(fx, "given_back", *owner, n)
        self.retry(fx)

    def retry(self, fx: Effects) -> None:
        """Hand free permits to awake waiters, first come, first served."""
        while self.value > 0:
            heir = self.acquirers.unpark()
            if heir is None:
                return
            self._hand_to(fx, heir)

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Return the permits of a dead session."""
        n = self._count(session.id)
        if n:
            self._give_back(fx, Owner(session.id, 0), n)

    def _count(self, session_id: str) -> int:
        return sum(n for owner, n in self.permits.items() if owner.session == session_id)

    def owners(self) -> Iterable[str]:
        """Return the sessions that have permits."""
        return {owner.session for owner in self.permits}

    def holdings(self, session_id: str) -> Iterable[tuple[int, int, Iterable[str]]]:
        """Yield the permits of a session."""
        for owner, n in self.permits.items():
            if owner.session == session_id:
                yield owner.lane, n, (self.ident,)

    def taken_by(self, call: Call) -> int:
        """Return the one permit that an acquire brought."""
        return int(bool(call.took) and call.target == self.ident and call.op.undo == "undo_acquire")

    def on_counted(
        self, _fx: Effects, value: int, permits: Sequence[tuple[str, int, int]], signal: bool
    ) -> None:
        """Note what is free, what is taken and by whom, and whether it is a signal."""
        self.value, self.signal = value, signal
        self.permits = {Owner(session_id, lane): n for session_id, lane, n in permits}

    def rebuild(self) -> Iterator[Change]:
        """Yield all that is counted."""
        yield "counted", (self.value, [(*owner, n) for owner, n in self.permits.items()], self.signal)

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the one line of acquirers."""
        return (self.acquirers,)

    def state(self) -> tuple[int, dict[Owner, int], bool]:
        """Return free permits, taken permits by owner, and whether it is a signal."""
        return self.value, dict(self.permits), self.signal

    def statistics(self) -> dict[str, Any]:
        """Return free permits, taken ones by session, whether it is a signal, and how many wait."""
        permits: Counter[str] = Counter()
        for owner, n in self.permits.items():
            permits[owner.session] += n
        about = {"value": self.value, "permits": dict(sorted(permits.items())), "signal": self.signal}
        return {**about, "waiters": len(self.acquirers)}

    def validate(self) -> None:
        """Raise AssertionError if somebody awake waits for a free permit, or permits do not add up."""
        super().validate()
        assert self.value <= 0 or self.acquirers.first() is None
        assert all(n > 0 for n in self.permits.values())
        assert self.signal or self.value + sum(self.permits.values()) == self.initial
        assert not (self.signal and self.permits)


def _account(call: Call) -> Owner:
    return Owner(STOCK, 0) if call.session.info.role == "stock" else Owner.of(call)
