"""Pipe: messages, ends that close, answers that never arrived."""

import pickle

import pytest

from mpserve.core.t_lock import Lock
from mpserve.core.t_pipe import ROOM_BYTES, Pipe
from mpshared.errors import BadType, BrokenPipe, Conflict, EndOfPipe, NoSuchObject
from mpshared.values import PICKLE, Value

A, B, C = (pickle.dumps(letter) for letter in "abc")
LARGE = b"x" * (ROOM_BYTES + 1)


@pytest.fixture
def ends(world):
    first = world.add(Pipe)
    return first, world.add(Pipe, peer=first.ident)


def send(world, lane, end, *blobs):
    for blob in blobs:
        world.ask(lane, end, "send", blobs=[blob])


def test_messages_go_both_ways_in_order(world, ends):
    alice, bob = world.lane(), world.lane()
    send(world, alice, ends[0], A, B)
    send(world, bob, ends[1], C)
    assert [world.out(bob, ends[1], "recv") for _ in "ab"] == [[A], [B]]
    assert world.out(alice, ends[0], "recv") == [C]


def test_a_reader_waits_and_the_first_is_served_first(world, ends):
    calls = [world.call(world.lane(), ends[1], "recv") for _ in range(3)]
    send(world, world.lane(), ends[0], A, B)
    assert [list(call.out) for call in calls] == [[A], [B], []]
    assert calls[2].waiter


def test_poll(world, ends):
    alice, bob = world.lane(), world.lane()
    assert world.ask(bob, ends[1], "poll", 0) is False
    timed, patient = world.call(bob, ends[1], "poll", 2), world.call(world.lane(), ends[1], "poll", None)
    world.advance(2)
    assert timed.result is False
    send(world, alice, ends[0], A)
    assert patient.result is True
    assert world.ask(bob, ends[1], "poll", None) is True
    assert world.out(bob, ends[1], "recv") == [A]


class TestRoom:
    def test_one_message_of_any_size_fits_and_the_next_waits(self, world, ends):
        alice, bob = world.lane(), world.lane()
        send(world, alice, ends[0], LARGE)
        waiting = world.call(alice, ends[0], "send", blobs=[A])
        assert waiting.waiter
        assert world.out(bob, ends[1], "recv") == [LARGE]
        assert world.arrived(waiting) is None
        assert world.out(bob, ends[1], "recv") == [A]

    def test_senders_are_let_in_in_order(self, world, ends):
        send(world, world.lane(), ends[0], LARGE)
        calls = [world.call(world.lane(), ends[0], "send", blobs=[blob]) for blob in (LARGE, A, B)]
        bob = world.lane()
        assert world.out(bob, ends[1], "recv") == [LARGE]
        assert [call.answered for call in calls] == [True, False, False]
        assert world.out(bob, ends[1], "recv") == [LARGE]
        assert [call.answered for call in calls] == [True, True, True]
        assert [world.out(bob, ends[1], "recv") for _ in "ab"] == [[A], [B]]

    def test_a_suspended_sender_is_skipped_until_it_is_back(self, world, ends):
        send(world, world.lane(), ends[0], LARGE)
        alice, carol = world.lane(), world.lane()
        away = world.call(alice, ends[0], "send", blobs=[A])
        waiting = world.call(carol, ends[0], "send", blobs=[B])
        world.suspend(alice)
        bob = world.lane()
        assert world.out(bob, ends[1], "recv") == [LARGE]
        assert waiting.answered
        assert not away.answered
        world.resume(alice)
        assert away.answered
        assert [world.out(bob, ends[1], "recv") for _ in "ab"] == [[B], [A]]


