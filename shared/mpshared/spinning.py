"""Adaptive spinning: to look for what comes next a while, awake, before sleeping until it is there.

    looks, and something comes in time  --found-->   looks the next time, too
    looks, and nothing comes            --missed-->  rests: sleeps at once, for 1, 3, 7 … `VAIN_MAX` times
    looks, and is interrupted           --missed-->  the same, for `REST_MAX` times at most

RULES
* To put a process to sleep and to wake it on another processor can cost more than a small call does. Where
  calls follow each other, both sides do better to stay awake for about as long as that takes: whatever comes
  then, nobody spends more than twice what would have been best (as with locks: Karlin, Li, Manasse, Owicki,
  "Empirical studies of competitive spinning for a shared-memory multiprocessor", 1991).
* Only together: who is awake alone has to wake the other one still. So the server looks for twice as long as
  its clients: time enough for one that sleeps to wake up and call again; and that one is then answered while
  it looks itself.
* Who misses rests, the longer the more often: where calls or processors are rare, it costs nearly nothing.
* Who finds the processor taken away meanwhile has missed: somebody else needs it.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["GAP_S", "REST_MAX", "SPIN_MAX_S", "VAIN_MAX", "Spin", "can_spin"]

GAP_S: Final = 20e-6
"""Between two looks that follow each other: the processor was taken away."""
SPIN_MAX_S: Final = 0.001
"""Whatever wakes a process takes less than that."""
REST_MAX: Final = 32
"""So often at most nobody looks who was interrupted: it may be otherwise soon."""
VAIN_MAX: Final = 512
"""So often at most nobody looks who looks in vain each time, as on a processor that both sides share."""


class Spin:
    """Whether one who waits looks awake, as it went before."""

    __slots__ = ("_rest", "for_s", "resting")

    def __init__(self, for_s: float) -> None:
        self.for_s = for_s
        """How long to look; 0: never."""
        self.resting = 0
        """How often to sleep at once; who does so counts it down."""
        self._rest = 0

    def found(self) -> None:
        """Note that something came while it was looked for."""
        self._rest >>= 1

    def missed(self, most: int = REST_MAX) -> None:
        """Note that nothing came, or that somebody else needs the processor; rest so often at most."""
        self.resting = self._rest = min(most, 2 * self._rest + 1)


def can_spin() -> bool:
    """Tell whether this process may use more than one processor: on one, who looks keeps others from work."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) > 1
    return (os.cpu_count() or 1) > 1
