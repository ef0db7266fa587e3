"""Our protocol's server side over a transport in memory: numbers of calls, and the answers that are kept."""

from __future__ import annotations

import pickle

import pytest
from tests.contract.wired_rig import Wire, WiredRig
from tests.unit.dispatch.asking import call, numbers, refused

from mpserve.core.bounds import HeldLimits
from mpserve.dispatch.dispatcher import Limits
from mpserve.dispatch.own import LARGE_BYTES
from mpshared import errors
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Failed, Reply, Type

A, B, C = (pickle.dumps(letter) for letter in "abc")
LARGE = bytes(LARGE_BYTES)


class TestNumbers:
    def test_a_gap_is_refused(self, thread):
        thread.wire.say(call(thread.number, 2, "cluster.count"))
        assert refused(thread.wire, "call 2 of lane 1 came after call 0")

    def test_a_repeated_call_is_answered_again_and_applied_once(self, rig, thread):
        counter = rig.open(thread, "dict")
        for _ in range(3):
            thread.wire.say(call(thread.number, 2, "dict.incr", counter, "n", 1, ack=1))
        thread.wire.carry()
        assert [(a.number, a.result) for a in thread.wire.answers[1:]] == [(2, 1)] * 3

    def test_a_repeated_call_that_waits_is_answered_once(self, rig, thread):
        event = rig.open(thread, "event")
        for _ in range(3):
            thread.wire.say(call(thread.number, 2, "event.wait", event, None, ack=1))
        rig.thread().ask("event.set", event)
        assert numbers(thread.wire) == [1, 2]

    def test_a_call_that_waited_before_a_restart_is_made_again_once(self, rig, thread):
        lock, holder = rig.open(thread, "lock"), rig.thread()
        holder.ask("lock.acquire", lock, None)
        lane = rig.engine.find_session(thread.program.id).lane(thread.number)
        lane.restored, lane.place, lane.last_number = True, (2, 1), 2
        for _ in range(2):
            thread.wire.say(call(thread.number, 2, "lock.acquire", lock, None, ack=1))
        holder.ask("lock.release", lock)
        assert numbers(thread.wire) == [1, 2]
        lane.place = (2, 1)
        thread.wire.say(call(thread.number, 3, "lock.release", lock, ack=2))
        thread.wire.say(call(thread.number, 2, "lock.acquire", lock, None, ack=2))
        assert refused(thread.wire, "call 2 of lane 1 was acknowledged")

    def test_an_error_is_repeated_as_well(self, rig, thread):
        for _ in range(2):
            thread.wire.say(call(thread.number, 1, "dict.len", "nonesuch"))
        thread.wire.carry()
        one, two = thread.wire.answers
        assert isinstance(one, Failed)
        assert one == two

    def test_an_acknowledged_number_is_refused(self, rig, thread):
        thread.wire.say(call(thread.number, 1, "cluster.count"))
        thread.wire.say(call(thread.number, 2, "cluster.count", ack=1))
        thread.wire.say(call(thread.number, 1, "cluster.count"))
        assert refused(thread.wire, "call 1 of lane 1 was acknowledged")

    def test_number_zero_is_refused(self, thread):
        thread.wire.say(call(thread.number, 0, "cluster.count"))
        assert refused(thread.wire, "call 0")

    def test_an_unanswered_call_cannot_be_acknowledged(self, rig, thread):
        event = rig.open(thread, "event")
        thread.wire.say(call(thread.number, 2, "event.wait", event, None, ack=99))
        thread.wire.control(Type.ACK, thread.number, ack=99)
        rig.thread().ask("event.set", event)
        thread.wire.say(call(thread.number, 2, "event.wait", event, None))
        assert numbers(thread.wire) == [1, 2, 2]

    def test_resent_after_a_reconnect(self, rig, program, thread):
        queue = rig.open(thread, "queue")
        thread.wire.say(call(thread.number, 2, "queue.put_many", queue, None, ack=1, blobs=[A, B, C]))
        thread.wire.say(call(thread.number, 3, "queue.get", queue, None, False, ack=1))
        thread.wire.cut()  # both answers are lost
        body = {"session": program.id, "secret": program.secret, "lane": thread.number, "ack": 1}
        wire = Wire(rig)
        assert wire.attach(body)["last"] == 3
        wire.say(call(thread.number, 2, "queue.put_many", queue, None, ack=1, blobs=[A, B, C]))
        wire.say(call(thread.number, 3, "queue.get", queue, None, False, ack=1))
        wire.say(call(thread.number, 4, "queue.qsize", queue, ack=3))
        wire.carry()
        assert [a.number for a in wire.answers] == [2, 3, 4]
        assert wire.answers[1].blobs == (A,)
        assert wire.answers[2].result == 2

    def test_what_was_answered_with_nothing_is_not_kept_and_not_done_again(self, rig, program, thread):
        queue = rig.open(thread, "queue")
        for _ in range(2):
            thread.wire.say(call(thread.number, 2, "queue.put_many", queue, None, ack=1, blobs=[A]))
        assert numbers(thread.wire) == [1, 2, 2]
        assert not rig.inner.find_session(program.id).lanes[thread.number].unsettled
        thread.wire.say(call(thread.number, 3, "queue.qsize", queue, ack=2))
        thread.wire.carry()
        assert thread.wire.answers[-1].result == 1

    def test_at_most_64_without_an_acknowledgement(self, rig, thread):
        for number in range(1, 65):
            thread.wire.say(call(thread.number, number, "cluster.count"))
        assert numbers(thread.wire) == list(range(1, 65))
        thread.wire.say(call(thread.number, 65, "cluster.count"))
        assert refused(thread.wire, "over 64 calls")

    def test_any_number_with_acknowledgements(self, thread):
        for number in range(1, 201):
            thread.wire.say(call(thread.number, number, "cluster.count", ack=max(0, number - 64)))
        assert len(numbers(thread.wire)) == 200

    def test_waiting_calls_count_as_unacknowledged(self, rig, thread):
        event = rig.open(thread, "event")
        for number in range(2, 66):
            thread.wire.say(call(thread.number, number, "event.wait", event, None, ack=1))
        thread.wire.say(call(thread.number, 66, "event.wait", event, None, ack=1))
        assert refused(thread.wire, "over 64 calls")
        assert rig.waiting(event) == 1  # one of a lane is under way at a time

    def test_values_behind_a_call_that_waits_are_bounded_but_results_of_jobs_are_not(self, rig, thread):
        rig.inner.bounds.limits = HeldLimits(max_waiting=1000)
        event, jobs = rig.open(thread, "event"), rig.open(thread, "queue")
        thread.ask("queue.put_many", jobs, None, blobs=[A, B])
        thread.ask("queue.exchange", jobs, None, [], 2, 0, None)
        thread.wire.say(call(thread.number, 5, "event.wait", event, None, ack=4))
        for number, job in ((6, 1), (7, 2)):
            args = (jobs, [[job, job]], 0, 0, None)
            thread.wire.say(call(thread.number, number, "queue.exchange", jobs, *args, blobs=[bytes(600)]))
        thread.wire.say(call(thread.number, 8, "queue.put", jobs, None, blobs=[bytes(600)]))
        rig.thread().ask("event.set", event)
        thread.wire.carry()
        assert [type(answer) for answer in thread.wire.answers[-4:]] == [Reply] * 3 + [Failed]
        assert "--max-waiting" in thread.wire.answers[-1].text


