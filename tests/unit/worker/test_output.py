"""Bytes to lines."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from mpclient.worker.output import LINE_BYTES, Lines
from mpshared.reports import MAX_LINES


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))), st.data())
def test_lines_are_the_same_however_they_arrive(texts, data):
    stream = "".join(text + "\n" for text in texts).encode()
    lines, found = Lines(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += lines.feed(stream[:size])
        stream = stream[size:]
    assert found + lines.finish() == texts
    assert list(lines.last) == texts[-MAX_LINES:]


def test_the_last_line_needs_no_end():
    lines = Lines()
    assert lines.feed(b"one\r\ntwo") == ["one"]
    assert lines.finish() == ["two"]
    assert lines.finish() == []


def test_what_is_no_text_is_shown():
    assert Lines().feed(b"\xff\n") == ["\\xff"]


def test_endless_lines_are_broken_up():
    lines = Lines()
    found = lines.feed(b"x" * (3 * LINE_BYTES)) + lines.feed(b"x\ny\n")
    assert [len(line) for line in found] == [LINE_BYTES, LINE_BYTES, LINE_BYTES, 1, 1]
    assert lines.feed(b"z" * (LINE_BYTES + 1) + b"\n") == ["z" * LINE_BYTES, "z"]


def test_two_streams_share_the_last_lines():
    last: deque[str] = deque(maxlen=2)
    out, err = Lines(last), Lines(last)
    out.feed(b"1\n2\n")
    err.feed(b"3\n")
    assert list(last) == ["2", "3"]
