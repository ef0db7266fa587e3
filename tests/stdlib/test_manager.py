"""`mpserve.manager.Manager`: used like SyncManager, in a process of its own or in this one."""

import multiprocessing
import os
import queue
import signal
import threading
from multiprocessing import connection
from multiprocessing.managers import RemoteError, SyncManager

import pytest
from tests.stdlib.conftest import KEY, WAIT_S
from tests.stdlib.counters import Mine
from tests.stdlib.things import Point

from mpserve.manager import Manager
from mpshared.wire.errors import WeakKey

pytestmark = pytest.mark.stock

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def mine():
    with Mine(authkey=KEY, ctx=SPAWN) as manager:
        yield manager


def test_it_starts_and_stops_with_the_block():
    with Manager(authkey=KEY, ctx=SPAWN) as manager:
        process = manager._process  # type: ignore[attr-defined]
        d = manager.dict(a=1)
        assert d["a"] == 1
        assert process.is_alive()
    assert not process.is_alive()
    assert process.exitcode == 0
    with pytest.raises((EOFError, OSError)):
        d["a"]
    manager.shutdown()
    manager.join()


def test_what_it_serves_is_ours(mine):
    assert str(mine.Queue()).startswith("<mpserve queue")
    with pytest.raises(NotImplementedError, match="mpclient"):
        mine.Barrier(1, print)


def test_another_program_connects_to_it(mine):
    other = SyncManager(mine.address, KEY)
    other.connect()
    shared = other.list([1])
    d = mine.dict(shared=shared)
    d["shared"].append(2)
    assert shared[:] == [1, 2]


def test_what_the_program_registered_is_served_by_its_own_class(mine):
    counter = mine.Counter(5, step=2)
    assert [counter.next(), counter.next()] == [7, 9]
    assert counter.where() == Point(9, 0)
    assert not hasattr(counter, "hidden")
    with pytest.raises(RemoteError, match="not in exposed"):
        counter._callmethod("hidden")


def test_the_same_object_each_time(mine):
    first, second = mine.the_one(), mine.the_one()
    assert first.next() == 11
    assert second.next() == 12


def test_objects_of_the_standard_library_that_it_registered(mine):
    q, d = mine.make_queue(), mine.plain(a=1)
    q.put({"x": 1})
    assert q.get(timeout=1) == {"x": 1}
    with pytest.raises(queue.Empty):
        q.get_nowait()
    d["b"] = 2
    assert (d["a"], list(d.keys()), len(d), sorted(iter(d))) == (1, ["a", "b"], 2, ["a", "b"])


def test_get_server_serves_in_this_process():
    server = Manager(("127.0.0.1", 0), KEY).get_server()
    ended = []

    def serve():
        with pytest.raises(SystemExit):
            server.serve_forever()
        ended.append(True)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client = SyncManager(server.address, KEY)
        client.connect()
        assert client.dict(a=1)["a"] == 1
    finally:
        with connection.Client(server.address, authkey=KEY) as conn:
            conn.send((None, "shutdown", (), {}))
            assert conn.recv() == ("#RETURN", None)
        thread.join(WAIT_S)
    assert ended
    with pytest.raises(ConnectionError):
        client.connect()


def test_an_address_can_be_used_again_at_once():
    first = Manager(("127.0.0.1", 0), KEY).get_server()
    first.listener.close()
    second = Manager(first.address, KEY).get_server()
    assert second.address == first.address
    second.listener.close()


def test_it_listens_at_a_path(tmp_path):
    path = str(tmp_path / "socket")
    with Manager(path, KEY, ctx=SPAWN) as manager:
        assert manager.address == path
        other = SyncManager(path, KEY)
        other.connect()
        d = other.dict()
        d["x"] = other.list([1])
        assert d["x"][0] == 1
        assert d["x"]._token.address == path


def test_it_connects_like_any_other(server):
    manager = Manager(server.where, KEY)
    manager.connect()
    assert manager.Value("i", 5).value == 5


def test_an_interrupt_of_the_terminal_does_not_stop_it(mine):
    os.kill(mine._process.pid, signal.SIGINT)
    assert mine.dict(a=1)["a"] == 1


def test_a_weak_key_is_refused_where_it_is_seen():
    for start in (Manager.start, Manager.get_server):
        with pytest.raises(WeakKey):
            start(Manager(authkey=b"short", ctx=SPAWN))


def test_another_serializer_is_refused():
    with pytest.raises(ValueError, match="pickle"):
        Manager(authkey=KEY, serializer="xmlrpclib").get_server()
