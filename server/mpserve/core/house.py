"""The house: what an engine has only one of, for the kinds that need more than themselves.

A kind finds it in `Machine.enter`. Nothing in here is state: what is, stands in the machines' records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mpshared.settings import MAX_ATTEMPTS

if TYPE_CHECKING:
    from mpserve.core.deadlocks import Deadlocks
    from mpserve.core.hall import Hall
    from mpserve.core.hosts import Hosts

__all__ = ["House"]


class House(NamedTuple):
    """See the file's beginning."""

    hosts: Hosts
    """The worker hosts, and the Processes on them."""
    hall: Hall
    """Pools that have jobs, and workers that wait for some."""
    deadlocks: Deadlocks
    """Who waits for whom."""
    max_attempts: int = MAX_ATTEMPTS.default
    """How often an item of a queue or pool that says nothing else is handed out before it is set aside."""
