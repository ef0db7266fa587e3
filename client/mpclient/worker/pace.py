"""How many jobs to ask the server for.

RULES
* The first exchange asks for one job: nobody knows yet how long jobs take.
* A batch should take `TARGET_S`: short enough that no result is late and no other worker idles for it, long
  enough that the round trip costs little. So tiny jobs come by the hundred, and those longer than that one
  by one.
* It grows by `GROWTH` an exchange at most: after one quick job hundreds of slow ones may follow.
* What jobs bring and answer counts too: a batch stays under `BATCH_BYTES` as far as can be foreseen.

What is fair to other workers follows: nobody holds more work than `TARGET_S` as far as can be
foreseen, however much is ready; and where it could not be foreseen, the tender gives back what was not begun.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BATCH_BYTES", "Pace"]

TARGET_S: Final = 0.02
GROWTH: Final = 8
BATCH_MOST: Final = 1000
BATCH_BYTES: Final = 1 << 20
_FLOOR_S: Final = 1e-6


class Pace:
    """What one worker process has learned of its jobs: moving means, the last batch counts half."""

    def __init__(self) -> None:
        self._size = 0
        self._job_s = 0.0
        self._job_bytes = 0.0

    def next_size(self) -> int:
        """Return how many jobs the next batch should have: 1 or more."""
        if not self._size:
            return 1
        by_time = TARGET_S / max(self._job_s, _FLOOR_S)
        by_bytes = BATCH_BYTES / max(self._job_bytes, 1.0)
        return max(1, int(min(by_time, by_bytes, self._size * GROWTH, BATCH_MOST)))

    def note(self, jobs: int, took_s: float, size_bytes: int) -> None:
        """Learn from a batch that is over."""
        if not jobs:
            return
        weight = 0.5 if self._size else 1.0
        self._job_s += weight * (took_s / jobs - self._job_s)
        self._job_bytes += weight * (size_bytes / jobs - self._job_bytes)
        self._size = jobs
