"""Death reports: what is known of a worker that died with a job, as data, as text, and as the job's result.

| key               | meaning                                                                          |
|-------------------|----------------------------------------------------------------------------------|
| queue, number     | which item                                                                       |
| attempts          | how often it was handed out                                                      |
| host, pid, worker | who held it last; `worker` is the name it gave itself                            |
| reason            | one line: how the process ended, as far as known                                 |
| signal, exit_code | numbers as in `subprocess`, or None                                              |
| output            | last lines the process wrote                                                     |
| peak_memory_bytes | or None                                                                          |
| since_s           | wall-clock seconds since the epoch                                               |

What the server cannot know comes from the worker's supervisor (`cluster.report_death`): reason, signal,
exit_code, output, peak_memory_bytes. Each may be missing. It also says which job the process was at, for the
queue to blame that one: ``running``, [name of the queue, number].
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Mapping
from typing import Any

from mpshared.errors import WorkerDied
from mpshared.values import TASK_ERROR, Value

__all__ = ["MAX_LINES", "death_report", "died_blob", "died_text", "ending", "running_job"]

MAX_LINES = 20
"""Lines of output that a report keeps."""
_LINE_CHARS = 500


def death_report(told: Mapping[str, Any], **known: Any) -> dict[str, Any]:
    """Return a report.

    Args:
        told: What the supervisor said; whatever is missing there, or of a wrong type, is left out.
        known: The keys that the server knows itself: queue, number, attempts, host, pid, worker, since_s.
    """
    output = told.get("output")
    lines = [str(line)[:_LINE_CHARS] for line in output[-MAX_LINES:]] if isinstance(output, list) else []
    return {
        **known,
        "reason": ending(told),
        "signal": _number(told, "signal"),
        "exit_code": _number(told, "exit_code"),
        "output": lines,
        "peak_memory_bytes": _number(told, "peak_memory_bytes"),
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


def died_text(report: Mapping[str, Any], *, kept: bool = True) -> str:
    """Return the message of a `WorkerDied`: what, where, how often, the last output, and what to do.

    Args:
        report: What is known.
        kept: The job lies among the dead of its queue.
    """
    number, queue = report["number"], report["queue"]
    memory = report["peak_memory_bytes"]
    used = f", having used up to {memory / 2**20:.0f} MiB" if memory else ""
    output = "".join(f"\n  | {line}" for line in report["output"])
    last = f"\nIts last output:{output}" if output else ""
    host = report["host"] or "an unknown host"
    advice = (
        f"The job lies in the queue's `dead` and is not tried again; `dead.requeue([{number}])` puts it "
        f"back, `dead.drop([{number}])` deletes it."
    )
    return (
        f"job {number} of {queue} was set aside: its worker died with it, {report['attempts']} times. "
        f"The last one, process {report['pid']} on {host}, was {report['reason']}{used}.{last}\n"
        f"{advice if kept else 'It is not tried again; submit it anew once the cause is found.'}"
    )


def died_blob(report: Mapping[str, Any], *, kept: bool = True) -> Value:
    """Return the result of a job whose workers died: a `WorkerDied`, ready to be put on a queue."""
    task = f"job {report['number']} of {report['queue']}"
    error = WorkerDied(died_text(report, kept=kept), task=task, **report)
    return Value(TASK_ERROR, pickle.dumps(error, protocol=4))


def _number(told: Mapping[str, Any], key: str) -> int | None:
    value = told.get(key)
    return value if type(value) is int else None


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"