class TestKeptAnswers:
    @pytest.fixture
    def rig(self):
        rig = WiredRig("memory", 1, Limits(kept_bytes=3 * LARGE_BYTES))
        yield rig
        rig.finish()

    def fill(self, rig, thread, n):
        box = rig.open(thread, "dict")
        thread.ask("dict.set", box, "k", blobs=[LARGE])
        for number in range(3, 3 + n):
            thread.wire.say(call(thread.number, number, "dict.get", box, "k", ack=2))
        thread.wire.carry()
        return box

    def kept(self, rig, thread):
        return rig.inner.find_session(thread.program.id).kept_bytes

    def test_too_many_large_answers_without_an_acknowledgement(self, rig, thread):
        self.fill(rig, thread, 4)
        assert refused(thread.wire, "acknowledge", errors.TooBig)
        assert thread.program.alive

    def test_acknowledging_makes_room(self, rig, thread):
        box = self.fill(rig, thread, 3)
        assert self.kept(rig, thread) > 3 * LARGE_BYTES
        thread.wire.control(Type.ACK, thread.number, ack=4)
        thread.wire.say(call(thread.number, 6, "dict.get", box, "k", ack=4))
        assert numbers(thread.wire)[-1] == 6
        thread.wire.control(Type.ACK, thread.number, ack=6)
        assert self.kept(rig, thread) == 0

    def test_a_lane_that_acknowledges_is_never_refused(self, rig, thread):
        box = self.fill(rig, thread, 3)
        other = thread.program.thread()
        for _ in range(3):
            assert other.out("dict.get", box, "k") == [LARGE]

    def test_after_a_reconnect_it_goes_on(self, rig, thread):
        box = self.fill(rig, thread, 4)
        thread.wire = Wire(rig)
        program = thread.program
        body = {"session": program.id, "secret": program.secret, "lane": thread.number, "ack": 5}
        assert thread.wire.attach(body)["last"] == 5
        thread.wire.say(call(thread.number, 6, "dict.get", box, "k", ack=5))
        assert numbers(thread.wire) == [6]

    def test_a_repeated_answer_counts_once(self, rig, thread):
        box = self.fill(rig, thread, 1)
        before = self.kept(rig, thread)
        thread.wire.say(call(thread.number, 3, "dict.get", box, "k", ack=2))
        assert self.kept(rig, thread) == before

    def test_an_abandoned_one_and_a_closed_lane_do_not_count(self, rig, thread):
        box = self.fill(rig, thread, 2)
        thread.wire.control(Type.ABANDON, thread.number, 3)
        other = thread.program.thread()
        other.acks = False
        assert other.call("dict.get", box, "k").answered
        other.end()
        thread.wire.control(Type.ABANDON, thread.number, 4)
        assert self.kept(rig, thread) == 0


