"""What of the borrowed suites is not run, and why.

RULES
* A test is left out where it looks at what is inside the standard library, needs one memory, or finds a
  difference that is documented. Never because mending would be work.
* A pattern that no test has any more fails.
"""

from __future__ import annotations

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
        "List*.test_addmul": "adds a shared list to a plain one; those of the standard library refuse, too",
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
}
"""By suite: patterns of the tests' names (`*` for any text), and the reason."""

SLOW: Final = {
    "queues": ("*_all_methods_in_many_threads",),
    "containers": ("Dict*.test_popitem", "Dict*.test_update", "List*.test_constructors"),
    "executors": (
        "*.test_map_timeout",
        "*.test_duplicate_futures",
        "*.test_first_exception*",
        "*.test_20369",
    ),
}
"""What takes long, and is run with `--suites all` only."""


def reason_for(suite: str, name: str, *, slow: bool) -> str | None:
    """Return why a test is not run, None if it is."""
    for pattern, why in LEFT_OUT[suite].items():
        if fnmatchcase(name, pattern):
            return why
    if not slow and any(fnmatchcase(name, pattern) for pattern in SLOW.get(suite, ())):
        return "takes long: --suites all"
    return None
