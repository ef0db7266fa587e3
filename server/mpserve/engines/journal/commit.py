"""Commits: by the loop itself while the disk is quick, else by the commit thread, which writes many turns at
once when it is behind.

    loop: write_at_once(turn) --> one transaction --> answered in the same turn
    loop: put(turn) --> waiting --take all--> one transaction --> loop: done(turns), in order

RULES
* Turns are written in the order in which they came, and told done in that order: none is written at once
  while the thread has one that came before.
* To hand a turn over and back wakes two threads up, which takes longer than a quick disk. So a small turn is
  written at once while commits have taken less than `QUICK_S` on the average, and the thread is left what is
  large, what is tried again, and every turn of a slow disk.
* What cannot be written stays first in line and is tried again: its answers wait, and so does everything
  behind it. `failing` says why meanwhile, so that nothing new is accepted that would have to wait as well.
* A value that is larger than what the disk has left would keep all others waiting until somebody makes room.
  So whoever accepts a large one asks first (`has_room`), and tells what it has accepted (`Turn.large_bytes`).
* A file that somebody has removed can be written to for years, and nobody will ever read it. So it is looked
  for, in each second in which something is written; where it is not, `failing` says so from then on.
* `BALLAST_BYTES` of the disk are kept by a file that is given up when the disk is full, so that what has been
  accepted can be written; it is taken back before new changes are accepted.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from mpserve.engines.journal.codec import Entry, Row, encode, encode_sparingly
from mpserve.engines.journal.store import Store, is_full

if TYPE_CHECKING:
    from mpserve.core.calls import Call

__all__ = [
    "AT_ONCE_BYTES",
    "BALLAST_BYTES",
    "HUNG_S",
    "LARGE_BYTES",
    "LOOK_S",
    "MAKE_ROOM",
    "NO_MEMORY",
    "QUICK_S",
    "Committer",
    "Job",
    "Turn",
]

BALLAST_BYTES: Final = 16 << 20
"""Room for what is accepted before the disk is known to be full: a loop's turn reads up to a few MiB."""
QUICK_S: Final = 0.001
"""Commits that take less, on the average, hold up who waits for none no longer than a long turn does."""
LARGE_BYTES: Final = 64 << 10
"""Values together, in a call, from which on it is asked whether the disk has room. What many have below fits
into the ballast."""
MARGIN_BYTES: Final = 1 << 20
"""What is left for what others write meanwhile, and for SQLite's pages."""
AT_ONCE_BYTES: Final = 8 << 10
"""Rows above go to the thread: while the disk has these, the loop has better to do."""
_AVERAGED: Final = 8
"""Commits in the average."""
_SLOW_S: Final = 2 * QUICK_S
"""What a slow one counts for: one alone does not decide."""
HUNG_S: Final = 0.05
"""One that takes longer decides alone: the next one may take as long."""
LOOK_S: Final = 1.0
"""How long what is written may go to a file that was removed."""
NO_MEMORY: Final = "out of memory; give the server more"
"""Why a row cannot be made, not even in pieces."""
MAKE_ROOM: Final = "make room on the disk of --data"
_SEE: Final = "see to the folder of --data"
_RETRY_S: Final = 0.25
_STOP_S: Final = 10.0


class Turn(NamedTuple):
    """What changed in one turn of the loop, and the calls whose answers wait for it."""

    entries: list[Entry]
    calls: list[Call]
    then: Sequence[Callable[[], None]] = ()
    """What else waits for it."""
    row: Row | None = None
    """The entries, encoded, if they are already."""
    large_bytes: int = 0
    """What large values have in it."""

    def encoded(self) -> Row:
        """Return data and checksum."""
        return self.row or encode(self.entries)


Done: TypeAlias = Callable[[list[Turn]], None]
Job: TypeAlias = Callable[[Store], None]


