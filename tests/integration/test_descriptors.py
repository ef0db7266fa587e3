"""Descriptors of what can be waited for: the same tests against the standard library and against us."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import select
import selectors

import pytest

import mpclient
import mpclient.connection
from mpclient.testing import wait_until

LIMIT_S = 30.0


@pytest.fixture(params=["standard library", "mpserve"])
def api(request, cluster):
    if request.param == "standard library":
        return multiprocessing.get_context("spawn")
    return cluster.get_context()


@pytest.fixture(params=["Pipe", "Queue", "SimpleQueue"])
def line(request, api):
    """Something with two ends: what to send by, what to wait for, what to receive by."""
    if request.param == "Pipe":
        reader, writer = api.Pipe(duplex=False)
        yield writer.send, reader, reader.recv
        reader.close()
        writer.close()
    else:
        queue = getattr(api, request.param)()
        yield queue.put, queue._reader, queue.get
        queue.close()


def ready(thing, timeout_s=0.0):
    return select.select([thing], [], [], timeout_s)[0] == [thing]


def becomes_quiet(thing):
    """Wait until it is not ready any more: ours looks again when something was taken."""
    wait_until(lambda: not ready(thing), LIMIT_S)


class TestAlike:
    def test_it_is_ready_while_something_is_there(self, line):
        send, reader, receive = line
        assert not ready(reader)
        send(1)
        assert ready(reader, LIMIT_S)
        assert ready(reader, LIMIT_S)
        assert receive() == 1
        becomes_quiet(reader)
        send(2)
        send(3)
        assert ready(reader, LIMIT_S)
        assert receive() == 2
        assert ready(reader, LIMIT_S)
        assert receive() == 3
        becomes_quiet(reader)

    def test_it_keeps_its_number(self, line):
        _, reader, _ = line
        number = reader.fileno()
        assert type(number) is int
        assert reader.fileno() == number
        os.fstat(number)

    def test_selectors(self, line):
        send, reader, receive = line
        with selectors.DefaultSelector() as selector:
            selector.register(reader, selectors.EVENT_READ, "it")
            send("x")
            assert [key.data for key, _ in selector.select(LIMIT_S)] == ["it"]
            assert receive() == "x"

    def test_asyncio(self, line):
        send, reader, receive = line
        found = []

        async def listen():
            loop, over = asyncio.get_running_loop(), asyncio.Event()

            def take():
                found.append(receive())
                if len(found) == 5:
                    over.set()

            loop.add_reader(reader, take)
            for number in range(5):
                send(number)
            await asyncio.wait_for(over.wait(), LIMIT_S)
            loop.remove_reader(reader)

        asyncio.run(listen())
        assert found == [*range(5)]

    def test_poll(self, line):
        send, reader, receive = line
        assert reader.poll() is False
        assert reader.poll(0.01) is False
        send(1)
        assert reader.poll(LIMIT_S) is True
        assert reader.poll(None) is True
        assert receive() == 1

    def test_the_end_of_a_pipe(self, api):
        reader, writer = api.Pipe(duplex=False)
        with reader:
            assert not ready(reader)
            writer.close()
            assert ready(reader, LIMIT_S)
            with pytest.raises(EOFError):
                reader.recv()
            assert ready(reader, LIMIT_S)

    def test_a_closed_one(self, line):
        _, reader, _ = line
        reader.close()
        assert reader.closed
        for call in (reader.fileno, reader.poll, reader.recv):
            with pytest.raises(OSError, match="handle is closed"):
                call()

    def test_the_ends_of_a_queue(self, api):
        queue = api.Queue()
        assert queue._reader is queue._reader
        assert {queue._reader: 1}[queue._reader] == 1
        queue.put(1)
        wait = multiprocessing.connection.wait
        assert wait([queue._reader], LIMIT_S) == [queue._reader]
        assert queue._reader.recv() == 1
        queue._writer.send(2)
        assert queue.get() == 2
        queue._writer.close()
        with pytest.raises(OSError, match="handle is closed"):
            queue._writer.send(3)
        queue._reader.close()
        queue.close()

    def test_what_else_is_asked_of_a_queue_is_not_there(self, api):
        with pytest.raises(AttributeError, match=r"Queue.* has no attribute '_nothing'"):
            api.Queue()._nothing  # noqa: B018


# -- what only we have -----------------------------------------------------------------------------


def test_queues_pipes_and_others_are_waited_for_together(cluster):
    first, second = mpclient.Queue(), mpclient.JoinableQueue()
    near, far = cluster.Pipe()
    reading, writing = os.pipe()
    things = [first._reader, second._reader, far, reading]
    wait = mpclient.connection.wait
    try:
        assert wait(things, 0) == []
        second.put(1)
        near.send(1)
        os.write(writing, b"x")
        assert wait(things, LIMIT_S) == things[1:]
        assert second.get() == 1
        second.task_done()
        assert wait(things, LIMIT_S) == things[2:]
        first.put(1)
        assert wait(things, LIMIT_S) == [things[0], *things[2:]]
    finally:
        os.close(reading)
        os.close(writing)


def test_a_reader_travels(cluster, program, unique):
    queue = cluster.get_context().Queue()
    cluster.Queue(name=unique).put(queue._reader)
    other = program(
        f"reader = cluster.Queue(name={unique!r}).get()\nhear()\nprint(reader.poll(30), reader.recv())"
    )
    queue.put("x")
    queue.flush()
    other.say()
    assert other.finish() == "True x"


def test_ends_of_one_queue_are_not_the_queue(cluster):
    """They say what they are, and nobody else's queue is closed with them."""
    queue = cluster.get_context().SimpleQueue()
    copy = cluster.get_context().Queue()
    queue._reader.close()
    queue.put(1)
    assert queue.get() == 1
    assert "_Reader" in repr(copy._reader)


