"""The memory engine: all objects in this process, every call answered or parked at once.

One turn: run the call → free lanes whose calls were answered → end sessions found dead → count references →
deliver. The order matters: sessions end before anything is delivered, so nobody is told of something a dead
peer still holds; and references are counted last, when the receiver of a value already has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from mpserve.core.calls import Call, Lane, Session, SessionInfo
from mpserve.core.catalogue import Catalogue
from mpserve.core.effects import Effects
from mpserve.core.sessions import Sessions
from mpserve.engines.base import Deliver, Engine, SessionEnded
from mpshared.errors import BadValue, MpserveError
from mpshared.ops import Op, check_args

if TYPE_CHECKING:
    from mpserve.core.machine import Machine

__all__ = ["MemoryEngine"]


def _nobody(_: Any) -> None:
    """Stand in until the dispatcher listens."""


class MemoryEngine(Engine):
    """State in memory; with `recording` every change is kept in ``fx.records`` (tests rebuild objects from
    them).
    """

    def __init__(
        self,
        new_ident: Callable[[], str],
        *,
        grace_s: float = 0.5,
        session_timeout_s: float = 30.0,
        wall_offset_s: float = 0.0,
        recording: bool = False,
    ) -> None:
        self.deliver: Deliver = _nobody
        self.session_ended: SessionEnded = _nobody
        self.fx = Effects(recording=recording)
        self.fx.wall_offset_s = wall_offset_s
        self.sessions = Sessions(grace_s=grace_s, timeout_s=session_timeout_s)
        self.catalogue = Catalogue(new_ident, self.sessions)

    # -- calls -----------------------------------------------------------------------------------

    def submit(self, call: Call, now_s: float) -> None:
        """Execute one call; see `Engine.submit`. Cost: that of the operation, plus O(answers it leads to)."""
        fx = self.fx
        fx.now_s = now_s
        try:
            self._run(call, call.op)
        except MpserveError as err:
            fx.fail(call, err)
        if len(fx.answered) == 1 and not (fx.ended or fx.closed or fx.kept):  # the short turn
            answered = fx.answered.pop()
            if answered.out:
                self._give_references(answered)
            self.deliver(answered)
        else:
            self._finish_turn()

    def _run(self, call: Call, op: Op) -> None:
        machine = self.catalogue.objects.get(call.target)
        if machine is None or machine.kind != op.kind:
            machine = self._resolve(call)
        elif machine.ttl_s is not None:
            machine.used_s = self.fx.now_s
        call.machine = machine
        args = check_args(op, call.args, len(call.blobs))
        for position in op.objects:
            ident = args[position]
            args[position] = None if ident is None else self.catalogue.get(ident, op.args[position].kind)
        getattr(machine, op.method)(self.fx, call, *args)

    def _resolve(self, call: Call) -> Machine:
        if call.op.kind == "cluster":
            return self.catalogue
        return self.catalogue.get(call.target, call.op.kind)  # raises: it is not there, or of another kind

    def abandon(self, call: Call, now_s: float) -> None:
        """Take a call back; see `Engine.abandon`."""
        self.fx.now_s = now_s
        self._undo(call)
        self._finish_turn()

    def _undo(self, call: Call) -> None:
        machine = call.machine
        if call.answered:
            if call.op.undo and call.error is None and machine is not None:
                getattr(machine, call.op.undo)(self.fx, call)
        elif call.waiter is not None and machine is not None:
            machine.forget_waiter(self.fx, call)

    def _give_references(self, call: Call) -> None:
        for blob in call.out:
            if type(blob) is not bytes:
                self.catalogue.delivered(self.fx, call.session, call.out)
                return

    def _finish_turn(self) -> None:
        fx = self.fx
        delivered: list[Call] = []
        while fx.answered or fx.closed or fx.ended or fx.kept:
            answered, fx.answered = fx.answered, []
            for call in answered:
                if call.out and not call.session.ended:
                    self._give_references(call)
            delivered += answered
            self._end_the_dead()
            if fx.kept:
                self.catalogue.apply_kept(fx)
        for call in delivered:
            if not call.session.ended:
                self.deliver(call)

    # -- sessions --------------------------------------------------------------------------------

    def start_session(self, session_id: str, info: SessionInfo, secret: str, now_s: float) -> Session:
        """Begin a session."""
        if self.sessions.find(session_id) is not None:
            msg = f"there is a session {session_id} already"
            raise BadValue(msg)
        self.fx.now_s = now_s
        return self.sessions.start(self.fx, session_id, info, secret)

    def find_session(self, session_id: str) -> Session | None:
        """Return the live session of that id."""
        return self.sessions.find(session_id)

    def kind_of(self, ident: str) -> str | None:
        """Return the kind of an object."""
        machine = self.catalogue.objects.get(ident)
        return None if machine is None else machine.kind

    def end_session(self, session: Session, now_s: float) -> None:
        """End a session; see `Engine.end_session`."""
        self.fx.now_s = now_s
        self._end(session)
        self._finish_turn()

    def _end_the_dead(self) -> None:
        fx = self.fx
        while fx.ended or fx.closed:
            ended, fx.ended = fx.ended, []
            # Mark all of them first: what one leaves must not be handed to another that is just as dead.
            dead = list({s.id: s for s in ended if not s.ended}.values())
            for session in dead:
                self._forget_waiters(session)
            for session in dead:
                self._end(session)
                self.session_ended(session)
            closed, fx.closed = fx.closed, []
            for lane in closed:
                self._close(lane)

    def _forget_waiters(self, session: Session) -> None:
        session.ended = True
        for lane in session.lanes.values():
            lane.pending.clear()
            call, lane.running = lane.running, None
            if call is not None and not call.answered:
                self._undo(call)

    def _end(self, session: Session) -> None:
        self._forget_waiters(session)
        for lane in session.lanes.values():
            for call in reversed(lane.unsettled.values()):
                if call.answered:
                    self._undo(call)
        for machine in list(session.held):
            machine.forget_session(self.fx, session)
        session.held.clear()
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
        if lane.suspended:
            lane.suspended = False
            if lane.running is not None and lane.running.machine is not None:
                lane.running.machine.retry(self.fx)
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
        lane.pending.clear()
        call, lane.running = lane.running, None
        if call is not None and not call.answered:
            self._undo(call)
        for answered in reversed(lane.unsettled.values()):
            if answered.answered:
                self._undo(answered)
        for machine in list(lane.session.held):
            machine.forget_lane(self.fx, lane)
        lane.session.lanes.pop(lane.number, None)

    # -- time ------------------------------------------------------------------------------------

    def next_deadline_s(self) -> float | None:
        """Return the earliest deadline."""
        return self.fx.timers.next_s()

    def advance(self, now_s: float) -> None:
        """Run what is due."""
        self.fx.now_s = now_s
        for timer in self.fx.timers.due(now_s):
            if timer.action is not None:
                timer.action(self.fx, *timer.args)
        self._finish_turn()
