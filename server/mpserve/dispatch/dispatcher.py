"""The dispatcher: gives sessions their ids, calls their turn, and answers their way back.

RULES
* A lane's calls reach the engine one at a time; later ones wait in `lane.pending` for the answer before.
* An answer goes to the connection that carries the lane *now* (`lane.reply_to`), which may be another than
  the one that asked. With none, it is kept: the client asks again when it is back.
* Most calls are let through by one comparison (`Lane.rank`); what operators do, and what an observer asks,
  `roles` looks at.
* Answers never run the next calls inside one another: a call that is free to go on stands in a line, and who
  is at work already takes it from there. A thousand lanes that wait for each other need no deep stack.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from mpserve.core.bounds import Bounds
from mpserve.core.calls import Call, Lane, Session, SessionInfo
from mpserve.dispatch.beside import AtOnce
from mpserve.dispatch.outputs import Outputs
from mpserve.dispatch.roles import why_not
from mpshared import errors, settings
from mpshared import limits as table
from mpshared.bunch import message_bytes
from mpshared.reports import ending, out_of_memory

if TYPE_CHECKING:
    from mpserve.engines.base import Engine
    from mpshared.log import Logger
    from mpshared.ops import Role

__all__ = ["Dispatcher", "Limits", "ReplyTo", "new_identity"]

UNANSWERED_MAX = 64
"""Calls of a lane whose answers may be outstanding; the client pipelines no deeper. Precedent: HTTP/2's usual
100 streams."""

_TO_ACT_UPON: Final = frozenset({"journal.failed"})


class ReplyTo(Protocol):
    """A connection as the place where answers go."""

    def answer(self, call: Call) -> None:
        """Send the answer of `call`."""

    def session_over(self, session: Session) -> None:
        """Close: the session has ended; `Session.over` says why."""

    def broken(self, error: errors.MpserveError) -> None:
        """Close: an answer could not be sent, by a mistake of ours."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may ask for, and is told."""

    max_message: int = table.MAX_MESSAGE.default
    unanswered: int = UNANSWERED_MAX
    kept_bytes: int = table.MAX_UNREAD.default
    """Large answers of a session that are not acknowledged."""
    spin_s: float = 0.0
    """How long clients of this machine look for an answer before they sleep; see `mpshared.spinning`."""
    allow_shutdown: bool = False
    """Clients may stop the server over the wire."""
    admins: bool = False
    """There is an admin key: what operators do needs it, and with it the server may be stopped."""
    lanes: int = table.MAX_LANES.default
    """Threads and tasks of a session that may call: so many calls of it can be parked."""
    session_timeout_s: float = settings.SESSION_TIMEOUT.default
    grace_s: float = settings.GRACE.default
    advertise: str = ""
    """Address to put into proxies; "" means the one the peer dialled."""
    advertise_stock: bool = True
    """The address that is advertised is one for standard-library clients, too: it has no TLS."""


def _how_it_ended(report: Mapping[str, Any]) -> dict[str, str]:
    """Return what a supervisor saw of a process's end, in a few words; nothing where none did."""
    if not report:
        return {}
    told = {"how": ending(report)}
    match report.get("running"):
        case [str(name), int(number)]:
            told["running"] = f"job {number} of {name}"
    if evidence := out_of_memory(report):
        told["likely_out_of_memory"] = evidence
    return told


