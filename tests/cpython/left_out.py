"""What of CPython's tests is not run with us, and why: the table that the page is made from.

RULES
* A test is left out where the reason stands on the page on compatibility, or where what it looks at is inside
  the standard library. Never because mending would be work.
* Where only a line of a test is so, that line is changed and the rest is run.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final, NamedTuple

__all__ = ["LEFT_OUT", "LINES", "Left", "Line", "reason_for"]


class Left(NamedTuple):
    """Tests that are left out for one reason; `*` and `?` stand for any text and any one character."""

    why: str
    names: tuple[str, ...]


class Line(NamedTuple):
    """A line of the tests that is replaced, all of it but its indentation."""

    old: str
    new: str
    why: str


_FORK: Final = "need the start method `fork`"

LEFT_OUT: Final = (
    Left(
        "test the standard library's own, which is what `mpclient.dummy` is",
        ("WithThreads*",),
    ),
    Left(
        "need memory that processes share, or ctypes structures in it: refused",
        (
            "WithProcessesTestSharedMemory.*",
            "WithProcessesTestHeap.*",
            "WithProcessesTestSharedCTypes.*",
        ),
    ),
    Left(
        "pass descriptors to another process, which is on another machine",
        (
            "WithProcessesTestConnection.test_*fd_transfer",
            "WithProcessesTestPicklingConnections.*",
            "TestCloseFds.*",
        ),
    ),
    Left(
        "test semaphores in C, the resource tracker, the fork server, or files of the standard library",
        (
            "SemLockTests.*",
            "TestResourceTracker.*",
            "TestInternalDecorators.*",
            "_TestImportStar.*",
            "WithProcessesTestProcess.test_forkserver_*",
            "TestStartMethod.test_preload_resources",
        ),
    ),
    Left(
        "start programs of their own, which import `multiprocessing`",
        (
            "TestFlags.*",
            "TestNoForkBomb.*",
            "TestNamedResource.*",
            "MiscTestCase.test_spawn_sys_executable_none_allows_import",
            "MiscTestCase.test_large_pool",
        ),
    ),
    Left(
        _FORK,
        ("TestStartMethod.test_get_all*", "TestStartMethod.test_mixed_startmethod"),
    ),
    Left(
        "call what is refused: `set_executable`, `set_forkserver_preload`, an initializer of a manager",
        (
            "WithProcessesTestProcess.test_set_executable",
            "TestStartMethod.test_context_check_module_types",
            "TestInitializers.test_manager_initializer",
        ),
    ),
    Left(
        "a process ends without giving back what it took: what it held is handed on, an item that it had not "
        "finished returns to its queue",
        (
            "TestSyncManagerTypes.test_lock",
            "TestSyncManagerTypes.test_bounded_semaphore",
            "TestSyncManagerTypes.test_joinable_queue",
            "WithProcessesTestLock.test_lock_locked_2processes",
        ),
    ),
    Left(
        "a Process whose program was killed is ended: nobody could join it",
        ("WithProcessesTestProcess.test_parent_process",),
    ),
    Left(
        "counts on a message of some megabytes to wait for its reader: the server has it, however large",
        ("TestIgnoreEINTR.test_ignore",),
    ),
    Left(
        "put what cannot be pickled, and look for what a thread prints: `put` itself refuses it",
        ("WithProcessesTestQueue.test_queue_feeder_*",),
    ),
    Left(
        "its result, a lambda, can be pickled",
        ("WithProcessesTestPoolWorkerErrors.test_unpickleable_result",),
    ),
    Left(
        "look at the processes of a Pool, or put others in their place: they belong to the worker hosts; one "
        "that has got no job of the Pool has not run its initializer",
        (
            "WithProcessesTestPoolWorkerLifetime.test_pool_worker_lifetime",
            "TestPoolNotLeakOnFailure.*",
            "TestInitializers.test_pool_initializer",
        ),
    ),
    Left(
        "iterating over a dict goes over the keys that there were; the standard library's fails when it "
        "changes",
        ("WithManagerTestContainers.test_dict_iter",),
    ),
    Left(
        "`repr` of a shared object names it and its server; it asks nobody for its state",
        (
            "WithProcessesTestEvent.test_repr",
            "WithManagerTestEvent.test_repr",
            "WithProcessesTestLock.test_repr_*",
        ),
    ),
    Left(
        "changes `sys.path` when the worker hosts have started, whose own a Process has",
        ("WithProcessesTestSpawnedSysPath.test_child_sys_path",),
    ),
    Left(
        "look at private attributes, or at what depends on whether a queue's thread has ever been started",
        ("TestSimpleQueue.test_closed", "With*TestQueue.test_closed_queue_empty_exceptions"),
    ),
)

LINES: Final = (
    Line("DELTA = 0.1", "DELTA = 0.5", "how long tests sleep until others have come so far"),
    Line("self.assertIsInstance(sentinel, int)", "pass", "a sentinel is an object, not a number"),
    Line("self.assertIsInstance(p.sentinel, int)", "pass", "a sentinel is an object, not a number"),
    Line("self.assertEqual(3, len(p._pool))", "pass", "worker processes belong to their hosts"),
    Line(
        "expected_error = (RemoteError if self.TYPE == 'manager'",
        "expected_error = (ValueError if self.TYPE == 'manager'",
        "a manager raises the error itself",
    ),
    Line(
        "self.assertRaises(RemoteError, self.manager.set, 1234)",
        "self.assertRaises(TypeError, self.manager.set, 1234)",
        "a manager raises the error itself",
    ),
    Line("multiprocessing.set_forkserver_preload(PRELOAD)", "pass", "refused"),
)


def reason_for(name: str) -> str | None:
    """Return why a test is left out, None if it is not."""
    for left in LEFT_OUT:
        if any(fnmatchcase(name, pattern) for pattern in left.names):
            return left.why
    return None
