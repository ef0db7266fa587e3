"""How a session ends, and what becomes of what it owned, waited for, and had not yet acknowledged."""

from __future__ import annotations

import pickle

import pytest
from tests.contract.rigs import GRACE_S, TIMEOUT_S

from mpserve.core import status
from mpserve.core.sessions import REPORT_S
from mpshared.errors import Empty

A, B, C = (pickle.dumps(letter) for letter in "abc")

ENDS = ["goodbye", "die", "silent", "reported"]


@pytest.fixture(params=ENDS)
def end(request, rig):
    """Ways to end a program. Its supervisor watches, the others go on beating."""
    supervisor = rig.program(role="supervisor")

    def silent(program):
        others = [p for p in rig.programs if p is not program]
        for _ in range(int(TIMEOUT_S) + 1):
            for other in others:
                if other.alive:
                    other.beat()
            rig.advance(1)

    def reported(program):
        thread = supervisor.thread()
        assert thread.ask("cluster.report_death", "", program.id, {"signal": 9}) is True
        assert thread.ask("cluster.report_death", "", program.id, {"signal": 9}) is False

    def goodbye(program):
        program.goodbye()

    def die(program):
        program.die()

    ways = {"goodbye": goodbye, "die": die, "silent": silent, "reported": reported}

    def end(program):
        ways[request.param](program)
        assert not program.alive
        assert (program.id in rig.lost) == (request.param != "goodbye")

    return end


@pytest.fixture
def dying(rig, end):
    return rig.program(role="worker", supervisor=rig.programs[0].id)


class TestTheEnd:
    @pytest.mark.parametrize("kind", ["lock", "rlock", "semaphore", "condition"])
    def test_what_it_held_goes_to_the_next(self, rig, dying, end, kind):
        other = rig.thread()
        ident = rig.open(other, kind, **({"value": 1} if kind == "semaphore" else {}))
        thread = dying.thread()
        thread.ask(f"{kind}.acquire", ident, None)
        waiting = other.call(f"{kind}.acquire", ident, None)
        assert not waiting.answered
        end(dying)
        assert waiting.value is True

    def test_leased_items_return_with_an_attempt_counted(self, rig, dying, end):
        other = rig.thread()
        queue = rig.open(other, "queue")
        other.ask("queue.put_many", queue, None, blobs=[A, B])
        assert dying.thread().ask("queue.get", queue, None, True) == [1, 1]
        end(dying)
        assert other.ask("queue.get", queue, 0, True) == [1, 2]
        assert other.ask("queue.get", queue, 0, True) == [2, 1]

    def test_a_waiter_takes_nothing_any_more(self, rig, dying, end):
        other = rig.thread()
        queue, lock = rig.open(other, "queue"), rig.open(other, "lock")
        other.ask("lock.acquire", lock, None)
        getting = dying.thread().call("queue.get", queue, None, False)
        locking = dying.thread().call("lock.acquire", lock, None)
        assert not getting.answered
        end(dying)
        other.ask("queue.put", queue, None, blobs=[A])
        other.ask("lock.release", lock)
        assert other.out("queue.get", queue, 0, False) == [A]
        assert other.ask("lock.acquire", lock, 0) is True
        assert not getting.answered
        assert not locking.answered

    def test_answers_it_did_not_acknowledge_are_undone(self, rig, dying, end):
        other = rig.thread()
        queue, lock = rig.open(other, "queue"), rig.open(other, "lock")
        other.ask("queue.put_many", queue, None, blobs=[A, B, C])
        seen, unseen = dying.thread(), dying.thread()
        assert seen.out("queue.get", queue, None, False) == [A]
        seen.ask("queue.qsize", queue)  # acknowledges
        unseen.acks = False
        assert unseen.call("queue.get", queue, None, False).answered
        unseen.call("lock.acquire", lock, None)
        end(dying)
        assert other.out("queue.get_many", queue, 9, 0, False) == [B, C]
        assert other.ask("lock.acquire", lock, 0) is True

    def test_what_it_put_stays(self, rig, dying, end):
        other = rig.thread()
        queue = rig.open(other, "queue")
        thread = dying.thread()
        thread.acks = False
        assert thread.call("queue.put_revocably", queue, None, blobs=[A]).answered
        end(dying)
        assert other.out("queue.get", queue, 0, False) == [A]

    def test_its_references_are_dropped(self, rig, dying, end):
        other = rig.thread()
        thread = dying.thread()
        own, shared = rig.open(thread, "dict"), rig.open(thread, "dict")
        other.ask("cluster.adopt", "", [shared])
        end(dying)
        assert not rig.exists(own)
        assert rig.exists(shared)
        assert rig.references(shared) == 1

    def test_others_of_its_calls_are_forgotten(self, rig, dying, end):
        other = rig.thread()
        queue, lock = rig.open(other, "queue"), rig.open(other, "lock")
        thread = dying.thread()
        waiting = thread.call("queue.get", queue, None, False)
        pipelined = thread.call("lock.acquire", lock, None)
        assert not waiting.answered
        end(dying)
        other.ask("queue.put", queue, None, blobs=[A])
        assert other.ask("lock.locked", lock) is False
        assert not pipelined.answered


