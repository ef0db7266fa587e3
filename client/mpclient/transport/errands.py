"""Calls of lane 0: what is told the server of the whole session, and nobody waits for.

RULES
* They are kept until they are answered, and sent again after a reconnect.
* What nobody answers (a lane has ended, a call was abandoned) is told again until it is sure to have
  arrived: see `unsure`.
* References come in swarms: one message for all that come within `GATHER_S`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mpclient.transport.references import DROP, LEND
from mpclient.transport.unsure import Unsure
from mpshared.errors import make
from mpshared.ops import BY_NAME
from mpshared.wire.own.frames import Failed, Reply, encode_call

if TYPE_CHECKING:
    from mpclient.transport.references import References
    from mpshared.ops import Op
    from mpshared.wire.own.frames import Event

__all__ = ["GATHER_S", "Errands"]

GATHER_S: Final = 0.05
_COUNT: Final = BY_NAME["cluster.count"]
_OPEN_MAX: Final = 32
"""Under way at once; the server takes 64."""
_UNSURE_MAX: Final = 64
"""So much may be uncertain before a call is made only to have an answer."""


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
        self.unsure = Unsure()
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
        self.unsure.answered(answer.number)

    def tell(self, frame: list[bytes], lane: int, abandoned: int = 0) -> None:
        """Tell that a lane has ended, or (its number) that a call was abandoned: by this connection."""
        self.send(frame)
        self.unsure.note(frame, lane, abandoned)
        if len(self.unsure) >= _UNSURE_MAX and not self.unsure.asked:
            self.unsure.gather()
            self._ask_whether_sure()

    def make_sure(self) -> None:
        """Tell again which lanes have ended (that went by connections of their own), and have it answered."""
        if self.unsure and not self.unsure.asked:
            self.tell_ended()
            self._ask_whether_sure()

    def _ask_whether_sure(self) -> None:
        self.unsure.asked = self.call(_COUNT, [])

    def tell_ended(self) -> None:
        """Tell again which lanes have ended."""
        for frame in self.unsure.ends():
            self.send(frame)

    def send_again(self) -> None:
        """Send, by a new connection, what may not have arrived, and what has no answer."""
        self.unsure.asked = 0  # its answer may come before calls are abandoned again
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
