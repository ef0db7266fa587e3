"""The folder of a journal: who may use it, which files there are, rows in and rows out.

    FOLDER/lock                one server at a time (flock; its text says who)
    FOLDER/journal-000001.db   SQLite: rows of turns, in order; the last file is the one written to
    FOLDER/snapshot-000002.db  the state before journal-000002, as rows; what is older is not needed any more
    FOLDER/damaged-…           files that could not be read to their end, for people to look at

RULES
* A file has `meta` (format, server, epoch) and `rows` (seq, checksum, data). A row of more than `PIECE_BYTES`
  is several of SQLite's, which takes a gigabyte at most: all but the last have `CONTINUES` as checksum.
* A snapshot is written under another name, synced, and renamed when it is whole. Files that it replaces are
  deleted afterwards; what a crash leaves of either is cleared at the next start.
* Where a file is damaged, what comes behind cannot be read. So a server that recovers what stands before it
  first writes that as a snapshot, and goes on behind this one.
* `--sync full` (the default): each commit is on the disk when it returns. `normal`: on its way there; a
  killed process loses nothing, a power cut may lose the last moments.
* What the commit thread waits for is small, as all answers wait for it: SQLite moves its log into the file in
  parts of `CHECKPOINT_PAGES`, and files are made, closed and deleted by others.

Sources: SQLite's pages on WAL, on `synchronous`, and on atomic commit.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from typing import Final, Literal, TypeAlias

from mpserve.engines.base import StoreError
from mpserve.engines.journal.codec import CONTINUES, Row

__all__ = [
    "FORMAT",
    "InUse",
    "NotAJournal",
    "Store",
    "Sync",
    "is_full",
    "open_file",
    "pieces",
    "read_meta",
    "read_rows",
    "snapshot_path",
    "state_files",
]

FORMAT: Final = 1
Sync: TypeAlias = Literal["full", "normal", "off"]
"""off: for files that are synced as a whole when they are complete."""

PIECE_BYTES: Final = 64 << 20
CHECKPOINT_PAGES: Final = 256
"""1 MiB. Answers wait for a checkpoint; SQLite's usual 1000 pages take up to tens of milliseconds."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
DAMAGED: Final = "damaged-"
"""How the names of files begin that could not be read to their end."""
_SUFFIXES: Final = ("", "-wal", "-shm")
_NAME: Final = re.compile(r"(journal|snapshot)-(\d{6,})\.db")
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS rows (seq INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, data BLOB)",
)
_INSERTS: Final = tuple(
    "INSERT INTO rows (data, checksum) VALUES (?, ?)" + ", (?, ?)" * n  # noqa: S608 - nothing from outside
    for n in range(16)
)
"""For one row, for two, …"""


class InUse(StoreError):
    """Another server uses it."""


class NotAJournal(StoreError):
    """A file there is not ours, or of another version."""


class Store:
    """One server's hold on its folder.

    Args:
        folder: Made if need be.
        sync: See above.
        server: Id and epoch of a server that begins here; an older one's are kept.

    Raises:
        InUse, NotAJournal, StoreError: See there.
    """

    def __init__(self, folder: Path, sync: Sync, server: tuple[str, str]) -> None:
        self.folder = folder
        self._sync = sync
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _lock(folder)
        except OSError as err:
            way_out = "make room there" if is_full(err) else "name another --data"
            why = "it is no folder" if isinstance(err, FileExistsError) else err.strerror
            raise StoreError(f"{folder} cannot be used for data: {why}; {way_out}") from None
        try:
            self._clear_leftovers()
            numbers = self.journals()
            self.number = numbers[-1] if numbers else 1
            self._file = self._open(self.number, server)
            self.server, self.epoch = _meta(self._file, "server"), _meta(self._file, "epoch")
            self._identity = self._identity_now()
        except BaseException:
            os.close(self._lock)
            raise

    # -- files -----------------------------------------------------------------------------------

    def journals(self) -> list[int]:
        """Return the numbers of the journal files, ascending."""
        return _numbers(self.folder, "journal")

    def size_bytes(self) -> int:
        """Return how much the journal files take, without the snapshot's."""
        base = max(_numbers(self.folder, "snapshot"), default=0)
        files = [_path(self.folder, "journal", n) for n in self.journals() if n >= base]
        return sum(path.stat().st_size for path in files if path.exists())

    def make_next(self) -> sqlite3.Connection:
        """Make the next journal file, which is empty; in any thread: it takes syncs.

        Raises:
            OSError: See `look`: another server may have begun in a folder that is there anew.
            sqlite3.Error: It cannot be made.
        """
        self.look()
        return self._open(self.number + 1, (self.server, self.epoch))

    def turn_to(self, following: sqlite3.Connection) -> sqlite3.Connection:
        """Write to the next file from now on; return the one before, to be closed: it changes no more."""
        before, self._file = self._file, following
        self.number += 1
        self._identity = self._identity_now()
        return before

    def look(self) -> None:
        """Look whether the file that is written to is still found by its name. Cost: one system call.

        Raises:
            OSError: It was removed, moved or replaced: what is written now, no server would ever read.
        """
        found = self._identity_now()
        if found is None or found != self._identity:
            path = _path(self.folder, "journal", self.number)
            raise OSError(f"{path} was removed or replaced while it was written to")

    def _identity_now(self) -> tuple[int, int] | None:
        try:
            status = _path(self.folder, "journal", self.number).stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def set_aside(self) -> None:
        """Go on in a new file, behind a snapshot that is there already; keep the older ones as `DAMAGED`."""
        self.turn_to(self.make_next()).close()
        for path in self._before(self.number):
            for suffix in _SUFFIXES:
                with suppress(FileNotFoundError):
                    Path(f"{path}{suffix}").rename(self.folder / f"{DAMAGED}{path.name}{suffix}")

    def adopt_snapshot(self, number: int) -> None:
        """Delete what the snapshot before journal `number` replaces."""
        for path in self._before(number):
            _delete(path)

    def _before(self, number: int) -> list[Path]:
        """Return the files that hold what was before journal `number`."""
        kinds = ("journal", "snapshot")
        return [
            _path(self.folder, kind, n) for kind in kinds for n in _numbers(self.folder, kind) if n < number
        ]

    def _clear_leftovers(self) -> None:
        for path in self.folder.glob("*.part*"):
            path.unlink()
        snapshots = _numbers(self.folder, "snapshot")
        if snapshots:
            self.adopt_snapshot(snapshots[-1])

    def _open(self, number: int, server: tuple[str, str]) -> sqlite3.Connection:
        return open_file(_path(self.folder, "journal", number), self._sync, server)

    # -- rows ------------------------------------------------------------------------------------

    def append(self, rows: Iterable[Row]) -> None:
        """Write (data, checksum) rows in one transaction; on return they are durable.

        Raises:
            sqlite3.Error: Nothing of it was written; a full disk, for one.
        """
        file, rows = self._file, [*pieces(rows)]
        if 0 < len(rows) <= len(_INSERTS):  # one statement: each waits for the GIL anew
            file.execute(_INSERTS[len(rows) - 1], tuple(chain.from_iterable(rows)))
        else:
            self.append_one_by_one(rows)

    def append_one_by_one(self, rows: Iterable[Row]) -> None:
        """Do the same, with one row at a time in memory; none of `PIECE_BYTES`."""
        file = self._file
        file.execute("BEGIN IMMEDIATE")
        try:
            file.executemany(_INSERTS[0], rows)
            file.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                file.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()
        os.close(self._lock)


