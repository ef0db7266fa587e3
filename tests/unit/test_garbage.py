"""What is left alone by Python's collector in a server."""

from __future__ import annotations

import pytest

from mpserve.garbage import LONG_S, Freezer


@pytest.mark.parametrize(
    ("generation", "took_s", "frozen"),
    [(2, 2 * LONG_S, 1), (2, LONG_S / 2, 0), (1, 2 * LONG_S, 0), (0, 2 * LONG_S, 0)],
)
def test_only_a_long_full_collection_freezes_what_it_left(generation, took_s, frozen):
    times, done = iter([5.0, 5.0 + took_s]), []
    freezer = Freezer(lambda: done.append(True), lambda: next(times))
    for phase in ("start", "stop"):
        freezer(phase, {"generation": generation})
    assert len(done) == frozen
