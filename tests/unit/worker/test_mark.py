"""Which job a process is at."""

from __future__ import annotations

import os

from mpclient.worker.mark import Mark, new_mark


def test_both_sides_see_the_same():
    descriptor = new_mark()
    theirs = Mark(os.dup(descriptor))
    ours = Mark(descriptor)
    assert (ours.number[0], ours.pool()) == (0, None)
    theirs.number[0] = 1 << 40
    assert (ours.number[0], ours.pool()) == (1 << 40, None)
    theirs.begin("the ident of a pool")
    assert (ours.number[0], ours.pool()) == (0, "the ident of a pool")
    theirs.number[0] = 3
    assert (ours.number[0], ours.pool()) == (3, "the ident of a pool")
    theirs.begin(None)
    assert (ours.number[0], ours.pool()) == (0, None)
    theirs.close()
    ours.close()
