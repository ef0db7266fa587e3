"""How a worker process ended, as the kernel tells it, and what the server is told of one that died.

The keys of a report are those of `mpshared.reports`, as far as a supervisor knows them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mpshared.reports import MAX_LINES, ending

__all__ = ["Exit", "died_report", "ended_report"]


class Exit(NamedTuple):
    """The end of a process."""

    code: int
    """As in `subprocess`: negative is the number of a signal."""
    peak_memory_bytes: int

    @classmethod
    def from_wait(cls, status: int, usage: Any) -> Exit:
        """Read what `os.wait4` returned."""
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, KiB elsewhere
        return cls(os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit)

    @property
    def text(self) -> str:
        """How it ended, in a few words."""
        return ending(_how(self))


def _how(ended: Exit) -> dict[str, Any]:
    return {"signal": -ended.code} if ended.code < 0 else {"exit_code": ended.code}


def ended_report(ended: Exit) -> dict[str, Any]:
    """Return the report for `process.ended`: how a Process ended."""
    return {**_how(ended), "peak_memory_bytes": ended.peak_memory_bytes}


def died_report(
    ended: Exit, output: Iterable[str], place: str, job: int, memory: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the report for `cluster.report_death`.

    Args:
        ended: How the process ended.
        output: Its last lines.
        place: What the job was from: the name of the queue, or the ident of the pool.
        job: The number of the job that it began last, 0 for none.
        memory: What `Memory.evidence` says.
    """
    return {
        **ended_report(ended),
        **memory,
        "output": list(output)[-MAX_LINES:],
        **({"running": [place, job]} if job else {}),
    }
