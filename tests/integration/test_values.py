"""What travels as a value, and the shared objects mentioned in it."""

from __future__ import annotations

import dataclasses
import gc
import multiprocessing
import pickle
import secrets
from multiprocessing.managers import SyncManager

import numpy as np
import pytest

import mpclient
from mpclient.testing import wait_until


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


def objects(cluster, ident):
    return [o for o in cluster.status()["objects"] if o["ident"] == ident]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**80,
        1.5,
        "text",
        b"bytes",
        [1, [2]],
        {"a": (1,)},
        {1, 2},
        Point(1, [2]),
        ValueError("x"),
        range(3),
    ],
    ids=repr,
)
def test_values_come_back(cluster, value):
    q = cluster.Queue()
    q.put(value)
    got = q.get()
    assert type(got) is type(value)
    assert repr(got) == repr(value)


def test_large_values(cluster):
    q, data = cluster.Queue(), secrets.token_bytes(5_000_000)
    q.put(data)
    q.put([data, data[:100_000]])
    assert q.get() == data
    assert q.get() == [data, data[:100_000]]
    for value in (data, (data, data), {"a": 1, "data": data}, data):
        q.put(value)
        assert q.get() == value


def test_buffers_travel_beside_the_pickle_and_stay_writable(cluster):
    q = cluster.Queue()
    large = np.arange(100_000, dtype="f8")
    frozen = large.copy()
    frozen.flags.writeable = False
    q.put({"large": large, "small": np.arange(3), "frozen": frozen, "turned": large.reshape(100, 1000).T})
    got = q.get()
    assert (got["large"] == large).all()
    assert (got["turned"] == large.reshape(100, 1000).T).all()
    assert got["small"].tolist() == [0, 1, 2]
    got["large"][0] = 5
    assert not got["frozen"].flags.writeable


def test_code_of_main_travels_by_value(program, cluster, unique):
    q = cluster.Queue(name=unique)
    run = program(
        "class Local:\n"
        "    def hello(self): return 'hello'\n"
        "def double(x): return FACTOR * x\n"
        "FACTOR = 2\n"
        "offset = 5\n"
        "things = [double, lambda x: x + offset, Local(), (double, 'beside')]\n"
        "cluster.Queue(name=sys.argv[1]).put_many(things)\n",
        unique,
    )
    run.finish()
    double, shift, local, (again, _) = q.get_many(4)
    assert double(4) == again(4) == 8
    assert shift(1) == 6
    assert local.hello() == "hello"


def test_closures_and_local_classes_travel(cluster):
    def outer(n):
        class Inner:
            def get(self):
                return n

        return Inner

    q = cluster.Queue()
    q.put(outer(7))
    assert q.get()().get() == 7


def test_what_cannot_be_pickled_says_so(cluster):
    import threading

    q = cluster.Queue()
    with pytest.raises(TypeError, match="pickle"):
        q.put(threading.Lock())
    assert q.empty()


def test_what_cannot_be_opened_names_the_object(cluster, program, unique, tmp_path):
    q = cluster.Queue(name=unique)
    (tmp_path / "only_there.py").write_text("class Thing: pass\n")
    run = program("import only_there\ncluster.Queue(name=sys.argv[1]).put(only_there.Thing())\n", unique)
    run.finish()
    with pytest.raises(ModuleNotFoundError, match="only_there") as caught:
        q.get()
    assert unique in caught.value.__notes__[0]


