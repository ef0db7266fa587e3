"""Locks, semaphores, events and conditions against a small model, while peers die, return and give up.

After each rule model and objects must agree about every lane's latest call, holders and free permits.
The harness compares each object with its records.
"""

from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.examples import examples
from tests.property.sync_model import (
    PARKED,
    REFUSED,
    ConditionModel,
    EventModel,
    Model,
    MutexModel,
    SemaphoreModel,
)
from tests.unit.core.harness import World

from mpserve.core.t_condition import Condition
from mpserve.core.t_event import Event
from mpserve.core.t_lock import Lock
from mpserve.core.t_rlock import RLock
from mpserve.core.t_semaphore import Semaphore
from mpshared.errors import MpserveError

WAYS = {
    "lock": ["acquire", "acquire", "release", "release_as_holder", "recover"],
    "rlock": ["acquire", "acquire", "release", "release_as_holder", "recover"],
    "news": [
        "acquire",
        "acquire",
        "wait_as_holder",
        "wait_as_holder",
        "notify",
        "release_as_holder",
        "try_wait",
        "recover",
    ],
    "two": ["acquire", "acquire", "acquire", "release_some"],
    "signal": ["acquire", "acquire", "release_some"],
    "event": ["wait", "wait", "wait", "turn"],
}
WAYS["plain news"] = WAYS["news"]
TROUBLE = ["suspend", "suspend", "resume", "thread_ends", "session_ends", "restart"]
TIMEOUTS = st.sampled_from([None, None, 0, 1, 3])


