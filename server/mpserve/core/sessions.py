"""Sessions: who is alive. One registry per engine.

    start -> LIVE --all connections lost--> LOST --grace--> ENDED
              |  ^---------- attach ---------'
              |--silent for session_timeout--> ENDED
              '--goodbye, or its supervisor reports the process dead--> ENDED (at once)

RULES
* A session ends once; the engine then forgets its waiters, takes back what it owned, and drops its
  references.
* A worker that lost all its connections while its supervisor has one is waited for longer: if it died, its
  supervisor is about to say so, and only that tells at which of its jobs.
* After a restart of the server the grace period is the session timeout, until the control is back: a thread
  whose lane was back first, and that ends, must not take the others with it, who are on their way.
* A lane whose connection is lost while others live is suspended, and closed after `session_timeout`.
* A stock session is its connection: it ends with it, at once, and is never silent (TCP keepalive finds it
  dead).
* A supervisor's heartbeat speaks for the workers it started, and for no others.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mpserve.core.calls import Lane, Session, SessionInfo
from mpserve.core.parking import ParkingLot, answer_none

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpserve.core.ended import Ended

__all__ = ["Sessions"]

MAX_ENDED = 1024
"""Sessions that ended and may come back of which it is known what they held."""
MAX_COMMANDS = 1024
"""Commands kept for a supervisor that does not fetch them; older ones are of no use to it any more."""

REPORT_S = 5.0
"""How long the report on a worker's end is waited for."""


