"""This program at one server, driven by asyncio: one connection, a lane for each task.

    Session ──term──> Term ──> Line: the connection     (heartbeat, references, output: lane 0)
       └── tasks' lanes ──────────'

RULES
* Everything runs in the loop that it was made in, except dialling, which waits in a thread of its own.
* The end of a task is the end of its lane: what belongs to the task alone is handed on.
* What must not be lost with the connection (abandoned calls, ended lanes) is told again after a reconnect;
  see `mpclient.transport.unsure`.
* A loop that is blocked for longer than the server's session timeout is a silent one: the server then takes
  this program for dead.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from mpclient import objects
from mpclient.aio.lane import Lane
from mpclient.aio.line import Line
from mpclient.aio.tasks import TaskLanes, this_task
from mpclient.aio.threads import in_thread
from mpclient.output.printer import WAIT_S, Printer
from mpclient.transport.dialling import HANDSHAKE_S, Connection, Lost, check_attached
from mpclient.transport.errands import GATHER_S, Errands
from mpclient.transport.patience import AGAIN_S, STOP_S, Parting, Patience
from mpclient.transport.stale import unless_done
from mpclient.transport.term import SessionBase, Term, again
from mpshared.errors import MpserveError, NotSupported, ProtocolViolation, ServerGone, SessionExpired, make
from mpshared.wire.own.frames import Control, Failed, Reply, Type, encode_control

if TYPE_CHECKING:
    from mpclient.transport.lane import Read
    from mpclient.transport.references import Handle
    from mpshared.ops import Op
    from mpshared.values import Blob
    from mpshared.wire.own.frames import Event

__all__ = ["Session"]


class Session(SessionBase):
    """See the file's beginning. Made in a running loop."""

    def _set_up(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lanes = TaskLanes()
        self._ending: set[Lane] = set()
        """Lanes of tasks that have ended, with calls that go on."""
        self._starting = asyncio.Lock()
        self._server_id = ""
        self._line: Line | None = None
        self._errands: Errands | None = None
        self._printer: Printer | None = None
        self._output_asked: tuple[int, asyncio.Future[None]] | None = None
        """Before the goodbye: the call that tells how much is still to be printed."""
        self._mending: asyncio.Task[None] | None = None
        self._attaching: deque[int] = deque()
        """Lanes whose ATTACH has no answer yet, in order; 0: one that is not interesting."""
        self._beat: asyncio.TimerHandle | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._readers: list[tuple[int, asyncio.Future[None]]] = []
        """Callers that wait until a number is printed."""

    # -- calling ---------------------------------------------------------------------------------

    async def call(
        self,
        op: Op,
        target: str,
        args: list[Any],
        blobs: Sequence[Blob] = (),
        read: Read | None = None,
        *,
        finish: bool = False,
    ) -> Any:
        """Make one call over this task's lane; see `Lane.call`."""
        if self._line is not None and self._line.full and not finish:  # what is to be finished is small
            await self._line.room()  # before all else: the session may be over then
        lane = self._own_lane() or await self._open_lane()
        if self._stale.claims:
            self._refuse_for(self._lanes.before(), op, target, args)
        try:
            return await lane.call(op, target, args, blobs, read, finish=finish)
        except SessionExpired as err:
            self._lanes.leave(lane)
            if not self._may_go_on(err):
                raise
            self._refuse_for(self._lanes.before(), op, target, args)
            unless_done(err, op)
        except ServerGone:
            self._lanes.leave(lane)
            raise
        return await self.call(op, target, args, blobs, read, finish=finish)

    def _own_lane(self) -> Lane | None:
        """Return this task's lane, if it has one; tell it, once, that its term is over if it must know."""
        lane = self._lanes.find()
        if lane is None or (over := lane.term.over) is None:
            return lane
        self._lanes.leave(lane)
        if isinstance(over, SessionExpired) and self._may_go_on(over):
            return None
        raise again(over)

    async def _open_lane(self) -> Lane:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(f"this connection to {self.address} belongs to another event loop")
        term = await self.start()
        lane = Lane(self, term)
        self._lanes.enter(lane)
        this_task().add_done_callback(self._task_done)
        if self._line is None:
            lane.suspend()
        else:
            self._attaching.append(0)  # a new lane begins with 1, whatever the answer says
            self.send(encode_control(Type.ATTACH, body=term.body(lane.number)))
        return lane

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        lane = self._lanes.pop(task)
        if lane is not None:
            self._ending.add(lane)
            lane.close()

    # -- references ------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The session's id at the server; "" while there is none."""
        return "" if self._term is None else self._term.id

    @property
    def server_id(self) -> str:
        """The server's own id; "" before the first call."""
        return self._server_id

    def adopt(self, ident: str) -> Handle:
        """Return the handle of an object that a value mentions.

        Raises:
            NotSupported: The server was not told of the mention: it would have to be asked, and there is no
                waiting while a value is opened.
        """
        handle = self.references.find(ident)
        if handle is None:
            raise NotSupported(
                f"a value mentions the shared object {ident} in a way that the server does not see: its "
                f"proxy was pickled by the program itself; put the proxy itself into the value"
            )
        return handle

    def make(self, kind: str, handle: Handle) -> Any:
        """Return the live object for what stood in a value."""
        from mpclient.aio.kinds import find_class  # noqa: PLC0415 - the import would be circular

        return objects.make(kind, handle, find_class)

    def borrowed(self) -> Any:
        """Return the cluster that a value mentions."""
        from mpclient.aio.cluster import Cluster  # noqa: PLC0415 - the import would be circular

        return Cluster(self, borrowed=True)

    def wake(self) -> None:
        """Have the server told, soon, what was lent and dropped. Safe in finalisers, in any thread."""
        self._soon(self._gather)

    def _soon(self, function: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return  # the loop is closed, and nothing can be told any more

    def _gather(self) -> None:
        if self._gathering is None and self.references.waiting and not self.closed:
            self._gathering = self._loop.call_later(GATHER_S, self._tell_references)

    def _tell_references(self) -> None:
        self._gathering = None
        if self._errands is not None and self._line is not None:
            self._errands.tell_references()
            self._gather()

    # -- terms -----------------------------------------------------------------------------------

    async def start(self) -> Term:
        """Return the term under way; begin one if there is none.

        Raises:
            ServerGone: No server within the connect timeout (after the end of a term: within seconds).
            NotAllowed, ProtocolViolation: It is not our server.
        """
        term = self._term
        if term is not None:
            return term
        async with self._starting:
            term = self._term
            return await self._begin() if term is None else term

    async def _begin(self) -> Term:
        control, term, errands = await in_thread(lambda: self._introduce(self._begin_with), _close_first)
        self._line = await self._open(control)
        if self.closed:  # meanwhile: who did so has not seen this term
            self._line.close()
            raise self._closed_here()
        errands.send = self.send
        self._printer = term.printer
        self._server_id = term.server
        self._errands = errands
        self._attaching.clear()
        self._term = term
        self._line.begin()
        self._heartbeat(term)
        return term

    def _begin_with(self, control: Connection, attached: dict[str, Any]) -> tuple[Connection, Term, Errands]:
        """Do what waits, in a thread."""
        term = Term(attached, Printer(partial(self._soon, self._printed_more), attached.get("run", "")))
        errands = Errands(self.references, control.send)
        self.advertise = attached.get("advertise") or ""
        self.references.renew(term.epoch, lambda op, args: errands.ask(op, args, control.next_event))
        return control, term, errands

    def _break_off(self, term: Term) -> None:
        if self._beat is not None:
            self._beat.cancel()
        for lane in term.living_lanes():
            assert term.over is not None
            lane.fail(term.over)
        self._ending.clear()
        self._let_readers_go(math.inf)
        if self._line is not None and not self.closed:
            self._line.close()
            self._line = None

    # -- frames ----------------------------------------------------------------------------------

    def send(self, pieces: list[bytes]) -> None:
        """Write a frame, if there is a connection; after a reconnect everything is sent again."""
        if self._line is not None:
            self._line.send(pieces)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Reply | Failed):
            self._answered(event)
        elif isinstance(event, Control) and event.type is Type.OUTPUT and self._printer is not None:
            self._printer.take(*event.body)
        elif isinstance(event, Control) and event.type is Type.ATTACHED and self._attaching:
            lane = self._lane(self._attaching.popleft())
            if lane is not None and self._errands is not None:
                last = check_attached(event.body).get("last", 0)
                lane.agree(last, self._errands.unsure.take_abandoned(lane.number))

    def _answered(self, answer: Reply | Failed) -> None:
        if isinstance(answer, Failed) and answer.number == 0:
            self._refused(answer)
        elif answer.lane:
            lane = self._lane(answer.lane)
            if lane is not None:
                lane.answered(answer)
        elif self._errands is not None:
            self._errands.answered(answer)
            if self._output_asked is not None and self._output_asked[0] == answer.number:
                self._output_asked[1].set_result(None)

    def _refused(self, answer: Failed) -> None:
        """Hear that the server does not take a lane, or (lane 0) the session any more."""
        if answer.lane:
            if not self._attaching:
                raise ProtocolViolation(f"the server refused lane {answer.lane}, which it had taken")
            self._attaching.popleft()
            lane = self._lane(answer.lane)
            if lane is not None:
                lane.refused(answer)
        elif self._term is not None:
            self.refused(self._term, make(answer.code, answer.text, answer.fields))

    def _lane(self, number: int) -> Lane | None:
        found = self._term.lanes.get(number) if self._term is not None else None
        lane = None if found is None else found()
        return lane if isinstance(lane, Lane) else None

    # -- what the server must hear of ------------------------------------------------------------

    def abandoned(self, lane: Lane, number: int) -> None:
        """Tell the server that nobody waits for the answer to a call."""
        self._tell(encode_control(Type.ABANDON, lane.number, number), lane, number)

    def lane_closed(self, lane: Lane) -> None:
        """Tell the server that a task has ended."""
        self._ending.discard(lane)
        if lane.term.over is None:
            self._tell(encode_control(Type.LANE_CLOSED, lane.number, ack=lane.settled), lane)

    def _tell(self, frame: list[bytes], lane: Lane, abandoned: int = 0) -> None:
        assert self._errands is not None
        self._errands.tell(frame, lane.number, abandoned)

    def _heartbeat(self, term: Term) -> None:
        if term.over is not None:
            return
        for lane in term.living_lanes():
            if lane.settled > lane.told:
                self.send(encode_control(Type.ACK, lane.number, ack=lane.settled))
                lane.told = lane.settled
        self.send(encode_control(Type.HEARTBEAT, body=[]))
        self._beat = self._loop.call_later(term.beat_s, self._heartbeat, term)

    # -- output ----------------------------------------------------------------------------------

    async def printed(self, number: int) -> None:
        """Wait until entry `number` of what workers print is printed, as `Printer.wait` does."""
        printer = self._printer
        if printer is None or not printer.must_wait(number):
            return
        reader = self._loop.create_future()
        self._readers.append((number, reader))
        try:
            async with asyncio.timeout(WAIT_S):
                await reader
        except TimeoutError:
            printer.held_up = True

    def _printed_more(self, pieces: list[bytes]) -> None:
        """Tell the server, and callers, how far the printer is."""
        self.send(pieces)
        self._let_readers_go(self._printer.printed if self._printer is not None else 0)

    def _let_readers_go(self, printed: float) -> None:
        for number, reader in self._readers:
            if number <= printed and not reader.done():
                reader.set_result(None)
        self._readers = [(number, reader) for number, reader in self._readers if not reader.done()]

    # -- when the connection is lost -------------------------------------------------------------

    def _lost(self, line: Line, error: Lost | MpserveError) -> None:
        term = self._term
        if line is not self._line or term is None:
            return
        self._line = None
        if isinstance(error, MpserveError):
            self.refused(term, error)
            return
        self._attaching.clear()
        for lane in term.living_lanes():
            lane.suspend()
        self._mending = self._loop.create_task(self._mend(term, error), name="mpserve-mend")

    async def _mend(self, term: Term, lost: Lost) -> None:
        """Attach again, until it succeeds or patience ends (the session then is over)."""
        patience = Patience(self, term)
        try:
            while term.over is None:
                await asyncio.sleep(patience.delay_s(lost))
                try:
                    attached = await self._reopen(term, HANDSHAKE_S)
                except Lost as err:
                    lost = err
                except MpserveError as err:
                    patience.over()  # it is there, and does not take the session any more
                    self.refused(term, err)
                else:
                    patience.over()
                    return self._go_on(term, attached)
        except MpserveError:
            return None  # it was patience that ended
        except Exception as err:
            self.end(term, ServerGone(f"the connection to {self.address} is lost for good ({err!r})"))
            raise

    async def _reopen(self, term: Term, limit_s: float) -> dict[str, Any]:
        """Open a new connection; return what the server says of it."""

        def attach() -> tuple[Connection, dict[str, Any]]:
            control = self.dial(limit_s)
            return control, control.attach(term.body(0), limit_s)

        control, attached = await in_thread(attach, _close_first)
        self._line = await self._open(control)
        return attached

    async def _open(self, control: Connection) -> Line:
        return await Line(control, self._hear, self._lost).open()

    def _tell_again(self, term: Term, attached: dict[str, Any]) -> Line:
        """Tell what may have been lost with the connection before; return the new one."""
        assert self._errands is not None
        assert self._line is not None
        term.printer.resume(attached.get("run", ""))
        self._errands.send_again()
        return self._line

    def _go_on(self, term: Term, attached: dict[str, Any]) -> None:
        if term.over is not None:
            return
        line = self._tell_again(term, attached)
        for lane in term.living_lanes():
            lane.told = 0
            if lane.closed:
                continue
            self._attaching.append(lane.number)
            self.send(encode_control(Type.ATTACH, body=term.body(lane.number)))
        line.begin()

    # -- the end ---------------------------------------------------------------------------------

    async def close(self) -> None:
        """Say goodbye: the server frees what this program held. Calls under way raise `ServerGone`."""
        if self.closed:
            return
        self.closed = True
        self._closing.set()
        term = self._term
        if term is None:
            return
        printer = term.printer
        lanes = term.living_lanes()
        self.end(term, self._closed_here())
        if self._mending is not None:
            self._mending.cancel()
        await self._part(term, lanes, printer)
        await in_thread(printer.drain)

    async def _part(self, term: Term, lanes: list[Lane], printer: Printer) -> None:
        """Say goodbye until the server has heard it, or there is no use in another attempt."""
        parting = Parting(term)
        with suppress(Lost, MpserveError):  # the server is gone, or takes the session no more
            if self._line is None:
                await self._attach_again(term, parting)
            while not (await self._say_goodbye(lanes, printer) or parting.is_vain()):
                await self._attach_again(term, parting)
        self._line = None

    async def _attach_again(self, term: Term, parting: Parting) -> None:
        """Attach, as often as that takes; raise `Lost` when it is vain."""
        while True:
            try:
                attached = await self._reopen(term, parting.left_s)
                break
            except Lost as lost:
                if parting.is_vain(lost):
                    raise
            await asyncio.sleep(AGAIN_S)
        self._tell_again(term, attached).begin()

    async def _say_goodbye(self, lanes: list[Lane], printer: Printer) -> bool:
        """Leave in order; return whether the server has heard that."""
        line = self._line
        assert line is not None
        try:
            for lane in lanes:
                line.send(encode_control(Type.ACK, lane.number, ack=lane.settled))
            if self._errands is not None:
                self._errands.tell_lent()
                if printer.used:
                    await self._print_rest(self._errands, printer)
            line.send(encode_control(Type.GOODBYE, body="bye"))
            await asyncio.wait([line.closed], timeout=STOP_S)
        finally:
            line.close()
        return line.is_answered

    async def _print_rest(self, errands: Errands, printer: Printer) -> None:
        """Have everything printed that workers have printed for this program, for as long as that goes on."""
        self._output_asked = errands.ask_output(), self._loop.create_future()
        await asyncio.wait([self._output_asked[1]], timeout=WAIT_S)
        printed = -1
        while printer.printed < errands.named and printed != printer.printed:
            printed = printer.printed
            await self.printed(errands.named)


def _close_first(result: tuple[Any, ...]) -> None:
    result[0].close()
