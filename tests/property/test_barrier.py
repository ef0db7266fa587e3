"""Barriers, with and without an action, against a small model, while parties die, give up and come back."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.examples import examples
from tests.unit.core.harness import World

from mpserve.core.t_barrier import Barrier
from mpshared.errors import BrokenBarrierError

PARKED, BROKEN = "parked", "broken"
PARTIES = 3
TIMEOUTS = st.sampled_from([None, None, None, 0, 1, 3])


class BarrierModel:
    """Who fills the round, who is in the one whose action runs, who comes next."""

    def __init__(self, has_action):
        self.has_action = has_action
        self.says: dict[Any, Any] = {}
        self.now_s = 0.0
        self.broken = False
        self.actor: Any = None
        self.seats: list[Any] = []
        self.filling: list[tuple[Any, float]] = []
        self.newcomers: list[tuple[Any, Any]] = []

    def wait(self, lane, timeout_s):
        self.says[lane] = PARKED
        if self.actor is not None:
            self.newcomers.append((lane, timeout_s))
        elif self.broken:
            self.says[lane] = BROKEN
        elif len(self.filling) == PARTIES - 1:
            self.fill(lane)
        else:
            deadline_s = float("inf") if timeout_s is None else self.now_s + timeout_s
            self.filling.append((lane, deadline_s))
            self.advance(0)

    def fill(self, last):
        seats, self.filling = [lane for lane, _ in self.filling], []
        if self.has_action:
            self.actor, self.seats = last, seats
        else:
            self.let_go(seats)
        self.says[last] = [len(seats), self.has_action]

    def let_go(self, seats):
        for index, lane in enumerate(seats):
            self.says[lane] = [index, False]

    def action_done(self, lane, ok):
        self.says[lane] = BROKEN if ok and self.actor is not lane else None
        if self.actor is lane and ok:
            self.let_go(self.seats)
            self.next_round()
        elif self.actor is lane:
            self.fall()

    def next_round(self):
        self.actor, self.seats = None, []
        newcomers, self.newcomers = self.newcomers, []
        for lane, timeout_s in newcomers:
            self.wait(lane, timeout_s)

    def fall(self, *spared):
        """Break: everybody who waits is told."""
        self.broken, self.actor = True, None
        lanes = [*self.seats, *(lane for lane, _ in (*self.filling, *self.newcomers))]
        self.says.update(dict.fromkeys(set(lanes) - set(spared), BROKEN))
        self.seats, self.filling, self.newcomers = [], [], []

    def reset(self, lane):
        for waiter in (*self.seats, *(lane for lane, _ in self.filling)):
            self.says[waiter] = BROKEN
        self.broken, self.filling = False, []
        self.next_round()
        self.says[lane] = None

    def abort(self, lane):
        self.fall()
        self.says[lane] = None

    def advance(self, seconds):
        self.now_s += seconds
        if any(deadline_s <= self.now_s for _, deadline_s in self.filling):
            self.fall()

    def gone(self, lane):
        """Somebody who waits will not be there any more."""
        self.newcomers = [newcomer for newcomer in self.newcomers if newcomer[0] is not lane]
        if lane in self.seats or lane in [filler for filler, _ in self.filling]:
            self.fall(lane)
        self.says.pop(lane, None)

    def actor_gone(self, lane):
        if self.actor is lane:
            self.fall()


class Barriers(RuleBasedStateMachine):
    """Three client processes with five threads in all."""

    has_action = False

    def __init__(self):
        super().__init__()
        self.world, self.model = World(), BarrierModel(self.has_action)
        self.barrier = self.world.add(Barrier, parties=PARTIES, has_action=self.has_action)
        first, second, third = (self.world.session() for _ in range(3))
        self.lanes = [self.world.lane(session) for session in (first, first, second, second, third)]
        self.latest: dict[Any, Any] = {}

    def ready(self):
        return [lane for lane in self.lanes if lane.running is None and not lane.suspended]

    def both(self, data, method, *args):
        lane = data.draw(st.sampled_from(self.ready()))
        self.latest[lane] = self.world.call(lane, self.barrier, method, *args)
        getattr(self.model, method)(lane, *args)

    def wait(self, data, timeout_s):
        self.both(data, "wait", timeout_s)

    # Most of what happens should be parties that come, and rules are chosen evenly.
    wait_1 = precondition(ready)(rule(data=st.data(), timeout_s=TIMEOUTS)(wait))
    wait_2 = precondition(ready)(rule(data=st.data(), timeout_s=TIMEOUTS)(wait))
    wait_3 = precondition(ready)(rule(data=st.data(), timeout_s=TIMEOUTS)(wait))

    @precondition(ready)
    @rule(data=st.data(), what=st.sampled_from(["reset", "reset", "reset", "abort"]))
    def change(self, data, what):
        self.both(data, what)

    @precondition(lambda self: self.model.actor in self.ready())
    @rule(ok=st.sampled_from([True, True, True, False]))
    def end_the_action(self, ok):
        lane = self.model.actor
        self.latest[lane] = self.world.call(lane, self.barrier, "action_done", ok)
        self.model.action_done(lane, ok)

    @precondition(ready)
    @rule(data=st.data(), ok=st.booleans())
    def end_anybodys_action(self, data, ok):
        self.both(data, "action_done", ok)

    @rule(seconds=st.sampled_from([0.5, 1, 3]))
    def time_passes(self, seconds):
        self.world.advance(seconds)
        self.model.advance(seconds)

    @rule(data=st.data())
    def suspend_or_resume(self, data):
        """A suspended party counts, and is answered."""
        lane = data.draw(st.sampled_from(self.lanes))
        (self.world.resume if lane.suspended else self.world.suspend)(lane)

    @rule(data=st.data(), what=st.sampled_from(["give_up", "thread_ends", "session_ends", "restart"]))
    def trouble(self, data, what):
        getattr(self, what)(data.draw(st.sampled_from(self.lanes)), data)

    def give_up(self, lane, data):
        call = self.latest.pop(lane, None)
        if call is not None and lane.find(call.number) is not None:
            answered = call.answered
            self.world.abandon(call)
            if not answered:
                self.model.gone(lane)
            elif call.op.method == "wait":
                self.model.actor_gone(lane)

    def leave(self, lanes, heir):
        for lane in lanes:
            if self.model.says.get(lane) == PARKED:
                self.model.gone(lane)
        for lane in lanes:
            self.model.actor_gone(lane)
            self.model.says.pop(lane, None)
            self.latest.pop(lane, None)
            self.lanes[self.lanes.index(lane)] = self.world.lane(heir)

    def thread_ends(self, lane, data):
        self.world.end_lane(lane)
        self.leave([lane], lane.session)

    def session_ends(self, lane, data):
        self.world.end_session(lane.session)
        self.leave([other for other in self.lanes if other.session is lane.session], self.world.session())

    def restart(self, lane, data):
        """Let all calls come again, in any order: those in a round with an action find their seats."""
        waiting = data.draw(st.permutations([self.latest[lane] for lane in self.lanes if lane.running]))
        self.world.restart()
        self.barrier = self.world.rebuilt(self.barrier)
        self.model.filling, self.model.newcomers = [], []
        for other in self.lanes:
            other.suspended = False
        for call in waiting:
            self.latest[call.lane] = self.world.resend(call)
            if call.lane not in self.model.seats:
                self.model.wait(call.lane, *call.args)

    @invariant()
    def agree(self):
        for lane, call in self.latest.items():
            assert outcome(call) == self.model.says[lane], f"{call.op.name}{call.args} of {lane}"
        assert (self.barrier.actor is None) == (self.model.actor is None)
        assert bool(self.barrier.broken) == self.model.broken


class BarriersWithAction(Barriers):
    has_action = True


def outcome(call):
    if not call.answered:
        return PARKED
    if call.error is not None:
        assert isinstance(call.error, BrokenBarrierError)
        return BROKEN
    return call.result


def case_of(machine):
    case = machine.TestCase
    case.settings = settings(max_examples=examples(60), stateful_step_count=60, deadline=None)
    return case


TestBarriers = case_of(Barriers)
TestBarriersWithAction = case_of(BarriersWithAction)
