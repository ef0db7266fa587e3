"""A Pool's `_cache` and `_taskqueue`: how programs look at what waits, to hold back or to show how far it is.

RULES
* These are insides of the standard library's Pool that many programs read: ``while len(pool._cache) >= 100``,
  ``while pool._taskqueue.qsize() > 8``. They are counted when somebody looks; nobody else pays for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mpclient.pooling.sources import Tickets

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpclient.jobs import Jobs

__all__ = ["Backlog", "under_way"]


def under_way(jobs: Jobs) -> dict[int, Any]:
    """Return what has no outcome yet: a call each, and each `map` and `imap` as one."""
    while not (found := _look(jobs)) and jobs.is_moving:
        time.sleep(0)  # they are between two of the places where they are looked for
    return dict(enumerate(found))


def _look(jobs: Jobs) -> list[Any]:
    found: list[Any] = [ticket for ticket, _, _ in list(jobs.singles.waiting)]
    with jobs.lock:
        sinks = {id(span.sink): span.sink for span in jobs.spans}.values()
        flows = jobs.flows_under_way()
    for sink in sinks:
        if isinstance(sink, Tickets):
            found += sink.left()
    return [*found, *flows]


class Backlog:
    """Calls that wait for a worker: those that have no outcome, less those that can run at once."""

    def __init__(self, jobs: Jobs, slots: Callable[[], int]) -> None:
        self._jobs = jobs
        self._slots = slots

    def qsize(self) -> int:
        """Return how many they are."""
        number = len(under_way(self._jobs))
        return max(0, number - self._slots()) if number else 0  # the server may be gone

    def empty(self) -> bool:
        """Return whether there are none."""
        return not self.qsize()
