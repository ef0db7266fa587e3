"""What a worker host is to do: the command line, read and checked."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpshared.address import Address
    from mpshared.keys import Key
    from mpshared.tls import ClientTls

__all__ = ["Options", "usable_cores"]

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that supervisor and worker processes are told at their start."""

    address: Address
    key: Key = field(repr=False)
    name: str
    processes: int
    tls: ClientTls | None = None
    queue: str = "tasks"
    results: str = "results"
    max_tasks: int | None = None
    max_memory_bytes: int | None = None
    max_spawned: int = 256
    """How many processes there may be beside the worker processes."""
    pythonpath: tuple[str, ...] = ()
    chdir: str | None = None
    connect_timeout_s: float = 30.0
    lifeline: int = -1
    """Reading end of a pipe; its end is this worker host's end. -1: none."""
    respawn: bool = False
    """Start fresh worker processes when pills have stopped all of them."""
    files: int | None = None
    """How many files jobs may have open; None: as many as the supervisor."""
    fork: bool = sys.platform == "linux"
    """Processes are forks of a prepared process, not fresh interpreters; elsewhere that is not safe."""

    def for_process(self, worker: str, supervisor: str, *, serves_queue: bool) -> dict[str, Any]:
        """Return what a worker process is told: plain data, the key included; for the socket pair only.

        Args:
            worker: Its name.
            supervisor: The supervisor's session.
            serves_queue: Whether it runs recipe jobs, too; else those of pools only.
        """
        return {
            **self.for_spawned(),
            "worker": worker,
            "supervisor": supervisor,
            "queue": self.queue if serves_queue else None,
            "results": self.results if serves_queue else None,
            "max_tasks": self.max_tasks,
            "max_memory_bytes": self.max_memory_bytes,
        }

    def for_spawned(self) -> dict[str, Any]:
        """Return what a Process is told: plain data, the key included; for the socket pairs only."""
        return {
            "address": str(self.address),
            "key": self.key.secret,
            "key_file": None if self.key.file is None else str(self.key.file.absolute()),
            "tls": None if self.tls is None else list(self.tls.files),
            "pythonpath": list(self.pythonpath),
            "files": self.files,
        }


def usable_cores(cpu_max: Path = _CPU_MAX) -> int:
    """Return how many cores this process may use: its affinity, and its container's CPU limit rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text().split()
        return max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return cores
