"""How a process ended."""

from __future__ import annotations

import os
import signal

import pytest

from mpclient.worker.reports import Exit, died_report
from mpshared.reports import MAX_LINES, running_job


def ending(code: int) -> Exit:
    """Run a child process to its end."""
    pid = os.posix_spawn(
        "/bin/sh", ["sh", "-c", f"kill -{-code} $$" if code < 0 else f"exit {code}"], os.environ
    )
    _, status, usage = os.wait4(pid, 0)
    return Exit.from_wait(status, usage)


@pytest.mark.parametrize(
    ("code", "text"), [(3, "gone with exit code 3"), (-9, "killed by SIGKILL (signal 9)")]
)
def test_the_end_of_a_process(code, text):
    ended = ending(code)
    assert ended.code == code
    assert ended.text == text
    assert 100_000 < ended.peak_memory_bytes < 1 << 30


def test_the_report_of_a_death():
    lines = [str(n) for n in range(100)]
    assert died_report(Exit(-signal.SIGKILL, 5), lines, "q", 7, {"oom_kills": 1}) == {
        "signal": 9,
        "oom_kills": 1,
        "peak_memory_bytes": 5,
        "output": lines[-MAX_LINES:],
        "running": ["q", 7],
    }
    assert died_report(Exit(1, 5), [], "q", 0, {}) == {"exit_code": 1, "peak_memory_bytes": 5, "output": []}


@pytest.mark.parametrize("told", [None, [], ["q"], ["q", "7"], ["other", 7], "q7"])
def test_a_job_is_named_with_its_queue_or_not_at_all(told):
    assert running_job({"running": told}, "q") is None
    assert running_job({}, "q") is None
    assert running_job({"running": ["q", 7]}, "q") == 7
