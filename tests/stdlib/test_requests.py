"""Requests that no honest client sends, and what only the operator may allow."""

import functools
import pickle
import struct
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.managers import RemoteError
from typing import Any, cast

import pytest
from tests.stdlib.conftest import KEY, WAIT_S, served
from tests.stdlib.steps import Thread

DEEP_KEY: Any = functools.reduce(lambda key, _: (key, key), range(60), cast(Any, ()))
"""A small key that takes exponential time to hash."""

pytestmark = pytest.mark.stock


@pytest.fixture
def ask(server):
    """Connections that have authenticated, and said nothing yet."""
    opened = []

    def start():
        opened.append(connection.Client(server.where, authkey=KEY))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def talk(ask):
    """Persistent connections."""

    def start():
        conn = ask()
        conn.send((None, "accept_connection", ("test",), {}))
        assert conn.recv() == ("#RETURN", None)
        return conn

    return start


def answer(conn):
    assert conn.poll(WAIT_S), "no answer"
    return conn.recv()


@pytest.mark.parametrize(
    "request_",
    [
        (None, "serve_forever", (), {}),
        (None, "_create", (), {}),
        (None, "__class__", (), {}),
        (None, "", (), {}),
        ("ident", "dummy", (), {}),
        (None, "dummy", (1,), {}),
        (None, "create", (), {}),
        (None, "create", ([],), {}),
        (None, "create", (DEEP_KEY,), {}),
        (None, "incref", (DEEP_KEY,), {}),
        (None, "decref", (DEEP_KEY,), {}),
        (None, DEEP_KEY, (), {}),
        (None, "create", ("nothing",), {}),
        (None, "incref", ("nothing",), {}),
        (None, "incref", (5,), {}),
        (None, "incref", (["x"],), {}),
        (None, "get_methods", (5,), {}),
        (None, "decref", (), {}),
        (None, 5, (), {}),
        (None, "dummy", 5, {}),
        (None, "dummy", (), 5),
        (1, 2, 3),
        (),
        None,
        5,
        "text",
        {"a": 1},
    ],
)
def test_what_is_no_function_of_the_manager_fails_and_nothing_else(request_, ask, manager):
    conn = ask()
    conn.send(request_)
    kind, text = answer(conn)
    assert kind == "#TRACEBACK"
    assert "Traceback" not in text, "nobody needs to know how the server is made"
    manager.connect()


def test_decref_of_what_is_unknown_is_no_error(ask):
    """The standard library's server fails; clients ignore it: the object may be gone long since."""
    conn = ask()
    conn.send((None, "decref", ("0123456789abcdef",), {}))
    assert answer(conn) == ("#RETURN", None)


@pytest.mark.parametrize("ident", ["nothing", None, 5, "", "0", ["x"], ("a",), DEEP_KEY])
def test_an_object_that_there_is_not(ident, talk):
    conn = talk()
    conn.send((ident, "append", (1,), {}))
    assert answer(conn)[0] == "#TRACEBACK"
    conn.send((ident, "append", (1,), {}))
    assert answer(conn)[0] == "#TRACEBACK", "the connection lives"


@pytest.mark.parametrize(
    "payload",
    [
        b"garbage",
        b".",
        b"\x80\x04",
        b"cos\nsystem\n(S'echo hello'\ntR.",
        pickle.dumps(("x", "y", (), {}))[:-3],
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"(" * 100_000,
        b"]" * 100_000 + b".",
    ],
)
def test_bytes_that_are_no_request_get_an_answer_or_the_end(payload, talk, manager):
    conn = talk()
    conn.send_bytes(payload)
    with suppress(EOFError, ConnectionResetError):
        assert answer(conn)[0] in {"#ERROR", "#TRACEBACK"}
    manager.connect()


def test_such_a_key_hangs_nothing_elsewhere(manager):
    barrier, namespace = manager.Barrier(2), manager.Namespace()
    for proxy in (barrier, namespace):
        with pytest.raises((AttributeError, TypeError)):
            proxy._callmethod("__getattribute__", (DEEP_KEY,))
    numbers = manager.list([1])
    with pytest.raises(TypeError):
        numbers[DEEP_KEY]
    with pytest.raises(RemoteError):
        manager.Array("i", [DEEP_KEY])
    with pytest.raises(RemoteError):
        manager.Queue(DEEP_KEY)


