"""Waiting for an answer: awake for a while where that is worth it (`mpshared.spinning`), then asleep.

RULES
* Each read of the other end wakes whoever sleeps in `recv` at a Unix socket of Linux (`unix_write_space`: it
  may write again). On another processor that is just in time: who calls is awake when the answer comes. On
  the same one it is one change of process more for each call; there who waits sleeps in `poll`, which says
  what it waits for.
* So does, wherever it is, who waits for the server's disk: the answer is not just behind the read. And who
  may have to wait for other clients, and has looked in vain: others need the processor.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from mpshared.spinning import GAP_S, VAIN_MAX

if TYPE_CHECKING:
    from mpshared.spinning import Spin

__all__ = ["RECV_BYTES", "Sleep", "can_look", "poll_at", "receive", "share_one_processor"]

Sleep: TypeAlias = Callable[[], object]

RECV_BYTES: Final = 1 << 16
_NOW: Final = getattr(socket, "MSG_DONTWAIT", 0)
"""Reads without waiting from a socket that otherwise waits; Windows has none."""
_PID: Final = struct.Struct("i8x")
"""The process at the other end, and whose it is."""


def can_look(sock: socket.socket) -> bool:
    """Tell whether it can be read without waiting, and its other end is on this machine."""
    return sys.platform != "win32" and sock.family == socket.AF_UNIX


def poll_at(sock: socket.socket) -> Sleep | None:
    """Return what sleeps until there is something to read, where `recv` wakes up for less."""
    if sys.platform != "linux":
        return None
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll.poll


def share_one_processor(sock: socket.socket) -> bool:
    """Tell whether this process and the other end's have one processor together, and no other."""
    if sys.platform != "linux":
        return False
    ours = os.sched_getaffinity(0)
    if len(ours) > 1:
        return False
    try:
        pid = _PID.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PID.size))[0]
        return pid > 0 and os.sched_getaffinity(pid) == ours  # 0: it is in a container of its own
    except OSError:
        return False


def receive(sock: socket.socket, spin: Spin, sleep: Sleep | None) -> bytes:
    """Return what comes next on a socket that waits; b"" at its end.

    Args:
        sock: The socket.
        spin: Whether to look for it awake.
        sleep: What sleeps until it is there; None: `recv` does.

    Raises:
        OSError: The connection broke.
    """
    if spin.resting:
        spin.resting -= 1
    elif spin.for_s and (data := _look(sock, spin)) is not None:
        return data
    if sleep is not None:
        sleep()
    return sock.recv(RECV_BYTES)


def _look(sock: socket.socket, spin: Spin) -> bytes | None:
    """Return what comes while it may be looked for, None if nothing does."""
    now_s = time.perf_counter()
    until_s = now_s + spin.for_s
    while now_s < until_s:
        try:
            data = sock.recv(RECV_BYTES, _NOW)
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
            return None
    spin.missed(VAIN_MAX)
    return None
