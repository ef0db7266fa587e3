"""Rows: the same values for everybody, whether they are opened one by one or in one go."""

from __future__ import annotations

import pickle
import pickletools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpclient.values import rows
from mpclient.values.jobs_format import ITEM, dump_items, load_items
from mpclient.values.rows import MARK, dump_values, load_values
from mpshared.bunch import Bunch

DIGEST = "0123456789abcdef" * 2
NUMBERS = st.booleans() | st.integers() | st.floats(allow_nan=False)
PLAIN = NUMBERS | st.text(max_size=8) | st.binary(max_size=8)
CUTS = st.sampled_from([rows.BETWEEN, rows._CUT, b"\x87." + rows.MARK, ".\x80\x04", b".\x80\x04"])


@given(st.lists(PLAIN, min_size=2, max_size=40))
def test_items_are_jobs_each_of_which_any_unpickler_opens(items):
    items.append(None)
    row = dump_items(DIGEST, items)
    assert row is not None
    assert [pickle.loads(data) for data in row] == [(ITEM, DIGEST, item) for item in items]
    assert [pickle._loads(data)[2] for data in row] == items  # type: ignore[attr-defined]  # stricter
    assert all([*pickletools.genops(data)] for data in row)
    assert load_items(row) == (("", DIGEST), items)


@given(st.lists(PLAIN, min_size=2, max_size=40))
def test_answers(answers):
    row = dump_values(answers)
    assert row is not None
    assert [pickle.loads(data) for data in row] == answers
    assert load_values(row) == answers
    part = row[1:]
    assert load_values(part) == answers[1:]


@given(st.lists(PLAIN | CUTS, min_size=2, max_size=20))
def test_values_that_look_like_what_is_between_them(values):
    row = dump_values(values)
    if row is None:
        assert any(type(value) is bytes and rows.BETWEEN in value for value in values)
        return
    assert [pickle.loads(data) for data in row] == values
    together = load_values(row)
    assert together is None or together == values


def test_none_is_always_written_as_everybody_does():
    assert dump_values([*range(20), None]) is None


@pytest.mark.parametrize("odd", [[1], (1,), 1j, bytearray(b"x"), type("Mine", (int,), {})(7), "x" * 2000])
def test_other_values_are_pickled_one_by_one(odd):
    assert dump_values([*range(20), odd]) is None


@pytest.mark.parametrize("values", [[1 << 100_000] * 20, ["x" * 1000, *["y" * 1100] * 20]])
def test_so_are_values_that_might_not_all_go_into_one_message(values):
    assert dump_items(DIGEST, values) is None


def test_texts_that_are_there_again_and_again_are_written_out():
    text = "as often as it likes"
    row = dump_values([text] * 20)
    assert row is not None
    assert {pickle.loads(data) for data in row} == {text}
    assert load_values(row) == [text] * 20


def bunch_of(values):
    return Bunch(b"".join(values), [*map(len, values)])


@pytest.mark.parametrize(
    "change",
    [
        lambda _data: pickle.dumps(7),
        lambda _data: pickle.dumps((ITEM, DIGEST, 7), 5),
        lambda _data: pickle.dumps((ITEM, DIGEST[::-1], 7), 4),
        lambda data: data.replace(b"0123", b"3210"),
        lambda data: data[:-2] + b"0\x87.",
    ],
)
@pytest.mark.parametrize("at", [0, 7, 19])
def test_what_was_not_written_as_a_row_is_opened_one_by_one(change, at):
    row = dump_items(DIGEST, range(20))
    assert row is not None
    values = row.cut()
    values[at] = change(values[at])
    assert load_items(bunch_of(values)) is None


def test_values_that_end_elsewhere_are_opened_one_by_one():
    row = dump_values(range(20))
    assert row is not None
    moved = [row.sizes[0] + 1, row.sizes[1] - 1, *row.sizes[2:]]
    assert load_values(Bunch(row.data, moved)) is None


@pytest.mark.parametrize("within", [b"K\x01.", b"(K\x01d.", b"."])
def test_so_are_those_of_a_row_that_ends_within(within):
    values = [MARK + within + b".", MARK + b"K\x02."]
    assert load_values(bunch_of(values)) is None


def test_rows_of_several_workers_are_one():
    parts = [dump_values(range(20)), dump_values("abc")]
    assert None not in parts
    data = b"".join(part.data for part in parts)
    assert load_values(Bunch(data, parts[0].sizes + parts[1].sizes)) == [*range(20), *"abc"]
