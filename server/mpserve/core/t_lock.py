"""Lock: held by nobody or by one session; anybody may release it, as `threading.Lock` allows (signalling).

RULES
* Anybody may release it, also one whose holder is dead: to hold it then is for those who wait to acquire it.
* It belongs to the session: the end of the thread that took it frees nothing, the end of the session does.
* A stock client's lock belongs to nobody: a child process may exit holding it, and its parent release it.

How it is handed over: `mpserve.core.mutex`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mpserve.core.mutex import Mutex

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects

__all__ = ["Lock"]


class Lock(Mutex):
    """A lock without owner check."""

    kind: ClassVar[str] = "lock"

    def release(self, fx: Effects, call: Call) -> None:
        """Release the lock, whoever holds it, and hand it to the first waiter.

        Raises:
            NotHeld: Nobody holds it.

        Cost: O(1). Source: threading.Lock.release.
        """
        if self.holder is None or (self.abandoned and self._is_refused()):
            raise self._refuse_release()
        lane = call.lane
        if self.holder != (lane.session.id, lane.number):
            self.is_signal = True
        self._pass_on(fx)
        fx.reply(call)

    def held_by(self, call: Call) -> bool:
        """Tell whether the caller's session holds it, in whichever thread."""
        return self.holder is not None and self.holder.session == call.session.id and not self.abandoned

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Hand the lock on if the dead session held it."""
        if session.info.role != "stock":
            self.let_go(fx, session)
