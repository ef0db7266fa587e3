"""Compaction: a process beside the server that writes the state as a shorter journal, a *snapshot*.

    python -m mpserve.engines.journal.compact FOLDER NUMBER

It reads what the server does not write to any more (the snapshot before, and the journals before NUMBER),
makes the state of it, and writes that as `snapshot-NUMBER.db`. The server goes on meanwhile, on another core,
and afterwards deletes what the snapshot replaces. So the server never pauses, and what compaction costs is
spread over the changes that made the journal long.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from mpserve.core.calls import Session
from mpserve.core.machine import chunks
from mpserve.engines.base import StoreError
from mpserve.engines.journal.answers import answer_of
from mpserve.engines.journal.codec import Answer, Entry, Row, encode
from mpserve.engines.journal.restore import Restorer
from mpserve.engines.journal.store import Store, open_file, pieces, read_meta, snapshot_path, state_files
from mpshared.interpreters import module_command

if TYPE_CHECKING:
    from mpserve.engines.journal.commit import Job

__all__ = ["ROW_ENTRIES", "Compactor", "entries_of", "write_snapshot", "write_state"]

LEAST_BYTES: Final = 64 << 20
"""A journal of large values below this is read within a second: not worth the work."""
LEAST_CHANGES: Final = 100_000
"""So many changes, however small, take one to three seconds to read, for which a restart lasts longer."""
CHANGE_BYTES: Final = 80
"""What a small one takes: by it changes are compared with a snapshot, which has few of them, and large."""
ROW_ENTRIES: Final = 256
"""Entries in a row, where there are many."""


def entries_of(restorer: Restorer) -> Iterator[Entry]:
    """Yield the shortest journal that makes the same state."""
    for session in restorer.sessions.values():
        yield "", "began", (session.id, session.secret, asdict(session.info))
        for number, expired in session.expired_lanes.items():
            yield "", "lane_expired", (session.id, number, *expired)
    for session_id, ended in restorer.catalogue.sessions.ended.items():
        yield "", "ended", (session_id, *ended)
    for verb, args in restorer.catalogue.rebuild():
        yield "", verb, args
    for ident, machine in restorer.catalogue.objects.items():
        for verb, args in machine.rebuild():
            yield ident, verb, args
    for session in restorer.sessions.values():
        yield from _answers(session)
    yield from _places(restorer)


def _answers(session: Session) -> Iterator[Answer]:
    for lane in session.lanes.values():
        for call in lane.unsettled:
            yield answer_of(call)


def _places(restorer: Restorer) -> Iterator[Entry]:
    lanes = [lane for session in restorer.sessions.values() for lane in session.lanes.values()]
    for lane in sorted(lanes, key=lambda lane: lane.place[1]):
        if lane.place[0]:
            yield "", "parked", (lane.session.id, lane.number, lane.place[0])


def write_snapshot(folder: Path, number: int) -> None:
    """Write the state before journal `number`.

    Raises:
        ValueError: What is to be read is damaged; nothing is written.
    """
    files = state_files(folder, before=number)
    restorer = Restorer()
    restorer.read(files)
    if restorer.damage:
        raise ValueError("; ".join(restorer.damage))
    write_state(restorer, snapshot_path(folder, number), read_meta(files[-1]))


def write_state(restorer: Restorer, path: Path, server: tuple[str, str]) -> None:
    """Write a snapshot, which is there as a whole or not at all.

    Raises:
        sqlite3.Error, OSError: It could not be written.
    """
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with closing(open_file(part, "off", server)) as file:
        file.execute("BEGIN")
        for row in pieces(rows_of(restorer)):
            file.execute("INSERT INTO rows (data, checksum) VALUES (?, ?)", row)
        file.execute("COMMIT")
    _sync(part)
    part.rename(path)
    _sync(path.parent)


def rows_of(restorer: Restorer) -> Iterator[Row]:
    """Return the rows of a snapshot."""
    return map(encode, chunks(entries_of(restorer), ROW_ENTRIES))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Compactor:
    """Has the journal go on in a new file and starts the process, when it is worth it; in a thread.

    Args:
        store: The folder.
        put: Has a job done by the commit thread, between two transactions.
        trouble: Is told why one failed, in any thread. The next is tried when it is due again.
    """

    def __init__(self, store: Store, put: Callable[[Job], None], trouble: Callable[[str], None]) -> None:
        self._store = store
        self._put = put
        self._trouble = trouble
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._snapshot_bytes = _snapshot_bytes(store.folder)
        self.busy = False

    def is_due(self, journal_bytes: int, changes: int) -> bool:
        """Tell whether so much journal should become a snapshot: when it is as long as the state is large."""
        state = self._snapshot_bytes
        return not (self.busy or self._closing) and (
            journal_bytes > max(LEAST_BYTES, state) or changes > max(LEAST_CHANGES, state // CHANGE_BYTES)
        )

    def start(self) -> None:
        """Have the state up to now written."""
        self.busy = True
        try:
            threading.Thread(target=self._run, name="mpserve-compact", daemon=True).start()
        except RuntimeError as err:  # the system gives none
            self.busy = False
            self._trouble(str(err))

    def _run(self) -> None:
        try:
            number = self._turn_to_next()
            self._make_snapshot(number)
            self._store.adopt_snapshot(number)
            self._snapshot_bytes = _snapshot_bytes(self._store.folder)
        except (OSError, RuntimeError, sqlite3.Error, StoreError) as err:
            if not self._closing:
                self._trouble(str(err))
        finally:
            self.busy = False

    def _turn_to_next(self) -> int:
        """Have a new file written to; return its number once the one before is closed."""
        following = self._store.make_next()
        turned: SimpleQueue[tuple[sqlite3.Connection, int]] = SimpleQueue()
        self._put(lambda store: turned.put((store.turn_to(following), store.number)))
        before, number = turned.get()
        before.close()
        return number

    def _make_snapshot(self, number: int) -> None:
        """Run the process.

        Raises:
            StoreError: It failed.
        """
        folder = str(self._store.folder)
        command = module_command("mpserve.engines.journal.compact", folder, str(number))
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if self._closing:  # `close` came before there was anything to end
            self._process.kill()
        _, said = self._process.communicate()
        if self._process.returncode:
            raise StoreError(said.decode("utf-8", "replace").strip().rpartition("\n")[2])

    def close(self) -> None:
        """End the process: what it has written of a snapshot is cleared at the next start."""
        self._closing = True
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()


def _snapshot_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("snapshot-*.db"))


def main() -> int:
    """Write one snapshot; return the exit code."""
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    with suppress(OSError):
        os.nice(10)
    try:
        write_snapshot(folder, number)
    except (OSError, sqlite3.Error, ValueError) as err:
        sys.stderr.write(f"{err}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
