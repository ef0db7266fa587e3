"""Dict: what the property test cannot see: damaged input, references, texts, order of insertion."""

import pickle
from fractions import Fraction

import pytest

from mpserve.core.t_dict import Dict
from mpshared.errors import BadType, BadValue, KeyMissing, Overflow
from mpshared.values import PICKLE, PickledKey, Value

ONE, TWO = pickle.dumps(1), pickle.dumps(2)


def key(value):
    return PickledKey(pickle.dumps(value))


@pytest.fixture
def prices(world):
    return world.add(Dict, name="prices")


def test_the_first_of_equal_keys_is_given_back(world, lane, prices):
    world.ask(lane, prices, "set", 1, blobs=[ONE])
    world.ask(lane, prices, "set", True, blobs=[TWO])
    first = key((1, "a"))
    world.ask(lane, prices, "set", first, blobs=[ONE])
    world.ask(lane, prices, "set", key((1.0, "a")), blobs=[TWO])
    assert prices.state() == [(1, TWO), (first, TWO)]
    assert type(prices.state()[0][0]) is int
    assert isinstance(world.ask(lane, prices, "keys")[1], PickledKey)


def test_a_scalar_and_its_pickle_are_one_key(world, lane, prices):
    world.ask(lane, prices, "set", b"bytes", blobs=[ONE])
    world.ask(lane, prices, "set", key(b"bytes"), blobs=[TWO])
    assert prices.state() == [(b"bytes", TWO)]


def test_a_set_key_keeps_its_place_and_a_deleted_one_loses_it(world, lane, prices):
    world.ask(lane, prices, "update", ["a", "b"], blobs=[ONE, ONE])
    world.ask(lane, prices, "set", "a", blobs=[TWO])
    assert world.ask(lane, prices, "keys") == ["a", "b"]
    world.ask(lane, prices, "delete", "a")
    world.ask(lane, prices, "set", "a", blobs=[ONE])
    assert world.ask(lane, prices, "keys") == ["b", "a"]


def test_objects_of_users_are_keys_by_what_they_say(world, lane, prices):
    world.ask(lane, prices, "set", key(Fraction(1, 3)), blobs=[ONE])
    assert world.out(lane, prices, "get", key(Fraction(2, 6))) == [ONE]
    assert world.ask(lane, prices, "contains", key(Fraction(1, 4))) is False


def test_errors_name_the_dict(world, lane, prices):
    with pytest.raises(KeyMissing, match="dict 'prices' has no such key"):
        world.ask(lane, prices, "get", "apple")
    with pytest.raises(KeyMissing, match="dict 'prices' is empty"):
        world.ask(lane, prices, "popitem")
    with pytest.raises(BadType, match="unhashable type: 'list'.*dict 'prices'"):
        world.ask(lane, prices, "set", key([1]), blobs=[ONE])
    with pytest.raises(BadValue, match="dict 'prices'"):
        world.ask(lane, prices, "contains", PickledKey(b"no pickle"))


@pytest.mark.parametrize("bad", [key([1]), PickledKey(b""), key((1, {}))])
def test_one_bad_key_refuses_a_whole_update(world, lane, prices, bad):
    with pytest.raises((BadType, BadValue)):
        world.ask(lane, prices, "update", ["a", bad], blobs=[ONE, TWO])
    assert prices.state() == []


def test_an_update_needs_a_value_for_each_key(world, lane, prices):
    with pytest.raises(BadValue, match="2 keys and 1 values"):
        world.ask(lane, prices, "update", ["a", "b"], blobs=[ONE])


def test_incr_begins_at_zero_and_refuses_what_is_no_number(world, lane, prices):
    assert world.ask(lane, prices, "incr", "n", 5) == 5
    assert world.ask(lane, prices, "incr", "n", 0.5) == 5.5
    world.ask(lane, prices, "set", "text", blobs=[pickle.dumps("5")])
    with pytest.raises(BadType, match="incr on dict 'prices': expected a number"):
        world.ask(lane, prices, "incr", "text", 1)
    world.ask(lane, prices, "set", "text", blobs=[b"no pickle"])
    with pytest.raises(BadValue, match="incr on dict 'prices', whose value cannot be read"):
        world.ask(lane, prices, "incr", "text", 1)
    world.ask(lane, prices, "set", "huge", blobs=[pickle.dumps(10**400)])
    with pytest.raises(Overflow, match="dict 'prices'"):
        world.ask(lane, prices, "incr", "huge", 0.5)
    with pytest.raises(Overflow, match="64 bits"):
        world.ask(lane, prices, "incr", "huge", 1)


