"""References to shared objects: how many the server has given this session, and which it may forget.

RULES
* The server counts what it gives: one reference with each open, one with each mention in a value it delivers.
  They are claimed here, one `Handle` per object, and dropped together when the last proxy of the object is
  gone.
* Finalisers may run anywhere, so they only put down what is to be dropped; the keeper sends it, in batches.
* What is lent is told before anything is dropped.
* The handles of a session that ended are adopted by the next one, if it is the same server with the same
  state.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from mpshared.errors import NoSuchObject
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.objects.bell import Bell
    from mpclient.session import Session
    from mpclient.transport.term import SessionBase
    from mpshared.ops import Op

__all__ = ["DROP", "LEND", "Handle", "References"]

_ADOPT: Final = BY_NAME["cluster.adopt"]
DROP: Final = BY_NAME["cluster.drop"]
LEND: Final = BY_NAME["cluster.lend"]
_Waits = TypeVar("_Waits")
AT_ONCE: Final = 10_000
"""Objects in one call about references: a program may have many more, and the server has others to answer."""


class Handle:
    """This process's hold on one shared object; all its proxies here share it."""

    __slots__ = ("__weakref__", "_references", "bell", "count", "epoch", "ident", "lent", "session")

    def __init__(self, references: References, session: Session, ident: str, epoch: str) -> None:
        self._references = references
        self.session = session
        self.ident = ident
        self.epoch = epoch
        """The epoch of the server that the ident belongs to."""
        self.count = 0
        self.lent = False
        self.bell: Bell | None = None
        """What rings while the object is ready, once somebody has asked for its number."""

    def __repr__(self) -> str:
        return f"<Handle {self.ident}: {self.count}>"

    def lend(self) -> None:
        """Note that a proxy is on a way that the server cannot see."""
        self._references.lend(self)

    def give_back(self) -> None:
        """Tell the server, now, that this process needs the object no more. A forked child that has not
        spoken yet has nothing to give back.
        """
        self._references.give_back(self)

    def __del__(self) -> None:
        if self.bell is not None:
            self.bell.close()
        if self.count:
            self._references.let_go(self.ident, self.count)


class References:
    """All handles of a session."""

    def __init__(self, session: SessionBase) -> None:
        self._session = cast("Session", session)  # one of asyncio has handles and proxies of its own
        self._handles: weakref.WeakValueDictionary[str, Handle] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()
        self._dropped: deque[tuple[str, int]] = deque()
        self._lent: deque[str] = deque()
        self.epoch = ""

    def __len__(self) -> int:
        return len(self._handles)

    def find(self, ident: str) -> Handle | None:
        """Return the handle of an object that this process holds."""
        return self._handles.get(ident)

    def claim(self, ident: str) -> Handle:
        """Count one more reference to an object."""
        with self._lock:  # reentrant: a finaliser of the program's may run in here, and make calls
            handle = self._handles.get(ident)
            if handle is None:
                handle = self._handles[ident] = Handle(self, self._session, ident, self.epoch)
            handle.count += 1
        return handle

    def lend(self, handle: Handle) -> None:
        """Have the server told, once, that a proxy is on a way it cannot see."""
        if not handle.lent:
            handle.lent = True
            self._lent.append(handle.ident)
            self._session.wake()

    def lend_all(self) -> None:
        """Lend every object that a fork has copied proxies of."""
        for handle in self._all():
            self.lend(handle)

    def let_go(self, ident: str, n: int) -> None:
        """Have the server told that `n` references are not needed any more. For finalisers: takes no lock."""
        first = not self._dropped
        self._dropped.append((ident, n))
        if first:  # of a swarm, or one of those that came together
            self._session.wake()

    def give_back(self, handle: Handle) -> None:
        """Drop all references that a handle has, in the calling thread; if it is lent, that is told first.

        Raises:
            ServerGone: The server cannot be asked; it frees them with the session.
        """
        if n := self.surrender(handle):
            if handle.lent:  # told by the keeper, too, which goes another way and may be later
                self._session.call(LEND, "", [[handle.ident]])
            self._session.call(DROP, "", [[[handle.ident, n]]])

    def surrender(self, handle: Handle) -> int:
        """Return how many references a handle had; it has none any more, and the caller tells the server."""
        with self._lock:
            n, handle.count = handle.count, 0
        return n

    def hang(self, handle: Handle, make: Callable[[Handle], Bell]) -> Bell:
        """Return an object's bell, made anew in a fork: one, whichever threads ask for it at once."""
        with self._lock:
            if handle.bell is None or handle.bell.pid != os.getpid():
                handle.bell = make(handle)
            return handle.bell

    # -- for the keeper --------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether there is something to tell the server."""
        return bool(self._lent or self._dropped)

    def take_lent(self) -> list[str]:
        """Return, once, what was lent since the last time, or a part of it: [] when that was all."""
        return _taken(self._lent)

    def take_dropped(self) -> list[list[Any]]:
        """Return, once, [[ident, n], …] of what was dropped since the last time, or of a part of it."""
        counts: Counter[str] = Counter()
        for ident, n in _taken(self._dropped):
            counts[ident] += n
        return [[ident, n] for ident, n in counts.items()]

    # -- new sessions ----------------------------------------------------------------------------

    def renew(self, epoch: str, ask: Callable[[Op, list[Any]], Any]) -> None:
        """Take references of the new session's own to what is still held here.

        Args:
            epoch: The server's. Another than before: what was held is gone.
            ask: Makes a call on the new session's control connection.
        """
        self._dropped.clear()
        handles = self._all()
        held = [handle for handle in handles if handle.epoch == epoch]
        self.epoch = epoch
        for handle in handles:
            handle.count = 0
        for start in range(0, len(held), AT_ONCE):
            part = held[start : start + AT_ONCE]
            if not _adopt(part, ask):
                for handle in part:
                    _adopt([handle], ask)

    def forked(self) -> None:
        """Forget the parent's counts and lock; its references are not this process's."""
        self._lock = threading.RLock()
        self._dropped.clear()
        self._lent.clear()
        for handle in self._all():
            handle.count = 0
            handle.lent = False

    def _all(self) -> list[Handle]:
        """Return all handles. Other threads may claim more meanwhile: `values` would not have that."""
        return [handle for ref in self._handles.valuerefs() if (handle := ref()) is not None]


def _taken(waiting: deque[_Waits]) -> list[_Waits]:
    """Take what waits, or a part of it. The keeper of a session that is over may be doing so, too."""
    taken: list[_Waits] = []
    with suppress(IndexError):  # there is no more
        while len(taken) < AT_ONCE:
            taken.append(waiting.popleft())
    return taken


def _adopt(handles: list[Handle], ask: Callable[[Op, list[Any]], Any]) -> bool:
    """Take a reference to all of them, or none if one is gone."""
    with suppress(NoSuchObject):
        ask(_ADOPT, [[handle.ident for handle in handles]])
        for handle in handles:
            handle.count += 1
        return True
    return False
