"""Which job a process is at."""

from __future__ import annotations

import os

from mpclient.worker.mark import Mark, new_mark


def test_both_sides_see_the_same():
    descriptor = new_mark()
    theirs = Mark(os.dup(descriptor))
    ours = Mark(descriptor)
    assert (ours.get(), ours.pool()) == (0, None)
    theirs.set(1 << 40)
    assert (ours.get(), ours.pool()) == (1 << 40, None)
    theirs.begin("the ident of a pool")
    assert (ours.get(), ours.pool()) == (0, "the ident of a pool")
    theirs.set(3)
    assert (ours.get(), ours.pool()) == (3, "the ident of a pool")
    theirs.begin(None)
    assert (ours.get(), ours.pool()) == (0, None)
    theirs.close()
    ours.close()
