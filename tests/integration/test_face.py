"""The module `mpclient` in place of `multiprocessing`: which cluster its names mean, and what they make."""

from __future__ import annotations

import ctypes
import inspect
import multiprocessing
import multiprocessing.managers
import multiprocessing.util
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from typing import Any

import pytest
from tests.conformance.bank import Account, OurBank, OurProxy, TheirBank
from tests.integration import targets

import mpclient
import mpclient.context
import mpclient.default
import mpclient.managers
import mpclient.queues
import mpclient.sharedctypes
import mpclient.synchronize
from mpclient import testing
from mpclient.offers import METHODS

HEAVY = {
    *("asyncio", "cloudpickle", "ctypes", "logging", "msgpack", "multiprocessing", "rich", "socket"),
    *("structlog", "typer"),
}
PACKAGES = "multiprocessing", "mpclient"


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_double),)


def run_python(source, environment=None):
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestTheModule:
    def test_has_the_standard_names(self):
        names = set(multiprocessing.__all__) - {"reducer"}
        assert names - set(mpclient.__all__) == set()
        assert names - set(dir(mpclient)) == set()

    @pytest.mark.parametrize("name", sorted(set(multiprocessing.__all__) - {"reducer"}))
    def test_has_the_standard_signatures(self, name):
        """Arguments of ours are by keyword, and behind."""
        standard, ours = getattr(multiprocessing, name), getattr(mpclient, name)
        if inspect.isclass(standard) and name != "Process":
            assert ours is standard
            return
        wanted, offered = (list(inspect.signature(of).parameters.values()) for of in (standard, ours))
        newer = offered[len(wanted) :]
        for left, right in zip(wanted, offered[: len(wanted)], strict=True):
            assert (left.name, left.kind, left.default) == (right.name, right.kind, right.default)
        assert {each.kind for each in newer} <= {inspect.Parameter.KEYWORD_ONLY}

    @pytest.mark.parametrize(
        ("statement", "heavy"),
        [
            ("import mpclient", HEAVY),
            ("from mpclient.managers import Manager", {"multiprocessing.managers", "mpclient.proxies"}),
        ],
    )
    def test_imports_little(self, statement, heavy):
        loaded = run_python(f"{statement}; import sys; print(*sys.modules)").split()
        assert set(loaded) & heavy == set()

    def test_a_star_gives_what_it_gives_there(self):
        for name in ("connection", "context", "managers", "pool", "queues", "sharedctypes", "synchronize"):
            standard, ours = (vars(import_module(f"{package}.{name}")) for package in PACKAGES)
            assert set(standard["__all__"]) - set(ours["__all__"]) == set()

    def test_a_name_that_is_not_there(self):
        with pytest.raises(AttributeError, match="no attribute 'Pol'"):
            mpclient.Pol  # noqa: B018
        with pytest.raises(ImportError):
            from mpclient import Pol  # noqa: F401

    def test_a_cluster_has_the_same_names(self, cluster):
        names = set(multiprocessing.__all__) - {"reducer"}
        assert {name for name in names if not hasattr(cluster, name)} == set()
        assert {name for name in names if not hasattr(cluster.get_context(), name)} == set()
        assert cluster.get_start_method() == METHODS[0]
        assert cluster.TimeoutError is multiprocessing.TimeoutError

    def test_the_standard_librarys_own(self):
        assert mpclient.util is multiprocessing.util
        assert (
            run_python("import mpclient.dummy, multiprocessing.dummy as d; print(mpclient.dummy is d)")
            == "True"
        )

    def test_submodules_without_an_import(self):
        source = "import mpclient as m; print(m.managers.SyncManager.__name__, m.queues.Empty.__name__)"
        assert run_python(source) == "SyncManager Empty"

    @pytest.mark.usefixtures("cluster")
    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda: mpclient.set_executable("/bin/python"), "mpworker"),
            (lambda: mpclient.set_forkserver_preload(["numpy"]), "leave this call out"),
            (lambda: mpclient.reducer, "copyreg"),
            (lambda: mpclient.context.default_context.reducer, "copyreg"),
            (lambda: mpclient.Array(Point, 2), "Array for each field"),
            (lambda: mpclient.Value(ctypes.c_char_p), "is not one number"),
            (lambda: mpclient.shared_memory.SharedMemory(create=True, size=10), "mpclient.Array"),
            (lambda: mpclient.shared_memory.ShareableList([1]), r"Manager\(\).list"),
            (mpclient.managers.SharedMemoryManager, "Manager"),
            (lambda: mpclient.sharedctypes.synchronized(object()), "Value"),
            (lambda: mpclient.sharedctypes.copy(object()), "Array"),
            (mpclient.managers.QueueProxy, "Manager makes it"),
        ],
    )
    def test_what_is_refused_says_what_to_do(self, call, words):
        with pytest.raises(mpclient.NotSupported, match=words):
            call()

    @pytest.mark.usefixtures("cluster")
    def test_an_executor_of_the_standard_library_is_shown_ours(self):
        context: Any = mpclient.get_context()
        with (
            ProcessPoolExecutor(1, mp_context=context) as executor,
            pytest.raises(mpclient.NotSupported, match=r"connect\(\).executor\(\)"),
        ):
            executor.submit(abs, -1)

    def test_what_is_refused_is_no_attribute(self):
        assert not hasattr(mpclient, "reducer")
        assert "reducer" not in dict(inspect.getmembers(mpclient.context.default_context))


