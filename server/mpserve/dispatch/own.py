"""Our own protocol, server side: sessions, lanes, numbered calls.

    connection --ATTACH {new}--------> control of a new session (carries lane 0)
               --ATTACH {session, lane}-> carries that lane, too
               --CALL…-> answered in order per lane, repeated after a reconnect, applied once
               --GOODBYE-> the session ends at once; once that will not be undone, GOODBYE is answered

RULES
* A repeated number is answered again from what is kept (`Lane.unsettled`), or, if nothing is, with nothing
  (`Lane.note_nothing`); it is never applied again.
* A client that breaks a rule is told so once, in an ERROR of lane 0 and number 0, and the connection is
  closed.
* A lane joins a session only by the key of the role that began it. Who may only observe is a program: no
  worker, and nothing is printed for it or by it.
* An answer that cannot be sent undoes its call: nothing is taken away without somebody having it.
* A lane too many is refused by an ERROR of that lane and number 0; the connection goes on.
* While the peer has much to read, the calls that it has sent are left unread, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mpserve.core.calls import NO_CALLS, Call, Lane, Session
from mpserve.dispatch import admission
from mpserve.dispatch.introduction import read_info
from mpserve.dispatch.roles import needs
from mpshared import errors
from mpshared.ops import BY_CODE, get_op
from mpshared.wire.errors import CannotSend, ProtocolError
from mpshared.wire.own import frames
from mpshared.wire.own.calls import CallDecoder
from mpshared.wire.own.frames import CallFields, Control, Type, open_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mpserve.dispatch.dispatcher import Dispatcher
    from mpserve.dispatch.transport import Transport
    from mpshared.ops import Role

__all__ = ["LARGE_BYTES", "OwnSide"]

LARGE_BYTES: Final = 1 << 15
"""An answer of this size counts against what a session may leave unacknowledged; 64 smaller ones are no
matter."""

_FORGOTTEN: Final[list[Any]] = []
"""The arguments of a call that was answered: only its answer may be asked for again. An idle client's last
call would keep 500 bytes of them."""
_NO_LANES: Final[frozenset[int]] = frozenset()
SURPLUS_MAX: Final = 1024
"""Refused lanes of a connection; at one more it is closed."""


class OwnSide:
    """One authenticated connection that speaks our protocol."""

    __slots__ = (
        "_access",
        "_decoder",
        "_dispatcher",
        "_lane",
        "_lanes",
        "_over",
        "_session",
        "_surplus",
        "_transport",
        "attentive",
    )

    def __init__(self, dispatcher: Dispatcher, transport: Transport, access: Role = "client") -> None:
        self._access: Role = access
        self._dispatcher = dispatcher
        self._transport = transport
        self._decoder: CallDecoder | None = None
        """Has what came of a frame that is only partly here, or was not acted on yet; None: nothing did."""
        self._session: Session | None = None
        self._lane: Lane | None = None
        """What it carries: nearly always one lane, for which a dict would take 400 bytes."""
        self._lanes: dict[Lane, None] | None = None
        """What it carries beside that one."""
        self._surplus = _NO_LANES
        """Lanes that were refused: each of their calls is told so."""
        self._over = False
        self.attentive = False
        """Calls are left unread until the peer has read what it was told."""

    # -- bytes -----------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> int:
        """Act on every whole frame; return how many bytes to read next, for large ones."""
        if self._over:
            return 0
        decoder, max_message = self._decoder, self._dispatcher.limits.max_message
        if decoder is None or decoder.idle:
            taken = open_call(data, max_message)
            if taken is not None:
                self._decoder = None
                try:
                    self._call(taken)
                except (ProtocolError, errors.MpserveError) as err:
                    self._refuse(err)
                return 0
        if decoder is None:
            decoder = self._decoder = CallDecoder(max_message, bounded=True)
        decoder.receive_data(data)
        return self._go_on(decoder)

    def _go_on(self, decoder: CallDecoder) -> int:
        acted = 0
        try:
            for event in self._events(decoder):
                self._act(event)
                acted += 1
        except (ProtocolError, errors.MpserveError) as err:
            self._refuse(err)
        if acted == 1 and decoder.idle and not decoder.wants:
            self._decoder = None  # who sends several at once, or large ones, will do so again
        return decoder.wants

    def _events(self, decoder: CallDecoder) -> Iterator[frames.Event]:
        """Yield what came, unless the peer has much to read."""
        self.attentive = False
        while not self._over:
            if self._transport.full:
                self.attentive = True
                return
            event = decoder.next_event()
            if event is None:
                return
            yield event

    def _act(self, event: frames.Event) -> None:
        if type(event) is frames.Call:
            self._call(event)
        elif type(event) is Control:
            self._control(event)
        else:
            raise _no_answers()

    def drop(self) -> bool:
        """Drop the values that are coming: their call is told so."""
        return self._decoder is not None and self._decoder.drop()

    def starved(self) -> bool:
        """Our clients set TCP_NODELAY; nothing waits for a quick acknowledgement."""
        return False

    def drained(self) -> None:
        """Go on with the calls that were left unread."""
        if self.attentive:
            self.attentive = False
            if self._decoder is not None:
                self._go_on(self._decoder)

    def closed(self) -> None:
        """Suspend the lanes that this connection carried."""
        self._over = True
        session, self._session = self._session, None
        carried = dict.fromkeys((self._lane, *(self._lanes or ())))
        lanes = [lane for lane in carried if lane is not None and lane.reply_to is self]
        for lane in lanes:
            lane.reply_to = None
        if session is not None and not session.ended:
            self._dispatcher.engine.disconnected(session, lanes, self._dispatcher.clock())

    def goodbye(self, reason: str) -> bool:
        """Tell the client that the server stops."""
        self._transport.send(frames.encode_control(Type.GOODBYE, body=reason))
        return True

    def session_over(self, session: Session) -> None:
        """Close: the session has ended, whoever ended it."""
        if not self._over:
            self._over = True
            why = session.over or "nobody said why"
            self._error(0, 0, admission.ended(self._dispatcher, session.id, why))
            self._transport.close()

    def tell(self, pieces: Sequence[bytes]) -> None:
        """Send what answers no call."""
        if not self._over:
            self._transport.send(pieces)

    def broken(self, error: errors.MpserveError) -> None:
        """Close: an answer could not be sent."""
        self._refuse(error)

    def _refuse(self, err: Exception) -> None:
        self._over = True
        self._decoder = None
        error = err if isinstance(err, errors.MpserveError) else errors.ProtocolViolation(str(err))
        self._error(0, 0, error)
        expired = isinstance(error, errors.SessionExpired)  # of which the log was told when it did
        self._transport.close(reason="" if expired else str(error))

    # -- calls and answers -----------------------------------------------------------------------

    def _call(self, fields: CallFields) -> None:
        code, lane_number, number, ack, target, args, blobs = fields
        lane = self._lane
        if lane is None or lane.number != lane_number or lane.reply_to is not self:
            lane = self._other_lane(lane_number)
            if lane is None:
                self._call_without_lane(lane_number, number)
                return
        if ack == lane.settled + 1 == lane.last_number and lane.running is None and not lane.large:
            lane.unsettled = NO_CALLS  # as `Lane.settle` does: the one answer there was has arrived
            lane.settled = ack
        elif ack > lane.settled:
            lane.settle(ack)
        if number != lane.last_number + 1:
            self._call_out_of_order(Call(get_op(code), target, args, blobs, lane, number))
            return
        call = Call(BY_CODE.get(code) or get_op(code), target, args, blobs, lane, number)
        if lane.unsettled:
            self._check_unsettled(lane)
            lane.unsettled.append(call)  # as `Lane.admit`
        else:
            lane.unsettled = [call]
        lane.last_number = number
        self._dispatcher.submit(call)

    def _other_lane(self, number: int) -> Lane | None:
        lane = None if self._session is None else self._session.lanes.get(number)
        return None if lane is None or lane.reply_to is not self else lane

    def _call_without_lane(self, lane_number: int, number: int) -> None:
        if lane_number not in self._surplus:
            raise ProtocolError("lane", f"this connection carries no lane {lane_number}; attach it first")
        self._error(lane_number, number, admission.too_many_lanes(self._dispatcher))

    def _check_unsettled(self, lane: Lane) -> None:
        limits, kept_bytes = self._dispatcher.limits, lane.session.kept_bytes
        if len(lane.unsettled) >= limits.unanswered:
            over = f"over {limits.unanswered} calls of lane {lane.number} are not acknowledged"
            raise ProtocolError("number", over)
        if kept_bytes > limits.kept_bytes:
            self._dispatcher.bounds.refused["max-unread"] += 1
            kept = f"{kept_bytes} bytes of answers are kept for this program, {limits.kept_bytes} at most"
            raise errors.TooBig(f"{kept} (--max-unread); acknowledge them before asking for more")

    def _call_out_of_order(self, call: Call) -> None:
        lane, number = call.lane, call.number
        if number <= lane.last_number:
            self._repeat(call)
        elif lane.restored:
            self._check_unsettled(lane)
            lane.admit(call)
            self._dispatcher.submit(call)
        else:
            after = f"call {number} of lane {lane.number} came after call {lane.last_number}"
            if not lane.last_number:
                after += "; did it have no connection for too long? Then what its thread held was handed on"
            raise ProtocolError("number", after)

    def _repeat(self, repeated: Call) -> None:
        """Answer a call again that was resent after a reconnect; one that is still under way is answered when
        it is done.
        """
        lane, number = repeated.lane, repeated.number
        call = lane.find(number)
        if call is None and ((lane.restored and not repeated.op.writes) or lane.was_parked(number)):
            lane.admit_again(repeated)  # of before a restart: a read, or it waited. It is done again
            self._dispatcher.submit(repeated)
        elif call is None and number > lane.settled and not lane.restored:
            self.answer(repeated)  # as before: see `Lane.note_nothing`
        elif call is None:
            raise ProtocolError(
                "number", f"call {number} of lane {lane.number} was acknowledged or abandoned"
            )
        elif call.answered and lane.running is not call:
            self.answer(call)

    def answer(self, call: Call) -> None:
        """Send the answer of `call`."""
        lane, number, call.args = call.lane, call.number, _FORGOTTEN
        output = lane.session.output
        ack = 0 if output is None else output.last
        if call.error is not None:
            self._error(lane.number, number, call.error, ack)
            return
        try:
            pieces = frames.encode_reply(lane.number, number, call.result, call.out, ack)
        except CannotSend as err:
            error = errors.TooBig(f"the answer of {call.op.name} cannot be sent and was undone: {err}")
            self._dispatcher.refuse_answer(call, error)
            self._error(lane.number, number, error, ack)
            return
        if call.result is None and not call.out:
            lane.note_nothing(call)
        elif len(pieces) > 1 or len(pieces[0]) >= LARGE_BYTES:
            lane.note_large(number, sum(map(len, pieces)))
        self._transport.send(pieces)

    def _error(self, lane: int, number: int, error: errors.MpserveError, ack: int = 0) -> None:
        try:
            pieces = frames.encode_error(lane, number, *error.travels(), ack)
        except CannotSend:
            pieces = frames.encode_error(lane, number, error.code, error.text, {}, ack)
        self._transport.send(pieces)

    # -- controls --------------------------------------------------------------------------------

    def _control(self, event: Control) -> None:
        if event.type is Type.ATTACH:
            self._attach(event.body)
            return
        if self._session is None:
            raise ProtocolError("frame", f"{event.type.name} before ATTACH")
        if self._session.ended:
            raise admission.ended(self._dispatcher, self._session.id, self._session.over)
        handler = _CONTROLS.get(event.type)
        if handler is None:
            raise ProtocolError("frame", f"a client does not send {event.type.name}")
        if self._access == "observe" and event.type is Type.OUTPUT:
            raise needs("client", "observe", "to print for other programs")
        handler(self, self._session, event)

    def _attach(self, body: dict[str, Any]) -> None:
        if "new" in body:
            self._attach_new(body["new"], body.get("before"))
        else:
            self._attach_lane(body)

    def _attach_new(self, described: Any, before: Any) -> None:
        if self._session is not None:
            raise ProtocolError("attach", "this connection has a session already")
        dispatcher, access = self._dispatcher, self._access
        info = read_info(described)
        if access == "observe" and info.role != "program":
            raise needs("client", "observe", f"a {info.role}, which runs jobs and opens their values,")
        ended = admission.end_before(dispatcher, before, access) if type(before) is dict else None
        session = dispatcher.start_session(info, access)
        self._join(session)
        self._carry(session.lane(0))
        self._attached(admission.welcome(dispatcher, session, ended, self._transport.dialled()))

    def _attach_lane(self, body: dict[str, Any]) -> None:
        dispatcher = self._dispatcher
        session, number, ack = admission.asked_for(dispatcher, body)
        if self._session not in {None, session}:
            raise ProtocolError("attach", "this connection belongs to another session")
        admission.check_access(session, self._access)
        self._join(session)
        admission.check_lane(session, number)
        if len(session.lanes) >= dispatcher.limits.lanes and number not in session.lanes:
            self._refuse_lane(number)
            return
        lane = session.lane(number)
        lane.settle(ack)
        self._carry(lane)
        attached = {"last": lane.last_number, "session": session.id, "epoch": dispatcher.epoch}
        attached["spin_s"] = dispatcher.limits.spin_s
        outputs = dispatcher.outputs
        if number == 0:
            attached |= {
                "run": outputs.run,
                "shortcut": admission.shortcut(dispatcher, self._transport.dialled()),
            }
        self._attached(attached)
        if number == 0:
            outputs.resumed(session)

    def _refuse_lane(self, number: int) -> None:
        """Refuse one lane more: its program has enough. The others of this connection go on."""
        self._dispatcher.bounds.refused["max-lanes"] += 1
        error = admission.too_many_lanes(self._dispatcher)
        if len(self._surplus) >= SURPLUS_MAX:
            raise error
        self._surplus |= {number}
        self._error(number, 0, error)

    def _join(self, session: Session) -> None:
        if self._session is None:
            self._session = session
            self._dispatcher.engine.connected(session, self._dispatcher.clock())

    def _carry(self, lane: Lane) -> None:
        """Answer this lane here from now on. An older connection of it is taken for dead: the client knows
        best.
        """
        older = lane.reply_to
        lane.reply_to = self
        if self._lane is None or self._lane is lane:
            self._lane = lane
        else:
            self._lanes = self._lanes or {}
            self._lanes[lane] = None
        if older is not None and older is not self:
            older.superseded(lane)
        self._dispatcher.engine.resume(lane, self._dispatcher.clock())

    def superseded(self, lane: Lane) -> None:
        """Give up a lane that has reconnected elsewhere."""
        self._drop(lane)
        if self._lane is None and not self._lanes:
            self._transport.close()

    def _drop(self, lane: Lane) -> None:
        if lane is self._lane:
            self._lane = None
        elif self._lanes:
            self._lanes.pop(lane, None)

    def _attached(self, body: dict[str, Any]) -> None:
        self._transport.send(frames.encode_control(Type.ATTACHED, body=body))

    def _heartbeat(self, session: Session, event: Control) -> None:
        ids = [str(i) for i in event.body]
        self._dispatcher.engine.heard(session, ids, self._dispatcher.clock())

    def _acknowledge(self, session: Session, event: Control) -> None:
        lane = session.lanes.get(event.lane)
        if lane is not None:
            lane.settle(event.ack)

    def _abandon(self, session: Session, event: Control) -> None:
        lane = session.lanes.get(event.lane)
        if lane is not None:
            self._dispatcher.abandon(lane, event.number)

    def _lane_closed(self, session: Session, event: Control) -> None:
        lane = session.lanes.get(event.lane)
        if lane is not None:
            lane.settle(event.ack)
            self._dispatcher.close_lane(lane)
            self._drop(lane)
        self._surplus -= {event.lane}

    def _output(self, session: Session, event: Control) -> None:
        outputs, (about, entries) = self._dispatcher.outputs, event.body
        if type(about) is str:
            outputs.take(session, self, event.number, about, entries)
        else:
            outputs.printed(session, about)

    def _goodbye(self, session: Session, event: Control) -> None:
        self._over = True
        self._dispatcher.end_session(session, f"it said goodbye ({event.body:.80})")
        self._dispatcher.engine.when_kept(self._part)

    def _part(self) -> None:
        """Answer a goodbye: who does not hear that says it again."""
        self.goodbye("bye")
        self._transport.close()


_CONTROLS: Final[dict[Type, Callable[[OwnSide, Session, Control], None]]] = {
    Type.HEARTBEAT: OwnSide._heartbeat,
    Type.ACK: OwnSide._acknowledge,
    Type.ABANDON: OwnSide._abandon,
    Type.LANE_CLOSED: OwnSide._lane_closed,
    Type.GOODBYE: OwnSide._goodbye,
    Type.OUTPUT: OwnSide._output,
}


def _no_answers() -> ProtocolError:
    return ProtocolError("frame", "a client sends calls and controls, no answers")
