"""The standard library's own suites for locks, queues, containers, executors and logging, with our objects.

RULES
* The tests are those of the Python that runs them, imported from its `test` package: nothing of them is here.
  What is here says which object stands in for which.
* Where a test reaches for its own side's name (`threading.Lock`, `futures.ProcessPoolExecutor`), its module,
  and no other, gets ours under that name.
"""

from __future__ import annotations

import queue
import sys
import unittest
from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

from tests.suites.awaiting import classes_of

import mpclient
import mpclient.executor

__all__ = ["SUITES", "Ground", "Suite"]

Classes = Iterator[type[unittest.TestCase]]


class Ground(NamedTuple):
    """What the objects are made with."""

    cluster: mpclient.Cluster
    manager: Any
    """Its objects have the arguments of `threading` and `queue`."""
    context: Any
    """Its objects have those of `multiprocessing`."""


class Suite(NamedTuple):
    """Some of the standard library's tests."""

    module: str
    """Where they are; a Python without it skips the suite."""
    classes: Callable[[Ground], Classes]
    processes: int = 0
    """How many worker processes they need."""


def _made(face: str, bases: tuple[type, ...], **more: Any) -> type[unittest.TestCase]:
    """Return a class of tests, named after the one it is derived from."""
    one = next(base for base in bases if base.__module__.startswith("test."))
    return type(face + one.__name__, bases, more)


def _instead(module: Any, name: str, **names: Any) -> None:
    """Give a module of tests, instead of a module that it imports, a copy with some names of ours."""
    setattr(module, name, SimpleNamespace(**{**vars(getattr(module, name)), **names}))


# -- locks ----------------------------------------------------------------------------------------

_LOCKS = {
    "LockTests": ("locktype", "Lock"),
    "RLockTests": ("locktype", "RLock"),
    "EventTests": ("eventtype", "Event"),
    "ConditionTests": ("condtype", "Condition"),
    "SemaphoreTests": ("semtype", "Semaphore"),
    "BoundedSemaphoreTests": ("semtype", "BoundedSemaphore"),
    "BarrierTests": ("barriertype", "Barrier"),
}


def _locks(ground: Ground) -> Classes:
    tests: Any = import_module("test.lock_tests")
    _instead(tests, "threading", Lock=ground.manager.Lock)  # a Condition's may be given
    for name, (attribute, kind) in _LOCKS.items():
        for face, makes in (("Manager", ground.manager), ("Module", ground.context)):
            yield _made(face, (getattr(tests, name),), **{attribute: staticmethod(getattr(makes, kind))})


# -- queues ---------------------------------------------------------------------------------------


def _queues(ground: Ground) -> Classes:
    tests: Any = import_module("test.test_queue")
    tests.qfull = lambda one: (
        one.full()
    )  # theirs looks at `maxsize`, which manager queues do not have, either
    for face, make in (
        ("Manager", ground.manager.Queue),
        ("Joinable", ground.manager.JoinableQueue),
        ("Module", ground.context.JoinableQueue),
    ):
        yield _of_queues(face, tests.QueueTest, _named("Queue", make))
    yield _of_queues("", tests.LifoQueueTest, ground.cluster.LifoQueue)
    yield _of_queues("", tests.PriorityQueueTest, ground.cluster.PriorityQueue)
    for face, make in (("Module", ground.context.Queue), ("Simple", ground.context.SimpleQueue)):
        yield _made(
            face,
            (tests.BaseSimpleQueueTest, unittest.TestCase),
            queue=queue,
            type2test=staticmethod(make),
        )


def _of_queues(face: str, base: Any, make: Callable[..., Any]) -> type[unittest.TestCase]:
    def set_up(self: Any) -> None:
        base.setUp(self)
        self.type2test = make

    return _made(face, (base, unittest.TestCase), queue=queue, setUp=set_up)


