"""Waiting for many sockets: awake for a while where that is worth it (`mpshared.spinning`), then asleep.

RULES
* Worth it is what brings one peer, and one of the last two: who is called by many has always something to do,
  and would only take the processor from them.
* Of those who sleep while they wait (`note`) three are many already: each has to be woken, and they need
  the processor that the server would look on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeAlias

from mpshared.spinning import GAP_S, VAIN_MAX, Spin

__all__ = ["Awake", "Ready"]

_CROWD: Final = 8
"""For so many times no looking is worth it after a third one, who sleeps, has called."""

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
        self._last = self._last_but_one = -1
        self._crowd = 0
        self._sleepers = bytearray()
        """By descriptor, who does not look awake for an answer: for thousands a set takes 80 bytes each."""

    def note(self, fd: int, *, sleeps: bool) -> None:
        """Note whether who is at `fd` sleeps whenever it waits."""
        self._sleepers.extend(bytes(max(0, fd + 1 - len(self._sleepers))))
        self._sleepers[fd] = sleeps

    def wait(self, sleep_s: float) -> Ready:
        """Return what is ready, after `sleep_s` at the latest."""
        spin = self._spin
        if spin.resting:
            spin.resting -= 1
            ready = self._wait(sleep_s)
            if ready and (self._crowd or ready[0][0] != self._last):
                self._note(ready[0][0])
            return ready
        if ready := self._look(sleep_s):
            return ready
        return self._wait(sleep_s)

    def _look(self, sleep_s: float) -> Ready:
        """Return what becomes ready while it may be looked for."""
        spin = self._spin
        if ready := self._wait(0.0):
            return ready  # was there before it was looked for
        now_s = self._clock()
        until_s = now_s + min(spin.for_s, sleep_s)
        while now_s < until_s:
            ready = self._wait(0.0)
            before_s, now_s = now_s, self._clock()
            if ready:
                self._learn(ready, now_s - before_s)
                return ready
            if now_s - before_s > GAP_S:
                spin.missed()
                return []
        if sleep_s > spin.for_s:
            spin.missed(VAIN_MAX)
        return []

    def _learn(self, ready: Ready, took_s: float) -> None:
        fd = ready[0][0]
        if took_s > GAP_S or self._crowd:
            self._spin.missed()
        elif len(ready) > 1 or fd not in {self._last, self._last_but_one}:
            self._spin.missed(VAIN_MAX)
        else:
            self._spin.found()
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