class TestTheEnd:
    def test_what_was_sent_is_still_read(self, world, ends):
        alice, bob = world.lane(), world.lane()
        send(world, alice, ends[0], A)
        world.delete(ends[0])
        assert world.ask(bob, ends[1], "poll", None) is True
        assert world.out(bob, ends[1], "recv") == [A]
        assert world.ask(bob, ends[1], "poll", None) is True
        with pytest.raises(EndOfPipe, match="closed"):
            world.ask(bob, ends[1], "recv")

    def test_who_reads_or_polls_is_told(self, world, ends):
        reader, poller = (world.call(world.lane(), ends[1], *what) for what in (["recv"], ["poll", None]))
        world.delete(ends[0])
        assert isinstance(reader.error, EndOfPipe)
        assert poller.result is True

    def test_a_suspended_reader_is_told_when_it_is_back(self, world, ends):
        bob = world.lane()
        away = world.call(bob, ends[1], "recv")
        world.suspend(bob)
        send(world, world.lane(), ends[0], A)
        world.delete(ends[0])
        assert world.out(world.lane(), ends[1], "recv") == [A]
        world.resume(bob)
        assert isinstance(away.error, EndOfPipe)

    def test_sending_is_refused(self, world, ends):
        alice = world.lane()
        world.delete(ends[1])
        with pytest.raises(BrokenPipe, match="nobody can read"):
            world.ask(alice, ends[0], "send", blobs=[A])

    def test_who_waits_for_room_is_told(self, world, ends):
        alice = world.lane()
        send(world, alice, ends[0], LARGE)
        call = world.call(alice, ends[0], "send", blobs=[A])
        world.delete(ends[1])
        assert isinstance(call.error, BrokenPipe)

    def test_who_waits_for_room_at_an_end_that_is_closed_is_told(self, world, ends):
        alice = world.lane()
        send(world, alice, ends[0], LARGE)
        call = world.call(alice, ends[0], "send", blobs=[A])
        world.delete(ends[0])
        assert isinstance(call.error, NoSuchObject)
        assert world.out(world.lane(), ends[1], "recv") == [LARGE]

    def test_the_first_end_alone_is_closed(self, world):
        alone = world.add(Pipe)
        with pytest.raises(BrokenPipe):
            world.ask(world.lane(), alone, "send", blobs=[A])
        with pytest.raises(EndOfPipe):
            world.ask(world.lane(), alone, "recv")


class TestLostAnswers:
    def test_a_message_that_did_not_arrive_comes_first_again(self, world, ends):
        alice, bob = world.lane(), world.lane()
        send(world, alice, ends[0], A, B)
        world.abandon(world.call(bob, ends[1], "recv"))
        assert [world.out(bob, ends[1], "recv") for _ in "ab"] == [[A], [B]]

    def test_it_goes_to_who_waits(self, world, ends):
        bob = world.lane()
        send(world, world.lane(), ends[0], A)
        call = world.call(bob, ends[1], "recv")
        waiting = world.call(world.lane(), ends[1], "recv")
        world.end_session(bob.session)
        assert list(waiting.out) == [A]
        assert list(call.out) == [A]

    def test_a_waiting_call_that_is_given_up_leaves_its_line(self, world, ends):
        for end, method in ((ends[1], "recv"), (ends[1], "poll")):
            args = [None] if method == "poll" else []
            world.abandon(world.call(world.lane(), end, method, *args))
        send(world, world.lane(), ends[0], LARGE)
        world.abandon(world.call(world.lane(), ends[0], "send", blobs=[A]))
        assert ends[1].statistics() == {"messages": 1, "bytes": len(LARGE), "waiters": 0}


def test_it_is_rebuilt_from_its_records(world, ends):
    alice, bob = world.lane(), world.lane()
    send(world, alice, ends[0], A, B)
    assert world.out(bob, ends[1], "recv") == [A]
    world.restart()
    first, second = (world.rebuilt(end) for end in ends)
    assert world.out(bob, second, "recv") == [B]
    send(world, bob, second, C)
    assert world.out(alice, first, "recv") == [C]


def test_mentions_are_counted_while_a_message_lies_there(world, ends):
    mention = Value(PICKLE, A, (), ("x",))
    send(world, world.lane(), ends[0], mention)
    assert world.mentions["x"] == 1
    call = world.call(world.lane(), ends[1], "recv")
    assert world.mentions["x"] == 0
    world.abandon(call)
    assert world.mentions["x"] == 1


class TestMaking:
    def test_two_ends_and_no_third(self, world, ends):
        with pytest.raises(Conflict, match="lacks its other end"):
            world.add(Pipe, peer=ends[0].ident)

    def test_not_to_what_is_no_pipe(self, world):
        with pytest.raises(Conflict, match="lacks its other end"):
            world.add(Pipe, peer=world.add(Lock).ident)

    def test_not_to_what_is_not_there(self, world):
        with pytest.raises(NoSuchObject, match="gone"):
            world.add(Pipe, peer="nonesuch")

    def test_not_to_a_number(self, world):
        with pytest.raises(BadType, match="ident"):
            world.add(Pipe, peer=5)

    def test_not_under_a_name(self, world):
        with pytest.raises(Conflict, match="no name"):
            world.add(Pipe, name="p")
