"""What takes long is done beside the loop: one piece of work at a time, in a thread of its own.

    loop    work ──► thread: work() gives what is left to do ──► loop: that

RULES
* One thread: so what is being opened takes the memory of one request, whoever sends how many.
* Work touches nothing that changes, raises nothing, and lets go of what it has made before it is over: to
  free a million objects takes long, too.
* The loop gets the processor back within `SLICE_S` of asking for it, wherever Python code runs.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Final, TypeAlias

__all__ = ["SLICE_S", "AtOnce", "Beside", "Work"]

SLICE_S: Final = 0.0005
"""The interpreter's own 5 ms are taken several times for each call of another client: once for each system
call."""

Rest: TypeAlias = Callable[[], None]
Work: TypeAlias = Callable[[], Rest]
"""Is called in the thread, and returns what is to be called in the loop."""


class AtOnce:
    """Does the work where it is: for a dispatcher without a loop."""

    def run(self, work: Work) -> None:
        """Do it, and the rest of it."""
        work()()

    def close(self) -> None:
        """Do nothing."""


class Beside(AtOnce):
    """The thread, which comes when it is needed and does not keep the process from ending.

    Args:
        call_soon: Runs a function in the loop; may be called from any thread.
    """

    def __init__(self, call_soon: Callable[[Rest], None]) -> None:
        self._call_soon = call_soon
        self._waiting: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, work: Work) -> None:
        """Have it done soon, after all that was given before."""
        self._waiting.put(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="beside", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            usual_s = sys.getswitchinterval()
            sys.setswitchinterval(SLICE_S)
            rest = work()
            sys.setswitchinterval(usual_s)
            self._call_soon(rest)
            del work, rest  # or what they hold would stay until the next one

    def close(self) -> None:
        """Let the thread end, after what it has to do."""
        if self._thread is not None:
            self._waiting.put(None)
