"""Condition: a lock, and a line of those who gave it up until they are notified.

    --wait, gives the lock up--> WAITING --notify-----------> WOKEN, answer True --takes the lock--> answered
                                 WAITING --its time is up---> WOKEN, answer False --^
    any of these --taken back--> INTERRUPTED --hold_again--> WOKEN, answer False

RULES
* Taking and releasing are the lock's: an object of its own, which may be used without the condition.
* A woken call stands in the lock's line like everybody else and is answered when it holds the lock again,
  with as many levels as it had. Its time does not run any more.
* A notify is never lost: who was notified and is gone before it had its answer passes it on to the next in
  line. The caller of an undone wait holds nothing, whichever way it was answered.
* That a wait was taken back is remembered until its thread takes the lock, or ends: only so can it take again
  what it had given up, and nothing if it never held the lock.
* A suspended waiter is notified in its turn; it is the lock that then skips it until it is back.
* Who waits is state, unlike elsewhere: after a restart the call comes again without holding the lock, and may
  have been notified meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.machine import Change, Machine
from mpserve.core.mutex import Mutex
from mpserve.core.owner import Owner
from mpserve.core.parking import ParkingLot
from mpshared.errors import BadType, Conflict, NoSuchObject, NotHeld

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Lane, Session
    from mpserve.core.effects import Effects
    from mpserve.core.house import House
    from mpserve.core.parking import Waiter
    from mpshared.errors import MpserveError

__all__ = ["Condition"]


class _Wait:
    """Somebody who waits: how deep it held the lock, its answer once woken, its call while it is here."""

    __slots__ = ("answer", "call", "levels")

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.answer: bool | None = None
        self.call: Call | None = None


class Condition(Machine):
    """A lock whose holders can wait for each other."""

    kind: ClassVar[str] = "condition"
    SETTINGS: ClassVar[dict[str, Any]] = {"lock": ""}
    """Ident of the Lock or RLock it stands on."""
    LOCK_SETTINGS: ClassVar[frozenset[str]] = frozenset(Mutex.SETTINGS)
    lock: Mutex

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        if type(self.settings["lock"]) is not str:
            raise BadType(f"{self.label} needs the ident of a lock, got {self.settings['lock']!r:.80}")
        self.waiting: dict[Owner, _Wait] = {}
        """In order of arrival."""
        self.woken: dict[Owner, _Wait] = {}
        self.interrupted: dict[Owner, int] = {}
        """How deep they held the lock."""
        self.waiters = ParkingLot()

    def bind(self, machines: Mapping[str, Machine]) -> None:
        """Find the lock.

        Raises:
            NoSuchObject, Conflict: There is no such object, or it is no lock.
        """
        lock = machines.get(self.settings["lock"])
        if lock is None:
            raise NoSuchObject(f"the lock of {self.label} does not exist any more; make a new one for it")
        if not isinstance(lock, Mutex):
            raise Conflict(f"{self.label} needs a lock or an rlock, and {lock.label} is neither")
        self.lock = lock

    def enter(self, house: House) -> None:
        """Lend the lock its name."""
        _ = house
        self.lock.conditions[self.ident] = self.label if self.name else ""

    def leave(self) -> None:
        """Take the name back."""
        self.lock.conditions.pop(self.ident, None)

    # -- operations: the lock's ------------------------------------------------------------------

    def acquire(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Take the lock, as its own `acquire`. Who does so does not wait any more: it gave that up while the
        server was away.
        """
        call.session.may_own_in(self)
        self.lock.acquire(fx, call, timeout_s)
        if self.waiting or self.woken or self.interrupted:
            self._drop(fx, Owner.of(call))

    def release(self, fx: Effects, call: Call) -> None:
        """Release the lock, as its own `release`."""
        try:
            self.lock.release(fx, call)
        except NotHeld as err:
            raise NotHeld(f"{err.text} (it is the lock of {self.label})") from None

    def locked(self, fx: Effects, call: Call) -> None:
        """Answer whether somebody holds the lock."""
        self.lock.locked(fx, call)

    def undo_acquire(self, fx: Effects, call: Call) -> None:
        """Take back an acquire whose answer never arrived."""
        self.lock.undo_acquire(fx, call)

    def recover(self, fx: Effects, call: Call) -> None:
        """Take the lock if it is abandoned, as its own `recover`."""
        call.session.may_own_in(self)
        self.lock.recover(fx, call)

    def undo_recover(self, fx: Effects, call: Call) -> None:
        """Take back a recover whose answer never arrived."""
        self.lock.undo_recover(fx, call)

    def get_fence(self, fx: Effects, call: Call) -> None:
        """Answer the number of the lock's holder, to the holder."""
        self.lock.get_fence(fx, call)

    # -- operations: waiting and notifying -------------------------------------------------------

    def wait(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Give the lock up, wait to be notified, take the lock again.

        Args:
            fx: Where the answer goes: True, or False when the time was up. Then the caller has the lock.
            call: The call; its thread (of a plain Lock: its session) must hold the lock.
            timeout_s: Seconds until it goes back for the lock by itself; None: never, 0: at once.

        Raises:
            NotHeld: The caller does not hold the lock.

        Cost: O(1). Source: threading.Condition.wait.
        """
        owner = Owner.of(call)
        if self._wait_of(owner) is not None and self.lock.holder != owner:
            self._wait_on(fx, call, timeout_s)
            return
        self._need_lock(call, "wait on")
        self._drop(fx, owner)  # a wait it gave up while the server was away
        self._begin_wait(fx, call, timeout_s)

    def notify(self, fx: Effects, call: Call, n: int) -> None:
        """Wake the first n who wait. Cost: O(n). Source: threading.Condition.notify."""
        self._need_lock(call, "notify on")
        for owner in list(islice(self.waiting, n)):
            self._wake(fx, owner, answer=True)
        fx.reply(call)

    def notify_all(self, fx: Effects, call: Call) -> None:
        """Wake everybody who waits. Cost: O(waiters)."""
        self.notify(fx, call, len(self.waiting))

    def hold_again(self, fx: Effects, call: Call) -> None:
        """Take the lock again, with all its levels, if the caller gave it up for a wait that was taken back.

        Cost: O(1). Source: asyncio.Condition.wait, cancelled.
        """
        owner = Owner.of(call)
        self._interrupt(fx, owner)  # that a call of before a restart was taken back is not known
        levels = self.interrupted.get(owner)
        if levels is None:
            fx.reply(call)
            return
        self.change(fx, "waits", *owner, levels)
        self.waiting[owner].call = call
        self._wake(fx, owner, answer=False)

    def undo_wait(self, fx: Effects, call: Call) -> None:
        """Take back a wait whose answer never arrived: free the lock, and pass the notify on."""
        owner, levels = Owner.of(call), self.lock.levels
        if not self.lock.undo_claim(fx, call):
            return
        self.change(fx, "interrupted", *owner, levels)
        if call.result is True:
            self._notify_next(fx)

    def _need_lock(self, call: Call, what: str) -> None:
        if not self.lock.held_by(call):
            holder = self.lock.holder or "nobody"
            msg = f"cannot {what} un-acquired lock: {self.label} is held by {holder}"
            raise NotHeld(f"{msg}; acquire it first, as in `with condition:`")

    # -- waiting ---------------------------------------------------------------------------------

    def _begin_wait(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        owner = Owner.of(call)
        call.session.may_own_in(self)
        self.change(fx, "waits", *owner, self.lock.levels)
        self.waiting[owner].call = call
        if timeout_s != 0:
            self.waiters.park(fx, call, timeout_s, self._timed_out)
        self.lock.give_up(fx)
        if timeout_s == 0:
            self._wake(fx, owner, answer=False)

    def _wait_on(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Park a call that comes again after a restart where it stood before."""
        wait = self.waiting.get(Owner.of(call))
        if wait is not None:
            wait.call = call
            self.waiters.park(fx, call, timeout_s, self._timed_out)
            return
        wait = self.woken[Owner.of(call)]
        wait.call = call
        self.lock.claim(fx, call, wait.levels, self)

    def _timed_out(self, fx: Effects, call: Call) -> None:
        self._wake(fx, Owner.of(call), answer=False)

    def _wake(self, fx: Effects, owner: Owner, *, answer: bool) -> None:
        self.change(fx, "wakes", *owner, answer)
        wait = self.woken[owner]
        if wait.call is not None:
            self.waiters.forget(wait.call)
            self.lock.claim(fx, wait.call, wait.levels, self)

    def _notify_next(self, fx: Effects) -> None:
        first = next(iter(self.waiting), None)
        if first is not None:
            self._wake(fx, first, answer=True)

    def regained(self, fx: Effects, call: Call) -> None:
        """Answer a woken call, which holds the lock again."""
        owner = Owner.of(call)
        answer = self.woken[owner].answer
        self.change(fx, "left", *owner)
        fx.reply(call, answer)

    def lock_lost(self, fx: Effects, call: Call, error: MpserveError) -> None:
        """Fail a woken call: it will not have the lock again. The notify that woke it is spent."""
        self.change(fx, "left", *Owner.of(call))
        fx.fail(call, type(error)(error.text, **error.fields, condition=self.ident))

    # -- changes ---------------------------------------------------------------------------------

    def on_waits(self, _fx: Effects, session_id: str, lane: int, levels: int) -> None:
        """Note who waits, and how deep it held the lock."""
        self.waiting[Owner(session_id, lane)] = _Wait(levels)
        self.interrupted.pop(Owner(session_id, lane), None)

    def on_wakes(self, _fx: Effects, session_id: str, lane: int, answer: bool) -> None:
        """Note that somebody goes back for the lock."""
        owner = Owner(session_id, lane)
        wait = self.woken[owner] = self.waiting.pop(owner)
        wait.answer = answer

    def on_interrupted(self, _fx: Effects, session_id: str, lane: int, levels: int) -> None:
        """Note that a wait was taken back."""
        owner = Owner(session_id, lane)
        self._forget(owner)
        self.interrupted[owner] = levels

    def on_left(self, _fx: Effects, session_id: str, lane: int) -> None:
        """Note that somebody does not wait any more."""
        self._forget(Owner(session_id, lane))

    def _forget(self, owner: Owner) -> None:
        for those in (self.waiting, self.woken, self.interrupted):
            those.pop(owner, None)

    # -- peers that are gone ---------------------------------------------------------------------

    def forget_waiter(self, fx: Effects, waiter: Waiter) -> None:
        """Drop a parked call: one that waits, was woken, or only wants the lock."""
        super().forget_waiter(fx, waiter)
        owner = Owner.of(waiter.call)
        wait = self._wait_of(owner)
        if wait is not None and wait.call is waiter.call:
            self._interrupt(fx, owner)

    def _wait_of(self, owner: Owner) -> _Wait | None:
        return self.waiting.get(owner) or self.woken.get(owner)

    def _interrupt(self, fx: Effects, owner: Owner) -> None:
        """Take a wait back, and pass its notify on; the lock that it gave up may still be taken again."""
        wait = self._wait_of(owner)
        if wait is None:
            return
        self.change(fx, "interrupted", *owner, wait.levels)
        if wait.answer:
            self._notify_next(fx)

    def _drop(self, fx: Effects, owner: Owner) -> None:
        wait = self._wait_of(owner)
        if wait is None and owner not in self.interrupted:
            return
        self.change(fx, "left", *owner)
        if wait is not None and wait.answer:
            self._notify_next(fx)

    def forget_lane(self, fx: Effects, lane: Lane) -> None:
        """Drop what is left of a thread's wait, and hand its lock on."""
        self._drop(fx, Owner(lane.session.id, lane.number))
        self.lock.let_go(fx, lane.session, lane.number)

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Drop what is left of a session's waits, and hand its lock on, a stock client's too."""
        for owner in [o for o in self._owners() if o.session == session.id]:
            self._drop(fx, owner)
        self.lock.let_go(fx, session)

    def retry(self, fx: Effects) -> None:
        """Hand a free lock to a woken waiter that was suspended."""
        self.lock.retry(fx)

    def break_waiters(self, fx: Effects, error: MpserveError | None = None) -> None:
        """Fail everybody who waits or was woken; who only wants the lock still gets it."""
        why = error or NoSuchObject(f"{self.label} was deleted while this call waited for it")
        for wait in (*self.waiting.values(), *self.woken.values()):
            if wait.call is not None and wait.call.waiter is not None:
                wait.call.waiter.lot.forget(wait.call)
                fx.fail(wait.call, why)
        self.waiting.clear()
        self.woken.clear()
        self.interrupted.clear()

    def owners(self) -> Iterable[str]:
        """Return the sessions that wait, have been notified, or may take the lock again."""
        return {owner.session for owner in self._owners()}

    def _owners(self) -> list[Owner]:
        return [*self.waiting, *self.woken, *self.interrupted]

    def holdings(self, session_id: str) -> Iterable[tuple[int, int, Iterable[str]]]:
        """Yield who waits: it will think that it holds the lock again."""
        for owner, wait in (*self.waiting.items(), *self.woken.items()):
            if owner.session == session_id:
                yield owner.lane, wait.levels, (self.lock.ident, *self.lock.conditions)

    def rebuild(self) -> Iterator[Change]:
        """Yield who waits, who goes back for the lock, and who may."""
        for owner, wait in (*self.woken.items(), *self.waiting.items()):
            yield "waits", (*owner, wait.levels)
        for owner, wait in self.woken.items():
            yield "wakes", (*owner, wait.answer)
        for owner, levels in self.interrupted.items():
            yield "interrupted", (*owner, levels)

    # -- looking ---------------------------------------------------------------------------------

    def awaited(self, waiter: Waiter) -> Machine | None:
        """Return the lock, for a call that wants it, or wants it back."""
        return self.lock if waiter.lot is self.lock.acquirers else None

    def lots(self) -> Iterable[ParkingLot]:
        """Return the line of those who wait; those who were woken stand in the lock's."""
        return (self.waiters,)

    def state(self) -> tuple[list[tuple[Owner, int, bool | None]], dict[Owner, int]]:
        """Return who waits, in order, then who was woken: owner, levels, answer; and who was interrupted."""
        waits = [*self.waiting.items(), *self.woken.items()]
        return [(owner, wait.levels, wait.answer) for owner, wait in waits], self.interrupted.copy()

    def statistics(self) -> dict[str, Any]:
        """Return the lock, its holder, and how many wait, are woken, and stand in the lock's line."""
        lock = self.lock
        about = {"lock": lock.label, "holder": lock.holder, "abandoned": lock.abandoned}
        lines = {"acquirers": len(lock.acquirers), "waiters": len(self.waiting), "woken": len(self.woken)}
        return {**about, **lines}

    def validate(self) -> None:
        """Raise AssertionError unless each who waits stands in the line of its phase."""
        super().validate()
        here = [wait.call for wait in self.waiting.values() if wait.call is not None]
        assert set(map(id, here)) == set(map(id, self.waiters))
        for wait in self.woken.values():
            assert wait.call is None or wait.call in self.lock.acquirers
        assert len(set(self._owners())) == len(self._owners())
