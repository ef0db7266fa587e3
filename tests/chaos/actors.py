"""The programs of the workload: python -m tests.chaos.actors ROLE FOLDER

Each notes what it tries and what was acknowledged, a line each, in a file of its own that is written through
before it goes on: what a killed program had noted is what it knew. Nothing here tries again: that is what is
tested.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import mpclient

__all__ = ["BARRIER_PARTIES", "ROLES", "echo", "main"]

BARRIER_PARTIES: Final = 2
_WAIT_S: Final = 5.0
_PATIENCE_S: Final = 60.0
_NUMBERS: Final = count()


class Notes:
    """One program's notes."""

    def __init__(self, folder: Path, role: str) -> None:
        self._file = os.open(
            folder / f"{role}-{os.getpid()}.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600
        )

    def __call__(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def echo(name: str) -> str:
    """The job: answer its name."""
    return name


def producer(cluster: mpclient.Cluster, go_on: Callable[[], bool], note: Notes) -> None:
    """Put jobs that answer their names, one at a time and in batches."""
    tasks = cluster.JoinableQueue(name="tasks")
    while go_on():
        names = [f"{os.getpid()}.{next(_NUMBERS)}" for _ in range(1 if next(_NUMBERS) % 3 else 20)]
        note("try", *names)
        if len(names) == 1:
            tasks.put(partial(echo, names[0]))
        else:
            tasks.put_many([partial(echo, name) for name in names])
        note("done", *names)


def locker(cluster: mpclient.Cluster, go_on: Callable[[], bool], note: Notes) -> None:
    """Take a lock, note the fence and the time, hold it for a moment, release it."""
    lock = cluster.Lock(name="lock")
    while go_on():
        if not lock.acquire(timeout=_WAIT_S):
            continue
        note("enter", lock.fence, time.monotonic_ns())
        time.sleep(0.001)
        note("exit", lock.fence, time.monotonic_ns())
        lock.release()


def counter(cluster: mpclient.Cluster, go_on: Callable[[], bool], note: Notes) -> None:
    """Count up; note each number that came back."""
    counts = cluster.dict(name="counts")
    while go_on():
        note("try")
        note("done", counts.incr("n", 1))


def meeter(cluster: mpclient.Cluster, go_on: Callable[[], bool], note: Notes) -> None:
    """Meet others at a barrier; who finds it broken mends it."""
    barrier = cluster.Barrier(BARRIER_PARTIES, name="barrier")
    while go_on():
        try:
            note("met", barrier.wait(_WAIT_S))
        except mpclient.BrokenBarrierError:
            note("broken")
            barrier.reset()


def waiter(cluster: mpclient.Cluster, go_on: Callable[[], bool], note: Notes) -> None:
    """Wait for a condition's notify, or give one."""
    condition = cluster.Condition(name="condition")
    while go_on():
        with condition:
            if os.getpid() % 2:
                note("notified", condition.wait(0.5))
            else:
                condition.notify()
                note("notify")


ROLES: Final[dict[str, Callable[[mpclient.Cluster, Callable[[], bool], Notes], None]]] = {
    role.__name__: role for role in (producer, locker, counter, meeter, waiter)
}


def _until_end_of_input() -> Callable[[], bool]:
    """Return what tells whether to go on: until the storm closes standard input."""
    over = threading.Event()

    def listen() -> None:
        with suppress(OSError):
            while os.read(0, 100):
                pass
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    return lambda: not over.is_set()


def _terms() -> Iterator[mpclient.Cluster]:
    """Yield a connection, and another whenever the session of the one before has ended: it was stopped."""
    while True:
        with mpclient.connect(connect_timeout=_PATIENCE_S, reconnect_timeout=_PATIENCE_S) as cluster:
            yield cluster


def main() -> int:
    """Play a role until standard input ends."""
    role, folder = sys.argv[1], Path(sys.argv[2])
    note, go_on = Notes(folder, role), _until_end_of_input()
    for cluster in _terms():
        try:
            ROLES[role](cluster, go_on, note)
        except (
            mpclient.ServerGone,
            mpclient.NotHeld,
        ) as err:  # stopped, or a timeout ran out without a server
            note("expired", type(err).__name__)
        else:
            note("end")
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
