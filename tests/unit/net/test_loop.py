"""The loop: turns, timers, calls from elsewhere; and the outbox, which writes for it."""

from __future__ import annotations

import os
import socket
import threading
from types import SimpleNamespace

import pytest

from mpserve.net.loop import STOOD_S, Loop
from mpserve.net.outbox import JOIN_BYTES, Outbox
from mpserve.net.poll import READ, WRITE, _Selector, make_poller


class Timed:
    def __init__(self, deadlines, log, name="t", error=None):
        self.deadlines, self.log, self.name, self.error = list(deadlines), log, name, error

    def next_deadline_s(self):
        return self.deadlines[0] if self.deadlines else None

    def advance(self, now_s):
        self.log.append((self.name, self.deadlines.pop(0), now_s))
        if self.error is not None:
            raise self.error


class Handler:
    def __init__(self, sock, loop, error=None):
        self.sock, self.loop, self.error, self.log = sock, loop, error, []
        loop.watch(sock.fileno(), self)

    def readable(self):
        self.log.append(self.sock.recv(100))
        if self.error is not None:
            raise self.error
        self.loop.mark_dirty(self)

    def writable(self):
        self.log.append("writable")

    def broken(self, error):
        self.log.append(error)
        self.loop.forget(self.sock.fileno(), self)


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def loop(clock):
    loop = Loop(lambda: clock[0])
    yield loop
    loop.close()


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


class TestTurns:
    def test_reads_first_and_writes_afterwards(self, loop, pair):
        handler = Handler(pair[0], loop)
        pair[1].send(b"x")
        loop.turn(0)
        assert handler.log == [b"x", "writable"]
        loop.turn(0)
        assert handler.log == [b"x", "writable"]

    def test_writes_what_is_large_last(self, loop, pair):
        class Writer(Handler):
            def writable(self):
                written.append(self)

        written: list[Handler] = []
        large, small = (Writer(sock, loop) for sock in pair)
        loop.mark_laden(large)
        loop.mark_dirty(small)
        loop.turn(None)  # and does not wait before
        assert written == [small, large]

    def test_a_handler_that_raises_is_told(self, loop, pair):
        handler = Handler(pair[0], loop, ValueError("oh"))
        pair[1].send(b"x")
        loop.turn(0)
        assert handler.log[0] == b"x"
        assert isinstance(handler.log[1], ValueError)
        pair[1].send(b"y")
        loop.turn(0)
        assert len(handler.log) == 2

    def test_what_is_due_runs_and_what_is_not_does_not(self, loop, clock):
        log = []
        loop.timed += [Timed([101.0, 105.0], log, "a"), Timed([], log, "b"), Timed([102.0], log, "c")]
        loop.turn(0)
        assert log == []
        clock[0] = 103.0
        loop.turn(0)
        assert [name for name, *_ in log] == ["a", "c"]
        loop.turn(0)
        assert len(log) == 2

    def test_that_it_comes_much_too_late_is_told_before_what_is_due_runs(self, loop, clock):
        log = []
        loop.timed.append(Timed([101.0, 110.0], log, "a"))
        loop.stood = lambda since_s, now_s: log.append((since_s, now_s))
        clock[0] = 101.0 + STOOD_S
        loop.turn(0)
        assert [name for name, *_ in log] == ["a"]
        clock[0] = 140.0
        loop.turn(0)
        assert log[1] == (110.0, 140.0)
        assert log[2][0] == "a"

    def test_sleeps_until_the_next_deadline(self, loop, clock):
        log = []
        loop.timed.append(Timed([100.5], log))
        assert loop._sleep_s(loop._deadline_s(), None) == 0.5
        assert loop._sleep_s(loop._deadline_s(), 0.1) == 0.1
        clock[0] = 200.0
        assert loop._sleep_s(loop._deadline_s(), None) == 0.0

    def test_one_that_leaves_while_time_passes(self, loop, clock):
        log = []

        class Leaving(Timed):
            def advance(self, now_s):
                super().advance(now_s)
                loop.timed.remove(self)

        loop.timed += [Leaving([99.0], log, "leaves"), Timed([99.0], log, "stays")]
        loop.turn(0)
        assert [name for name, *_ in log] == ["leaves", "stays"]

    def test_an_exception_in_a_timer_is_told_and_the_others_run(self, loop):
        log, told = [], []
        loop.trouble = told.append
        loop.timed += [Timed([99.0], log, "a", ValueError()), Timed([99.0], log, "b")]
        loop.turn(0)
        assert [name for name, *_ in log] == ["a", "b"]
        assert len(told) == 1

    def test_without_anybody_to_tell_it_ends_the_loop(self, loop):
        loop.timed.append(Timed([99.0], [], "a", ValueError()))
        with pytest.raises(ValueError):
            loop.turn(0)

    def test_who_ends_the_turn_may_have_more_read_before(self, loop, pair):
        handler = Handler(pair[0], loop)

        def wants_more():
            pair[1].send(b"y")
            return True

        loop.ender = SimpleNamespace(wants_more=wants_more, end_turn=lambda: handler.log.append("end"))
        pair[1].send(b"x")
        loop.turn(0)
        assert handler.log == [b"x", b"y", "end", "writable"]

    def test_the_next_turn_is_due_at_once_if_the_end_of_one_says_so(self, loop):
        again = [True, False]
        loop.ender = SimpleNamespace(wants_more=lambda: False, end_turn=lambda: again.pop(0))
        loop.turn(0)
        assert loop._sleep_s(None, None) == 0.0
        loop.turn(None)
        assert loop._sleep_s(None, 5.0) == 5.0


