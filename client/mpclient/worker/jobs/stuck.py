"""A slot that cannot be lent: whether the jobs that its job waits for get anywhere all the same.

RULES
* Elsewhere there may be slots. Only when none of the jobs of this process's pools runs, twice in a row, and
  none has a result to be fetched, whoever waits for them is told.
* The server is asked by a thread of its own, when the supervisor refuses; the tender asks that again each
  second.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.pooling import nested
from mpclient.session import living_sessions
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.session import Session

__all__ = ["Stuck", "is_stuck"]

_STATUS: Final = BY_NAME["cluster.status"]


def is_stuck(objects: Iterable[Mapping[str, Any]], programs: Collection[str]) -> bool:
    """Tell whether pools have jobs and none of these runs or is done.

    Args:
        objects: As in the server's status.
        programs: Session ids; only their pools count.
    """
    pools = [one for one in objects if one["kind"] == "pool" and one["program"] in programs]
    return any(pool["ready"] for pool in pools) and not any(
        pool["leased"] + pool["results"] for pool in pools
    )


class Stuck:
    """Hears refusals, and passes on those that matter.

    Args:
        session: By which the server is asked.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._thread: threading.Thread | None = None
        self._times = 0

    def forget(self) -> None:
        """Begin to count anew: nothing waits any more, or the slot was lent."""
        self._times = 0

    def heard(self, text: str) -> None:
        """Look whether what was refused is needed. From the tender; returns at once."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._look, args=(text,), name="mpserve-stuck", daemon=True
            )
            self._thread.start()

    def _look(self, text: str) -> None:
        with suppress(MpserveError):  # the main thread will hear the same
            objects = self._session.call(_STATUS, "", []).result["objects"]
            programs = {session.id for session in living_sessions()}
            self._times = self._times + 1 if is_stuck(objects, programs) else 0
            if self._times > 1:
                nested.refuse(text)
