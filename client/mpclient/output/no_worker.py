"""A word to whoever waits for what nobody can do: no worker is connected.

RULES
* Not where workers of the program's own are still on their way: nobody has to start them, and if they end,
  that is told with its reason.
* Of queues only for the one that workers serve unless told otherwise, and only while nobody takes its items:
  other queues, and programs that take the jobs themselves, are none of its business. Once in a process.
* What goes wrong in asking is left to the call that waits.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.output.remarks import remark
from mpshared.errors import MpserveError, NoWorkers
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpclient.transport.term import SessionBase

__all__ = [
    "DESCRIBE",
    "PATIENCE_S",
    "SERVED",
    "STATUS",
    "none_came",
    "say_if_no_worker",
    "say_no_worker",
    "say_of",
]

SERVED: Final = "tasks"
"""`--queue` of `mpworker`, unless given."""
PATIENCE_S: Final = 3.0
"""How long a call waits before this looks."""
STATUS: Final = BY_NAME["cluster.status"]
DESCRIBE: Final = BY_NAME["cluster.describe"]

_said: set[str] = set()


def none_came(session: SessionBase, wait_s: float) -> NoWorkers:
    """Return what is raised where a wait for the first worker was in vain."""
    return NoWorkers(
        f"no worker came to {session.address} within {wait_s:g} s, so nothing can run; {_advice(session)}"
    )


def say_no_worker(session: SessionBase, what_waits: str) -> None:
    """Write one line to standard error: there is no worker, so something waits."""
    local = sys.modules.get("mpclient.local")  # who has workers of its own has loaded it
    if local is None or not local.has_own_workers(session):
        remark(f"no worker is connected to {session.address}, so {what_waits}; {_advice(session)}")


def _advice(session: SessionBase) -> str:
    return f"start one: mpworker --connect {session.advertise or session.address}"


def say_if_no_worker(session: Session, ident: str) -> None:
    """Write the line, if jobs lie in the queue of that ident and nobody serves it."""
    with suppress(MpserveError):
        say_of(session, session.call(STATUS, "", []).result, session.call(DESCRIBE, "", [ident]).result)


def say_of(session: SessionBase, status: dict[str, Any], queue: dict[str, Any] | None) -> None:
    """Write the line, if a server's status is such, and what it tells of the queue."""
    address = str(session.address)
    waiting = _waiting(status, queue)
    if waiting and address not in _said:
        _said.add(address)
        say_no_worker(session, waiting)


def _waiting(status: dict[str, Any], queue: dict[str, Any] | None) -> str:
    """Tell how many jobs wait in vain; "": none."""
    if queue is None or any(session["queue"] == SERVED for session in status["sessions"]):
        return ""
    jobs = queue["ready"]
    if queue["leased"] or queue["getters"] or not jobs:
        return ""
    return f"a job waits in queue {SERVED!r}" if jobs == 1 else f"{jobs} jobs wait in queue {SERVED!r}"
