"""Pipes and `cluster.wait`: ends live as descriptors do; one call waits for many of them, and for queues."""

from __future__ import annotations

import pickle

import pytest

from mpshared.errors import BadType, BrokenPipe, Conflict, EndOfPipe, NoSuchObject
from mpshared.values import PICKLE, Value

A, B, C = (pickle.dumps(letter) for letter in "abc")


@pytest.fixture
def alice(rig):
    return rig.thread()


@pytest.fixture
def bob(rig):
    return rig.thread()


def pipe(rig, thread):
    first = rig.open(thread, "pipe")
    return first, rig.open(thread, "pipe", peer=first)


def mention(ident):
    return Value(PICKLE, pickle.dumps(ident), (), (ident,))


def close(thread, ident, n=1):
    thread.ask("cluster.drop", "", [[ident, n]])


class TestEnds:
    def test_an_end_is_closed_with_its_last_reference(self, rig, alice, bob):
        mine, other = pipe(rig, alice)
        bob.ask("cluster.adopt", "", [other])
        close(alice, other)
        alice.ask("pipe.send", mine, blobs=[A])
        close(bob, other)
        assert isinstance(alice.fails("pipe.send", mine, blobs=[A]), BrokenPipe)
        assert isinstance(alice.fails("pipe.recv", mine), EndOfPipe)

    def test_an_end_on_its_way_is_not_closed(self, rig, alice, bob):
        """What `Process(args=(end,)).start(); end.close()` does."""
        mine, other = pipe(rig, alice)
        queue = rig.open(alice, "queue", "q")
        alice.ask("queue.put", queue, None, blobs=[mention(other)])
        close(alice, other)
        alice.ask("pipe.send", mine, blobs=[A])
        bob.out("queue.get", queue, None, False)
        assert bob.out("pipe.recv", other) == [A]

    def test_an_end_dies_with_its_program(self, rig, alice, bob):
        mine, other = pipe(rig, alice)
        bob.ask("cluster.adopt", "", [other])
        close(alice, other)
        waiting = alice.call("pipe.recv", mine)
        assert not waiting.answered
        bob.program.die()
        assert isinstance(waiting.error, EndOfPipe)

    def test_an_end_in_a_message_travels(self, rig, alice, bob):
        near, far = pipe(rig, alice)
        mine, other = pipe(rig, alice)
        bob.ask("cluster.adopt", "", [far])
        alice.ask("pipe.send", near, blobs=[mention(other)])
        close(alice, other)
        bob.out("pipe.recv", far)
        bob.ask("pipe.send", other, blobs=[B])
        assert alice.out("pipe.recv", mine) == [B]

    def test_a_message_read_by_a_program_that_dies_at_once_returns(self, rig, alice, bob):
        mine, other = pipe(rig, alice)
        bob.acks = False
        bob.ask("cluster.adopt", "", [other])
        alice.ask("pipe.send", mine, blobs=[A])
        assert bob.out("pipe.recv", other) == [A]
        bob.program.die()
        assert alice.out("pipe.recv", other) == [A]