class TestLiveness:
    def test_grace_and_then_the_end(self, rig):
        program, other = rig.program(), rig.thread()
        lock = rig.open(other, "lock")
        program.thread().ask("lock.acquire", lock, None)
        program.lose_all()
        rig.advance(GRACE_S * 0.9)
        assert program.alive
        assert other.ask("lock.locked", lock) is True
        rig.advance(GRACE_S * 0.2)
        assert not program.alive
        assert other.ask("lock.locked", lock) is False

    def test_back_within_grace(self, rig):
        program = rig.program()
        thread = program.thread()
        lock = rig.open(thread, "lock")
        thread.ask("lock.acquire", lock, None)
        program.lose_all()
        rig.advance(GRACE_S * 0.9)
        thread.back()
        rig.advance(GRACE_S)
        assert program.alive
        thread.ask("lock.release", lock)

    def test_a_beat_keeps_it_alive(self, rig):
        program = rig.program()
        for _ in range(4):
            rig.advance(TIMEOUT_S * 0.9)
            program.beat()
        assert program.alive
        rig.advance(TIMEOUT_S)
        assert not program.alive

    def test_each_is_silent_at_its_own_time_in_whatever_order_they_were_heard(self, rig):
        first, second, third = rig.program(), rig.program(), rig.program()
        for program in (third, first):
            rig.advance(TIMEOUT_S / 4)
            program.beat()
        for program, more_s in ((second, TIMEOUT_S / 2), (third, TIMEOUT_S / 4), (first, TIMEOUT_S / 4)):
            rig.advance(more_s * 0.9)
            assert program.alive
            rig.advance(more_s * 0.1)
            assert not program.alive

    def test_that_the_server_stood_counts_against_nobody(self, rig):
        silent, lost, program = rig.program(), rig.program(), rig.program()
        lane = program.thread()
        lock = rig.open(lane, "lock")
        lane.ask("lock.acquire", lock, None)
        lane.lose()
        rig.advance(TIMEOUT_S * 0.9)
        program.beat()
        lost.beat()
        lost.lose_all()
        stood_s = TIMEOUT_S
        rig.inner.sessions.excuse(rig.inner.fx, stood_s)
        rig.now_s += stood_s
        rig.advance(stood_s * 0.9)
        assert silent.alive
        assert lost.alive
        assert program.alive
        assert rig.machine(lock).owners()
        rig.advance(stood_s * 0.2)
        assert not silent.alive
        assert not lost.alive
        assert not rig.exists(lock)

    def test_a_time_that_was_excused_is_not_excused_once_more(self, rig):
        lost = rig.program()
        lost.lose_all()
        since_s, stood_s = rig.now_s, 10 * GRACE_S
        rig.inner.sessions.excuse(rig.inner.fx, stood_s)  # for a commit, say
        rig.now_s += stood_s
        rig.inner.stood(since_s + GRACE_S, rig.now_s)  # the same, as the loop sees it
        rig.advance(stood_s * 0.9)
        assert lost.alive
        rig.advance(stood_s * 0.2)
        assert not lost.alive

    def test_a_server_that_stands_again_and_again_keeps_nobody_for_ever(self, rig):
        silent, lost, program = rig.program(), rig.program(), rig.program()
        lost.lose_all()
        until_s = rig.now_s + 2 * (TIMEOUT_S + GRACE_S)
        stood_s = GRACE_S / 10
        while rig.now_s < until_s:
            program.beat()
            rig.inner.sessions.excuse(rig.inner.fx, stood_s)
            rig.now_s += stood_s
            rig.advance(GRACE_S / 2)
        assert program.alive
        assert not silent.alive
        assert not lost.alive

    def test_two_that_die_together_leave_each_other_nothing(self, rig):
        one, two, other = rig.program(), rig.program(), rig.thread()
        lock = rig.open(other, "lock")
        one.thread().ask("lock.acquire", lock, None)
        fence = rig.machine(lock).fence
        theirs = two.thread().call("lock.acquire", lock, None)
        assert not theirs.answered
        ours = other.call("lock.acquire", lock, None)
        assert not ours.answered
        one.lose_all()
        two.lose_all()
        rig.advance(GRACE_S)
        assert not theirs.answered
        assert ours.value is True
        assert rig.machine(lock).fence == fence + 1


