"""A lane: the ordered stream of one thread's calls, over a connection of its own.

RULES
* One call at a time. A call made in the middle of another one of the same thread (by a signal handler, or
  while a value is being opened) goes over a second lane beside this one.
* Calls are numbered from 1. The answer to a number is acknowledged by the next call.
* A lost connection is opened again and what has no answer is sent again under its old number: the server
  answers it, but applies it only once.
* A call broken by an exception (Ctrl-C, a signal handler that raises) is abandoned by its number. Nobody
  knows how much of it was sent or received, so the connection goes too; the next one begins by naming what
  was abandoned, and so does each after that until a later call is answered.
* A timeout counts from the first time the call was sent. One that runs out while nobody can be asked is a
  `ServerGone`: "empty" would be a lie.

      IDLE --call--> ASKED --answer--> IDLE
                       |---connection lost--> dial, attach, send again, until `Patience` ends --> an error
                       '---exception--------> ABANDONED: dial once, attach, ABANDON --> IDLE
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mpclient.transport.dialling import HANDSHAKE_S, Connection, Lost
from mpclient.transport.patience import Patience
from mpshared.errors import (
    BadValue,
    MpserveError,
    NoRoom,
    ProtocolViolation,
    ServerGone,
    SessionExpired,
    TooBig,
    make,
)
from mpshared.ops import BY_CODE, Op
from mpshared.values import Blob
from mpshared.wire.errors import CannotSend, MessageTooLarge
from mpshared.wire.own.frames import Event, Failed, Reply, Type, encode_call, encode_control

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpclient.transport.term import Term

__all__ = ["TIMEOUT_AT", "Lane", "Numbered", "Read", "deadline_of", "note_call"]

Read: TypeAlias = Callable[[Reply], Any]
"""Makes of an answer what the caller wants, while the call can still be abandoned."""

TIMEOUT_AT: Final[dict[int, int]] = {
    code: [arg.name for arg in op.args].index("timeout_s")
    for code, op in BY_CODE.items()
    if any(arg.name == "timeout_s" for arg in op.args)
}
"""Where a waiting operation has its timeout among its arguments."""
_ABANDON_S: Final = 1.0
"""How long an exception may be held up to tell the server of it; later is early enough if that fails."""


class Numbered:
    """What lanes of threads and of tasks share: a number, and how their calls are written."""

    __slots__ = ()

    number: int
    term: Term
    settled: int
    """Answers up to this number have arrived and are not abandoned."""
    told: int
    """What the server was told of them while no call did."""
    abandoned: Any
    """Numbers of calls whose answers nobody had, and of which the server may not know that."""
    _acked: int

    def _encode(
        self, op: Op, number: int, target: str, args: list[Any], blobs: Sequence[Blob]
    ) -> list[bytes]:
        try:
            pieces = encode_call(op.code, self.number, number, self._acked, target, args, blobs)
        except MessageTooLarge as err:
            raise TooBig(f"{op.name}: {err}") from None
        except CannotSend as err:
            raise BadValue(f"{op.name}: {err}") from None
        if len(pieces) > 1 or len(pieces[0]) > self.term.max_message_bytes:
            self._check_size(op, sum(map(len, pieces)))
        return pieces

    def _check_size(self, op: Op, size: int) -> None:
        if size > self.term.max_message_bytes:
            raise TooBig(
                f"{op.name}: a message of {size} bytes, the server takes {self.term.max_message_bytes}. Send "
                f"it in smaller parts, or start the server with a larger --max-message"
            )


class Lane(Numbered):
    """One thread's stream of calls within one term of a session."""

    __slots__ = (
        "__weakref__",
        "_acked",
        "_beside",
        "_busy",
        "_connection",
        "_lock",
        "_pid",
        "_session",
        "abandoned",
        "number",
        "over",
        "sent",
        "settled",
        "term",
        "told",
    )

    def __init__(self, session: Session, term: Term) -> None:
        self._session = session
        self.term = term
        self.number = term.new_lane(self)
        self._connection: Connection | None = None
        self._pid = os.getpid()
        self.sent = 0
        """The number of the last call."""
        self._acked = 0
        self.settled = 0
        """Answers up to this number have arrived and are not abandoned; the keeper acknowledges them when the
        thread is silent."""
        self.told = 0
        """What the keeper has acknowledged so far."""
        self.over: MpserveError | None = None
        """Why the server closed this lane, though the session lives."""
        self.abandoned: list[int] = []
        self._busy = False
        self._lock = threading.Lock()
        """For `mend`, which runs in another thread; the lane's own thread never finds it taken for long."""
        self._beside: Lane | None = None

    def __repr__(self) -> str:
        return f"<Lane {self.number} of {self._session!r}>"

    # -- calling ---------------------------------------------------------------------------------

    def call(self, op: Op, target: str, args: list[Any], blobs: Sequence[Blob], read: Read | None) -> Any:
        """Make one call and wait for its answer.

        Args:
            op: The operation.
            target: Ident of the object, "" for the cluster.
            args: Plain data; the list belongs to the call from now on.
            blobs: Values, written as they are.
            read: Applied to the answer; None returns the `Reply` itself.

        Raises:
            MpserveError: As the operation's table says; `ServerGone` and its kin; `TooBig`.
        """
        if self._busy:
            return self._second().call(op, target, args, blobs, read)
        with self._lock:
            self._busy = True
            try:
                return self._call(op, target, args, blobs, read)
            except SessionExpired:
                raise
            except ServerGone:
                self._session.heard(self)
                raise
            finally:
                self._busy = False

    def connect(self) -> None:
        """Open the connection, if there is none."""
        with self._lock:
            if self._connection is None:
                self._attach_patiently(None)

    def _second(self) -> Lane:
        if self._beside is None or self._beside.is_over:
            self._beside = Lane(self._session, self.term)
        return self._beside

    @property
    def is_over(self) -> bool:
        """Whether it takes no more calls."""
        return self.over is not None or self.term.over is not None

    @property
    def parts(self) -> list[Lane]:
        """Itself and the lane beside it: all that stand for this thread."""
        return [self] if self._beside is None else [self, self._beside]

    def _call(self, op: Op, target: str, args: list[Any], blobs: Sequence[Blob], read: Read | None) -> Any:
        connection = self._connection or self._attach_patiently(deadline_of(op, args))
        number = self.sent + 1
        pieces = self._encode(op, number, target, args, blobs)
        at = TIMEOUT_AT.get(op.code)
        deadline_s = deadline_of(op, args) if at is not None and args[at] else None
        answer: Reply | Failed | None = None
        self.sent = number
        try:
            try:
                outgoing = self._session.outgoing
                if outgoing is not None and (ahead := outgoing.ahead_of_call(connection)):
                    pieces = [*ahead, *pieces]
                event = connection.ask(pieces, at is not None)
                if type(event) is Reply and event.number == number:
                    answer = event
                else:
                    answer = self._answer(connection, number, event)
            except Lost as lost:
                answer = self._ask_again(lost, op, target, args, blobs, deadline_s)
            except SessionExpired as err:
                raise self._session.refused(self.term, err) from None
            if self.abandoned:
                self.abandoned = []  # the server was told before this call
            if answer.ack:
                self.term.printer.wait(answer.ack)
            if type(answer) is Failed:
                raise make(answer.code, answer.text, answer.fields)
            return answer if read is None else read(answer)  # type: ignore[arg-type]
        except BaseException as err:
            if answer is None or not isinstance(err, Exception):
                self._abandon(number)
                if isinstance(err, SessionExpired):
                    note_call(err, self.number, number, op, args, deadline_s)
                number = 0
            raise
        finally:
            self._acked = self.sent
            if number:
                self.settled = number

    def _with_output(self, connection: Connection, pieces: list[bytes]) -> list[bytes]:
        """Put ahead of a call what was printed before it."""
        outgoing = self._session.outgoing
        return pieces if outgoing is None else [*outgoing.ahead_of_call(connection), *pieces]

    def _answer(self, connection: Connection, number: int, event: Event) -> Reply | Failed:
        """Return `event` if it answers `number`, or wait for the answer; late ones to abandoned calls are
        dropped.
        """
        while True:
            kind = type(event)
            if kind is Reply or kind is Failed:
                if event.number == number:
                    return event  # type: ignore[return-value]
                if kind is Failed and event.number == 0:  # about the whole connection: the server closes it
                    raise make(event.code, event.text, event.fields)  # type: ignore[union-attr]
                if event.number > number:
                    asked = f"the server answered call {event.number}; call {number} was asked"
                    raise ProtocolViolation(asked)
            elif self._session.outgoing is not None:
                self._session.outgoing.hear(event)
            event = connection.next_event()

    def take_back(self, number: int) -> None:
        """Abandon call `number`, the last one, although it was answered: its caller never learned of it."""
        if number == self.sent == self.settled and self.term.over is None:
            self.settled -= 1
            self._abandon(number)

    # -- when the connection is lost -------------------------------------------------------------

    def _ask_again(
        self,
        lost: Lost,
        op: Op,
        target: str,
        args: list[Any],
        blobs: Sequence[Blob],
        deadline_s: float | None,
    ) -> Reply | Failed:
        """Send the last call again, over new connections, until one brings the answer."""
        number = self.sent
        patience = Patience(self._session, self.term, deadline_s, "whether its call was done is not known")
        while True:
            self._close()
            patience.wait(lost)
            try:
                connection = self._attach()
                if deadline_s is not None:
                    args[TIMEOUT_AT[op.code]] = max(0.0, deadline_s - time.monotonic())
                pieces = self._encode(op, number, target, args, blobs)
                connection.send(self._with_output(connection, pieces))
                patience.asked()
                return self._answer(connection, number, connection.next_event())
            except Lost as err:
                lost = err.alone()

    def _attach_patiently(self, deadline_s: float | None) -> Connection:
        patience = Patience(self._session, self.term, deadline_s, "its call was not made")
        while True:
            try:
                return self._attach()
            except Lost as err:
                patience.wait(err)

    def _attach(self, timeout_s: float = HANDSHAKE_S) -> Connection:
        """Open the lane's connection.

        Raises:
            Lost: It cannot be opened now.
            MpserveError: It never can: the session is over.
        """
        self._session.check(self)
        connection = self._session.dial(timeout_s)
        try:
            self._agree(connection, connection.attach(self.term.body(self.number), late=self.term.durable))
        except MpserveError as err:
            if isinstance(err, SessionExpired) and err.fields.get("lane") == self.number:
                raise self._session.lane_over(self, err) from None
            if isinstance(err, NoRoom):
                raise  # for one thread more; the others go on
            raise self._session.refused(self.term, err) from None
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _agree(self, connection: Connection, attached: dict[str, Any]) -> None:
        """Settle which numbers the server has seen, and take back what was abandoned."""
        last = attached.get("last", 0)
        for number in self.abandoned:
            if number <= last:
                connection.send(encode_control(Type.ABANDON, self.number, number))
        if self.abandoned and last < self.sent and self.sent == self.abandoned[-1]:
            self.sent = self._acked = last  # the server never saw it: its number is free
            self.settled = min(self.settled, last)  # after a restart it does not know numbers of reads
        self.abandoned = [number for number in self.abandoned if number <= last]

    def _abandon(self, number: int) -> None:
        """Give up call `number`, whatever became of it, and tell the server if that is quickly done."""
        self._close()
        self.abandoned.append(number)
        if not self.is_over:
            with suppress(Lost, MpserveError):
                self._attach(_ABANDON_S)

    # -- from other threads ----------------------------------------------------------------------

    def mend(self) -> bool:
        """Open an idle lane's lost connection again, lest the server take its thread for dead; False: try it
        again.
        """
        if not self._lock.acquire(blocking=False):
            return True  # its thread is calling, and sees to it
        try:
            if self._is_sound():
                return True
            self._close()
            self._attach(_ABANDON_S)
        except Lost:
            return False
        except MpserveError:
            return True  # its next call hears that
        finally:
            self._lock.release()
        return True

    def _is_sound(self) -> bool:
        """Tell whether it has a connection, or needs none."""
        return not self.sent if self._connection is None else not self._connection.is_dead()

    def interrupt(self) -> None:
        """Break the call under way, or close the connection of an idle lane: the session is over."""
        if self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()
        elif (connection := self._connection) is not None:
            connection.interrupt()

    # -- its end ---------------------------------------------------------------------------------

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def disown(self) -> None:
        """Forget the connection without a word to the server: this is a forked child, it is the parent's."""
        self._close()
        self.sent = 0

    def __del__(self) -> None:
        """Tell the server that the thread has ended: what belongs to the thread alone is handed on."""
        connection = getattr(self, "_connection", None)
        # A forked child frees what its parent's other threads hold before it can be told of anything.
        if getattr(self, "sent", 0) and not self.is_over and self._pid == os.getpid():
            closed = encode_control(Type.LANE_CLOSED, self.number, ack=self.settled)
            self._session.lane_ended(closed)
            try:
                if connection is None:
                    self._session.post(closed)
                else:
                    connection.send(closed)
            except Lost:
                self._session.post(closed)
        if connection is not None:
            connection.close()


def deadline_of(op: Op, args: list[Any]) -> float | None:
    """Return when the timeout among the arguments is over, monotonic; None: there is none."""
    at = TIMEOUT_AT.get(op.code)
    if at is None or not args[at]:
        return None
    return time.monotonic() + args[at]  # type: ignore[no-any-return]


def note_call(
    error: SessionExpired, lane: int, number: int, op: Op, args: list[Any], deadline_s: float | None
) -> None:
    """Note which call heard of the end of its session, and how much time it has left in the next one."""
    error.fields["at"] = (lane, number)
    if deadline_s is not None:
        args[TIMEOUT_AT[op.code]] = max(0.0, deadline_s - time.monotonic())