class TestStartMethods:
    def test_as_in_the_standard_library(self):
        for context in (
            mpclient.context.DefaultContext(),
            multiprocessing.context.DefaultContext(multiprocessing.get_context(METHODS[0])),
        ):
            assert context.get_start_method(allow_none=True) is None
            context.set_start_method("forkserver")
            assert context.get_start_method() == "forkserver"
            with pytest.raises(RuntimeError, match="context has already been set"):
                context.set_start_method("spawn")
            context.set_start_method("spawn", force=True)
            assert context.get_start_method() == "spawn"
            context.set_start_method(None, force=True)
            assert context.get_start_method(True) is None
            assert context.get_context().get_start_method() == METHODS[0]
            assert context.get_start_method(True) == METHODS[0]

    def test_contexts(self):
        for module in (mpclient, multiprocessing):
            context = module.get_context("forkserver")
            assert context.get_start_method() == "forkserver"
            assert context.get_context() is context
            assert module.get_context("forkserver") is context
            assert context.get_context("spawn").get_start_method() == "spawn"
            with pytest.raises(ValueError, match="cannot set start method of concrete context"):
                context.set_start_method("spawn")
            with pytest.raises(ValueError, match="cannot find context for 'spoon'"):
                module.get_context("spoon")

    @pytest.mark.parametrize(
        "of", [mpclient, mpclient.get_context("spawn"), mpclient.context.DefaultContext()]
    )
    def test_fork_is_refused_with_a_reason(self, of):
        with pytest.raises(ValueError, match="another machine.*spawn"):
            of.get_context("fork")
        assert "fork" not in of.get_all_start_methods()

    def test_also_as_a_class(self):
        with pytest.raises(ValueError, match="another machine.*spawn"):
            mpclient.context.ForkContext  # noqa: B018

    def test_making_something_settles_it(self, cluster):
        context = mpclient.context.DefaultContext(cluster)
        context.Lock()
        with pytest.raises(RuntimeError, match="already been set"):
            context.set_start_method("spawn")


