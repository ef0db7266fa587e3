"""Messages between the supervisor and one worker process, over a socket pair.

| from       | message                             | meaning                                             |
|------------|-------------------------------------|-----------------------------------------------------|
| supervisor | `begin`, with `Options.for_process` | the first message: what to do                       |
| supervisor | `stop`                              | finish the current job, hand back the others, end   |
| supervisor | `quit`                              | hand back everything and end at once                |
| supervisor | `cannot_lend`, text                 | there is no further process for its nested jobs     |
| supervisor | `interrupt`, pool, number, why      | raise an exception in this job: "timeout", "cancelled" |
| worker     | `session`, session                  | it has a session of this id                         |
| worker     | `ready`                             | it takes jobs from now on                           |
| worker     | `log`, level, event, fields         | a line for the log: a worker process has no logger  |
| worker     | `lend`                              | its job waits for jobs of its own: lend its slot    |
| worker     | `unlend`                            | it does not wait any more                           |
| worker     | `ended`, why, text                  | it ends by plan (`Why`); without this, it has died  |

The end of the stream says that the other side is gone, however it went.
"""

from __future__ import annotations

import os
import socket
import threading
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgpack

__all__ = ["Channel", "Why", "packed"]

_RECV_BYTES: Final = 1 << 16
_MOST_HANDED: Final = 16
"""As many descriptors come with one message at most: the kernel does not join two that have some."""


class Why:
    """Why a worker process ended by plan."""

    PILL: Final = "pill"
    """It was given a pill."""
    SHUT: Final = "shut"
    """Its queue was shut down and is empty."""
    STOPPED: Final = "stopped"
    """Its supervisor, a signal, or the end of its supervisor stopped it."""
    TASKS: Final = "max tasks"
    """It has run as many jobs as it may, by --max-tasks or by a pool's setting."""
    DIRTY: Final = "used by another program"
    """It has run a program's initializer, or imported modules that a program brought along, and was given
    jobs for which that must not be so."""
    MEMORY: Final = "max memory"
    LOST: Final = "server lost"
    """Its session is over, and not by its own doing."""
    REFUSED: Final = "refused"
    """It cannot work: the server, or this host, refuses something; the text says what."""


def packed(kind: str, fields: Mapping[str, Any]) -> bytes:
    """Return a message as it is sent."""
    data: bytes = msgpack.packb({"kind": kind, **fields}, use_bin_type=True)
    return data


def _ancillary(descriptors: Sequence[int]) -> list[tuple[int, int, array[int]]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []


class Channel:
    """One end of the socket pair. Any thread may send; one receives.

    Args:
        sock: The end.
        handed: Where descriptors go that come with messages; None: none are taken.
    """

    def __init__(self, sock: socket.socket, handed: deque[int] | None = None) -> None:
        self._sock = sock
        self._handed = handed
        self._sending = threading.Lock()
        self._unpacker = msgpack.Unpacker(raw=False, max_buffer_size=16 << 20)
        self.early: list[dict[str, Any]] = []
        """What came together with that of `receive_first`; whoever receives looks here once."""

    def fileno(self) -> int:
        """Return the descriptor, for select and poll."""
        return self._sock.fileno()

    def send(self, kind: str, **fields: Any) -> bool:
        """Send a message; False: the other side is gone."""
        with self._sending:
            try:
                self._sock.sendall(packed(kind, fields))
            except OSError:
                return False
        return True

    def send_part(self, data: bytes, descriptors: Sequence[int] = ()) -> bytes:
        """Send what the other side has room for, without waiting; return the rest.

        Args:
            data: One or more `packed` messages.
            descriptors: What goes along with the first byte.
        """
        try:
            # not `send_fds`, which waits all the same
            sent = self._sock.sendmsg([data], _ancillary(descriptors), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return data
        except OSError:  # the other side is gone, which the end of its stream tells
            return b""
        return data[sent:]

    def receive(self) -> list[dict[str, Any]] | None:
        """Read once and return the messages that are whole; None at the end of the stream."""
        try:
            data = self._sock.recv(_RECV_BYTES) if self._handed is None else self._receive_with(self._handed)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            return None
        self._unpacker.feed(data)
        return list(self._unpacker)

    def _receive_with(self, handed: deque[int]) -> bytes:
        data, descriptors, _, _ = socket.recv_fds(self._sock, _RECV_BYTES, _MOST_HANDED)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # `recv_fds` drops its flags, which would say so
        handed.extend(descriptors)
        return data

    def receive_first(self) -> dict[str, Any] | None:
        """Wait for the first message, or the next one after that; None: the other side is gone."""
        while not self.early:
            messages = self.receive()
            if messages is None:
                return None
            self.early = messages
        return self.early.pop(0)

    def set_blocking(self, blocking: bool) -> None:
        """Say whether `receive` (and `send`) may wait."""
        self._sock.setblocking(blocking)

    def close(self) -> None:
        """Close this end."""
        self._sock.close()
