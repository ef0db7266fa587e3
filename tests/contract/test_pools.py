"""Pools: whose they are, what goes with them, and that each job has one result whatever is lost."""

from __future__ import annotations

import pickle
from collections import Counter
from random import Random
from typing import Any

import pytest
from tests.contract.rigs import GRACE_S, TIMEOUT_S, Pending, Program, Rig, Thread
from tests.contract.wired_rig import Log
from tests.examples import examples

from mpshared.errors import BadValue, NoSuchObject, NoWorkers, WorkerDied
from mpshared.values import Blob, Value, by_value_tag

A, B, C = pickle.dumps("a"), pickle.dumps("b"), pickle.dumps("c")


@pytest.fixture
def thread(rig):
    return rig.thread()


@pytest.fixture
def tasks(rig, thread):
    return rig.open(thread, "queue", "tasks")


@pytest.fixture
def supervisor(rig):
    return rig.program(role="supervisor", pools=True)


def worker(rig: Rig, supervisor: Program | None = None, **more: Any) -> Thread:
    ident = supervisor.id if supervisor is not None else ""
    return rig.program(role="worker", pools=True, supervisor=ident, **more).thread()


def exchange(
    thread: Thread, tasks: str, done: Any = (), n: int = 9, pool: str | None = None, blobs: Any = ()
) -> Pending:
    return thread.call("queue.exchange", tasks, None, list(done), n, None if n else 0, pool, blobs=blobs)


class TestOwner:
    def test_a_pool_belongs_to_who_opened_it(self, rig, thread):
        _, _, settings = thread.ask("cluster.open", "", "pool", None, {"processes": 2}, False, None)
        bounds = {"processes": 2, "max_tasks": 0, "max_attempts": 0}
        assert settings == {**bounds, "program": thread.program.id, "standing": False}
        error = thread.fails("cluster.open", "", "pool", None, {"program": "another"}, False, None)
        assert isinstance(error, BadValue)
        assert "the server fills in" in str(error)
        assert isinstance(thread.fails("cluster.open", "", "pool", "name", {}, False, None), BadValue)
        status = thread.ask("cluster.status", "")
        [pool] = [o for o in status["objects"] if o["kind"] == "pool"]
        assert (pool["program"], pool["ready"], pool["unfinished"]) == (thread.program.id, 0, 0)

    @pytest.mark.parametrize("how", ["drop", "goodbye", "die"])
    def test_it_goes_with_its_program_and_ends_who_works_for_it(self, rig, tasks, supervisor, how):
        program = rig.thread()
        pool = rig.open(program, "pool")
        at_work, idle = worker(rig, supervisor, pid=4242), worker(rig, supervisor)
        program.ask("pool.submit", pool, 1, blobs=[A, B])
        assert exchange(at_work, tasks, n=1).out == [A]
        waiting = exchange(idle, tasks, n=1)
        assert waiting.out == [B]
        exchange(idle, tasks, [[2, 2]], 0, pool, [B]).value  # noqa: B018
        waiting = exchange(idle, tasks)
        if how == "drop":
            program.ask("cluster.drop", "", [[pool, 1]])
        elif how == "goodbye":
            program.program.goodbye()
        else:
            program.program.die()
        assert not rig.exists(pool)
        assert not at_work.program.alive
        assert at_work.program.id not in getattr(rig, "log", Log()).about("session.lost")
        assert idle.program.alive
        assert not waiting.answered
        told = supervisor.thread().ask("cluster.next_command", "", 0)
        about = {"pid": 4242, "session": at_work.program.id, "why": "its program ended it"}
        assert told == {"command": "end_process"} | about
        assert rig.waiting(tasks) == 1

    def test_results_for_a_pool_that_is_gone_are_refused(self, rig, thread, tasks):
        program = rig.thread()
        pool = rig.open(program, "pool")
        away = worker(rig)
        program.ask("pool.submit", pool, 1, blobs=[A])
        exchange(away, tasks).out  # noqa: B018
        away.ask("pool.hand_back", pool, [[1, 1]])
        program.program.goodbye()
        error = away.fails("queue.exchange", tasks, None, [[1, 1]], 1, 0, pool, blobs=[A])
        assert isinstance(error, NoSuchObject)
        assert error.fields["ident"] == pool
        thread.ask("queue.put", tasks, None, blobs=[B])
        assert exchange(away, tasks).out == [B]


