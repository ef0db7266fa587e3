"""The module itself, its contexts, and its managers' own life."""

from __future__ import annotations

import logging
import multiprocessing
import sys

from tests.conformance import bank, work
from tests.conformance.harness import NEWER, case

from mpclient.offers import METHODS

NO_FORK = "a child on another machine cannot have its parent's memory; hand over what it needs"
OTHER_PYTHON = "worker processes run the Python that mpworker was started with"


def names_of(module):
    return sorted(name for name in module.__all__ if not name.startswith("_"))


@case(
    "multiprocessing",
    differs={
        "get_all_start_methods()": "without `fork`, the usual one first",
        "get_start_method()": "`spawn`, where there is no `fork`; with Python 3.14 it is `forkserver`, as there",
    },
    refused={
        "set_executable()": OTHER_PYTHON,
        "set_forkserver_preload()": "the fork servers of worker hosts serve all programs",
        "get_context('fork')": NO_FORK,
        "reducer": "values are pickled by this package; `copyreg` tells it how",
    },
    notes={
        "Array, Barrier, BoundedSemaphore, Condition, Event, JoinableQueue, Lock, Manager, Pipe, Pool, Process, Queue, "
        "RLock, RawArray, RawValue, Semaphore, SimpleQueue, Value": "below, each by itself",
        "cpu_count(), what it counts": "how many jobs the connected workers run at once; waits for the first worker",
        "set_start_method()": "below, with the contexts",
    },
)
def module(side):
    mp = side.modules[""]
    for name in ("ProcessError", "BufferTooShort", "TimeoutError", "AuthenticationError"):
        yield name, lambda name=name: getattr(mp, name)
    yield "cpu_count()", lambda: side.mp.cpu_count() > 0
    yield "current_process()", lambda: mp.current_process().name
    yield "parent_process()", mp.parent_process
    yield "active_children()", lambda: [type(child) for child in mp.active_children() if child.name == "none"]
    yield (
        "get_logger()",
        lambda: (mp.get_logger().name, mp.get_logger() is logging.getLogger("multiprocessing")),
    )
    yield "log_to_stderr()", lambda: _logged(mp)
    yield "log_to_stderr(level)", lambda: _logged(mp, logging.ERROR)
    yield "freeze_support()", mp.freeze_support
    yield "allow_connection_pickling()", mp.allow_connection_pickling
    yield "get_all_start_methods()", mp.get_all_start_methods
    yield "get_context('spawn')", lambda: mp.get_context("spawn").get_start_method()
    yield "get_context('forkserver')", lambda: mp.get_context("forkserver").get_start_method()
    yield "get_context('fork')", lambda: mp.get_context("fork").get_start_method()
    yield "get_context('nothing')", lambda: mp.get_context("nothing")
    yield "get_start_method()", mp.get_start_method
    yield "set_executable()", lambda: mp.set_executable(sys.executable)
    yield "set_forkserver_preload()", lambda: mp.set_forkserver_preload(["__main__"])
    yield "reducer", lambda: mp.reducer.__name__
    yield "__getattr__('nothing')", lambda: mp.nothing


def _logged(mp, *level):
    """Return what `log_to_stderr` does; leave the logger as it was."""
    logger = mp.get_logger()
    before = logger.level
    try:
        returned = mp.log_to_stderr(*level)
        return returned is logger, logger.level, [type(handler) for handler in logger.handlers[-1:]]
    finally:
        del logger.handlers[-1:]
        logger.setLevel(before)