class TestWhatIsMade:
    def test_has_the_classes_of_the_modules(self, cluster):
        context = cluster.get_context()
        for name in ("Queue", "JoinableQueue", "SimpleQueue"):
            assert type(getattr(context, name)()) is getattr(mpclient.queues, name)
        for name in ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event"):
            assert type(getattr(context, name)()) is getattr(mpclient.synchronize, name)
        assert type(context.Barrier(2)) is mpclient.synchronize.Barrier

    def test_keeps_its_class_on_its_way(self, cluster):
        context = cluster.get_context()
        manager = cluster.Manager()
        made = [
            *(context.Queue(), context.JoinableQueue(), context.SimpleQueue(), context.Queue(3)),
            *(context.Lock(), context.RLock(), context.Condition(), context.Semaphore()),
            *(context.BoundedSemaphore(), manager.Value("x", "y"), manager.Array("d", [1])),
        ]
        box = cluster.Queue()
        for one in made:
            box.put(one)
            copy = box.get()
            assert type(copy) is type(one)
            assert copy == one
            assert type(pickle.loads(pickle.dumps(one))) is type(one)

    def test_queues_are_buffered_unless_they_have_a_bound(self, cluster):
        context = cluster.get_context()
        assert context.Queue()._buffer is not None
        assert context.JoinableQueue()._buffer is not None
        assert context.SimpleQueue()._buffer is not None
        assert context.Queue(1)._buffer is None
        assert cluster.Manager().Queue()._buffer is None

    def test_the_lock_of_a_value_has_the_arguments_of_multiprocessing(self, cluster):
        box = cluster.Queue()
        box.put(cluster.get_context().Value("i", 5))
        for value in (cluster.Value("i"), box.get()):
            assert type(value.get_lock()) is mpclient.synchronize.RLock
            assert value.get_lock().acquire(False, 1) is True


class TestClassesOfTheModules:
    """`queues` and `synchronize` have classes that are called with a context, and derived from."""

    @pytest.mark.parametrize("name", ["Queue", "JoinableQueue", "SimpleQueue"])
    def test_called(self, cluster, name):
        made = getattr(mpclient.queues, name)(ctx=cluster.get_context())
        made.put("x")
        assert made.get() == "x"
        assert type(made) is getattr(mpclient.queues, name)
        assert made._handle.session is cluster.session

    @pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
    def test_locks_called(self, cluster, name):
        kind = getattr(mpclient.synchronize, name)
        made = kind(ctx=cluster)
        with made:
            assert type(made) is kind

    def test_events_and_barriers_called(self, cluster):
        for ctx in (cluster, cluster.get_context()):
            event = mpclient.synchronize.Event(ctx=ctx)
            event.set()
            for copy in (event, _through(cluster, event), pickle.loads(pickle.dumps(event))):
                assert (type(copy), copy.wait(5)) == (mpclient.synchronize.Event, True)
            barrier = mpclient.synchronize.Barrier(1, action=event.clear, timeout=5, ctx=ctx)
            for copy in (barrier, _through(cluster, barrier), pickle.loads(pickle.dumps(barrier))):
                event.set()
                assert (type(copy), copy.wait()) == (mpclient.synchronize.Barrier, 0)
                assert not event.is_set()

    def test_arguments(self, cluster):
        context = cluster.get_context()
        queue = mpclient.queues.Queue(1, ctx=context)
        queue.put(1)
        assert queue.full()
        semaphore = mpclient.synchronize.Semaphore(value=2, ctx=context)
        assert (semaphore.acquire(), semaphore.acquire(), semaphore.acquire(False)) == (True, True, False)
        with pytest.raises(TypeError, match="context or a cluster"):
            mpclient.queues.Queue(ctx=multiprocessing.get_context())

    def test_derived(self, cluster, monkeypatch):
        monkeypatch.setattr(mpclient.default._default, "explicit", [cluster])
        queue = targets.CountingQueue(ctx=mpclient.get_context())
        queue.put("a")
        for copy in (pickle.loads(pickle.dumps(queue)), _through(cluster, queue)):
            assert (type(copy), copy, copy.count) == (targets.CountingQueue, queue, queue.count)

    def test_derived_in_the_program_itself_and_without_attributes(self, cluster):
        class Mine(mpclient.synchronize.Lock):
            def twice(self):
                return self.acquire(), self.acquire(False)

        copy = _through(cluster, Mine(ctx=cluster))
        assert copy.twice() == (True, False)
        copy.note = "kept"
        assert _through(cluster, copy).note == "kept"


def _through(cluster, value):
    """Return what a value is when it has been on the server."""
    box = cluster.Queue()
    box.put(value)
    return box.get(timeout=20)