def test_somebody_else_may_be_faster(cluster, program, unique):
    """Then it is quiet again once this process has asked, as with a pipe that several processes read."""
    queue = cluster.get_context().Queue()
    cluster.Queue(name=unique).put(queue)
    reader = queue._reader
    queue.put(1)
    assert ready(reader, LIMIT_S)
    other = program(f"print(cluster.Queue(name={unique!r}).get().get(timeout=30))")
    assert other.finish() == "1"
    assert queue.empty()
    becomes_quiet(reader)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_has_its_own(cluster, program):
    other = program(
        "import os, select\n"
        "queue = cluster.get_context().Queue()\n"
        "reader = queue._reader\n"
        "mine = reader.fileno()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    other = reader.fileno() != mine\n"
        "    queue.put('x')\n"
        "    queue.flush()\n"
        "    os._exit(not (other and bool(select.select([reader], [], [], 30)[0])))\n"
        "print(os.waitpid(child, 0)[1], len(select.select([reader], [], [], 30)[0]), queue.get())\n"
    )
    assert other.finish() == "0 1 x"


def test_it_is_closed_with_the_last_that_refers_to_it(cluster):
    near, far = cluster.Pipe()
    number = far.fileno()
    os.fstat(number)
    far.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    near.close()


def test_when_the_server_is_gone_there_is_no_need_to_wait(fresh_server):
    server = fresh_server()
    with server.connect(reconnect_timeout=0.1) as cluster:
        queue = cluster.get_context().Queue()
        reader = queue._reader
        assert not ready(reader)
        server.stop()
        assert ready(reader, LIMIT_S)
        with pytest.raises(mpclient.ServerGone):
            queue.get()
        assert ready(reader, LIMIT_S)


def end_at(gate):
    gate.wait()


@pytest.mark.hosts
def test_the_sentinel_of_a_process(crew):
    gate = crew.Event()
    process = crew.Process(target=end_at, args=(gate,))
    process.start()
    assert not ready(process.sentinel)
    gate.set()
    assert ready(process.sentinel, LIMIT_S)
    process.join()
    assert ready(process.sentinel, LIMIT_S)
