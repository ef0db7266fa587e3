"""The memory engine: all objects in this process, every call answered or parked at once.

One turn: run the call → give receivers their references → end sessions found dead, close lanes that were lost
for too long → count stored mentions, free what is unused → let in who waited for room → again, while that led
to more → deliver. The order matters:

* Sessions end before anything is delivered, so nobody is told of something a dead peer still holds.
* Mentions are counted last, when the receiver of a value already has references of its own.
* Delivering may start the next turn, inside this one, whose work is done by then. A call that this next turn
  took back is not delivered: it is not `lane.running` any more.

Whatever raises anything but an `MpserveError` is a mistake of ours: the one call fails with `InternalError`,
and the turn goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.calls import Call, Lane, Session, SessionInfo
from mpserve.core.catalogue import Catalogue
from mpserve.core.effects import Effects
from mpserve.core.ended import Ended, end_of, holdings_of, last_done
from mpserve.core.parking import Waiter
from mpserve.core.sessions import MAX_ENDED, Sessions
from mpserve.engines.base import Deliver, Engine, HandedOver, SessionEnded, Tell, Trouble
from mpshared.bunch import Bunch
from mpshared.errors import BadValue, Conflict, InternalError, MpserveError
from mpshared.ops import Op, check_args
from mpshared.settings import MAX_ATTEMPTS

if TYPE_CHECKING:
    from mpserve.core.machine import Machine

__all__ = ["MemoryEngine"]

RESERVE_BYTES: Final = 4 << 20
"""What is given up when there is no memory for what is being done: so that it can be done when it is tried
again, and some can be freed. Nobody touches it: where memory is not limited it is a promise and no more."""


def _nobody(*_: Any) -> None:
    """Stand in until the dispatcher listens."""


class MemoryEngine(Engine):
    """State in memory; with `recording` every change is kept in ``fx.records`` (tests rebuild objects from
    them). With `max_bytes` it holds no more of users' values than that; see `core.room`.
    """

    def __init__(
        self,
        new_ident: Callable[[], str],
        *,
        grace_s: float = 0.5,
        session_timeout_s: float = 30.0,
        wall_offset_s: float = 0.0,
        recording: bool = False,
        max_bytes: int = 0,
        max_attempts: int = MAX_ATTEMPTS.default,
    ) -> None:
        self.deliver: Deliver = _nobody
        self.session_ended: SessionEnded = _nobody
        self.tell: Tell = _nobody
        self.trouble: Trouble = _nobody
        self.handed_over: HandedOver = _nobody
        self.fx = Effects(recording=recording)
        self.fx.wall_offset_s = wall_offset_s
        self.room = self.fx.room
        self.room.limit_bytes = max_bytes
        self._reserve: bytes | None = bytes(RESERVE_BYTES)
        self.sessions = Sessions(grace_s=grace_s, timeout_s=session_timeout_s)
        self.catalogue = Catalogue(new_ident, self.sessions, max_attempts)
        self.bounds = self.fx.bounds
        self.next_deadline_s = self.fx.timers.next_s  # type: ignore[method-assign]  # asked in every turn

    # -- calls -----------------------------------------------------------------------------------

    def submit(self, call: Call, now_s: float) -> None:
        """Execute one call; see `Engine.submit`. Cost: that of the operation, plus O(answers it leads to)."""
        fx = self.fx
        fx.now_s = now_s
        op = call.op
        try:
            machine = self.catalogue.objects.get(call.target)
            if machine is None or machine.kind != op.kind:
                machine = self._find(call, op)
            elif machine.ttl_s is not None:
                machine.used_s = now_s
            call.machine, call.target = machine, machine.ident  # the same text for all calls: it is kept
            args = check_args(op, call.args, len(call.blobs))
            if op.objects:
                args = self._find_objects(op, args)
            if not (op.room and (self.room.limit_bytes or self.room.short)) or self.room.admits(
                fx, call, machine, args
            ):
                method = getattr(machine, op.method)
                if len(args) == 1:  # as most calls have; nothing is unpacked for them
                    method(fx, call, args[0])
                else:
                    method(fx, call, *args)
        except Exception as err:  # noqa: BLE001 - one call's failure must not become everybody's
            self._failed(call, err)
        if fx.ended or fx.closed or fx.kept or fx.events or self.room.lot.line:
            self._finish_turn()
        elif len(fx.answered) == 1:
            answered = fx.answered.pop()
            out = answered.out
            if out and (len(out) > 1 or type(out[0]) is not bytes):
                self._give_references(answered)
            if fx.handed_over:
                self._tell_hand_over()
            self.deliver(answered)
        elif fx.answered:
            self._finish_turn()

    def _failed(self, call: Call, err: Exception) -> None:
        """Answer a call that raised. An error of ours is no mistake unless the call was answered already."""
        if isinstance(err, MemoryError):
            self.lacks_memory()
        label = f"{call.op.name} on {call.machine.label}" if call.machine is not None else call.op.name
        if not isinstance(err, MpserveError) or call.answered:
            self.trouble(label, err)
            msg = f"{label} failed in the server, by a mistake of mpserve's: {err!r:.200}. What it did is not"
            err = InternalError(f"{msg} certain, all else goes on. Please report it with the server's log")
        if call.waiter is not None:
            call.waiter.lot.forget(call)
        if not call.answered:
            self.fx.fail(call, err)
        if self.fx.events:
            self._tell_events()

    def _tell_events(self) -> None:
        events, self.fx.events = self.fx.events, []
        for event, fields in events:
            self.tell(event, fields)

    def _safely(self, what: str, function: Callable[..., object], *args: Any) -> None:
        """Call what concerns one object or session; the others must not suffer from its mistakes."""
        try:
            function(*args)
        except Exception as err:  # noqa: BLE001 - see above
            self.trouble(what, err)

    def _find(self, call: Call, op: Op) -> Machine:
        if op.kind == "cluster":
            return self.catalogue
        return self.catalogue.get(call.target, op.kind)  # raises: it is not there, or of another kind

    def _find_objects(self, op: Op, args: list[Any]) -> list[Any]:
        """Return the arguments with the objects themselves for their idents."""
        args = args.copy()
        for position in op.objects:
            if (ident := args[position]) is not None:
                kind, machine = op.args[position].kind, self.catalogue.objects.get(ident)
                if machine is None or machine.kind != kind or machine.ttl_s is not None:
                    machine = self._named(ident, kind)
                args[position] = machine
        return args

    def _named(self, ident: str, kind: str) -> Machine:
        machine = self.catalogue.get(ident, kind)
        if machine.ttl_s is not None:
            machine.used_s = self.fx.now_s
        return machine

    def abandon(self, call: Call, now_s: float) -> None:
        """Take a call back; see `Engine.abandon`."""
        self.fx.now_s = now_s
        self._take_back(call)
        self._finish_turn()

    def _take_back(self, call: Call) -> None:
        """Undo a call whose answer reaches nobody; one that is not answered leaves its line."""
        if call.machine is not None:
            self._safely(f"undo of {call.op.name}", self._undo, call, call.machine)

    def _undo(self, call: Call, machine: Machine) -> None:
        fx = self.fx
        if not call.answered:
            if call.waiter is not None:
                machine.forget_waiter(fx, call.waiter)
        elif call.error is None:
            if call.op.undo and self._exists(machine):
                getattr(machine, call.op.undo)(fx, call)
            if call.out and call not in fx.answered:  # else it has no references yet
                self.catalogue.taken_back(fx, call.session, call.out)

    def _exists(self, machine: Machine) -> bool:
        return machine is self.catalogue or self.catalogue.objects.get(machine.ident) is machine

    def _give_references(self, call: Call) -> None:
        if type(call.out) is Bunch:
            return
        for blob in call.out:
            if type(blob) is not bytes:
                self.catalogue.delivered(self.fx, call.session, call.out)
                return

    def _finish_turn(self) -> None:
        fx = self.fx
        delivered: list[Call] = []
        while fx.answered or fx.closed or fx.ended or fx.kept or (self.room.lot.line and self._let_in()):
            answered, fx.answered = fx.answered, []
            for call in answered:
                out = call.out
                if out and (len(out) > 1 or type(out[0]) is not bytes) and call.lane.running is call:
                    self._give_references(call)
            delivered += answered
            if fx.ended or fx.closed:
                self._end_the_dead()
            if fx.kept:
                self._safely("counting references", self.catalogue.apply_kept, fx)
        if fx.events:
            self._tell_events()
        if fx.handed_over:
            self._tell_hand_over()
        for call in delivered:
            if call.lane.running is call:
                self.deliver(call)

    def _tell_hand_over(self) -> None:
        self.fx.handed_over = False
        self.handed_over()

    def _let_in(self) -> bool:
        """Have the call that waited longest for room go on, if it has room now."""
        following = self.room.next_in(self.fx.now_s)
        if following is None:
            return False
        call, args = following
        try:
            getattr(call.machine, call.op.method)(self.fx, call, *args)
        except Exception as err:  # noqa: BLE001 - as in `submit`
            self._failed(call, err)
        return True

    # -- sessions --------------------------------------------------------------------------------

    def start_session(self, session_id: str, info: SessionInfo, secret: str, now_s: float) -> Session:
        """Begin a session."""
        if self.sessions.find(session_id) is not None:
            msg = f"there is a session {session_id} already"
            raise BadValue(msg)
        self.fx.now_s = now_s
        session = self.sessions.start(self.fx, session_id, info, secret)
        self.catalogue.house.hall.arrive(session)
        return session

    def find_session(self, session_id: str) -> Session | None:
        """Return the live session of that id."""
        return self.sessions.find(session_id)

    def find_ended(self, session_id: str) -> Ended | None:
        """Return what is kept of a session that ended."""
        return self.sessions.ended.get(session_id)

    def kind_of(self, ident: str) -> str | None:
        """Return the kind of an object."""
        machine = self.catalogue.objects.get(ident)
        return None if machine is None else machine.kind

    def label_of(self, ident: str) -> str:
        """Return how messages name an object."""
        machine = self.catalogue.objects.get(ident)
        return ident if machine is None else machine.label

    def maker_of(self, name: str, kind: str | None) -> str | None:
        """Return who made a named object."""
        try:
            machine = self.catalogue.find_named(name, kind)
        except Conflict:
            return None
        return None if machine is None else machine.maker

    def end_session(self, session: Session, now_s: float, *, parted: bool = True) -> None:
        """End a session; see `Engine.end_session`."""
        if session.ended:
            return
        self.fx.now_s = now_s
        session.parted = parted
        for worker in self.sessions.left_by(session):
            self.sessions.end(self.fx, worker, "its supervisor has left")
        self._end([session])
        self._finish_turn()

    def _end_the_dead(self) -> None:
        fx = self.fx
        while fx.ended or fx.closed:
            ended, fx.ended = fx.ended, []
            dead = list({s.id: s for s in ended if not s.ended}.values())
            self._end(dead)
            for session in dead:
                self.session_ended(session)
            closed, fx.closed = fx.closed, []
            for lane in closed:
                if not lane.session.ended:
                    self._expire_lane(lane)

    def _end(self, dead: list[Session]) -> None:
        """End sessions that died together: what one leaves must not go to another that is just as dead."""
        for session in dead:
            session.ended = True
            session.note_locks()
            if session.info.role == "program" and not session.parted:
                self.sessions.keep(session.id, end_of(session, self._held_by(session)))
            for lane in session.lanes.values():
                lane.suspended = True
        for session in dead:
            for lane in session.lanes.values():
                self._stop(lane)
        for session in dead:
            for lane in session.lanes.values():
                self._take_back_answers(lane)
            self._disown(session)

    def _held_by(self, session: Session) -> list[Machine]:
        return [machine for machine in session.held if self._exists(machine)]

    def _expire_lane(self, lane: Lane) -> Ended:
        """Close a lane that was suspended for too long; keep what its thread then holds no more."""
        session = lane.session
        before, done = holdings_of(lane, self._held_by(session)), last_done(lane)
        lane.expired = True
        self._close(lane)
        left = [holding.idents for holding in holdings_of(lane, self._held_by(session))]
        taken = [holding for holding in before if holding.idents not in left]
        ended = Ended("", "", taken, [(lane.number, done)])
        session.note_expired(lane.number, ended, MAX_ENDED)
        return ended

    def _stop(self, lane: Lane) -> None:
        lane.drop_all()
        call, lane.running = lane.running, None
        if call is not None and not call.answered:
            self._take_back(call)

    def _take_back_answers(self, lane: Lane) -> None:
        for call in reversed(lane.unsettled):
            if call.answered:
                self._take_back(call)
        lane.forget_all()

    def _disown(self, session: Session) -> None:
        for machine in list(session.held):
            if self._exists(machine):
                self._safely(f"end of a session at {machine.label}", machine.forget_session, self.fx, session)
        session.held = {}
        self.catalogue.forget_session(self.fx, session)
        self.sessions.remove(session)

    def connected(self, session: Session, now_s: float) -> None:
        """Note a new connection."""
        self.fx.now_s = now_s
        self.sessions.connected(session)

    def disconnected(self, session: Session, lanes: Iterable[Lane], now_s: float) -> None:
        """Note a lost connection."""
        self.fx.now_s = now_s
        self.sessions.disconnected(self.fx, session)
        if not session.ended:
            for lane in lanes:
                self.sessions.suspend(self.fx, lane)
        self._finish_turn()

    def resume(self, lane: Lane, now_s: float) -> None:
        """Wake a suspended lane."""
        self.fx.now_s = now_s
        if lane.number == 0:
            lane.session.awaited = False
        if lane.suspended:
            lane.suspended = False
            if lane.running is not None and lane.running.machine is not None:
                self._safely("resuming a call", lane.running.machine.retry, self.fx)
        self._finish_turn()

    def heard(self, session: Session, speaks_for: Iterable[str], now_s: float) -> None:
        """Note a heartbeat."""
        self.fx.now_s = now_s
        self.sessions.heard(self.fx, session, speaks_for)

    def close_lane(self, lane: Lane, now_s: float) -> None:
        """End a thread's lane."""
        self.fx.now_s = now_s
        self._close(lane)
        self._finish_turn()

    def _close(self, lane: Lane) -> None:
        lane.suspended = True  # nothing is handed to it any more
        self._stop(lane)
        self._take_back_answers(lane)
        for machine in list(lane.session.held):
            if self._exists(machine):
                self._safely(f"end of a thread at {machine.label}", machine.forget_lane, self.fx, lane)
        if lane.session.lanes.get(lane.number) is lane:
            del lane.session.lanes[lane.number]

    # -- memory ----------------------------------------------------------------------------------

    def lacks_memory(self) -> None:
        """Give up the reserve; nothing more is stored until it can be had again."""
        if self.room.short is None:
            self.room.short = self._still_lacks_memory
            self.tell("memory.short", {"changes": "that would store more are refused until there is some"})
        self._reserve = None

    def _still_lacks_memory(self) -> bool:
        try:
            self._reserve = bytes(RESERVE_BYTES)
        except MemoryError:
            return True
        self.room.short = None
        self.tell("memory.recovered", {"changes": "that store more are accepted again"})
        return False

    # -- time ------------------------------------------------------------------------------------

    def stood(self, since_s: float, now_s: float) -> None:
        """Let it count against nobody, unless most of it was a commit, which has been seen to already."""
        self.fx.now_s = max(since_s, self.sessions.excused_s)
        stood_s = now_s - self.fx.now_s
        if stood_s > (now_s - since_s) / 2:
            self.sessions.excuse(self.fx, stood_s)
            self.tell("server.stood", {"took_s": round(stood_s, 1)})
        self.fx.now_s = now_s

    def next_deadline_s(self) -> float | None:
        """Return the earliest deadline."""
        return self.fx.timers.next_s()

    def advance(self, now_s: float) -> None:
        """Run what is due."""
        self.fx.now_s = now_s
        for timer in self.fx.timers.due(now_s):
            if timer.action is not None:
                self._expire(timer.action, timer.args)
        self._finish_turn()

    def _expire(self, action: Callable[..., None], args: tuple[Any, ...]) -> None:
        try:
            action(self.fx, *args)
        except Exception as err:  # noqa: BLE001 - the other timers are due as well
            if args and isinstance(args[0], Waiter):
                self._failed(args[0].call, err)
            else:
                self.trouble("a timer", err)