def is_full(err: Exception) -> bool:
    """Tell whether an error of the system's, or of SQLite's, says that the disk is full."""
    return getattr(err, "errno", 0) in _FULL or getattr(err, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL


def open_file(path: Path, sync: Sync, server: tuple[str, str]) -> sqlite3.Connection:
    """Open or make one file of a journal.

    Raises:
        NotAJournal: It is something else.
        StoreError: The disk does not let it be opened.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would leave the mode to the umask
        file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(file, path, sync, server)
        except BaseException:
            file.close()
            raise
    except (sqlite3.OperationalError, OSError) as err:
        way_out = "make room there" if is_full(err) else "see whether its disk is full, or may only be read"
        raise StoreError(
            f"{path} cannot be opened to be written ({err}): {way_out}; what it holds is untouched"
        ) from None
    except sqlite3.DatabaseError as err:
        raise NotAJournal(
            f"{path} is no journal of mpserve's, or damaged all over ({err}); put a copy of the folder "
            "in its place, or name another --data"
        ) from None
    return file


def _prepare(file: sqlite3.Connection, path: Path, sync: Sync, server: tuple[str, str]) -> None:
    """Set a file up, and see whether it is ours."""
    file.execute("PRAGMA journal_mode=" + ("OFF" if sync == "off" else "WAL"))
    file.execute(f"PRAGMA synchronous={sync.upper()}")
    file.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    for statement in _SCHEMA:
        file.execute(statement)
    known = {"format": str(FORMAT), "server": server[0], "epoch": server[1]}
    file.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", known.items())
    found = _meta(file, "format")
    if found != str(FORMAT):
        raise NotAJournal(
            f"{path} has format {found}, this version reads {FORMAT}; use the version that wrote it"
        )


def state_files(folder: Path, before: int | None = None) -> list[Path]:
    """Return the files that hold the state of a folder, in the order in which they are to be read.

    Args:
        folder: The journal's.
        before: Only up to the beginning of this journal.
    """
    base = max(_numbers(folder, "snapshot"), default=0)
    numbers = [n for n in _numbers(folder, "journal") if n >= base and (before is None or n < before)]
    found = [_path(folder, "snapshot", base)] if base else []
    return found + [_path(folder, "journal", number) for number in numbers]


def read_meta(path: Path) -> tuple[str, str]:
    """Return the server's id and epoch that a file names."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        return _meta(file, "server"), _meta(file, "epoch")


def snapshot_path(folder: Path, number: int) -> Path:
    """Return where the snapshot before journal `number` lies."""
    return _path(folder, "snapshot", number)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield a file's rows in order.

    Raises:
        sqlite3.DatabaseError: The file is damaged from here on.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        begun: list[bytes] = []
        for data, checksum in file.execute("SELECT data, checksum FROM rows ORDER BY seq"):
            begun.append(data)
            if checksum != CONTINUES:
                yield (b"".join(begun) if len(begun) > 1 else data), checksum
                begun.clear()


def pieces(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield (data, checksum) rows as SQLite takes them."""
    for data, checksum in rows:
        last = 0
        while len(data) - last > PIECE_BYTES:
            yield data[last : last + PIECE_BYTES], CONTINUES
            last += PIECE_BYTES
        yield (data[last:] if last else data), checksum


def _numbers(folder: Path, kind: str) -> list[int]:
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match[2]) for match in found if match is not None and match[1] == kind)


def _path(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number:06}.db"


def _delete(path: Path) -> None:
    for suffix in _SUFFIXES:
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _meta(file: sqlite3.Connection, name: str) -> str:
    row = file.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return "" if row is None else str(row[0])


def _lock(folder: Path) -> int:
    """Take the folder for this process; return the descriptor that holds it."""
    import fcntl  # noqa: PLC0415 - a server without --data needs none

    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 100).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise InUse(
            f"{folder} is in use by another server (process {holder}); stop that one, or name another --data"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