class TestLanes:
    def test_a_thread_that_ends_frees_what_is_its_own(self, rig):
        program = rig.program()
        ending, beside = program.thread(), program.thread()
        rlock, lock, queue = (rig.open(beside, kind) for kind in ("rlock", "lock", "queue"))
        beside.ask("queue.put_many", queue, None, blobs=[A, B])
        ending.ask("rlock.acquire", rlock, None)
        ending.ask("lock.acquire", lock, None)
        ending.ask("queue.get", queue, None, True)
        assert beside.call("rlock.acquire", rlock, 0).value is False
        ending.end()
        assert beside.ask("rlock.acquire", rlock, 0) is True
        assert beside.ask("lock.locked", lock) is True  # the session's
        beside.ask("queue.task_done", queue, 1)  # so are leased items
        assert beside.ask("queue.unfinished", queue) == 1
        assert program.alive

    def test_a_thread_that_ends_leaves_its_line_and_undoes_what_it_never_saw(self, rig):
        program = rig.program()
        ending, beside = program.thread(), program.thread()
        queue, event = rig.open(beside, "queue"), rig.open(beside, "event")
        beside.ask("queue.put_many", queue, None, blobs=[A, B])
        ending.acks = False
        ending.call("queue.get", queue, None, False)
        ending.call("event.wait", event, None)
        rig.settle()
        ending.end()
        assert rig.waiting(event) == 0
        assert beside.out("queue.get_many", queue, 9, 0, False) == [A, B]

    def test_what_it_acknowledged_at_its_end_is_its_own(self, rig):
        program = rig.program()
        ending, beside = program.thread(), program.thread()
        queue = rig.open(beside, "queue")
        beside.ask("queue.put", queue, None, blobs=[A])
        assert ending.out("queue.get", queue, None, False) == [A]
        ending.end()
        assert isinstance(beside.fails("queue.get", queue, 0, False), Empty)

    def test_a_thread_that_ended_while_it_was_away_does_not_expire_later(self, rig):
        program = rig.program()
        thread = program.thread()
        thread.ask("cluster.count", "")
        engine, session = rig.inner, rig.inner.find_session(program.id)
        (lane,) = (lane for lane in session.lanes.values() if lane.number)
        thread.lose()
        rig.settle()
        engine.close_lane(lane, rig.now_s)  # its program said so by the control
        program.beat()
        rig.advance(TIMEOUT_S * 0.9)
        program.beat()
        rig.advance(TIMEOUT_S * 0.2)
        assert program.alive
        assert not session.expired_lanes