def test_cas_compares_what_values_say(world, lane, prices):
    world.ask(lane, prices, "set", "a", blobs=[pickle.dumps((1, "x"), 2)])
    assert world.ask(lane, prices, "cas", "a", True, True, blobs=[pickle.dumps((1, "x"), 5), TWO]) is True
    assert world.ask(lane, prices, "cas", "a", False, True, blobs=[ONE]) is False
    assert world.ask(lane, prices, "cas", "a", True, False, blobs=[ONE]) is False
    assert world.ask(lane, prices, "cas", "a", True, False, blobs=[TWO]) is True
    assert world.ask(lane, prices, "cas", "a", False, False) is True
    assert world.ask(lane, prices, "cas", "a", False, True, blobs=[ONE]) is True
    assert prices.state() == [("a", ONE)]
    with pytest.raises(BadValue, match="2 values announced, 1 sent"):
        world.ask(lane, prices, "cas", "a", True, True, blobs=[ONE])


def test_cas_sees_buffers_beside_the_pickle(world, lane, prices):
    def beside(content):
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(pickle.PickleBuffer(bytearray(content)), 5, buffer_callback=buffers.append)
        return Value(PICKLE, data, tuple(bytes(buffer) for buffer in buffers))

    assert beside(b"12").buffers == (b"12",)
    world.ask(lane, prices, "set", "a", blobs=[beside(b"12")])
    assert world.ask(lane, prices, "cas", "a", True, False, blobs=[beside(b"13")]) is False
    assert world.ask(lane, prices, "cas", "a", True, True, blobs=[beside(b"12"), beside(b"14")]) is True
    assert world.ask(lane, prices, "cas", "a", True, False, blobs=[pickle.dumps(bytearray(b"14"))]) is True


def test_a_stored_value_that_cannot_be_read_can_still_be_kept(world, lane, prices):
    world.ask(lane, prices, "set", "a", blobs=[b"no pickle"])
    assert world.out(lane, prices, "get", "a") == [b"no pickle"]
    with pytest.raises(BadValue, match="dict 'prices' cannot be compared"):
        world.ask(lane, prices, "cas", "a", True, False, blobs=[ONE])
    assert world.out(lane, prices, "pop", "a") == [b"no pickle"]


def test_what_leaves_is_no_longer_mentioned(world, lane, prices):
    proxy = Value(PICKLE, b"...", (), ("lock-1",))
    world.ask(lane, prices, "update", ["a", "b", "c", "d"], blobs=[proxy] * 4)
    assert world.mentions == {"lock-1": 4}
    world.ask(lane, prices, "set", "a", blobs=[ONE])
    assert world.out(lane, prices, "pop", "b") == [proxy]
    assert world.out(lane, prices, "popitem") == [proxy]
    assert world.mentions == {"lock-1": 1}
    world.ask(lane, prices, "clear")
    assert world.mentions == {"lock-1": 0}


def test_nan_is_never_found_and_yet_leaves(world, lane, prices):
    nan = float("nan")
    world.ask(lane, prices, "update", [nan, key((nan, 1))], blobs=[ONE, TWO])
    assert world.ask(lane, prices, "contains", float("nan")) is False
    assert world.ask(lane, prices, "contains", key((nan, 1))) is False
    assert world.out(lane, prices, "popitem") == [TWO]
    world.ask(lane, prices, "clear")
    assert world.ask(lane, prices, "len") == 0


def test_statistics_show_no_content(world, lane, prices):
    world.ask(lane, prices, "set", "secret", blobs=[ONE])
    assert prices.statistics() == {"length": 1}


def test_a_batch_is_one_record(world, lane, prices):
    before = len(world.records)
    world.ask(lane, prices, "update", [f"k{n}" for n in range(100)], blobs=[ONE] * 100)
    assert len(world.records) == before + 1
