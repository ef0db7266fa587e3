"""A lane: the ordered stream of one task's calls. All lanes of a session share its one connection.

RULES
* A task makes one call at a time, but a call that gives something up goes on when its caller is cancelled
  (`finish`): then a second one may follow it.
* Cancelled, a call is abandoned by its number: the server takes back what it took. That is told until it is
  sure that the server knows.
* After a reconnect the server says which number it saw last. Calls up to that are asked for again; what it
  never saw is numbered anew, so that no number is missing.
* A timeout counts from the first time the call was made. One that runs out while nobody can be asked is a
  `ServerGone`: "empty" would be a lie.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mpclient.transport.lane import TIMEOUT_AT, Numbered, deadline_of, note_call
from mpclient.transport.term import again
from mpshared.errors import MpserveError, ServerGone, SessionExpired, make
from mpshared.wire.own.frames import Failed

if TYPE_CHECKING:
    from mpclient.aio.session import Session
    from mpclient.transport.lane import Read
    from mpclient.transport.term import Term
    from mpshared.ops import Op
    from mpshared.values import Blob
    from mpshared.wire.own.frames import Reply

__all__ = ["Lane"]

_ABANDONED: Final = 8
"""Numbers that are remembered: those that matter are of the last call, or the one before."""


@dataclass(slots=True, eq=False)
class _Asked:
    """A call without an answer."""

    op: Op
    target: str
    args: list[Any]
    blobs: Sequence[Blob]
    number: int
    deadline_s: float | None
    answer: asyncio.Future[Reply | Failed]
    finish: bool
    """It goes on when its caller is cancelled."""
    timer: asyncio.TimerHandle | None = None
    """Set while the server cannot be asked."""


class Lane(Numbered):
    """One task's stream of calls within one term of a session."""

    __slots__ = (
        "__weakref__",
        "_acked",
        "_agreed",
        "_asked",
        "_ending",
        "_session",
        "abandoned",
        "number",
        "sent",
        "settled",
        "term",
        "told",
    )

    def __init__(self, session: Session, term: Term) -> None:
        self._session = session
        self.term = term
        self.number = term.new_lane(self)
        self.sent = 0
        """The number of the last call."""
        self._acked = 0
        self.settled = 0
        self.told = 0
        self._asked: dict[int, _Asked] = {}
        self.abandoned: deque[int] = deque(maxlen=_ABANDONED)
        self._ending = False
        self._agreed: asyncio.Future[None] | None = None
        """While the connection is lost or new: done when both sides agree about numbers again."""

    def __repr__(self) -> str:
        return f"<Lane {self.number} of {self._session!r}>"

    # -- calling ---------------------------------------------------------------------------------

    async def call(
        self,
        op: Op,
        target: str,
        args: list[Any],
        blobs: Sequence[Blob],
        read: Read | None,
        *,
        finish: bool = False,
    ) -> Any:
        """Make one call and wait for its answer.

        Args:
            op: The operation.
            target: Ident of the object, "" for the cluster.
            args: Plain data; the list belongs to the call from now on.
            blobs: Values, written as they are.
            read: Applied to the answer; None returns the `Reply` itself.
            finish: The call goes on although its caller is cancelled.

        Raises:
            MpserveError: As the operation's table says; `ServerGone` and its kin; `TooBig`.
        """
        asked = self._ask(op, target, args, blobs, finish=finish)
        answer: Reply | Failed | None = None
        try:
            answer = await asked.answer
            if answer.ack:
                await self._session.printed(answer.ack)
            if type(answer) is Failed:
                raise make(answer.code, answer.text, answer.fields)
            result = answer if read is None else read(answer)  # type: ignore[arg-type]
        except BaseException as err:
            if not finish and (answer is None or not isinstance(err, Exception)):
                self._abandon(asked)
            elif answer is not None:
                self._settle()
            raise
        self._settle()
        return result

    def _ask(self, op: Op, target: str, args: list[Any], blobs: Sequence[Blob], *, finish: bool) -> _Asked:
        number = self.sent + 1
        pieces = self._encode(op, number, target, args, blobs)
        answer = asyncio.get_running_loop().create_future()
        asked = _Asked(op, target, args, blobs, number, deadline_of(op, args), answer, finish)
        self.sent = number
        self._asked[number] = asked
        if self._agreed is None:
            self._session.send(pieces)
        else:
            self._limit(asked)
        return asked

    def _settle(self) -> None:
        """Note that all answers so far have arrived and are taken."""
        if not self._asked:
            self._acked = self.settled = self.sent

    def _abandon(self, asked: _Asked) -> None:
        """Give up a call, whatever became of it."""
        self._asked.pop(asked.number, None)
        self.abandoned.append(asked.number)
        if asked.timer is not None:
            asked.timer.cancel()
        if not asked.answer.cancel() and not asked.answer.cancelled():
            asked.answer.exception()  # nobody wants it; without a look the loop would complain
        if self.term.over is None:
            self._session.abandoned(self, asked.number)
        self._finish_ending()

    def answered(self, answer: Reply | Failed) -> None:
        """Hand an answer to who waits for it; late ones to abandoned calls are dropped."""
        asked = self._asked.pop(answer.number, None)
        if asked is None:
            return
        if not asked.answer.done():
            asked.answer.set_result(answer)
        elif asked.finish:
            self._settle()
        # else its caller is cancelled, and is about to abandon it
        self._finish_ending()

    def refused(self, answer: Failed) -> None:
        """Tell all who wait that the server does not take this lane."""
        for number in list(self._asked):
            self.answered(answer._replace(number=number))

    # -- when the connection is lost -------------------------------------------------------------

    def suspend(self) -> None:
        """Note that the connection is lost."""
        if self._agreed is None or self._agreed.done():
            self._agreed = asyncio.get_running_loop().create_future()
        for asked in self._asked.values():
            self._limit(asked)

    def agree(self, last: int, abandoned: Sequence[int]) -> None:
        """Go on over a new connection.

        Args:
            last: The number that the server saw last.
            abandoned: Numbers that were abandoned, and it may not know.
        """
        for number in abandoned:
            if number <= last:
                self._session.abandoned(self, number)
        seen = {number: asked for number, asked in self._asked.items() if number <= last}
        unseen = [asked for number, asked in self._asked.items() if number > last]
        self._asked = seen
        for asked in unseen:
            last += 1
            asked.number = last
            seen[last] = asked
        self.sent = last
        self._acked, self.settled = min(self._acked, last), min(self.settled, last)
        self._resume()
        for asked in list(seen.values()):
            self._send_again(asked)

    def _resume(self) -> None:
        agreed, self._agreed = self._agreed, None
        if agreed is not None and not agreed.done():
            agreed.set_result(None)

    def _send_again(self, asked: _Asked) -> None:
        if asked.timer is not None:
            asked.timer.cancel()
            asked.timer = None
        if asked.deadline_s is not None:
            asked.args[TIMEOUT_AT[asked.op.code]] = max(0.0, asked.deadline_s - time.monotonic())
        self._session.send(self._encode(asked.op, asked.number, asked.target, asked.args, asked.blobs))

    def _limit(self, asked: _Asked) -> None:
        """Have the call fail when its time runs out: nobody can be asked."""
        if asked.deadline_s is not None and asked.timer is None:
            left_s = max(0.0, asked.deadline_s - time.monotonic())
            asked.timer = asyncio.get_running_loop().call_later(left_s, self._time_out, asked)

    def _time_out(self, asked: _Asked) -> None:
        if not asked.answer.done():
            text = (
                f"the timeout of this call ran out while the server at {self._session.address} could not be "
                f"asked; whether it was done is not known"
            )
            asked.answer.set_exception(ServerGone(text))

    # -- its end ---------------------------------------------------------------------------------

    def fail(self, error: MpserveError) -> None:
        """Fail every call under way: the session is over."""
        for asked in list(self._asked.values()):
            if asked.timer is not None:
                asked.timer.cancel()
            why = again(error)
            if isinstance(why, SessionExpired):
                note_call(why, self.number, asked.number, asked.op, asked.args, asked.deadline_s)
            if not asked.answer.done():
                asked.answer.set_exception(why)
        self.abandoned.extend(self._asked)
        self._asked.clear()
        self._resume()

    def close(self) -> None:
        """End the lane: its task has ended. What belongs to the task alone is handed on."""
        self._ending = True
        self._finish_ending()

    def _finish_ending(self) -> None:
        if self.closed:
            self._session.lane_closed(self)

    @property
    def closed(self) -> bool:
        """Whether the task has ended, and no call goes on."""
        return self._ending and not self._asked
