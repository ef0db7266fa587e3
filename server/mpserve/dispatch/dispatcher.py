"""The dispatcher: gives sessions their ids, calls their turn, and answers their way back.

RULES
* A lane's calls reach the engine one at a time; later ones wait in `lane.pending` for the answer before.
* An answer goes to the connection that carries the lane *now* (`lane.reply_to`), which may be another than
  the one that asked. With none, it is kept: the client asks again when it is back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mpserve.core.calls import Call, Lane, Session, SessionInfo
from mpshared.errors import NotAllowed

if TYPE_CHECKING:
    from mpserve.engines.base import Engine
    from mpshared.log import Logger

__all__ = ["Dispatcher", "Limits", "ReplyTo"]

UNANSWERED_MAX = 64
"""Calls of a lane whose answers may be outstanding; the client pipelines no deeper. Precedent: HTTP/2's usual
100 streams."""


class ReplyTo(Protocol):
    """A connection as the place where answers go."""

    def answer(self, call: Call) -> None:
        """Send the answer of `call`."""

    def session_over(self, session: Session) -> None:
        """Close: the session has ended."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may ask for."""

    max_message: int = 256 << 20
    unanswered: int = UNANSWERED_MAX
    allow_shutdown: bool = False
    """Clients may stop the server over the wire."""
    advertise: str = ""
    """Address to put into proxies; "" means the one the peer dialled."""


class Dispatcher:
    """Between connections and the engine."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], float],
        log: Logger,
        *,
        limits: Limits,
        stop: Callable[[str], None],
        session_timeout_s: float,
        grace_s: float,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.log = log
        self.limits = limits
        self.stop = stop
        self.session_timeout_s = session_timeout_s
        self.grace_s = grace_s
        self.stopping = False
        """The server says goodbye; sessions that end now are not lost."""
        self.server_id = secrets.token_hex(8)
        self.epoch = secrets.token_hex(8)
        """Changes with every start that does not bring the old state back."""
        engine.deliver = self.deliver
        engine.session_ended = self._session_ended

    # -- sessions --------------------------------------------------------------------------------

    def start_session(self, info: SessionInfo) -> Session:
        """Begin a session with a fresh id and secret."""
        session = self.engine.start_session(secrets.token_hex(8), info, secrets.token_hex(16), self.clock())
        self.log.debug(
            "session.start", session=session.id, role=info.role, host=info.host, pid=info.pid, name=info.name
        )
        return session

    def end_session(self, session: Session, why: str) -> None:
        """End a session whose client said goodbye."""
        self.log.debug("session.end", session=session.id, why=why)
        self.engine.end_session(session, self.clock())
        self._close_connections(session)

    def _session_ended(self, session: Session) -> None:
        info = session.info
        if info.role != "stock" and not self.stopping:
            self.log.warning(
                "session.lost",
                session=session.id,
                role=info.role,
                host=info.host,
                pid=info.pid,
                report=session.report,
            )
        self._close_connections(session)

    def _close_connections(self, session: Session) -> None:
        for lane in session.lanes.values():
            connection, lane.reply_to = lane.reply_to, None
            if connection is not None:
                connection.session_over(session)

    # -- calls -----------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Pass a call on, when the lane's earlier ones are answered."""
        lane = call.lane
        if lane.running is not None:
            lane.pending.append(call)
            return
        lane.running = call
        if call.op.role == "admin":
            self._run(call)
        else:
            self.engine.submit(call, self.clock())

    def _run(self, call: Call) -> None:
        if call.op.role != "admin" or self._allowed(call):
            self.engine.submit(call, self.clock())

    def _allowed(self, call: Call) -> bool:
        """Answer an operator's call here; the only one there is stops the server."""
        call.answered = True
        if not self.limits.allow_shutdown:
            call.error = NotAllowed(
                "this server is not stopped over the wire; stop its process, or start it with "
                "--allow-shutdown"
            )
        else:
            self.stop("shutdown was called by " + (call.session.info.name or call.session.id))
        self.deliver(call)
        return False

    def deliver(self, call: Call) -> None:
        """Send an answer on its way and start the lane's next call."""
        lane = call.lane
        reply_to = lane.reply_to
        if reply_to is not None:
            reply_to.answer(call)
        if lane.pending:
            following = lane.finish(call)
            if following is not None:
                self._run(following)
        elif lane.running is call:
            lane.running = None

    def abandon(self, lane: Lane, number: int) -> None:
        """Take back the call of that number: its caller was interrupted."""
        call = lane.find(number)
        if call is None:
            return
        if call in lane.pending:
            lane.pending.remove(call)
        else:
            self.engine.abandon(call, self.clock())
        call.answered = True
        lane.unsettled.pop(number, None)
        following = lane.finish(call)
        if following is not None:
            self._run(following)

    def close_lane(self, lane: Lane) -> None:
        """End a lane whose thread is over."""
        lane.reply_to = None
        self.engine.close_lane(lane, self.clock())

    # -- time ------------------------------------------------------------------------------------

    def next_deadline_s(self) -> float | None:
        """Return when `advance` is due."""
        return self.engine.next_deadline_s()

    def advance(self, now_s: float) -> None:
        """Let the engine's time pass."""
        self.engine.advance(now_s)
