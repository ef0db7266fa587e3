"""RLock: held by one thread of one session, as deep as it took it; only that thread may release it.

    FREE --acquire--> HELD, level 1 --acquire by the holder--> level 2 …
                      level 2 --release by the holder--> level 1 --release--> handed on, or FREE

RULES
* It belongs to the thread: with the thread's end, or its session's, all levels are freed.
* A stock connection is one thread of one session, so its RLocks end with it.

How it is handed over: `mpserve.core.mutex`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mpserve.core.mutex import Mutex
from mpserve.core.owner import Owner
from mpshared.errors import NotHeld

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Lane, Session
    from mpserve.core.effects import Effects

__all__ = ["RLock"]


class RLock(Mutex):
    """A lock that its holder may take again."""

    kind: ClassVar[str] = "rlock"

    def acquire(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Take the lock or one more level of it, answer False at once, or park the call.

        Args:
            fx: Where the answer goes.
            call: The call; its thread becomes the holder.
            timeout_s: Seconds; None waits for ever, 0 never parks. Does not matter to the holder.

        Cost: O(1). Source: threading.RLock.acquire.
        """
        if self.holder != Owner.of(call):
            super().acquire(fx, call, timeout_s)
            return
        self.change(fx, "levelled", self.levels + 1)
        call.took = self.fence
        fx.reply(call, True)

    def release(self, fx: Effects, call: Call) -> None:
        """Give back one level; with the last one the lock goes to the first waiter.

        Raises:
            NotHeld: Another thread holds it, or nobody.

        Cost: O(1). Source: threading.RLock.release.
        """
        if self.holder != Owner.of(call):
            raise self._not_yours()
        self._one_less(fx)
        fx.reply(call)

    def undo_acquire(self, fx: Effects, call: Call) -> None:
        """Give back the level of an acquire whose answer never arrived."""
        if self._still_has(call) and not self._counts(call):
            self._one_less(fx)

    def on_levelled(self, _fx: Effects, levels: int) -> None:
        """Note how deep the holder is."""
        self.levels = levels

    def _one_less(self, fx: Effects) -> None:
        if self.levels > 1:
            self.change(fx, "levelled", self.levels - 1)
        else:
            self._pass_on(fx)

    def _not_yours(self) -> NotHeld:
        if self.holder is None or self.abandoned:
            return self._refuse_release()
        msg = f"cannot release un-acquired lock: {self.label} is held by {self.holder}, not by this thread"
        return NotHeld(f"{msg}; only the thread that acquired an RLock may release it")

    def held_by(self, call: Call) -> bool:
        """Tell whether the caller's thread holds it."""
        return self.holder == Owner.of(call)

    def forget_lane(self, fx: Effects, lane: Lane) -> None:
        """Hand the lock on if the thread that ended held it."""
        self.let_go(fx, lane.session, lane.number)

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Hand the lock on if the dead session held it."""
        self.let_go(fx, session)
