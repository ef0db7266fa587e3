"""Who refers to what: counts, nested proxies, and the addresses that they carry."""

import gc
import pickle
from multiprocessing import managers
from typing import Any

import pytest
from tests.stdlib.conftest import served
from tests.stdlib.steps import Manager

from mpserve.core.references import LENT_S
from mpserve.dispatch.dispatcher import Dispatcher, Limits
from mpserve.dispatch.registered import RegisteredClasses
from mpserve.dispatch.stock import StockSide
from mpserve.engines.memory import MemoryEngine
from mpshared import symbolic
from mpshared.log import make_logger
from mpshared.wire.framing import encode_frame

pytestmark = pytest.mark.stock

HERE = ("127.0.0.1", 7707)


# -- with a clock of our own -----------------------------------------------------------------------


class Wire:
    """A transport that keeps what it is given."""

    label = "test"
    full = False

    def __init__(self, dialled):
        self._dialled = dialled
        self.sent = b""

    def send(self, pieces):
        self.sent += b"".join(pieces)

    def close(self, reason=""):
        raise AssertionError(reason)

    def dialled(self):
        return self._dialled


def opened(wire) -> Any:
    """Return kind and payload of the one reply that was sent, as data."""
    return symbolic.load(wire.sent[4:])


class World:
    """A dispatcher and an engine, without sockets; time passes when it is told to."""

    def __init__(self):
        self.now_s = 1000.0
        idents = iter(range(1, 1000))
        self.engine = MemoryEngine(lambda: f"ident-{next(idents)}")
        self.dispatcher = Dispatcher(
            self.engine,
            lambda: self.now_s,
            make_logger("test"),
            limits=Limits(),
            stop=lambda _why: None,
        )
        self.registered = RegisteredClasses({}, lambda _: None, self.engine.kind_of, lambda: self.now_s)

    def ask(self, ident, method, *args, dialled=HERE):
        """Return the answer to one request, opened as data."""
        wire = Wire(dialled)
        side = StockSide(self.dispatcher, wire, self.registered)
        if ident is not None:
            self._say(side, wire, (None, "accept_connection", ("test",), {}))
        answer = self._say(side, wire, (ident, method, args, {}))
        side.closed()
        return answer

    def _say(self, side, wire, request):
        wire.sent = b""
        side.receive_data(b"".join(encode_frame(pickle.dumps(request, 4))))
        side.drained()
        kind, payload = opened(wire)
        assert kind in {"#RETURN", "#ERROR", "#TRACEBACK"}
        return payload

    def create(self, typeid, *args):
        return self.ask(None, "create", typeid, *args)[0]

    def pass_s(self, seconds):
        self.now_s += seconds
        self.engine.advance(self.now_s)

    @property
    def alive(self):
        return set(self.engine.catalogue.objects)


@pytest.fixture
def world():
    return World()


class Proxy:
    """Pickles as a proxy does, without a connection."""

    def __init__(self, typeid, ident, proxy="ListProxy", address=("elsewhere", 1)):
        self.form = typeid, ident, proxy, address

    def __reduce__(self):
        typeid, ident, proxy, address = self.form
        token = managers.Token(typeid, address, ident)
        rebuild = managers.RebuildProxy  # type: ignore[attr-defined]  # not in typeshed
        return rebuild, (getattr(managers, proxy), token, "pickle", {})


def test_an_object_goes_with_its_last_reference(world):
    ident = world.create("list")
    world.ask(None, "incref", ident)
    world.ask(None, "decref", ident)
    assert ident in world.alive
    world.ask(None, "decref", ident)
    assert ident not in world.alive
    assert world.ask(None, "number_of_objects") == 0


def test_a_stored_proxy_keeps_its_object(world):
    inner, outer = world.create("list"), world.create("dict")
    world.ask(outer, "__setitem__", "x", Proxy("list", inner))
    world.ask(None, "decref", inner)
    assert inner in world.alive
    world.ask(outer, "__delitem__", "x")
    assert inner not in world.alive


def test_what_was_handed_out_lives_until_its_reader_can_have_counted(world):
    """A client counts what it unpickles, a moment later: an item of a queue refers to it no more by then."""
    inner, q = world.create("list"), world.create("Queue")
    world.ask(q, "put", Proxy("list", inner))
    world.ask(None, "decref", inner)
    got = world.ask(q, "get")
    assert got == symbolic.Ref("list", inner)
    world.pass_s(LENT_S - 1)
    assert inner in world.alive
    world.ask(None, "incref", inner)
    world.pass_s(LENT_S + 1)
    assert inner in world.alive
    world.ask(None, "decref", inner)
    world.pass_s(LENT_S + 1)
    assert inner not in world.alive


