"""A queue of each order against its model, with sessions that die, are cut off, give up and hand back.

Every record is shown to the model, in order; after each rule model and queue must agree about every item, and
every value that ever reached somebody must be accounted for.
"""

import pickle
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.examples import examples
from tests.property.queue_model import TAKEN, Model, seen
from tests.unit.core.harness import World

from mpserve.core.calls import Call, Lane
from mpserve.core.t_queue import Queue
from mpshared.errors import Full
from mpshared.values import NONE, TASK_ERROR, Value, by_value_tag, ref_ids, tag_of

TIMEOUTS = st.sampled_from([None, None, 0, 2])
PYTHONS = [(3, 11), (3, 12)]
MAX_ATTEMPTS = 2


class Watched(World):
    """A world that shows every step's records to somebody first."""

    watcher = staticmethod(lambda records: None)

    def step(self):
        self.watcher(list(self.fx.records or ()))
        super().step()


class QueueMachine(RuleBasedStateMachine):
    order = "fifo"
    maxsize = 0
    room_for_results = 0

    def __init__(self):
        super().__init__()
        self.world = Watched()
        self.queue = self.world.add(
            Queue, name="tasks", order=self.order, maxsize=self.maxsize, max_attempts=MAX_ATTEMPTS
        )
        self.results = self.world.add(Queue, name="results", maxsize=self.room_for_results)
        self.model = Model(self.order, MAX_ATTEMPTS)
        self.world.watcher = self.watch
        self.calls: dict[Lane, Call] = {}
        self.lanes: list[Lane] = []
        self.count = 0
        self.kept: list[int] = []
        """Numbers of items whose receiver has confirmed them."""
        for python in [*PYTHONS, PYTHONS[0]]:
            self.begin(python)
        self.lanes.append(self.world.lane(self.lanes[0].session))

    def begin(self, python):
        lane = self.world.lane()
        lane.session.info = replace(lane.session.info, python=python, role="worker", host="h", pid=7)
        self.model.pythons[lane.session.id] = python
        self.lanes.append(lane)

    def watch(self, records):
        for at, (ident, verb, args) in enumerate(records):
            if ident == self.queue.ident:
                getattr(self.model, {"shut": "shut_"}.get(verb, verb))(*args)
            elif verb in {"put", "passed", "assigned"}:
                if tag_of(args[-1][0]) == TASK_ERROR:
                    assert records[at - 1][1] == "bury"
                else:  # results and acknowledgement are one step
                    assert [record[1] for record in records[at + 1 : at + 2]] == ["ack"]

    # -- drawing -------------------------------------------------------------------------------------

    def free(self):
        return [lane for lane in self.lanes if lane.running is None and not lane.suspended]

    def a_free_lane(self, data):
        return data.draw(st.sampled_from(self.free()))

    def call(self, lane, method, *args, blobs=(), on=None):
        self.arrive(lane)
        call = self.calls[lane] = self.world.call(lane, on or self.queue, method, *args, blobs=blobs)
        return call

    def arrive(self, lane):
        """Let the lane's latest answer arrive."""
        if lane in self.calls and self.calls[lane].answered:
            call = self.calls.pop(lane)
            self.kept += given_away(self.queue, call)
            lane.settle(call.number)

    def want(self, lane, n, *, jobs=False):
        self.model.wants[lane.session.id, lane.number] = (n, jobs)

    def blob(self, data):
        self.count += 1
        number = data.draw(st.integers(0, 2))
        if self.order == "priority":
            return pickle.dumps(number)
        kind = data.draw(st.sampled_from(["plain", "plain", "plain", "pill", "code", "refs"]))
        if kind == "pill":
            return NONE
        if kind == "code":
            return Value(by_value_tag(PYTHONS[number % 2]), b"%d" % self.count)
        return Value(0, b"%d" % self.count, (), ("x",)) if kind == "refs" else b"%d" % self.count

    def held_by(self, session):
        return [number for holder, _, number in self.model.out if holder == session.id]

    def some_ranges(self, data, session):
        numbers = data.draw(st.lists(st.sampled_from(self.held_by(session) or [0]), unique=True, max_size=4))
        numbers += data.draw(st.lists(st.integers(1, len(self.model.blobs) or 1), max_size=1))
        return [[number, number] for number in numbers if 0 < number <= len(self.model.blobs)]

    # -- operations ----------------------------------------------------------------------------------

    @initialize(data=st.data(), n=st.integers(0, 4))
    def begin_with(self, data, n):
        self.call(self.lanes[0], "put_many", None, blobs=[self.blob(data) for _ in range(n)])

    @precondition(lambda self: self.free())
    @rule(data=st.data(), n=st.integers(1, 4), timeout_s=TIMEOUTS)
    def put(self, data, n, timeout_s):
        self.call(self.a_free_lane(data), "put_many", timeout_s, blobs=[self.blob(data) for _ in range(n)])

    @precondition(lambda self: self.free())
    @rule(
        data=st.data(), timeout_s=TIMEOUTS, delay_s=st.integers(0, 2), expires_s=st.sampled_from([None, 1, 3])
    )
    def put_later(self, data, timeout_s, delay_s, expires_s):
        terms = {"delay_s": delay_s, "expires_s": expires_s}
        self.call(self.a_free_lane(data), "put_later", timeout_s, terms, blobs=[self.blob(data)])

    @precondition(lambda self: self.free())
    @rule(data=st.data(), timeout_s=TIMEOUTS, lease=st.booleans())
    def get(self, data, timeout_s, lease):
        lane = self.a_free_lane(data)
        self.want(lane, 1)
        self.call(lane, "get", timeout_s, lease)

    @precondition(lambda self: self.free())
    @rule(data=st.data(), n=st.integers(0, 5), timeout_s=TIMEOUTS, lease=st.booleans())
    def get_many(self, data, n, timeout_s, lease):
        lane = self.a_free_lane(data)
        self.want(lane, n)
        self.call(lane, "get_many", n, timeout_s, lease)

    @precondition(lambda self: self.free())
    @rule(data=st.data(), n=st.integers(0, 5), timeout_s=TIMEOUTS, with_results=st.booleans())
    def exchange(self, data, n, timeout_s, with_results):
        lane = self.a_free_lane(data)
        done = self.some_ranges(data, lane.session)
        results = [b"result of %d" % number for number, _ in done] if with_results else []
        if timeout_s is None and not n:
            timeout_s = 0
        self.want(lane, n, jobs=True)
        self.model.servers.add(lane.session.id)
        self.call(lane, "exchange", self.results.ident, done, n, timeout_s, None, blobs=results)

    @precondition(lambda self: self.free())
    @rule(data=st.data(), n=st.integers(1, 4), all_of_it=st.booleans())
    def work(self, data, n, all_of_it):
        """Go on as a worker does: report what was held, ask for more."""
        lane = self.a_free_lane(data)
        done = self.held_by(lane.session)[: None if all_of_it else 1]
        self.want(lane, n, jobs=True)
        self.model.servers.add(lane.session.id)
        results = [b"result of %d" % number for number in done]
        self.call(lane, "exchange", self.results.ident, [[n, n] for n in done], n, 0, None, blobs=results)

    @precondition(lambda self: self.free())
    @rule(data=st.data(), n=st.integers(0, 4), with_results=st.booleans())
    def exchange_ahead(self, data, n, with_results):
        lane = self.a_free_lane(data)
        done = self.some_ranges(data, lane.session)
        results = [b"result of %d" % number for number, _ in done] if with_results else []
        self.want(lane, n, jobs=True)
        self.model.servers.add(lane.session.id)
        self.model.ahead = lane.session.id, lane.number
        call = self.call(lane, "exchange_ahead", self.results.ident, done, n, None, blobs=results)
        self.model.ahead = None
        assert call.answered
        assert call.error is None or (results and isinstance(call.error, Full))

    @precondition(lambda self: self.free())
    @rule(data=st.data(), n=st.integers(1, 3))
    def task_done(self, data, n):
        lane = self.a_free_lane(data)
        mine = [m for s, other, m in self.model.out if s == lane.session.id and other == lane.number]
        others = [m for s, other, m in self.model.out if s == lane.session.id and other != lane.number]
        expected, allowed = (mine + others)[:n], n <= self.model.unfinished
        call = self.call(lane, "task_done", n)
        assert (call.error is None) == allowed
        still_held = {number for _, _, number in self.model.out}
        assert not allowed or not still_held & set(expected)

    @precondition(lambda self: self.free())
    @rule(data=st.data())
    def hand_back(self, data):
        lane = self.a_free_lane(data)
        ranges = self.some_ranges(data, lane.session)
        expected = len({n for n, _ in ranges} & set(self.held_by(lane.session)))
        assert self.call(lane, "hand_back", ranges).result == expected

    @precondition(lambda self: self.free())
    @rule(data=st.data(), timeout_s=TIMEOUTS)
    def join(self, data, timeout_s):
        self.call(self.a_free_lane(data), "join", timeout_s)

    @precondition(lambda self: self.free() and self.model.where)
    @rule(data=st.data(), n=st.integers(1, 3))
    def take_results(self, data, n):
        lane = self.a_free_lane(data)
        self.call(lane, "get_many", n, 0, False, on=self.results)

    @precondition(lambda self: self.free())
    @rule(data=st.data(), method=st.sampled_from(["dead_requeue", "dead_drop"]), everything=st.booleans())
    def dead(self, data, method, everything):
        dead = sorted(self.queue.dead)
        chosen = [] if everything or not dead else [data.draw(st.sampled_from(dead))]
        call = self.call(self.a_free_lane(data), method, chosen)
        assert call.result == len(chosen or dead)

    @precondition(lambda self: self.free())
    @rule(data=st.data(), chance=st.integers(0, 9))
    def clear(self, data, chance):
        if chance == 0:
            n = len(self.model.ready()) + len(self.model.dues)
            assert self.call(self.a_free_lane(data), "clear").result == n

    @precondition(lambda self: self.free())
    @rule(data=st.data(), chance=st.integers(0, 19), immediate=st.booleans())
    def shutdown(self, data, chance, immediate):
        if chance == 0:
            self.call(self.a_free_lane(data), "shutdown", immediate)

    # -- peers and time ------------------------------------------------------------------------------

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def abandon(self, data):
        self.world.abandon(self.calls.pop(data.draw(st.sampled_from(list(self.calls)))))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def settle(self, data):
        self.arrive(data.draw(st.sampled_from(list(self.calls))))

    @precondition(lambda self: self.model.out)
    @rule(data=st.data())
    def die_at_work(self, data):
        dead = data.draw(st.sampled_from(sorted({session for session, _, _ in self.model.out})))
        self.end(self.world.sessions[dead], data)

    @rule(data=st.data())
    def die(self, data):
        self.end(data.draw(st.sampled_from(self.lanes)).session, data)

    def end(self, session, data):
        session.report = data.draw(st.sampled_from([{}, {"signal": 9, "output": ["last words"]}]))
        self.model.out_at_death = list(self.model.out)
        self.lanes = [lane for lane in self.lanes if lane.session is not session]
        self.calls = {lane: call for lane, call in self.calls.items() if lane.session is not session}
        self.model.servers.discard(session.id)
        self.world.end_session(session)
        self.begin(data.draw(st.sampled_from(PYTHONS)))

    @rule(data=st.data())
    def suspend_or_resume(self, data):
        lane = data.draw(st.sampled_from(self.lanes))
        (self.world.resume if lane.suspended else self.world.suspend)(lane)

    @rule(seconds=st.sampled_from([1, 2]))
    def pass_time(self, seconds):
        self.world.advance(seconds)

    # -- what must hold ------------------------------------------------------------------------------

    @invariant()
    def agrees_with_the_model(self):
        assert seen(self.queue) == self.model.state()

    @invariant()
    def what_was_given_away_reached_one(self):
        """An item that is gone without a lease is in one answer that stands, or has arrived."""
        on_the_way = [n for call in self.calls.values() for n in given_away(self.queue, call)]
        assert sorted(on_the_way + self.kept) == sorted(n for n, w in self.model.where.items() if w == TAKEN)

    @invariant()
    def references_are_counted(self):
        stored = [*self.queue.stored(), *self.results.stored()]
        mentions = len(ref_ids(stored))
        assert self.world.mentions.get("x", 0) == mentions


def given_away(queue, call):
    if call.machine is not queue or not call.took or call.took[0]:
        return []
    return [number for first, _, blobs in call.took[1] for number in range(first, first + len(blobs))]


class Bounded(QueueMachine):
    maxsize = 4
    room_for_results = 1


class Lifo(QueueMachine):
    order = "lifo"


class Priority(QueueMachine):
    order = "priority"
    maxsize = 5


TestQueue = QueueMachine.TestCase
TestBounded = Bounded.TestCase
TestLifo = Lifo.TestCase
TestPriority = Priority.TestCase
TestQueue.settings = TestBounded.settings = TestLifo.settings = TestPriority.settings = settings(
    max_examples=examples(60), stateful_step_count=50, deadline=None
)
