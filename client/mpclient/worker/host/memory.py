"""How much memory this host's processes may use, and how often the kernel killed one for want of it.

RULES
* Only read at a death. What cannot be read (not Linux, no cgroups) is left out: no evidence is no evidence.
* The limit is the lowest of this process's cgroup, those around it, and the host's memory.
* Kills are counted in the innermost cgroup that tells; the kernel says neither who nor when.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

__all__ = ["Memory"]

_MOUNTS: Final = {"": "sys/fs/cgroup", "memory": "sys/fs/cgroup/memory"}
"""Where the folders of version 2, and of version 1's memory controller, are mounted."""
_LIMITS: Final = ("memory.max", "memory.limit_in_bytes")
_EVENTS: Final = ("memory.events", "memory.oom_control")


class Memory:
    """See the file's beginning.

    Args:
        root: The root of the file system.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._folders = list(_folders(root))
        self._kills = self._count_kills()

    def evidence(self) -> dict[str, Any]:
        """Return the limit, and how many kills there were since this was last asked, for a report."""
        before, self._kills = self._kills, self._count_kills()
        found: dict[str, Any] = {"memory_limit_bytes": self._limit_bytes()}
        if before is not None and self._kills is not None:
            found["oom_kills"] = max(0, self._kills - before)
        return found

    def _limit_bytes(self) -> int:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
        for folder in self._folders:
            for name in _LIMITS:
                with suppress(OSError, ValueError):  # "max": none
                    limits.append(int((folder / name).read_text()))
        return min(limits)

    def _count_kills(self) -> int | None:
        for folder in self._folders:
            for name in _EVENTS:
                with suppress(OSError, ValueError, KeyError):
                    lines = (folder / name).read_text().splitlines()
                    return int(dict(line.split() for line in lines)["oom_kill"])
        return None


def _folders(root: Path) -> Iterator[Path]:
    """Yield the cgroup folders that this process is in, from the inside, as far as they can be seen."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in _MOUNTS:
                mount = root / _MOUNTS[controllers]
                inner = mount / path.strip("/")
                yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(mount))
