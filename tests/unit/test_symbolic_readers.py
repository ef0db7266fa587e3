"""What is written here is read by plain `pickle.loads`, of this Python and others, as the original."""

import ast
import importlib
import io
import multiprocessing
import os
import pickle
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mpshared import values
from mpshared.symbolic import (
    OWN,
    Named,
    Opaque,
    Own,
    Ref,
    Stock,
    Stub,
    dump,
    equal,
    load,
    load_with_refs,
    matcher,
    text,
)

ROOT = Path(__file__).parents[2]
WAIT_S = 60
OURS = "{}.{}".format(*sys.version_info[:2])
PYTHONS = {OURS: sys.executable} | dict(
    pair.split("=", 1) for pair in os.environ.get("MPSERVE_STOCK_PYTHONS", "").split(",") if "=" in pair
)
managers: Any = importlib.import_module("multiprocessing.managers")  # its type stubs lack what is not public
STOCK = Stock(("127.0.0.1", 7707))


# -- other Pythons --------------------------------------------------------------------------------

WRITE = """
import pickle
from tests.property.symbolic_samples import samples
print({(sort, p): pickle.dumps(obj, p) for sort, obj in samples().items() for p in range(2, 6)})
"""

READ = """
import ast, pickle, sys
from tests.property.symbolic_samples import samples
sent = ast.literal_eval(sys.stdin.read())
for (sort, protocol), data in sent.items():
    obj, back = samples()[sort], pickle.loads(data)
    assert back == obj and type(back) is type(obj), (sort, protocol, back)
print(len(sent))
"""


