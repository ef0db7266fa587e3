"""Death reports: what is known, as data, as text and as a result."""

import pickle

import pytest

from mpshared.errors import TaskError, WorkerDied
from mpshared.reports import MAX_LINES, death_report, died_blob, died_text, ending, out_of_memory
from mpshared.values import TASK_ERROR, tag_of

KNOWN = {
    "queue": "queue 'tasks'",
    "number": 7,
    "attempts": 3,
    "host": "far",
    "pid": 4711,
    "worker": "w",
    "locks": ["lock 'door'", "semaphore 'pair'"],
    "since_s": 5.0,
}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"signal": 9}, "killed by SIGKILL (signal 9)"),
        ({"signal": 250}, "killed by signal 250"),
        ({"exit_code": 3}, "gone with exit code 3"),
        ({"reason": "stopped by an operator", "signal": 15}, "stopped by an operator"),
        ({"signal": "9", "exit_code": None}, "lost: its connections ended"),
        ({}, "lost: its connections ended"),
    ],
)
def test_endings(told, expected):
    assert ending(told).startswith(expected)


def test_the_text_says_which_where_how_and_what_next():
    told = {"signal": 9, "output": ["loading", "working"], "peak_memory_bytes": 3 * 2**30}
    text = died_text(death_report(told, **KNOWN))
    for part in (
        "job 7 of queue 'tasks' was set aside",
        "3 times",
        "process 4711 on far, was killed by SIGKILL (signal 9), having used up to 3072 MiB",
        "It held lock 'door', semaphore 'pair'.",
        "  | loading\n  | working\n",
        "dead.requeue([7])",
        "dead.drop([7])",
    ):
        assert part in text


def test_what_a_supervisor_tells_is_bounded_and_checked():
    report = death_report({"output": ["x" * 10_000] * 1000, "signal": True, "exit_code": "1"}, **KNOWN)
    assert len(report["output"]) == MAX_LINES
    assert sum(map(len, report["output"])) <= MAX_LINES * 500
    assert report["signal"] is report["exit_code"] is None
    assert death_report({"output": "no list"}, **KNOWN)["output"] == []


def test_the_result_is_an_error_to_raise():
    blob = died_blob(death_report({"exit_code": 1}, **KNOWN))
    assert tag_of(blob) == TASK_ERROR
    error = pickle.loads(blob.data)
    assert isinstance(error, WorkerDied)
    assert (error.task, error.host, error.pid, error.worker) == ("job 7 of queue 'tasks'", "far", 4711, "w")
    assert error.fields["exit_code"] == 1
    with pytest.raises(TaskError, match="set aside"):
        raise error


GIB = 2**30


@pytest.mark.parametrize(
    ("told", "evidence"),
    [
        ({"signal": 9, "oom_kills": 2}, "the kernel killed 2 in its cgroup for want of memory"),
        (
            {"signal": 9, "peak_memory_bytes": 4 * GIB, "memory_limit_bytes": 4 * GIB},
            "it had used 4096 MiB of 4096 MiB",
        ),
        (
            {"signal": 9, "oom_kills": 1, "peak_memory_bytes": GIB, "memory_limit_bytes": GIB},
            "want of memory, and it had used 1024 MiB",
        ),
        ({"signal": 9, "oom_kills": 0, "peak_memory_bytes": GIB, "memory_limit_bytes": 4 * GIB}, ""),
        ({"signal": 11, "oom_kills": 1}, ""),
        ({"exit_code": 1, "peak_memory_bytes": GIB, "memory_limit_bytes": GIB}, ""),
        ({"signal": 9, "oom_kills": "1", "peak_memory_bytes": None, "memory_limit_bytes": []}, ""),
        ({}, ""),
    ],
)
def test_want_of_memory_is_told_from_evidence_only(told, evidence):
    assert evidence in out_of_memory(told)
    assert bool(out_of_memory(told)) == bool(evidence)
    text = died_text(death_report(told, **KNOWN))
    assert ("likely out of memory" in text) == bool(evidence)
    assert ("use less memory" in text) == bool(evidence)
