"""Death reports: what is known of a worker that died with a job, as data, as text, and as the job's result.

| key                | meaning                                                    |
|--------------------|------------------------------------------------------------|
| queue, number      | which item                                                 |
| attempts           | how often it was handed out                                |
| host, pid, worker  | who held it last; `worker`: the name it gave itself        |
| reason             | one line: how the process ended, as far as known           |
| signal, exit_code  | numbers as in `subprocess`, or None                        |
| output             | last lines the process wrote                               |
| peak_memory_bytes  | or None                                                    |
| memory_limit_bytes | how much its cgroup or its host has, or None               |
| oom_kills          | kills for want of memory in its cgroup since the last one  |
| locks              | labels of the locks and semaphores that it held            |
| since_s            | wall-clock seconds since the epoch                         |

What the server cannot know comes from the worker's supervisor (`cluster.report_death`): reason, signal,
exit_code, output, and what is said of memory. Each may be missing. It also says which job the process was at,
for the queue to blame that one: ``running``, [name of the queue, number].
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Mapping
from typing import Any, Final

from mpshared.errors import TaskError, WorkerDied
from mpshared.values import TASK_ERROR, Value

__all__ = [
    "MAX_LINES",
    "death_report",
    "died_blob",
    "died_text",
    "ending",
    "error_blob",
    "out_of_memory",
    "running_job",
]

MAX_LINES = 20
"""Lines of output that a report keeps."""
_LINE_CHARS = 500
_MEMORY_KEYS: Final = ("peak_memory_bytes", "memory_limit_bytes", "oom_kills")
_SIGKILL: Final = 9
"""As on the worker's host; who reads the report may be on Windows, which has none."""
_NEAR: Final = 0.8
"""A process that was killed with so much of the limit in use was probably killed for it."""


def death_report(told: Mapping[str, Any], **known: Any) -> dict[str, Any]:
    """Return a report.

    Args:
        told: What the supervisor said; whatever is missing there, or of a wrong type, is left out.
        known: The keys that the server knows itself: queue, number, attempts, host, pid, worker, locks,
            since_s.
    """
    output = told.get("output")
    lines = [str(line)[:_LINE_CHARS] for line in output[-MAX_LINES:]] if isinstance(output, list) else []
    return {
        **known,
        "reason": ending(told),
        "signal": _number(told, "signal"),
        "exit_code": _number(told, "exit_code"),
        "output": lines,
        **{key: _number(told, key) for key in _MEMORY_KEYS},
    }


def ending(told: Mapping[str, Any]) -> str:
    """Say in a few words how a process ended."""
    number, exit_code = _number(told, "signal"), _number(told, "exit_code")
    if isinstance(told.get("reason"), str):
        return str(told["reason"])[:_LINE_CHARS]
    if number:
        return f"killed by {_signal_name(number)}"
    if exit_code is not None:
        return f"gone with exit code {exit_code}"
    return "lost: its connections ended or it was silent, and nobody saw how"


def running_job(told: Mapping[str, Any], queue: str | None) -> int | None:
    """Return the number of the job of `queue` that the process was at, None where nobody said so."""
    match told.get("running"):
        case [str(name), int(number)] if name == queue:
            return number
    return None


def out_of_memory(told: Mapping[str, Any]) -> str:
    """Return the evidence that a process died for want of memory; "" where there is none."""
    if _number(told, "signal") != _SIGKILL:
        return ""
    evidence = []
    peak, limit = _number(told, "peak_memory_bytes") or 0, _number(told, "memory_limit_bytes") or 0
    if kills := _number(told, "oom_kills"):
        evidence.append(f"the kernel killed {kills} in its cgroup for want of memory")
    if limit and peak >= _NEAR * limit:
        evidence.append(f"it had used {_mib(peak)} of {_mib(limit)}")
    return ", and ".join(evidence)


def died_text(report: Mapping[str, Any], *, kept: bool = True) -> str:
    """Return the message of a `WorkerDied`: what, where, how often, why, the last output, and what to do.

    Args:
        report: What is known.
        kept: The job lies among the dead of its queue.
    """
    number, queue, host = report["number"], report["queue"], report["host"] or "an unknown host"
    memory = report["peak_memory_bytes"]
    used = f", having used up to {_mib(memory)}" if memory else ""
    return (
        f"job {number} of {queue} was set aside: its worker died with it, {report['attempts']} times. "
        f"The last one, process {report['pid']} on {host}, was {report['reason']}{used}."
        f"{_circumstances(report)}\n{_what_next(report, kept=kept)}"
    )


def _circumstances(report: Mapping[str, Any]) -> str:
    evidence, locks = out_of_memory(report), report.get("locks")
    output = "".join(f"\n  | {line}" for line in report["output"])
    return "".join(
        (
            f" It was likely out of memory: {evidence}." if evidence else "",
            f" It held {', '.join(locks)}." if locks else "",
            f"\nIts last output:{output}" if output else "",
        )
    )


def _what_next(report: Mapping[str, Any], *, kept: bool) -> str:
    number = report["number"]
    less = "Have it use less memory, or the host run fewer processes. " if out_of_memory(report) else ""
    if not kept:
        return f"{less}It is not tried again; submit it anew once the cause is found."
    return (
        f"{less}The job lies in the queue's `dead` and is not tried again; `dead.requeue([{number}])` puts "
        f"it back, `dead.drop([{number}])` deletes it."
    )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB"


def died_blob(report: Mapping[str, Any], *, kept: bool = True) -> Value:
    """Return the result of a job whose workers died: a `WorkerDied`, ready to be put on a queue."""
    task = f"job {report['number']} of {report['queue']}"
    return error_blob(WorkerDied(died_text(report, kept=kept), task=task, **report))


def error_blob(error: TaskError) -> Value:
    """Return an error as the result of a job."""
    return Value(TASK_ERROR, pickle.dumps(error, protocol=4))


def _number(told: Mapping[str, Any], key: str) -> int | None:
    value = told.get(key)
    return value if type(value) is int else None


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"