def test_a_place_is_kept_until_its_holder_is_gone(rig, thread, tasks):
    pool = rig.open(thread, "pool", processes=1)
    first, second = worker(rig), worker(rig)
    thread.ask("pool.submit", pool, 1, blobs=[A])
    exchange(first, tasks).out  # noqa: B018
    exchange(first, tasks, [[1, 1]], 0, pool, [B]).value  # noqa: B018
    thread.ask("pool.submit", pool, 2, blobs=[A])
    waiting = exchange(second, tasks)
    rig.settle()
    assert not waiting.answered
    first.program.goodbye()
    assert waiting.out == [A]


class TestValues:
    def test_what_jobs_and_results_mention_lives_as_long_as_they_do(self, rig, tasks):
        program = rig.thread()
        pool = rig.open(program, "pool")
        inside = [rig.open(program, "lock") for _ in range(5)]
        job, result, function, spec, left = (Value(0, b"mentions", (), (ident,)) for ident in inside)
        program.ask("pool.submit", pool, 1, blobs=[job, left, A])
        program.ask("pool.teach", pool, "f", blobs=[function])
        program.ask("pool.equip", pool, blobs=[spec])
        program.ask("cluster.drop", "", [[ident, 1] for ident in inside if ident != inside[1]])
        runner = worker(rig)
        assert exchange(runner, tasks, n=1).out == [job]
        assert runner.out("pool.learn", pool, "f") == [function]
        exchange(runner, tasks, [[1, 1]], 0, pool, [result]).value  # noqa: B018
        program.ask("cluster.drop", "", [[inside[1], 1]])
        assert program.out("pool.collect", pool, 9, 0) == [result]
        assert [rig.exists(ident) for ident in inside] == [True] * 5
        assert rig.references(inside[0]) == 1  # the worker's own
        runner.program.die()
        assert [rig.exists(ident) for ident in inside] == [False, True, True, True, True]
        program.program.goodbye()
        assert not any(map(rig.exists, inside))

    def test_code_that_no_worker_can_run(self, rig, thread):
        pool = rig.open(thread, "pool")
        worker(rig, python=(3, 12))
        code = Value(by_value_tag((3, 11)), b"code")
        error = thread.fails("pool.submit", pool, 1, blobs=[code])
        assert isinstance(error, NoWorkers)
        assert error.fields["versions"] == [[3, 12]]
        worker(rig, python=(3, 11))
        thread.ask("pool.submit", pool, 1, blobs=[code])

    def test_a_function_that_no_worker_can_run_leaves_the_pool_to_others(self, rig, thread, tasks):
        pool = rig.open(thread, "pool")
        new = worker(rig, python=(3, 12))
        code = Value(by_value_tag((3, 11)), b"code")
        error = thread.fails("pool.teach", pool, "f", blobs=[code])
        assert isinstance(error, NoWorkers)
        assert error.fields["versions"] == [[3, 12]]
        thread.ask("pool.submit", pool, 1, blobs=[A])
        assert exchange(new, tasks).out == [A]
        old = worker(rig, python=(3, 11))
        thread.ask("pool.teach", pool, "f", blobs=[code])
        thread.ask("pool.submit", pool, 2, blobs=[B])
        assert exchange(old, tasks).out == [B]


