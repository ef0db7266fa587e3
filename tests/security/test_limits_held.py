"""What a program may have the server hold, or send it: told where it is enough, and nobody else notices."""

from __future__ import annotations

import asyncio
import gc
import queue
import socket
from multiprocessing.managers import RemoteError, SyncManager

import pytest
from tests.integration.conftest import Server, in_thread
from tests.security.limits_watch import WAIT_S, Raws, status, unnoticed
from tests.unit.net.stage import Closed

import mpclient
from mpclient import aio
from mpclient.testing import wait_until
from mpserve.core.status import MOST_ROWS
from mpshared.errors import NoRoom
from mpshared.ops import BY_NAME
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Type

OPTIONS = {
    "--max-objects": "60",
    "--max-names": "20",
    "--max-session-objects": "30",
    "--max-lanes": "5",
    "--max-waiting": "1M",
    "--max-message": "2M",
    "--max-unread": "1M",
}
MIB = 1 << 20
AN_EVENT = "event", None, {}, False, None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    words = [word for option in OPTIONS.items() for word in option]
    started = Server(tmp_path_factory.mktemp("limits") / "server", tuple(words)).start()
    yield started
    started.stop()


@pytest.fixture
def raws(server):
    with Raws(server) as raws:
        yield raws


@pytest.fixture(autouse=True)
def empty(server):
    """Leave nothing on the server."""
    yield
    gc.collect()  # proxies of the standard library that an exception has seen
    with Raws(server) as raws:
        program = raws.program()
        for row in program.call("cluster.list_objects").result:
            program.call("cluster.delete", "", row["name"], row["kind"])
        wait_until(lambda: program.call("cluster.count").result == 0, WAIT_S)


def stock_of(server):
    """Return a connected manager of the standard library."""
    host, _, port = server.address.rpartition(":")
    manager = SyncManager((host, int(port)), server.key.encode())
    manager.connect()
    return manager


def refusal(client):
    """Return the next thing a raw client is told, which is an error."""
    event = client.next_event()
    assert isinstance(event, frames.Failed), event
    return event


def refused(server, limit):
    return status(server)["refused"].get(limit, 0)


