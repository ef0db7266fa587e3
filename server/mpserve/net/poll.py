"""Waiting for many sockets: epoll where it exists, `selectors` elsewhere, behind four calls."""

from __future__ import annotations

import select
import selectors
import sys
from typing import Final, Protocol

__all__ = ["READ", "WRITE", "Poller", "make_poller"]

READ: Final = 1
WRITE: Final = 2


class Poller(Protocol):
    """Which file descriptors are ready."""

    write_bit: int
    """Set in an event that says writable; any other bit means: read, and see (hang-ups and errors too)."""

    def watch(self, fd: int) -> None:
        """Begin to watch `fd` for `READ`."""

    def change(self, fd: int, interest: int) -> None:
        """Watch `fd` for `READ`, `WRITE` or both from now on."""

    def forget(self, fd: int) -> None:
        """Stop watching `fd`; before it is closed."""

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        """Return (fd, event) for what is ready, after `timeout_s` at the latest."""

    def close(self) -> None:
        """Free the poller."""


def make_poller() -> Poller:
    """Return the best poller of this system."""
    if sys.platform == "linux":
        return _Epoll()
    return _Selector()


if sys.platform == "linux":

    class _Epoll:
        """Level-triggered epoll. `wait` is the epoll's own method: one call less in every turn."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.write_bit = select.EPOLLOUT
            self.wait = self._epoll.poll
            self._events = {
                READ: select.EPOLLIN,
                WRITE: select.EPOLLOUT,
                READ | WRITE: select.EPOLLIN | select.EPOLLOUT,
            }

        def watch(self, fd: int) -> None:
            self._epoll.register(fd, select.EPOLLIN)

        def change(self, fd: int, interest: int) -> None:
            self._epoll.modify(fd, self._events[interest])

        def forget(self, fd: int) -> None:
            self._epoll.unregister(fd)

        def close(self) -> None:
            self._epoll.close()


class _Selector:
    """Whatever `selectors` finds."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.write_bit = selectors.EVENT_WRITE

    def watch(self, fd: int) -> None:
        self._selector.register(fd, READ)

    def change(self, fd: int, interest: int) -> None:
        self._selector.modify(fd, interest)

    def forget(self, fd: int) -> None:
        self._selector.unregister(fd)

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        return [(key.fd, events) for key, events in self._selector.select(timeout_s)]

    def close(self) -> None:
        self._selector.close()
