"""Waiting for an answer: awake for a while where that is worth it (`mpshared.spinning`), then asleep."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final

from mpshared.spinning import GAP_S, VAIN_MAX

if TYPE_CHECKING:
    from mpshared.spinning import Spin

__all__ = ["CAN_LOOK", "RECV_BYTES", "receive"]

RECV_BYTES: Final = 1 << 16
CAN_LOOK: Final = hasattr(socket, "MSG_DONTWAIT") and hasattr(socket, "AF_UNIX")
"""Whether this system can read without waiting from a socket that otherwise waits, of its own machine."""


def receive(sock: socket.socket, spin: Spin) -> bytes:
    """Return what comes next on a socket that waits; b"" at its end.

    Raises:
        OSError: The connection broke.
    """
    if spin.resting:
        spin.resting -= 1
        return sock.recv(RECV_BYTES)
    now_s = time.perf_counter()
    until_s = now_s + spin.for_s
    while now_s < until_s:
        try:
            data = sock.recv(RECV_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError as err:
            if err.__traceback__ is None or err.__traceback__.tb_next is not None:
                raise  # a signal handler did
        else:
            if time.perf_counter() - now_s > GAP_S:
                spin.missed()
            else:
                spin.found()
            return data
        before_s, now_s = now_s, time.perf_counter()
        if now_s - before_s > GAP_S:
            spin.missed()
            break
    else:
        spin.missed(VAIN_MAX)
    return sock.recv(RECV_BYTES)
