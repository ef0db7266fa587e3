"""The keeper: the one thread behind a session. It holds the control connection.

RULES
* It heartbeats, acknowledges answers of silent threads, tells what was lent and dropped, and hears what the
  server says of the whole session. It never runs users' code, and no call waits for it.
* Its calls have lane 0. Nobody waits for their answers; they are sent again after a reconnect until they are
  answered.
* What others want sent is put into a deque and the keeper is woken through a socket: safe in finalisers and
  in signal handlers, where a lock is not.
* What must not be lost with a connection (acknowledgements, ends of lanes) is told again after a reconnect.
* It says goodbye last, after the acknowledgements: what was received must not be given to somebody else. If
  the connection breaks before the server has answered, it is opened again and all of that is repeated: see
  `Parting`.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.output.printer import WAIT_S
from mpclient.transport.dialling import HANDSHAKE_S, Connection, Goodbye, Lost
from mpclient.transport.errands import GATHER_S, Errands
from mpclient.transport.patience import AGAIN_S, STOP_S, Parting, Patience
from mpshared.errors import MpserveError, ServerGone, make
from mpshared.wire.own.frames import Control, Failed, Reply, Type, encode_control

if TYPE_CHECKING:
    from mpclient.output.outgoing import Outgoing
    from mpclient.session import Session
    from mpclient.transport.term import Term
    from mpshared.ops import Op
    from mpshared.wire.own.frames import Event

__all__ = ["Keeper"]

_Selector: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""`select` alone knows no descriptors above 1023, and Windows has nothing else."""
_OUTPUT_S: Final = 0.1
"""How long what is printed waits for a call that takes it along."""


