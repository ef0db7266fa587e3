"""Pipes: the same test functions against the standard library and against us; then what only we have."""

from __future__ import annotations

import array
import multiprocessing
import multiprocessing.connection
import os
import pickle
import socket
import threading

import pytest

import mpclient
import mpclient.connection
from mpclient.testing import wait_until, waiters


class OfTheStandardLibrary:
    Pipe = staticmethod(multiprocessing.Pipe)
    wait = staticmethod(multiprocessing.connection.wait)


class Ours:
    wait = staticmethod(mpclient.connection.wait)

    def __init__(self, cluster):
        self.Pipe = cluster.Pipe


@pytest.fixture(params=["standard library", "mpserve"])
def api(request, cluster):
    return OfTheStandardLibrary() if request.param == "standard library" else Ours(cluster)


@pytest.fixture
def ends(api):
    first, second = api.Pipe()
    yield first, second
    first.close()
    second.close()


class TestMessages:
    def test_objects_both_ways(self, ends):
        for sender, reader in (ends, ends[::-1]):
            for thing in (None, 1, "text", [1, {2: (3,)}], b"", {"x"}):
                sender.send(thing)
            assert [reader.recv() for _ in range(6)] == [None, 1, "text", [1, {2: (3,)}], b"", {"x"}]

    def test_bytes(self, ends):
        for data in (b"", b"abc", b"N.", bytes(100_000)):
            ends[0].send_bytes(data)
            assert ends[1].recv_bytes() == data

    def test_what_has_a_buffer_counts_as_bytes(self, ends):
        for thing, data in ((bytearray(b"xy"), b"xy"), (memoryview(b"abcd")[1:3], b"bc")):
            ends[0].send_bytes(thing)
            assert ends[1].recv_bytes() == data
        numbers = array.array("i", [1, 2, 3])
        ends[0].send_bytes(numbers)
        assert ends[1].recv_bytes() == numbers.tobytes()

    def test_part_of_a_buffer(self, ends):
        for args, data in (((2,), b"cdef"), ((2, 3), b"cde"), ((6,), b""), ((0, 0), b"")):
            ends[0].send_bytes(b"abcdef", *args)
            assert ends[1].recv_bytes() == data

    @pytest.mark.parametrize("args", [(-1,), (7,), (0, -1), (5, 2)])
    def test_no_such_part(self, ends, args):
        messages = {(-1,): "offset is negative", (7,): "buffer length < offset", (0, -1): "size is negative"}
        message = messages.get(args, "buffer length < offset + size")
        with pytest.raises(ValueError) as caught:
            ends[0].send_bytes(b"abcdef", *args)
        assert str(caught.value) == message

    def test_text_is_no_buffer(self, ends):
        with pytest.raises(TypeError, match="bytes-like"):
            ends[0].send_bytes("text")

    def test_objects_are_bytes_and_the_other_way_round(self, ends):
        ends[0].send([1, 2])
        assert pickle.loads(ends[1].recv_bytes()) == [1, 2]
        ends[0].send_bytes(pickle.dumps("x"))
        assert ends[1].recv() == "x"

    def test_bytes_that_are_no_object(self, ends):
        ends[0].send_bytes(b"no pickle")
        with pytest.raises(pickle.UnpicklingError):
            ends[1].recv()
        ends[0].send(1)
        assert ends[1].recv() == 1

    def test_what_cannot_be_pickled(self, ends):
        with pytest.raises((TypeError, pickle.PicklingError), match="lock"):
            ends[0].send(threading.Lock())


class TestIntoABuffer:
    def test_at_an_offset(self, ends):
        buffer = bytearray(6)
        ends[0].send_bytes(b"abc")
        assert ends[1].recv_bytes_into(buffer, 2) == 3
        assert bytes(buffer) == b"\0\0abc\0"

    def test_of_larger_items(self, ends):
        numbers = array.array("i", [0, 0, 0])
        ends[0].send_bytes(array.array("i", [7, 8]))
        assert ends[1].recv_bytes_into(numbers, numbers.itemsize) == 2 * numbers.itemsize
        assert list(numbers) == [0, 7, 8]

    def test_too_short_and_the_message_comes_along(self, ends):
        ends[0].send_bytes(b"abcdef")
        ends[0].send_bytes(b"next")
        with pytest.raises(multiprocessing.BufferTooShort) as caught:
            ends[1].recv_bytes_into(bytearray(3))
        assert caught.value.args == (b"abcdef",)
        assert ends[1].recv_bytes() == b"next"

    @pytest.mark.parametrize(("offset", "message"), [(-1, "negative offset"), (4, "offset too large")])
    def test_no_such_offset(self, ends, offset, message):
        with pytest.raises(ValueError) as caught:
            ends[1].recv_bytes_into(bytearray(3), offset)
        assert str(caught.value) == message

    def test_not_into_what_cannot_be_written(self, ends):
        ends[0].send_bytes(b"ab")
        with pytest.raises(TypeError):
            ends[1].recv_bytes_into(b"abc")


