"""Our own protocol against the real server, by hand: cuts at every byte, versions, stubborn peers, ends."""

from __future__ import annotations

import pickle
import resource
import signal
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.integration.raw import LANE, raw_of
from tests.unit.net.stage import Closed, RawClient

import mpclient
from mpclient.testing import wait_until, waiters
from mpshared.wire.errors import VersionMismatch
from mpshared.wire.own import frames
from mpshared.wire.own.frames import HEADER_BYTES, Control, Reply, Type


@pytest.fixture
def raw(server):
    with raw_of(server) as raw:
        yield raw


@pytest.fixture(scope="module", params=["tcp", "unix"])
def either(request, tmp_path_factory):
    """A server on each kind of socket."""
    from tests.integration.conftest import Server

    folder = tmp_path_factory.mktemp("protocol")
    started = Server(folder / "server").start(f"unix:{folder}/s" if request.param == "unix" else "127.0.0.1")
    yield started
    started.stop()


# -- cuts --------------------------------------------------------------------------------------------


def value(n: int) -> bytes:
    return pickle.dumps(f"value {n}")


class Put:
    def __init__(self, program):
        self.program, self.queue = program, program.open("queue")

    def before(self, n): ...

    def call(self, n):
        return "queue.put", self.queue, [None], [value(n)]

    def check(self, n, reply):
        assert reply.result is None
        assert self.program.call("queue.get_many", self.queue, 9, 0, False).blobs == (value(n),)


class Get:
    def __init__(self, program):
        self.program, self.queue = program, program.open("queue")

    def before(self, n):
        self.program.call("queue.put", self.queue, None, blobs=[value(n)])

    def call(self, n):
        return "queue.get", self.queue, [None, False], []

    def check(self, n, reply):
        assert reply.blobs == (value(n),)
        assert self.program.call("queue.qsize", self.queue).result == 0


class Acquire:
    def __init__(self, program):
        self.program, self.lock = program, program.open("lock")
        self.first = self.look()["fence"]

    def look(self):
        [lock] = [o for o in self.program.call("cluster.status").result["objects"] if o["ident"] == self.lock]
        return lock

    def before(self, n): ...

    def call(self, n):
        return "lock.acquire", self.lock, [None], []

    def check(self, n, reply):
        assert reply.result is True
        self.program.call("lock.release", self.lock)
        lock = self.look()
        assert (lock["holder"], lock["fence"] - self.first) == (None, n)


class Incr:
    def __init__(self, program):
        self.dict = program.open("dict")

    def before(self, n): ...

    def call(self, n):
        return "dict.incr", self.dict, ["counter", 1], []

    def check(self, n, reply):
        assert reply.result == n


class Exchange:
    def __init__(self, program):
        self.program = program
        self.jobs, self.results = program.open("queue"), program.open("queue")

    def before(self, n):
        self.program.call("queue.put", self.jobs, None, blobs=[value(n)])

    def call(self, n):
        done = [[n - 1, n - 1]] if n > 1 else []
        return "queue.exchange", self.jobs, [self.results, done, 1, None, None], [value(-n)]

    def check(self, n, reply):
        assert reply.result[0] == [[n, n, 1]]
        assert reply.result[3] == 0  # no item of `done` was lost: it was acknowledged once
        assert reply.blobs == (value(n),)
        assert self.program.call("queue.get_many", self.results, 9, 0, False).blobs == (value(-n),)
        assert self.program.call("queue.unfinished", self.jobs).result == 1


def encoded(client: RawClient, number: int, call) -> bytes:
    name, target, args, blobs = call
    return client.encode(name, target, *args, lane=LANE, number=number, blobs=blobs)


