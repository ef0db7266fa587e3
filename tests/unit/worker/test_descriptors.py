"""The pipes of a process's descriptors 1 and 2, as who started it has them."""

from __future__ import annotations

import os

import pytest

from mpclient.worker import descriptors as module
from mpclient.worker.descriptors import Pipes
from mpclient.worker.mark import Mark, new_mark

OUT, ERR = 1, 2


@pytest.fixture
def pipes():
    pipes = Pipes()
    yield pipes
    pipes.close()


@pytest.fixture
def write(pipes):
    """Write as the process does, whose ends of the pipes are its own."""
    ends = dict(zip((OUT, ERR), pipes.ends[1::2], strict=True))
    yield lambda stream, data: os.write(ends[stream], data)
    pipes.begun()


@pytest.fixture
def mark():
    mark = Mark(new_mark())
    yield mark
    mark.close()


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.0)


def test_what_is_left_in_them(pipes, write):
    assert pipes.rest() == []
    write(OUT, b"x" * 65_536)
    write(ERR, b"last words")
    assert pipes.rest() == [(OUT, b"x" * 65_536), (ERR, b"last words")]
    assert pipes.rest() == []


def test_one_that_is_read_to_its_end_is_shut(pipes):
    pipes.begun()
    assert [pipes.read(reading) for reading in pipes.readings] == [None, None]
    first, second = pipes.readings
    assert (pipes.stream_of(first), pipes.stream_of(second)) == (OUT, ERR)
    pipes.shut(first)
    assert pipes.readings == [second]


def test_what_lies_there_at_two_looks_is_overdue(at_once, mark):
    pipes = Pipes()
    os.write(pipes.ends[3], b"stuck")
    assert pipes.overdue(mark) == []
    assert pipes.overdue(mark) == [(ERR, b"stuck")]
    assert pipes.overdue(mark) == []
    pipes.begun()
    pipes.close()


def test_it_is_not_while_the_process_reads_or_waits_for_its_program(at_once, mark):
    pipes = Pipes()
    os.write(pipes.ends[1], b"more")
    for _ in range(3):
        assert pipes.overdue(mark) == []
        mark.reads += 1
    mark.held = True
    for _ in range(3):
        assert pipes.overdue(mark) == []
    mark.held = False
    assert pipes.overdue(mark) == []
    assert pipes.overdue(mark) == [(OUT, b"more")]
    pipes.begun()
    pipes.close()


def test_it_looks_once_in_a_while(pipes, write, mark):
    write(OUT, b"fresh")
    assert [pipes.overdue(mark) for _ in range(10)] == [[]] * 10