class TestFromElsewhere:
    def test_a_call_from_another_thread_wakes_it(self, loop):
        done = []

        def finish():
            done.append(1)
            loop.stop()

        thread = threading.Thread(target=loop.call_soon_threadsafe, args=[finish])
        thread.start()
        loop.run()
        thread.join()
        assert done == [1]

    def test_calls_that_came_before_the_turn(self, loop):
        done = []
        for n in range(3):
            loop.call_soon_threadsafe(lambda n=n: done.append(n))
        loop.turn(None)
        assert done == [0, 1, 2]

    def test_an_exception_in_one_is_told(self, loop):
        told, done = [], []
        loop.trouble = told.append
        loop.call_soon_threadsafe(lambda: 1 / 0)
        loop.call_soon_threadsafe(lambda: done.append(1))
        loop.turn(0)
        assert isinstance(told[0], ZeroDivisionError)
        assert done == [1]

    def test_a_stop_before_the_run(self, loop):
        loop.stop()
        loop.run()

    def test_a_byte_in_the_wakeup_descriptor(self, loop):
        os.write(loop.wakeup_fd, b"\x0f")
        loop.turn(None)
        loop.call_soon_threadsafe(loop.stop)
        loop.run()

    def test_after_its_end_nothing_happens(self):
        loop = Loop()
        loop.close()
        loop.call_soon_threadsafe(lambda: None)


@pytest.mark.parametrize("make", [make_poller, _Selector])
class TestPollers:
    def test_tells_what_is_ready(self, make, pair):
        poller = make()
        fd = pair[0].fileno()
        poller.watch(fd)
        assert poller.wait(0) == []
        pair[1].send(b"x")
        assert [ready for ready, _ in poller.wait(0)] == [fd]
        poller.change(fd, WRITE)
        [(ready, event)] = poller.wait(0)
        assert ready == fd
        assert event & poller.write_bit
        poller.change(fd, READ | WRITE)
        [(_, event)] = poller.wait(0)
        assert event & poller.write_bit
        assert event != poller.write_bit
        poller.forget(fd)
        assert poller.wait(0) == []
        poller.close()


class TestOutbox:
    @pytest.mark.parametrize(
        "sizes",
        [
            [1],
            [0, 1, 0],
            [10] * 2000,
            [JOIN_BYTES, 1],
            [200_000],
            [1, 3_000_000, 5, 0, 70_000, 9],
            [40_000] * 700,
        ],
    )
    def test_all_arrives_in_order_whatever_the_socket_takes(self, pair, sizes):
        ours, theirs = pair
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        pieces = [bytes([n % 251]) * size for n, size in enumerate(sizes)]
        outbox = Outbox()
        outbox.add(pieces)
        assert outbox.size_bytes == sum(sizes)
        arrived = bytearray()
        while outbox.size_bytes:
            before = outbox.size_bytes
            outbox.flush(ours)
            while True:
                try:
                    arrived += theirs.recv(50_000)
                except BlockingIOError:
                    break
            assert outbox.size_bytes < before
        assert arrived == b"".join(pieces)
        assert not outbox._pieces

    def test_a_broken_socket_is_an_error(self, pair):
        ours, theirs = pair
        theirs.close()
        outbox = Outbox()
        outbox.add([b"x"])
        with pytest.raises(OSError):
            outbox.flush(ours)
        outbox.clear()
        assert outbox.size_bytes == 0