class Sync(RuleBasedStateMachine):
    """Three client processes, one of them a standard-library one, with five threads in all."""

    focus: tuple[str, ...] = ()
    """What is called in one run: few objects, since calls that meet do so on the same one."""
    policies: ClassVar[dict[str, str]] = {"lock": "release", "rlock": "release"}

    def __init__(self):
        super().__init__()
        self.world, self.model = World(), Model()
        lock = self.world.add(Lock, name="lock", on_owner_death=self.policies["lock"])
        rlock = self.world.add(RLock, name="rlock", on_owner_death=self.policies["rlock"])
        self.real: dict[str, Any] = {
            "lock": lock,
            "rlock": rlock,
            "news": self.world.add(Condition, name="news", lock=rlock.ident),
            "plain news": self.world.add(Condition, name="plain news", lock=lock.ident),
            "two": self.world.add(Semaphore, name="two", value=2),
            "signal": self.world.add(Semaphore, name="signal", value=0),
            "event": self.world.add(Event, name="event"),
        }
        mutexes = {name: MutexModel(self.model, name, policy) for name, policy in self.policies.items()}
        self.models: dict[str, Any] = {
            **mutexes,
            "news": ConditionModel(self.model, mutexes["rlock"]),
            "plain news": ConditionModel(self.model, mutexes["lock"]),
            "two": SemaphoreModel(self.model, 2),
            "signal": SemaphoreModel(self.model, 0),
            "event": EventModel(self.model),
        }
        first, second = self.world.session(), self.world.session()
        self.lanes = [self.world.lane(session) for session in (first, first, second, second)]
        self.lanes.append(self.world.lane(role="stock"))
        self.latest: dict[Any, Any] = {}
        self.unsettled: dict[Any, tuple[str, str]] = {}

    # -- drawing -------------------------------------------------------------------------------------

    def ready(self, *holding):
        """Lanes that can call; with the name of a lock or condition, only those that hold it."""
        ready = [lane for lane in self.lanes if lane.running is None and not lane.suspended]
        return [lane for lane in ready if all(self.mutex(name).holder is lane for name in holding)]

    def mutex(self, name):
        return getattr(self.models[name], "mutex", self.models[name])

    def call(self, lane, name, method, *args):
        """Let the real object do it; the model is asked by the caller."""
        self.unsettled[lane] = (name, method)
        self.latest[lane] = self.world.call(lane, self.real[name], method, *args)

    def both(self, lane, name, method, *args):
        """Let the real object and the model do the same."""
        self.call(lane, name, method, *args)
        getattr(self.models[name], method)(lane, *args)

    # -- operations ----------------------------------------------------------------------------------

    def act(self, data):
        name = data.draw(st.sampled_from(self.focus))
        getattr(self, data.draw(st.sampled_from(WAYS[name])))(data, name)

    # Most of what happens should be calls, and rules are chosen evenly.
    act_1 = precondition(ready)(rule(data=st.data())(act))
    act_2 = precondition(ready)(rule(data=st.data())(act))
    act_3 = precondition(ready)(rule(data=st.data())(act))
    act_4 = precondition(ready)(rule(data=st.data())(act))

    def acquire(self, data, name):
        self.both(data.draw(st.sampled_from(self.ready())), name, "acquire", data.draw(TIMEOUTS))

    def release(self, data, name):
        self.both(data.draw(st.sampled_from(self.ready())), name, "release")

    def release_as_holder(self, data, name):
        for lane in self.ready(name):
            self.both(lane, name, "release")

    def recover(self, data, name):
        self.both(data.draw(st.sampled_from(self.ready())), name, "recover")

    def release_some(self, data, name):
        self.both(data.draw(st.sampled_from(self.ready())), name, "release", data.draw(st.integers(1, 3)))

    def wait_as_holder(self, data, name):
        for lane in self.ready(name):
            self.both(lane, name, "wait", data.draw(TIMEOUTS))

    def try_wait(self, data, name):
        """Wait from anywhere, with the lock or without it."""
        self.both(data.draw(st.sampled_from(self.ready())), name, "wait", data.draw(TIMEOUTS))

    def notify(self, data, name):
        holders = self.ready(name)
        lane = data.draw(st.sampled_from(holders or self.ready()))
        self.both(lane, name, "notify", data.draw(st.integers(0, 3)))

    def turn(self, data, name):
        lane, flag = data.draw(st.sampled_from(self.ready())), data.draw(st.booleans())
        self.call(lane, name, "set" if flag else "clear")
        self.models[name].turn(lane, flag)

    def wait(self, data, name):
        self.both(data.draw(st.sampled_from(self.ready())), name, "wait", data.draw(TIMEOUTS))

    # -- what happens to peers and to time -----------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1, 3]))
    def time_passes(self, seconds):
        self.world.advance(seconds)
        self.model.advance(seconds)

    @rule(data=st.data(), what=st.sampled_from(TROUBLE))
    def trouble(self, data, what):
        getattr(self, what)(data)

    def suspend(self, data):
        self.world.suspend(data.draw(st.sampled_from(self.lanes)))

    def resume(self, data):
        for lane in [lane for lane in self.lanes if lane.suspended]:
            self.world.resume(lane)
            for name in ("lock", "rlock", "two", "signal"):
                self.models[name].settle()

    @precondition(lambda self: self.unsettled)
    @rule(data=st.data())
    def answer_arrives(self, data):
        lane = data.draw(st.sampled_from([lane for lane in self.lanes if lane in self.unsettled]))
        if self.latest[lane].answered and not lane.suspended:
            lane.settle(self.latest[lane].number)
            del self.unsettled[lane]

    @precondition(lambda self: self.unsettled)
    @rule(data=st.data())
    def give_up(self, data):
        lane = data.draw(st.sampled_from([lane for lane in self.lanes if lane in self.unsettled]))
        self.world.abandon(self.latest[lane])
        self.gone(lane)
        self.undo(lane)
        self.latest.pop(lane)

    def thread_ends(self, data):
        lane = data.draw(st.sampled_from(self.lanes))
        self.world.end_lane(lane)
        self.gone(lane)
        self.undo(lane)
        for name in ("lock", "rlock"):
            self.models[name].lane_ended(lane)
        self.replace(lane, lane.session)

    def session_ends(self, data):
        session = data.draw(st.sampled_from(self.lanes)).session
        self.world.end_session(session)
        lanes = [lane for lane in self.lanes if lane.session is session]
        for step in (self.gone, self.undo):
            for lane in lanes:
                step(lane)
        for name in ("lock", "rlock", "two", "signal"):
            self.models[name].session_ended(session)
        heir = self.world.session(session.info.role)
        for lane in lanes:
            self.replace(lane, heir)

    def restart(self, data):
        """Restart the server; all lanes come back in any order and send what was under way once more."""
        waiting = [self.latest[lane] for lane in self.lanes if lane.running is not None]
        self.world.restart()
        self.real = {name: self.world.rebuilt(machine) for name, machine in self.real.items()}
        self.model.alarms.clear()
        places = {place.lane: place for name in ("lock", "rlock") for place in self.models[name].line}
        for name in ("lock", "rlock", "two", "signal", "event"):
            self.models[name].line.clear()
        for name in ("lock", "rlock"):
            self.models[name].users |= {lane.session for lane in self.lanes}
        for lane in self.lanes:
            lane.suspended = False
        for call in data.draw(st.permutations(waiting)):
            self.latest[call.lane] = self.world.resend(call)
            self.comes_again(call, places.get(call.lane))

    def comes_again(self, call, place):
        (name, method), (timeout_s,) = self.unsettled[call.lane], call.args
        model = self.models[name]
        if isinstance(model, ConditionModel) and method == "wait":
            if place is None:
                self.model.park(call.lane, timeout_s, model.expire)
            else:
                model.mutex.line.append(place)
                model.mutex.settle()
        else:
            getattr(model, method)(call.lane, timeout_s)

    # -- the model's part of it ----------------------------------------------------------------------

    def gone(self, lane):
        """A lane's call that waits is not wanted any more."""
        if self.model.says.get(lane) == PARKED:
            del self.model.says[lane], self.unsettled[lane]
            self.model.alarms.pop(lane, None)
            for model in self.models.values():
                model.gone(lane)

    def undo(self, lane):
        """A lane's answer will never be read."""
        name, method = self.unsettled.pop(lane, ("", ""))
        result = self.model.says.pop(lane, None)
        if method == "wait" and name != "event" and result in {True, False}:
            self.models[name].undo_wait(lane, result)
        elif method == "acquire" and result is True:
            self.models[name].undo(lane)
        elif method == "recover" and result is True:
            self.models[name].undo_recover(lane)

    def replace(self, lane, session):
        self.latest.pop(lane, None)
        self.model.says.pop(lane, None)
        self.lanes[self.lanes.index(lane)] = self.world.lane(session)

    # -- agreement -----------------------------------------------------------------------------------

    @invariant()
    def agree_about_calls(self):
        for lane, call in self.latest.items():
            assert outcome(call) == self.model.says[lane], f"{call.op.name}{call.args} of {lane}"

    @invariant()
    def agree_about_holders(self):
        for name in ("lock", "rlock"):
            real, model = self.real[name], self.models[name]
            holder = None if model.holder is None else (model.holder.session.id, model.holder.number)
            assert (real.holder, real.levels, real.abandoned) == (holder, model.levels, model.abandoned)
        for name in ("two", "signal"):
            assert (self.real[name].value, self.real[name].signal) == (
                self.models[name].value,
                self.models[name].signal,
            )

    def teardown(self):
        for session in {lane.session.id: lane.session for lane in self.lanes}.values():
            self.world.end_session(session)
        assert self.real["rlock"].holder is None or self.real["rlock"].abandoned
        lock = self.real["lock"]
        role = "" if lock.holder is None else self.world.sessions[lock.holder.session].info.role
        assert lock.holder is None or lock.abandoned or role == "stock"
        assert not any(len(lot) for machine in self.real.values() for lot in machine.lots())


