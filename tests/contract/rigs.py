"""Two ways to use an engine, behind one face: what the contract suite is written against.

    rig = make_rig("memory", wired=True)      # or "later"; wired: through Dispatcher and OwnSide, as bytes
    alice = rig.program()                     # a session; alice.thread() is one of its lanes
    a = alice.thread()
    lock = rig.open(a, "lock")
    assert a.ask("lock.acquire", lock, None) is True
    waiting = rig.program().thread().call("lock.acquire", lock, None)
    assert not waiting.answered
    alice.die()                               # all its connections are lost, and grace is over
    assert waiting.value is True

RULES
* Looking at an answer lets a slow engine finish first; between two calls nothing needs to be done.
* After every look each object is validated and compared with one rebuilt from nothing but its records.
* A thread acknowledges, with its next call, the answers it has seen (`Pending.value` and the like).
* Kept answers must not change: those of direct rigs are encoded again at the end and compared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

from tests.contract.later_engine import LaterEngine
from tests.contract.replay import Replay

from mpserve.core.calls import Call, Lane, Session, SessionInfo
from mpserve.core.machine import Machine
from mpserve.dispatch.dispatcher import Dispatcher, Limits
from mpserve.dispatch.own import OwnSide
from mpserve.engines.base import Engine
from mpserve.engines.memory import MemoryEngine
from mpshared import errors
from mpshared.ops import BY_NAME, Role
from mpshared.values import Blob, size_bytes
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Control, FrameDecoder, Type

__all__ = ["GRACE_S", "RIGS", "TIMEOUT_S", "Pending", "Program", "Rig", "Thread", "make_rig"]

GRACE_S = 0.5
TIMEOUT_S = 30.0
RIGS = {
    f"{engine}{'-own' * wired}": (engine, wired) for engine in ("memory", "later") for wired in (False, True)
}
"""Name of a rig -> engine, and whether it is used through the dispatcher and our protocol."""


class Pending:
    """A call as its caller sees it."""

    def __init__(self, thread: Thread, name: str, number: int) -> None:
        self.thread = thread
        self.name = name
        self.number = number
        self.arrived: tuple[Any, Sequence[Blob], errors.MpserveError | None] | None = None
        self.seen = False

    def __repr__(self) -> str:
        return f"<{self.name} of {self.thread!r}: {self.arrived}>"

    def arrive(self, result: Any, out: Sequence[Blob], error: errors.MpserveError | None) -> None:
        if self.arrived is None:
            self.arrived = (result, tuple(out), error)
            return
        assert self.arrived[:2] == (result, tuple(out)), f"{self!r} was answered twice, differently"
        assert type(self.arrived[2]) is type(error)

    @property
    def answered(self) -> bool:
        self.thread.rig.settle()
        return self.arrived is not None

    def _look(self) -> tuple[Any, Sequence[Blob], errors.MpserveError | None]:
        assert self.answered, f"{self.name} is not answered"
        self.seen = True
        assert self.arrived is not None
        return self.arrived

    @property
    def value(self) -> Any:
        """The result, or its error raised."""
        result, _, error = self._look()
        if error is not None:
            raise error
        return result

    @property
    def out(self) -> list[Blob]:
        _ = self.value
        return list(self._look()[1])

    @property
    def error(self) -> errors.MpserveError | None:
        return self._look()[2]


class Thread(ABC):
    """One lane."""

    def __init__(self, program: Program, number: int) -> None:
        self.program = program
        self.rig = program.rig
        self.number = number
        self.calls: dict[int, Pending] = {}
        self.sent = 0
        self.acks = True
        """Acknowledge what was seen."""
        self.told = 0
        """What the server was told has arrived."""

    def __repr__(self) -> str:
        return f"<thread {self.number} of {self.program.id}>"

    @property
    def ack(self) -> int:
        """The last number up to which everything was seen; who asks tells the server."""
        acked = 0
        while self.acks and acked < self.sent and (acked + 1 not in self.calls or self.calls[acked + 1].seen):
            acked += 1
        self.told = acked
        return acked

    def call(self, name: str, target: str, *args: Any, blobs: Sequence[Blob] = ()) -> Pending:
        self.sent += 1
        pending = self.calls[self.sent] = Pending(self, name, self.sent)
        self.rig.operations.add(name)
        self.submit(pending, target, list(args), blobs)
        return pending

    def ask(self, name: str, target: str, *args: Any, blobs: Sequence[Blob] = ()) -> Any:
        return self.call(name, target, *args, blobs=blobs).value

    def out(self, name: str, target: str, *args: Any, blobs: Sequence[Blob] = ()) -> list[Blob]:
        return self.call(name, target, *args, blobs=blobs).out

    def fails(self, name: str, target: str, *args: Any, blobs: Sequence[Blob] = ()) -> errors.MpserveError:
        error = self.call(name, target, *args, blobs=blobs).error
        assert error is not None, f"{name} did not fail"
        return error

    @abstractmethod
    def submit(self, pending: Pending, target: str, args: list[Any], blobs: Sequence[Blob]) -> None: ...

    @abstractmethod
    def abandon(self, pending: Pending) -> None:
        """Give a call up, answered or not."""

    @abstractmethod
    def lose(self) -> None:
        """Lose the lane's connection."""

    @abstractmethod
    def back(self) -> None:
        """Have a connection again, and ask again for what has no answer."""

    @abstractmethod
    def end(self) -> None:
        """The thread is over."""


