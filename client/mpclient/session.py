"""This process at one server: its session, renewed when it ends, and what belongs to the whole process.

RULES
* One `Session` for each server a process speaks to, shared by all its threads; each thread gets a `Lane` at
  its first call, and nothing is dialled before that but the control connection.
* A `Term` is a session as the server knows it: from the first ATTACH to its end. When a term ends early, each
  thread that took part in it hears why, once; its next call begins a new term. Where the server says what was
  held, threads that held nothing go on in a new term without a word, and the others are stale: see `stale`.
* In a forked child everything begins anew: the parent's sockets are closed there, without a word on them, and
  the first call opens a session of the child's own and takes references of its own.

      Session ──term──> Term (id, secret, epoch) ──> Keeper: the control connection, heartbeat, references
         └── threads' lanes ──> one Connection each
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.output.printer import Printer
from mpclient.transport.dialling import Lost, close_inherited
from mpclient.transport.keeper import Keeper
from mpclient.transport.lane import Lane
from mpclient.transport.living import Living
from mpclient.transport.stale import unless_done
from mpclient.transport.term import Describes, SessionBase, Term, again
from mpshared.errors import MpserveError, NoRoom, ServerGone, SessionExpired
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.output.outgoing import Outgoing
    from mpclient.transport.dialling import Connection
    from mpclient.transport.lane import Read
    from mpclient.transport.references import Handle
    from mpshared.ops import Op
    from mpshared.values import Blob

__all__ = ["Describes", "Session", "Term", "living_sessions"]


class _Own(threading.local):
    """What belongs to one thread."""

    lane: Lane | None = None
    before: Lane | None = None
    """Its lane in a term that is over, if it may have held something through that."""


class Session(SessionBase):
    """This process at one server. Threads may share it; so may forked children."""

    def _set_up(self) -> None:
        self.speaks_for: Sequence[str] = ()
        """Sessions of processes this one answers for: a supervisor's workers."""
        self.outgoing: Outgoing | None = None
        """What this process prints for programs; None in a process that prints for itself."""
        self.unflushed: set[Any] = set()
        """Buffered queues with items that the server has not seen."""
        self.ending = False
        """Nothing more will be asked: what goes wrong now has nobody else to be told to."""
        self._begin_anew()
        _living.add(self)

    def _begin_anew(self) -> None:
        self._forget_term()
        self._keeper: Keeper | None = None
        self._own = _Own()
        self._starting = threading.RLock()

    # -- calling ---------------------------------------------------------------------------------

    def call(
        self, op: Op, target: str, args: list[Any], blobs: Sequence[Blob] = (), read: Read | None = None
    ) -> Any:
        """Make one call over this thread's lane; see `Lane.call`."""
        if self.unflushed:
            self.flush()
        lane = None if self._stale.claims else self._own.lane
        if lane is None:
            return self.call_lane(op, target, args, blobs, read)
        try:
            return lane.call(op, target, args, blobs, read)
        except SessionExpired as err:
            self._go_on(lane, err, op, target, args)
        return self.call_lane(op, target, args, blobs, read)

    def call_lane(
        self, op: Op, target: str, args: list[Any], blobs: Sequence[Blob] = (), read: Read | None = None
    ) -> Any:
        """Make one call without sending first what buffered queues hold back; for those queues themselves."""
        if self._stale.claims:
            self._refuse_stale(op, target, args)
        lane = self._own.lane or self._open_lane(op, target, args)
        try:
            return lane.call(op, target, args, blobs, read)
        except SessionExpired as err:
            self._go_on(lane, err, op, target, args)
        return self.call_lane(op, target, args, blobs, read)

    def call_patiently(
        self, op: Op, target: str, args: list[Any], blobs: Sequence[Blob] = (), read: Read | None = None
    ) -> Any:
        """Make one call, again and again while the server cannot write its journal: its disk is full.

        For what is done behind a program's back: nobody is there who could try again, or could be told.

        Raises:
            ServerGone: The session is over, or this program closes it.
        """
        while True:
            try:
                return self.call(op, target, list(args), blobs, read)
            except NoRoom as err:
                if not err.fields.get("journal"):
                    raise
            self.pause(_NO_JOURNAL_S)

    # -- stale owners ----------------------------------------------------------------------------

    def _refuse_stale(self, op: Op, target: str, args: list[Any]) -> None:
        """Raise `StaleOwner` if this thread still thinks that it holds something, or releases such."""
        if self._own.lane is not None:
            self.heard(self._own.lane)
        before = self._own.before
        self._refuse_for([] if before is None else before.parts, op, target, args)

    def _go_on(self, lane: Lane, error: SessionExpired, op: Op, target: str, args: list[Any]) -> None:
        """Return if a call can be made again in a new session; else raise why not."""
        self.heard(lane)
        if not self._may_go_on(error):
            raise error
        self._refuse_stale(op, target, args)
        unless_done(error, op)

    def before_call(self) -> int:
        """Return the number before that of this thread's next call, for `take_back`.

        What buffered queues hold back is sent first: else those calls would come in between.
        """
        if self.unflushed:
            self.flush()
        return self.calls()

    def calls(self) -> int:
        """Return the number of this thread's last call, 0 if it made none."""
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

    def make(self, kind: str, handle: Handle) -> Any:
        """Return the live object for what stood in a value; see `mpclient.objects.make`."""
        from mpclient.objects import make  # noqa: PLC0415 - the import would be circular

        return make(kind, handle)

    def borrowed(self) -> Any:
        """Return the cluster that a value mentions, as its reader has it."""
        from mpclient.cluster import Cluster  # noqa: PLC0415 - the import would be circular

        return Cluster(self, borrowed=True)

    @property
    def id(self) -> str:
        """The session's id at the server; begins one if there is none."""
        return self.start().id

    @property
    def server_id(self) -> str:
        """The server's own id; the same for all addresses it has."""
        return self.start().server

    def connect_lane(self) -> None:
        """Connect this thread's lane before its first call, which then needs one round trip only."""
        (self._own.lane or self._new_lane()).connect()

    def _open_lane(self, op: Op, target: str, args: list[Any]) -> Lane:
        """Return a lane of this thread's own; raise `StaleOwner` if it may not make the call."""
        lane = self._new_lane()
        if self._stale.claims:  # of a term before, of which the server has told only now
            self._refuse_stale(op, target, args)
        return lane

    def _new_lane(self) -> Lane:
        lane = self._own.lane = Lane(self, self.start())
        return lane

    # -- terms -----------------------------------------------------------------------------------

    def start(self) -> Term:
        """Return the term under way; begin one if there is none.

        Raises:
            ServerGone: No server within the connect timeout (after the end of a term: within seconds); or no
                thread to keep the session.
            NotAllowed, ProtocolViolation: It is not our server.
        """
        term = self._term
        if term is not None:
            return term
        with self._starting:
            return self._term or self._begin()

    def _begin(self) -> Term:
        term, keeper = self._introduce(self._begin_with)
        self._keeper = keeper
        self._term = term
        try:
            keeper.start()
        except RuntimeError as err:  # the system gives no more threads
            keeper.close()
            text = f"this program has no thread to keep its session at {self.address}: {err}"
            raise self.end(term, ServerGone(text)) from err
        if self.closed:  # meanwhile: who did so has not seen this term
            raise self._leave(term, keeper)
        _finish.arrange()
        return term

    def _begin_with(self, control: Connection, attached: dict[str, Any]) -> tuple[Term, Keeper]:
        term = Term(attached, Printer(self.post, attached.get("run", "")))
        term.shortcut = control.shortcut(attached.get("shortcut"))
        if self.outgoing is not None:
            self.outgoing.renew()
        self.advertise = attached.get("advertise") or ""
        keeper = Keeper(self, term, control)
        try:
            self.references.renew(term.epoch, keeper.ask)
        except BaseException:
            keeper.close()
            raise
        return term, keeper

    def check(self, lane: Lane) -> None:
        """Raise why the lane or its term is over, if it is."""
        error = lane.term.over or lane.over
        if error is not None:
            raise again(error)

    def heard(self, lane: Lane) -> None:
        """Note that a thread was told of an error: if its term is over, its next call begins anew."""
        if lane.is_over and self._own.lane is lane:
            self._own.lane = None
            if lane.sent:
                self._own.before = lane

    def lane_over(self, lane: Lane, error: SessionExpired) -> MpserveError:
        """Note that the server closed one lane; returns a copy of the reason."""
        lane.over = error
        self._stale.note(lane.term, error)
        return again(error)

    def _break_off(self, term: Term) -> None:
        if self.outgoing is not None and not self.closed:  # else the keeper sends it with the goodbye
            self.outgoing.session_over()
        for lane in term.living_lanes():
            lane.interrupt()
        self.wake()

    # -- for the keeper --------------------------------------------------------------------------

    def post(self, pieces: list[bytes]) -> None:
        """Have a frame sent on the control connection soon. Safe in finalisers."""
        keeper = self._keeper
        if keeper is not None:
            keeper.post(pieces)

    def lane_ended(self, pieces: list[bytes]) -> None:
        """Have it made sure that the server hears of the end of a lane. Safe in finalisers."""
        keeper = self._keeper
        if keeper is not None:
            keeper.lane_ended(pieces)

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
                self._flush_at_end()  # a fork that only put has not even begun its term yet
        finally:
            self.closed = True
            self._closing.set()
            term, keeper = self._term, self._keeper
            if term is not None and keeper is not None:
                self._leave(term, keeper)
            self._own = _Own()  # the lanes of threads that live on, and their sockets
            if self.outgoing is not None:
                self.outgoing.session_over()

    def _leave(self, term: Term, keeper: Keeper) -> MpserveError:
        """Say goodbye in a term; return why it is over."""
        why = self.end(term, self._closed_here())
        keeper.stop()
        term.printer.drain()
        return why

    def _flush_at_end(self) -> None:
        for buffer in tuple(self.unflushed):
            if buffer.awaited:
                buffer.send()
            else:
                buffer.forget()

    def forked(self) -> None:
        """Begin anew: this process is a fresh fork. What other processes can see is left alone."""
        term, keeper = self._term, self._keeper
        if keeper is not None:
            keeper.close()
        for lane in term.living_lanes() if term is not None else ():
            lane.disown()
        self._begin_anew()
        for buffer in tuple(self.unflushed):
            buffer.forget()
        if self.outgoing is not None:
            self.outgoing.forked()
        self.references.forked()


_ADOPT: Final = BY_NAME["cluster.adopt"]
_NO_JOURNAL_S: Final = 0.25
"""Between two attempts while the server cannot write: as often as it tries itself."""
_living: Living[Session] = Living()


def living_sessions() -> list[Session]:
    """Return the sessions of this process that were not closed."""
    return [session for session in _living.all() if not session.closed]


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
    for session in _living.all():
        session.forked()
    _finish.arrange()  # multiprocessing may have been imported after the parent's session began


def _after_fork_in_parent() -> None:
    for session in living_sessions():
        session.references.lend_all()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