class TestManager:
    def test_names_are_keys_and_attributes(self, cluster):
        with cluster.Manager() as manager:
            assert dict(manager.dict(name=1, fresh=2, ttl=3)) == {"name": 1, "fresh": 2, "ttl": 3}
            namespace = manager.Namespace(name=1, fresh=2, ttl=3)
            assert (namespace.name, namespace.fresh, namespace.ttl) == (1, 2, 3)

    def test_what_was_made_goes_on(self, cluster):
        with cluster.Manager() as manager:
            shared = manager.dict(x=1)
        assert shared["x"] == 1
        with pytest.raises(AssertionError, match="not yet started"):
            manager.dict()
        with pytest.raises(multiprocessing.ProcessError):
            manager.start()
        manager.join(0)

    def test_connects(self, server):
        manager = mpclient.managers.SyncManager(
            ("127.0.0.1", int(server.address.rpartition(":")[2])), server.key
        )
        manager.connect()
        assert manager.address == ("127.0.0.1", int(server.address.rpartition(":")[2]))
        with pytest.raises(multiprocessing.ProcessError):
            manager.connect()
        assert list(manager.list("ab")) == ["a", "b"]
        manager.shutdown()

    @pytest.mark.parametrize(
        "call",
        [
            lambda: mpclient.managers.SyncManager(serializer="xmlrpclib"),
            lambda: mpclient.managers.SyncManager(("", 0)).start(),
            lambda: mpclient.managers.SyncManager().start(print),
            lambda: mpclient.managers.SyncManager().get_server(),
            lambda: mpclient.managers.SyncManager.register("X", object),
        ],
    )
    def test_what_is_refused(self, call):
        with pytest.raises(mpclient.NotSupported):
            call()

    def test_proxies_as_the_standard_library_has_them(self, cluster):
        manager = cluster.Manager()
        shared = manager.dict(x=1)
        assert shared._callmethod("get", ("y", 5)) == 5
        assert shared._callmethod("setdefault", args=("y",), kwds={"default": 6}) == 6
        assert shared._getvalue() == {"x": 1, "y": 6}
        assert manager.list([1])._getvalue() == [1]
        plain = manager.Namespace(x=1)._getvalue()
        assert type(plain) is multiprocessing.managers.Namespace
        assert plain.x == 1
        assert manager.Value("i", "any")._getvalue() == "any"
        with pytest.raises(AttributeError):
            shared._callmethod("_call")
        with pytest.raises(mpclient.NotSupported, match="no copy"):
            manager.Lock()._getvalue()

    def test_what_can_be_derived_from_is_the_standard_ones(self, cluster):
        for name in ("BaseManager", "SyncManager"):
            theirs, ours = (getattr(import_module(f"{package}.managers"), name) for package in PACKAGES)
            assert issubclass(ours, theirs)
            assert isinstance(cluster.Manager(), ours)
            assert not isinstance(cluster.Manager(), type("Derived", (ours,), {}))

    def test_a_name_that_is_not_there(self):
        with pytest.raises(AttributeError):
            mpclient.managers.Nothing  # noqa: B018


def money_of(account):
    account.add(2)
    return account.money


@pytest.mark.parametrize("bank", [OurBank, TheirBank])
def test_what_a_programs_own_manager_serves_opens_wherever_it_is_sent(bank):
    with testing.running_cluster(1) as cluster:
        spawn = multiprocessing.get_context("spawn")
        with bank(ctx=spawn) as opened, cluster.Pool(1) as pool:
            account, queue = opened.Account(), cluster.get_context().Queue()
            assert pool.apply(money_of, (account,)) == 7
            assert pool.map(money_of, [account]) == [9]
            process = cluster.Process(target=money_of, args=(account,))
            process.start()
            process.join()
            assert account.money == 11
            queue.put({"of": [account]})
            assert money_of(queue.get()["of"][0]) == 13
            with cluster.Pool(1, initializer=money_of, initargs=(account,)) as other:
                assert other.apply(money_of, (account,)) == 17


class Served(mpclient.managers.SyncManager):
    """What a program derives to serve classes of its own, at an address that others know."""


Served.register("Account", Account, OurProxy)


class Visiting(mpclient.managers.SyncManager):
    """What others derive who have only the address and the key."""


Visiting.register("Account", proxytype=OurProxy)


