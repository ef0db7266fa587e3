"""A slot: the place for one worker process, and what is known of those that were in it.

EMPTY --due--> STARTING --ready--> WORKING --ended by plan--> EMPTY, due at once
  ^               |                   |-----pill, queue shut--> FINISHED
  '--- a delay ---'<---- died --------'
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mpclient.worker.host.child import Child

__all__ = ["START_TRIES", "Slot"]

START_TRIES: Final = 5
"""So many processes in a row that never came to work: it is not by chance."""
_QUICK_S: Final = 1.0
_FIRST_DELAY_S: Final = 0.05
_MOST_DELAY_S: Final = 2.0


class Slot:
    """One place."""

    is_lent = False
    """Whether it is there only while another process's job waits (`lending`)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.child: Child | None = None
        self.finished = False
        """A pill, or the end of the queue, stopped the process that was here."""
        self.due_s: float | None = 0.0
        """When the next process is to be started, monotonic; None: not now."""
        self.failed_starts = 0
        self._quick_ends = 0
        self.has_worked = False
        """Whether a process here ever took jobs."""

    def due_at_s(self, *, stopping: bool) -> float:
        """Return when a process is to be started here, monotonic; infinity: not as things are."""
        return math.inf if self.due_s is None or stopping else self.due_s

    def began(self, child: Child) -> None:
        """Note a new process."""
        self.child = child
        self.due_s = None

    def came_to_work(self) -> None:
        """Note that the process takes jobs."""
        self.has_worked = True
        self.failed_starts = 0

    def emptied(self, *, at_once: bool) -> None:
        """Note that the process is gone, and plan the next: later each time if they end at once."""
        child, self.child = self.child, None
        now_s = time.monotonic()
        if at_once:
            self.due_s = now_s
            return
        quick = child is None or now_s - child.started_s < _QUICK_S
        self._quick_ends = self._quick_ends + 1 if quick else 0
        self.due_s = now_s + (self.delay_s if quick else 0.0)

    @property
    def delay_s(self) -> float:
        """How long to wait before the next process, after those that ended quickly."""
        return min(_MOST_DELAY_S, _FIRST_DELAY_S * 2.0 ** (self._quick_ends - 1))

    def finish(self) -> None:
        """Note that the process was stopped for good."""
        self.child = None
        self.finished = True
        self.due_s = None

    def begin_anew(self, delay_s: float = 0.0) -> None:
        """Have a process here again."""
        self.finished = False
        self.due_s = time.monotonic() + delay_s