@case(
    "multiprocessing.context",
    of="context.DefaultContext",
    refused={
        "get_context('fork')": NO_FORK,
        "set_executable()": OTHER_PYTHON,
        "set_forkserver_preload()": "the fork servers of worker hosts serve all programs",
        "reducer": "values are pickled by this package; `copyreg` tells it how",
        "ForkContext": NO_FORK,
        "ForkProcess": NO_FORK,
    },
    differs={"get_all_start_methods()": "without `fork`"},
    notes={
        "Array, Barrier, BoundedSemaphore, Condition, Event, JoinableQueue, Lock, Manager, Pipe, Pool, Process, Queue, "
        "RLock, RawArray, RawValue, Semaphore, SimpleQueue, Value": "below, each by itself",
        "AuthenticationError, BufferTooShort, ProcessError, TimeoutError": "the standard library's own",
        "SpawnProcess, ForkServerProcess": "as `Process`, with this start method",
        "DefaultContext": "the module's own context",
        "active_children(), allow_connection_pickling(), cpu_count(), current_process(), freeze_support(), "
        "get_logger(), log_to_stderr(), parent_process()": "as the module's",
    },
)
def context(side):
    module = side.modules["context"]
    default = (
        module.DefaultContext()
        if side.is_ours
        else module.DefaultContext(side.modules[""].get_context(METHODS[0]))
    )
    yield "get_start_method(allow_none=True)", lambda: default.get_start_method(allow_none=True)
    yield "get_start_method()", default.get_start_method
    yield "get_start_method(True)", lambda: default.get_start_method(True)
    yield "set_start_method('spawn')", lambda: default.set_start_method("spawn")
    yield (
        "set_start_method('forkserver', force=True)",
        lambda: default.set_start_method("forkserver", force=True),
    )
    yield "get_context()", lambda: default.get_context().get_start_method()
    yield "set_start_method(None, True)", lambda: default.set_start_method(None, True)
    yield "get_start_method(True) when it was taken back", lambda: default.get_start_method(True)
    yield "set_start_method('nothing', True)", lambda: default.set_start_method("nothing", True)
    yield "set_start_method(None)", lambda: default.set_start_method(None)
    yield "get_context('spawn')", lambda: default.get_context("spawn") is default.get_context("spawn")
    yield "get_context('fork')", lambda: default.get_context("fork").get_start_method()
    yield "get_context('nothing')", lambda: default.get_context("nothing")
    yield "get_all_start_methods()", default.get_all_start_methods
    yield "set_executable()", lambda: side.mp.set_executable(sys.executable)
    yield "set_forkserver_preload()", lambda: side.mp.set_forkserver_preload(["__main__"])
    yield "reducer", lambda: side.mp.reducer.__name__
    yield "SpawnContext", lambda: module.SpawnContext().get_start_method()
    yield "ForkServerContext", lambda: module.ForkServerContext().get_start_method()
    yield "ForkContext", lambda: module.ForkContext().get_start_method()
    yield "ForkProcess", lambda: module.ForkProcess.__name__
    yield "BaseContext", lambda: isinstance(side.mp, module.BaseContext)
    one = module.SpawnContext()
    yield "SpawnContext.set_start_method", lambda: one.set_start_method("spawn")
    yield "SpawnContext.get_context", lambda: one.get_context() is one


@case(
    "multiprocessing.shared_memory",
    refused={
        "SharedMemory(create=True, size=10)": "memory belongs to one machine; use `Array`, or send the bytes",
        "ShareableList([1])": "memory belongs to one machine; use `Manager().list()`",
    },
)
def shared_memory(side):
    module = side.modules["shared_memory"]

    def used(one):
        one.close() if hasattr(one, "close") else one.shm.close()
        one.unlink() if hasattr(one, "unlink") else one.shm.unlink()

    yield "SharedMemory(create=True, size=10)", lambda: used(module.SharedMemory(create=True, size=10))
    yield "ShareableList([1])", lambda: used(module.ShareableList([1]))


NO_SERVER = "a manager's objects are on the cluster's server, not in a process of its own"


@case(
    "multiprocessing.managers.SyncManager",
    of="managers.SyncManager",
    refused={
        "start(initializer)": NO_SERVER,
        "get_server()": "`mpserve start` is the server",
        "register() with itself": "the server never runs a program's classes: derive from it or from `BaseManager`, "
        "or `mpserve start --register`",
        "SyncManager(serializer='xmlrpclib')": "values are pickled",
        "SharedMemoryManager": "see `multiprocessing.shared_memory`",
    },
    differs={
        "dict() from before, after shutdown": "goes on: it lives until nobody refers to it",
    },
    notes={
        "Array(), Barrier(), BoundedSemaphore(), Condition(), Event(), JoinableQueue(), Lock(), Namespace(), Queue(), "
        "RLock(), Semaphore(), Value(), dict(), list(), set()": "below, each by itself",
        "connect()": "to `mpserve start`, with its key; without an address as `mpclient.connect()`",
        "Pool(), in another process": "who is sent one has a pool of its own with the same settings; `close` and "
        "`terminate` are for that one",
        "class Derived(SyncManager)": "the standard library's: what is registered with it, and its dicts, lists and all "
        "else, are served by a process of the program's own machine",
    },
)
def sync_manager(side):
    make = side.find("managers.SyncManager")
    yield "SyncManager(serializer='xmlrpclib')", lambda: type(make(serializer="xmlrpclib"))
    yield "dict() before start", lambda: make().dict()
    with make(ctx=side.mp) as manager:
        yield "__enter__", lambda: manager.dict(a=1).copy()
        yield "start() again", manager.start
        yield "address", lambda: type(manager.address)
        yield "Pool(1)", lambda: _pooled(manager.Pool)
        shared = manager.dict(a=1)
        yield "join(0.01) before shutdown", lambda: manager.join(timeout=0.01)
        yield "shutdown()", manager.shutdown
        yield "shutdown() again", manager.shutdown
        yield "dict() after shutdown", manager.dict
        yield "start() after shutdown", manager.start
        yield "join()", manager.join

    def afterwards():
        try:
            return shared["a"]
        except (OSError, EOFError):
            return "gone"

    yield "dict() from before, after shutdown", afterwards
    yield "start('x')", lambda: make().start("x")
    yield "start(initializer)", lambda: _started(make(ctx=side.mp), work.note)
    yield "get_server()", lambda: _served(make(("127.0.0.1", 0)).get_server())
    yield "register() with itself", lambda: _registered_for_all(make)
    yield "register() with a derived class", lambda: _registered(type("Derived", (make,), {}))
    yield "register() with a derived class, called", lambda: _derived(make)
    yield "SharedMemoryManager", lambda: side.find("managers.SharedMemoryManager")().__class__.__name__


