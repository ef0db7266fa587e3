"""What those who wait at a queue have asked for: the notes of its waiters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from mpshared.bunch import joined

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpserve.core.queue_order import Python, Run

__all__ = ["JOBS", "MANY", "ONE", "GoOn", "Offer", "Want", "reply_jobs", "takes_pool_jobs"]

GoOn: TypeAlias = "Callable[[Effects, Call], None]"

ONE: Final = 0
MANY: Final = 1
JOBS: Final = 2
"""How `get`, `get_many` and `exchange` are answered."""


class Want(NamedTuple):
    """What a getter asks for; a getter that waits has it as its waiter's note."""

    n: int
    style: int
    lease: bool
    results: str = ""
    """Ident of the queue for the results of these jobs."""
    lost: int = 0
    """How many acknowledged items were not the caller's any more."""
    job_s: float = math.inf
    """What a worker took for each of its last jobs, the way there and back included; inf: nobody knows."""
    ahead: bool = False
    """The caller is at work, and has these jobs for later."""


class Offer(NamedTuple):
    """What a putter brings: the note of one that waits."""

    room: int
    """Free places that it needs."""
    go_on: GoOn
    """Stores it, once there is room."""


def takes_pool_jobs(call: Call, want: Want) -> bool:
    """Tell whether a getter is a worker that serves pools as well."""
    return want.style == JOBS and call.lane.session.info.pools


def reply_jobs(
    fx: Effects,
    call: Call,
    runs: Sequence[Run],
    lost: int,
    versions: list[Python],
    *,
    ended: bool = False,
    pool: str | None = None,
    spec_version: int = 0,
) -> None:
    """Answer an `exchange`; see there."""
    if len(runs) == 1:
        first, deaths, out = runs[0]
        jobs = [[first, first + len(out) - 1, deaths + 1]]
    else:
        out = joined([blobs for _, _, blobs in runs])
        jobs = [[first, first + len(blobs) - 1, deaths + 1] for first, deaths, blobs in runs]
    fx.reply(call, [jobs, ended, versions, lost, pool, spec_version], out)