class TestObjects:
    def test_of_one_program(self, server):
        before = refused(server, "max-session-objects")
        with unnoticed(server), server.connect() as cluster:
            locks = [cluster.Lock() for _ in range(30)]
            for _ in range(20):
                with pytest.raises(NoRoom, match=r"no room for another lock.*30.*--max-session-objects"):
                    cluster.Lock()
            with server.connect() as other:
                assert other.dict() == {}
            del locks[:5]
            wait_until(lambda: _makes(cluster.Lock), WAIT_S)
        assert refused(server, "max-session-objects") >= before + 20

    def test_of_all(self, server, raws):
        with unnoticed(server):
            for _ in range(2):
                program = raws.program()
                for _ in range(30):
                    program.open("dict")
            with (
                server.connect() as cluster,
                pytest.raises(NoRoom, match="server has 60 objects.*--max-objects"),
            ):
                cluster.Lock()
            with pytest.raises(RemoteError, match="--max-objects"):
                stock_of(server).dict()
            program.close()
            wait_until(lambda: _makes(stock_of(server).dict), WAIT_S)

    def test_with_a_name(self, server, raws):
        program = raws.program()
        with unnoticed(server):
            for n in range(20):
                program.open("dict", f"d{n}")
            program.send(program.encode("cluster.open", "", "dict", "one more", {}, False, None))
            told = refusal(program)
            assert told.code == "no_room"
            assert "no room for dict 'one more'" in told.text
            assert "--max-names" in told.text
            assert program.open("dict", "d3")  # it is there
            assert program.call("cluster.open", "", "dict", "d3", {}, True, None).result  # in its place
            assert program.open("dict")
            program.call("cluster.delete", "", "d4", "dict")
            assert program.open("dict", "one more")

    def test_a_name_that_is_too_long_or_not_to_be_printed(self, server, raws):
        program = raws.program()
        for name in ("x" * 201, "a\nb", ""):
            program.send(program.encode("cluster.open", "", "dict", name, {}, False, None))
            assert "a name is 1 to 200 printable characters" in refusal(program).text

    def test_status_lists_so_many_and_counts_the_rest(self, tmp_path):
        server = Server(tmp_path / "many").start()
        try:
            with Raws(server) as raws:
                program = raws.program()
                for _ in range((MOST_ROWS + 100) // 100):
                    opened = [program.encode("cluster.open", "", *AN_EVENT) for _ in range(100)]
                    program.send(b"".join(opened))
                    assert all(isinstance(program.next_event(), frames.Reply) for _ in opened)
                with unnoticed(server):
                    told = status(server)
            assert len(told["objects"]) == MOST_ROWS
            assert told["more"] == {"sessions": 0, "objects": 100}
        finally:
            server.stop()


def _makes(make):
    """Tell whether one more can be made."""
    try:
        make()
    except (NoRoom, RemoteError):
        return False
    return True


class TestWaiting:
    def test_threads_of_one_program(self, server):
        """Each has a lane; with its own, and that of the whole program, there are five."""
        with unnoticed(server), server.connect() as cluster:
            event = cluster.Event()
            waiting = [in_thread(event.wait) for _ in range(3)]
            wait_until(lambda: _waiters(server) == 3, WAIT_S)
            one_more = in_thread(event.is_set)
            with pytest.raises(NoRoom, match="5 threads and tasks.*--max-lanes"):
                one_more()
            event.set()
            assert [each() for each in waiting] == [True] * 3
            wait_until(lambda: in_thread(event.is_set)() is True, WAIT_S)

    def test_tasks_of_one_program(self, server):
        async def many() -> None:
            async with aio.connect(server.address, server.key) as cluster:
                event = await cluster.Event()
                waiting = [asyncio.create_task(event.wait()) for _ in range(3)]
                await asyncio.to_thread(wait_until, lambda: _waiters(server) == 3, WAIT_S)
                for _ in range(3):
                    with pytest.raises(NoRoom, match="--max-lanes"):
                        await asyncio.create_task(event.is_set())
                await event.set()
                assert await asyncio.gather(*waiting) == [True] * 3

        with unnoticed(server):
            asyncio.run(many())

    def test_lanes_without_end_are_told_so_and_then_closed(self, server, raws):
        program = raws.program()
        with unnoticed(server):
            for lane in range(1, 5):
                program.attach(program, lane)
            for lane in range(5, 5 + 1024):
                body = {"session": program.session, "secret": program.secret, "lane": lane}
                program.control(Type.ATTACH, body=body)
                told = refusal(program)
                assert (told.lane, told.number, told.code) == (lane, 0, "no_room")
            assert program.call("cluster.count", lane=4).result == 0  # the others go on
            program.control(Type.ATTACH, body={**body, "lane": 5000})
            assert refusal(program).lane == 0
            with pytest.raises((Closed, ConnectionResetError)):
                program.next_event()
        assert refused(server, "max-lanes") >= 1024

    def test_values_of_calls_that_wait(self, server):
        with unnoticed(server), server.connect() as cluster:
            full = cluster.Queue(maxsize=1)
            full.put(b"first")
            putting = [in_thread(lambda: full.put(bytes(MIB // 2 - 1000))) for _ in range(2)]
            wait_until(lambda: _putters(server) == 2, WAIT_S)
            with pytest.raises(NoRoom, match=r"calls of this program that wait hold 1.*--max-waiting"):
                full.put(bytes(MIB // 2), timeout=WAIT_S)
            with pytest.raises(queue.Full):
                full.put(bytes(MIB // 2), block=False)  # it does not wait
            assert full.get() == b"first"
            assert len(full.get()) == len(full.get()) == MIB // 2 - 1000
            for each in putting:
                each()
            full.put(bytes(MIB), timeout=WAIT_S)

    def test_values_behind_a_call_that_waits(self, server, raws):
        """Of a client that sends on without waiting for answers."""
        program = raws.program()
        with unnoticed(server):
            event, box = program.open("event"), program.open("dict")
            before = refused(server, "max-waiting")
            program.send(program.encode("event.wait", event, None))
            for n in range(4):
                program.send(program.encode("dict.set", box, n, blobs=[bytes(MIB // 2 - 1000)]))
            wait_until(lambda: refused(server, "max-waiting") == before + 2, WAIT_S)
            other = raws.client().shake_hands()
            other.attach(program, 1)
            other.call("event.set", event, lane=1)
            answers = [program.next_event() for _ in range(5)]
            assert [type(answer) for answer in answers[:3]] == [frames.Reply] * 3
            for answer in answers[3:]:
                assert "--max-waiting" in answer.text
            assert program.call("dict.len", box).result == 2
            assert program.call("dict.set", box, "k", blobs=[bytes(MIB)]).result is None

    def test_what_has_gone_counts_no_more(self, server, raws):
        maker = raws.program()
        full = maker.open("queue", "full", maxsize=1)
        maker.call("queue.put", full, None, blobs=[b"first"])
        for _ in range(5):
            program = raws.program()
            for lane in (1, 2):
                program.attach(program, lane)
                program.send(program.encode("queue.put", full, None, lane=lane, blobs=[bytes(MIB // 2)]))
            wait_until(lambda: _putters(server) > 0, WAIT_S)
            program.control(Type.ABANDON, 1, 1)
            program.control(Type.ABANDON, 2, 1)
            assert program.call("cluster.count").result == 1
            program.close()


def _rows(server, kind):
    return [row for row in status(server)["objects"] if row["kind"] == kind]


def _waiters(server):
    return sum(row["waiters"] for row in _rows(server, "event"))


def _putters(server):
    return sum(row["putters"] for row in _rows(server, "queue"))


class TestMessages:
    def test_our_own_program_says_so_before_it_sends(self, server):
        with unnoticed(server), server.connect() as cluster:
            shared = cluster.dict()
            with pytest.raises(mpclient.TooBig, match="the server takes 2097152"):
                shared["k"] = bytes(3 * MIB)
            assert shared == {}

    def test_who_sends_it_all_the_same_is_told_and_closed(self, server, raws):
        program = raws.program()
        box = program.open("dict")
        with unnoticed(server):
            big = program.encode("dict.set", box, "k", blobs=[bytes(3 * MIB)])
            program.send(big[:64])
            told = refusal(program)
            assert (told.lane, told.number, told.code) == (0, 0, "protocol")
            assert "2097152 accepted; send less at once, or raise --max-message" in told.text
            with pytest.raises((Closed, ConnectionResetError)):
                program.next_event()

    def test_a_standard_library_client_is_closed_and_the_log_tells(self, server):
        proxy = stock_of(server).dict()
        with unnoticed(server), pytest.raises((EOFError, ConnectionError)):
            proxy["k"] = bytes(3 * MIB)
        assert "2097152 accepted" in server.log

    def test_nesting_of_a_message(self, server, raws):
        program = raws.program()
        with unnoticed(server):
            deep = []
            for _ in range(40):
                deep = [deep]
            program.send(program.encode("cluster.adopt", "", deep))
            assert "nested deeper than 32" in refusal(program).text

    def test_nesting_of_a_standard_library_request(self, server):
        """What the server must open is opened without recursion, at a cost its size explains."""
        proxy = stock_of(server).dict()
        with unnoticed(server):
            key: tuple = ()
            for _ in range(200):
                key = (key,)
            with pytest.raises(ValueError, match="the request cannot be read"):
                proxy[key] = 1
            proxy["k"] = 1
            assert proxy.copy() == {"k": 1}


class TestReplies:
    def test_what_is_not_read_is_bounded_and_others_notice_nothing(self, server, raws):
        """Of a client that asks and asks, and reads nothing."""
        maker = raws.program()
        box = maker.open("dict", "box")
        maker.call("dict.set", box, "k", blobs=[bytes(MIB)])
        greedy = raws.program()
        greedy.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        with unnoticed(server):
            for _ in range(60):
                greedy.send(greedy.encode("dict.get", box, "k"))
            assert maker.call("cluster.count").result == 1
            for _ in range(60):
                assert isinstance(greedy.next_event(), frames.Reply)

    def test_answers_that_are_not_acknowledged_are_bounded(self, server, raws):
        program = raws.program()
        box = program.open("dict")
        program.call("dict.set", box, "k", blobs=[bytes(MIB // 2)])
        first = raws.program()  # its numbers begin anew
        with unnoticed(server):
            for number in range(1, 5):
                first.frame(frames.encode_call(BY_NAME["dict.get"].code, 0, number, 0, box, ("k",), ()))
            for _ in range(2):
                assert isinstance(first.next_event(), frames.Reply)
            told = refusal(first) if not isinstance(event := first.next_event(), frames.Failed) else event
            assert (told.lane, told.number, told.code) == (0, 0, "too_big")
            assert "--max-unread" in told.text
        assert program.call("cluster.count").result == 1
        assert refused(server, "max-unread") == 1

    def test_calls_without_acknowledgement_are_bounded(self, server, raws):
        program = raws.program()
        with unnoticed(server):
            for number in range(1, 70):
                pieces = frames.encode_call(BY_NAME["cluster.count"].code, 0, number, 0, "", (), ())
                program.frame(pieces)
            for _ in range(64):
                assert isinstance(program.next_event(), frames.Reply)
            assert "over 64 calls" in refusal(program).text
