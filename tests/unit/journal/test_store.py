"""The folder of a journal."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys

import pytest

from mpserve.engines.base import StoreError
from mpserve.engines.journal.store import (
    InUse,
    NotAJournal,
    Store,
    read_rows,
    snapshot_path,
    state_files,
)

SERVER = ("server", "epoch")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def rows(folder):
    return [row for path in state_files(folder) for row in read_rows(path)]


def test_rows_come_back_in_order(folder):
    store = Store(folder, "full", SERVER)
    store.append([(b"a", 1), (b"b", 2)])
    store.append([(b"c", 3)])
    store.close()
    assert rows(folder) == [(b"a", 1), (b"b", 2), (b"c", 3)]


def test_the_first_server_names_the_state(folder):
    Store(folder, "full", SERVER).close()
    again = Store(folder, "full", ("other", "later"))
    assert (again.server, again.epoch) == SERVER
    again.close()


def test_a_second_server_is_refused(folder):
    first = Store(folder, "full", SERVER)
    with pytest.raises(InUse, match=rf"in use by another server \(process {os.getpid()}\)"):
        Store(folder, "full", SERVER)
    first.close()
    Store(folder, "full", SERVER).close()


def test_a_killed_server_leaves_the_folder_free(folder):
    program = f"""
import os, pathlib
from mpserve.engines.journal.store import Store
store = Store(pathlib.Path({str(folder)!r}), "full", ("server", "epoch"))
store.append([(b"a", 1)])
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], check=False, timeout=30)
    Store(folder, "full", SERVER).close()
    assert rows(folder) == [(b"a", 1)]


def test_only_its_user_may_read_it(folder):
    store = Store(folder, "full", SERVER)
    store.append([(b"a", 1)])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    store.close()


def test_a_file_that_is_something_else_is_refused(folder):
    folder.mkdir()
    (folder / "journal-000001.db").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(NotAJournal, match=r"journal-000001\.db is no journal of mpserve's"):
        Store(folder, "full", SERVER)


def test_a_newer_format_is_refused(folder):
    Store(folder, "full", SERVER).close()
    file = sqlite3.connect(folder / "journal-000001.db", isolation_level=None)
    file.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    file.close()
    with pytest.raises(NotAJournal, match="has format 99, this version reads 1"):
        Store(folder, "full", SERVER)


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be used for data"):
        Store(tmp_path / "file", "full", SERVER)


def test_a_file_that_the_disk_has_no_room_for_is_told_from_one_that_cannot_be_used(folder, monkeypatch):
    def prepare(*_):
        raise error

    monkeypatch.setattr("mpserve.engines.journal.store._prepare", prepare)
    error = sqlite3.OperationalError("disk I/O error")
    with pytest.raises(StoreError, match="see whether its disk is full, or may only be read"):
        Store(folder, "full", SERVER)
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    with pytest.raises(StoreError, match="disk is full\\): make room there; what it holds is untouched"):
        Store(folder, "full", SERVER)


def test_a_snapshot_replaces_what_came_before(folder):
    store = Store(folder, "full", SERVER)
    store.append([(b"old", 1)])
    store.turn_to(store.make_next()).close()
    assert store.number == 2
    store.append([(b"new", 2)])
    assert rows(folder) == [(b"old", 1), (b"new", 2)]
    other = Store(folder.with_name("other"), "full", SERVER)
    other.append([(b"short", 3)])
    other.close()
    (folder.with_name("other") / "journal-000001.db").rename(snapshot_path(folder, 2))
    assert rows(folder) == [(b"short", 3), (b"new", 2)]
    store.adopt_snapshot(2)
    assert sorted(path.name for path in folder.glob("*.db")) == ["journal-000002.db", "snapshot-000002.db"]
    store.close()


def test_a_server_writes_nothing_into_a_folder_that_is_there_anew(folder):
    first = Store(folder, "full", SERVER)
    shutil.rmtree(folder)
    second = Store(folder, "full", ("second", "epoch"))
    before = sorted(folder.iterdir())
    with pytest.raises(OSError, match="was removed or replaced"):
        first.make_next()
    assert sorted(folder.iterdir()) == before
    second.close()
    first.close()


def test_a_next_file_that_was_removed_before_it_was_turned_to(folder):
    store = Store(folder, "full", SERVER)
    following = store.make_next()
    shutil.rmtree(folder)
    store.turn_to(following).close()
    with pytest.raises(OSError, match="was removed or replaced"):
        store.look()
    store.close()


def test_what_a_crash_left_is_cleared(folder):
    store = Store(folder, "full", SERVER)
    store.turn_to(store.make_next()).close()
    store.close()
    (folder / "snapshot-000002.part").write_bytes(b"half")
    Store(folder, "full", SERVER).close()
    assert not list(folder.glob("*.part"))
    assert [path.name for path in state_files(folder)] == ["journal-000001.db", "journal-000002.db"]


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 40])
def test_so_many_rows_at_once_are_all_there_in_order(folder, n):
    store = Store(folder, "normal", SERVER)
    store.append([(b"%d" % number, number) for number in range(n)])
    assert rows(folder) == [(b"%d" % number, number) for number in range(n)]
    store.close()


def test_a_row_larger_than_sqlite_takes_is_written_in_pieces(folder, monkeypatch):
    monkeypatch.setattr("mpserve.engines.journal.store.PIECE_BYTES", 10)
    large = bytes(range(35))
    written = [(b"small", 1), (large, 2), (large[:10], 3), (large[:11], 4), (b"", 5)]
    store = Store(folder, "normal", SERVER)
    store.append(written)
    store.append([(large[:20], 6)])
    assert rows(folder) == [*written, (large[:20], 6)]
    store.close()