class TestMaxlength:
    def test_what_fits(self, ends):
        ends[0].send_bytes(b"abc")
        assert ends[1].recv_bytes(3) == b"abc"
        with pytest.raises(ValueError, match="negative maxlength"):
            ends[1].recv_bytes(-1)

    def test_too_long_ends_reading(self, ends):
        ends[0].send_bytes(b"abc")
        with pytest.raises(OSError, match="bad message length"):
            ends[1].recv_bytes(2)
        assert not ends[1].readable
        assert not ends[1].closed
        with pytest.raises(OSError, match="connection is write-only"):
            ends[1].recv()

    def test_too_long_closes_what_only_reads(self, api):
        reader, writer = api.Pipe(duplex=False)
        writer.send_bytes(b"abc")
        with pytest.raises(OSError, match="bad message length"):
            reader.recv_bytes(maxlength=2)
        assert reader.closed
        writer.close()


class TestPoll:
    @pytest.mark.parametrize("timeout", [(), (0,), (-1,), (0.01,)])
    def test_nothing(self, ends, timeout):
        assert ends[0].poll(*timeout) is False

    def test_something(self, ends):
        ends[0].send(1)
        for timeout in ((), (None,), (0,), (-1,), (5,)):
            assert ends[1].poll(*timeout) is True
        assert ends[1].recv() == 1

    def test_no_number(self, ends):
        with pytest.raises(TypeError):
            ends[0].poll("1")


class TestOneWay:
    def test_directions(self, api):
        reader, writer = api.Pipe(False)
        assert (reader.readable, reader.writable) == (True, False)
        assert (writer.readable, writer.writable) == (False, True)
        with pytest.raises(OSError, match="connection is read-only"):
            reader.send(1)
        with pytest.raises(OSError, match="connection is read-only"):
            reader.send_bytes(b"")
        for call in (
            writer.recv,
            writer.recv_bytes,
            writer.poll,
            lambda: writer.recv_bytes_into(bytearray()),
        ):
            with pytest.raises(OSError, match="connection is write-only"):
                call()
        reader.close()
        writer.close()


class TestTheEnd:
    def test_what_was_sent_is_read_and_then_the_end(self, ends):
        ends[0].send(1)
        ends[0].close()
        assert ends[1].poll(0) is True
        assert ends[1].recv() == 1
        assert ends[1].poll(0) is True
        for call in (ends[1].recv, ends[1].recv_bytes, lambda: ends[1].recv_bytes_into(bytearray(1))):
            with pytest.raises(EOFError):
                call()

    def test_sending_to_nobody(self, ends):
        ends[1].close()
        with pytest.raises(BrokenPipeError):
            ends[0].send(1)

    def test_with(self, ends):
        with ends[0] as entered:
            assert entered is ends[0]
        assert ends[0].closed
        ends[0].close()

    def test_a_closed_one(self, ends):
        ends[0].close()
        calls = [
            ends[0].recv,
            ends[0].recv_bytes,
            ends[0].poll,
            ends[0].fileno,
            lambda: ends[0].send(1),
            lambda: ends[0].send_bytes(b""),
            lambda: ends[0].recv_bytes_into(bytearray()),
        ]
        for call in calls:
            with pytest.raises(OSError, match="handle is closed"):
                call()


class TestWait:
    def test_those_that_are_ready(self, api):
        pipes = [api.Pipe() for _ in range(3)]
        readers = [reader for _, reader in pipes]
        assert api.wait(readers, 0) == []
        assert api.wait(readers, -1) == []
        assert api.wait(readers, timeout=0.01) == []
        pipes[1][0].send(1)
        assert api.wait(readers) == [readers[1]]
        pipes[2][0].close()
        assert set(api.wait(iter(readers), None)) == {readers[1], readers[2]}
        for end in (end for pipe in pipes for end in pipe):
            end.close()

    def test_nothing_to_wait_for(self, api):
        assert api.wait([], 0) == []
        assert api.wait([], 0.01) == []

    def test_with_sockets_and_descriptors(self, api):
        near, far = api.Pipe()
        one, other = socket.socketpair()
        reading, writing = os.pipe()
        things = [far, one, reading]
        try:
            assert api.wait(things, 0) == []
            assert api.wait(things, 0.01) == []
            other.send(b"x")
            assert api.wait(things) == [one]
            one.recv(1)
            os.write(writing, b"x")
            assert api.wait(things) == [reading]
            os.read(reading, 1)
            near.send(1)
            assert api.wait(things) == [far]
        finally:
            for end in (one, other, near, far):
                end.close()
            os.close(reading)
            os.close(writing)

    def test_it_wakes_up(self, api, in_thread):
        near, far = api.Pipe()
        one, other = socket.socketpair()
        with near, far, one, other:
            waiting = in_thread(lambda: api.wait([far, one]))
            near.send(1)
            assert waiting() == [far]
            far.recv()
            waiting = in_thread(lambda: api.wait([far, one]))
            other.send(b"x")
            assert waiting() == [one]

    def test_a_closed_one(self, api):
        near, far = api.Pipe()
        far.close()
        with pytest.raises((OSError, ValueError)):
            api.wait([far], 0)
        near.close()


