"""Waiting for many sockets: awake for a while where that is worth it (`mpshared.spinning`), then asleep.

RULES
* Worth it is what brings one peer, and one of the last two: who is called by many has always something to do,
  and would only take the processor from them.
* Of those who sleep while they wait (`note`) three are many already: each has to be woken, and they need
  the processor that the server would look on.
* Where a lock was handed over, many wait for its new holder, who is awake and soon calls: what comes then
  is worth it, whoever brings it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeAlias

from mpshared.spinning import GAP_S, VAIN_MAX, Spin

__all__ = ["Awake", "Ready"]

_CROWD: Final = 8
"""For so many times no looking is worth it after a third one, who sleeps, has called."""
_HEIRS: Final = 2
"""So many calls come after a lock was handed over: who released it wants it again, and its holder is done."""

Ready: TypeAlias = list[tuple[int, int]]
"""Descriptors, and what is the matter with each."""


class Awake:
    """A poller's `wait` that looks before it sleeps."""

    def __init__(
        self, wait: Callable[[float], Ready], spin_s: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Look for `spin_s` at most, by a clock that tells microseconds apart."""
        self._wait = wait
        self._clock = clock
        self._spin = Spin(spin_s)
        self._handed = Spin(spin_s)
        """For waits after a lock was handed over."""
        self._heirs = 0
        """How many of these are to come."""
        self._last = self._last_but_one = -1
        self._crowd = 0
        self._sleepers = bytearray()
        """By descriptor, who does not look awake for an answer: for thousands a set takes 80 bytes each."""

    def note(self, fd: int, *, sleeps: bool) -> None:
        """Note whether who is at `fd` sleeps whenever it waits."""
        self._sleepers.extend(bytes(max(0, fd + 1 - len(self._sleepers))))
        self._sleepers[fd] = sleeps

    def handed_over(self) -> None:
        """Note that a lock has a new holder, for whom others wait."""
        self._heirs = _HEIRS

    def wait(self, sleep_s: float) -> Ready:
        """Return what is ready, after `sleep_s` at the latest."""
        spin = self._spin
        if self._heirs:
            self._heirs -= 1
            spin = self._handed
        if spin.resting:
            spin.resting -= 1
            ready = self._wait(sleep_s)
            if ready and (self._crowd or ready[0][0] != self._last):
                self._note(ready[0][0])
            return ready
        return self._look(spin, sleep_s) or self._wait(sleep_s)

    def _look(self, spin: Spin, sleep_s: float) -> Ready:
        """Return what becomes ready while it may be looked for."""
        if ready := self._wait(0.0):
            return ready  # was there before it was looked for
        now_s = self._clock()
        until_s = now_s + min(spin.for_s, sleep_s)
        while now_s < until_s:
            ready = self._wait(0.0)
            before_s, now_s = now_s, self._clock()
            if ready:
                self._learn(spin, ready, now_s - before_s)
                return ready
            if now_s - before_s > GAP_S:
                spin.missed()
                return []
        if sleep_s > spin.for_s:
            spin.missed(VAIN_MAX)
        return []

    def _learn(self, spin: Spin, ready: Ready, took_s: float) -> None:
        fd = ready[0][0]
        if took_s > GAP_S or self._crowd:
            spin.missed()
        elif spin is self._spin and (len(ready) > 1 or fd not in {self._last, self._last_but_one}):
            spin.missed(VAIN_MAX)
        else:
            spin.found()
        self._note(fd)

    def _note(self, fd: int) -> None:
        if self._crowd:
            self._crowd -= 1
        if fd != self._last:
            if fd != self._last_but_one and self._sleeps(fd):
                self._crowd = _CROWD
            self._last, self._last_but_one = fd, self._last

    def _sleeps(self, fd: int) -> bool:
        return fd < len(self._sleepers) and bool(self._sleepers[fd])
