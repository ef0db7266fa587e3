"""A rig whose calls go through the dispatcher, as the bytes of our protocol; see `rigs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.contract.rigs import GRACE_S, TIMEOUT_S, Pending, Program, Rig, Thread

from mpserve.core.calls import SessionInfo
from mpserve.dispatch.dispatcher import Dispatcher, Limits
from mpserve.dispatch.own import OwnSide
from mpshared import errors
from mpshared.ops import BY_NAME, Role
from mpshared.values import Blob
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Control, FrameDecoder, Type

__all__ = ["Log", "Wire", "WiredProgram", "WiredRig", "WiredThread"]


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