def test_a_key_that_would_take_for_ever_to_hash_is_refused(manager):
    d = manager.dict()
    for attempt in (
        lambda: d.get(DEEP_KEY),
        lambda: d.update([(DEEP_KEY, 1)]),
        lambda: manager.dict([(DEEP_KEY, 1)]),
        lambda: manager.set([DEEP_KEY]),
        lambda: manager.set([1]).union([DEEP_KEY]),
    ):
        with pytest.raises((ValueError, RemoteError)):
            attempt()
    d["still"] = "alive"


@pytest.mark.parametrize("size", [10**9, 10**30])
def test_ranges_that_ask_for_the_whole_memory_are_refused(size, manager):
    numbers = manager.list()
    for attempt in (
        lambda: manager.list(range(size)),
        lambda: manager.Array("i", range(size)),
        lambda: numbers.extend(range(size)),
        lambda: numbers.__setitem__(slice(0, 0), range(size)),
    ):
        with pytest.raises((ValueError, RemoteError), match="elements"):
            attempt()
    numbers.append(1)
    with pytest.raises(ValueError, match="at most"):
        numbers *= size
    with pytest.raises(NotImplementedError, match="elements"):
        numbers * size


def test_a_second_request_before_the_first_reply_ends_the_connection(talk, manager):
    conn, q = talk(), manager.Queue()
    conn.send((q._id, "get", (), {}))
    conn.send((q._id, "qsize", (), {}))
    with pytest.raises((EOFError, ConnectionResetError)):
        answer(conn)
    q.put(1)
    assert q.qsize() == 1


@pytest.mark.parametrize(
    "header", [struct.pack("!i", -2), struct.pack("!i", -1) + struct.pack("!Q", 1 << 40)]
)
def test_a_length_that_cannot_be_ends_the_connection_before_anything_is_read(header, talk, manager):
    conn = talk()
    conn._send(header)
    with pytest.raises((EOFError, ConnectionResetError)):
        answer(conn)
    manager.connect()


def test_a_message_over_the_limit_is_refused_and_one_below_is_not(tmp_path):
    with served("--max-message", "1M", cwd=tmp_path) as server:
        d = server.manager().dict()
        d["x"] = "y" * (1 << 19)
        assert len(d["x"]) == 1 << 19
        with pytest.raises((EOFError, ConnectionError)):
            d["x"] = "y" * (1 << 21)
        assert server.heard("peer.closed")
        other = Thread(lambda: len(d["x"]))  # a thread has a connection of its own
        assert other.result() == 1 << 19


def test_large_values_arrive_whole(manager):
    d = manager.dict()
    for size in (16_380, 16_384, 16_400, 65_536, 1 << 20, (8 << 20) + 1):
        d["x"] = value = bytes(range(256)) * (size // 256) + b"!" * (size % 256)
        assert d["x"] == value


def test_an_exception_in_the_middle_leaves_the_connection_whole(manager):
    d = manager.dict()
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        d["x"] = lambda: 1
    assert "x" not in d
    with pytest.raises(TypeError):
        d["x"] = (i for i in [])
    assert len(d) == 0


def test_shutdown_is_the_operators(server, manager, ask):
    conn = ask()
    conn.send((None, "shutdown", (), {}))
    kind, error = answer(conn)
    assert kind == "#ERROR"
    assert isinstance(error, PermissionError)
    assert "--allow-shutdown" in str(error)
    manager.connect()


def test_shutdown_stops_a_server_that_allows_it(tmp_path):
    with served("--allow-shutdown", cwd=tmp_path) as server:
        with connection.Client(server.where, authkey=KEY) as conn:
            conn.send((None, "shutdown", (), {}))
            assert answer(conn) == ("#RETURN", None)
        assert server.process.wait(WAIT_S) == 0


def test_private_attributes_cannot_be_reached(manager):
    namespace, barrier = manager.Namespace(x=1), manager.Barrier(2)
    for proxy in (namespace, barrier):
        for name in ("__class__", "__dict__", "__init__", "_lock", "__reduce__"):
            with pytest.raises(AttributeError):
                proxy._callmethod("__getattribute__", (name,))


def test_what_would_run_users_code_is_refused_and_says_what_to_do_instead(manager):
    for attempt, instead in (
        (lambda: manager.list([2, 1]).sort(key=abs), "sorted(shared, key=...)"),
        (lambda: manager.Barrier(1, print), "mpclient"),
        (lambda: manager.Pool(2), "mpworker"),
    ):
        with pytest.raises(NotImplementedError) as refused:
            attempt()
        assert instead in str(refused.value)
