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

__all__ = ["PATIENCE_S", "SERVED", "say_if_no_worker", "say_of"]

SERVED: Final = "tasks"
"""`--queue` of `mpworker`, unless given."""
PATIENCE_S: Final = 3.0
"""How long a call waits before this looks."""
_STATUS: Final = BY_NAME["cluster.status"]

_said: set[str] = set()


def say_if_no_worker(session: Session) -> None:
    """Write the line, if jobs lie there and nobody serves the queue."""
    with suppress(MpserveError):
        say_of(session.advertise or str(session.address), session.call(_STATUS, "", []).result)


def say_of(address: str, status: dict[str, Any]) -> None:
    """Write the line, if a server's status is such."""
    if address in _said:
        return
    waiting = _waiting(status)
    if waiting:
        _said.add(address)
        remark(
            f"{waiting} in queue {SERVED!r}, and no worker is connected to {address}; "
            f"start one: mpworker --connect {address}"
        )


def _waiting(status: dict[str, Any]) -> str:
    """Tell how many jobs wait in vain; "": none."""
    if any(session["queue"] == SERVED for session in status["sessions"]):
        return ""
    for found in status["objects"]:
        if found["kind"] == "queue" and found["name"] == SERVED:
            busy = found["leased"] or found["getters"]
            jobs = found["ready"]
            return "" if busy or not jobs else "a job waits" if jobs == 1 else f"{jobs} jobs wait"
    return ""
