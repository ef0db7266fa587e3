"""The commit thread: order, batches, and a disk that cannot be written.

The disk's refusals are made up here; a disk that is really full is in tests/integration/test_journal.py.
"""

from __future__ import annotations

import queue
import sqlite3
import threading

import pytest

from mpserve.engines.journal.codec import decode
from mpserve.engines.journal.commit import BALLAST_BYTES, Committer, Turn
from mpserve.engines.journal.store import Store, read_rows, state_files

PATIENCE_S = 10.0


class FlakyStore(Store):
    """A store whose next writes can be made to fail, or to wait."""

    def __init__(self, folder):
        super().__init__(folder, "normal", ("server", "epoch"))
        self.failures = 0
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()

    def append(self, rows):
        self.asked.set()
        assert self.gate.wait(PATIENCE_S)
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("database or disk is full")
        super().append(rows)


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


def written(store):
    found = [decode(row.data, row.checksum) for path in state_files(store.folder) for row in read_rows(path)]
    return [verb for entries in found for _, verb, _ in entries]


def test_a_turn_is_told_done_when_it_is_written(store, told, committer):
    first = turn("a")
    committer.put(first)
    assert told.get(timeout=PATIENCE_S) == [first]
    assert written(store) == ["a"]


def test_turns_that_wait_are_written_together(store, told, committer):
    store.gate.clear()
    committer.put(turn("a"))
    assert store.asked.wait(PATIENCE_S)
    for name in "bcd":
        committer.put(turn(name))
    store.gate.set()
    assert [len(told.get(timeout=PATIENCE_S)) for _ in range(2)] == [1, 3]
    assert written(store) == ["a", "b", "c", "d"]


def test_a_turn_without_changes_keeps_its_place(store, told, committer):
    store.gate.clear()
    committer.put(turn("a"))
    assert store.asked.wait(PATIENCE_S)
    committer.put(Turn([], []))
    committer.put(turn("b"))
    store.gate.set()
    assert [len(told.get(timeout=PATIENCE_S)) for _ in range(2)] == [1, 2]


def test_a_job_is_done_between_the_turns_around_it(store, told, committer):
    store.gate.clear()
    committer.put(turn("a"))
    assert store.asked.wait(PATIENCE_S)
    committer.put(turn("b"))
    committer.put(lambda store: told.put(written(store)))
    committer.put(turn("c"))
    store.gate.set()
    assert len(told.get(timeout=PATIENCE_S)) == 1
    assert len(told.get(timeout=PATIENCE_S)) == 1
    assert told.get(timeout=PATIENCE_S) == ["a", "b"]
    assert len(told.get(timeout=PATIENCE_S)) == 1


def test_what_cannot_be_written_waits_and_is_written_later(store, told, committer):
    store.failures = 2
    committer.put(turn("a"))
    assert told.get(timeout=PATIENCE_S) == "database or disk is full"
    committer.put(turn("b"))
    news = [told.get(timeout=PATIENCE_S) for _ in range(3)]
    assert "" in news
    assert [[name for _, name, _ in t.entries] for batch in news if batch for t in batch] == [["a"], ["b"]]
    assert written(store) == ["a", "b"]
    assert not committer.failing
    assert (store.folder / "ballast").stat().st_size == BALLAST_BYTES


def test_closing_writes_what_waits(store, told):
    committer = Committer(store, told.put, told.put)
    for name in "abc":
        committer.put(turn(name))
    committer.start()
    assert committer.close()
    assert written(store) == ["a", "b", "c"]


def test_closing_gives_up_what_cannot_be_written(store, told):
    committer = Committer(store, told.put, told.put)
    committer.start()
    store.failures = 1_000_000
    committer.put(turn("a"))
    assert told.get(timeout=PATIENCE_S) == "database or disk is full"
    assert not committer.close()
    assert written(store) == []
