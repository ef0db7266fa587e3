"""A rig whose calls go straight into the engine; see `rigs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.contract.rigs import Pending, Program, Rig, Thread

from mpserve.core.calls import Call, Lane, Session, SessionInfo
from mpshared.ops import BY_NAME
from mpshared.values import Blob
from mpshared.wire.own import frames
from mpshared.wire.own.frames import FrameDecoder

__all__ = ["DirectProgram", "DirectRig", "DirectThread"]


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
        following = lane.next_call() if lane.running is call else None
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