class Sessions:
    """All live sessions, and what is known about their liveness."""

    def __init__(self, *, grace_s: float = 0.5, timeout_s: float = 30.0) -> None:
        self.grace_s = grace_s
        self.timeout_s = timeout_s
        self._live: dict[str, Session] = {}
        self.supervisors: dict[str, Session] = {}
        """Those of them that are worker hosts, in the order in which they came."""
        self._commands: dict[str, deque[dict[str, Any]]] = {}
        self._fetchers: dict[str, ParkingLot] = {}
        self.ended: OrderedDict[str, Ended] = OrderedDict()
        """What is kept of sessions that may come back."""
        self._heard: dict[Session, None] = {}
        """Those that must be heard; who was heard longest ago first."""
        self._watches = False
        """A timer runs for the first of them. One for each would take 300 bytes."""
        self._patient_until_s = -math.inf
        """Before that nobody is given up; see `excuse`."""
        self.excused_s = -math.inf
        """Until when it is known that the server stood."""

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def hosts_first(self) -> Iterator[Session]:
        """Yield all sessions, worker hosts before the others."""
        yield from self.supervisors.values()
        yield from (session for session in self._live.values() if session.info.role != "supervisor")

    def find(self, session_id: str) -> Session | None:
        """Return the live session of that id, or None."""
        return self._live.get(session_id)

    def start(self, fx: Effects, session_id: str, info: SessionInfo, secret: str) -> Session:
        """Begin a session; from now on it must be heard."""
        session = Session(session_id, info, secret, fx.now_s, fx.room)
        self._add(session)
        if info.role != "stock":
            self._must_be_heard(fx, session)
        return session

    def revive(self, fx: Effects, session: Session) -> None:
        """Take in a session of before a restart: it has the session timeout to come back."""
        session.heard_s = session.lost_s = fx.now_s
        self._add(session)
        session.restored = session.awaited = True
        session.access = None
        for lane in session.lanes.values():
            lane.restored = True
            self.suspend(fx, lane)
        self._must_be_heard(fx, session)

    def _add(self, session: Session) -> None:
        self._live[session.id] = session
        if session.info.role == "supervisor":
            self.supervisors[session.id] = session

    def remove(self, session: Session) -> None:
        """Forget an ended session (the engine calls this last)."""
        session.ended = True
        self._live.pop(session.id, None)
        self.supervisors.pop(session.id, None)
        self._commands.pop(session.id, None)
        self._fetchers.pop(session.id, None)
        self._heard.pop(session, None)

    def keep(self, session_id: str, ended: Ended) -> None:
        """Keep what is to be known of a session that ended, should its program come back."""
        self.ended[session_id] = ended
        if len(self.ended) > MAX_ENDED:
            self.ended.popitem(last=False)

    # -- connections -----------------------------------------------------------------------------

    def connected(self, session: Session) -> None:
        """Count a connection."""
        session.connections += 1
        session.lost_s = None

    def disconnected(self, fx: Effects, session: Session) -> None:
        """Count a lost connection; with the last one the grace period begins."""
        session.connections -= 1
        if session.connections or session.ended:
            return
        session.lost_s = fx.now_s
        if session.info.role == "stock":
            self.end(fx, session, "its connection ended")
        elif not session.awaited:  # else it is heard in time, or ends for that
            fx.timers.add(fx.now_s + self.grace_s, self._check_lost, session, fx.now_s)

    def suspend(self, fx: Effects, lane: Lane) -> None:
        """Skip the lane's waiters until it is back; give it up after the session timeout."""
        lane.suspended = True
        lane.lost_s = fx.now_s
        fx.timers.add(fx.now_s + self.timeout_s, self._check_suspended, lane, fx.now_s)

    def heard(self, fx: Effects, session: Session, speaks_for: Iterable[str] = ()) -> None:
        """Note a sign of life of `session`, and of the workers it answers for."""
        self._note_heard(fx, session)
        for session_id in speaks_for:
            worker = self._live.get(session_id)
            if worker is not None and worker.info.supervisor == session.id:
                self._note_heard(fx, worker)

    def _note_heard(self, fx: Effects, session: Session) -> None:
        session.heard_s = fx.now_s
        if session in self._heard:
            del self._heard[session]
            self._heard[session] = None

    def excuse(self, fx: Effects, stood_s: float) -> None:
        """Let it count against nobody that the server stood for so long after `now_s`, and heard nobody.

        For as long again, and the grace period at least, nobody is given up. While that lasts, what it stands
        once more is added, and no more: who is gone must not be kept for ever by a disk that stutters.
        """
        self.excused_s = now_s = fx.now_s + stood_s
        more_s = max(stood_s, self.grace_s) if fx.now_s >= self._patient_until_s else stood_s
        self._patient_until_s = max(self._patient_until_s + stood_s, now_s + more_s)

    def _check_lost(self, fx: Effects, session: Session, since_s: float) -> None:
        if session.ended or session.connections or session.lost_s != since_s:
            return
        most_s = self._most_lost_s(session)
        until_s = max(since_s + most_s, self._patient_until_s)
        if fx.now_s < until_s:
            fx.timers.add(until_s, self._check_lost, session, since_s)
        else:
            self.end(fx, session, f"it had no connection for {most_s:g} s")

    def _most_lost_s(self, session: Session) -> float:
        """Return how long a session may have no connection."""
        supervisor = self._live.get(session.info.supervisor)
        if supervisor is None or not supervisor.connections:
            return self.grace_s
        return max(self.grace_s, min(REPORT_S, self.timeout_s))

    def _must_be_heard(self, fx: Effects, session: Session) -> None:
        self._heard[session] = None
        if not self._watches:
            self._watch(fx)

    def _watch(self, fx: Effects) -> None:
        """Look again when who was heard longest ago may have been silent for too long."""
        first = next(iter(self._heard), None)
        self._watches = first is not None
        if first is not None:
            fx.timers.add(self._silent_s(first), self._check_silence)

    def _silent_s(self, session: Session) -> float:
        return max(session.heard_s + self.timeout_s, self._patient_until_s)

    def _check_silence(self, fx: Effects) -> None:
        """End all who were silent for too long."""
        silent: list[Session] = []
        while (first := next(iter(self._heard), None)) and fx.now_s >= self._silent_s(first):
            del self._heard[first]
            silent.append(first)
        self._watch(fx)
        for session in silent:
            self.end(fx, session, f"it was silent for {self.timeout_s:g} s")
            self.tell_supervisor(fx, session, session.over)

    def _check_suspended(self, fx: Effects, lane: Lane, since_s: float) -> None:
        is_over = lane.session.ended or lane.session.lanes.get(lane.number) is not lane
        if is_over or not lane.suspended or lane.lost_s != since_s:
            return
        if fx.now_s < self._patient_until_s:
            fx.timers.add(self._patient_until_s, self._check_suspended, lane, since_s)
        else:
            fx.closed.append(lane)

    def end(self, fx: Effects, session: Session, why: str) -> None:
        """Let the engine end a session after this turn's calls."""
        session.over = session.over or why
        fx.ended.append(session)

    def left_by(self, session: Session) -> list[Session]:
        """Return what a supervisor that is leaving had started and that has no connection: it ends with it.

        Cost: O(sessions), where it is a supervisor.
        """
        if session.info.role != "supervisor":
            return []
        return [s for s in self._live.values() if s.info.supervisor == session.id and not s.connections]

    # -- commands for supervisors ----------------------------------------------------------------

    def tell_supervisor(self, fx: Effects, worker: Session, why: str) -> None:
        """Ask the supervisor of a worker whose session was ended here to end its process, too."""
        if worker.info.supervisor in self._live:
            command = {"command": "end_process", "pid": worker.info.pid, "session": worker.id, "why": why}
            self.post_command(fx, worker.info.supervisor, command)

    def post_command(self, fx: Effects, session_id: str, command: dict[str, Any]) -> None:
        """Give a supervisor its next command, at once if it waits for one."""
        lot = self._fetchers.get(session_id)
        call = lot.unpark() if lot is not None else None
        if call is not None:
            fx.reply(call, command)
        elif session_id in self._live:
            self._kept(session_id).append(command)

    def _kept(self, session_id: str) -> deque[dict[str, Any]]:
        return self._commands.setdefault(session_id, deque(maxlen=MAX_COMMANDS))

    def next_command(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Answer the caller's next command, None after `timeout_s`, or park."""
        waiting = self._commands.get(call.session.id)
        if waiting:
            fx.reply(call, waiting.popleft())
        elif timeout_s == 0:
            fx.reply(call)
        else:
            lot = self._fetchers.setdefault(call.session.id, ParkingLot())
            lot.park(fx, call, timeout_s, answer_none)

    def undo_next_command(self, call: Call) -> None:
        """Keep a command again whose answer never arrived, before all later ones."""
        if call.result is not None and call.session.id in self._live:
            self._kept(call.session.id).appendleft(call.result)

    def retry(self, fx: Effects) -> None:
        """Answer supervisors that were away when their command came."""
        for session_id, lot in self._fetchers.items():
            waiting = self._commands.get(session_id)
            while waiting and (call := lot.unpark()) is not None:
                fx.reply(call, waiting.popleft())

    def lots(self) -> Iterable[ParkingLot]:
        """Return the lines of supervisors that wait for a command."""
        return self._fetchers.values()
