"""Value: one cell, created with one value."""

import pickle

import pytest

from mpserve.core.t_value import Value as Cell
from mpshared.errors import BadType
from mpshared.values import PICKLE, Value

ONE, TWO = pickle.dumps(1), pickle.dumps(2)


@pytest.fixture
def counter(world):
    return world.add(Cell, ONE, name="counter", typecode="i")


def test_get_set_incr(world, lane, counter):
    assert world.out(lane, counter, "get") == [ONE]
    world.ask(lane, counter, "set", blobs=[TWO])
    assert world.ask(lane, counter, "incr", 0.5) == 2.5
    world.ask(lane, counter, "set", blobs=[pickle.dumps("any type at all")])
    with pytest.raises(BadType, match="incr on value 'counter': expected a number"):
        world.ask(lane, counter, "incr", 1)


def test_cas(world, lane, counter):
    assert world.ask(lane, counter, "cas", blobs=[TWO, ONE]) is False
    assert world.ask(lane, counter, "cas", blobs=[pickle.dumps(1.0), TWO]) is True
    assert counter.state() == TWO


@pytest.mark.parametrize("first", [(), (ONE, TWO)])
def test_it_is_created_with_exactly_one_value(world, first):
    with pytest.raises(BadType, match="exactly one value"):
        world.add(Cell, *first)


def test_its_type_code_is_text(world):
    with pytest.raises(BadType, match="type code of value 'x' must be text"):
        world.add(Cell, ONE, name="x", typecode=5)


def test_what_leaves_is_no_longer_mentioned(world, lane, counter):
    world.ask(lane, counter, "set", blobs=[Value(PICKLE, b"...", (), ("lock-1",))])
    assert world.mentions == {"lock-1": 1}
    world.ask(lane, counter, "set", blobs=[ONE])
    assert world.mentions == {"lock-1": 0}


def test_statistics_show_no_content(counter):
    assert counter.statistics() == {"typecode": "i", "size_bytes": len(ONE)}
