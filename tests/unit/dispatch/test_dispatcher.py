"""The dispatcher: turns within turns, operators' calls, and mistakes of our own that cost one call only."""

from __future__ import annotations

import json
import pickle
import sys
from itertools import pairwise

import pytest
from tests.contract.direct_rig import DirectRig
from tests.contract.wired_rig import WiredRig

from mpserve.core.t_dict import Dict
from mpserve.core.t_event import Event
from mpserve.core.t_lock import Lock
from mpserve.core.t_queue import Queue
from mpserve.dispatch.dispatcher import Limits
from mpshared import errors
from mpshared.wire.own import frames

A, B = pickle.dumps("a"), pickle.dumps("b")


@pytest.fixture
def rig():
    return WiredRig("memory", 1)


class TestOperators:
    def test_nobody_stops_the_server_unless_that_is_allowed(self, rig):
        error = rig.thread().fails("cluster.shutdown", "")
        assert isinstance(error, errors.NotAllowed)
        assert "--allow-shutdown" in str(error)
        assert not rig.stopped

    def test_where_it_is_allowed_it_stops(self):
        rig = WiredRig("memory", 1, Limits(allow_shutdown=True))
        thread = rig.program(name="operator").thread()
        assert thread.ask("cluster.shutdown", "") is None
        assert rig.stopped == ["shutdown was called by operator"]
        assert thread.ask("cluster.count", "") == 0

    def test_it_waits_for_its_turn(self):
        rig = WiredRig("memory", 1, Limits(allow_shutdown=True))
        thread = rig.thread()
        event = rig.open(thread, "event")
        waiting, stopping = thread.call("event.wait", event, None), thread.call("cluster.shutdown", "")
        assert not stopping.answered
        assert not rig.stopped
        rig.thread().ask("event.set", event)
        assert waiting.value
        assert stopping.value is None
        assert rig.stopped