# -- what only we have -------------------------------------------------------------------------------


def test_wait_on_two_servers(cluster, fresh_server):
    with fresh_server().connect() as elsewhere:
        pipes = [cluster.Pipe(), elsewhere.Pipe()]
        readers = [reader for _, reader in pipes]
        assert mpclient.connection.wait(readers, 0.01) == []
        for sender, reader in pipes:
            sender.send(1)
            assert mpclient.connection.wait(readers) == [reader]
            reader.recv()


def test_copies_in_one_program_are_closed_one_by_one(cluster):
    near, far = cluster.Pipe()
    box = cluster.Queue()
    box.put(far)
    copy = box.get()
    assert copy != far
    far.close()
    near.send(1)
    assert copy.recv() == 1
    copy.close()
    with pytest.raises(BrokenPipeError):
        near.send(2)


def test_a_closed_one_does_not_travel(cluster):
    end, _ = cluster.Pipe()
    end.close()
    with pytest.raises(OSError, match="closed"):
        cluster.Queue().put(end)
    with pytest.raises(OSError, match="closed"):
        pickle.dumps(end)


def test_shared_objects_travel(cluster):
    near, far = cluster.Pipe()
    near.send(cluster.dict(x=1))
    assert dict(far.recv()) == {"x": 1}
    near.send(cluster.dict(x=2))
    assert dict(pickle.loads(far.recv_bytes())) == {"x": 2}


def test_large_arrays_travel_beside_the_pickle(cluster):
    numpy = pytest.importorskip("numpy")
    near, far = cluster.Pipe()
    numbers = numpy.arange(200_000)
    near.send(numbers)
    assert (far.recv() == numbers).all()
    near.send(numbers)
    assert (pickle.loads(far.recv_bytes()) == numbers).all()


def test_an_end_given_away_and_closed_here(cluster, program, unique):
    """`Process(args=(end,)).start(); end.close()`, as everybody writes it."""
    ours, theirs = cluster.Pipe()
    cluster.Queue(name=unique).put(theirs)
    theirs.close()
    ours.send("hello")
    other = program(f"end = cluster.Queue(name={unique!r}).get()\nend.send(end.recv() * 2)\nend.recv()")
    assert ours.recv() == "hellohello"
    ours.send("go")
    other.finish()
    with pytest.raises(EOFError):
        ours.recv()


def test_who_is_killed_leaves_its_end(cluster, program, unique):
    ours, theirs = cluster.Pipe()
    cluster.Queue(name=unique).put(theirs)
    theirs.close()
    other = program(f"end = cluster.Queue(name={unique!r}).get()\nend.send(1)\nend.recv()")
    assert ours.recv() == 1
    other.kill()
    assert mpclient.connection.wait([ours]) == [ours]
    with pytest.raises(EOFError):
        ours.recv()


def test_a_sender_waits_for_room(cluster, in_thread):
    near, far = cluster.Pipe()
    near.send_bytes(bytes(2 << 20))
    sending = in_thread(lambda: near.send_bytes(b"second"))
    wait_until(lambda: waiters(cluster, far) == 1)
    assert len(far.recv_bytes()) == 2 << 20
    assert far.recv_bytes() == b"second"
    sending()


def test_bytes_that_look_like_a_pickle_of_long_bytes_arrive_as_they_are(cluster):
    near, far = cluster.Pipe()
    data = b"\x80\x05B" + (1 << 18).to_bytes(4, "little") + bytes(3 << 17)
    near.send_bytes(data)
    near.send_bytes(data)
    assert [far.recv_bytes() == data for _ in range(2)] == [True, True]


def test_an_end_that_is_forgotten_is_closed(cluster):
    near, far = cluster.Pipe()
    del near
    with pytest.raises(EOFError):
        far.recv()


def test_a_fork_has_both_ends_as_its_parent(program):
    source = """
near, far = cluster.Pipe()
if os.fork() == 0:
    near.close()
    far.send(far.recv() + 1)
    raise SystemExit(0)
far.close()
near.send(1)
say(near.recv())
os.wait()
"""
    assert program(source).finish() == "2"


def test_a_child_of_multiprocessing_has_it(cluster):
    near, far = cluster.Pipe()
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_answer, args=(far,))
    child.start()
    near.send(20)
    assert near.recv() == 21
    child.join()


def _answer(end):
    end.send(end.recv() + 1)
