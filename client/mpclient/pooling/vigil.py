"""Looks out for workers while jobs wait: when there are none, the user is told how to start one, once.

RULES
* Nobody is asked while results come. After three silent seconds the server is asked, then ever more rarely.
* One line on stderr for each drought of a session, whatever the number of its pools.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mpclient.output.no_worker import say_no_worker
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.session import Session

__all__ = ["Vigil", "slots_of"]

_STATUS: Final = BY_NAME["cluster.status"]
_FIRST_S: Final = 3.0
_MOST_S: Final = 60.0
_told: weakref.WeakSet[Session] = weakref.WeakSet()
"""Sessions whose user knows that there is no worker."""


def slots_of(session: Session) -> int:
    """Return how many jobs the connected workers can run at once."""
    sessions = session.call(_STATUS, "", []).result["sessions"]
    return sum(one["slots"] for one in sessions if one["role"] == "supervisor")


class Vigil:
    """One pool's look-out; its methods but `heard` are for the pool's sender."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pause_s = _FIRST_S
        self._heard = False

    def heard(self) -> None:
        """Note that results came: somebody works."""
        self._heard = True

    def due_s(self, unfinished: int) -> float | None:
        """Return after how many silent seconds to `look`; None: there is nothing to wait for."""
        return self._pause_s if unfinished else None

    def look(self) -> None:
        """Say what is missing, if something is."""
        if self._heard:
            self._heard, self._pause_s = False, _FIRST_S
            _told.discard(self._session)
            return
        self._pause_s = min(_MOST_S, self._pause_s * 2)
        with suppress(MpserveError):  # the pool hears of it itself
            if slots_of(self._session):
                _told.discard(self._session)
            elif self._session not in _told:
                _told.add(self._session)
                say_no_worker(self._session, "the jobs of this program wait")
