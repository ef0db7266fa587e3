"""The operator's own classes: served in threads, given nothing but plain data and their own."""

import collections
import copy
import datetime
import functools
import os
import pickle
import subprocess
import sys
from multiprocessing.managers import RemoteError
from typing import Any, cast

import pytest
from tests.stdlib import shop
from tests.stdlib.conftest import ROOT, WAIT_S, environment, run_python, served
from tests.stdlib.steps import Manager, Thread
from tests.stdlib.things import Point

from mpserve.dispatch.registered import BadRegistration, load_registrations
from mpshared.exit_codes import ExitCode

pytestmark = pytest.mark.stock

THREADS = 32
DEEP_KEY: Any = functools.reduce(lambda key, _: (key, key), range(60), cast(Any, ()))
"""A small key that takes exponential time to hash."""


class Shop(Manager):
    """What a client registers: the names."""


Shop.register("Till")
Shop.register("only_till")


@pytest.fixture(scope="module")
def server():
    register = ("--register", "tests.stdlib.shop:Till", "--register", "tests.stdlib.shop:only_till")
    with served(*register, cwd=ROOT) as server:
        yield server


@pytest.fixture
def m(server):
    return server.manager(Shop)


def test_a_registered_class_is_used_through_its_proxy(m):
    till = m.Till(5.0)
    assert till.sell(shop.Item("book", 2.5), count=2) == 10.0
    assert till.last() == shop.Item("book", 2.5)
    assert str(till) == "Till(10.0)"
    assert repr(till).startswith("<AutoProxy[Till] object")
    assert till.thread().startswith("registered-")
    assert list(till.names()) == ["book"]
    assert isinstance(copy.deepcopy(till), shop.Till)
    assert not hasattr(till, "_private")
    assert not hasattr(till, "kinds")


def test_it_is_used_by_every_python(python, server):
    code = """
import os, sys
from multiprocessing import current_process
from multiprocessing.managers import BaseManager
class Shop(BaseManager): pass
Shop.register("Till")
key = current_process().authkey = os.environ["MPSERVE_AUTHKEY"].encode()
m = Shop((sys.argv[1], int(sys.argv[2])), key)
m.connect()
till = m.Till(total=1)
assert till.echo({"a": [1, (2, 3)]}) == {"a": [1, (2, 3)]}
try:
    till.echo()
except TypeError:
    print(till)
"""
    assert run_python(python, "-c", code, *server.where) == "Till(1)\n"


def test_its_exceptions_are_raised_in_the_client(m):
    till = m.Till()
    with pytest.raises(shop.NotForSale, match="sign"):
        till.refuse("sign")
    with pytest.raises(IndexError):
        till.last()
    with pytest.raises(TypeError, match="sell"):
        till.sell()
    with pytest.raises(RemoteError, match="begins with something"):
        m.Till(-1)
    with pytest.raises(RemoteError, match="positional argument"):
        m.Till(1, 2, 3)
    with pytest.raises(RemoteError, match="cannot pickle"):
        till.stream()
    with pytest.raises(RemoteError, match="SystemExit"):
        till.leave()
    with pytest.raises(RemoteError, match="not in exposed"):
        till._callmethod("_private")
    assert till.echo("still") == "still"


