"""What is kept of sessions that ended and may come back: what each thread held, and which calls were done."""

from __future__ import annotations

import pickle

import pytest
from tests.contract.rigs import TIMEOUT_S
from tests.contract.wired_rig import WiredProgram, WiredRig

from mpshared.errors import NotHeld, SessionExpired
from mpshared.wire.own.frames import Type

A, B, C = (pickle.dumps(letter) for letter in "abc")


def held(rig, program):
    """Return what its threads held: {thread: {(idents): (n, unseen)}}."""
    ended = rig.engine.find_ended(program.id)
    told = {}
    for holding in ended.held:
        told.setdefault(holding.lane, {})[tuple(holding.idents)] = (holding.n, holding.unseen)
    return told


def done(rig, program):
    return dict(rig.engine.find_ended(program.id).done)


class TestHeld:
    @pytest.mark.parametrize(("kind", "n"), [("lock", 1), ("rlock", 2), ("semaphore", 2)])
    def test_each_thread_by_itself(self, rig, kind, n):
        dying, other = rig.program(), rig.thread()
        ident = rig.open(other, kind, **({"value": 5} if kind == "semaphore" else {}))
        idle, thread = dying.thread(), dying.thread()
        idle.ask(f"{kind}.acquire", rig.open(other, kind), None)
        for _ in range(n):
            thread.ask(f"{kind}.acquire", ident, None)
        thread.ask("cluster.count", "")  # acknowledges
        dying.die()
        assert held(rig, dying)[thread.number] == {(ident,): (n, 0)}
        assert idle.number in held(rig, dying)

    def test_leased_items(self, rig):
        dying, other = rig.program(), rig.thread()
        queue = rig.open(other, "queue")
        other.ask("queue.put_many", queue, None, blobs=[A, B, C])
        thread, taker = dying.thread(), dying.thread()
        thread.ask("queue.get_many", queue, 2, None, True)
        taker.ask("queue.get", queue, None, False)
        thread.ask("cluster.count", "")
        dying.die()
        assert held(rig, dying) == {thread.number: {(queue,): (2, 0)}}

    @pytest.mark.parametrize("kind", ["lock", "rlock"])
    def test_a_condition_and_its_lock_are_released_through_each_other(self, rig, kind):
        dying, other = rig.program(), rig.thread()
        lock = rig.open(other, kind)
        conditions = [rig.open(other, "condition", lock=lock) for _ in range(2)]
        thread = dying.thread()
        thread.ask("condition.acquire", conditions[0], None)
        thread.ask("cluster.count", "")
        dying.die()
        assert held(rig, dying) == {thread.number: {(lock, *conditions): (1, 0)}}

    def test_who_waits_at_a_condition_thinks_it_holds_the_lock(self, rig):
        dying, other = rig.program(), rig.thread()
        condition = rig.open(other, "condition")
        thread = dying.thread()
        for _ in range(2):
            thread.ask("condition.acquire", condition, None)
        thread.call("condition.wait", condition, None)
        assert rig.waiting(condition) == 1
        dying.die()
        [(idents, counts)] = held(rig, dying)[thread.number].items()
        assert condition in idents
        assert counts == (2, 0)

    def test_who_had_it_back_and_may_not_know_thinks_so_too(self, rig):
        dying, other = rig.program(), rig.thread()
        condition = rig.open(other, "condition")
        thread = dying.thread()
        thread.ask("condition.acquire", condition, None)
        thread.call("condition.wait", condition, None)
        other.ask("condition.acquire", condition, None)
        other.ask("condition.notify", condition, 1)
        other.ask("condition.release", condition)
        rig.settle()
        dying.die()
        [counts] = held(rig, dying)[thread.number].values()
        assert counts == (1, 0)

    @pytest.mark.parametrize(
        ("kind", "method", "args", "n"),
        [
            ("lock", "acquire", [None], 1),
            ("rlock", "acquire", [None], 1),
            ("semaphore", "acquire", [None], 1),
            ("condition", "acquire", [None], 1),
            ("queue", "get_many", [2, None, True], 2),
        ],
    )
    def test_what_came_with_an_answer_that_may_not_have_arrived_is_counted_apart(
        self, rig, kind, method, args, n
    ):
        dying, other = rig.program(), rig.thread()
        ident = rig.open(other, kind)
        if kind == "queue":
            other.ask("queue.put_many", ident, None, blobs=[A, B, C])
        thread = dying.thread()
        thread.acks = False
        assert thread.call(f"{kind}.{method}", ident, *args).answered
        dying.die()
        assert list(held(rig, dying)[thread.number].values()) == [(n, n)]

    def test_what_somebody_released_is_held_by_nobody(self, rig):
        dying, other = rig.program(), rig.thread()
        lock, signal = rig.open(other, "lock"), rig.open(other, "semaphore", value=0)
        thread = dying.thread()
        thread.ask("lock.acquire", lock, None)
        other.ask("lock.release", lock)
        other.ask("semaphore.release", signal, 1)
        thread.ask("semaphore.acquire", signal, None)
        dying.die()
        assert held(rig, dying) == {}

    @pytest.mark.parametrize("policy", ["raise", "hold"])
    def test_whatever_the_lock_does_then(self, rig, policy):
        dying, other = rig.program(), rig.thread()
        lock = rig.open(other, "lock", on_owner_death=policy)
        thread = dying.thread()
        thread.ask("lock.acquire", lock, None)
        thread.ask("cluster.count", "")
        dying.die()
        assert held(rig, dying) == {thread.number: {(lock,): (1, 0)}}

    def test_who_says_goodbye_is_forgotten(self, rig):
        leaving = rig.program()
        thread = leaving.thread()
        thread.ask("lock.acquire", rig.open(thread, "lock", "name"), None)
        leaving.goodbye()
        assert rig.engine.find_ended(leaving.id) is None

    def test_workers_do_not_come_back(self, rig):
        worker = rig.program(role="worker")
        thread = worker.thread()
        thread.ask("lock.acquire", rig.open(thread, "lock", "name"), None)
        worker.die()
        assert rig.engine.find_ended(worker.id) is None


