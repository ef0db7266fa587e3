"""Pools and a recipe queue against their models, with workers that die, are cut off, give up and hand back.

Every record is shown to its pool's model, in order; after each rule all must agree about every job. That no
worker waits for what is there, the hall checks itself.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.examples import examples
from tests.property.pool_model import COLLECTED, DELAYED, PoolModel, seen
from tests.unit.core.harness import World

from mpserve.core.calls import Call, Lane
from mpserve.core.t_pool import Pool
from mpserve.core.t_queue import Queue
from mpshared.errors import NoWorkers
from mpshared.values import RAISED, Value, by_value_tag, ref_ids

TIMEOUTS = st.sampled_from([0, 0, None, 2])
PYTHONS = [(3, 11), (3, 12)]
MAX_ATTEMPTS = 2
TERMS = st.fixed_dictionaries(
    {},
    optional={
        "delay_s": st.sampled_from([1, 3]),
        "expires_s": st.sampled_from([2, 4]),
        "retries": st.sampled_from([1, 2]),
        "priority": st.sampled_from([-1, 1]),
        "timeout_s": st.sampled_from([2, 3]),
        "grace_s": st.sampled_from([0, 1]),
    },
)
SETTINGS = [{}, {"processes": 1, "max_tasks": 2}, {"processes": 2}]
VERBS = {"give_up": "give_up_job", "equip": None}


class Watched(World):
    """A world that shows every step's records to somebody first."""

    watcher = staticmethod(lambda records: None)

    def step(self):
        self.watcher(list(self.fx.records or ()))
        super().step()


class PoolMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.world = Watched()
        self.world.watcher = self.watch
        self.tasks = self.world.add(Queue, name="tasks")
        self.other = self.world.add(Queue, name="other")
        self.workers: dict[str, tuple[int, int]] = {}
        self.models: dict[str, PoolModel] = {}
        self.wants: dict[tuple[str, int], int] = {}
        self.calls: dict[Lane, Call] = {}
        self.crew: list[Lane] = []
        program = self.world.session()
        self.program = [self.world.lane(program) for _ in range(4)]
        self.kept: dict[str, list[int]] = {}
        """Numbers whose results the program has confirmed, by pool."""
        self.count = 0
        for python in [*PYTHONS, PYTHONS[0]]:
            self.begin(python)
        self.pools = [self.make_pool(more) for more in SETTINGS]

    def begin(self, python):
        lane = self.world.lane(role="worker", pools=True, python=python)
        self.workers[lane.session.id] = python
        self.crew += [lane, self.world.lane(lane.session)] if len(self.crew) == 1 else [lane]

    def make_pool(self, more):
        pool = self.world.add(Pool, max_attempts=MAX_ATTEMPTS, program="p", **more)
        self.models[pool.ident] = PoolModel(pool.settings, MAX_ATTEMPTS, self.workers, self.wants)
        self.kept[pool.ident] = []
        return pool

    def watch(self, records):
        for ident, verb, args in records:
            if ident in self.models and (method := VERBS.get(verb, verb)):
                getattr(self.models[ident], method)(*args)

    # -- drawing -------------------------------------------------------------------------------------

    def free(self, lanes):
        return [lane for lane in lanes if lane.running is None and not lane.suspended]

    def call(self, lane, machine, method, *args, blobs=()):
        self.arrive(lane)
        call = self.calls[lane] = self.world.call(lane, machine, method, *args, blobs=blobs)
        return call

    def arrive(self, lane):
        if lane in self.calls and self.calls[lane].answered:
            call = self.calls.pop(lane)
            for pool in self.pools:
                self.kept[pool.ident] += collected(pool, call)
            lane.settle(call.number)

    def blob(self, data):
        self.count += 1
        kind = data.draw(st.sampled_from(["plain", "plain", "plain", "code", "refs"]))
        if kind == "code":
            return Value(by_value_tag(PYTHONS[self.count % 2]), b"%d" % self.count)
        return Value(0, b"%d" % self.count, (), ("x",)) if kind == "refs" else b"%d" % self.count

    def held_by(self, pool, session):
        return [number for holder, _, number in self.models[pool.ident].out if holder == session.id]

    def some_ranges(self, data, pool, session):
        numbers = data.draw(
            st.lists(st.sampled_from(self.held_by(pool, session) or [0]), unique=True, max_size=4)
        )
        known = len(self.models[pool.ident].blobs)
        numbers += data.draw(st.lists(st.integers(1, known or 1), max_size=1))
        return [[number, number] for number in numbers if 0 < number <= known]

    def a_pool(self, data):
        return data.draw(st.sampled_from(self.pools))

    # -- the program ---------------------------------------------------------------------------------

    @precondition(lambda self: self.free(self.program))
    @rule(data=st.data(), n=st.integers(1, 5))
    def submit(self, data, n):
        pool, lane = self.a_pool(data), data.draw(st.sampled_from(self.free(self.program)))
        call = self.call(lane, pool, "submit", pool.ready.next, blobs=[self.blob(data) for _ in range(n)])
        assert call.error is None or isinstance(call.error, NoWorkers)

    @precondition(lambda self: self.free(self.program))
    @rule(data=st.data(), terms=TERMS)
    def submit_on_terms(self, data, terms):
        pool, lane = self.a_pool(data), data.draw(st.sampled_from(self.free(self.program)))
        call = self.call(lane, pool, "submit_on_terms", pool.ready.next, terms, blobs=[self.blob(data)])
        assert call.error is None or isinstance(call.error, NoWorkers)

    @precondition(lambda self: self.free(self.program))
    @rule(data=st.data(), n=st.integers(0, 4), timeout_s=TIMEOUTS)
    def collect(self, data, n, timeout_s):
        lane = data.draw(st.sampled_from(self.free(self.program)))
        self.call(lane, self.a_pool(data), "collect", n, timeout_s)

    @precondition(lambda self: self.free(self.program))
    @rule(data=st.data(), lo=st.integers(1, 40), n=st.integers(0, 4))
    def cancel(self, data, lo, n):
        pool, lane = self.a_pool(data), data.draw(st.sampled_from(self.free(self.program)))
        model = self.models[pool.ident]
        waiting = {*model.numbers("ready"), *model.numbers(DELAYED)}
        call = self.call(lane, pool, "cancel", [[lo, lo + n], [lo + 6, lo + 6]])
        numbers = [number for first, last in call.result for number in range(first, last + 1)]
        assert set(numbers) == waiting & {*range(lo, lo + n + 1), lo + 6}

    @precondition(lambda self: self.free(self.program))
    @rule(data=st.data(), lo=st.integers(1, 40), n=st.integers(0, 2), grace_s=st.sampled_from([0, 2]))
    def stop(self, data, lo, n, grace_s):
        pool, lane = self.a_pool(data), data.draw(st.sampled_from(self.free(self.program)))
        model = self.models[pool.ident]
        out = {number for _, _, number in model.out if lo <= number <= lo + n}
        call = self.call(lane, pool, "stop", [[lo, lo + n]], grace_s)
        stopped = {number for first, last in call.result[1] for number in range(first, last + 1)}
        assert stopped == out

    @precondition(lambda self: self.free(self.program))
    @rule(data=st.data(), what=st.sampled_from(["teach", "forget", "equip", "replace", *["collect"] * 8]))
    def do_what_is_seldom_done(self, data, what):
        lane, pool = data.draw(st.sampled_from(self.free(self.program))), self.a_pool(data)
        if what == "replace":
            self.replace(pool, data.draw(st.sampled_from(SETTINGS)))
        elif what == "collect":
            self.call(lane, pool, "collect", 99, 0)
        elif what == "equip":
            self.call(lane, pool, "equip", blobs=[b"spec"])
        elif what == "forget":
            digests = list(self.models[pool.ident].taught)
            self.call(lane, pool, "forget", data.draw(st.sampled_from(digests or ["none"])))
        else:
            self.call(lane, pool, "teach", str(self.count), blobs=[self.blob(data)])

    @precondition(lambda self: self.free(self.program))
    @rule(data=st.data(), n=st.integers(1, 3))
    def put_recipe_jobs(self, data, n):
        lane = data.draw(st.sampled_from(self.free(self.program)))
        queue = data.draw(st.sampled_from([self.tasks, self.other]))
        self.call(lane, queue, "put_many", None, blobs=[b"recipe"] * n)

    def replace(self, old, settings):
        self.pools.remove(old)
        holders = self.models.pop(old.ident).holders()
        self.crew = [lane for lane in self.crew if lane.session.id not in holders]
        self.calls = {lane: c for lane, c in self.calls.items() if lane.session.id not in holders}
        pythons = [self.workers.pop(session) for session in sorted(holders)]
        self.world.mentions["x"] = self.world.mentions.get("x", 0) - len(ref_ids(old.stored()))
        self.world.delete(old)
        assert all(self.world.sessions[session].ended for session in holders)
        self.pools.append(self.make_pool(settings))
        for python in pythons:
            self.begin(python)

    # -- workers -------------------------------------------------------------------------------------

    @precondition(lambda self: self.free(self.crew))
    @rule(data=st.data(), n=st.integers(0, 5), timeout_s=TIMEOUTS, from_queue=st.booleans())
    def exchange(self, data, n, timeout_s, from_queue):
        lane = data.draw(st.sampled_from(self.free(self.crew)))
        pool = None if from_queue else self.a_pool(data)
        done = self.some_ranges(data, pool, lane.session) if pool else []
        self.round(lane, pool, done, n, timeout_s if n else 0)

    def at_work(self):
        holders = {session for model in self.models.values() for session in model.holders()}
        return [lane for lane in self.free(self.crew) if lane.session.id in holders]

    @precondition(lambda self: self.at_work())
    @rule(data=st.data(), n=st.integers(1, 4), timeout_s=TIMEOUTS)
    def work(self, data, n, timeout_s):
        """Go on as a worker does: report what was held, ask for more."""
        self.go_on(data.draw(st.sampled_from(self.at_work())), n, timeout_s)

    @rule(n=st.integers(0, 3))
    def all_work(self, n):
        for lane in self.free(self.crew):
            if lane in self.free(self.crew):  # else a session died with its pool
                self.go_on(lane, n, 0)

    def go_on(self, lane, n, timeout_s):
        mine = [pool for pool in self.pools if self.held_by(pool, lane.session)]
        pool = mine[0] if mine else None
        done = [[number, number] for number in self.held_by(pool, lane.session)] if pool else []
        self.round(lane, pool, done, n, timeout_s)

    def round(self, lane, pool, done, n, timeout_s):
        self.wants[lane.session.id, lane.number] = n
        queue = self.tasks if int(lane.session.id[1:]) % 3 else self.other
        ident = pool.ident if pool is not None else None
        results = [self.result(number) for number, _ in done]
        self.call(lane, queue, "exchange", None, done, n, timeout_s, ident, blobs=results)

    @precondition(lambda self: self.at_work())
    @rule(data=st.data(), n=st.integers(0, 4))
    def exchange_ahead(self, data, n):
        """Report what was held, or some of it, and ask for more of the same, for later."""
        lane = data.draw(st.sampled_from(self.at_work()))
        pool = next(pool for pool in self.pools if self.held_by(pool, lane.session))
        done = [[m, m] for m in self.held_by(pool, lane.session)[: data.draw(st.integers(0, 3))]]
        self.wants[lane.session.id, lane.number] = n
        model = self.models[pool.ident]
        model.ahead = lane.session.id, lane.number
        results = [self.result(number) for number, _ in done]
        call = self.call(lane, self.tasks, "exchange_ahead", None, done, n, pool.ident, blobs=results)
        model.ahead = None
        assert call.result[4] == (pool.ident if call.result[0] else None)

    def result(self, number):
        return {0: Value(0, b"r", (), ("x",)), 1: Value(RAISED, b"failure")}.get(number % 5, b"result")

    @precondition(lambda self: self.at_work())
    @rule(data=st.data())
    def hand_back(self, data):
        lane, pool = data.draw(st.sampled_from(self.at_work())), self.a_pool(data)
        ranges = self.some_ranges(data, pool, lane.session)
        expected = len({n for n, _ in ranges} & set(self.held_by(pool, lane.session)))
        assert self.call(lane, pool, "hand_back", ranges).result == expected

    # -- peers and time ------------------------------------------------------------------------------

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def abandon(self, data):
        self.world.abandon(self.calls.pop(data.draw(st.sampled_from(list(self.calls)))))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def settle(self, data):
        self.arrive(data.draw(st.sampled_from(list(self.calls))))

    @rule(data=st.data())
    def die(self, data):
        session = data.draw(st.sampled_from(self.crew)).session
        pool = self.a_pool(data)
        held = self.held_by(pool, session)
        session.report = {"running": [pool.ident, held[-1]]} if held else {}
        self.crew = [lane for lane in self.crew if lane.session is not session]
        self.calls = {lane: call for lane, call in self.calls.items() if lane.session is not session}
        del self.workers[session.id]
        self.world.end_session(session)
        self.begin(data.draw(st.sampled_from(PYTHONS)))

    @rule(data=st.data())
    def suspend_or_resume(self, data):
        lane = data.draw(st.sampled_from(self.crew + self.program))
        (self.world.resume if lane.suspended else self.world.suspend)(lane)

    @rule(seconds=st.sampled_from([1, 2]))
    def pass_time(self, seconds):
        self.world.advance(seconds)
        for lane in list(self.crew):
            if lane.session.ended and lane in self.crew:  # a job in it was to end, and did not
                self.bury(lane.session)

    def bury(self, session):
        self.crew = [lane for lane in self.crew if lane.session is not session]
        self.calls = {lane: call for lane, call in self.calls.items() if lane.session is not session}
        self.begin(self.workers.pop(session.id))

    # -- what must hold ------------------------------------------------------------------------------

    @invariant()
    def agrees_with_the_models(self):
        for pool in self.pools:
            assert seen(pool) == self.models[pool.ident].state()

    @invariant()
    def each_result_reached_the_program_once(self):
        for pool in self.pools:
            on_the_way = [n for call in self.calls.values() for n in collected(pool, call)]
            assert sorted(on_the_way + self.kept[pool.ident]) == self.models[pool.ident].numbers(COLLECTED)

    @invariant()
    def references_are_counted(self):
        stored = [blob for pool in self.pools for blob in pool.stored()]
        assert self.world.mentions.get("x", 0) == len(ref_ids(stored))


def collected(pool, call):
    if call.machine is not pool or call.op.method != "collect" or not call.took:
        return []
    return [number for first, blobs in call.took for number in range(first, first + len(blobs))]


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=examples(80), stateful_step_count=60, deadline=None)