def outcome(call):
    if not call.answered:
        return PARKED
    if call.error is not None:
        assert isinstance(call.error, MpserveError)
        return REFUSED
    return call.result


class OnNews(Sync):
    focus = ("news",)


class OnNewsAndItsLock(Sync):
    focus = ("rlock", "news")


class OnPlainNews(Sync):
    focus = ("lock", "plain news")


class OnLocks(Sync):
    focus = ("lock", "rlock")


class OnRaisingLocks(Sync):
    focus = ("lock", "rlock", "news")
    policies: ClassVar = {"lock": "raise", "rlock": "raise"}


class OnHoldingLocks(Sync):
    focus = ("lock", "rlock", "plain news")
    policies: ClassVar = {"lock": "hold", "rlock": "hold"}


class OnSemaphores(Sync):
    focus = ("two", "signal")


class OnEvents(Sync):
    focus = ("event",)


def case_of(machine):
    case = machine.TestCase
    case.settings = settings(max_examples=examples(60), stateful_step_count=60, deadline=None)
    return case


TestNews = case_of(OnNews)
TestNewsAndItsLock = case_of(OnNewsAndItsLock)
TestPlainNews = case_of(OnPlainNews)
TestLocks = case_of(OnLocks)
TestRaisingLocks = case_of(OnRaisingLocks)
TestHoldingLocks = case_of(OnHoldingLocks)
TestSemaphores = case_of(OnSemaphores)
TestEvents = case_of(OnEvents)
