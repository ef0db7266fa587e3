"""Who waits for whom: threads, and the locks that they hold and want. One for each engine.

    thread --waits for--> lock --is held by--> thread --waits for--> …        a circle of these: a deadlock

RULES
* Nothing is kept: a thread waits for one thing at a time, and a lock has one holder, so from any thread there
  is one way on, and it is walked. Cost: O(locks on the way), only when a call is about to wait for a lock.
* Only a new wait can close a circle: who is handed a lock does not wait.
* A Lock that was ever released by another than its holder is a signal, and its holder is not to blame.
* A circle is reported once, as long as it has the same holders.
* If one of its locks says ``deadlock="raise"``, the call that would close the circle fails.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from mpserve.core.mutex import Mutex
from mpserve.core.owner import Owner
from mpshared.errors import DeadlockError

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpserve.core.parking import Waiter
    from mpserve.core.sessions import Sessions

__all__ = ["Deadlocks", "Wait"]

REPORTED: Final = 1024
"""Circles that are remembered, so that a thread that tries again and again does not fill the log."""


class Wait(NamedTuple):
    """One step of the way."""

    waiter: Owner
    lock: Mutex
    holder: Owner


class Deadlocks:
    """See the file's beginning."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._reported: OrderedDict[frozenset[tuple[str, int]], None] = OrderedDict()

    def way(self, waiter: Owner, lock: Mutex) -> tuple[list[Wait], bool]:
        """Return who waits for whom, from a thread that waits for `lock` on; and whether that leads back."""
        waits: list[Wait] = []
        seen: set[Owner] = set()
        first, following = waiter, lock
        while following.holder is not None and waiter not in seen:
            seen.add(waiter)
            waits.append(Wait(waiter, following, following.holder))
            waiter = following.holder
            if waiter == first:
                return waits, not any(wait.lock.is_signal for wait in waits)
            awaited = self.awaited_by(waiter)
            if awaited is None:
                break
            following = awaited
        return waits, False

    def awaited_by(self, owner: Owner) -> Mutex | None:
        """Return the lock that a thread waits for."""
        waiter = self.waiter_of(owner)
        if waiter is None or waiter.call.machine is None:
            return None
        found = waiter.call.machine.awaited(waiter)
        return found if isinstance(found, Mutex) else None

    def waiter_of(self, owner: Owner) -> Waiter | None:
        """Return as what a thread waits for anything."""
        session = self._sessions.find(owner.session)
        lane = None if session is None else session.lanes.get(owner.lane)
        call = None if lane is None else lane.running
        return None if call is None else call.waiter

    # -- a circle --------------------------------------------------------------------------------

    def check(self, fx: Effects, lock: Mutex, call: Call) -> DeadlockError | None:
        """Report the circle that would be closed if `call` waited for `lock`; return why it must not."""
        waiter, holder = Owner.of(call), lock.holder
        if holder is not None and holder != waiter and self.waiter_of(holder) is None:
            return None  # who holds it waits for nothing
        waits, is_circle = self.way(waiter, lock)
        if not is_circle:
            return None
        raises = any(wait.lock.settings["deadlock"] == "raise" for wait in waits)
        circle = frozenset((wait.lock.ident, wait.lock.fence) for wait in waits)
        if circle not in self._reported:
            self._remember(circle)
            fx.events.append(("lock.deadlock", {"waits": list(map(self._told, waits)), "raised": raises}))
        return self._error(lock, waits) if raises else None

    def _remember(self, circle: frozenset[tuple[str, int]]) -> None:
        self._reported[circle] = None
        if len(self._reported) > REPORTED:
            self._reported.popitem(last=False)

    def _told(self, wait: Wait) -> str:
        return f"{self._name(wait.waiter)} waits for {wait.lock.label}, held by {self._name(wait.holder)}"

    def _name(self, owner: Owner) -> str:
        session = self._sessions.find(owner.session)
        if session is None:
            return str(owner)
        return f"thread {owner.lane} of process {session.info.pid} on {session.info.host} ({session.id})"

    def _error(self, lock: Mutex, waits: list[Wait]) -> DeadlockError:
        told = "; ".join(map(self._told, waits))
        return DeadlockError(
            f"to wait for {lock.label} would have no end: {told}. Release what this thread holds and begin "
            f"anew; where all acquire their locks in the same order, this cannot happen",
            lock=lock.ident,
        )
