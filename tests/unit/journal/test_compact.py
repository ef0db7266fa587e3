"""What starts compaction, and goes on when it fails. All of it: tests/integration/test_journal.py."""

from __future__ import annotations

import queue
import signal
import sqlite3
import subprocess
import sys

import pytest

from mpclient.testing import wait_until
from mpserve.engines.journal.compact import CHANGE_BYTES, LEAST_BYTES, LEAST_CHANGES, Compactor
from mpserve.engines.journal.store import Store, snapshot_path

PATIENCE_S = 10.0


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path, "normal", ("server", "epoch"))
    yield store
    store.close()


def test_it_is_due_when_the_journal_is_long(store):
    compactor = Compactor(store, lambda _job: None, lambda _why: None)
    assert not compactor.is_due(LEAST_BYTES, LEAST_CHANGES)
    assert compactor.is_due(LEAST_BYTES + 1, 0)
    assert compactor.is_due(0, LEAST_CHANGES + 1)
    compactor.close()
    assert not compactor.is_due(LEAST_BYTES + 1, LEAST_CHANGES + 1)


def test_it_is_due_when_the_journal_is_as_long_as_the_state(store):
    with snapshot_path(store.folder, 1).open("wb") as snapshot:
        snapshot.truncate(2 * LEAST_BYTES)
    compactor = Compactor(store, lambda _job: None, lambda _why: None)
    most = 2 * LEAST_BYTES // CHANGE_BYTES
    assert not compactor.is_due(2 * LEAST_BYTES, most)
    assert compactor.is_due(2 * LEAST_BYTES + 1, 0)
    assert compactor.is_due(0, most + 1)


def test_no_room_for_the_next_file_is_told_and_what_there_is_is_written_to(store, monkeypatch):
    def no_room():
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, "make_next", no_room)
    told: queue.Queue[str] = queue.Queue()
    compactor = Compactor(store, lambda _job: pytest.fail("nothing is to be turned to"), told.put)
    compactor.start()
    assert told.get(timeout=PATIENCE_S) == "database or disk is full"
    store.append([(b"a", 1)])
    assert store.number == 1


def test_a_process_that_began_while_the_server_stopped_is_ended(store, monkeypatch):
    popen, begun, told = subprocess.Popen, [], []

    def while_it_stops(*args, **settings):
        compactor.close()
        begun.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **settings))
        return begun[0]

    monkeypatch.setattr(subprocess, "Popen", while_it_stops)
    compactor = Compactor(store, lambda job: job(store), told.append)
    compactor.start()
    wait_until(lambda: len(begun) == 1 and not compactor.busy, PATIENCE_S)
    assert begun[0].returncode == -signal.SIGKILL
    assert not told


@pytest.mark.parametrize("lacks", ["thread", "process"])
def test_what_cannot_be_started_is_told_and_tried_again(store, monkeypatch, lacks):
    def nothing(*_):
        raise RuntimeError("not to be had")

    told = queue.Queue()
    compactor = Compactor(store, lambda job: job(store), told.put)
    with monkeypatch.context() as patch:
        if lacks == "thread":
            patch.setattr("threading.Thread.start", nothing)
        else:
            patch.setattr("mpserve.engines.journal.compact.module_command", nothing)
        compactor.start()
        assert told.get(timeout=PATIENCE_S) == "not to be had"
    wait_until(lambda: not compactor.busy, PATIENCE_S)
    assert compactor.is_due(LEAST_BYTES + 1, 0)
