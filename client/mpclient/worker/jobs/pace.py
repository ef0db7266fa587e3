"""How many jobs to ask the server for.

RULES
* The first exchange asks for one job: nobody knows yet how long jobs take.
* A batch should take `TARGET_S`: short enough that no result is late and no other worker idles for it, long
  enough that the round trip costs little. So tiny jobs come by the hundred, and those longer than that one
  by one.
* Where the server is far away it should take `LEAD` round trips at least: the next one is fetched meanwhile
  (`ahead`).
* It grows by `GROWTH` an exchange at most: after one quick job hundreds of slow ones may follow.
* What jobs bring and answer counts too: a batch stays under `BATCH_BYTES` as far as can be foreseen.

What is fair to other workers follows: nobody holds more work than that as far as can be foreseen, however
much is ready; and where it could not be foreseen, the tender gives back what was not begun.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

__all__ = ["BATCH_BYTES", "FAR_S", "LEAD", "SLOW_S", "Distance", "Pace"]

TARGET_S: Final = 0.02
GROWTH: Final = 8
BATCH_MOST: Final = 1000
BATCH_BYTES: Final = 1 << 20
_FLOOR_S: Final = 1e-6

FAR_S: Final = 0.0008
"""A round trip that takes longer than this leaves the machine, or finds it so busy that it may as well."""
LEAD: Final = 1.5
"""How many round trips before the end of a batch the next one is asked for."""
SLOW_S: Final = 0.1
"""When a batch is relieved: five times what it was planned to take."""
_SLOW: Final = 3
"""The same where it was planned to take longer, times that."""
_TARGET_MOST_S: Final = 0.5
_SAMPLES: Final = 16


class Pace:
    """What one worker process has learned of its jobs: moving means, the last batch counts half."""

    def __init__(self) -> None:
        self._size = 0
        self._job_s = 0.0
        self._last_s = 0.0
        """What each job of the last batch took."""
        self._job_bytes = 0.0

    def next_size(self, target_s: float = TARGET_S) -> int:
        """Return how many jobs the next batch should have, to take about `target_s`: 1 or more."""
        if not self._size:
            return 1
        by_time = target_s / max(self._job_s, _FLOOR_S)
        by_bytes = BATCH_BYTES / max(self._job_bytes, 1.0)
        return max(1, int(min(by_time, by_bytes, self._size * GROWTH, BATCH_MOST)))

    def note(self, jobs: int, took_s: float, size_bytes: int) -> None:
        """Learn from a batch that is over."""
        if not jobs:
            return
        weight = 0.5 if self._size else 1.0
        self._last_s = took_s / jobs
        self._job_s += weight * (self._last_s - self._job_s)
        self._job_bytes += weight * (size_bytes / jobs - self._job_bytes)
        self._size = jobs

    def foreseen_s(self, jobs: int) -> float:
        """Return how long so many jobs should take; 0: nobody knows.

        At once longer when jobs become slow: what is fetched too early is handed back, which costs more than
        what is fetched too late.
        """
        return jobs * max(self._job_s, self._last_s)


class Distance:
    """How far away the server is: the shortest of the last round trips; the others waited for something."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=_SAMPLES)
        self.round_trip_s = math.inf
        """inf: nobody knows."""
        self.is_far = False
        """Whether the next batch is to be fetched while one runs."""
        self.target_s = TARGET_S
        """How long a batch should take."""
        self.slow_s = SLOW_S
        """After how long a batch is relieved, and one that waits is handed back."""

    def note(self, took_s: float) -> None:
        """Learn from a call that could not wait at the server."""
        self._last.append(took_s)
        self.round_trip_s = min(self._last)
        self.is_far = self.round_trip_s > FAR_S
        planned_s = LEAD * self.round_trip_s if self.is_far else 0.0
        self.target_s = min(max(TARGET_S, planned_s), _TARGET_MOST_S)
        self.slow_s = max(SLOW_S, _SLOW * self.target_s)

    def note_most(self, took_s: float) -> None:
        """Learn from a call that may have waited at the server: a round trip is no longer than this."""
        if took_s < self.round_trip_s:
            self.note(took_s)