class TestReferences:
    def test_anonymous_objects_are_freed_with_their_last_proxy(self, cluster):
        shared = cluster.list()
        ident = shared._handle.ident
        assert objects(cluster, ident)
        del shared
        gc.collect()
        wait_until(lambda: not objects(cluster, ident))

    def test_an_object_in_a_queue_outlives_the_program_that_put_it(self, cluster, program, unique):
        q = cluster.Queue(name=unique)
        run = program("cluster.Queue(name=sys.argv[1]).put({'inner': cluster.list([1, 2])})\n", unique)
        run.finish()
        inner = q.get()["inner"]
        inner.append(3)
        assert inner.copy() == [1, 2, 3]
        ident = inner._handle.ident
        del inner
        wait_until(lambda: not objects(cluster, ident))

    def test_values_that_are_never_opened_leak_nothing(self, cluster):
        q, inner = cluster.Queue(), cluster.Lock()
        ident = inner._handle.ident
        q.put([inner, inner])
        del inner
        assert q.clear() == 1
        wait_until(lambda: not objects(cluster, ident))

    def test_values_that_cannot_be_opened_leak_nothing(self, cluster):
        q, inner = cluster.Queue(), cluster.Lock()
        ident = inner._handle.ident
        q.put([inner, Unreadable()])
        del inner
        with pytest.raises(LookupError):
            q.get()
        wait_until(lambda: not objects(cluster, ident))

    def test_every_class_arrives_as_itself(self, cluster):
        names = "Queue JoinableQueue LifoQueue PriorityQueue SimpleQueue Lock RLock Semaphore Condition Event"
        made = [getattr(cluster, name)() for name in [*names.split(), "dict", "list", "set", "Namespace"]]
        made += [cluster.BoundedSemaphore(2), cluster.Barrier(2), cluster.Value("i"), cluster.Array("i", 2)]
        q = cluster.Queue()
        q.put(made)
        got = q.get()
        assert [type(proxy) for proxy in got] == [type(proxy) for proxy in made]
        assert got == made

    def test_a_client_of_the_standard_library_has_them_too(self, server, cluster, unique):
        kinds = [
            cluster.JoinableQueue(),
            cluster.Value("i", 5),
            cluster.dict(a=1),
            cluster.BoundedSemaphore(1),
        ]
        cluster.Queue(name=unique).put(kinds)
        host, port = server.address.rsplit(":", 1)
        manager = Manager((host, int(port)), authkey=server.key.encode())
        authkey = multiprocessing.current_process().authkey
        multiprocessing.current_process().authkey = server.key.encode()
        try:
            manager.connect()
            q, value, shared, semaphore = manager.get_queue(unique).get()  # type: ignore[attr-defined]  # registered below
            q.put("from there")
            shared["b"] = value.value + 1
            assert semaphore.acquire()
        finally:
            multiprocessing.current_process().authkey = authkey
        assert kinds[0].get() == "from there"
        assert kinds[2].copy() == {"a": 1, "b": 6}
        assert kinds[3].get_value() == 0

    def test_what_goes_with_an_object_travels_with_it(self, server, cluster, unique):
        q = cluster.Queue(name=unique)
        q.put(
            (
                cluster.Value("i", 1),
                cluster.Barrier(1, action=Point(1).__repr__),
                cluster.Queue(buffered=True),
            )
        )
        with server.connect() as other:
            value, barrier, buffered = other.Queue(name=unique).get()
            with value.get_lock():
                value.value += 1
            assert value.value == 2
            with pytest.raises(TypeError):
                value.value = "x"
            assert barrier.wait() == 0
            assert buffered._buffer is not None

    def test_an_action_that_is_a_closure_travels(self, server, cluster, unique):
        log = cluster.list()
        cluster.Queue(name=unique).put(cluster.Barrier(1, action=lambda: log.append("ran")))
        with server.connect() as other:
            other.Queue(name=unique).get().wait()
        assert log.copy() == ["ran"]

    def test_any_other_pickler_lends(self, server, cluster):
        shared = cluster.dict(a=1)
        data = pickle.dumps(shared)
        assert cluster.session.key not in data
        again = pickle.loads(data)
        assert again == shared
        assert again.copy() == {"a": 1}

    def test_a_lent_object_opens_in_another_program(self, server, cluster, program):
        shared = cluster.dict(a=1)
        run = program(
            "import pickle\n"
            "shared = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
            "say(shared.copy())\n"
            "shared['b'] = 2\n",
            pickle.dumps(shared).hex(),
        )
        assert run.finish() == "{'a': 1}"
        assert shared["b"] == 2

    def test_a_lent_object_outlives_its_last_proxy(self, cluster):
        data = pickle.dumps(cluster.dict(a=1))
        gc.collect()
        assert pickle.loads(data).copy() == {"a": 1}

    def test_an_object_that_is_gone_says_so(self, cluster, unique):
        data = pickle.dumps(cluster.dict(name=unique))
        cluster.delete(unique)
        gc.collect()
        with pytest.raises(mpclient.NoSuchObject):
            pickle.loads(data).copy()

    def test_a_cluster_travels_as_the_receivers_own(self, server, cluster, unique):
        cluster.Queue(name=unique).put(cluster)
        with server.connect() as other:
            assert other.Queue(name=unique).get().session is other.session


class Manager(SyncManager):
    """A plain manager client."""


Manager.register("get_queue")


class Unreadable:
    def __reduce__(self):
        return _fail, ()


def _fail():
    raise LookupError("cannot be read")