def _named(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes the same queues, of a class with the name by which the tests know their order."""

    def made(maxsize: int = 0) -> Any:
        one = make(maxsize)
        kind = type(name, (type(one),), {"__slots__": ()})
        return kind(one._handle, one._name, buffered=one._buffer is not None)

    return made


# -- lists and dicts ------------------------------------------------------------------------------


class _Plainly(unittest.TestCase):
    """Compares what shared lists and dicts hold: two of them are equal where they are one and the same."""

    def assertEqual(self, first: Any, second: Any, msg: Any = None) -> None:
        super().assertEqual(_plain(first), _plain(second), msg)

    def assertNotEqual(self, first: Any, second: Any, msg: Any = None) -> None:
        super().assertNotEqual(_plain(first), _plain(second), msg)


def _plain(thing: Any) -> Any:
    return (
        thing._getvalue()
        if isinstance(thing, mpclient.managers.ListProxy | mpclient.managers.DictProxy)
        else thing
    )


def _containers(ground: Ground) -> Classes:
    lists: Any = import_module("test.list_tests")
    mappings: Any = import_module("test.mapping_tests")
    yield _made("List", (_Plainly, lists.CommonTest), type2test=staticmethod(ground.manager.list))
    yield _made(
        "Dict", (_Plainly, mappings.TestHashMappingProtocol), type2test=staticmethod(ground.manager.dict)
    )


# -- executors ------------------------------------------------------------------------------------

_EXECUTORS = (
    ("test_as_completed", "AsCompletedTests"),
    ("test_wait", "WaitTests"),
    ("test_init", "InitializerMixin"),
    ("test_init", "FailingInitializerMixin"),
    ("test_shutdown", "ProcessPoolShutdownTest"),
    ("test_process_pool", "ProcessPoolExecutorTest"),
    ("test_deadlock", "ExecutorDeadlockTest"),
)


class _Executor(mpclient.executor.Executor):
    """Has what tests take from inside a ProcessPoolExecutor, only to wait until it has ended."""

    _processes = property(lambda _: {})
    _executor_manager_thread = property(lambda _: SimpleNamespace(join=lambda _timeout=None: None))
    _call_queue = property(lambda _: SimpleNamespace(join_thread=lambda: None))


def _executors(ground: Ground) -> Classes:
    package = "test.test_concurrent_futures"
    util: Any = import_module(f"{package}.util")
    modules: dict[str, Any] = {name: import_module(f"{package}.{name}") for name, _ in _EXECUTORS}
    shutdown = modules["test_shutdown"]
    shutdown.assert_python_ok = _with_our_imports(shutdown.assert_python_ok)
    process = SimpleNamespace(
        _RemoteTraceback=import_module("multiprocessing.pool").RemoteTraceback,
        _ExecutorManagerThread=import_module("concurrent.futures.process")._ExecutorManagerThread,
    )
    for module in modules.values():
        if hasattr(module, "futures"):
            _instead(module, "futures", ProcessPoolExecutor=_Executor, process=process)
    ours: dict[str, Any] = {
        "executor_type": _Executor,
        "ctx": "spawn",
        "get_context": lambda _: mpclient.get_context("spawn"),
        "create_event": lambda _: mpclient.Event(),
    }
    made_with = type("OurMixin", (util.ExecutorMixin,), ours)
    for module, name in _EXECUTORS:
        yield _made("", (getattr(modules[module], name), made_with, util.BaseTestCase))


def _with_our_imports(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs a program of a test with two of its lines changed, those that import."""

    def run_ours(flag: str, program: str) -> Any:
        ours = f"from {_Executor.__bases__[0].__module__} import Executor as {_Executor.__name__}"
        program = program.replace(f"from concurrent.futures import {_Executor.__name__}", ours)
        return run(flag, program.replace("from multiprocessing import", "from mpclient import"))

    return run_ours


# -- logging --------------------------------------------------------------------------------------


_CONFIGURING = {"test_multiprocessing_queues", "test_111615"}
"""Tests of configurations that name a queue between processes."""


def _logs(ground: Ground) -> Classes:
    tests: Any = import_module("test.test_logging")
    tests.multiprocessing = mpclient
    _instead(tests, "queue", Queue=lambda _=0: ground.context.JoinableQueue())
    yield _made("", (tests.QueueHandlerTest,))
    yield _made("", (tests.QueueListenerTest,))
    if sys.version_info >= (
        3,
        13,
    ):  # before, a configuration takes queues of the standard library's classes only
        ours = mock.patch.dict(sys.modules, {"multiprocessing": mpclient})
        every = unittest.defaultTestLoader.getTestCaseNames(tests.ConfigDictTest)
        kept = {name: ours(getattr(tests.ConfigDictTest, name)) for name in every if name in _CONFIGURING}
        yield _made("", (tests.ConfigDictTest,), **{**dict.fromkeys(every), **kept})


# -- asyncio --------------------------------------------------------------------------------------


def _asyncio(_ground: Ground) -> Classes:
    yield from classes_of("test.test_asyncio.test_locks")
    yield from classes_of("test.test_asyncio.test_queues")


SUITES = {
    "locks": Suite("test.lock_tests", _locks),
    "queues": Suite("test.test_queue", _queues),
    "containers": Suite("test.mapping_tests", _containers),
    "executors": Suite("test.test_concurrent_futures", _executors, processes=3),
    "logs": Suite("test.test_logging", _logs),
    "asyncio": Suite("test.test_asyncio", _asyncio),
}