@pytest.mark.parametrize("scenario", [Put, Get, Acquire, Incr, Exchange])
def test_cut_at_every_byte_of_a_request_and_of_a_reply(either, scenario: Callable[[RawClient], Put]):
    """After it is back the client asks again: the call was applied once, and its one true answer comes."""
    with raw_of(either) as raw:
        program = raw.program()
        play = scenario(program)
        client, _ = raw.lane(program)

        def ask_again(number: int) -> bytes:
            nonlocal client
            client, last = raw.lane(program, ack=number - 1)
            assert last in {number - 1, number}
            client.send(encoded(client, number, play.call(number)))
            reply = read_reply(client)
            event = decoded(reply)
            assert (event.lane, event.number) == (LANE, number)
            play.check(number, event)
            return reply

        number, cut, sizes = 1, 0, [1, 1]
        while cut <= sizes[0]:  # the request
            play.before(number)
            data = encoded(client, number, play.call(number))
            client.send(data[:cut])
            client.close(reset=bool(cut % 2))
            reply = ask_again(number)
            sizes = [len(data), len(reply)]
            number, cut = number + 1, cut + 1
        cut = 0
        while cut <= sizes[1]:  # the reply
            play.before(number)
            client.send(encoded(client, number, play.call(number)))
            seen = client.recv_exactly(cut)
            client.close(reset=bool(cut % 2))
            reply = ask_again(number)
            assert reply.startswith(seen)
            sizes[1] = len(reply)
            number, cut = number + 1, cut + 1
        assert cut > HEADER_BYTES


def read_reply(client: RawClient) -> bytes:
    header = client.recv_exactly(HEADER_BYTES)
    return header + client.recv_exactly(int.from_bytes(header[:4], "big"))


def decoded(data: bytes) -> Reply:
    decoder = frames.FrameDecoder(1 << 20)
    decoder.receive_data(data)
    event = decoder.next_event()
    assert isinstance(event, Reply), event
    return event


def test_a_parked_call_is_answered_wherever_its_lane_is_carried(either):
    with raw_of(either) as raw:
        program = raw.program()
        queue = program.open("queue")
        client, _ = raw.lane(program)
        call = ("queue.get", queue, [None, False], [])
        client.send(encoded(client, 1, call))
        for cut in range(4):
            client.close(reset=bool(cut % 2))
            client, last = raw.lane(program)
            assert last <= 1
            client.send(encoded(client, 1, call))
        program.call("queue.put_many", queue, None, blobs=[value(1), value(2)])
        assert decoded(read_reply(client)).blobs == (value(1),)
        client.send(encoded(client, 2, call))
        answers = [decoded(read_reply(client))]
        if answers[0].number == 1:  # asked for twice, and answered twice
            answers = [decoded(read_reply(client))]
        assert answers[0].blobs == (value(2),)


# -- versions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("versions", "theirs"), [((2, 3), "2 to 3"), ((0, 0), "0 to 0")])
def test_clients_from_the_future_and_from_the_past(server, raw, versions, theirs):
    with pytest.raises(VersionMismatch) as caught:
        raw.client().shake_hands(versions)
    for text in (str(caught.value), server.log):
        assert "1 to 1" in text
        assert theirs in text
    assert raw.program().call("cluster.count").result >= 0


# -- stubborn peers ----------------------------------------------------------------------------------


def test_stalled_and_half_closed_peers_stall_nobody(raw):
    silent, begun, half = raw.client(), raw.client(), raw.program()
    begun.recv()
    begun.send(b"\0\0\0")
    half.send(half.encode("cluster.count"))
    half.sock.shutdown(socket.SHUT_WR)
    program = raw.program()
    assert program.call("cluster.count").result >= 0
    event = half.next_event()
    assert isinstance(event, Reply)
    with pytest.raises(Closed):
        half.next_event()
    silent.shake_hands().attach_new()
    assert silent.call("cluster.count").result >= 0


