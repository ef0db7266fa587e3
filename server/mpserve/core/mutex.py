"""What Lock and RLock share: one holder, a line of acquirers, and ownership that is handed over.

    FREE --acquire--> HELD --release--> handed to the first awake acquirer, or FREE
    HELD --its holder dies--> as a release                                (on_owner_death="release")
                          --> ABANDONED, all in line get `LockAbandoned`  ("raise")
                          --> ABANDONED, all in line wait on              ("hold")
    ABANDONED --recover--> HELD by who called it     --an operator frees it--> as a release

RULES
* Nobody awake waits for a free lock: whatever frees it hands it on in the same step.
* Each holder has a number of its own, the fence. It grows with each holder, and a lock that is made later,
  by another server maybe, begins above: with the time in microseconds. An answer that never arrived is taken
  back only while that number holds, so what somebody else took in between is safe.
* An abandoned lock keeps its holder, who is gone, for people to see.
* With "raise" and "hold" an acquire counts if its answer *may* have arrived before its caller died.
* A condition's waiter that was notified stands in the same line as all others, with a `Claim` as its note.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol

from mpserve.core.machine import Change, Machine
from mpserve.core.owner import Owner
from mpserve.core.parking import ParkingLot, answer_false
from mpshared.errors import BadValue, LockAbandoned, NoSuchObject, NotAllowed, NotHeld

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpserve.core.house import House
    from mpserve.core.parking import Waiter
    from mpshared.errors import DeadlockError, MpserveError
    from mpshared.values import Blob

__all__ = ["Claim", "Claimant", "Mutex"]

_CHOICES: Final = {"on_owner_death": ("release", "raise", "hold"), "deadlock": ("report", "raise")}
"""What each setting may be, the usual one first."""


class Claimant(Protocol):
    """Whoever queues for a lock on behalf of a call of its own: a condition."""

    def regained(self, fx: Effects, call: Call) -> None:
        """Answer `call`, which holds the lock again."""

    def lock_lost(self, fx: Effects, call: Call, error: MpserveError) -> None:
        """Fail `call`: it will not have the lock again."""


class Claim(NamedTuple):
    """The note of an acquirer that had the lock before and gave it up to wait for something."""

    levels: int
    claimant: Claimant


class Mutex(Machine):
    """Mutual exclusion that outlives its holder."""

    is_lock: ClassVar[bool] = True
    SETTINGS: ClassVar[dict[str, Any]] = {name: choices[0] for name, choices in _CHOICES.items()}
    _house: House

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.conditions: dict[str, str] = {}
        """ident -> label of those that stand on it; "" for those without a name."""
        self._check_settings()
        self.holder: Owner | None = None
        self.levels = 0
        """How often the holder took it and did not release it; at most 1 but for an RLock."""
        self.abandoned = False
        """The holder is gone, and nobody has taken its place."""
        self.fence = 0
        """The number of the present holder, or of the last one."""
        self.is_signal = False
        """Another than its holder has released it; no state: for people to see who waits for whom."""
        self.acquirers = ParkingLot()

    def _check_settings(self) -> None:
        for name, choices in _CHOICES.items():
            value = self.settings[name]
            if value not in choices:
                known = ", ".join(map(repr, choices))
                raise BadValue(f"{name} of {self.label} is one of {known}, not {value!r:.80}")

    @property
    def label(self) -> str:
        """How messages name it; one without a name by the condition that stands on it."""
        named = None if self.name else next(filter(None, self.conditions.values()), None)
        return f"the lock of {named}" if named else super().label

    def enter(self, house: House) -> None:
        """Find the sessions and who waits for whom."""
        self._house = house

    def setup(self, fx: Effects, blobs: list[Blob]) -> None:
        """Begin to count holders above all locks that were made before."""
        super().setup(fx, blobs)
        self.change(fx, "numbered", int(fx.wall_s * 1_000_000))

    # -- operations ------------------------------------------------------------------------------

    def acquire(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Take the lock, answer False at once, or park the call.

        Args:
            fx: Where the answer goes.
            call: The call; its session and thread become the holder.
            timeout_s: Seconds; None waits for ever, 0 never parks.

        Raises:
            LockAbandoned: Its holder died, and it is not to be handed on.
            DeadlockError: It would wait for ever, and one of the locks says that this is an error.

        Cost: O(1); before it parks, see `Deadlocks`. Source: threading.Lock.acquire; hand-over as in trio.
        """
        if self.holder is None:
            self._hand_to(fx, call)
        elif self.abandoned and self._is_refused():
            raise self._abandonment()
        elif timeout_s == 0:
            fx.reply(call, False)
        elif (deadlock := self._find_deadlock(fx, call)) is not None:
            raise deadlock
        else:
            self.acquirers.park(fx, call, timeout_s, answer_false)

    def release(self, fx: Effects, call: Call) -> None:
        """Release the lock; who may do so depends on its kind."""
        raise NotImplementedError

    def locked(self, fx: Effects, call: Call) -> None:
        """Answer whether somebody holds it."""
        fx.reply(call, self.holder is not None)

    def recover(self, fx: Effects, call: Call) -> None:
        """Give an abandoned lock to the caller, before all who wait; answer whether it was abandoned.

        Source: pthread_mutex_consistent, but that one holds a lock here only after this.
        """
        if not self.abandoned or self.holder is None:
            fx.reply(call, False)
            return
        before = self.holder
        self._make_holder(fx, call, 1)
        call.took = (self.fence, *before)
        fx.reply(call, True)

    def get_fence(self, fx: Effects, call: Call) -> None:
        """Answer the number of the present holder, to the holder.

        Raises:
            NotHeld: The caller is not the holder: the number of another would be of no use, or do harm.
        """
        if not self.held_by(call):
            msg = f"{self.label} is not held by this program, so there is no number for it"
            raise NotHeld(f"{msg}; acquire it first")
        fx.reply(call, self.fence)

    def free(self, fx: Effects) -> None:
        """Release a lock whose holder is gone: an operator wants it.

        Raises:
            NotHeld: Nobody holds it.
            NotAllowed: The holder lives.
        """
        if self.holder is None:
            raise NotHeld(f"nobody holds {self.label}: there is nothing to release")
        holder = self._house.hosts.sessions.find(self.holder.session)
        if holder is not None and not self.abandoned:
            where = f"{self.holder} (process {holder.info.pid} on {holder.info.host})"
            raise NotAllowed(
                f"{self.label} is held by {where}, which is alive: two would be in at once. End that "
                f"process; then the lock is handed on, or can be released"
            )
        self._pass_on(fx)

    # -- for the condition that stands on this lock ----------------------------------------------

    def held_by(self, call: Call) -> bool:
        """Tell whether the caller may wait or notify: who that is depends on the kind of lock."""
        raise NotImplementedError

    def give_up(self, fx: Effects) -> None:
        """Free all levels, and hand the lock on."""
        self._pass_on(fx)

    def claim(self, fx: Effects, call: Call, levels: int, claimant: Claimant) -> None:
        """Give `call` the lock with so many levels, now or at its turn; its claimant then answers it."""
        refusal = self._abandonment() if self._is_refused() else self._find_deadlock(fx, call)
        if refusal is not None:
            claimant.lock_lost(fx, call, refusal)
            return
        self.acquirers.park(fx, call, None, answer_false, Claim(levels, claimant))
        self.retry(fx)

    # -- changes ---------------------------------------------------------------------------------

    def on_held(self, _fx: Effects, session_id: str, lane: int, levels: int) -> None:
        """Note a new holder."""
        self.holder = Owner(session_id, lane)
        self.levels = levels
        self.abandoned = False
        self.fence += 1

    def on_freed(self, _fx: Effects) -> None:
        """Note that nobody holds it."""
        self.holder = None
        self.levels = 0
        self.abandoned = False

    def on_abandoned(self, _fx: Effects, session_id: str, lane: int) -> None:
        """Note that its holder is gone, and who that was."""
        self.holder = Owner(session_id, lane)
        self.levels = 1
        self.abandoned = True

    def on_numbered(self, _fx: Effects, fence: int) -> None:
        """Note the number of the last holder."""
        self.fence = fence

    def rebuild(self) -> Iterator[Change]:
        """Yield the holder and its number."""
        if self.holder is not None and self.abandoned:
            yield "abandoned", self.holder
        elif self.holder is not None:
            yield "held", (*self.holder, self.levels)
        yield "numbered", (self.fence,)

    # -- ownership -------------------------------------------------------------------------------

    def _hand_to(self, fx: Effects, call: Call) -> None:
        claim = None
        if call.waiter is not None:
            claim = call.waiter.note
            self.acquirers.forget(call)
        self._make_holder(fx, call, 1 if claim is None else claim.levels)
        call.took = self.fence
        if claim is None:
            fx.reply(call, True)
        else:
            claim.claimant.regained(fx, call)

    def _make_holder(self, fx: Effects, call: Call, levels: int) -> None:
        lane = call.lane
        session = lane.session
        self.change(fx, "held", session.id, lane.number, levels)
        if self not in session.held:
            session.may_own_in(self)

    def _pass_on(self, fx: Effects) -> None:
        heir = self.acquirers.first()
        if heir is not None:
            self._hand_to(fx, heir.call)
            fx.handed_over = fx.handed_over or bool(self.acquirers.line)
        elif self.holder is not None:
            self.change(fx, "freed")

    def owners(self) -> Iterable[str]:
        """Return the holder's session."""
        return () if self.holder is None else (self.holder.session,)

    def holdings(self, session_id: str) -> Iterable[tuple[int, int, Iterable[str]]]:
        """Yield the holder, if it is of that session."""
        if self.holder is not None and self.holder.session == session_id and not self.abandoned:
            yield self.holder.lane, self.levels, (self.ident, *self.conditions)

    def taken_by(self, call: Call) -> int:
        """Return the one level that an acquire brought, also through a condition."""
        stands = call.target == self.ident or call.target in self.conditions
        return int(bool(call.took) and stands and call.op.undo in {"undo_acquire", "undo_recover"})

    def _still_has(self, call: Call) -> bool:
        return call.took == self.fence and self.holder == Owner.of(call)

    def retry(self, fx: Effects) -> None:
        """Hand a free lock to a waiter that was suspended when it became free."""
        if self.holder is None:
            self._pass_on(fx)

    def undo_acquire(self, fx: Effects, call: Call) -> None:
        """Take back an acquire whose answer never arrived, if its caller still has what it took."""
        if self._still_has(call) and not self._counts(call):
            self._pass_on(fx)

    def undo_claim(self, fx: Effects, call: Call) -> bool:
        """Take back a lock regained for an answer that never arrived; tell whether it was still held."""
        has = self._still_has(call)
        if has and not self._counts(call):
            self._pass_on(fx)
        return has

    def undo_recover(self, fx: Effects, call: Call) -> None:
        """Abandon the lock again: who wanted to recover it never learned that it has it."""
        if not call.took:
            return
        fence, *before = call.took
        if fence == self.fence and self.holder == Owner.of(call) and not self._counts(call):
            self._abandon(fx, Owner(*before))

    def _counts(self, call: Call) -> bool:
        """Tell whether an answer that may have arrived makes its caller, who is lost, a holder: `let_go`
        follows.
        """
        return call.is_lost and self.settings["on_owner_death"] != "release"

    def let_go(self, fx: Effects, session: Session, lane: int | None = None) -> None:
        """Do what is due at its death if `session` holds the lock; with a lane, only if that lane does."""
        holder = self.holder
        if holder is None or self.abandoned or holder.session != session.id:
            return
        if lane not in {None, holder.lane}:
            return
        if self.settings["on_owner_death"] == "release":
            self._pass_on(fx)
        else:
            self._abandon(fx, holder)

    # -- abandoned -------------------------------------------------------------------------------

    def _abandon(self, fx: Effects, holder: Owner) -> None:
        self.change(fx, "abandoned", *holder)
        if self._is_refused():
            self.break_waiters(fx, self._abandonment())

    def _is_refused(self) -> bool:
        return self.abandoned and self.settings["on_owner_death"] == "raise"

    def _abandonment(self) -> LockAbandoned:
        what = f"{self.label} is abandoned: {self.holder} ended and had not released it"
        todo = "what it protects may be half done. recover() takes the lock, to put that right"
        return LockAbandoned(f"{what}; {todo}", lock=self.ident)

    def _refuse_release(self) -> NotHeld:
        if self.abandoned:
            msg = f"cannot release un-acquired lock: {self.holder}, which held {self.label}, has ended"
            return NotHeld(f"{msg}; call recover() first")
        msg = f"cannot release un-acquired lock: nobody holds {self.label}"
        return NotHeld(f"{msg}; each release() needs an acquire() before it")

    # -- looking ---------------------------------------------------------------------------------

    def _find_deadlock(self, fx: Effects, call: Call) -> DeadlockError | None:
        return self._house.deadlocks.check(fx, self, call)

    def awaited(self, waiter: Waiter) -> Machine | None:
        """Return itself: it has one line."""
        _ = waiter
        return self

    def lots(self) -> Iterable[ParkingLot]:
        """Return the one line of acquirers."""
        return (self.acquirers,)

    def break_waiters(self, fx: Effects, error: MpserveError | None = None) -> None:
        """Fail everybody in the line; a condition's waiter through its condition, which keeps books."""
        why = error or NoSuchObject(f"{self.label} was deleted while this call waited for it")
        for waiter in self.acquirers.waiters():
            self.acquirers.forget(waiter.call)
            if waiter.note is None:
                fx.fail(waiter.call, why)
            else:
                waiter.note.claimant.lock_lost(fx, waiter.call, why)

    def state(self) -> tuple[Owner | None, int, bool, int]:
        """Return holder, levels, whether it is abandoned, and fence."""
        return self.holder, self.levels, self.abandoned, self.fence

    def statistics(self) -> dict[str, Any]:
        """Return holder, its levels, its number, whether it is gone, and how many wait."""
        about = {"holder": self.holder, "levels": self.levels, "fence": self.fence}
        return {**about, "abandoned": self.abandoned, "waiters": len(self.acquirers)}

    def validate(self) -> None:
        """Raise AssertionError if somebody awake waits for a free lock, or nobody holds some levels."""
        super().validate()
        assert (self.holder is None) == (self.levels == 0)
        assert self.holder is not None or self.acquirers.first() is None
        assert self.holder is not None or not self.abandoned
        assert not (self._is_refused() and len(self.acquirers))
