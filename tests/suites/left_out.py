"""What of the borrowed suites is not run, and why.

RULES
* A test is left out where it looks at what is inside the standard library, needs one memory, or finds a
  difference that is documented. Never because mending would be work.
* A pattern that no test has any more fails.
"""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from typing import Final

__all__ = ["LEFT_OUT", "SLOW", "reason_for"]

_SHOWN: Final = "what `repr` shows is another: it makes no call, as that of a manager's proxies"
_PRIVATE: Final = "calls private methods"
_AS_MULTIPROCESSING: Final = "the arguments are those of `multiprocessing`, which differ here"
_STRUCTURE: Final = "runs `__eq__` of the program: the server compares by structure"
_LOCAL_KEY: Final = (
    "uses a key of a class inside a function: keys are pickled by name, as in the standard library"
)
_DERIVES: Final = "needs a class to derive from, or to call `__init__` of: objects are made by functions"
_INSIDE: Final = "looks inside a ProcessPoolExecutor"
_NOT_HERE: Final = "has no such attribute; neither have the standard library's queues between processes"
_AT_ONCE: Final = "what cannot be pickled is refused by `submit` itself"
_WAITERS: Final = "looks at each of those who wait, inside the lock"
_FIRST: Final = "tells which of several tasks goes on first"
_BREAKS: Final = "a cancelled `wait` breaks the barrier, as in `threading`"
_ONE_STEP: Final = "stops between two parties that leave: here all of them go in one step"
_IN_A_CALLBACK: Final = "makes its call in a callback of the loop, where nothing can be awaited"
_OF_A_TASK: Final = (
    "takes a condition in one task, and waits or releases in another: here it belongs to a task"
)
_ADDS: Final = "adds a shared list to a plain one; those of the standard library refuse, too"
_RUNS_ON: Final = "wants calls to fail whose executor was collected: here they are finished"
_ALONE: Final = "what cannot be unpickled fails that call alone, with another error"

LEFT_OUT: Final[dict[str, dict[str, str]]] = {
    "locks": {
        "*.test_repr": _SHOWN,
        "*.test_locked_repr": _SHOWN,
        "*.test_at_fork_reinit": _PRIVATE,
        "*.test_release_save_unacquired": _PRIVATE,
        "*.test_recursion_count": _PRIVATE,
        "*.test__is_owned": _PRIVATE,
        "ModuleLockTests.test_state_after_timeout": _AS_MULTIPROCESSING,
        "Module*LockTests.test_timeout": _AS_MULTIPROCESSING,
        "Module*SemaphoreTests.test_acquire_timeout": _AS_MULTIPROCESSING,
    },
    "queues": {
        "Module*.test_negative_timeout_raises_exception": _AS_MULTIPROCESSING,
        "Simple*.test_negative_timeout_raises_exception": _AS_MULTIPROCESSING,
        "*.test_shrinking_queue": "sets `maxsize`, which is only read when a queue is made",
        "*.test_shutdown_allowed_transitions": _NOT_HERE,
        "*.test_shutdown_get_task_done_join": _NOT_HERE,
        "*.test_shutdown*_put_join": _NOT_HERE,
        "ModuleQueueTest.test_shutdown_empty": "a buffered queue raises at the next `put`",
        "*.test_references": "counts references to an item: one that was put is pickled",
    },
    "containers": {
        "List*.test_contains_*": _STRUCTURE,
        "List*.test_count": _STRUCTURE,
        "List*.test_index": _STRUCTURE,
        "List*.test_remove": _STRUCTURE,
        "List*.test_init": _DERIVES,
        "List*.test_getitemoverwriteiter": _DERIVES,
        "List*.test_free_after_iterating": _DERIVES,
        "Dict*.test_fromkeys": _DERIVES,
        "*.test_repr*": _SHOWN,
        "Dict*.test_copy": "a copy is a plain dict, as in the standard library",
        "Dict*.test_eq": _LOCAL_KEY,
        "Dict*.test_getitem": _LOCAL_KEY,
        "Dict*.test_pop": _LOCAL_KEY,
        "Dict*.test_setdefault": "changes a list in a dict: it is a value, as in the standard library",
    },
    "executors": {
        "*.test_processes_terminate": _INSIDE,
        "*.test_saturation": _INSIDE,
        "*.test_idle_process_reuse_one": _INSIDE,
        "*.test_killed_child": _INSIDE,
        "*.test_max_tasks_per_child": _INSIDE,
        "*.test_max_tasks_per_child_defaults_to_spawn_context": _INSIDE,
        "*.test_python_finalization_error": _INSIDE,
        "FailingInitializerMixin.test_initializer": _INSIDE,
        "*.test_cancel_futures": "wants one call to be spared: all that no worker has are cancelled",
        "*.test_error_at_task_pickle": _AT_ONCE,
        "*.test_shutdown_deadlock_pickle": _AT_ONCE,
        "*.test_error_at_task_unpickle": _ALONE,
        "*.test_exit_at_task_unpickle": _ALONE,
        "*.test_*_during_result_unpickle_in_result_handler": _ALONE,
    },
    "logs": {},
    "asyncio": {
        "*.test_repr": _SHOWN,
        "LockTests.test_cancel_race": _WAITERS,
        "LockTests.test_cancel_release_race": _IN_A_CALLBACK,
        "LockTests.test_lock_doesnt_accept_loop_parameter": _DERIVES,
        "EventTests.test_wait": _FIRST,
        "EventTests.test_clear_with_waiters": _WAITERS,
        "ConditionTests.test_ambiguous_loops": _PRIVATE,
        "ConditionTests.test_explicit_lock": _PRIVATE,
        "ConditionTests.test_wait": _OF_A_TASK,
        "ConditionTests.test_wait_cancel_contested": _OF_A_TASK,
        "SemaphoreTests.test_acquire_fifo_order_4": _WAITERS,
        "BarrierTests.test_barrier": _SHOWN,
        "BarrierTests.test_draining_state": _SHOWN,
        "BarrierTests.test_filling_task_by_task": _SHOWN,
        "BarrierTests.test_barrier_parties": _DERIVES,
        "BarrierTests.test_filling_tasks_cancel_one": _BREAKS,
        "BarrierTests.*_half_draining*": _ONE_STEP,
        "BarrierTests.*_while_tasks_draining": _ONE_STEP,
        "QueueBasicTests.test_str": _SHOWN,
        "QueueBasicTests.test_generic_alias": _DERIVES,
        "QueueBasicTests.test_maxsize": _NOT_HERE,
        "QueueGetTests.test_get_with_putters": _PRIVATE,
        "QueueGetTests.test_blocking_get_wait": _IN_A_CALLBACK,
        "QueuePutTests.test_blocking_put_wait": _IN_A_CALLBACK,
        "QueuePutTests.test_float_maxsize": "a `maxsize` of 1.3 is refused",
        "QueuePutTests.test_get_cancel_drop_many_pending_readers": "cancels what here is done by then",
        "QueuePutTests.test_put_cancelled": _FIRST,
        "*.test_format": _PRIVATE,
    },
}
"""By suite: patterns of the tests' names (`*` for any text), and the reason."""