def test_reading_a_nested_proxy_again_and_again_leaves_nothing_behind(world):
    """The standard library's server kept each object whose proxy it had unpickled, for ever (gh-103136)."""
    outer = world.create("dict")
    for _ in range(10):
        inner = world.create("list")
        world.ask(outer, "__setitem__", "x", Proxy("list", inner))
        world.ask(None, "decref", inner)
        world.ask(outer, "__getitem__", "x")
    world.pass_s(LENT_S + 1)
    assert len(world.alive) == 2
    world.ask(None, "decref", outer)
    world.pass_s(LENT_S + 1)
    assert world.alive == set()


def test_an_iterator_goes_with_its_proxy(world):
    ident = world.create("dict", [("a", 1)])
    kind, exposed, iterator = _proxied(world, ident)
    assert kind == "#PROXY"
    assert "__next__" in exposed
    assert symbolic.text(world.ask(iterator, "__next__")) == "'a'"
    world.ask(None, "decref", iterator)
    assert world.alive == {ident}


def _proxied(world, ident):
    wire = Wire(HERE)
    side = StockSide(world.dispatcher, wire, world.registered)
    side.receive_data(b"".join(encode_frame(pickle.dumps((None, "accept_connection", ("t",), {})))))
    wire.sent = b""
    side.receive_data(b"".join(encode_frame(pickle.dumps((ident, "__iter__", (), {})))))
    kind, (exposed, token) = opened(wire)
    return kind, exposed, token.steps[0][1][2]


@pytest.mark.parametrize("dialled", [("10.1.2.3", 7707), ("::1", 7707), "/run/mpserve.sock"])
def test_a_proxy_carries_the_address_that_its_reader_dialled(dialled, world):
    """Whatever the address its writer knew: that of another network, or somebody's who means harm."""
    inner, outer = world.create("list"), world.create("list")
    world.ask(outer, "append", Proxy("list", inner, address=("attacker", 666)))
    wire = Wire(dialled)
    side = StockSide(world.dispatcher, wire, world.registered)
    for request in ((None, "accept_connection", ("t",), {}), (outer, "__getitem__", (0,), {})):
        wire.sent = b""
        side.receive_data(b"".join(encode_frame(pickle.dumps(request))))
    assert b"attacker" not in wire.sent
    expected = dialled if isinstance(dialled, str) else dialled[0]
    assert expected.encode() in wire.sent


def test_sessions_of_stock_clients_leave_nothing(world):
    for _ in range(3):
        world.ask(None, "dummy")
    assert world.engine.find_session("nothing") is None
    assert list(world.engine.sessions) == []


# -- over the network ------------------------------------------------------------------------------


def test_objects_come_and_go_with_their_proxies(server):
    m = server.manager()
    gc.collect()
    base = m._number_of_objects()
    kinds = ["Queue", "Event", "Lock", "RLock", "Semaphore", "Condition", "list", "dict", "set", "Namespace"]
    held = [getattr(m, kind)() for kind in kinds]
    held += [m.Barrier(2), m.Value("i", 1), m.Array("i", [1])]
    assert m._number_of_objects() == base + len(held) + 1, "a Condition has a lock of its own"
    held.clear()
    gc.collect()
    assert m._number_of_objects() == base


def test_debug_info_shows_what_there_is(server):
    m = server.manager()
    d, twin = m.dict(), None
    assert f"{d._id}:       refcount=1\n    dict" in m._debug_info()
    twin = pickle.loads(pickle.dumps(d))
    assert f"{d._id}:       refcount=2\n    dict" in m._debug_info()
    del twin
    assert f"{d._id}:       refcount=1\n    dict" in m._debug_info()


def test_proxies_work_at_the_address_their_reader_dialled(tmp_path):
    """Listening at all addresses, the standard library's server puts 0.0.0.0 into them."""
    with served("--host", "0.0.0.0", "--insecure", cwd=tmp_path) as server:
        port = server.where[1]
        first, second = [server.manager(address=(host, port)) for host in ("127.0.0.1", "127.0.0.2")]
        outer = first.dict(inner=first.list([1]))
        same = pickle.loads(pickle.dumps(outer).replace(b"127.0.0.1", b"127.0.0.2"))
        assert outer["inner"]._token.address == ("127.0.0.1", port)
        assert same["inner"]._token.address == ("127.0.0.2", port)
        same["inner"].append(2)
        assert outer["inner"][:] == [1, 2]
        assert second.list([same])[0]["inner"]._token.address == ("127.0.0.2", port)


def test_proxies_carry_the_advertised_address(tmp_path):
    with served("--advertise", "localhost:1", cwd=tmp_path) as server:
        m = server.manager(Manager)
        d = m.dict()
        d["x"] = d
        with pytest.raises((ConnectionError, OSError)):
            d["x"]  # dials localhost:1


def test_a_proxy_of_a_server_that_is_gone(tmp_path):
    with served(cwd=tmp_path) as first:
        numbers = first.manager().list([1])
    with pytest.raises((EOFError, ConnectionError)):
        numbers[0]
