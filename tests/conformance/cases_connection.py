"""Pipes, connections, and waiting for many: `multiprocessing.connection`."""

from __future__ import annotations

import array
import pickle
import socket
import threading

from tests.conformance.harness import case

READY = "can be read while `recv` need not wait, and is for `select` and its kin: nothing is read from it"


@case("multiprocessing.Pipe()")
def pipe(side):
    yield "Pipe()", lambda: [(end.readable, end.writable) for end in side.mp.Pipe()]
    yield "Pipe(True)", lambda: [(end.readable, end.writable) for end in side.mp.Pipe(True)]
    yield "Pipe(duplex=False)", lambda: [(end.readable, end.writable) for end in side.mp.Pipe(duplex=False)]
    yield "Pipe(True, 1)", lambda: side.mp.Pipe(True, 1)


@case(
    "multiprocessing.connection.Connection",
    of="connection.Connection",
    notes={"fileno(), what it is for": READY},
)
def connection(side):
    near, far = side.mp.Pipe()
    for thing in (None, 1.5, "text", [1, {2: (3,)}], b"bytes", {"x"}):
        yield f"send({thing!r})", lambda thing=thing: (near.send(thing), far.recv())[1]
    yield "send(obj=1)", lambda: (near.send(obj=1), far.recv())[1]
    yield "send() what cannot be pickled", lambda: near.send(threading.Lock())
    yield "recv() the other way", lambda: (far.send("x"), near.recv())[1]
    yield "recv() of bytes", lambda: (near.send_bytes(pickle.dumps([1])), far.recv())[1]
    yield "recv() of what is no pickle", lambda: (near.send_bytes(b"no pickle"), far.recv())[1]
    yield from _bytes(near, far)
    yield from _into(near, far)
    yield "recv_bytes() of an object", lambda: (near.send(7), pickle.loads(far.recv_bytes()))[1]
    yield "recv_bytes(3)", lambda: (near.send_bytes(b"abc"), far.recv_bytes(3))[1]
    yield "recv_bytes(-1)", lambda: far.recv_bytes(-1)
    yield "recv_bytes(maxlength='x')", lambda: far.recv_bytes(maxlength="x")
    yield "recv_bytes(2) of 3", lambda: (near.send_bytes(b"abc"), far.recv_bytes(2))[1]
    yield "readable after that", lambda: far.readable
    yield "recv() after that", far.recv
    yield "closed after that", lambda: far.closed
    near, far = side.mp.Pipe()
    yield from _polling(near, far)
    yield "fileno()", lambda: type(near.fileno())
    yield "closed", lambda: near.closed
    yield "readable", lambda: near.readable
    yield "writable", lambda: near.writable
    yield from _ending(*side.mp.Pipe())
    yield from _one_way(*side.mp.Pipe(False))


def _bytes(near, far):
    def through(send):
        return lambda: (send(near), far.recv_bytes())[1]

    parts = [(), (2,), (2, 3), (6,), (0, 0), (-1,), (7,), (0, -1), (5, 2)]
    for args in parts:
        shown = ", ".join(map(str, (b"abcdef", *args)))
        yield f"send_bytes({shown})", through(lambda end, args=args: end.send_bytes(b"abcdef", *args))
    yield "send_bytes(buf, size=2)", through(lambda end: end.send_bytes(b"abc", size=2))
    yield "send_bytes() of an array", through(lambda end: end.send_bytes(array.array("i", [1])))
    yield "send_bytes() of much", lambda: len(_much(near, far))
    yield "send_bytes('text')", lambda: near.send_bytes("text")
    yield "send_bytes(5)", lambda: near.send_bytes(5)


def _much(near, far):
    sending = threading.Thread(target=near.send_bytes, args=(bytes(3_000_000),))
    sending.start()
    data = far.recv_bytes()
    sending.join(10)
    return data


def _into(near, far):
    def into(data, buffer, *args):
        near.send_bytes(data)
        return far.recv_bytes_into(buffer, *args), bytes(buffer)

    yield "recv_bytes_into(buf)", lambda: into(b"abc", bytearray(4))
    yield "recv_bytes_into(buf, 1)", lambda: into(b"abc", bytearray(4), 1)
    yield "recv_bytes_into() an array", lambda: into(bytes(8), array.array("i", [7, 7, 7]), 4)
    yield "recv_bytes_into(buf, -1)", lambda: far.recv_bytes_into(bytearray(4), -1)
    yield "recv_bytes_into(buf, 5)", lambda: far.recv_bytes_into(bytearray(4), 5)
    yield "recv_bytes_into() too little", lambda: into(b"abcdef", bytearray(4))
    yield "recv_bytes_into() too little, behind an offset", lambda: into(b"abcd", bytearray(4), 1)
    yield "recv_bytes_into('text')", lambda: far.recv_bytes_into("text")


