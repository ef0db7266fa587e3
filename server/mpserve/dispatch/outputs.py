"""The way of what workers print: from their connections to the program that it is for.

RULES
* A session numbers its OUTPUT frames. It sends each of them by every connection that it uses before it knows
  that the frame has arrived; the first that comes counts.
* The control connection of the program (lane 0) brings it home. With none it is kept for the next one.
* That frames have arrived is told on the connection they came by; where the program has too much to print
  already, it is told later, on the sender's control: so whoever prints much goes at its pace.
* What is printed for a program that is gone is dropped.
* A server that was restarted with its state begins to count output anew, under another `run`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mpserve.core.output import Output
from mpshared.wire.own.frames import Type, encode_control

if TYPE_CHECKING:
    from mpserve.core.calls import Session
    from mpshared.log import Logger

__all__ = ["Outputs"]


class Way(Protocol):
    """A connection of our protocol, as a way for frames that answer no call."""

    def tell(self, pieces: Sequence[bytes]) -> None:
        """Send a frame."""


class Outputs:
    """See the file's beginning.

    Args:
        find_session: Returns the live session of an id, or None.
        log: For what is lost.
    """

    def __init__(self, find_session: Callable[[str], Session | None], log: Logger) -> None:
        self.run = secrets.token_hex(4)
        self._find_session = find_session
        self._log = log
        self._owed: dict[str, dict[str, Session]] = {}
        """By program: who is still to be told that its frames have arrived."""

    def take(self, sender: Session, way: Way, number: int, program_id: str, entries: Sequence[Any]) -> None:
        """Take one frame of a session that prints for a program."""
        program = self._find_session(program_id)
        if program is not None and program.info.role == "stock":
            program = None  # its protocol has no word for this
        if number > sender.output_heard:
            sender.output_heard = number
            if program is not None:
                self._keep(sender, program, entries)
        if program is not None and program.output is not None and not program.output.has_room:
            self._owed.setdefault(program.id, {})[sender.id] = sender
        else:
            way.tell(encode_control(Type.ACK, ack=sender.output_heard))

    def _keep(self, sender: Session, program: Session, entries: Sequence[Any]) -> None:
        if program.output is None:
            program.output = Output(program.room)
        had_room = program.output.has_room
        lost = program.output.add(sender.id, entries)
        if lost and had_room:
            self._log.warning("output.lost", program=program.id, name=program.info.name, lines=lost)
        self._send(program, program.output)

    def printed(self, program: Session, number: int) -> None:
        """Note how far a program has printed."""
        output = program.output
        if output is not None:
            output.printed(number)
            self._send(program, output)
            if output.has_room:
                self._settle(program)

    def resumed(self, program: Session) -> None:
        """Go on over a new control connection, from where the program has printed to."""
        if program.output is not None:
            program.output.rewind()
            self._send(program, program.output)

    def ended(self, program: Session) -> None:
        """Hold up nobody for a program that is gone."""
        if program.output is not None:
            program.output.close()
        program.output = None
        self._settle(program)

    def _send(self, program: Session, output: Output) -> None:
        way = _control_of(program)
        while way is not None and (page := output.next_page()) is not None:
            way.tell(encode_control(Type.OUTPUT, body=list(page)))

    def _settle(self, program: Session) -> None:
        for sender in self._owed.pop(program.id, {}).values():
            way = _control_of(sender)
            if way is not None:
                way.tell(encode_control(Type.ACK, ack=sender.output_heard))


def _control_of(session: Session) -> Way | None:
    lane = session.lanes.get(0)
    way: Way | None = None if lane is None else lane.reply_to
    return way
