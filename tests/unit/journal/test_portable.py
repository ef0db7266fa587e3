"""Exports: lines of JSON from which the same entries come back."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpserve.engines.journal.codec import Answer
from mpserve.engines.journal.portable import NoExport, from_lines, to_lines
from mpshared.values import PickledKey, Value

SERVER = ("server", "epoch")
ENTRIES = [
    ("", "created", ("1f", "queue", None, {"order": "fifo", "maxsize": 0})),
    ("1f", "put", ([b"\0\xff", Value(3, b"data", (b"one",), ("ident",))],)),
    ("1f", "set", (PickledKey(b"key"), -(2**63), 1.5, math.inf, True, None, "text\n")),
    Answer("session", 1, 7, 6, 0x0103, "1f", [True, [], "1f"], [3, 1], [b"x"], None),
]


def test_entries_come_back():
    server, entries = from_lines(to_lines(SERVER, ENTRIES))
    assert server == SERVER
    assert list(entries) == ENTRIES


def test_every_line_is_json_of_ascii():
    for line in to_lines(SERVER, ENTRIES):
        assert line.isascii()
        json.loads(line)


def test_the_first_and_last_line():
    lines = list(to_lines(SERVER, []))
    assert [json.loads(line) for line in lines] == [
        {"mpserve": "export", "format": 1, "server": "server", "epoch": "epoch"},
        {"end": 0},
    ]


@pytest.mark.parametrize("left_out", range(1, 6))
def test_an_export_without_its_end_is_refused(left_out):
    lines = list(to_lines(SERVER, ENTRIES))[:-left_out]
    with pytest.raises(NoExport):
        list(from_lines(lines)[1])


def test_an_export_that_lacks_a_line_is_refused():
    lines = list(to_lines(SERVER, ENTRIES))
    del lines[2]
    with pytest.raises(NoExport, match="should end after 4 entries, here are 3"):
        list(from_lines(lines)[1])


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("nonsense", "line 2 is no JSON"),
        ("[]", "line 2 is no entry"),
        ('["record", "1f", "put"]', "line 2 is no entry"),
        ('["record", 1, "put", []]', "line 2 is no entry"),
        ('["record", "1f", "put", [{"b": "?"}]]', "line 2 is no entry"),
        ('["record", "1f", "put", [{"x": 1}]]', "line 2 is no entry"),
        ('["record", "1f", "put", ' + "[" * 2000 + "]" * 2000 + "]", "line 2 is no (JSON|entry)"),
        ("[" * 1_000_000, "line 2 is no JSON"),
        ('["answer", 1]', "line 2 is no entry"),
        ('["answer","s",0,2,"one",1,"",null,null,null,null]', "line 2 is no entry"),
    ],
)
def test_other_lines_are_refused(line, match):
    first, last = to_lines(SERVER, [])
    with pytest.raises(NoExport, match=match):
        list(from_lines([first, line, last])[1])


@pytest.mark.parametrize("line", ["", "{}", '{"mpserve": "export", "format": 2}'])
def test_another_beginning_is_refused(line):
    with pytest.raises(NoExport):
        from_lines([line])


@given(st.lists(st.text()))
def test_any_text_is_an_export_or_refused(lines):
    try:
        list(from_lines(lines)[1])
    except NoExport as err:
        assert str(err)