def _polling(near, far):
    yield "poll()", far.poll
    yield "poll(0)", lambda: far.poll(0)
    yield "poll(-1)", lambda: far.poll(-1)
    yield "poll(timeout=0.01)", lambda: far.poll(timeout=0.01)
    yield "poll('x')", lambda: far.poll("x")
    near.send(1)
    yield "poll() when there is something", far.poll
    yield "poll(None)", lambda: far.poll(None)
    yield "poll(5)", lambda: far.poll(5)


def _ending(near, far):
    near.send(1)
    yield "close()", near.close
    yield "close() again", near.close
    yield "closed when it is", lambda: near.closed
    yield "poll() what a closed end has sent", far.poll
    yield "recv() what a closed end has sent", far.recv
    yield "poll() at the end", far.poll
    yield "recv() at the end", far.recv
    yield "recv_bytes() at the end", far.recv_bytes
    yield "recv_bytes_into() at the end", lambda: far.recv_bytes_into(bytearray(1))
    yield "send(1) to a closed end", lambda: far.send(1)
    yield "send(1) when it is closed", lambda: near.send(1)
    yield "send_bytes(b'') when it is closed", lambda: near.send_bytes(b"")
    yield "recv() when it is closed", near.recv
    yield "recv_bytes() when it is closed", near.recv_bytes
    yield "recv_bytes_into() when it is closed", lambda: near.recv_bytes_into(bytearray(1))
    yield "poll() when it is closed", near.poll
    yield "fileno() when it is closed", near.fileno

    def inside():
        with far as entered:
            return entered is far

    yield "__enter__", inside
    yield "__exit__ closes", lambda: far.closed


def _one_way(reader, writer):
    yield "send(1) where one can only receive", lambda: reader.send(1)
    yield "send_bytes(b'') where one can only receive", lambda: reader.send_bytes(b"")
    yield "recv() where one can only send", writer.recv
    yield "recv_bytes() where one can only send", writer.recv_bytes
    yield "recv_bytes_into() where one can only send", lambda: writer.recv_bytes_into(bytearray(1))
    yield "poll() where one can only send", writer.poll
    writer.send_bytes(b"abc")
    yield "recv_bytes(2) of 3 where one can only receive", lambda: reader.recv_bytes(2)
    yield "closed after a message that was too long", lambda: reader.closed


@case("multiprocessing.connection.wait()")
def wait(side):
    wait = side.modules["connection"].wait
    pipes = [side.mp.Pipe() for _ in range(3)]
    ends = [far for _, far in pipes]

    def waited(*args, **more):
        return [ends.index(end) for end in wait(*args, **more)]

    yield "wait([], 0)", lambda: wait([], 0)
    yield "wait([], 0.01)", lambda: wait([], 0.01)
    yield "wait(ends, 0)", lambda: waited(ends, 0)
    yield "wait(ends, -1)", lambda: waited(ends, -1)
    yield "wait(ends, timeout=0.01)", lambda: waited(ends, timeout=0.01)
    yield "wait(ends, 'x')", lambda: waited(ends, "x")
    pipes[1][0].send(1)
    yield "wait(ends) with one that is ready", lambda: waited(ends)
    pipes[2][0].close()
    yield "wait(iter(ends)) with one at its end", lambda: sorted(waited(iter(ends)))
    yield "wait(object_list=ends, timeout=None)", lambda: sorted(waited(object_list=ends, timeout=None))
    one, other = socket.socketpair()
    with one, other:
        yield "wait() with sockets, nothing ready", lambda: len(wait([ends[0], one], 0.01))
        other.send(b"x")
        yield "wait() with sockets", lambda: wait([ends[0], one]) == [one]
    yield "wait([1.5])", lambda: wait([1.5], 0)
    ends[0].close()
    yield "wait() for a closed one", lambda: wait([ends[0]], 0)


def over_descriptors(module):
    """Send over connections that were made of descriptors."""
    one, other = (module.Connection(end.detach()) for end in socket.socketpair())
    with one, other:
        one.send("hello")
        return other.poll(10), other.recv()


@case(
    "multiprocessing.connection.Listener, Client",
    notes={
        "SocketListener, SocketClient, address_type, answer_challenge, arbitrary_address, default_family, "
        "deliver_challenge": "the standard library's own, as all else",
    },
)
def listener(side):
    module = side.modules["connection"]
    listener = module.Listener(("127.0.0.1", 0), authkey=b"key")
    answers = []

    def accept():
        with listener.accept() as accepted:
            answers.append(accepted.recv())

    thread = threading.Thread(target=accept)
    thread.start()
    with module.Client(listener.address, authkey=b"key") as client:
        yield "Client(address, authkey)", lambda: client.send("hello")
    thread.join(10)
    yield "Listener(address, authkey)", lambda: answers
    yield "Connection(fd), of a descriptor", lambda: over_descriptors(module)
    yield "families", lambda: module.families
    yield "Listener('', family='x')", lambda: module.Listener("", family="x")
    listener.close()