def _pooled(make):
    with make(1) as pool:
        return pool.apply(work.double, (4,))


def _started(manager, *args):
    manager.start(*args)
    manager.shutdown()


def _served(server):
    server.listener.close()
    return "a server"


def _registered(derived):
    derived.register("Thing", list)
    return hasattr(derived, "Thing")


def _registered_for_all(make):
    """Register with a manager that others use, too; leave no trace."""
    make.register("Thing", list)
    del make.Thing, make._registry["Thing"]


def _derived(make):
    """Serve by a class that is derived from a manager's, which calls its base as it is written there."""

    class Derived(make):  # type: ignore[misc, valid-type]  # whichever side it is
        def __init__(self):
            make.__init__(self, ctx=multiprocessing.get_context("spawn"))
            self.start()

    _registered(Derived)
    with Derived() as manager:
        return str(manager.Thing("ab")), manager.dict(x=1).copy(), isinstance(manager, make)


def served(side):
    """Use what a program's own manager serves: a class, a dict and a lock."""
    module = side.modules["managers"]
    manager, proxy = (bank.OurBank, bank.OurProxy) if side.is_ours else (bank.TheirBank, bank.TheirProxy)
    with manager(ctx=multiprocessing.get_context("spawn")) as opened:
        account, book, lock = opened.Account(), opened.dict(), opened.Lock()
        account.add(2)
        with lock:
            book["of"] = account.money
        yield dict(book.items())
        yield isinstance(account, module.NamespaceProxy), isinstance(book, module.DictProxy)
        yield isinstance(book, proxy), isinstance(lock, module.BaseProxy)


@case(
    "multiprocessing.managers",
    notes={
        "BaseManager, MakeProxyType, Namespace, RemoteError, Server, State, Token, AutoProxy, "
        "IteratorProxy": "the standard library's own, as all else: with them a program serves classes from a process of its own "
        "machine, also with the classes of proxies above, and those derived from them. Such proxies open there in "
        "its Processes, in jobs of its Pools, and with whom else it sends them to: the key goes along",
        "SharedMemoryManager": "refused; see `multiprocessing.shared_memory`",
    },
    differs={"SetProxy": NEWER},
)
def managers(side):
    module = side.modules["managers"]
    for name in ("Dict", "List", "Namespace", "Value", "Array", "Event", "Condition", "Barrier"):
        proxy = f"{name}Proxy"
        given = {"Value": ("i", 1), "Array": ("i", [1]), "Barrier": (1,)}.get(name, ())
        make = getattr(side.manager, name.lower() if name in {"Dict", "List"} else name)
        yield (
            proxy,
            lambda make=make, given=given, proxy=proxy: isinstance(make(*given), getattr(module, proxy)),
        )
    for name in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"):
        yield (
            f"AcquirerProxy, {name}",
            lambda name=name: isinstance(getattr(side.manager, name)(), module.AcquirerProxy),
        )
    yield "SetProxy", lambda: isinstance(side.manager.set(), module.SetProxy)
    yield "PoolProxy", lambda: issubclass(module.PoolProxy, module.BaseProxy)
    yield "BaseProxy", lambda: isinstance(side.manager.dict(), module.BaseProxy)
    yield "BaseManager, with proxies of one's own", lambda: list(served(side))