class TestWaiting:
    def test_it_waits_for_any(self, rig, alice, bob):
        ends = [pipe(rig, alice) for _ in range(3)]
        waiting = bob.call("cluster.wait", "", [end for _, end in ends], None)
        assert not waiting.answered
        alice.ask("pipe.send", ends[1][0], blobs=[A])
        assert waiting.value == [ends[1][1]]
        assert alice.out("pipe.recv", ends[1][1]) == [A]

    def test_all_that_are_ready_are_named_in_order(self, rig, alice):
        ends = [pipe(rig, alice) for _ in range(3)]
        for near, _ in (ends[2], ends[0]):
            alice.ask("pipe.send", near, blobs=[A])
        assert alice.ask("cluster.wait", "", [far for _, far in ends], None) == [ends[0][1], ends[2][1]]

    def test_time_runs_out_and_leaves_nothing(self, rig, alice):
        near, far = pipe(rig, alice)
        assert alice.ask("cluster.wait", "", [far], 0) == []
        waiting = alice.call("cluster.wait", "", [far], 2)
        rig.advance(1.9)
        assert not waiting.answered
        rig.advance(0.2)
        assert waiting.value == []
        assert rig.machine(far).watchers == {}
        alice.ask("pipe.send", near, blobs=[A])

    def test_the_end_of_a_pipe_counts(self, rig, alice, bob):
        near, far = pipe(rig, alice)
        waiting = bob.call("cluster.wait", "", [far], None)
        close(alice, near)
        assert waiting.value == [far]

    def test_what_is_freed_meanwhile_counts(self, rig, alice, bob):
        near, far = pipe(rig, alice)
        waiting = bob.call("cluster.wait", "", [near, far], None)
        close(alice, far)
        assert set(waiting.value) == {near, far}

    def test_who_gives_up_is_forgotten_everywhere(self, rig, alice, bob):
        ends = [far for _, far in (pipe(rig, alice), pipe(rig, alice))]
        bob.abandon(bob.call("cluster.wait", "", ends, None))
        assert all(rig.machine(end).watchers == {} for end in ends)
        waiting = bob.call("cluster.wait", "", ends, None)
        assert not waiting.answered
        bob.program.die()
        assert all(rig.machine(end).watchers == {} for end in ends)

    def test_who_was_away_has_its_answer(self, rig, alice, bob):
        near, far = pipe(rig, alice)
        waiting = bob.call("cluster.wait", "", [far], None)
        bob.lose()
        alice.ask("pipe.send", near, blobs=[A])
        bob.back()
        assert waiting.value == [far]

    def test_what_a_reader_gets_at_once_wakes_nobody(self, rig, alice, bob):
        near, far = pipe(rig, alice)
        reading, watching = bob.call("pipe.recv", far), rig.thread().call("cluster.wait", "", [far], None)
        alice.ask("pipe.send", near, blobs=[A])
        assert reading.out == [A]
        assert not watching.answered
        alice.ask("pipe.send", near, blobs=[B])
        assert watching.value == [far]

    def test_what_cannot_be_waited_for_is_named(self, rig, alice):
        assert isinstance(alice.fails("cluster.wait", "", ["nonesuch"], 0), NoSuchObject)
        error = alice.fails("cluster.wait", "", [rig.open(alice, "event")], 0)
        assert isinstance(error, Conflict)
        assert "cannot be waited for" in str(error)
        assert isinstance(alice.fails("cluster.wait", "", [5], 0), BadType)


class TestWaitingForQueues:
    @pytest.fixture
    def queue(self, rig, alice):
        return rig.open(alice, "queue")

    @pytest.fixture
    def wait(self, rig, queue):
        return lambda: rig.thread().call("cluster.wait", "", [queue], None)

    def test_an_item_counts_and_stays(self, alice, queue, wait):
        waiting = wait()
        assert not waiting.answered
        alice.ask("queue.put", queue, None, blobs=[A])
        assert waiting.value == [queue]
        assert wait().value == [queue]
        assert alice.out("queue.get", queue, None, False) == [A]
        assert not wait().answered

    def test_what_somebody_gets_at_once_wakes_nobody(self, alice, bob, queue, wait):
        waiting, getting = wait(), bob.call("queue.get", queue, None, False)
        alice.ask("queue.put", queue, None, blobs=[A])
        assert getting.out == [A]
        assert not waiting.answered

    def test_what_its_taker_leaves_counts_again(self, alice, bob, queue, wait):
        alice.ask("queue.put", queue, None, blobs=[A])
        bob.ask("queue.get", queue, None, True)
        waiting = wait()
        assert not waiting.answered
        bob.program.die()
        assert waiting.value == [queue]

    def test_what_becomes_due_counts(self, rig, alice, queue, wait):
        alice.ask("queue.put_later", queue, None, {"delay_s": 2.0}, blobs=[A])
        waiting = wait()
        assert not waiting.answered
        rig.advance(2.1)
        assert waiting.value == [queue]

    def test_who_is_let_in_counts(self, rig, alice, bob):
        queue = rig.open(alice, "queue", maxsize=1)
        alice.ask("queue.put", queue, None, blobs=[A])
        putting = rig.thread().call("queue.put", queue, None, blobs=[B])
        alice.ask("queue.get", queue, None, False)
        assert putting.answered
        assert bob.ask("cluster.wait", "", [queue], None) == [queue]

    def test_results_count(self, rig, alice, bob, queue, wait):
        jobs = rig.open(alice, "queue")
        alice.ask("queue.put", jobs, None, blobs=[A])
        [[number, *_]] = bob.ask("queue.exchange", jobs, queue, [], 1, None, None)[0]
        waiting = wait()
        bob.ask("queue.exchange", jobs, queue, [[number, number]], 0, 0, None, blobs=[B])
        assert waiting.value == [queue]

    def test_the_end_counts(self, alice, queue, wait):
        waiting = wait()
        alice.ask("queue.shutdown", queue, False)
        assert waiting.value == [queue]
        assert wait().value == [queue]
