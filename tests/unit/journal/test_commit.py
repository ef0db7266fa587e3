"""Commits, at once and by the thread: order, batches, and a disk that cannot be written.

The disk's refusals are made up here; a disk that is really full is in tests/integration/test_journal.py.
"""

from __future__ import annotations

import errno
import queue
import sqlite3

import pytest
from tests.unit.journal.flaky import PATIENCE_S, FlakyStore, written

from mpserve.engines.journal import commit
from mpserve.engines.journal.commit import AT_ONCE_BYTES, BALLAST_BYTES, HUNG_S, QUICK_S, Committer, Turn
from mpserve.engines.journal.store import Store


@pytest.fixture
def store(tmp_path):
    store = FlakyStore(tmp_path)
    yield store
    store.close()


@pytest.fixture
def told():
    return queue.Queue()


@pytest.fixture
def committer(store, told):
    committer = Committer(store, told.put, told.put)
    committer.start()
    yield committer
    store.gate.set()
    committer.close()
    committer.join(PATIENCE_S)
    assert not committer.is_alive()


def turn(name):
    return Turn([("ident", name, ())], [])


def raising(err):
    """Return a method that raises it."""

    def method(*_):
        raise err

    return method


def verbs(store):
    return [verb for entries in written(store) for _, verb, _ in entries]


def test_a_turn_is_told_done_when_it_is_written(store, told, committer):
    first = turn("a")
    committer.put(first)
    assert told.get(timeout=PATIENCE_S) == [first]
    assert verbs(store) == ["a"]


def test_turns_that_wait_are_written_together(store, told, committer):
    store.gate.clear()
    committer.put(turn("a"))
    assert store.asked.wait(PATIENCE_S)
    for name in "bcd":
        committer.put(turn(name))
    store.gate.set()
    assert [len(told.get(timeout=PATIENCE_S)) for _ in range(2)] == [1, 3]
    assert verbs(store) == ["a", "b", "c", "d"]


def test_a_turn_without_changes_keeps_its_place(store, told, committer):
    store.gate.clear()
    committer.put(turn("a"))
    assert store.asked.wait(PATIENCE_S)
    committer.put(Turn([], []))
    committer.put(turn("b"))
    store.gate.set()
    assert [len(told.get(timeout=PATIENCE_S)) for _ in range(2)] == [1, 2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_is_told_and_nothing_is_taken_for_written(store, told, committer):
    committer.put(Turn([("ident", "a", (object(),))], []))
    assert "mistake in mpserve" in told.get(timeout=PATIENCE_S)
    assert committer.failing
    assert not committer.is_quick
    assert not committer.close()


def test_a_job_is_done_between_the_turns_around_it(store, told, committer):
    store.gate.clear()
    committer.put(turn("a"))
    assert store.asked.wait(PATIENCE_S)
    committer.put(turn("b"))
    committer.put(lambda store: told.put(verbs(store)))
    committer.put(turn("c"))
    store.gate.set()
    assert len(told.get(timeout=PATIENCE_S)) == 1
    assert len(told.get(timeout=PATIENCE_S)) == 1
    assert told.get(timeout=PATIENCE_S) == ["a", "b"]
    assert len(told.get(timeout=PATIENCE_S)) == 1


def test_what_cannot_be_written_waits_and_is_written_later(store, told, committer):
    store.failures = 2
    committer.put(turn("a"))
    assert told.get(timeout=PATIENCE_S) == "database or disk is full; make room on the disk of --data"
    committer.put(turn("b"))
    news = [told.get(timeout=PATIENCE_S) for _ in range(3)]
    assert "" in news
    assert [[name for _, name, _ in t.entries] for batch in news if batch for t in batch] == [["a"], ["b"]]
    assert verbs(store) == ["a", "b"]
    assert not committer.failing
    assert (store.folder / "ballast").stat().st_size == BALLAST_BYTES


def no_memory(*_):
    raise MemoryError


def test_a_row_for_which_there_is_little_memory_is_written_in_pieces(store, told, committer, monkeypatch):
    monkeypatch.setattr("mpserve.engines.journal.commit.encode", no_memory)
    committer.put(first := turn("a"))
    assert told.get(timeout=PATIENCE_S) == [first]
    assert verbs(store) == ["a"]


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files")])
@pytest.mark.parametrize("sparingly", [False, True])
def test_what_fails_behind_a_commit_has_nothing_written_twice(
    store, told, committer, monkeypatch, error, sparingly
):
    def fails(*_):
        raise error

    if sparingly:
        monkeypatch.setattr("mpserve.engines.journal.commit.encode", no_memory)
    monkeypatch.setattr("mpserve.engines.journal.commit.LOOK_S", 0)
    for what in ("look", "size_bytes"):
        monkeypatch.setattr(Store, what, fails)
    committer.put(first := turn("a"))
    while told.get(timeout=PATIENCE_S) != [first]:
        pass
    monkeypatch.undo()
    assert verbs(store) == ["a"]


def test_a_row_for_which_there_is_no_memory_is_made_later(store, told, committer, monkeypatch):
    def too_little(entries):
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr("mpserve.engines.journal.commit.encode", no_memory)
    monkeypatch.setattr("mpserve.engines.journal.commit.encode_sparingly", too_little)
    committer.put(first := turn("a"))
    assert told.get(timeout=PATIENCE_S) == commit.NO_MEMORY
    assert [told.get(timeout=PATIENCE_S) for _ in range(2)] in (["", [first]], [[first], ""])
    assert verbs(store) == ["a"]


def test_closing_writes_what_waits(store, told):
    committer = Committer(store, told.put, told.put)
    for name in "abc":
        committer.put(turn(name))
    committer.start()
    assert committer.close()
    assert verbs(store) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("err", "todo"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "make room on the disk of --data"),
        (OSError(errno.EIO, "Input/output error"), "see to the folder of --data"),
        (sqlite3.OperationalError("disk I/O error"), "see to the folder of --data"),
    ],
)
def test_what_to_do_is_told_by_what_failed_and_not_by_its_words(
    store, told, committer, monkeypatch, err, todo
):
    monkeypatch.setattr(Store, "append", raising(err))
    committer.put(turn("a"))
    assert told.get(timeout=PATIENCE_S) == f"{err}; {todo}"