def new_identity() -> tuple[str, str]:
    """Return a server's id, and an epoch: it changes with every start that does not bring the state back."""
    return secrets.token_hex(8), secrets.token_hex(8)


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
        identity: tuple[str, str] | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """Make a dispatcher.

        Args:
            engine: Who executes calls.
            clock: Monotonic seconds.
            log: For what the operator should know.
            limits: What peers may ask for, and are told.
            stop: Stops the server; is given the reason.
            identity: Server id and epoch of a state that outlives the server; None: new ones.
            bounds: How many there may be, and where refusals are counted; None: as usual.
        """
        self.engine = engine
        self.clock = clock
        self.log = log
        self.limits = limits
        self.stop = stop
        self.stopping = False
        """The server says goodbye; sessions that end now are not lost."""
        self.server_id, self.epoch = identity or new_identity()
        self.durable = identity is not None
        """The state outlives this server: clients wait for the next one."""
        self.shortcut = ""
        """Name of the Unix socket on which clients of this machine may go on; "" for none."""
        self.beside = AtOnce()
        """Does what takes long."""
        self.outputs = Outputs(engine.find_session, log)
        self.bounds = bounds or Bounds()
        self._free: deque[Call] = deque()
        """Calls whose lane's earlier ones are answered."""
        self._at_work = False
        self._listen_to(engine)

    def _listen_to(self, engine: Engine) -> None:
        engine.deliver = self.deliver
        engine.session_ended = self._session_ended
        engine.tell = self._tell_operator
        engine.trouble = self._trouble

    # -- sessions --------------------------------------------------------------------------------

    def start_session(self, info: SessionInfo, access: Role = "client") -> Session:
        """Begin a session with a fresh id and secret; `access` is whose key its program has."""
        session = self.engine.start_session(secrets.token_hex(8), info, secrets.token_hex(16), self.clock())
        session.grant(access)
        self._tell("session.start", session, host=info.host, pid=info.pid, name=info.name)
        return session

    def _tell(self, event: str, session: Session, **fields: object) -> None:
        """Log how a session begins or ends: worker hosts for the operator, the others are too many."""
        log = self.log.info if session.info.role == "supervisor" else self.log.debug
        log(event, session=session.id, role=session.info.role, **fields)

    def end_session(self, session: Session, why: str, *, parted: bool = True) -> None:
        """End a session whose client said goodbye; or (not `parted`) gave it up, and may think that it holds
        something.
        """
        self._tell("session.end", session, why=why)
        session.over = why
        self.engine.end_session(session, self.clock(), parted=parted)
        self._close_connections(session)

    def _session_ended(self, session: Session) -> None:
        info = session.info
        if session.meant:
            self._tell("session.end", session, why=session.over)
        elif info.role != "stock" and not self.stopping:
            self.log.warning(
                "session.lost",
                session=session.id,
                role=info.role,
                host=info.host,
                pid=info.pid,
                why=session.over,
                **_how_it_ended(session.report),
            )
        self._close_connections(session)

    def _close_connections(self, session: Session) -> None:
        self.outputs.ended(session)
        for lane in session.lanes.values():
            connection, lane.reply_to = lane.reply_to, None
            if connection is not None:
                connection.session_over(session)

    def _tell_operator(self, event: str, fields: dict[str, Any]) -> None:
        log = self.log.error if event in _TO_ACT_UPON else self.log.warning
        log(event, **fields)

    def _trouble(self, what: str, error: Exception) -> None:
        self.log.error("call.failed", what=what, error=repr(error), exc_info=error)

    # -- calls -----------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Pass a call on, when the lane's earlier ones are answered."""
        lane = call.lane
        if lane.running is not None:
            self._wait_behind(lane, call)
            return
        lane.running = call
        if call.op.rank <= lane.rank or self._allowed(call):
            self.engine.submit(call, self.clock())

    def _wait_behind(self, lane: Lane, call: Call) -> None:
        """Have a call wait for the answer before; if more values than may wait so, for its refusal."""
        try:
            if call.blobs:
                self.bounds.check_waiting(call, message_bytes(call.blobs))
        except errors.NoRoom as err:
            call.blobs, call.error, call.answered = (), err, True
        lane.wait_behind(call)

    def _run(self, call: Call) -> None:
        if call.answered:
            self.deliver(call)
            return
        if call.op.rank <= call.lane.rank or self._allowed(call):
            self.engine.submit(call, self.clock())

    def _allowed(self, call: Call) -> bool:
        """Tell whether the engine may have an operator's call, or an observer's; else answer it here."""
        limits = self.limits
        call.error = why_not(call, self.engine, admins=limits.admins)
        if call.error is None and call.op.name != "cluster.shutdown":
            return True
        call.answered = True
        if call.error is None and not (limits.allow_shutdown or call.session.access == "admin"):
            call.error = errors.NotAllowed(
                "this server is not stopped over the wire; stop its process, or start it with "
                "--allow-shutdown"
            )
        elif call.error is None:
            self.stop("shutdown was called by " + (call.session.info.name or call.session.id))
        self.deliver(call)
        return False

    def deliver(self, call: Call) -> None:
        """Send an answer on its way and let the lane's next call follow."""
        lane = call.lane
        if lane.running is not call:
            return  # nobody waits for it any more
        reply_to = lane.reply_to
        if reply_to is not None:
            try:
                reply_to.answer(call)
            except Exception as err:  # noqa: BLE001 - it must not cost the other answers of the turn
                self._unanswerable(call, reply_to, err)
        if lane.pending:
            self._let_follow(lane)
        else:
            lane.running = None

    def _let_follow(self, lane: Lane) -> None:
        following = lane.next_call()
        if following is not None:
            self._free.append(following)
        if self._at_work:
            return
        self._at_work = True
        try:
            while self._free:
                free = self._free.popleft()
                if free.lane.running is free:
                    self._run(free)
        finally:
            self._at_work = False

    def _unanswerable(self, call: Call, reply_to: ReplyTo, err: Exception) -> None:
        self._trouble(f"the answer of {call.op.name}", err)
        msg = f"the answer of {call.op.name} could not be sent: {err!r:.200}; a mistake of mpserve's"
        reply_to.broken(errors.InternalError(f"{msg}. Please report it with the server's log"))

    def refuse_answer(self, call: Call, error: errors.MpserveError) -> None:
        """Answer with an error instead: the answer cannot be sent. What the call took returns."""
        self.engine.abandon(call, self.clock())
        call.result, call.out, call.error = None, (), error

    def abandon(self, lane: Lane, number: int) -> None:
        """Take back the call of that number: its caller was interrupted."""
        call = lane.find(number)
        if call is None:
            return
        lane.forget(number)
        if lane.drop(call):
            return
        under_way = lane.running is call
        if under_way:
            lane.running = None
        self.engine.abandon(call, self.clock())
        if under_way:
            self._let_follow(lane)

    def close_lane(self, lane: Lane) -> None:
        """End a lane whose thread is over."""
        lane.reply_to = None
        self.engine.close_lane(lane, self.clock())
