"""Worker processes that replace others: forks of the nursery, which their supervisor adopts.

    supervisor --`worker`, descriptors--> nursery --fork--> in between --fork--> worker
         |                                   '--waits for the one in between, which ends at once
         |<----------------- `born`, pid ----'
         '--`begin`--> worker, whose parent is the supervisor now

A fresh interpreter needs 0.15 s of a processor to load what runs jobs; the nursery has loaded
that.

RULES
* Linux only: there the orphans of a process's descendants become children of the one that asked for them
  (`PR_SET_CHILD_SUBREAPER`). So a supervisor waits for such a process as for one that it has executed, and
  the end of the nursery is not that of worker processes.
* Whatever else becomes an orphan on this host's account is waited for, too, and forgotten.
* Who cannot be born here is executed: see `Child`.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from typing import Final

from mpclient.worker import kernel
from mpclient.worker.channel import Channel

__all__ = ["HANDED", "Reborn", "adopt_all", "bear", "begun", "forget_strangers", "settle"]

HANDED: Final = 8
"""How many descriptors come with an order: socket, mark, those of `Pipes.ends`, stdout and stderr."""
_NAME: Final = b"mpworker"
_PID_BYTES: Final = 8
_BORN_S: Final = 5.0
"""How long the supervisor waits for a birth, which takes some milliseconds."""


# -- the supervisor's side ------------------------------------------------------------------------


def adopt_all() -> bool:
    """Become the parent of all orphans from here on; return whether the system can do that."""
    return sys.platform == "linux" and kernel.ask(kernel.ADOPT_ORPHANS, 1)


def begun(channel: Channel, nursery: Channel, hear: Callable[[], None]) -> int:
    """Return the pid of the process at the other end, once the nursery has told it.

    Args:
        channel: To that process.
        nursery: To the nursery.
        hear: Takes what the nursery tells of others meanwhile: it may have to before it can go on.

    Raises:
        TimeoutError: Nothing is heard of it.
        OSError: There is none.
    """
    until_s = time.monotonic() + _BORN_S
    poll = select.poll()
    for end in (channel, nursery):
        poll.register(end, select.POLLIN)
    while (left_s := until_s - time.monotonic()) > 0 and nursery.fileno() >= 0:
        ready = dict(poll.poll(left_s * 1000))
        if channel.fileno() not in ready:
            if ready:
                hear()
            continue
        if (messages := channel.receive()) is None:
            break
        if messages:
            return int(messages[0]["pid"])
    if left_s <= 0:
        raise TimeoutError("the nursery has not answered")
    raise OSError("the nursery has not given birth to it")


def forget_strangers(known: Container[int]) -> None:
    """Wait for orphans that have ended, up to the first ended child that somebody else waits for."""
    if sys.platform != "linux":
        return
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid in known:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)


# -- the nursery's side ---------------------------------------------------------------------------


class Reborn(BaseException):
    """This process is the worker now; raised to leave behind what the nursery was doing.

    Args:
        descriptors: What came with the order, see `HANDED`.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        super().__init__()
        self.descriptors = descriptors


def bear(descriptors: Sequence[int]) -> None:
    """Start a worker process that is the supervisor's, and tell it so.

    Args:
        descriptors: What came with the order, see `HANDED`; closed here.

    Raises:
        Reborn: This is the new process.
        OSError: It cannot be started.
    """
    ours: Sequence[int] = descriptors
    try:
        if len(descriptors) < HANDED:
            raise OSError("no room for all descriptors of a worker process")
        pipe = os.pipe()
        ours = (*pipe, *descriptors)
        between = os.fork()
        if not between:
            _fork_again(pipe[1])
            ours = pipe
            raise Reborn(descriptors)
        os.waitpid(between, 0)  # from then on the supervisor is the parent
        os.set_blocking(pipe[0], False)
        pid = int.from_bytes(os.read(pipe[0], _PID_BYTES), "little")
        if pid:
            _tell(descriptors[0], pid)
    finally:
        for descriptor in ours:
            os.close(descriptor)


def _tell(descriptor: int, pid: int) -> None:
    """Tell the supervisor, on behalf of the new process, that it is there."""
    sock = socket.socket(fileno=descriptor)
    Channel(sock).send("born", pid=pid)
    sock.detach()


def _fork_again(writing: int) -> None:
    """Return in the process that is to stay."""
    pid = -1
    try:
        pid = os.fork()
        if pid:
            os.write(writing, pid.to_bytes(_PID_BYTES, "little"))
    finally:
        if pid:
            os._exit(0)


def settle(descriptors: Sequence[int]) -> tuple[int, int, list[int]]:
    """Take the place of what would be executed; return its socket, and the descriptors of mark and pipes."""
    sock, mark, *ends, stdout, stderr = descriptors
    for descriptor, stream in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kernel.ask(kernel.NAME, _NAME)
    return sock, mark, ends
