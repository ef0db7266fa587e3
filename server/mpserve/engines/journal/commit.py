"""The commit thread: writes what turns have changed, many turns at once when it is behind.

    loop: put(turn) --> waiting --take all--> one transaction --> loop: done(turns), in order

RULES
* Turns are written in the order in which they came, and told done in that order.
* What cannot be written stays first in line and is tried again: its answers wait, and so does everything
  behind it. `failing` says why meanwhile, so that nothing new is accepted that would have to wait as well.
* `BALLAST_BYTES` of the disk are kept by a file that is given up when the disk is full, so that what has been
  accepted can be written; it is taken back before new changes are accepted.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from mpserve.engines.journal.codec import Entry, encode
from mpserve.engines.journal.store import Store

if TYPE_CHECKING:
    from mpserve.core.calls import Call

__all__ = ["BALLAST_BYTES", "Committer", "Job", "Turn"]

BALLAST_BYTES: Final = 16 << 20
"""Room for what is accepted before the disk is known to be full: a loop's turn reads up to a few MiB."""
_RETRY_S: Final = 0.25
_STOP_S: Final = 10.0


class Turn(NamedTuple):
    """What changed in one turn of the loop, and the calls whose answers wait for it."""

    entries: list[Entry]
    calls: list[Call]


Done: TypeAlias = Callable[[list[Turn]], None]
Job: TypeAlias = Callable[[Store], None]


class Committer(threading.Thread):
    """See the file's beginning.

    Args:
        store: Where to; used by this thread only, once it runs.
        done: Is given what was written, in this thread.
        trouble: Is told what went wrong, once each time it begins, and "" when it goes on.
    """

    def __init__(self, store: Store, done: Done, trouble: Callable[[str], None]) -> None:
        super().__init__(name="mpserve-commit", daemon=True)
        self._store = store
        self._done = done
        self._trouble = trouble
        self._waiting: SimpleQueue[Turn | Job | None] = SimpleQueue()
        """What is to be written; None: nothing more comes."""
        self._job: Job | None = None
        """What is due before anything else, taken while turns were collected."""
        self._closing = threading.Event()
        self._complete = False
        self._ballast = store.folder / "ballast"
        self.journal_bytes = store.size_bytes()
        """What was written since the last snapshot."""
        self.failing = ""
        """Why nothing can be written at the moment."""
        self._fill_ballast()

    def put(self, work: Turn | Job) -> None:
        """Have a turn written, or a job done between two transactions, after all that was put before."""
        self._waiting.put(work)

    def close(self) -> bool:
        """Write what waits and stop; returns whether all was written, within `_STOP_S` seconds."""
        self._closing.set()
        self._waiting.put(None)
        self.join(_STOP_S)
        return self._complete

    # -- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Write until `close`."""
        while work := self._take():
            if not isinstance(work, list):
                work(self._store)
            elif self._write(work):
                self._done(work)
            else:
                return
        self._complete = True

    def _take(self) -> list[Turn] | Job | None:
        """Wait; return all turns up to the next job, or that job, None at the end."""
        job, self._job = self._job, None
        work = job or self._waiting.get()
        if not isinstance(work, Turn):
            return work
        turns = [work]
        while not self._waiting.empty():
            work = self._waiting.get()
            if isinstance(work, Turn):
                turns.append(work)
                continue
            if work is None:
                self._waiting.put(None)
            self._job = work
            break
        return turns

    def _write(self, turns: list[Turn]) -> bool:
        """Write turns, however long it takes; False when this gives up: the server stops."""
        rows = [encode(turn.entries) for turn in turns if turn.entries]
        while True:
            try:
                if rows:
                    self._store.append(rows)
                    self.journal_bytes += sum(len(data) for data, _ in rows)
            except (sqlite3.Error, OSError) as err:
                if not self._failed(err):
                    return False
            else:
                self._went_well()
                return True

    def _failed(self, err: Exception) -> bool:
        """Note a failure and wait for the next attempt; False: give up, the server stops."""
        if not self.failing:
            self.failing = str(err)
            self._trouble(self.failing)
        self._ballast.unlink(missing_ok=True)
        return not self._closing.wait(_RETRY_S)

    def _went_well(self) -> None:
        if self.failing and self._fill_ballast():
            self.failing = ""
            self._trouble("")

    def _fill_ballast(self) -> bool:
        """Take room for bad times; False when there is none."""
        return _fill(self._ballast)


def _fill(path: Path) -> bool:
    if path.exists() and path.stat().st_size >= BALLAST_BYTES:
        return True
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
            else:
                os.write(descriptor, bytes(BALLAST_BYTES))
        finally:
            os.close(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        return False
    return True