class TestSupervisors:
    def test_only_the_supervisor_of_a_worker_may_report_it(self, rig):
        supervisor, stranger = rig.program(role="supervisor"), rig.program(role="supervisor")
        worker = rig.program(role="worker", supervisor=supervisor.id)
        assert stranger.thread().ask("cluster.report_death", "", worker.id, {}) is False
        assert worker.alive
        assert supervisor.thread().ask("cluster.report_death", "", worker.id, {}) is True
        assert not worker.alive

    def test_its_report_is_waited_for(self, rig):
        supervisor, other = rig.program(role="supervisor"), rig.thread()
        worker = rig.program(role="worker", supervisor=supervisor.id)
        queue = rig.open(other, "queue", "tasks")
        other.ask("queue.put_many", queue, None, blobs=[A, B, C])
        worker.thread().ask("queue.get_many", queue, 3, None, True)
        worker.lose_all()
        rig.advance(REPORT_S * 0.9)
        assert worker.alive
        told = {"signal": 9, "running": ["tasks", 2]}
        assert supervisor.thread().ask("cluster.report_death", "", worker.id, told) is True
        assert [other.ask("queue.get", queue, 0, True) for _ in "ABC"] == [[1, 1], [2, 2], [3, 1]]

    def test_its_report_is_not_waited_for_for_ever(self, rig):
        supervisor = rig.program(role="supervisor")
        worker = rig.program(role="worker", supervisor=supervisor.id)
        worker.lose_all()
        rig.advance(REPORT_S)
        assert not worker.alive
        assert supervisor.alive

    def test_nobody_waits_for_the_report_of_one_that_is_lost_itself(self, rig):
        supervisor = rig.program(role="supervisor")
        worker = rig.program(role="worker", supervisor=supervisor.id)
        worker.lose_all()
        supervisor.lose_all()
        rig.advance(GRACE_S)
        assert not worker.alive

    def test_what_it_started_and_has_no_connection_ends_with_its_goodbye(self, rig):
        supervisor = rig.program(role="supervisor")
        gone, here = [rig.program(role="worker", supervisor=supervisor.id) for _ in range(2)]
        stranger = rig.program(role="worker", supervisor="another")
        here.beat()
        gone.lose_all()
        stranger.lose_all()
        supervisor.goodbye()
        assert [each.alive for each in (gone, here, stranger)] == [False, True, True]

    def test_it_beats_for_its_workers_and_for_nobody_else(self, rig):
        supervisor = rig.program(role="supervisor")
        worker, stranger = rig.program(role="worker", supervisor=supervisor.id), rig.program()
        for _ in range(3):
            rig.advance(TIMEOUT_S * 0.9)
            supervisor.beat(worker.id, stranger.id, "nobody")
        assert worker.alive
        assert not stranger.alive

    def test_is_told_to_end_a_silent_worker(self, rig):
        supervisor = rig.program(role="supervisor")
        worker = rig.program(role="worker", supervisor=supervisor.id, pid=4242)
        thread = supervisor.thread()
        waiting = thread.call("cluster.next_command", "", None)
        assert not waiting.answered
        rig.advance(TIMEOUT_S * 0.9)
        supervisor.beat()
        rig.advance(TIMEOUT_S * 0.2)
        command = {"command": "end_process", "pid": 4242, "session": worker.id}
        assert waiting.value == command | {"why": f"it was silent for {TIMEOUT_S:g} s"}
        assert thread.ask("cluster.next_command", "", 0) is None

    def make_a_command(self, rig, supervisor):
        worker = rig.program(role="worker", supervisor=supervisor.id)
        rig.advance(TIMEOUT_S * 0.9)
        supervisor.beat()
        rig.advance(TIMEOUT_S * 0.2)
        supervisor.beat()
        return worker.id

    def test_a_command_waits_for_who_comes_late(self, rig):
        supervisor = rig.program(role="supervisor")
        ids = [self.make_a_command(rig, supervisor) for _ in range(2)]
        thread = supervisor.thread()
        assert [thread.ask("cluster.next_command", "", None)["session"] for _ in ids] == ids
        waiting = thread.call("cluster.next_command", "", 1.0)
        rig.advance(1)
        assert waiting.value is None

    def test_a_command_waits_for_a_lane_that_is_away(self, rig):
        supervisor = rig.program(role="supervisor")
        thread = supervisor.thread()
        waiting = thread.call("cluster.next_command", "", None)
        assert not waiting.answered
        thread.lose()
        rig.advance(TIMEOUT_S * 0.5)
        supervisor.beat()
        worker = rig.program(role="worker", supervisor=supervisor.id)
        worker.lose_all()
        rig.inner.sessions.tell_supervisor(rig.inner.fx, rig.inner.find_session(worker.id), "why")
        assert not waiting.answered
        thread.back()
        assert waiting.value["session"] == worker.id

    def test_a_command_whose_answer_was_lost_comes_again(self, rig):
        supervisor = rig.program(role="supervisor")
        session = self.make_a_command(rig, supervisor)
        thread = supervisor.thread()
        call = thread.call("cluster.next_command", "", None)
        assert call.value["session"] == session
        thread.abandon(call)
        assert thread.ask("cluster.next_command", "", 0)["session"] == session

    def test_a_reported_death_says_how(self, rig):
        supervisor = rig.program(role="supervisor")
        worker = rig.program(role="worker", supervisor=supervisor.id, host="far", pid=7)
        thread = supervisor.thread()
        jobs = rig.open(thread, "queue", max_attempts=1)
        results = rig.open(thread, "queue")
        thread.ask("queue.put", jobs, None, blobs=[A])
        worker.thread().ask("queue.exchange", jobs, results, [], 1, None, None)
        thread.ask("cluster.report_death", "", worker.id, {"signal": 9, "output": ["the last line"]})
        [report] = thread.ask("queue.dead_list", jobs)
        assert report["host"] == "far"
        assert report["signal"] == 9
        assert report["output"] == ["the last line"]
        assert thread.ask("queue.unfinished", jobs) == 0
        [died] = thread.out("queue.get", results, 0, False)
        assert b"the last line" in died.data
        assert thread.ask("queue.dead_requeue", jobs, [1]) == 1
        assert thread.ask("queue.get", jobs, 0, True) == [1, 1]