class TestLostAnswers:
    def test_results_are_sent_again(self, rig, thread, tasks):
        pool = rig.open(thread, "pool")
        collecting = thread.call("pool.collect", pool, 9, None)
        rig.settle()
        thread.lose()
        helper, runner = thread.program.thread(), worker(rig)
        helper.ask("pool.submit", pool, 1, blobs=[A, B])
        exchange(runner, tasks).out  # noqa: B018
        exchange(runner, tasks, [[1, 2]], 0, pool, [B, C]).value  # noqa: B018
        thread.back()
        assert collecting.value == [[[1, 2]], 0]
        assert collecting.out == [B, C]

    def test_an_abandoned_collect_leaves_the_results(self, rig, thread, tasks):
        pool = rig.open(thread, "pool")
        thread.ask("pool.submit", pool, 1, blobs=[A, B])
        runner = worker(rig)
        exchange(runner, tasks).out  # noqa: B018
        exchange(runner, tasks, [[2, 2], [1, 1]], 0, pool, [B, C]).value  # noqa: B018
        given_up = thread.call("pool.collect", pool, 1, 0)
        rig.settle()
        thread.abandon(given_up)
        call = thread.call("pool.collect", pool, 9, 0)
        assert call.value == [[[2, 2], [1, 1]], 0]
        assert call.out == [B, C]

    def test_an_abandoned_exchange_leaves_the_jobs_to_others(self, rig, thread, tasks):
        pool = rig.open(thread, "pool")
        first, second = worker(rig), worker(rig)
        thread.ask("pool.submit", pool, 1, blobs=[A])
        given_up = exchange(first, tasks)
        rig.settle()
        waiting = exchange(second, tasks)
        first.abandon(given_up)
        assert waiting.value[0] == [[1, 1, 1]]

    def test_a_worker_that_is_back_has_its_jobs(self, rig, thread, tasks):
        pool = rig.open(thread, "pool")
        runner = worker(rig)
        thread.ask("pool.submit", pool, 1, blobs=[A, B])
        call = exchange(runner, tasks)
        runner.lose()
        rig.advance(GRACE_S / 2)
        runner.back()
        assert call.out == [A, B]
        assert rig.machine(pool).leases.count == 2


class TestDeaths:
    def test_the_supervisor_names_the_job(self, rig, thread, tasks, supervisor):
        pool = rig.open(thread, "pool", max_attempts=1)
        runner = worker(rig, supervisor, host="far")
        thread.ask("pool.submit", pool, 1, blobs=[A, B, C])
        exchange(runner, tasks).out  # noqa: B018
        reporter = supervisor.thread()
        told = {"signal": 9, "output": ["the last line"], "running": [pool, 2]}
        assert reporter.ask("cluster.report_death", "", runner.program.id, told) is True
        call = thread.call("pool.collect", pool, 9, 0)
        assert call.value == [[[2, 2]], 2]
        error = pickle.loads(call.out[0].data)
        assert isinstance(error, WorkerDied)
        assert "the last line" in str(error)
        assert error.host == "far"

    def test_a_silent_worker_loses_its_jobs(self, rig, thread, tasks):
        pool = rig.open(thread, "pool")
        runner, other = worker(rig), worker(rig)
        thread.ask("pool.submit", pool, 1, blobs=[A])
        exchange(runner, tasks).out  # noqa: B018
        waiting = exchange(other, tasks)
        rig.advance(TIMEOUT_S * 0.9)
        for program in (thread.program, other.program):
            program.beat()
        rig.advance(TIMEOUT_S * 0.2)
        assert waiting.value[0] == [[1, 1, 2]]


# -- random programs ---------------------------------------------------------------------------------