class Acting:
    """Pickles as a call."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __call__(self):
        """Be one of the things that can stand first in a `__reduce__`."""

    def __reduce__(self):
        function, *args = self.reduced
        return function, tuple(args)


@pytest.mark.parametrize(
    "value",
    [
        os.system,
        Acting(os.system, "echo hello"),
        Acting(shop.system, "echo hello"),
        Acting(shop.audit, 1),
        Acting(eval, "1"),
        Acting(getattr, "a", "upper"),
        Point(1, 2),
        {"deep": [Point(1, 2)]},
        subprocess.Popen,
        pickle.Unpickler,
        ValueError("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_is_given_nothing_that_acts_or_is_foreign(value, m):
    till = m.Till()
    with pytest.raises(NotImplementedError, match="cannot be given to a registered object"):
        till.echo(value)
    with pytest.raises(NotImplementedError, match="cannot be given to a registered object"):
        m.Till(value)
    assert till.echo(1) == 1


def test_a_proxy_is_not_given_to_it(m):
    with pytest.raises(NotImplementedError, match="cannot be given"):
        m.Till().echo(m.list())


@pytest.mark.parametrize(
    "value",
    [
        {1: [2.5, "x", b"y", None, True, (1, {2}), frozenset([3]), 1j, range(3), slice(1), bytearray(b"z")]},
        collections.OrderedDict(a=1),
        collections.defaultdict(list, a=[1]),
        collections.Counter("aab"),
        collections.deque([1], 5),
        datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
        shop.Item("a", 2.0),
        [shop.Item("a"), {"b": shop.Item("b")}],
    ],
    ids=repr,
)
def test_it_is_given_plain_data_and_objects_of_its_own_module(value, m):
    assert m.Till().echo(value) == value


class Keyed:
    """Pickles as a mapping whose key takes for ever to hash."""

    def __reduce__(self):
        return collections.OrderedDict, (), None, None, iter([(DEEP_KEY, 1)])


BOMBS = [
    Keyed(),
    [{"deep": (Keyed(),)}],
    Acting(list, range(10**9)),
    Acting(collections.deque, range(10**9)),
    Acting(collections.Counter, range(10**9)),
    Acting(bytearray, 10**12),
    Acting(int, "9" * 10**6),
    Acting(shop.Item, range(10**9)),
    Acting(Acting(collections.defaultdict, list), 1),
    Acting(set, [shop.Tag(DEEP_KEY)]),
]


@pytest.mark.parametrize("value", BOMBS, ids=lambda value: type(value).__name__)
def test_a_pickle_that_would_hold_the_server_up_is_no_argument(value, m):
    with pytest.raises((ValueError, NotImplementedError)):
        m.Till().echo(value)
    with pytest.raises((RemoteError, NotImplementedError)):
        m.Till(value)
    assert m.Till().echo({(1, (2, 3)): {shop.Tag("x")}}) == {(1, (2, 3)): {shop.Tag("x")}}


def test_a_function_that_returns_its_only_object(m):
    first, second = m.only_till(), m.only_till()
    assert first._id == second._id
    first.sell(shop.Item("a", 1.0))
    assert str(first) == str(second)
    ident = first._id
    del first, second
    assert m.only_till()._id != ident, "nobody referred to it any more"
    assert str(m.only_till()) == "Till(101.0)", "and the module keeps it all the same"


def test_it_is_counted_and_freed_like_all_others(server, m):
    watch = m.Till()
    before, ended = m._number_of_objects(), watch.ended_ones(7.0)  # which no other test has
    till = m.Till(7.0)
    assert m._number_of_objects() == before + 1
    assert f"{till._id}:       refcount=1\n    registered Till" in m._debug_info()
    twin = pickle.loads(pickle.dumps(till))
    del till
    assert str(twin) == "Till(7.0)"
    del twin
    assert m._number_of_objects() == before
    server.wait_until(lambda _: watch.ended_ones(7.0) == ended + 1)


def test_it_can_be_put_into_other_objects(m):
    d, q = m.dict(), m.Queue()
    till = m.Till(3.0)
    d["till"] = till
    q.put([till])
    del till
    assert str(d["till"]) == "Till(3.0)"
    assert q.get()[0].echo(5) == 5


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return str(path)


def let_on(fifo):
    """Return the writing end, which lets all readers on as long as it is open."""
    return os.open(fifo, os.O_WRONLY)


def test_calls_run_beside_each_other_and_the_server_goes_on(m, fifo):
    till = m.Till()
    waiting = [Thread(till.wait, fifo) for _ in range(THREADS - 2)]
    assert till.echo("meanwhile") == "meanwhile"
    assert m.dict(a=1)["a"] == 1
    writer = let_on(fifo)
    assert all(each.result() for each in waiting)
    os.close(writer)


def test_more_calls_than_threads_wait_their_turn(m, fifo):
    till = m.Till()
    waiting = [Thread(till.wait, fifo) for _ in range(THREADS + 5)]
    assert m.dict(a=1)["a"] == 1, "the loop is never held up"
    writer = let_on(fifo)
    assert all(each.result() for each in waiting)
    os.close(writer)


def test_a_client_that_dies_in_a_call_leaves_nothing_waiting_but_its_thread(m, fifo, program):
    till = m.Till()
    code = "import pickle; t = pickle.loads(bytes.fromhex(sys.stdin.readline())); t.wait(sys.argv[3])"
    client = program(code, arguments=[fifo])
    client.tell(pickle.dumps(till).hex())
    writer = let_on(fifo)  # once the call is under way
    client.kill()
    assert till.echo(1) == 1
    os.close(writer)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("tests.stdlib.shop", "write it as package.module:Class"),
        ("tests.stdlib.shop:", "write it as package.module:Class"),
        (":Till", "write it as package.module:Class"),
        ("tests/stdlib/shop.py:Till", "write it as package.module:Class"),
        ("tests.stdlib.shop:Nothing", "has no Nothing"),
        ("tests.stdlib.nothing:Till", "importing tests.stdlib.nothing failed: ModuleNotFoundError"),
        ("tests.stdlib.shop:Till.kinds", "is no class"),
        ("queue:Queue", "there is a 'Queue' already"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(value, why):
    with pytest.raises(BadRegistration) as refused:
        load_registrations([value])
    assert why in str(refused.value)
    assert value in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_of_one_name_cannot_be_told_apart():
    with pytest.raises(BadRegistration, match="already"):
        load_registrations(["tests.stdlib.shop:Till"] * 2)


def test_the_command_says_so_in_one_line_and_ends_with_an_exit_code():
    done = subprocess.run(
        [sys.executable, "-m", "mpserve", "start", "--port", "0", "--register", "tests.stdlib.shop:Nothing"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.USAGE
    assert (
        done.stderr
        == "mpserve start: --register tests.stdlib.shop:Nothing: tests.stdlib.shop has no Nothing\n"
    )
    assert done.stdout == ""


def test_a_server_stops_while_a_call_of_it_blocks(fifo):
    with served("--register", "tests.stdlib.shop:Till", cwd=ROOT) as server:
        till = server.manager(Shop).Till()
        blocked = Thread(till.wait, fifo)
        till.echo(1)
        server.end()
        assert server.process.returncode == 0
        with pytest.raises((EOFError, ConnectionError)):
            blocked.result()


def test_what_is_not_registered_is_not_served(m):
    with pytest.raises(RemoteError, match="makes no 'Item'"):
        m._create("Item", "a")