def test_a_peer_that_never_reads_is_bounded_and_slows_nobody(fresh_server):
    server = fresh_server()
    with raw_of(server) as raw:
        program, other = raw.program(), raw.program()
        box = program.open("dict")
        size = 4 << 20
        program.call("dict.set", box, "k", blobs=[bytes(size)])
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        stuck = False
        for _ in range(200):  # 800 MiB of answers asked for
            data = program.encode("dict.incr", box, "n", 1) + program.encode("dict.get", box, "k")
            try:
                stuck = program.sock.send(data) < len(data)
            except BlockingIOError:
                stuck = True
            if stuck:
                break
            assert other.call("cluster.count").result == 1
        assert process.memory_info().rss - before < 64 << 20
        program.close()
        assert other.call("cluster.count").result == 1


def test_the_limit_of_a_message_is_checked_on_its_header(fresh_server):
    server = fresh_server("--max-message", "1MiB")
    with raw_of(server) as raw:
        program = raw.program()
        box = program.open("dict")
        before = psutil.Process(server.process.pid).memory_info().rss
        for _ in range(20):
            liar = raw.program()
            honest = liar.encode("dict.set", box, "k", blobs=[b""])
            liar.send((64 << 20).to_bytes(4, "big") + honest[4:HEADER_BYTES])
            event = liar.next_event()
            assert isinstance(event, frames.Failed)
            assert "1048576 accepted" in event.text
        assert psutil.Process(server.process.pid).memory_info().rss - before < 32 << 20
        assert program.call("cluster.count").result == 1


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
def test_out_of_file_descriptors_and_back(fresh_server):
    server = fresh_server()
    with raw_of(server) as raw:
        program = raw.program()
        room = 5
        limit = psutil.Process(server.process.pid).num_fds() + room
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        others = [raw.client() for _ in range(room * 4)]
        told = 0
        for client in others:
            try:
                told += b"#CHALLENGE#" in client.recv()
            except (Closed, ConnectionResetError):
                continue
        assert 0 < told <= room
        assert program.call("cluster.count").result == 0
        for client in others:
            client.close()
        wait_until(lambda: psutil.Process(server.process.pid).num_fds() < limit - 1)
        assert raw.program().call("cluster.count").result == 0
        assert server.log.count("server.full") == 1


# -- the end of the server ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_tells_those_who_wait(fresh_server, in_thread, number):
    server = fresh_server()
    with raw_of(server) as raw, server.connect(name="waits") as cluster:
        program = raw.program()
        event = program.open("event")
        program.send(program.encode("event.wait", event, None))
        lock = cluster.Lock()
        lock.acquire()
        waiting = in_thread(lock.acquire)
        wait_until(lambda: waiters(cluster, lock) == 1)
        unknown = raw.client()
        unknown.recv()
        server.send_signal(number)
        told = program.next_event()
        assert isinstance(told, Control)
        assert (told.type, told.body) == (Type.GOODBYE, "gone")
        with pytest.raises(mpclient.ServerGone):
            waiting()
        assert unknown.recv_all() == b""
        assert server.wait(5) == 0  # although `program` has not closed its end
    assert "session.lost" not in server.log
    assert server.log.count("server.stopped") == 1


def test_a_unix_sockets_file(fresh_server, tmp_path):
    path = tmp_path / "socket"
    server = fresh_server(host=f"unix:{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.send_signal(signal.SIGKILL)
    server.wait()
    assert path.exists()
    again = fresh_server(host=f"unix:{path}")
    with raw_of(again) as raw:
        assert raw.program().call("cluster.count").result == 0
    again.stop()
    assert not path.exists()
    Path(path).write_text("no socket")
    with pytest.raises(AssertionError, match="cannot listen"):
        fresh_server(host=f"unix:{path}")
    assert path.read_text() == "no socket"


def test_many_raw_clients_at_once(raw):
    """A crowd that shakes hands at the same time, each with a call cut into pieces."""
    failures: list[BaseException] = []

    def one(n: int) -> None:
        try:
            client = raw.program()
            box = client.open("dict")
            for i in range(20):
                data = client.encode("dict.incr", box, "n", n)
                client.send(data[: i + 1])
                client.send(data[i + 1 :])
                event = client.next_event()
                assert isinstance(event, Reply)
                assert event.result == n * (i + 1)
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures, failures
