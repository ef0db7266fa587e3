"""Python's garbage collector in a server that stores much: it looks at what is new, not at what is stored.

RULES
* A full collection that took long freezes what it found alive, and no later one looks at that again. So none
  takes longer than a growth by some hundred thousand objects does, however many there are.
* What is frozen is freed as ever when nothing refers to it any more. Only circles stay: those of the sessions
  that lived at that moment, a few for so many objects.

Without it the collections while a million values with references are put take up to 0.3 s each.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final

__all__ = ["LONG_S", "Freezer", "keep_collections_short"]

LONG_S: Final = 0.01
"""Processor time, as others may have the processor meanwhile. That of some 200,000 objects."""


class Freezer:
    """Is told of each collection, when it begins and when it is done.

    Args:
        freeze: Has what is there now left alone from now on.
        clock: Processor seconds of this thread.
    """

    def __init__(
        self, freeze: Callable[[], None] = gc.freeze, clock: Callable[[], float] = time.thread_time
    ) -> None:
        self._freeze = freeze
        self._clock = clock
        self._begun_s = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """Freeze what is left after a full collection that took long."""
        if info["generation"] < 2:
            return
        if phase == "start":
            self._begun_s = self._clock()
        elif self._clock() - self._begun_s > LONG_S:
            self._freeze()


def keep_collections_short() -> None:
    """Do so in this process, from now on; what is here already is left alone."""
    gc.freeze()
    gc.callbacks.append(Freezer())
