"""The door: one listening socket, and what to do when nobody more can be let in.

RULES
* Out of file descriptors, it uses one that it keeps in reserve to accept and close with: who knocks is told
  at once, and the loop does not turn in circles around a socket that stays ready.
* Who is turned away is told why in one frame, before anything else, and nothing is kept of him.
* Where even that fails, and after any other failure, it stays shut for `PAUSE_S` and tries again.
* The log is told of each kind of failure once a minute, however many knock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mpshared.wire.handshake import busy_frame

if TYPE_CHECKING:
    from mpserve.net.loop import Loop
    from mpshared.log import Logger

__all__ = ["Door", "turn_away"]

Welcome = Callable[[socket.socket, object], None]

BACKLOG: Final = 4096
"""As much as the system allows: ten thousand clients may start together. The standard library has 16 or
128."""
ACCEPT_MAX: Final = 64
"""Accepted per turn, so that a flood of new peers does not keep the others waiting."""
PAUSE_S: Final = 0.1
"""Often enough that nobody notices, seldom enough to cost nothing. Precedent: Go's net/http, 5 ms to 1 s."""
QUIET_S: Final = 60.0
_NO_FILES: Final = "the server has as many files open as it may (ulimit -n); try again later"

_NOTHING_WRONG: Final = (BlockingIOError, InterruptedError, ConnectionAbortedError)
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE})


class Door:
    """A listening socket as a handler of the loop.

    Args:
        welcome: Is given each accepted socket, and the address of its other end.
    """

    def __init__(self, loop: Loop, log: Logger, sock: socket.socket, welcome: Welcome) -> None:
        self._loop = loop
        self._log = log
        self._sock = sock
        self._welcome = welcome
        self._reserve: int | None = None
        self._fill_reserve()
        self._opens_s: float | None = None
        """Shut until then."""
        self._quiet_until_s: dict[str, float] = {}
        """Until when the log is not told again, by event."""
        sock.setblocking(False)
        sock.listen(BACKLOG)
        self._file = _FileOf(sock)
        loop.watch(sock.fileno(), self)

    # -- accepting -------------------------------------------------------------------------------

    def readable(self) -> None:
        """Accept who waits."""
        for _ in range(ACCEPT_MAX):
            try:
                accepted, sockaddr = self._sock.accept()
            except _NOTHING_WRONG:
                return
            except OSError as err:
                if not self._turned_away(err):
                    self._shut()
                    return
            else:
                self._let_in(accepted, sockaddr)

    def _let_in(self, accepted: socket.socket, sockaddr: object) -> None:
        try:
            self._welcome(accepted, sockaddr)
        except Exception as err:  # noqa: BLE001 - the next one may fare better
            accepted.close()
            self._tell("server.cannot_accept", err)

    def _turned_away(self, err: OSError) -> bool:
        """Refuse one who knocks, if that is all that can be done; tell whether it could."""
        if err.errno not in _FULL:
            self._tell("server.cannot_accept", err)
            return False
        self._tell("server.full", err)
        if self._reserve is None:
            return False
        os.close(self._reserve)
        self._reserve = None
        with contextlib.suppress(OSError):
            turn_away(self._sock.accept()[0], _NO_FILES)
        self._fill_reserve()
        return self._reserve is not None

    def _fill_reserve(self) -> None:
        with contextlib.suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY)

    def _tell(self, event: str, err: Exception) -> None:
        now_s = self._loop.clock()
        if now_s < self._quiet_until_s.get(event, 0.0):
            return
        self._quiet_until_s[event] = now_s + QUIET_S
        means = "new connections are refused, those that exist go on"
        todo = "; raise the limit of open files (ulimit -n)" if event == "server.full" else ""
        self._log.error(event, error=str(err), reason=f"{means}{todo}")

    # -- shut for a while ------------------------------------------------------------------------

    def _shut(self) -> None:
        self._loop.forget(self._sock.fileno(), self)
        self._opens_s = self._loop.clock() + PAUSE_S
        self._loop.timed.append(self)

    def next_deadline_s(self) -> float | None:
        """Return when it opens again."""
        return self._opens_s

    def advance(self, now_s: float) -> None:
        """Open again."""
        if self._opens_s is None or now_s < self._opens_s:
            return
        self._open()
        if self._reserve is None:
            self._fill_reserve()
        self._loop.watch(self._sock.fileno(), self)

    def _open(self) -> None:
        self._opens_s = None
        self._loop.timed.remove(self)

    # -- its end ---------------------------------------------------------------------------------

    def writable(self) -> None:
        """A listening socket writes nothing."""

    def broken(self, error: Exception) -> None:
        """Go on: one who knocked met a mistake of ours."""
        self._log.error("listener.failed", error=repr(error), exc_info=error)

    def close(self) -> None:
        """Let nobody in any more, and leave nothing behind."""
        if self._opens_s is not None:
            self._open()
        else:
            self._loop.forget(self._sock.fileno(), self)
        self._sock.close()
        self._file.remove()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None


def turn_away(sock: socket.socket, why: str) -> None:
    """Tell the other end of an accepted socket why it may not come in, if it takes that at once; close."""
    try:
        sock.setblocking(False)
        sock.send(busy_frame(why))
    except OSError:
        pass  # it is gone, or does not listen
    finally:
        sock.close()


class _FileOf:
    """The file of a unix socket; removed only if it is still the one that was made."""

    def __init__(self, sock: socket.socket) -> None:
        name = sock.getsockname()
        self._path = Path(name) if isinstance(name, str) and name else None
        self._made = self._identity()

    def _identity(self) -> tuple[int, int, int] | None:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns  # a number alone may be used again

    def remove(self) -> None:
        if self._path is not None and self._made is not None and self._identity() == self._made:
            self._path.unlink(missing_ok=True)