def test_a_chain_of_lanes_that_wait_for_each_other_needs_no_deep_stack(rig, monkeypatch):
    main = rig.thread()
    program = rig.program()
    monkeypatch.setattr(rig, "check", lambda: None)  # after each of so many calls it would take long
    events = [rig.open(main, "event") for _ in range(sys.getrecursionlimit() // 2)]
    calls = []
    for before, after in pairwise(events):
        thread = program.thread()
        thread.call("event.wait", before, None)
        calls.append(thread.call("event.set", after))
    main.ask("event.set", events[0])
    assert all(call.arrived for call in calls)
    monkeypatch.undo()
    rig.finish()


@pytest.mark.parametrize("engine", ["memory", "later"])
def test_sixty_four_calls_in_one_read(engine):
    rig = WiredRig(engine, 1)
    thread = rig.thread()
    box = rig.open(thread, "dict")
    calls = [thread.call("dict.incr", box, "n", 1) for _ in range(64)]
    assert [call.value for call in calls] == list(range(1, 65))


def test_a_turn_that_ends_the_session_of_an_answer_on_its_way(rig):
    """A lane's next call ends another session whose answer belongs to the same turn."""
    supervisor = rig.program(role="supervisor")
    reporter = supervisor.thread()
    event = rig.open(reporter, "event")
    waits = [reporter.call("event.wait", event, None)]
    workers = [rig.program(role="worker", supervisor=supervisor.id) for _ in range(3)]
    theirs = [worker.thread().call("event.wait", event, None) for worker in workers]
    reports = [reporter.call("cluster.report_death", "", worker.id, {}) for worker in workers]
    assert not any(call.answered for call in theirs)
    rig.thread().ask("event.set", event)
    assert waits[0].value
    assert [report.value for report in reports] == [True] * 3
    assert not any(call.answered for call in theirs)
    assert not any(worker.alive for worker in workers)
    rig.finish()


def test_what_the_log_is_told_of_a_lost_session_is_plain(rig):
    program = rig.program()
    program.die()
    (lost,) = [fields for event, fields in rig.log.lines if event == "session.lost"]
    assert json.loads(json.dumps(lost)) == lost
    assert "how" not in lost  # nobody saw it


def test_the_log_is_told_how_a_reported_process_ended(rig):
    jobs = rig.open(rig.thread(), "queue", "jobs", max_attempts=1)
    supervisor = rig.program(role="supervisor")
    worker = rig.program(role="worker", supervisor=supervisor.id, name="far/1", host="far", pid=7)
    rig.thread().ask("queue.put", jobs, None, blobs=[A])
    worker.thread().ask("queue.exchange", jobs, None, [], 1, None, None)
    told = {"signal": 9, "output": ["a line"], "running": ["jobs", 1], "oom_kills": 1}
    supervisor.thread().ask("cluster.report_death", "", worker.id, told)
    lines = dict(rig.log.lines)
    lost = lines["session.lost"]
    assert lost["how"] == "killed by SIGKILL (signal 9)"
    assert lost["running"] == "job 1 of jobs"
    assert "the kernel killed 1" in lost["likely_out_of_memory"]
    assert "report" not in lost
    assert lines["job.set_aside"] == {
        "queue": "queue 'jobs'",
        "number": 1,
        "attempts": 1,
        "host": "far",
        "pid": 7,
        "worker": "far/1",
        "reason": "killed by SIGKILL (signal 9)",
    }


class Mistake(Exception):
    """Something that should not happen."""


def fail(*_args, **_more):
    raise Mistake("oh no")


class TestMistakes:
    def take_trouble(self, rig):
        rig.settle()
        lines = [fields for event, fields in rig.log.lines if event == "call.failed"]
        rig.log.lines.clear()
        return lines

    def test_in_an_operation(self, rig, monkeypatch):
        thread = rig.thread()
        box = rig.open(thread, "dict", "box")
        monkeypatch.setattr(Dict, "len", fail)
        error = thread.fails("dict.len", box)
        assert isinstance(error, errors.InternalError)
        assert "dict.len on dict 'box'" in str(error)
        assert "oh no" in str(error)
        [line] = self.take_trouble(rig)
        assert isinstance(line["exc_info"], Mistake)
        assert thread.ask("dict.incr", box, "n", 1) == 1

    @pytest.mark.parametrize(
        ("name", "args", "blobs"), [("queue.put_many", [None], [A, B]), ("queue.put_later", [None, {}], [A])]
    )
    def test_after_the_answer(self, rig, monkeypatch, name, args, blobs):
        """A kind that has done it and then fails: the answer stands."""
        thread = rig.thread()
        queue = rig.open(thread, "queue")
        waiting = rig.thread().call("queue.get", queue, None, False)
        assert not waiting.answered
        monkeypatch.setattr(rig, "check", lambda: None)  # somebody waits who need not
        monkeypatch.setattr(Queue, "settle", fail)
        assert thread.ask(name, queue, *args, blobs=blobs) is None
        assert len(self.take_trouble(rig)) == 1
        monkeypatch.undo()
        thread.ask("queue.put", queue, None, blobs=[B])
        assert waiting.out == [A]

    def test_before_it_is_stored(self, rig, monkeypatch):
        """A put that fails while it looks for who waits: nothing was put."""
        thread = rig.thread()
        queue = rig.open(thread, "queue")
        waiting = rig.thread().call("queue.get", queue, None, False)
        monkeypatch.setattr(Queue, "following", fail)
        assert isinstance(thread.fails("queue.put", queue, None, blobs=[A]), errors.InternalError)
        assert len(self.take_trouble(rig)) == 1
        monkeypatch.undo()
        assert not waiting.answered
        assert thread.ask("queue.qsize", queue) == 0

    def test_after_parking(self, rig, monkeypatch):
        thread = rig.thread()
        event = rig.open(thread, "event")

        def wait(self, fx, call, timeout_s):
            self.waiters.park(fx, call, timeout_s, fail)
            fail()

        monkeypatch.setattr(Event, "wait", wait)
        assert isinstance(thread.fails("event.wait", event, None), errors.InternalError)
        assert rig.waiting(event) == 0
        assert len(self.take_trouble(rig)) == 1

    def test_when_time_is_up(self, rig, monkeypatch):
        threads = [rig.thread() for _ in range(3)]
        event = rig.open(threads[0], "event")

        def wait(self, fx, call, timeout_s):
            self.waiters.park(fx, call, timeout_s, fail)

        lock = rig.open(threads[2], "lock")
        rig.thread().ask("lock.acquire", lock, None)
        monkeypatch.setattr(Event, "wait", wait)
        calls = [thread.call("event.wait", event, 1.0) for thread in threads[:2]]
        sound = threads[2].call("lock.acquire", lock, 1.0)
        rig.advance(1)
        assert all(isinstance(call.error, errors.InternalError) for call in calls)
        assert sound.value is False
        assert len(self.take_trouble(rig)) == 2

    def test_at_the_end_of_a_session(self, rig, monkeypatch):
        dying, other = rig.program(), rig.thread()
        thread = dying.thread()
        lock, queue = rig.open(other, "lock"), rig.open(other, "queue")
        other.ask("queue.put", queue, None, blobs=[A])
        thread.ask("lock.acquire", lock, None)
        thread.ask("queue.get", queue, None, True)
        monkeypatch.setattr(Lock, "forget_session", fail)
        dying.die()
        assert other.out("queue.get", queue, 0, False) == [A]
        [line] = self.take_trouble(rig)
        assert "lock" in line["what"]

    def test_in_an_undo(self, rig, monkeypatch):
        thread, other = rig.thread(), rig.thread()
        queue = rig.open(other, "queue")
        other.ask("queue.put", queue, None, blobs=[A])
        call = thread.call("queue.get", queue, None, False)
        following = thread.call("queue.qsize", queue)
        assert following.answered
        monkeypatch.setattr(Queue, "undo_get", fail)
        thread.abandon(call)
        assert thread.ask("queue.qsize", queue) == 0
        assert len(self.take_trouble(rig)) == 1

    def test_in_sending_an_answer(self, rig, monkeypatch):
        """It costs the connection that the answer was for, and no other."""
        one, two = rig.thread(), rig.thread()
        event = rig.open(one, "event")
        calls = [thread.call("event.wait", event, None) for thread in (one, two)]
        assert not any(call.answered for call in calls)
        sound = frames.encode_reply

        def encode(lane, number, result, blobs, ack):
            if result is True:
                monkeypatch.undo()  # the first of the two fails
                fail()
            return sound(lane, number, result, blobs, ack)

        monkeypatch.setattr(frames, "encode_reply", encode)
        rig.thread().ask("event.set", event)
        assert calls[1].value is True
        assert one.wire.closed
        [error] = one.wire.errors
        assert isinstance(error, errors.InternalError)
        assert "event.wait" in str(error)
        assert len(self.take_trouble(rig)) == 1
        one.back()
        assert calls[0].value is True


def test_the_direct_rig_sees_mistakes_too(monkeypatch):
    rig = DirectRig("memory", 1)
    thread = rig.thread()
    box = rig.open(thread, "dict")
    monkeypatch.setattr(Dict, "len", fail)
    assert isinstance(thread.fails("dict.len", box), errors.InternalError)
    with pytest.raises(AssertionError, match="dict.len"):
        rig.finish()
