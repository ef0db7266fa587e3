"""`mpserve check`, `export` and `import`: what is in a folder of --data, without a server.

What goes wrong is one line on standard error and an exit code of `mpshared.exit_codes`; never a traceback.
"""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

from mpserve.engines.base import StoreError
from mpserve.engines.journal.codec import Damaged, Entry, encode
from mpserve.engines.journal.compact import entries_of
from mpserve.engines.journal.portable import NoExport, from_lines, to_lines
from mpserve.engines.journal.restore import Restorer
from mpserve.engines.journal.store import Store, read_meta, state_files
from mpshared.command import fail, say
from mpshared.exit_codes import ExitCode
from mpshared.units import format_size

__all__ = ["check", "export", "import_"]

_ROW_ENTRIES = 256
_end = partial(fail, "mpserve")


def check(folder: Path) -> int:
    """Read everything; say what is there, and what is damaged."""
    with _reading(folder) as files:
        restorer = Restorer()
        restorer.read(files)
    kinds = Counter(machine.kind for machine in restorer.catalogue.objects.values())
    size_bytes = sum(path.stat().st_size for path in files)
    say(f"{folder}: {len(files)} files, {format_size(size_bytes)} bytes, {restorer.entries:,} changes")
    say(f"{len(restorer.sessions)} sessions, {kinds.total()} objects" + _listed(kinds))
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
        lines = to_lines(read_meta(files[-1]), entries_of(restorer))
        if file is None:
            _write(sys.stdout, lines)
        else:
            with file.open("x", encoding="utf-8") as opened:
                _write(opened, lines)
    return ExitCode.OK


def _write(out: TextIO, lines: Iterable[str]) -> None:
    out.writelines(f"{line}\n" for line in lines)
    out.flush()


def import_(file: Path, folder: Path) -> int:
    """Make a folder of an export, for a server that is then started with it."""
    if folder.exists() and any(folder.iterdir()):
        _end(ExitCode.USAGE, f"{folder} is not empty: an import makes a new folder; name another")
    with _troubles(folder), file.open(encoding="utf-8") as lines:
        server, entries = from_lines(lines)
        store = Store(folder, "full", server)
        try:
            count = _fill(store, entries)
        finally:
            store.close()
    say(f"{folder}: {count:,} changes; start it: mpserve start --data {folder}")
    return ExitCode.OK


def _fill(store: Store, entries: Iterator[Entry]) -> int:
    """Write the entries, once all of them have been carried out: an export that is none leaves no state."""
    restorer, rows, batch = Restorer(), [], []
    for entry in entries:
        batch.append(entry)
        if len(batch) == _ROW_ENTRIES:
            restorer.apply(batch)
            rows.append(encode(batch))
            batch = []
    restorer.apply(batch)
    store.append([*rows, encode(batch)])
    return restorer.entries


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
def _troubles(folder: Path) -> Iterator[None]:
    """Turn what can go wrong into one line and an exit code."""
    try:
        yield
    except StoreError as err:
        _end(ExitCode.NO_DATA, str(err))
    except (NoExport, Damaged) as err:
        _end(ExitCode.NO_DATA, f"the export cannot be used: {err}")
    except OSError as err:
        _end(ExitCode.FAILED, f"{err.filename or folder}: {err.strerror or err}")
    except sqlite3.Error as err:
        _end(ExitCode.NO_DATA, f"{folder}: {err}")