class Keeper(threading.Thread):
    """Keeps one term of a session alive."""

    def __init__(self, session: Session, term: Term, control: Connection) -> None:
        super().__init__(name="mpserve-keeper", daemon=True)
        self._session = session
        self._term = term
        self._control = control
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._outbox: deque[list[bytes]] = deque()
        self._errands = Errands(session.references, control.send)
        self._beat_due_s = time.monotonic() + term.beat_s
        self._flush_due_s: float | None = None
        self._output_due_s: float | None = None

    # -- from other threads ----------------------------------------------------------------------

    def post(self, pieces: list[bytes]) -> None:
        """Have a frame sent."""
        self._outbox.append(pieces)
        self.wake()

    def wake(self) -> None:
        """Have the keeper look what there is to do."""
        with suppress(OSError):  # full: it wakes anyway; closed: it has stopped
            self._bell.send(b"\0")

    def lane_ended(self, pieces: list[bytes]) -> None:
        """Make sure, sooner or later, that the server hears what tells of the end of a lane."""
        self._errands.unsure.note(pieces)

    def stop(self) -> None:
        """Wait until the goodbye is said, while lines are printed and `STOP_S` longer; the term must be
        over.
        """
        self.wake()
        if threading.current_thread() is not self:
            printed = -1
            while self.is_alive() and printed != self._term.printer.printed:
                printed = self._term.printer.printed
                self.join(STOP_S)

    def close(self) -> None:
        """Close the sockets of this process. In a fork, which has copies, that leaves its parent's alone."""
        for end in (self._control, self._ear, self._bell):
            end.close()

    def ask(self, op: Op, args: list[Any]) -> Any:
        """Make one call of lane 0 and wait for the answer. Only before the thread starts."""
        return self._errands.ask(op, args, self._control.next_event)

    # -- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Keep the session until it ends."""
        try:
            self._live()
            if self._session.closed:
                self._part()
        except Lost:
            return  # for good; the server sees that we are gone
        except MpserveError as err:
            self._session.end(self._term, err)
        except Exception as err:
            text = (
                f"the thread that keeps the session failed ({err!r}): a mistake in mpserve, please report it"
            )
            self._session.end(self._term, ServerGone(text))
            raise
        finally:
            self.close()

    def _live(self) -> None:
        """Keep the session until its term is over."""
        try:
            while self._term.over is None:
                self._turn()
        except MpserveError:
            if not self._session.closed:  # else it was closed while this looked for the server
                raise

    def _turn(self) -> None:
        try:
            if self._wait():
                self._hear()
            self._speak()
        except Lost as lost:
            self._reconnect(lost)

    def _wait(self) -> bool:
        """Sleep until something is due; return whether the server has said something."""
        dues_s = self._beat_due_s, self._flush_due_s, self._output_due_s
        due_s = min(due_s for due_s in dues_s if due_s is not None)
        return self._listen(max(0.0, due_s - time.monotonic()))

    def _listen(self, seconds: float) -> bool:
        """Sleep until somebody wakes this thread; return whether the server has said something."""
        with _Selector() as selector:
            selector.register(self._control.fileno(), selectors.EVENT_READ)
            selector.register(self._ear.fileno(), selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select(seconds)}
        if self._ear.fileno() in ready:
            self._ear.recv(4096)
        return self._control.fileno() in ready

    def _hear(self) -> None:
        for event in self._control.events():
            self._heed(event)

    def _heed(self, event: Event) -> None:
        if isinstance(event, Reply | Failed):
            if event.number == 0 and isinstance(event, Failed):
                raise self._session.refused(self._term, make(event.code, event.text, event.fields))
            self._errands.answered(event)
        elif isinstance(event, Control) and event.type is Type.OUTPUT:
            self._term.printer.take(*event.body)
        elif self._session.outgoing is not None:
            self._session.outgoing.hear(event)

    def _speak(self) -> None:
        """Send what is due."""
        self._send_outbox()
        now_s = time.monotonic()
        self._flush(now_s)
        if self._session.outgoing is not None:
            self._send_output(self._session.outgoing, now_s)
        if now_s >= self._beat_due_s:
            self._beat_due_s = now_s + self._term.beat_s
            self._acknowledge()
            self._errands.make_sure()
            self._control.send(encode_control(Type.HEARTBEAT, body=list(self._session.speaks_for)))
            self._mend()

    def _send_outbox(self) -> None:
        while self._outbox:
            self._control.send(self._outbox[0])
            self._outbox.popleft()

    def _flush(self, now_s: float) -> None:
        """Tell the references, a moment after the first of a swarm."""
        references = self._session.references
        if not references.waiting:
            self._flush_due_s = None
        elif self._flush_due_s is None:
            self._flush_due_s = now_s + GATHER_S
        elif now_s >= self._flush_due_s:
            self._flush_due_s = now_s + GATHER_S
            self._errands.tell_references()

    def _send_output(self, outgoing: Outgoing, now_s: float) -> None:
        """Send what was printed, if no call took it along within a moment."""
        if outgoing.urgent or (self._output_due_s is not None and now_s >= self._output_due_s):
            self._output_due_s = None
            if pieces := outgoing.ahead(self._control):
                self._control.send(pieces)
        if self._output_due_s is None and not outgoing.idle():
            self._output_due_s = now_s + _OUTPUT_S

    def _acknowledge(self) -> None:
        """Acknowledge what threads have received that are silent since."""
        for lane in self._term.living_lanes():
            settled = lane.settled
            if settled > lane.told:
                self._control.send(encode_control(Type.ACK, lane.number, ack=settled))
                lane.told = settled

    def _mend(self) -> None:
        """Open lost connections of idle lanes again. What fails is tried again with the next heartbeat."""
        for lane in self._term.living_lanes():
            if not lane.mend():
                return

    def _reconnect(self, lost: Lost) -> None:
        """Attach again, until it succeeds or patience ends (the session then is over)."""
        patience = Patience(self._session, self._term)
        while True:
            self._control.close()
            patience.wait(lost)
            try:
                self._attach()
                patience.over()
                break
            except Lost as err:
                lost = err.alone()
            except MpserveError as err:
                patience.over()  # it is there, and does not take the session any more
                raise self._session.refused(self._term, err) from None
        self._mend()

    def _attach(self, timeout_s: float = HANDSHAKE_S) -> None:
        """Open a new connection, and tell again what may have been lost with the one before."""
        self._control = self._session.dial(timeout_s)
        attached = self._control.attach(self._term.body(0), timeout_s)
        self._term.shortcut = self._control.shortcut(attached.get("shortcut")) or self._term.shortcut
        self._errands.send = self._control.send
        self._term.printer.resume(attached.get("run", ""))
        for lane in self._term.living_lanes():
            lane.told = 0
        self._errands.send_again()
        for event in self._control.unheard():
            self._heed(event)

    # -- the end ---------------------------------------------------------------------------------

    def _part(self) -> None:
        """Say goodbye until the server has heard it.

        Raises:
            Lost: There is no use in another attempt.
        """
        parting = Parting(self._term)
        while True:
            try:
                self._say_goodbye()
            except Goodbye as told:
                if told.reason != "restarting":
                    return
            except Lost:
                if parting.is_vain():
                    raise
            self._attach_again(parting)

    def _attach_again(self, parting: Parting) -> None:
        """Attach, as often as that takes; raise `Lost` when it is vain."""
        while True:
            self._control.close()
            try:
                return self._attach(parting.left_s)
            except Lost as lost:
                if parting.is_vain(lost):
                    raise
            time.sleep(AGAIN_S)

    def _say_goodbye(self) -> None:
        """Leave in order: the server frees what we held.

        Raises:
            Lost: It breaks off, or takes longer than `STOP_S`; a `Goodbye` that says "bye" is the answer.
        """
        self._control.limit(STOP_S)
        self._acknowledge()
        self._errands.tell_ended()
        if self._session.outgoing is not None and (pieces := self._session.outgoing.ahead(self._control)):
            self._control.send(pieces)
        self._errands.tell_lent()
        if self._term.printer.used:
            self._print_rest()
        self._control.send(encode_control(Type.GOODBYE, body="bye"))
        deadline_s = time.monotonic() + STOP_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            if self._listen(left_s):
                self._hear()
        raise Lost("the server does not answer")

    def _print_rest(self) -> None:
        """Have everything printed that workers have printed for this program, for as long as that goes on."""
        printer, errands = self._term.printer, self._errands
        number = errands.ask_output()
        printed, deadline_s = -1, 0.0
        while errands.is_open(number) or printer.printed < errands.named:
            if printer.printed != printed:
                printed, deadline_s = printer.printed, time.monotonic() + WAIT_S
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            self._send_outbox()
            if self._listen(left_s):
                self._hear()
