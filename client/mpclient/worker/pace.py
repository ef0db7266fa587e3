"""How many jobs to ask the server for.

RULES
* The first exchange asks for one job: nobody knows yet how long jobs take.
* A batch should take `TARGET_S`: short enough that no result is late and no other worker idles for it, long
  enough that the round trip costs little. So tiny jobs come by the hundred, and those longer than that one
  by one.
* It grows by `GROWTH` an exchange at most: after one quick job hundreds of slow ones may follow.
* What jobs bring and answer counts too: a batch stays under `BATCH_BYTES` as far as can be foreseen.
* A server that is far is asked ahead: before the batch is over, by more than a round trip, so that nobody
  waits for one. Then a batch takes some round trips. Not where jobs take so long that it does not count.

What is fair to other workers follows: nobody holds more work than `TARGET_S`, or some round trips, as far as
can be foreseen, however much is ready; and where it could not be foreseen, the tender gives back what was not
begun.
"""

from __future__ import annotations

from math import ceil
from typing import Final

__all__ = ["BATCH_BYTES", "Pace"]

TARGET_S: Final = 0.02
GROWTH: Final = 8
BATCH_MOST: Final = 1000
BATCH_BYTES: Final = 1 << 20
_FLOOR_S: Final = 1e-6
NEAR_S: Final = 0.0005
"""A shorter round trip is not worth a second thread."""
FAR_S: Final = 0.1
"""Of a longer one, no more is bridged."""
_AHEAD_TRIPS: Final = 1.5
_BATCH_TRIPS: Final = 3
_LONG_TRIPS: Final = 20
"""Jobs that take so many are fetched when the last one is over: that costs a twentieth at most."""


class Pace:
    """What one worker process has learned of its jobs: moving means, the last batch counts half."""

    def __init__(self) -> None:
        self._size = 0
        self._job_s = 0.0
        self._job_bytes = 0.0
        self._trip_s = 0.0
        """A round trip; 0 where it is not to be bridged."""

    def know_trip(self, round_trip_s: float) -> None:
        """Learn how far the server is."""
        self._trip_s = min(round_trip_s, FAR_S) if round_trip_s > NEAR_S else 0.0

    @property
    def target_s(self) -> float:
        """How long a batch should take."""
        return max(TARGET_S, _BATCH_TRIPS * self._trip_s)

    def ahead(self) -> int:
        """Return how many jobs of a batch are left, with the one that runs, when the next is to be fetched.

        0: not before it is over.
        """
        if not self._size or not self._trip_s or self._job_s > _LONG_TRIPS * self._trip_s:
            return 0
        return ceil(_AHEAD_TRIPS * self._trip_s / max(self._job_s, _FLOOR_S))

    def next_size(self) -> int:
        """Return how many jobs the next batch should have: 1 or more."""
        if not self._size:
            return 1
        by_time = self.target_s / max(self._job_s, _FLOOR_S)
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