class Committer(threading.Thread):
    """See the file's beginning.

    Args:
        store: Where to; nobody else uses it once the thread runs.
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
        self._using = threading.Lock()
        """Who has it may use the store; the loop never waits for it."""
        self._average_s = 0.0
        """What a commit took lately."""
        self.stood_s = 0.0
        """How long the last `write_at_once` took, whatever came of it."""
        self._closing = threading.Event()
        self.complete = True
        """All that was put is written; told when the thread is not running."""
        self._look_due_s = perf_counter()
        self._ballast = store.folder / "ballast"
        self.journal_bytes = store.size_bytes()
        """What was written since the last snapshot."""
        self.failing = ""
        """Why nothing can be written at the moment, and what to do."""
        if not _fill(self._ballast):
            self._begin_failing(f"less than {BALLAST_BYTES >> 20}M are free on its disk; {MAKE_ROOM}")

    @property
    def is_quick(self) -> bool:
        """Tell whether a small turn may be written at once."""
        return self._average_s < QUICK_S and not self.failing

    def write_at_once(self, turn: Turn) -> Turn | None:
        """Write a turn in the caller's thread; return what is left to do: nothing, or the turn, for `put`.

        Only while no turn that was put waits. What the disk refuses is left to the thread: it tries again.
        """
        if not self._using.acquire(blocking=False):
            self.stood_s = 0.0
            return turn
        begun_s = perf_counter()
        try:
            row = turn.encoded()
            turn = turn._replace(row=row)
            if len(row[0]) > AT_ONCE_BYTES:
                self._note(_SLOW_S)
                return turn
            self._append([row])
        except Exception:  # noqa: BLE001 - the thread meets it again, and what is behind it waits
            return turn
        finally:
            self._using.release()
            self.stood_s = perf_counter() - begun_s
        return None

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether the disk has room for so much, and for the rows' heads. Cost: a system call."""
        return _has_room(self._store.folder, size_bytes + (size_bytes >> 6) + MARGIN_BYTES)

    def put(self, work: Turn | Job) -> None:
        """Have a turn written, or a job done between two transactions, after all that was put before."""
        self._waiting.put(work)

    def look_again(self) -> None:
        """Have the thread look whether it can write again, when it has nothing else to do."""
        if self._waiting.empty():
            self._waiting.put(lambda _: self._went_well())

    def close(self) -> bool:
        """Write what waits and stop; returns whether all was written, within `_STOP_S` seconds."""
        self._closing.set()
        self._waiting.put(None)
        self.join(_STOP_S)
        return self.complete

    # -- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Write until `close`. Should a mistake of ours end this, changes are refused from then on."""
        self.complete = False
        try:
            self._write_all()
        except Exception as err:
            self.failing = f"by a mistake in mpserve: {err!r}; please report it"
            self._trouble(self.failing)
            raise

    def _write_all(self) -> None:
        while work := self._take():
            with self._using:
                written = self._do(work)
            if not written:
                return
            if isinstance(work, list):
                self._done(work)
        self.complete = True

    def _do(self, work: list[Turn] | Job) -> bool:
        """Do what was taken; False: it cannot be done, and the server stops."""
        if isinstance(work, list):
            return self._write(work)
        work(self._store)
        return True

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
        while True:
            try:
                self._append_turns([turn for turn in turns if turn.entries])
            except (sqlite3.Error, OSError, MemoryError) as err:
                if not self._failed(err):
                    return False
            else:
                self._went_well()
                return True

    def _append_turns(self, turns: list[Turn]) -> None:
        try:
            if turns:
                self._append([turn.encoded() for turn in turns])
        except MemoryError:
            rows = (row for turn in turns for row in encode_sparingly(turn.entries))
            self._store.append_one_by_one(rows)
            with suppress(OSError, MemoryError):  # they are written: see `_append`
                self.journal_bytes = self._store.size_bytes()

    def _append(self, rows: list[Row]) -> None:
        size_bytes = sum(len(data) for data, _ in rows)
        begun_s = perf_counter()
        try:
            self._store.append(rows)
        finally:
            self._note(perf_counter() - begun_s if size_bytes <= AT_ONCE_BYTES else _SLOW_S)
        self.journal_bytes += size_bytes
        if begun_s >= self._look_due_s:
            self._look_due_s = begun_s + LOOK_S
            with suppress(MemoryError):  # they are written: whatever was raised now would have it done again
                self._look()

    def _look(self) -> bool:
        """Tell whether what is written is where a server would look for it; if not, others hear of it."""
        try:
            self._store.look()
        except OSError as err:
            self._begin_failing(f"{err}; {_SEE}")
            return False
        return True

    def _begin_failing(self, why: str) -> None:
        if not self.failing:
            self.failing = why
            self._trouble(why)

    def _note(self, took_s: float) -> None:
        if took_s > HUNG_S:
            self._average_s = _SLOW_S
        else:
            self._average_s += (min(took_s, _SLOW_S) - self._average_s) / _AVERAGED

    def _failed(self, err: Exception) -> bool:
        """Note a failure and wait for the next attempt; False: give up, the server stops."""
        why = f"{err}; {MAKE_ROOM if is_full(err) else _SEE}"
        self._begin_failing(NO_MEMORY if isinstance(err, MemoryError) else why)
        with suppress(OSError):  # the folder may be gone, or read-only
            self._ballast.unlink(missing_ok=True)
        return not self._closing.wait(_RETRY_S)

    def _went_well(self) -> None:
        if self.failing and self._look() and _fill(self._ballast):
            self.failing = ""
            self._trouble("")


def _fill(path: Path) -> bool:
    """Take room for bad times; False when there is none: then not even for a moment."""
    if path.exists() and path.stat().st_size >= BALLAST_BYTES:
        return True
    if not _has_room(path.parent, BALLAST_BYTES):
        return False
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


def _has_room(folder: Path, size_bytes: int) -> bool:
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):  # removed: the next commit says so; or this system has no such call
        return True
    return size_bytes <= found.f_bavail * found.f_frsize