class Factory:
    """A program with a pool, and workers that run its jobs; anything may be lost on the way."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.random = Random(seed)
        program = rig.program()
        self.submitter, self.collector = program.thread(), program.thread()
        self.tasks = rig.open(self.submitter, "queue", "tasks")
        self.pool = rig.open(self.submitter, "pool", max_attempts=99)
        self.next = 1
        self.cancelled: set[int] = set()
        self.results: list[tuple[int, Blob]] = []
        self.collecting: Pending | None = None
        self.crew: dict[Thread, Pending | None] = {}
        self.away: set[Thread] = set()

    def step(self) -> None:
        actions = [
            self.submit,
            self.collect,
            self.collect,
            *[self.work] * 6,
            self.cancel,
            self.cut,
            self.back,
        ]
        self.random.choice([*actions, self.back, self.give_up, self.die])()

    def submit(self) -> None:
        n = self.random.randrange(6)
        blobs = [pickle.dumps(number) for number in range(self.next, self.next + n)]
        self.submitter.ask("pool.submit", self.pool, self.next, blobs=blobs)
        self.next += n

    def cancel(self) -> None:
        lo = self.random.randrange(1, self.next + 1)
        removed = self.submitter.ask("pool.cancel", self.pool, [[lo, lo + 1]])
        for first, last in removed:
            self.cancelled.update(range(first, last + 1))

    def collect(self) -> None:
        if self.collector in self.away:
            return
        if self.collecting is None:
            self.collecting = self.collector.call("pool.collect", self.pool, 3, self.random.choice([0, None]))
        elif self.collecting.answered:
            self.take(self.collecting)

    def take(self, call: Pending) -> None:
        numbers = [number for lo, hi in call.value[0] for number in range(lo, hi + 1)]
        self.results += zip(numbers, call.out, strict=True)
        self.collecting = None

    def work(self) -> None:
        while len(self.crew) < 3:
            self.crew[worker(self.rig)] = None
        thread = self.random.choice([t for t in self.crew if t not in self.away] or [None])
        if thread is None:
            return
        call = self.crew[thread]
        if call is not None and not call.answered:
            return
        done, blobs, pool = [], [], None
        if call is not None and call.value[0]:
            done, pool, blobs = [run[:2] for run in call.value[0]], call.value[4], call.out
        self.crew[thread] = exchange(thread, self.tasks, done, self.random.randrange(1, 4), pool, blobs)

    def cut(self) -> None:
        here = [thread for thread in [*self.crew, self.collector] if thread not in self.away]
        if here:
            thread = self.random.choice(here)
            thread.lose()
            self.away.add(thread)

    def back(self) -> None:
        if self.away:
            thread = self.random.choice(sorted(self.away, key=repr))
            self.away.remove(thread)
            thread.back()

    def give_up(self) -> None:
        """Abandon a call, answered or not; a worker hands back what it may hold."""
        if self.collecting is not None and self.collector not in self.away:
            self.collector.abandon(self.collecting)
            self.collecting = None
        for thread, call in self.crew.items():
            if call is not None and not call.seen and thread not in self.away:
                thread.abandon(call)
                self.crew[thread] = None
                if self.next > 1:
                    thread.ask("pool.hand_back", self.pool, [[1, self.next - 1]])
                return

    def die(self) -> None:
        for thread in list(self.crew)[:1]:
            del self.crew[thread]
            self.away.discard(thread)
            thread.program.die()

    def finish(self) -> None:
        while self.away:
            self.back()
        for _ in range(10 * self.next + 20):
            self.work()
            self.collect()

    def settle_accounts(self) -> None:
        self.finish()
        counts = Counter(number for number, _ in self.results)
        expected = set(range(1, self.next)) - self.cancelled
        assert counts == Counter(expected), "a job has no result, or two"
        assert all(pickle.loads(blob) == number for number, blob in self.results)
        assert self.rig.machine(self.pool).open_items == 0


@pytest.mark.parametrize("seed", range(examples(8)))
def test_each_job_has_one_result(rig, seed):
    factory = Factory(rig, seed)
    for _ in range(200):
        factory.step()
    factory.settle_accounts()
    pool = factory.pool
    factory.submitter.program.goodbye()
    assert not rig.exists(pool)


def test_a_standing_pool_belongs_to_nobody_and_outlives_who_made_it(rig, thread):
    asked = ["cluster.open", "", "pool", "jobs", {"standing": True}, False, None]
    ident, _, settings = thread.ask(*asked)
    assert settings["program"] == ""
    assert thread.ask("pool.enqueue", ident, {"key": "k"}, blobs=[b"N."]) == [1, True]
    thread.program.goodbye()
    other = rig.thread()
    assert other.ask(*asked)[0] == ident
    assert other.ask("pool.enqueue", ident, {"key": "k"}, blobs=[b"N."]) == [1, False]
    assert other.ask("pool.ask", ident, 1, 0) == ["waiting", 0]
