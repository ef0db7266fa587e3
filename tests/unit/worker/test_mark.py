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
    theirs.lead("a program's session")
    assert (ours.program(), ours.pool()) == ("a program's session", None)
    theirs.reads += 1 << 40
    theirs.held = True
    assert (ours.reads, ours.held) == (1 << 40, True)
    theirs.close()
    ours.close()


def test_what_is_noted_is_there_until_it_leaves():
    mark = Mark(new_mark())
    mark.note(1, b"one\n")
    mark.note(2, b"")
    mark.note(1, b"x" * 70_000)  # more than there is room for
    mark.note(2, b"two")
    assert mark.notes() == [(1, b"one\n"), (2, b""), (2, b"two")]
    mark.forget_notes()
    assert mark.notes() == []
    mark.note(1, b"y" * 65_531)
    assert mark.notes() == [(1, b"y" * 65_531)]
    mark.lead("another program")
    assert mark.notes() == []
    mark.close()


def test_the_last_of_what_a_pools_jobs_print_is_kept():
    mark = Mark(new_mark())
    mark.begin("one")
    assert mark.last_lines() == []
    for n in range(3000):
        mark.keep(b"line %d\n" % n)
    lines = mark.last_lines()
    assert lines[1:] == [f"line {n}" for n in range(3001 - len(lines), 3000)]
    assert 600 < len(lines) < 1000
    mark.begin("one")
    assert mark.last_lines() == lines
    mark.keep(b"x" * 20_000 + b"\nend\n")
    assert mark.last_lines()[-1] == "end"
    mark.begin("another")
    assert mark.last_lines() == []
    assert mark.pool() == "another"
    mark.close()
