"""Array: settings, texts, limits, and the borders of its types."""

import math

import pytest

from mpserve.core.t_array import Array
from mpshared.errors import BadIndex, BadType, BadValue, Conflict, Overflow, TooBig


@pytest.fixture
def marks(world):
    return world.add(Array, name="marks", typecode="b", numbers=[1, 2, 3])


def test_it_begins_with_zeros_or_with_numbers(world, lane, marks):
    zeros = world.add(Array, typecode="d", size=3)
    assert world.ask(lane, zeros, "get_slice", [None] * 3) == [0.0, 0.0, 0.0]
    assert world.ask(lane, marks, "get_slice", [None] * 3) == [1, 2, 3]
    assert world.ask(lane, world.add(Array, typecode="q", numbers=[]), "len") == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, BadValue),
        ({"typecode": "u"}, BadValue),
        ({"typecode": "bB"}, BadValue),
        ({"typecode": 5}, BadValue),
        ({"typecode": "i", "size": -1}, BadValue),
        ({"typecode": "i", "size": 1.5}, BadValue),
        ({"typecode": "i", "size": 2**62}, TooBig),
        ({"typecode": "i", "size": 1, "numbers": [1]}, Conflict),
        ({"typecode": "i", "numbers": "12"}, BadType),
        ({"typecode": "i", "numbers": [1, "2"]}, BadType),
        ({"typecode": "i", "numbers": [1.5]}, BadType),
        ({"typecode": "B", "numbers": [256]}, Overflow),
    ],
)
def test_bad_settings_are_refused(world, options, error):
    with pytest.raises(error, match="array 'marks'"):
        world.add(Array, name="marks", **options)


def test_what_does_not_fit_changes_nothing(world, lane, marks):
    with pytest.raises(Overflow, match="does not fit array 'marks'"):
        world.ask(lane, marks, "set", 0, 128)
    with pytest.raises(Overflow, match="does not fit array 'marks'"):
        world.ask(lane, marks, "incr", 0, 127)
    with pytest.raises(BadType, match="array 'marks' of type code 'b'"):
        world.ask(lane, marks, "set", 0, 1.0)
    with pytest.raises(BadType, match="array 'marks'"):
        world.ask(lane, marks, "set_slice", [0, 1, None], [4, None])
    with pytest.raises(BadValue, match="extended slice of size 2, in array 'marks'"):
        world.ask(lane, marks, "set_slice", [None, None, 2], [4])
    assert world.ask(lane, marks, "get_slice", [None] * 3) == [1, 2, 3]


@pytest.mark.parametrize(
    ("method", "args", "text"),
    [
        ("get", [3], "array index out of range"),
        ("set", [2**64 - 1, 1], "array assignment index out of range"),
        ("incr", [-4, 1], "array index out of range"),
    ],
)
def test_a_wrong_index_is_named_with_the_array(world, lane, marks, method, args, text):
    with pytest.raises(BadIndex, match=f"{text}: array 'marks' has 3 items"):
        world.ask(lane, marks, method, *args)


def test_incr_answers_what_is_stored(world, lane):
    singles = world.add(Array, typecode="f", numbers=[0.1])
    total = world.ask(lane, singles, "incr", 0, 0.2)
    assert total == world.ask(lane, singles, "get", 0)
    assert total != 0.1 + 0.2
    assert math.isclose(total, 0.3, rel_tol=1e-6)


def test_a_slice_may_change_the_length(world, lane, marks):
    world.ask(lane, marks, "set_slice", [1, 2, None], [7, 8, 9])
    assert world.ask(lane, marks, "get_slice", [None, None, -1]) == [3, 9, 8, 7, 1]


def test_it_is_rebuilt_with_what_equals_nothing(world, lane):
    floats = world.add(Array, typecode="d", size=2)
    world.ask(lane, floats, "set", 1, math.nan)
    before = floats.state()
    world.restart()
    assert world.machines[floats.ident].state() == before


def test_statistics_show_no_content(marks):
    assert marks.statistics() == {"length": 3, "typecode": "b"}
