"""`mpserve check`, `export` and `import`: what is in a folder of --data, without a server.

What goes wrong is one line on standard error and an exit code of `mpshared.exit_codes`; never a traceback.
"""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TextIO

from mpserve.cli.tables import plural
from mpserve.core.machine import chunks
from mpserve.engines.base import StoreError
from mpserve.engines.journal.codec import Damaged, Entry, Row, encode
from mpserve.engines.journal.compact import ROW_ENTRIES, entries_of
from mpserve.engines.journal.portable import NoExport, from_lines, to_lines
from mpserve.engines.journal.restore import Restorer
from mpserve.engines.journal.store import InUse, NotAJournal, Store, is_full, read_meta, state_files
from mpshared.command import fail, say
from mpshared.exit_codes import ExitCode
from mpshared.units import format_size

__all__ = ["check", "export", "import_"]

_end = partial(fail, "mpserve")


def check(folder: Path) -> int:
    """Read everything; say what is there, and what is damaged."""
    with _reading(folder) as files:
        restorer = Restorer()
        restorer.read(files)
    kinds = Counter(machine.kind for machine in restorer.catalogue.objects.values())
    size_bytes = sum(path.stat().st_size for path in files)
    held = f"{plural(len(files), 'file')}, {format_size(size_bytes)} bytes"
    say(f"{folder}: {held}, {restorer.entries:,} changes")
    say(f"{plural(len(restorer.sessions), 'session')}, {plural(kinds.total(), 'object')}" + _listed(kinds))
    for damage in restorer.damage:
        _end(ExitCode.NO_DATA, damage)
    say("nothing is damaged")
    return ExitCode.OK


def _listed(kinds: Counter[str]) -> str:
    return "".join(f"{', ' if i else ': '}{n} {kind}" for i, (kind, n) in enumerate(sorted(kinds.items())))


def export(folder: Path, file: Path | None) -> int:
    """Write the state as lines of JSON, to standard output if no file is named."""
    with _reading(folder) as files:
        restorer = Restorer()
        restorer.read(files)
        if restorer.damage:
            _end(ExitCode.NO_DATA, f"{restorer.damage[0]}; see `mpserve check {folder}`")
        meta = read_meta(files[-1])
    with _troubles(file or "standard output"):
        _write(file, to_lines(meta, entries_of(restorer)))
    return ExitCode.OK


def _write(file: Path | None, lines: Iterable[str]) -> None:
    with nullcontext(sys.stdout) if file is None else _new(file) as out:
        out.writelines(f"{line}\n" for line in lines)
        out.flush()


@contextmanager
def _new(file: Path) -> Iterator[TextIO]:
    """Make a file that is there as a whole or not at all."""
    with file.open("x", encoding="utf-8") as out:
        try:
            yield out
        except BaseException:
            file.unlink()
            raise


def import_(file: Path, folder: Path) -> int:
    """Make a folder of an export, for a server that is then started with it."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        _end(ExitCode.USAGE, f"{folder} is not an empty folder: an import makes a new one; name another")
    with _troubles(folder), file.open(encoding="utf-8") as lines:
        server, entries = from_lines(lines)
        rows, count = _carried_out(entries)  # before there is a folder: an export that is none leaves nothing
        with _nothing_left(folder), closing(Store(folder, "full", server)) as store:
            store.append(rows)
    say(f"{folder}: {count:,} changes; start it: mpserve start --data {folder}")
    return ExitCode.OK


def _carried_out(entries: Iterator[Entry]) -> tuple[list[Row], int]:
    """Return the rows of a journal that has these entries, and how many they are."""
    restorer, rows = Restorer(), []
    for batch in chunks(entries, ROW_ENTRIES):
        restorer.apply(batch)
        rows.append(encode(batch))
    return rows, restorer.entries


@contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Leave a new or empty folder as it was if it cannot be filled: the disk is full."""
    was_there = folder.exists()
    try:
        yield
    except (InUse, NotAJournal):
        raise  # somebody else has begun to use it
    except BaseException:
        for path in folder.glob("*"):
            path.unlink()
        if not was_there and folder.exists():
            folder.rmdir()
        raise


@contextmanager
def _reading(folder: Path) -> Iterator[list[Path]]:
    """Hold the folder, so that no server changes it meanwhile, and give its files."""
    if not folder.is_dir() or not state_files(folder):
        _end(ExitCode.NO_DATA, f"{folder} holds no data of a server: there is no journal in it")
    with _troubles(folder):
        store = Store(folder, "full", ("", ""))
        try:
            yield state_files(folder)
        finally:
            store.close()


@contextmanager
def _troubles(where: Path | str) -> Iterator[None]:
    """Turn what can go wrong into one line and an exit code; `where` is named if the system names nothing."""
    try:
        yield
    except BrokenPipeError:  # nobody reads any more: no trouble, `guard` knows
        raise
    except StoreError as err:
        _end(ExitCode.NO_DATA, str(err))
    except (NoExport, Damaged) as err:
        _end(ExitCode.NO_DATA, f"the export cannot be used: {err}")
    except UnicodeDecodeError:
        _end(ExitCode.NO_DATA, "the export cannot be used: it is no text in UTF-8")
    except OSError as err:
        way_out = "make room there" if is_full(err) else "name another one, or see who may use it"
        _end(ExitCode.FAILED, f"{err.filename or where} cannot be used ({err.strerror or err}); {way_out}")
    except sqlite3.Error as err:
        way_out = "make room there" if is_full(err) else "see to its disk, or use a copy"
        _end(ExitCode.NO_DATA, f"{where} cannot be used ({err}); {way_out}")
