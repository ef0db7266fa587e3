"""The engine interface: who holds the state, and answers calls now or later.

RULES
* `submit` hands over one call; the engine answers it through `deliver`, before `submit` returns or at any
  later time.
* One call is atomic over all objects it names. Calls of one lane come one at a time: the next is submitted
  after the answer to the one before. Calls of different lanes on disjoint objects may be answered in any
  order.
* `lane.running` is the call that is under way. Who submits sets it, who gets the answer clears it; the engine
  clears it when it ends a session or closes a lane, and so does who abandons a call.
* A call that is not `lane.running` any more is never delivered: its session ended, its lane was closed, or it
  was abandoned.
* Nothing here blocks, and nothing here reads a clock: `now_s` (monotonic) is an argument.
* A mistake in the code of one kind fails the one call (`InternalError`) and is told to `trouble`. All else
  goes on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Lane, Session, SessionInfo
    from mpserve.core.ended import Ended

__all__ = ["Deliver", "Engine", "HandedOver", "SessionEnded", "StoreError", "Tell", "Trouble"]

Deliver: TypeAlias = "Callable[[Call], None]"
"""Is given each call when it is answered: `result` and `out`, or `error`, are set."""
SessionEnded: TypeAlias = "Callable[[Session], None]"
"""Is told when a session ended for any reason but its own goodbye."""
Tell: TypeAlias = "Callable[[str, dict[str, Any]], None]"
"""Is told what an operator should know: the name of an event, and its fields."""
Trouble: TypeAlias = "Callable[[str, Exception], None]"
"""Is told what went wrong by a mistake of ours, and the exception."""

HandedOver: TypeAlias = "Callable[[], None]"
"""Is told when a lock has a new holder for whom others wait: he is woken, and soon calls."""


class StoreError(Exception):
    """Where the state is kept cannot be used; the text says why and what to do."""


class Engine(ABC):
    """Executes operations on objects and says when parked calls may go on."""

    deliver: Deliver
    session_ended: SessionEnded
    tell: Tell
    trouble: Trouble
    handed_over: HandedOver

    @abstractmethod
    def submit(self, call: Call, now_s: float) -> None:
        """Execute one call. Its op is known; its object is looked up and its arguments are checked here."""

    @abstractmethod
    def abandon(self, call: Call, now_s: float) -> None:
        """Take a call back: its caller gave up. What it took returns to its old place; a parked call leaves
        its line.
        """

    @abstractmethod
    def lacks_memory(self) -> None:
        """Note that there was no memory for something: nothing more is stored until there is some."""

    @abstractmethod
    def start_session(self, session_id: str, info: SessionInfo, secret: str, now_s: float) -> Session:
        """Begin a session."""

    @abstractmethod
    def find_session(self, session_id: str) -> Session | None:
        """Return the live session of that id."""

    @abstractmethod
    def find_ended(self, session_id: str) -> Ended | None:
        """Return what is kept of a session that ended, and whose program may come back."""

    @abstractmethod
    def kind_of(self, ident: str) -> str | None:
        """Return the kind of an object, which never changes, or None when there is none."""

    @abstractmethod
    def label_of(self, ident: str) -> str:
        """Return how messages name an object; the ident itself when there is none."""

    @abstractmethod
    def maker_of(self, name: str, kind: str | None) -> str | None:
        """Return the id of the session that made a named object, "" for one that is not known any more; None
        when there is no object of that name, or several.
        """

    @abstractmethod
    def end_session(self, session: Session, now_s: float, *, parted: bool = True) -> None:
        """End a session: forget its waiters, undo unsettled answers, hand on what it owned, drop its
        references. `parted`: it said goodbye, and does not come back.
        """

    def when_kept(self, then: Callable[[], None]) -> None:
        """Call `then` once all that was changed so far outlives the server, if it is to; else at once."""
        then()

    @abstractmethod
    def connected(self, session: Session, now_s: float) -> None:
        """Note a new connection of a session."""

    @abstractmethod
    def disconnected(self, session: Session, lanes: Iterable[Lane], now_s: float) -> None:
        """Note a lost connection and suspend the lanes it carried."""

    @abstractmethod
    def resume(self, lane: Lane, now_s: float) -> None:
        """Wake a suspended lane: it has a connection again."""

    @abstractmethod
    def heard(self, session: Session, speaks_for: Iterable[str], now_s: float) -> None:
        """Note a heartbeat."""

    @abstractmethod
    def close_lane(self, lane: Lane, now_s: float) -> None:
        """End a thread's lane: its call under way is abandoned, what belongs to the thread is handed on."""

    @abstractmethod
    def stood(self, since_s: float, now_s: float) -> None:
        """Note that the server did not run between the two, and heard nobody; before `advance`."""

    @abstractmethod
    def next_deadline_s(self) -> float | None:
        """Return when `advance` must be called at the latest, monotonic seconds, or None."""

    @abstractmethod
    def advance(self, now_s: float) -> None:
        """Let time pass: expire waits, end silent sessions."""
