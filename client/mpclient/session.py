"""This process at one server: its session, renewed when it ends, and what belongs to the whole process.

RULES
* One `Session` for each server a process speaks to, shared by all its threads; each thread gets a `Lane` at
  its first call, and nothing is dialled before that but the control connection.
* A `Term` is a session as the server knows it: from the first ATTACH to its end. When a term ends early, each
  thread that took part in it hears why, once; its next call begins a new term.
* In a forked child everything begins anew: the parent's sockets are closed there, without a word on them, and
  the first call opens a session of the child's own and takes references of its own.

      Session ──term──> Term (id, secret, epoch) ──> Keeper: the control connection, heartbeat, references
         └── threads' lanes ──> one Connection each
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from mpclient.dialling import Connection, Lost, close_inherited, dial
from mpclient.keeper import Keeper
from mpclient.lane import Lane
from mpclient.printer import Printer
from mpclient.references import References
from mpshared import __version__
from mpshared.errors import MpserveError, ServerGone, ServerRestarted, SessionExpired
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.lane import Read
    from mpclient.outgoing import Outgoing
    from mpclient.references import Handle
    from mpshared.address import Address
    from mpshared.ops import Op
    from mpshared.values import Blob

__all__ = ["Describes", "Session", "Term", "living_sessions"]

_STARTED_S: Final = time.time()
_RENEW_S: Final = 0.5
"""How long a call looks for a server once a session has ended: a program that tries again need not wait."""


@dataclass(frozen=True, slots=True)
class Describes:
    """What a program says of itself; the same fields as the server's `SessionInfo`."""

    role: str = "program"
    name: str = ""
    supervisor: str = ""
    slots: int = 0
    max_spawned: int = 0
    queue: str = ""
    pools: bool = False

    def as_body(self) -> dict[str, Any]:
        """Return the whole description: this, and what the process itself tells."""
        return asdict(self) | {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_s": _STARTED_S,
            "python": list(sys.version_info[:2]),
            "version": __version__,
        }


class Term:
    """One session as the server knows it."""

    __slots__ = (
        "_numbers",
        "beat_s",
        "durable",
        "epoch",
        "id",
        "lanes",
        "max_message_bytes",
        "over",
        "printer",
        "restarting",
        "secret",
        "server",
    )

    def __init__(self, attached: dict[str, Any], printer: Printer) -> None:
        self.printer = printer
        self.id: str = attached["session"]
        self.secret: str = attached["secret"]
        self.server: str = attached["server"]
        self.epoch: str = attached["epoch"]
        self.max_message_bytes: int = attached["limits"]["max_message"]
        self.beat_s: float = attached["session_timeout_s"] / 3
        self.durable = bool(attached.get("durable"))
        self.restarting = False
        self.over: MpserveError | None = None
        """Why it ended, once it has."""
        self.lanes: dict[int, weakref.ref[Lane]] = {}
        self._numbers = count(1)

    def new_lane(self, lane: Lane) -> int:
        """Register a lane and return its number."""
        number = next(self._numbers)
        self.lanes[number] = weakref.ref(lane)
        return number

    def living_lanes(self) -> list[Lane]:
        """Return the lanes of living threads, and forget the others."""
        alive: list[Lane] = []
        for number, ref in list(self.lanes.items()):
            lane = ref()
            if lane is None:
                self.lanes.pop(number, None)
            else:
                alive.append(lane)
        return alive

    def body(self, lane: int) -> dict[str, Any]:
        """Return what attaches a connection to this session and lane."""
        return {"session": self.id, "secret": self.secret, "lane": lane}


class _Own(threading.local):
    """What belongs to one thread."""

    lane: Lane | None = None