def visit(address, key):
    visitor = Visiting(address, key)
    visitor.connect()
    return money_of(visitor.Account())  # type: ignore[attr-defined]  # registered


def test_what_is_derived_from_a_manager_serves_a_programs_own_classes():
    spawn, key = multiprocessing.get_context("spawn"), b"k" * 20
    with (
        testing.running_cluster(1) as cluster,
        Served(("127.0.0.1", 0), key, ctx=spawn) as served,
        cluster.Pool(1) as pool,
    ):
        account = served.Account()  # type: ignore[attr-defined]  # registered
        assert pool.apply(money_of, (account,)) == 7
        assert pool.apply(visit, (served.address, key)) == 7
        shared = served.dict(a=1)
        assert pool.apply(dict, (shared,)) == {"a": 1}


def pooled(pool, numbers):
    numbers.append(pool.map(abs, [-1, -2]))
    pool.close()
    pool.join()


def test_a_managers_pool_may_be_sent_to_others():
    with testing.running_cluster(2) as cluster, cluster.Manager() as manager:
        pool, numbers = manager.Pool(1), manager.list()
        process = cluster.Process(target=pooled, args=(pool, numbers))
        process.start()
        process.join()
        assert numbers[:] == [[1, 2]]
        assert pool.apply(abs, (-3,)) == 3  # closed there, not here
        pool.terminate()


# -- which cluster ---------------------------------------------------------------------------------


def where_it_is():
    """Return what a job takes for the default cluster, and one of its objects."""
    with mpclient.connect() as cluster:
        shared = mpclient.Manager().dict(x=1)
    return mpclient.default.default_cluster() is cluster, cluster.session.server_id, shared


def put_where_it_is(queue):
    queue.put(where_it_is())


def test_in_jobs_and_processes_it_is_their_own(tmp_path):
    """What is made in a job lives on the server that the job came from, and outlives the job."""
    with testing.running_cluster(1) as cluster:
        with cluster.Pool(1) as pool:
            found = pool.apply(where_it_is)
        queue = cluster.Queue()
        process = cluster.Process(target=put_where_it_is, args=(queue,))
        process.start()
        for same, server_id, shared in (found, queue.get(timeout=30)):
            assert same
            assert server_id == cluster.session.server_id
            assert dict(shared) == {"x": 1}
        process.join()


def test_the_default_cluster_is_the_one_at_the_address(program, cluster, unique):
    source = "from mpclient.default import default_cluster as cluster\n"
    program(f"{source}cluster().Queue(name={unique!r}).put('mpclient')", connected=False).finish()
    assert cluster.Queue(name=unique).get(timeout=10) == "mpclient"


def test_the_first_connection_is_the_default(program, server):
    source = """
import mpclient
from mpclient.default import default_cluster
implicit = default_cluster()
assert mpclient.connect() is implicit, "what was chosen already is made explicit"
one = mpclient.connect(name="one")
assert default_cluster() is one
two = mpclient.connect(name="two")
assert default_cluster() is one
one.close()
assert default_cluster() is two
with two:
    queue = mpclient.Queue()
assert default_cluster() is implicit
with mpclient.connect(): pass
assert default_cluster() not in (implicit, one, two)
print("good")
"""
    assert program(source, connected=False).finish() == "good"


def test_a_fork_has_the_default_of_its_parent(program):
    source = """
import os, mpclient
lock, queue = mpclient.Lock(), mpclient.Queue()
if os.fork() == 0:
    with lock:
        queue.put(mpclient.Semaphore(3).get_value())
    raise SystemExit(0)
print(queue.get(timeout=10))
os.wait()
"""
    assert program(source, connected=False).finish() == "3"


def test_without_an_address_and_a_main_guard(tmp_path):
    """The embedded cluster starts at the first use; the children of the program do not run it again."""
    source = """
import mpclient as multiprocessing
queue = multiprocessing.Queue()
queue.put([1, 2])
with multiprocessing.Manager() as manager:
    shared = manager.dict()
    shared["x"] = queue.get()
    print(shared)
"""
    path = tmp_path / "program.py"
    path.write_text(source)
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("{'x': [1, 2]}\n", "")