def test_a_disk_that_has_no_room_for_bad_times_is_told_to_be_full(store, told, monkeypatch):
    monkeypatch.setattr(commit, "_fill", lambda _: False)
    Committer(store, told.put, told.put)
    assert told.get_nowait() == "less than 16M are free on its disk; make room on the disk of --data"


def test_closing_gives_up_what_cannot_be_written(store, told):
    committer = Committer(store, told.put, told.put)
    committer.start()
    store.failures = 1_000_000
    committer.put(turn("a"))
    assert told.get(timeout=PATIENCE_S) == "database or disk is full; make room on the disk of --data"
    assert not committer.close()
    assert verbs(store) == []


class TestAtOnce:
    """What the loop writes itself, and what it leaves to the thread."""

    @pytest.fixture(autouse=True)
    def clock(self, store, monkeypatch):
        monkeypatch.setattr(commit, "perf_counter", store.clock)

    def test_it_is_durable_then_and_nobody_is_told(self, store, told, committer):
        assert committer.write_at_once(turn("a")) is None
        assert verbs(store) == ["a"]
        assert told.empty()

    def test_not_while_the_thread_writes(self, store, told, committer):
        store.gate.clear()
        committer.put(turn("a"))
        assert store.asked.wait(PATIENCE_S)
        left = committer.write_at_once(turn("b"))
        committer.put(left)
        store.gate.set()
        assert [len(told.get(timeout=PATIENCE_S)) for _ in range(2)] == [1, 1]
        assert verbs(store) == ["a", "b"]

    def test_what_the_disk_refuses_is_left_and_not_written_twice(self, store, told, committer):
        store.failures = 1
        left = committer.write_at_once(turn("a"))
        assert verbs(store) == []
        committer.put(left)
        assert told.get(timeout=PATIENCE_S) == [left]
        assert verbs(store) == ["a"]

    def test_a_large_turn_is_left_and_not_encoded_twice(self, store, told, committer):
        large = Turn([("ident", "a", (bytes(AT_ONCE_BYTES),))], [])
        left = committer.write_at_once(large)
        assert verbs(store) == []
        assert left.encoded() is left.row
        committer.put(left)
        assert told.get(timeout=PATIENCE_S) == [left]
        assert verbs(store) == ["a"]

    def test_not_while_the_disk_is_slow(self, store, told, committer):
        store.takes_s = 3 * QUICK_S
        assert committer.write_at_once(turn("a")) is None
        assert committer.is_quick, "one slow commit decides nothing"
        writes = 1
        while committer.is_quick:
            assert committer.write_at_once(turn("a")) is None
            writes += 1
        assert 2 < writes < 10
        store.takes_s = 0.0
        committer.put(turn("b"))
        assert told.get(timeout=PATIENCE_S)
        assert committer.is_quick

    @pytest.mark.parametrize("failures", [0, 1])
    def test_not_after_the_disk_has_hung(self, store, told, committer, failures):
        store.takes_s = 2 * HUNG_S
        store.failures = failures
        assert (committer.write_at_once(turn("a")) is None) == (not failures)
        assert committer.stood_s == pytest.approx(2 * HUNG_S)
        assert not committer.is_quick


def test_a_file_that_was_moved_away_is_missed_until_it_is_back(store, told, committer, monkeypatch):
    monkeypatch.setattr(commit, "LOOK_S", 0.0)
    path = store.folder / "journal-000001.db"
    away = path.rename(store.folder / "away")
    for name in "ab":  # what was accepted is written, and others are let in no more
        written_one = turn(name)
        committer.put(written_one)
        if name == "a":
            assert "was removed or replaced" in told.get(timeout=PATIENCE_S)
        assert told.get(timeout=PATIENCE_S) == [written_one]
        assert "journal-000001.db" in committer.failing
    away.rename(path)
    committer.put(turn("c"))
    assert told.get(timeout=PATIENCE_S) == ""
    assert not committer.failing


def test_another_file_of_that_name_is_not_it(store, told, committer, monkeypatch):
    monkeypatch.setattr(commit, "LOOK_S", 0.0)
    path = store.folder / "journal-000001.db"
    path.rename(store.folder / "away")
    path.touch()
    assert committer.write_at_once(turn("a")) is None
    assert "was removed or replaced" in told.get(timeout=PATIENCE_S)
    assert not committer.is_quick