def run(python, program, stdin=""):
    done = subprocess.run(
        [python, "-X", "utf8", "-c", program],
        input=stdin,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=WAIT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.stock
@pytest.mark.parametrize("version", PYTHONS)
def test_what_a_python_pickled_comes_back_to_it(version):
    pickles = ast.literal_eval(run(PYTHONS[version], WRITE))
    written = {name: dump(load(data), face=OWN) for name, data in pickles.items()}
    assert int(run(PYTHONS[version], READ, repr(written))) == len(pickles) > 100


# -- shared objects -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manager():
    with multiprocessing.Manager() as started:
        yield started


@pytest.mark.parametrize("protocol", range(2, 6))
def test_real_proxies_go_there_and_back_and_work(manager, protocol):
    shared = manager.dict(a=1)
    jobs = manager.Queue()
    names = manager.Namespace(n=5)
    lock = manager.Lock()
    sent = pickle.dumps({"d": shared, "again": [shared], "q": jobs, "n": names, "l": lock}, protocol)
    obj, refs = load_with_refs(sent)
    assert refs == (shared._id, jobs._id, names._id, lock._id)
    assert isinstance(obj, dict)
    assert (obj["d"].kind, obj["q"].kind, obj["n"].kind, obj["l"].kind) == (
        "dict",
        "queue",
        "namespace",
        "lock",
    )
    assert "put" in obj["q"].exposed
    # The server's own address replaces the one in the pickle: here, by chance, it is the same.
    back = pickle.loads(dump(obj, face=Stock(manager.address)))
    back["d"]["b"] = 2
    back["q"].put("job")
    assert (dict(shared), jobs.get(timeout=WAIT_S), back["n"].n) == ({"a": 1, "b": 2}, "job", 5)
    with back["l"]:
        assert back["again"][0] is back["d"]
    assert type(back["d"]) is managers.DictProxy
    # back may be the last to hold a connection; it goes while the manager lives
    del back


def test_the_address_in_a_token_is_replaced():
    token = managers.Token("dict", ("6.6.6.6", 666), "abc")
    data = dump(load(proxy_pickle(managers.DictProxy, token, {})), face=STOCK)
    assert b"6.6.6.6" not in data
    assert b"127.0.0.1" in data
    assert b"6.6.6.6" not in dump(load(data), face=OWN)


class Pickled:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def proxy_pickle(kind, token, kwds, serializer="pickle"):
    return pickle.dumps(Pickled(managers.RebuildProxy, (kind, token, serializer, kwds)))


TOKEN = managers.Token("Queue", ("h", 1), "id7")


def test_a_key_in_a_proxy_is_dropped():
    data = proxy_pickle(managers.AutoProxy, TOKEN, {"authkey": b"secret", "exposed": ("get",)})
    ref = load(data)
    assert ref == Ref("queue", "id7")
    for face in (STOCK, OWN):
        assert b"secret" not in dump(ref, face=face)
    assert b"secret" not in text(ref).encode()


@pytest.mark.parametrize(
    "data",
    [
        proxy_pickle(managers.AutoProxy, TOKEN, {"exposed": ("get", "put(self): import os #")}),
        proxy_pickle(managers.AutoProxy, TOKEN, {"exposed": "get"}),
        proxy_pickle(managers.AutoProxy, TOKEN, {"manager": 1}),
        proxy_pickle(managers.AutoProxy, TOKEN, {}, "xmlrpclib"),
        proxy_pickle(managers.AutoProxy, ("Queue", "h", "id7"), {}),
        proxy_pickle(managers.AutoProxy, managers.Token(1, "h", "id7"), {}),
        proxy_pickle(7, TOKEN, {}),
        pickle.dumps(Pickled(values.open_ref, ("dict", 7, ""))),
    ],
)
def test_what_only_resembles_a_proxy_is_somebodys_data(data):
    obj, refs = load_with_refs(data)
    assert isinstance(obj, Stub)
    assert refs == ()
    assert equal(obj, load(dump(obj, face=OWN)))


def test_references_are_equal_by_ident():
    assert Ref("dict", "a") == Ref("DictLike", "a", ("get",))
    assert len({Ref("dict", "a"), Ref("dict", "a"), Ref("dict", "b")}) == 2
    assert matcher(dump(Ref("dict", "a"), face=OWN))(dump(Ref("dict", "a"), face=STOCK))
    assert not matcher(dump(Ref("dict", "a"), face=OWN))(dump(Ref("dict", "b"), face=OWN))


def test_our_client_resolves_references(monkeypatch):
    monkeypatch.setattr(values, "_resolver", lambda *found: found)
    data = dump(
        [Ref("dict", "a"), Ref("get_jobs", "b")],
        face=Own(lambda ref: "queue" if ref.ident == "b" else ref.kind),
    )
    assert pickle.loads(data) == [("dict", "a", ""), ("queue", "b", "")]
    assert load_with_refs(data)[1] == ("a", "b")


@pytest.mark.parametrize(
    ("ref", "proxy", "typeid", "exposed"),
    [
        (Ref("list", "a"), "ListProxy", "list", None),
        (Ref("array", "a"), "ArrayProxy", "Array", None),
        (Ref("queue", "a"), "AutoProxy", "Queue", ("get", "put")),
        (
            Ref("queue", "a", typeid="JoinableQueue", exposed=("join",)),
            "AutoProxy",
            "JoinableQueue",
            ("join",),
        ),
        (Ref("semaphore", "a", typeid="BoundedSemaphore"), "AcquirerProxy", "BoundedSemaphore", None),
        (Ref("set", "a"), "AutoProxy", "set", None),
        (Ref("get_jobs", "a"), "AutoProxy", "get_jobs", None),
    ],
)
def test_a_reference_becomes_the_proxy_that_stock_readers_know(ref, proxy, typeid, exposed):
    data = dump(ref, face=Stock("/path", {"queue": ("get", "put")}))
    func, token, serializer, kwds = ProxyArguments(io.BytesIO(data)).load()
    assert func is getattr(managers, proxy)
    assert (token.typeid, token.address, token.id, serializer) == (typeid, "/path", "a", "pickle")
    assert kwds == ({"exposed": exposed} if exposed else {})


class ProxyArguments(pickle.Unpickler):
    """Gives what a proxy would be made of, and does not connect."""

    def find_class(self, module, name):
        return (lambda *args: args) if name == "RebuildProxy" else super().find_class(module, name)


# -- values within, and what the server itself says -----------------------------------------------


def test_opaque_values_are_opened_by_their_reader():
    inner = Opaque(pickle.dumps({"a": [1]}, 5))
    data = dump(("#RETURN", [inner, {"k": inner}, (inner,)]), face=STOCK)
    kind, (one, two, three) = pickle.loads(data)
    assert (kind, one, two, three) == ("#RETURN", {"a": [1]}, {"k": {"a": [1]}}, ({"a": [1]},))
    assert two["k"] is one
    assert load(data) == ("#RETURN", [inner, {"k": inner}, (inner,)])
    assert pickle.loads(dump(inner, face=OWN)) == {"a": [1]}
    assert equal(inner, {"a": [1.0]})
    assert text([inner]) == "[{'a': [1]}]"
    assert text(Opaque(b"junk")) == "<4 bytes that are no pickle>"


def test_an_opaque_key_does_not_show_what_class_its_bytes_have():
    assert pickle.loads(dump([Opaque(values.PickledKey(pickle.dumps((1, 2))))], face=STOCK)) == [(1, 2)]
    assert b"mpshared" not in dump(Opaque(values.PickledKey(b"N."), (b"x",)), face=STOCK)


def test_opaque_values_may_have_buffers():
    big = [pickle.PickleBuffer(b"abc"), pickle.PickleBuffer(bytearray(b"def"))]
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(big, 5, buffer_callback=buffers.append)
    value = Opaque(data, tuple(bytes(buffer.raw()) for buffer in buffers))
    one, two = pickle.loads(dump([value], face=STOCK))[0]
    assert (bytes(one), bytes(two)) == (b"abc", b"def")
    assert text(value) == "[b'abc', bytearray(b'def')]"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (Named("builtins", "KeyError", ("k",)), KeyError("k")),
        (Named("builtins", "ValueError"), ValueError()),
        (Named("queue", "Empty"), queue.Empty()),
        (Named("queue", "Full"), queue.Full()),
        (Named("threading", "BrokenBarrierError", ("b",)), threading.BrokenBarrierError("b")),
        (Named("multiprocessing.managers", "RemoteError", ("tb",)), managers.RemoteError("tb")),
    ],
)
def test_named_errors_are_raised_as_themselves(name, expected):
    kind, error = pickle.loads(dump(("#ERROR", name), face=STOCK))
    assert (kind, type(error), error.args) == ("#ERROR", type(expected), expected.args)


def test_a_token_can_be_sent_by_name():
    token = Named("multiprocessing.managers", "Token", ("list", ("h", 1), "ab"))
    exposed, back = pickle.loads(dump(("#PROXY", (("a",), token)), face=STOCK))[1]
    assert (exposed, back.typeid, back.address, back.id) == (("a",), "list", ("h", 1), "ab")


def test_errors_of_the_server_itself_can_be_sent_beside_data():
    data = dump(("#ERROR", [queue.Empty("why"), Ref("dict", "a")]), face=OWN)
    assert b"Empty" in data
    assert isinstance(load(data), tuple)


def test_nobody_else_pickles_what_is_kept_as_data():
    with pytest.raises(TypeError, match="symbolic.dump"):
        pickle.dumps([Ref("dict", "a")])
    with pytest.raises(TypeError, match="kept as data"):
        dump([ValueError(Ref("dict", "a"))], face=OWN)