class TestAnswers:
    def test_one_that_cannot_be_sent_undoes_its_call(self, rig, thread, monkeypatch):
        queue = rig.open(thread, "queue")
        thread.ask("queue.put_many", queue, None, blobs=[A, bytes(5000)])
        waiting = rig.thread().call("queue.join", queue, None)
        assert not waiting.answered
        monkeypatch.setattr(frames, "SIZE_MAX_BYTES", 3000)
        error = thread.fails("queue.get_many", queue, 9, 0, False)
        assert isinstance(error, errors.TooBig)
        assert "queue.get_many" in str(error)
        assert thread.out("queue.get", queue, 0, False) == [A]
        monkeypatch.undo()
        assert thread.out("queue.get", queue, 0, False) == [bytes(5000)]

    def test_its_error_is_what_a_repeated_call_is_told(self, rig, thread, monkeypatch):
        queue = rig.open(thread, "queue")
        thread.ask("queue.put", queue, None, blobs=[bytes(frames.SEPARATE_BYTES)])
        monkeypatch.setattr(frames, "SIZE_MAX_BYTES", 3000)
        thread.wire.say(call(thread.number, 3, "queue.get", queue, 0, False, ack=2))
        monkeypatch.undo()
        thread.wire.say(call(thread.number, 3, "queue.get", queue, 0, False, ack=2))
        thread.wire.carry()
        assert [type(answer) for answer in thread.wire.answers[2:]] == [Failed, Failed]
        assert rig.machine(queue).ready.size == 1

    def test_an_error_with_odd_fields_is_sent_without_them(self, thread):
        thread.wire.side._error(thread.number, 1, errors.BadValue("what \ud800", odd=object()))
        thread.wire.carry()
        assert thread.wire.answers == [Failed(thread.number, 1, "bad_value", "what \\ud800", {})]

    def test_a_peer_that_does_not_read_is_not_listened_to(self, rig, thread):
        box = rig.open(thread, "dict")
        data = b"".join(
            piece
            for number in range(2, 6)
            for piece in call(thread.number, number, "dict.incr", box, "n", 1, ack=1)
        )
        thread.wire.full = True
        thread.wire.side.receive_data(data)
        assert numbers(thread.wire) == [1]
        assert rig.machine(box).state() == []
        thread.wire.full = False
        thread.wire.side.drained()
        thread.wire.carry()
        assert [a.result for a in thread.wire.answers[1:] if isinstance(a, Reply)] == [1, 2, 3, 4]

    def test_what_was_left_unread_may_be_wrong(self, rig, thread):
        thread.wire.full = True
        thread.wire.side.receive_data(b"".join([*call(thread.number, 1, "cluster.count"), b"\xff" * 40]))
        assert numbers(thread.wire) == []
        thread.wire.full = False
        thread.wire.side.drained()
        thread.wire.carry()
        assert [a.number for a in thread.wire.answers] == [1]
        assert refused(thread.wire, "size")
