"""A store whose disk does what a test wants; the rows that it takes are on a real one."""

from __future__ import annotations

import sqlite3
import threading

from mpserve.engines.journal.codec import decode
from mpserve.engines.journal.store import Store, read_rows, state_files

__all__ = ["PATIENCE_S", "FlakyStore", "written"]

PATIENCE_S = 10.0


class FlakyStore(Store):
    """A store whose next writes can be made to fail, to wait, or to take long."""

    def __init__(self, folder):
        super().__init__(folder, "normal", ("server", "epoch"))
        self.failures = 0
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()
        self.now_s = 0.0
        self.takes_s = 0.0

    def clock(self):
        return self.now_s

    def append(self, rows):
        self.asked.set()
        assert self.gate.wait(PATIENCE_S)
        self.now_s += self.takes_s
        if self.failures:
            self.failures -= 1
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise full
        super().append(rows)


def written(store):
    """Return the entries of each row."""
    return [decode(*row) for path in state_files(store.folder) for row in read_rows(path)]