class TestDone:
    def test_what_was_done_and_what_was_not(self, rig):
        dying, other = rig.program(), rig.thread()
        queue = rig.open(other, "queue")
        waits, works, fresh = dying.thread(), dying.thread(), dying.thread()
        waits.ask("queue.qsize", queue)
        waits.call("queue.get", queue, None, False)
        waits.call("queue.put", queue, None, blobs=[A])
        works.call("queue.qsize", queue)
        rig.settle()
        dying.die()
        assert done(rig, dying) == {waits.number: 1, works.number: 1} | (
            {fresh.number: 0} if fresh.number in done(rig, dying) else {}
        )


class TestLanes:
    def expired(self, rig):
        """Return a program with a thread that held things and was away for too long."""
        program, other = rig.program(), rig.thread()
        thread = program.thread()
        lock, rlock = rig.open(other, "lock"), rig.open(other, "rlock")
        for kind, ident in (("lock", lock), ("rlock", rlock)):
            thread.ask(f"{kind}.acquire", ident, None)
        thread.ask("cluster.count", "")
        thread.lose()
        for _ in range(4):
            rig.advance(TIMEOUT_S / 3)
            program.beat()
            other.program.beat()
        assert program.alive
        return program, other, thread, (lock, rlock)

    def test_only_what_is_the_threads_own_is_taken_from_it(self, rig):
        program, other, thread, (lock, rlock) = self.expired(rig)
        ended = rig.inner.find_session(program.id).expired_lanes[thread.number]
        assert [list(holding.idents) for holding in ended.held] == [[rlock]]
        assert ended.done == [(thread.number, 3)]
        assert other.ask("rlock.acquire", rlock, 0) is True
        assert other.ask("lock.acquire", lock, 0) is False

    def test_it_is_told_so_and_the_others_go_on(self, rig):
        if not isinstance(rig, WiredRig):
            pytest.skip("nobody comes back here")
        program, _, thread, (_, rlock) = self.expired(rig)
        with pytest.raises(AssertionError, match="not attached"):
            thread.back()
        error = rig.wires[-1].errors[0]
        assert isinstance(error, SessionExpired)
        assert error.fields["lane"] == thread.number
        assert [holding[3] for holding in error.fields["held"]] == [[rlock]]
        again = program.thread()
        assert isinstance(again.fails("rlock.release", rlock), NotHeld)


class TestComingBack:
    @pytest.fixture
    def gone(self, rig):
        if not isinstance(rig, WiredRig):
            pytest.skip("nobody comes back here")
        program = rig.program()
        thread = program.thread()
        lock = rig.open(thread, "lock", "door")
        thread.ask("lock.acquire", lock, None)
        thread.ask("cluster.count", "")
        program.die()
        expected = {"held": [[thread.number, 1, 0, [lock], "lock 'door'"]], "done": [[thread.number, 3]]}
        return program, thread, expected

    def test_it_is_told_what_it_held(self, rig, gone):
        program, thread, expected = gone
        with pytest.raises(AssertionError, match="not attached"):
            thread.attach()
        error = rig.wires[-1].errors[0]
        assert {name: error.fields[name] for name in expected} == expected
        assert "it had no connection for 0.5 s" in error.text
        program.secret = "another"
        with pytest.raises(AssertionError, match="not attached"):
            thread.attach()
        assert "held" not in rig.wires[-1].errors[0].fields

    def test_a_new_session_may_name_the_one_before(self, rig, gone):
        program, _, expected = gone
        assert self.begin(rig, program.id, program.secret)["before"] == expected
        assert self.begin(rig, program.id, "another")["before"] is None
        assert self.begin(rig, "nobody", "")["before"] is None

    def test_one_that_was_given_up_ends_then(self, rig):
        if not isinstance(rig, WiredRig):
            pytest.skip("nobody comes back here")
        program, other = rig.program(), rig.thread()
        assert isinstance(program, WiredProgram)
        lock = rig.open(other, "lock")
        program.thread().ask("lock.acquire", lock, None)
        waiting = other.call("lock.acquire", lock, None)
        assert not waiting.answered
        assert self.begin(rig, program.id, "another")["before"] is None
        assert program.alive
        told = self.begin(rig, program.id, program.secret)["before"]
        assert [holding[3] for holding in told["held"]] == [[lock]]
        assert waiting.value is True

    def begin(self, rig, session_id, secret):
        info = {"role": "program", "python": [3, 11]}
        wire = type(rig.wires[0])(rig)
        wire.control(Type.ATTACH, body={"new": info, "before": {"session": session_id, "secret": secret}})
        wire.carry()
        return wire.controls[0].body