class Program(ABC):
    """One session."""

    id: str

    def __init__(self, rig: Rig, info: SessionInfo) -> None:
        self.rig = rig
        self.info = info
        self.threads: list[Thread] = []
        self._numbers = count(1)
        rig.programs.append(self)

    def thread(self) -> Thread:
        thread = self.make_thread(next(self._numbers))
        self.threads.append(thread)
        return thread

    @property
    def alive(self) -> bool:
        self.rig.settle()
        return self.rig.engine.find_session(self.id) is not None

    @abstractmethod
    def make_thread(self, number: int) -> Thread: ...

    @abstractmethod
    def beat(self, *speaks_for: str) -> None: ...

    @abstractmethod
    def goodbye(self) -> None: ...

    @abstractmethod
    def lose_all(self) -> None:
        """Lose every connection."""

    def die(self) -> None:
        """Lose every connection, for good."""
        self.lose_all()
        self.rig.advance(GRACE_S)
        assert not self.alive


class Rig(ABC):
    """An engine, a clock, and programs."""

    def __init__(self, engine: str, seed: int) -> None:
        idents = count(1)
        self.inner = MemoryEngine(
            lambda: f"id{next(idents)}", grace_s=GRACE_S, session_timeout_s=TIMEOUT_S, recording=True
        )
        self.later = LaterEngine(self.inner, seed) if engine == "later" else None
        self.engine: Engine = self.later or self.inner
        self.random = Random(seed)
        self.now_s = 1000.0
        self.programs: list[Program] = []
        self.replay = Replay()
        self.operations: set[str] = set()
        self.troubles: list[tuple[str, Exception]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        """What operators are told."""
        self.lost: list[str] = []
        """Sessions that ended without a goodbye."""
        self.hand_overs: list[float] = []
        """When a lock had a new holder for whom others waited."""
        self.engine.handed_over = lambda: self.hand_overs.append(self.now_s)

    def clock(self) -> float:
        return self.now_s

    def program(self, role: str = "program", **more: Any) -> Program:
        info = SessionInfo(**{"role": role, "python": (3, 11), "pid": len(self.programs) + 100, **more})
        return self.make_program(info)

    @abstractmethod
    def make_program(self, info: SessionInfo) -> Program: ...

    def thread(self, **more: Any) -> Thread:
        """Return the only thread of a new program."""
        return self.program(**more).thread()

    def open(
        self,
        thread: Thread,
        kind: str,
        name: str | None = None,
        blobs: Sequence[Blob] = (),
        fresh: bool = False,
        ttl_s: float | None = None,
        **settings: Any,
    ) -> str:
        """Open or create an object; return its ident."""
        found = thread.ask("cluster.open", "", kind, name, settings, fresh, ttl_s, blobs=blobs)
        assert found[1] == kind
        ident: str = found[0]
        return ident

    def machine(self, ident: str) -> Any:
        self.settle()
        return self.inner.catalogue.objects[ident]

    def exists(self, ident: str) -> bool:
        self.settle()
        return ident in self.inner.catalogue.objects

    def waiting(self, ident: str) -> int:
        machine: Machine = self.machine(ident)
        return sum(map(len, machine.lots()))

    def references(self, ident: str) -> int:
        self.settle()
        return self.inner.catalogue.references(ident)

    # -- steps ---------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let a slow engine finish what is due, and check everything."""
        while self.later is not None and self.later.step():
            self.carry()
        self.carry()
        self.check()

    @abstractmethod
    def carry(self) -> None:
        """Carry bytes to their readers."""

    def advance(self, seconds: float) -> None:
        """Let time pass, as a loop does that wakes up at each deadline."""
        self.settle()
        until_s = self.now_s + seconds
        while (deadline_s := self.engine.next_deadline_s()) is not None and deadline_s <= until_s:
            self.now_s = max(self.now_s, deadline_s)
            self.engine.advance(self.now_s)
            self.settle()
        self.now_s = until_s

    def check(self) -> None:
        """Validate every object, and compare all with what their records tell."""
        fx, catalogue = self.inner.fx, self.inner.catalogue
        unfinished = [*fx.answered, *fx.kept, *fx.ended, *fx.closed]
        assert not unfinished, "a turn was left unfinished"
        new, fx.records = fx.records, []
        self.replay.apply(new or ())
        catalogue.validate()
        outputs = [s.output._kept_bytes for s in catalogue.sessions if s.output is not None]
        kept = sum(s.kept_bytes for s in catalogue.sessions) + sum(outputs)
        fx.room.validate(catalogue.objects.values(), kept)
        for session in catalogue.sessions:
            assert session.waiting_bytes == _waiting_bytes(session), session
        assert catalogue.state() == self.replay.state(), "records do not tell all"
        for session in catalogue.sessions:
            for lane in session.lanes.values():
                running = lane.running
                assert running is None or running.waiter or running.answered or self.later, (
                    "a call was dropped"
                )

    def finish(self) -> None:
        """Check everything a last time, also that nothing went wrong unnoticed."""
        self.settle()
        assert not self.troubles, self.troubles
        self.check_short()

    def check_short(self) -> None:
        """Compare all objects with what the shortest records tell, which a compacted journal holds."""
        catalogue = self.inner.catalogue
        short = Replay()
        entries = [("", verb, args) for verb, args in catalogue.rebuild()]
        for ident, machine in catalogue.objects.items():
            entries += [(ident, verb, args) for verb, args in machine.rebuild()]
        short.apply(entries)
        assert short.state() == catalogue.state(), "the short records do not tell all"


# -- an engine and nothing else ----------------------------------------------------------------------


class DirectThread(Thread):
    program: DirectProgram
    rig: DirectRig

    def __init__(self, program: DirectProgram, number: int) -> None:
        super().__init__(program, number)
        self.lane: Lane = program.session.lane(number)
        self.rig.threads[self.lane] = self
        self.rig.engine.connected(program.session, self.rig.now_s)

    def submit(self, pending: Pending, target: str, args: list[Any], blobs: Sequence[Blob]) -> None:
        lane = self.lane
        assert not lane.session.ended, "a dead session cannot be heard"
        assert not lane.suspended, "a suspended lane cannot be heard"
        lane.settle(self.ack)
        call = Call(BY_NAME[pending.name], target, args, tuple(blobs), lane, pending.number)
        lane.admit(call)
        if lane.running is not None:
            lane.wait_behind(call)
            return
        lane.running = call
        self.rig.engine.submit(call, self.rig.now_s)

    def abandon(self, pending: Pending) -> None:
        pending.seen = True
        lane, call = self.lane, self.lane.find(pending.number)
        assert call is not None
        lane.forget(pending.number)
        if lane.drop(call):
            return
        under_way = lane.running is call
        if under_way:
            lane.running = None
        self.rig.engine.abandon(call, self.rig.now_s)
        if under_way and (following := lane.next_call()) is not None:
            self.rig.engine.submit(following, self.rig.now_s)

    def lose(self) -> None:
        self.rig.engine.disconnected(self.program.session, [self.lane], self.rig.now_s)

    def back(self) -> None:
        self.rig.engine.connected(self.program.session, self.rig.now_s)
        self.rig.engine.resume(self.lane, self.rig.now_s)

    def end(self) -> None:
        self.lane.settle(self.ack)
        self.rig.engine.close_lane(self.lane, self.rig.now_s)
        self.rig.engine.disconnected(self.program.session, [], self.rig.now_s)


class DirectProgram(Program):
    rig: DirectRig

    def __init__(self, rig: DirectRig, info: SessionInfo) -> None:
        super().__init__(rig, info)
        self.id = f"s{len(rig.programs)}"
        self.session: Session = rig.engine.start_session(self.id, info, "secret", rig.now_s)
        rig.engine.connected(self.session, rig.now_s)  # the control

    def make_thread(self, number: int) -> Thread:
        return DirectThread(self, number)

    def beat(self, *speaks_for: str) -> None:
        self.rig.engine.heard(self.session, speaks_for, self.rig.now_s)

    def goodbye(self) -> None:
        for thread in self.threads:
            assert isinstance(thread, DirectThread)
            thread.lane.settle(thread.ack)
        self.rig.engine.end_session(self.session, self.rig.now_s)

    def lose_all(self) -> None:
        lanes = list(self.session.lanes.values())
        while self.session.connections:
            self.rig.engine.disconnected(self.session, lanes, self.rig.now_s)
            lanes = []


class DirectRig(Rig):
    """Calls go straight into the engine."""

    def __init__(self, engine: str, seed: int) -> None:
        super().__init__(engine, seed)
        self.threads: dict[Lane, DirectThread] = {}
        self._kept: list[tuple[Call, list[bytes]]] = []
        self.engine.deliver = self._deliver
        self.engine.session_ended = lambda session: self.lost.append(session.id)
        self.engine.tell = lambda event, fields: self.events.append((event, fields))
        self.engine.trouble = lambda what, error: self.troubles.append((what, error))

    def make_program(self, info: SessionInfo) -> Program:
        return DirectProgram(self, info)

    def _deliver(self, call: Call) -> None:
        lane = call.lane
        assert lane.running is call, "an answer that nobody waits for"
        assert not lane.session.ended, "an answer for a session that ended"
        assert call.answered
        assert call.waiter is None, "answered, and still in a line"
        pending = self.threads[lane].calls[call.number]
        assert pending.arrived is None, "answered twice"
        if call.error is not None:
            pending.arrive(None, (), call.error)
        else:
            encoded = frames.encode_reply(0, 0, call.result, call.out)
            self._kept.append((call, encoded))
            told = decoded(encoded)
            assert isinstance(told, frames.Reply)
            pending.arrive(told.result, told.blobs, None)
        following = lane.finish(call)
        if following is not None:
            self.engine.submit(following, self.now_s)

    def carry(self) -> None:
        """Nothing is carried: answers are objects."""

    def finish(self) -> None:
        super().finish()
        for call, before in self._kept:
            assert frames.encode_reply(0, 0, call.result, call.out) == before, (
                f"{call.op.name}'s answer changed"
            )


def decoded(pieces: Sequence[bytes]) -> frames.Event | None:
    """Return what a client would read."""
    decoder = FrameDecoder(1 << 30)
    decoder.receive_data(b"".join(pieces))
    return decoder.next_event()


# -- through the dispatcher, as bytes ----------------------------------------------------------------


class Wire:
    """One connection: the server's side, and the client's end of the stream. No sockets."""

    label = "test"

    def __init__(self, rig: WiredRig) -> None:
        self.rig = rig
        self.side = OwnSide(rig.dispatcher, self, rig.access)
        self.decoder = FrameDecoder(1 << 30)
        self.controls: list[Control] = []
        self.errors: list[errors.MpserveError] = []
        """Told about the whole connection."""
        self.answers: list[frames.Reply | frames.Failed] = []
        self.reason = ""
        self.closing = self.closed = False
        self.full = False
        self._out: list[bytes] = []
        rig.wires.append(self)

    # what the server's side uses
    def send(self, pieces: Sequence[bytes]) -> None:
        if not self.closing:
            self._out.extend(pieces)

    def close(self, reason: str = "") -> None:
        self.closing, self.reason = True, reason

    def dialled(self) -> str:
        return "test"

    # what tests use
    def say(self, pieces: Sequence[bytes]) -> None:
        """Send a frame, in two parts cut anywhere."""
        data = b"".join(pieces)
        cut = self.rig.random.randrange(len(data) + 1)
        for part in (data[:cut], data[cut:]):
            if part and not self.closing:
                self.side.receive_data(part)

    def control(self, kind: Type, lane: int = 0, number: int = 0, ack: int = 0, body: Any = None) -> None:
        self.say(frames.encode_control(kind, lane, number, ack, body))

    def attach(self, body: dict[str, Any]) -> dict[str, Any]:
        before = len(self.controls)
        self.control(Type.ATTACH, body=body)
        self.carry()
        assert self.controls[before:], f"not attached: {self.errors}"
        answer: dict[str, Any] = self.controls[before].body
        return answer

    def carry(self) -> list[frames.Reply | frames.Failed]:
        """Read all that was sent; return the answers."""
        self.decoder.receive_data(b"".join(self._out))
        self._out.clear()
        answers: list[frames.Reply | frames.Failed] = []
        while (event := self.decoder.next_event()) is not None:
            if isinstance(event, Control):
                self.controls.append(event)
            elif isinstance(event, frames.Failed) and event.number == 0:
                self.errors.append(errors.make(event.code, event.text, event.fields))
            else:
                assert isinstance(event, frames.Reply | frames.Failed)
                answers.append(event)
        self.answers += answers
        if self.closing:
            self.cut()
        elif not self.closed:
            self.side.drained()
        return answers

    def cut(self) -> None:
        """Lose the connection."""
        if not self.closed:
            self.closed = self.closing = True
            self._out.clear()
            self.side.closed()


class WiredThread(Thread):
    program: WiredProgram
    rig: WiredRig

    def __init__(self, program: WiredProgram, number: int) -> None:
        super().__init__(program, number)
        self._frames: dict[int, tuple[int, str, list[Any], Sequence[Blob]]] = {}
        self.wire = self.attach()

    def attach(self) -> Wire:
        program = self.program
        wire = Wire(self.rig)
        body = {"session": program.id, "secret": program.secret, "lane": self.number, "ack": self.ack}
        wire.attach(body)
        return wire

    def submit(self, pending: Pending, target: str, args: list[Any], blobs: Sequence[Blob]) -> None:
        self._frames[pending.number] = (BY_NAME[pending.name].code, target, args, blobs)
        self.send(pending.number)

    def send(self, number: int) -> None:
        """Send a call, for the first time or again."""
        op, target, args, blobs = self._frames[number]
        self.wire.say(frames.encode_call(op, self.number, number, self.ack, target, args, blobs))

    def abandon(self, pending: Pending) -> None:
        pending.seen = True
        self.wire.control(Type.ABANDON, self.number, pending.number)

    def lose(self) -> None:
        self.wire.cut()

    def back(self) -> None:
        self.wire = self.attach()
        for number, pending in self.calls.items():
            if pending.arrived is None and not pending.seen:
                self.send(number)

    def end(self) -> None:
        self.wire.control(Type.LANE_CLOSED, self.number, ack=self.ack)
        self.wire.cut()


class WiredProgram(Program):
    rig: WiredRig

    def __init__(self, rig: WiredRig, info: SessionInfo) -> None:
        super().__init__(rig, info)
        self.control = Wire(rig)
        described = {name: getattr(info, name) for name in SessionInfo.__slots__}
        told = self.control.attach({"new": {**described, "python": list(info.python)}})
        self.id, self.secret = told["session"], told["secret"]

    def make_thread(self, number: int) -> Thread:
        return WiredThread(self, number)

    @property
    def wires(self) -> list[Wire]:
        return [self.control, *(thread.wire for thread in self.threads if isinstance(thread, WiredThread))]

    def beat(self, *speaks_for: str) -> None:
        self.control.control(Type.HEARTBEAT, body=list(speaks_for))

    def goodbye(self) -> None:
        for thread in self.threads:
            self.control.control(Type.ACK, thread.number, ack=thread.ack)
        self.control.control(Type.GOODBYE, body="bye")
        for wire in self.wires:
            wire.carry()

    def lose_all(self) -> None:
        for wire in self.wires:
            wire.cut()


class WiredRig(Rig):
    """Calls go through `Dispatcher` and `OwnSide`, as the bytes of our protocol."""

    def __init__(self, engine: str, seed: int, limits: Limits | None = None) -> None:
        super().__init__(engine, seed)
        self.wires: list[Wire] = []
        self.access: Role = "client"
        """Whose key the connections to come have."""
        self.log = Log()
        self.stopped: list[str] = []
        self.dispatcher = Dispatcher(
            self.engine,
            self.clock,
            self.log,
            limits=replace(limits or Limits(), session_timeout_s=TIMEOUT_S, grace_s=GRACE_S),
            stop=self.stopped.append,
            bounds=self.inner.bounds,
        )

    def make_program(self, info: SessionInfo) -> Program:
        return WiredProgram(self, info)

    def thread(self, **more: Any) -> WiredThread:
        """Return the only thread of a new program."""
        thread = super().thread(**more)
        assert isinstance(thread, WiredThread)
        return thread

    def carry(self) -> None:
        for program in self.programs:
            for thread in program.threads:
                assert isinstance(thread, WiredThread)
                for answer in thread.wire.carry():
                    assert answer.lane == thread.number
                    if answer.number in thread.calls:  # else a test said it by hand
                        self._arrive(thread.calls[answer.number], answer)
            assert isinstance(program, WiredProgram)
            program.control.carry()
        self.events = [line for line in self.log.lines if line[0].startswith("lock.")]
        self.lost = self.log.about("session.lost")
        self.troubles = [
            (str(fields["what"]), fields["exc_info"]) for e, fields in self.log.lines if e == "call.failed"
        ]

    def _arrive(self, pending: Pending, answer: frames.Reply | frames.Failed) -> None:
        if isinstance(answer, frames.Failed):
            pending.arrive(None, (), errors.make(answer.code, answer.text, answer.fields))
        else:
            pending.arrive(answer.result, answer.blobs, None)


def _waiting_bytes(session: Session) -> int:
    """Return the size of the values of a session's calls that wait."""
    lanes = session.lanes.values()
    parked = [lane.running for lane in lanes if lane.running is not None and lane.running.waiter is not None]
    waiting = parked + [call for lane in lanes for call in lane.pending]
    return sum(size_bytes(blob) for call in waiting for blob in call.blobs)


class Log:
    """A logger that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    debug = warning = error = info

    def about(self, event: str) -> list[str]:
        """Return the sessions of which an event was logged."""
        return [fields["session"] for name, fields in self.lines if name == event]

    def bind(self, **_fields: object) -> Log:
        return self


def make_rig(engine: str, *, wired: bool, seed: int = 1) -> Rig:
    """Make a rig of that name in `RIGS`."""
    return WiredRig(engine, seed) if wired else DirectRig(engine, seed)
