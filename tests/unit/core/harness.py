"""A small world for tests of the core: sessions, lanes, objects, and a clock that the test moves.

    world = World()
    lock = world.add(Lock, name="door")
    alice, bob = world.lane(), world.lane()   # two sessions, one lane each; lane(session) adds a thread
    assert world.ask(alice, lock, "acquire", None) is True
    waiting = world.call(bob, lock, "acquire", None)
    assert waiting.waiter                      # parked
    world.end_session(alice.session)
    assert waiting.result is True

RULES
* After every step each object is validated, and compared with a shadow made from nothing but its records.
* `ask` takes its answer along, as a client does that goes on; the answer of `call` stays unsettled until
  `arrived`, or until the lane's next call: that is what a session's end undoes.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any, TypeVar, cast

from mpserve.core.calls import Call, Lane, Session, SessionInfo
from mpserve.core.deadlocks import Deadlocks
from mpserve.core.effects import Effects, Record
from mpserve.core.hall import Hall
from mpserve.core.hosts import Hosts
from mpserve.core.house import House
from mpserve.core.machine import Machine
from mpserve.core.sessions import Sessions
from mpshared.bunch import Bunch, odd_ones
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME, check_args
from mpshared.values import Blob

__all__ = ["World"]

M = TypeVar("M", bound=Machine)


def as_they_come(blobs: Sequence[Blob]) -> Sequence[Blob]:
    """Return values as the wire brings them: some together, as a bunch; here those whose number is even."""
    if len(blobs) < 2 or len(blobs) % 2 or odd_ones(blobs):
        return blobs
    values = [bytes(blob) for blob in blobs]  # type: ignore[arg-type]  # they are plain
    return Bunch(b"".join(values), [*map(len, values)])


class World:
    """Everything an engine has, without its catalogue."""

    def __init__(self) -> None:
        self.fx = Effects(recording=True)
        self.machines: dict[str, Machine] = {}
        self.shadows: dict[str, Machine] = {}
        self.sessions: dict[str, Session] = {}
        self.registry = Sessions()
        self.house = self.new_house()
        self.shadow_house = self.new_house()
        self.records: list[Record] = []
        """All records since the beginning, oldest first."""
        self.mentions: dict[str, int] = {}
        """Stored mentions by ident, as `Effects.keep` counted them."""
        self._shadow_fx = Effects()
        self._lanes: Counter[str] = Counter()
        self._numbers = count()
        self._answered: set[int] = set()
        self._calls: list[Call] = []

    def new_house(self) -> House:
        registry = self.registry
        return House(hosts=Hosts(registry), hall=Hall(registry), deadlocks=Deadlocks(registry))

    # -- making things -------------------------------------------------------------------------------

    def add(self, of: type[M], *blobs: Blob, name: str | None = None, **settings: Any) -> M:
        """Create an object from its class, settings and initial values."""
        ident = f"{of.kind}-{next(self._numbers)}"
        machine = of(ident, name, settings)
        self.machines[ident] = machine
        self.shadows[ident] = of(ident, name, dict(settings))
        machine.bind(self.machines)
        machine.enter(self.house)
        self.shadows[ident].bind(self.shadows)
        self.shadows[ident].enter(self.shadow_house)
        machine.setup(self.fx, list(blobs))
        self.step()
        return machine

    def session(self, role: str = "program", **more: Any) -> Session:
        """Begin a session; `role` "stock" for a standard-library connection."""
        info = SessionInfo(role=role, **more)
        session = Session(f"s{len(self.sessions)}", info, now_s=self.fx.now_s)
        self.sessions[session.id] = self.registry._live[session.id] = session
        self.house.hall.arrive(session)
        return session

    def lane(self, session: Session | None = None, role: str = "program", **more: Any) -> Lane:
        """Begin a lane: of a new session, or one more of the given one."""
        session = session or self.session(role, **more)
        self._lanes[session.id] += 1
        return session.lane(self._lanes[session.id])

    # -- calls ---------------------------------------------------------------------------------------

    def call(self, lane: Lane, machine: Machine, method: str, *args: Any, blobs: Sequence[Blob] = ()) -> Call:
        """Submit the operation ``<kind>.<method>``; arguments that name objects are idents."""
        assert lane.running is None, "one call of a lane at a time"
        assert not lane.suspended, "a suspended lane cannot be heard"
        assert not lane.session.ended, "a dead session cannot be heard"
        lane.settle(lane.last_number)
        op = BY_NAME[f"{machine.kind}.{method}"]
        number, come = lane.last_number + 1, as_they_come(blobs)
        call = Call(op, machine.ident, list(args), come, lane, number=number, machine=machine)
        lane.admit(call)
        return self._run(call)

    def ask(self, lane: Lane, machine: Machine, method: str, *args: Any, blobs: Sequence[Blob] = ()) -> Any:
        """Submit an operation that is answered at once; return its result or raise its error."""
        call = self.call(lane, machine, method, *args, blobs=blobs)
        assert call.answered, f"{call.op.name} was parked"
        return self.arrived(call)

    def out(self, lane: Lane, machine: Machine, method: str, *args: Any, blobs: Sequence[Blob] = ()) -> Any:
        """Like `ask`, but return the list of values in the answer."""
        call = self.call(lane, machine, method, *args, blobs=blobs)
        assert call.answered, f"{call.op.name} was parked"
        self.arrived(call)
        return list(call.out)

    def arrived(self, call: Call) -> Any:
        """Let the caller have its answer (and all earlier ones); return the result or raise the error."""
        assert call.answered, f"{call.op.name} is not answered"
        call.lane.settle(call.number)
        if call.error is not None:
            raise call.error
        return call.result

    def abandon(self, call: Call) -> None:
        """Give a call up, before or after its answer, as a client does that was interrupted."""
        call.lane.running = None
        call.lane.forget(call.number)
        self._take_back(call)
        self.step()

    def resend(self, call: Call) -> Call:
        """Submit a call once more that was under way when the server was restarted."""
        again = Call(call.op, call.target, call.args, call.blobs, call.lane, number=call.number)
        again.machine = self.machines[call.target]
        call.lane.admit_again(again)
        return self._run(again)

    def _run(self, call: Call) -> Call:
        self._calls.append(call)
        call.lane.running = call
        try:
            args = check_args(call.op, list(call.args), len(call.blobs))
            for position in call.op.objects:
                args[position] = None if args[position] is None else self.machines[args[position]]
            getattr(call.machine, call.op.method)(self.fx, call, *args)
        except MpserveError as err:
            assert not self.fx.records, f"{call.op.name} refused after it had changed something"
            self.fx.fail(call, err)
        self.step()
        return call

    def _take_back(self, call: Call) -> None:
        if call.answered:
            if call.op.undo and call.error is None:
                getattr(call.machine, call.op.undo)(self.fx, call)
        elif call.waiter is not None and call.machine is not None:
            call.machine.forget_waiter(self.fx, call.waiter)

    # -- what happens to peers and to time -----------------------------------------------------------

    def suspend(self, lane: Lane) -> None:
        """Lose a lane's connection."""
        lane.suspended = True
        self.step()

    def resume(self, lane: Lane) -> None:
        """Let the lane be back."""
        lane.suspended = False
        if lane.running is not None and lane.running.machine is not None:
            lane.running.machine.retry(self.fx)
        self.step()

    def end_lane(self, lane: Lane) -> None:
        """End a thread: its call under way, unsettled answers, what the thread owned."""
        self._stop(lane)
        self._undo_unsettled(lane)
        for machine in list(lane.session.held):
            machine.forget_lane(self.fx, lane)
        del lane.session.lanes[lane.number]
        self.step()

    def end_session(self, session: Session) -> None:
        """End a session: its waiters, its unsettled answers, then what it owned."""
        session.ended = True
        session.note_locks()
        for lane in session.lanes.values():
            self._stop(lane)
        for lane in session.lanes.values():
            self._undo_unsettled(lane)
        for machine in list(session.held):
            if self.machines.get(machine.ident) is machine:
                machine.forget_session(self.fx, session)
        session.held = {}
        self.house.hall.leave(self.fx, session)
        self.registry.remove(session)
        self.step()

    def _stop(self, lane: Lane) -> None:
        call, lane.running = lane.running, None
        if call is not None and not call.answered:
            self._take_back(call)

    def _undo_unsettled(self, lane: Lane) -> None:
        for call in reversed(lane.unsettled):
            if call.answered:
                self._take_back(call)
        lane.forget_all()

    def delete(self, machine: Machine) -> None:
        """Delete an object: who waits for it is told."""
        del self.machines[machine.ident], self.shadows[machine.ident]
        machine.leave()
        machine.break_waiters(self.fx)
        self.step()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.fx.now_s += seconds
        for timer in self.fx.timers.due(self.fx.now_s):
            if timer.action is not None:
                timer.action(self.fx, *timer.args)
                self.step()
        self.step()

    def restart(self) -> None:
        """Replace every object by one rebuilt from records. Waiters are lost: `resend` their calls.

        Find the new objects by `rebuilt`; sessions are told to be in all of them.
        """
        for lane in (lane for s in self.sessions.values() for lane in s.lanes.values()):
            if lane.running is not None:
                lane.forget(lane.running.number)
                lane.running = None
        old, self.machines, self.shadows = self.machines, {}, {}
        self.house, self.shadow_house = self.new_house(), self.new_house()
        for session in self.registry:
            self.house.hall.arrive(session)
        for into, house in ((self.machines, self.house), (self.shadows, self.shadow_house)):
            for ident, machine in old.items():
                into[ident] = type(machine)(ident, machine.name, dict(machine.settings))
                into[ident].bind(into)
                into[ident].enter(house)
            self._replay(self.records, into)
        for session in self.sessions.values():
            session.held = dict.fromkeys(self.machines.values())
            for call in (call for lane in session.lanes.values() for call in lane.unsettled):
                call.machine = self.machines.get(call.target)
        self.fx = self._fresh_effects()
        for machine in self.machines.values():
            machine.revive(self.fx)
        self.step()

    def rebuilt(self, machine: M) -> M:
        """Return what stands for an object of before the restart."""
        return cast("M", self.machines[machine.ident])

    def _fresh_effects(self) -> Effects:
        fx = Effects(recording=True)
        fx.now_s = self.fx.now_s
        return fx

    # -- after every step ----------------------------------------------------------------------------

    def step(self) -> None:
        """Close a step: free lanes, apply records to the shadows, check everything."""
        for call in self.fx.answered:
            assert id(call) not in self._answered, f"{call.op.name} was answered twice"
            assert call.waiter is None, f"{call.op.name} was answered and still waits"
            self._answered.add(id(call))
            if call.lane.running is call:
                call.lane.running = None
        self.fx.answered.clear()
        for ident, change in self.fx.kept.items():
            self.mentions[ident] = self.mentions.get(ident, 0) + change
        self.fx.kept.clear()
        new, self.fx.records = self.fx.records or [], []
        self.records += [record for record in new if record[0] in self.machines]
        self._replay(new, self.shadows)
        self.check()
        for session in self.fx.ended:
            self.fx.ended.remove(session)
            self.end_session(session)

    def _replay(self, records: Sequence[Record], into: dict[str, Machine]) -> None:
        for ident, verb, args in records:
            if ident in into:  # a copy, as a journal would keep it: nothing may be shared with the original
                getattr(into[ident], "on_" + verb)(self._shadow_fx, *pickle.loads(pickle.dumps(args)))
        assert not self._shadow_fx.answered, "a change answered a call"

    def check(self) -> None:
        """Validate every object, compare it with its shadow, and every waiting call with its lane."""
        self.house.hall.validate()
        for ident, machine in self.machines.items():
            machine.validate()
            assert machine.state() == self.shadows[ident].state(), f"{machine.label} differs from its records"
            for call in (call for lot in machine.lots() for call in lot):
                assert call.lane.running is call, f"{call!r} waits and is not under way"
                assert not call.session.ended, f"{call!r} waits for a dead session"
        for session in self.sessions.values():
            for lane in session.lanes.values():
                assert lane.running is None or lane.running.waiter, f"{lane.running!r} was dropped"
