"""A file descriptor for what can be waited for: for `select`, `selectors`, and asyncio's `add_reader`.

RULES
* It can be read while the object is ready: `recv` or `get` need not wait, a Process has ended. A thread waits
  at the server, over a connection of its own, and rings: a byte lies in the descriptor. Whatever this process
  asks of the object takes it away, and the thread looks again. So it lags by that look, and as with a pipe
  that several processes read another may be faster.
* Nobody has a bell who never asks for its number.
* A fork hangs its own: the byte in its parent's is its parent's.
* Signal handlers and finalisers may come anywhere in here, and ask the object.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from mpclient.objects.base import Proxy
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.transport.references import Handle

__all__ = ["Bell", "Watched"]

_WAIT: Final = BY_NAME["cluster.wait"]
_LOOK_S: Final = 30.0
"""How long a thread may go on for an object that nobody here needs any more, and others do."""


class Watched(Proxy):
    """What `mpclient.connection.wait` can wait for, and `select`."""

    __slots__ = ()

    def fileno(self) -> int:
        """Return the number of a descriptor that can be read when this is ready; read this, not that."""
        handle = self._watch()
        return handle.session.references.hang(handle, Bell).fileno()

    def _watch(self) -> Handle:
        """Return what the server is asked about."""
        return self._handle


class Bell:
    """Rings while an object is ready; see the file's beginning."""

    def __init__(self, handle: Handle) -> None:
        self.pid: Final = os.getpid()
        self._session, self._ident = handle.session, handle.ident  # not the handle: it may go
        self._lock = threading.RLock()  # this and `put` are reentrant, an Event is not
        self._asked: SimpleQueue[None] = SimpleQueue()
        """Something lies here when the thread is to look again."""
        self._over = False
        self._ear, self._hammer = socket.socketpair()
        self._ear.setblocking(False)
        threading.Thread(target=self._listen, name="mpserve-bell", daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor's number."""
        return self._ear.fileno()

    def quiet(self) -> None:
        """Look again: this process has asked something of the object."""
        if self.pid != os.getpid():
            return
        with self._lock:
            self._look_again()
            if not self._over:
                with suppress(BlockingIOError):
                    self._ear.recv(1)

    def close(self) -> None:
        """Close the descriptor: nothing refers to the object here any more."""
        if self.pid == os.getpid():
            with self._lock:
                self._over = True
                self._look_again()
                self._hang_up()
        else:  # the thread that had the lock at the fork is not here, and cannot let it go
            self._hang_up()

    def _hang_up(self) -> None:
        self._ear.close()
        self._hammer.close()

    def _look_again(self) -> None:
        if self._asked.empty():
            self._asked.put(None)

    def _listen(self) -> None:
        while not self._over:
            while not self._asked.empty():
                self._asked.get()
            if self._is_ready():
                self._ring()
                self._asked.get()

    def _is_ready(self) -> bool:
        try:
            return bool(self._session.call(_WAIT, "", [[self._ident], _LOOK_S]).result)
        except MpserveError:  # there is no need to wait: the next call on it says why, or finds it mended
            return True

    def _ring(self) -> None:
        with self._lock:
            if not self._over and self._asked.empty():  # else: it may have been ready only before
                self._hammer.send(b"!")