BEFORE_3_12: Final = {
    "ConditionTests.test_timeout_in_block": "`asyncio.wait_for` runs what it is given in a task of its own",
}
BEFORE_3_14: Final = {"List*.test_addmul": _ADDS}
"""As `LEFT_OUT`, of older Pythons only."""

FROM_3_14: Final = {
    "*RLockTests.test_repr_count": _SHOWN,
    "*RLockTests.test_locked_with_2threads": "what a thread holds that has ended is handed on",
    "List*.test_cmp": "orders shared lists; those of the standard library refuse, too",
    "List*.test_mul": _ADDS,
    "*.test_force_shutdown*": _INSIDE,
    "*.test_failed_worker_replacement_breaks_pool": _INSIDE,
    "*.test_broken_process_pool_traceback": _INSIDE,
    "*.test_gc_during_max_tasks_worker_exit_gh152967": _RUNS_ON,
    "*.test_shutdown_no_wait_max_tasks_gh119592": _RUNS_ON,
    "*.test_terminate_workers": _INSIDE,
    "*.test_kill_workers": _INSIDE,
}
"""As `LEFT_OUT`, of newer Pythons only."""

SLOW: Final = {
    "locks": (
        *("ManagerConditionTests.*", "ManagerBoundedSemaphoreTests.*"),
        *("ModuleBarrierTests.*", "ModuleEventTests.*", "ModuleSemaphoreTests.*"),
    ),
    "queues": (
        *("*_all_methods_in_many_threads", "*.test_many_threads_*", "SimpleBase*.test_many_threads"),
        *("Joinable*", "Lifo*"),
    ),
    "containers": ("Dict*.test_popitem", "Dict*.test_update", "List*.test_constructors"),
    "executors": (
        *("*.test_map_timeout", "*.test_duplicate_futures", "*.test_first_exception*", "*.test_20369"),
        *("*.test_crash_big_data", "*.test_crash_at_task_unpickle", "*_during_result_pickle_on_worker"),
        *("ProcessPoolExecutorTest.test_free_reference", "*.test_ressources_gced_in_workers"),
    ),
    "asyncio": ("LifoQueue*", "PriorityQueue*"),
}
"""What takes long, or is done by another test with another class of much the same code; it is run with
`--suites all` only."""


def reason_for(suite: str, name: str, *, slow: bool) -> str | None:
    """Return why a test is not run, None if it is."""
    left_out = dict(LEFT_OUT[suite])
    left_out |= BEFORE_3_12 if sys.version_info < (3, 12) else {}
    left_out |= FROM_3_14 if sys.version_info >= (3, 14) else BEFORE_3_14
    for pattern, why in left_out.items():
        if fnmatchcase(name, pattern):
            return why
    if not slow and any(fnmatchcase(name, pattern) for pattern in SLOW.get(suite, ())):
        return "--suites all"
    return None