class Session:
    """This process at one server. Threads may share it; so may forked children."""

    def __init__(
        self,
        address: Address,
        key: bytes,
        describes: Describes | None = None,
        *,
        connect_timeout_s: float = 30.0,
        reconnect_timeout_s: float = 60.0,
    ) -> None:
        self.address = address
        self.key = key
        self.describes = describes or Describes()
        self.connect_timeout_s = connect_timeout_s
        self.reconnect_timeout_s = reconnect_timeout_s
        self.advertise = ""
        self.speaks_for: Sequence[str] = ()
        """Sessions of processes this one answers for: a supervisor's workers."""
        self.references = References(self)
        self.outgoing: Outgoing | None = None
        """What this process prints for programs; None in a process that prints for itself."""
        self.unflushed: set[Any] = set()
        """Buffered queues with items that the server has not seen."""
        self.ending = False
        """Nothing more will be asked: what goes wrong now has nobody else to be told to."""
        self.closed = False
        self._begin_anew()
        _living.add(self)

    def _begin_anew(self) -> None:
        self._term: Term | None = None
        self._ended: MpserveError | None = None
        self._keeper: Keeper | None = None
        self._own = _Own()
        self._starting = threading.RLock()
        self._closing = threading.Event()

    def __repr__(self) -> str:
        return f"<Session at {self.address}: {self._term.id if self._term else 'none'}>"

    # -- calling ---------------------------------------------------------------------------------

    def call(
        self, op: Op, target: str, args: list[Any], blobs: Sequence[Blob] = (), read: Read | None = None
    ) -> Any:
        """Make one call over this thread's lane; see `Lane.call`."""
        if self.unflushed:
            self.flush()
        lane = self._own.lane or self._open_lane()
        return lane.call(op, target, args, blobs, read)

    def call_lane(self, op: Op, target: str, args: list[Any], blobs: Sequence[Blob] = ()) -> Any:
        """Make one call without sending first what buffered queues hold back; for those queues themselves."""
        return (self._own.lane or self._open_lane()).call(op, target, args, blobs, None)

    def calls(self) -> int:
        """Return the number of this thread's last call, 0 if it made none: for `take_back`."""
        lane = self._own.lane
        return 0 if lane is None else lane.sent

    def take_back(self, number: int) -> None:
        """Abandon call `number` of this thread, if it was its last one; see `Lane.take_back`."""
        if self._own.lane is not None:
            self._own.lane.take_back(number)

    def flush(self) -> None:
        """Send what buffered queues hold back. What goes wrong is told by their next put or flush."""
        for buffer in tuple(self.unflushed):
            buffer.send()

    def claim(self, ident: str) -> Handle:
        """Note a reference that the server has given this session, and return the object's handle."""
        return self.references.claim(ident)

    def adopt(self, ident: str) -> Handle:
        """Take a reference to an object whose proxy came by another way than a value.

        Raises:
            NoSuchObject: It is gone.
        """
        handle = self.references.find(ident)
        if handle is None:
            self.call(_ADOPT, "", [[ident]])
            handle = self.references.claim(ident)
        return handle

    def lane_number(self) -> int:
        """Return the number of this thread's lane (opened if need be): with `id`, the name of an owner."""
        return (self._own.lane or self._open_lane()).number

    @property
    def id(self) -> str:
        """The session's id at the server; begins one if there is none."""
        return self.start().id

    @property
    def server_id(self) -> str:
        """The server's own id; the same for all addresses it has."""
        return self.start().server

    def _open_lane(self) -> Lane:
        lane = self._own.lane = Lane(self, self.start())
        return lane

    # -- terms -----------------------------------------------------------------------------------

    def start(self) -> Term:
        """Return the term under way; begin one if there is none.

        Raises:
            ServerGone: No server within the connect timeout (after the end of a term: within seconds).
            NotAllowed, ProtocolViolation: It is not our server.
        """
        term = self._term
        if term is not None:
            return term
        with self._starting:
            return self._term or self._begin()

    def _begin(self) -> Term:
        if self.closed:
            raise ServerGone(f"this program closed its connection to {self.address}; call connect() again")
        limit_s = self.connect_timeout_s if self._ended is None else min(_RENEW_S, self.connect_timeout_s)
        control, attached = self._dial_first(limit_s)
        term = Term(attached, Printer(self.post, attached.get("run", "")))
        if self.outgoing is not None:
            self.outgoing.renew()
        self.advertise = attached.get("advertise") or ""
        keeper = Keeper(self, term, control)
        self.references.renew(term.epoch, keeper.ask)
        self._keeper = keeper
        self._term = term
        keeper.start()
        _finish.arrange()
        return term

    def _dial_first(self, limit_s: float) -> tuple[Connection, dict[str, Any]]:
        """Connect and introduce ourselves, again and again until `limit_s` is over."""
        body = {"new": self.describes.as_body(), "control": True}
        deadline_s = time.monotonic() + limit_s
        delay_s = 0.02
        while True:
            left_s = deadline_s - time.monotonic()
            try:
                control = self.dial(max(0.1, left_s))
                return control, control.attach(body)
            except Lost as lost:
                if left_s <= delay_s:
                    text = f"no server at {self.address}: {lost}. Is it running there (mpserve start)?"
                    raise ServerGone(text) from None
            self.pause(delay_s)
            delay_s = min(0.5, delay_s * 2)

    def dial(self, timeout_s: float | None = None) -> Connection:
        """Open an authenticated connection to the server; see `connection.dial`."""
        return dial(self.address, self.key, timeout_s or 10.0)

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond `close`.

        Raises:
            ServerGone: Another thread closed the cluster.
        """
        if self._closing.wait(seconds):
            raise ServerGone(f"this program closed its connection to {self.address} while a call waited")

    def check(self, lane: Lane) -> None:
        """Raise why the lane's term is over, if it is."""
        error = lane.term.over
        if error is not None:
            raise type(error)(error.text, **error.fields)

    def heard(self, lane: Lane) -> None:
        """Note that a thread was told of an error: if its term is over, its next call begins anew."""
        if lane.term.over is not None and self._own.lane is lane:
            self._own.lane = None

    def refused(self, term: Term, error: MpserveError) -> MpserveError:
        """Return what users see when the server no longer takes the session; ends the term."""
        if isinstance(error, SessionExpired) and error.fields.get("epoch", term.epoch) != term.epoch:
            error = ServerRestarted(
                f"the server at {self.address} was restarted and has none of its state: the queues, locks "
                f"and dicts of before are gone; open them again"
            )
        return self.end(term, error)

    def end(self, term: Term, error: MpserveError) -> MpserveError:
        """End a term: all its threads hear `error`, or the first reason there was. Returns a copy of that."""
        if term.over is None:
            term.over = error
            if self._term is term:
                self._ended = error
                self._term = None
                if self.outgoing is not None and not self.closed:  # else the keeper sends it with the goodbye
                    self.outgoing.session_over()
            term.printer.stop()
            for lane in term.living_lanes():
                lane.interrupt()
            self.wake()
        return type(term.over)(term.over.text, **term.over.fields)

    # -- for the keeper --------------------------------------------------------------------------

    def post(self, pieces: list[bytes]) -> None:
        """Have a frame sent on the control connection soon. Safe in finalisers."""
        keeper = self._keeper
        if keeper is not None:
            keeper.post(pieces)

    def wake(self) -> None:
        """Have the keeper look at what is due. Safe in finalisers and signal handlers."""
        keeper = self._keeper
        if keeper is not None:
            keeper.wake()

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Say goodbye: the server frees what this process held. Calls under way raise `ServerGone`."""
        if self.closed:
            return
        self.ending = True
        try:
            if self.unflushed and (self._term is not None or self._ended is None):
                self.flush()  # a fork that only put has not even begun its term yet
        finally:
            self.closed = True
            self._closing.set()
            term, keeper = self._term, self._keeper
            if term is not None and keeper is not None:
                self.end(term, ServerGone(f"this program closed its connection to {self.address}"))
                keeper.stop()
                term.printer.drain()
            if self.outgoing is not None:
                self.outgoing.session_over()

    def forked(self) -> None:
        """Begin anew: this process is a fresh fork. What other processes can see is left alone."""
        term, keeper = self._term, self._keeper
        if keeper is not None:
            keeper.disown()
        for lane in term.living_lanes() if term is not None else ():
            lane.disown()
        self._begin_anew()
        for buffer in tuple(self.unflushed):
            buffer.forget()
        if self.outgoing is not None:
            self.outgoing.forked()
        self.references.forked()


_ADOPT: Final = BY_NAME["cluster.adopt"]
_living: weakref.WeakSet[Session] = weakref.WeakSet()


def living_sessions() -> list[Session]:
    """Return the sessions of this process that were not closed."""
    return [session for session in list(_living) if not session.closed]


class _Finish:
    """Has `_close_all` run where atexit does not: in children of multiprocessing that end without it."""

    def __init__(self) -> None:
        self._pid = 0

    def arrange(self) -> None:
        """Arrange it for this process, if it uses multiprocessing."""
        util = sys.modules.get("multiprocessing.util")
        if util is None or self._pid == os.getpid():
            return
        self._finalize()
        # A child forgets all finalizers just before it begins its work, and then runs these.
        util.register_after_fork(self, _Finish._finalize)

    def _finalize(self) -> None:
        self._pid = os.getpid()
        sys.modules["multiprocessing.util"].Finalize(None, _close_all, exitpriority=-10)


_finish = _Finish()


def _close_all() -> None:
    for session in living_sessions():
        with suppress(MpserveError, Lost):
            session.close()


def _after_fork_in_child() -> None:
    close_inherited()
    for session in list(_living):
        session.forked()
    _finish.arrange()  # multiprocessing may have been imported after the parent's session began


def _after_fork_in_parent() -> None:
    for session in living_sessions():
        session.references.lend_all()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