def test_status_names_what_is_there(rig):
    program = rig.program(name="\x1b[31mred", host="h")
    thread = program.thread()
    rig.open(thread, "queue", "jobs")
    lock = rig.open(thread, "lock", "door")
    thread.ask("lock.acquire", lock, None)
    other = rig.thread()
    other.call("lock.acquire", lock, None)
    told = program.thread().ask("cluster.status", "")
    kinds = {(o["kind"], o["name"]): o for o in told["objects"]}
    assert kinds["lock", "door"]["holder"] == [program.id, thread.number]
    assert kinds["lock", "door"]["waiters"] == 1
    assert kinds["queue", "jobs"]["ready"] == 0
    assert {s["id"]: s["name"] for s in told["sessions"]}[program.id] == "\x1b[31mred"
    assert next(s for s in told["sessions"] if s["id"] == other.program.id)["waiting"] == 1


def test_status_tells_what_each_session_has_of_queues_and_pools(rig):
    thread = rig.thread()
    jobs, idle = rig.open(thread, "queue", "jobs"), rig.open(thread, "queue", "idle")
    pool = rig.open(thread, "pool")
    thread.ask("queue.put_many", jobs, None, blobs=[A] * 5)
    thread.ask("pool.submit", pool, 1, blobs=[A])
    supervisor = rig.program(role="supervisor")
    workers = [rig.program(role="worker", supervisor=supervisor.id, pools=True) for _ in range(2)]
    for worker in workers:
        worker.thread().ask("queue.exchange", idle, None, [], 1, 0, None)
    taker = rig.thread()
    taker.ask("queue.get_many", jobs, 2, 0, True)
    told = {s["id"]: s["leased"] for s in thread.ask("cluster.status", "")["sessions"]}
    assert told[taker.program.id] == {"jobs": 2}
    assert told[thread.program.id] == {}
    assert [told[worker.id] for worker in workers] == [{pool: 1}, {}]


class TestStatusOfMany:
    """Only so many objects are told; those come first that somebody looks for."""

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch):
        monkeypatch.setattr(status, "MOST_ROWS", 3)

    def test_pools_come_first_then_what_has_a_name(self, rig):
        thread = rig.thread()
        for _ in range(4):
            rig.open(thread, "event")
        rig.open(thread, "queue", "jobs")
        rig.open(thread, "lock", "door")
        pool = rig.open(thread, "pool")
        told = thread.ask("cluster.status", "")
        assert [row["name"] for row in told["objects"]] == [None, "jobs", "door"]
        assert told["objects"][0]["ident"] == pool
        assert told["more"]["objects"] == 4
        thread.ask("cluster.drop", "", [[pool, 1]])
        assert [row["name"] for row in thread.ask("cluster.status", "")["objects"]] == ["jobs", "door", None]

    def test_each_can_be_asked_for(self, rig):
        thread = rig.thread()
        queues = [rig.open(thread, "queue") for _ in range(5)]
        rig.thread().call("queue.get", queues[-1], None, False)
        told = thread.ask("cluster.describe", "", queues[-1])
        assert (told["ident"], told["getters"]) == (queues[-1], 1)
        assert thread.ask("cluster.describe", "", "gone") is None
