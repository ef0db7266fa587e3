"""A word to whoever waits for jobs that nobody can do: no worker is connected.

RULES
* Only for the queue that workers serve unless told otherwise, and only while nobody takes its items: other
  queues, and programs that take the jobs themselves, are none of its business.
* One line on stderr, once in a process. What goes wrong in asking is left to the call that waits.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.remarks import remark
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.session import Session

__all__ = ["DESCRIBE", "PATIENCE_S", "SERVED", "STATUS", "say_if_no_worker", "say_of"]

SERVED: Final = "tasks"
"""`--queue` of `mpworker`, unless given."""
PATIENCE_S: Final = 3.0
"""How long a call waits before this looks."""
STATUS: Final = BY_NAME["cluster.status"]
DESCRIBE: Final = BY_NAME["cluster.describe"]

_said: set[str] = set()


def say_if_no_worker(session: Session, ident: str) -> None:
    """Write the line, if jobs lie in the queue of that ident and nobody serves it."""
    with suppress(MpserveError):
        status = session.call(STATUS, "", []).result
        say_of(session.advertise or str(session.address), status, session.call(DESCRIBE, "", [ident]).result)


def say_of(address: str, status: dict[str, Any], queue: dict[str, Any] | None) -> None:
    """Write the line, if a server's status is such, and what it tells of the queue."""
    if address in _said:
        return
    waiting = _waiting(status, queue)
    if waiting:
        _said.add(address)
        remark(
            f"{waiting} in queue {SERVED!r}, and no worker is connected to {address}; "
            f"start one: mpworker --connect {address}"
        )


def _waiting(status: dict[str, Any], queue: dict[str, Any] | None) -> str:
    """Tell how many jobs wait in vain; "": none."""
    if queue is None or any(session["queue"] == SERVED for session in status["sessions"]):
        return ""
    busy = queue["leased"] or queue["getters"]
    jobs = queue["ready"]
    return "" if busy or not jobs else "a job waits" if jobs == 1 else f"{jobs} jobs wait"
