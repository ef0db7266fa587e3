"""How long to go on without a server: the one place that decides between trying again and `ServerGone`.

| what happened                                  | what we do                                               |
|------------------------------------------------|----------------------------------------------------------|
| connection broken, host silent                 | try again, up to `reconnect_timeout`                     |
| nobody listens any more                        | try for `REFUSED_S`; then the server is gone             |
| the same, and the server keeps its state on    | try again, up to `reconnect_timeout`                     |
|   disk, or it said "restarting"                |                                                          |
| the server said "gone"                         | it is gone                                               |
| it takes nobody more, a thread's connection;   | try again, up to `reconnect_timeout`; then `NoRoom` for  |
|   or this process may open no more files       |   this call: the session and its other threads go on     |
| the call's own timeout is over                 | `ServerGone` for this call                               |

A program that ends says goodbye again while that breaks off, for `STOP_S` (`Parting`).

The time counts from when the server was lost. A call that waits at the server may live through many restarts:
it counts anew where the server had the call for longer than it had been away before. (One that dies of a call
each time it has it is not tried for ever.)

A program whose session waits for longer than `SAY_S` says so on standard error, and when it goes on: once,
whatever the number of its calls that wait. A worker host has it in its log.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from mpclient.transport.dialling import Busy, Goodbye, Lost, Refusing
from mpclient.transport.term import SAY_S
from mpshared.errors import MpserveError, NoRoom, ServerGone

if TYPE_CHECKING:
    from mpclient.transport.term import SessionBase, Term

__all__ = ["AGAIN_S", "REFUSED_S", "STOP_S", "Parting", "Patience"]

REFUSED_S: Final = 1.5
"""A server without a state on disk that was away this long has lost its objects: no use in waiting."""
_FIRST_S: Final = 0.01
_MOST_S: Final = 1.0
STOP_S: Final = 2.0
"""How long a program that ends waits for a server that is silent or away."""
AGAIN_S: Final = 0.05
"""Between two attempts to say goodbye."""


class Patience:
    """One disconnection, as one caller lives through it.

    Args:
        session: Whose.
        term: The term that was interrupted.
        deadline_s: Monotonic; when the caller's own timeout is over, or None.
        call: What became of the one call that waits; "": the whole session does.
    """

    __slots__ = ("_asked_s", "_call", "_deadline_s", "_said", "_session", "_since_s", "_term", "_tries")

    def __init__(
        self, session: SessionBase, term: Term, deadline_s: float | None = None, call: str = ""
    ) -> None:
        self._session = session
        self._term = term
        self._deadline_s = deadline_s
        self._call = call
        self._since_s = time.monotonic()
        self._asked_s: float | None = None
        self._tries = 0
        self._said = False

    def asked(self) -> None:
        """Note that the server has the call."""
        self._asked_s = time.monotonic()

    def over(self) -> None:
        """Note that the server is there again."""
        if self._said:
            self._session.note_back()

    def wait(self, lost: Lost) -> None:
        """Wait a little before the next attempt; see `delay_s`."""
        delay_s = self.delay_s(lost)
        if delay_s:
            self._session.pause(delay_s)

    def delay_s(self, lost: Lost) -> float:
        """Return how long to wait before the next attempt; longer each time.

        Raises:
            ServerGone: There is no use in another one.
            NoRoom: The server has no connection for this call; others of the session go on.
        """
        if self._asked_s is not None:
            self._count_anew(self._asked_s)
        left_s = min(self._left_s(lost), self._caller_left_s(lost))
        self._tries += 1
        if self._tries == 1:
            return 0
        delay_s = min(_MOST_S, _FIRST_S * 2.0**self._tries) * (0.5 + random.random())  # noqa: S311 - no secret
        return min(delay_s, left_s)

    def _count_anew(self, asked_s: float) -> None:
        """Begin the count again, if the server that is lost now was there for long enough."""
        now_s, self._asked_s = time.monotonic(), None
        if now_s - asked_s > asked_s - self._since_s:
            self._since_s, self._tries = now_s, 0

    def _left_s(self, lost: Lost) -> float:
        if isinstance(lost, Goodbye):
            self._term.restarting = lost.reason == "restarting"
            if lost.reason == "gone":
                raise self._session.end(self._term, self._gone("it was stopped"))
        limit_s = self._session.reconnect_timeout_s
        if _has_lost_its_state(lost, self._term):
            limit_s = min(limit_s, REFUSED_S)
        left_s = self._since_s + limit_s - time.monotonic()
        if left_s <= 0:
            raise self._in_vain(lost)
        if limit_s - left_s > SAY_S and not (self._said or self._call):
            self._said = True
            self._session.note_away(str(lost), left_s)
        return left_s

    def _in_vain(self, lost: Lost) -> MpserveError:
        """Return why nothing is tried any more; ends the term, unless the server lives and others go on."""
        if isinstance(lost, Busy) and self._call:
            return NoRoom(
                f"{lost}. This thread has no connection of its own, and {self._call}; other threads go on"
            )
        return self._session.end(self._term, self._gone(str(lost)))

    def _caller_left_s(self, lost: Lost) -> float:
        if self._deadline_s is None:
            return _MOST_S * 2
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise ServerGone(
                f"the timeout of this call ran out while the server at {self._session.address} could not be "
                f"asked ({lost}); whether it was done is not known"
            )
        return left_s

    def _gone(self, why: str) -> ServerGone:
        return ServerGone(
            f"the server at {self._session.address} is gone: {why}. What it held is lost unless it keeps its "
            f"state; start it again (mpserve start), then open the objects again"
        )


class Parting:
    """How long a program that ends tries to say goodbye."""

    __slots__ = ("_deadline_s", "_term")

    def __init__(self, term: Term) -> None:
        self._term = term
        self._deadline_s = time.monotonic() + STOP_S

    @property
    def left_s(self) -> float:
        """How long an attempt may take."""
        return max(AGAIN_S, self._deadline_s - time.monotonic())

    def is_vain(self, lost: Lost | None = None) -> bool:
        """Return whether there is no use in another attempt, after one that failed."""
        return time.monotonic() > self._deadline_s or _has_lost_its_state(lost, self._term)


def _has_lost_its_state(lost: Lost | None, term: Term) -> bool:
    """Return whether the server is down, and keeps nothing for the time when it is there again."""
    return isinstance(lost, Refusing) and not (term.durable or term.restarting)
