"""Calls of lane 0: what is told the server of the whole session, and nobody waits for.

RULES
* They are kept until they are answered, and sent again after a reconnect.
* What tells of a lane's end went over the lane's own connection, if there was one, and nobody answers that.
  So it is told again over this one, until an answer to a later call says that it has arrived.
* References come in swarms: one message for all that come within `GATHER_S`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mpclient.references import DROP, LEND
from mpshared.errors import make
from mpshared.ops import BY_NAME
from mpshared.wire.own.frames import Failed, Reply, encode_call

if TYPE_CHECKING:
    from mpclient.references import References
    from mpshared.ops import Op
    from mpshared.wire.own.frames import Event

__all__ = ["GATHER_S", "Errands"]

GATHER_S: Final = 0.05
_COUNT: Final = BY_NAME["cluster.count"]
_OPEN_MAX: Final = 32
"""Under way at once; the server takes 64."""


class Errands:
    """The lane 0 of one term.

    Args:
        references: What is to be told of them.
        send: Writes a frame to the control connection.
    """

    def __init__(self, references: References, send: Callable[[list[bytes]], None]) -> None:
        self._references = references
        self.send = send
        self._sent = 0
        self._open: dict[int, tuple[Op, list[Any]]] = {}
        """Those that are not answered, by number."""
        self.ended: deque[list[bytes]] = deque()
        """What tells of the ends of lanes, since it was last looked at."""
        self._unsure: list[list[bytes]] = []
        """The same, told again, and not known to have arrived."""
        self._asked: tuple[int, int] | None = None
        """A call that makes sure, and of how many of those."""
        self.named = 0
        """The number of the last output that the server has for this program, as it said last."""

    def call(self, op: Op, args: list[Any]) -> int:
        """Make a call; return its number."""
        self._sent += 1
        self._open[self._sent] = op, args
        self._send_call(self._sent)
        return self._sent

    def ask_output(self) -> int:
        """Make a call whose answer names (`named`) the last output that the server has for this program."""
        return self.call(_COUNT, [])

    def tell_references(self) -> None:
        """Tell what was lent and dropped, unless much is under way."""
        if len(self._open) < _OPEN_MAX:
            self.tell_lent()
        while len(self._open) < _OPEN_MAX and (dropped := self._references.take_dropped()):
            self.call(DROP, [dropped])

    def tell_lent(self) -> None:
        """Tell what was lent."""
        while lent := self._references.take_lent():
            self.call(LEND, [lent])

    def is_open(self, number: int) -> bool:
        """Return whether a call has no answer yet."""
        return number in self._open

    def answered(self, answer: Reply | Failed) -> None:
        """Note an answer."""
        self._open.pop(answer.number, None)
        self.named = answer.ack
        if self._asked is not None and self._asked[0] == answer.number:
            del self._unsure[: self._asked[1]]
            self._asked = None

    def make_sure(self) -> None:
        """Tell again which lanes have ended, and make a call only to have an answer behind that."""
        if self._asked is None and (self.ended or self._unsure):
            self.tell_ended()
            self._asked = self.call(_COUNT, []), len(self._unsure)

    def tell_ended(self) -> None:
        """Tell again which lanes have ended."""
        while self.ended:
            self._unsure.append(self.ended.popleft())
        for pieces in self._unsure:
            self.send(pieces)

    def send_again(self) -> None:
        """Send, by a new connection, what has no answer."""
        self.tell_ended()
        for number in list(self._open):
            self._send_call(number)

    def _send_call(self, number: int) -> None:
        op, args = self._open[number]
        ack = min(self._open) - 1
        self.send(encode_call(op.code, 0, number, ack, "", args, ()))

    def ask(self, op: Op, args: list[Any], wait: Callable[[], Event]) -> Any:
        """Make one call and wait for its answer: at the beginning, when nobody else reads.

        Args:
            op: The operation.
            args: Its arguments.
            wait: Returns the next frame that comes.

        Raises:
            MpserveError: It failed.
        """
        number = self.call(op, args)
        event = wait()
        while not isinstance(event, Reply | Failed) or event.number != number:
            event = wait()
        self.answered(event)
        if isinstance(event, Failed):
            raise make(event.code, event.text, event.fields)
        return event.result
