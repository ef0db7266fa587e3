"""List: what the property test cannot see: damaged input, references, texts, limits."""

import itertools
import pickle
from fractions import Fraction

import pytest

from mpserve.core.t_list import MAX_REPEATED, List
from mpshared.errors import BadIndex, BadType, BadValue, NotSupported, TooBig
from mpshared.values import PICKLE, Value

ONE, TWO, THREE = pickle.dumps(1), pickle.dumps(2), pickle.dumps(3)
HUGE = 2**64 - 1


@pytest.fixture
def steps(world):
    return world.add(List, ONE, TWO, name="steps")


@pytest.mark.parametrize(
    ("method", "args", "blobs", "text"),
    [
        ("get", [2], [], "list index out of range"),
        ("set", [-3], [ONE], "list assignment index out of range"),
        ("delete", [HUGE], [], "list assignment index out of range"),
        ("pop", [HUGE], [], "pop index out of range"),
        ("cas", [2], [ONE, TWO], "list index out of range"),
        ("incr", [-(2**63), 1], [], "list index out of range"),
    ],
)
def test_a_wrong_index_is_named_with_the_list(world, lane, steps, method, args, blobs, text):
    with pytest.raises(BadIndex, match=f"{text}: list 'steps' has 2 items, no index"):
        world.ask(lane, steps, method, *args, blobs=blobs)


def test_pop_from_empty_list(world, lane):
    empty = world.add(List)
    with pytest.raises(BadIndex, match="pop from empty list: anonymous list"):
        world.ask(lane, empty, "pop", -1)


def test_slices_are_checked_as_pythons(world, lane, steps):
    with pytest.raises(BadValue, match="slice step cannot be zero, in a slice of list 'steps'"):
        world.ask(lane, steps, "delete_slice", [None, None, 0])
    text = "attempt to assign sequence of size 2 to extended slice of size 1, in list 'steps'"
    with pytest.raises(BadValue, match=text):
        world.ask(lane, steps, "set_slice", [None, None, 2], blobs=[ONE, TWO])
    world.ask(lane, steps, "set_slice", [0, HUGE, HUGE], blobs=[THREE])
    assert list(steps.stored()) == [THREE, TWO]


def test_insert_takes_any_number_for_the_nearer_end(world, lane, steps):
    world.ask(lane, steps, "insert", HUGE, blobs=[THREE])
    world.ask(lane, steps, "insert", -(2**63), blobs=[THREE])
    assert list(steps.stored()) == [THREE, ONE, TWO, THREE]


def test_what_is_not_there(world, lane, steps):
    with pytest.raises(BadValue, match=r"list.remove\(x\): x not in list: list 'steps'"):
        world.ask(lane, steps, "remove", blobs=[THREE])
    with pytest.raises(BadValue, match="the value is not in list 'steps'"):
        world.ask(lane, steps, "index", 1, None, blobs=[ONE])


def test_index_looks_where_pythons_does(world, lane):
    model = [1, 2, 1, 3]
    items = world.add(List, *map(pickle.dumps, model))
    for value, start, stop in itertools.product([1, 3], range(-5, 6), range(-5, 6)):
        call = world.call(lane, items, "index", start, stop, blobs=[pickle.dumps(value)])
        try:
            assert call.result == model.index(value, start, stop)
        except ValueError:
            assert isinstance(call.error, BadValue)


def test_a_damaged_item_is_named_by_its_index(world, lane, steps):
    world.ask(lane, steps, "append", blobs=[b"no pickle"])
    assert world.ask(lane, steps, "contains", blobs=[TWO]) is True
    with pytest.raises(BadValue, match="item 2 of list 'steps' cannot be compared"):
        world.ask(lane, steps, "contains", blobs=[THREE])
    with pytest.raises(BadValue, match="list 'steps'"):
        world.ask(lane, steps, "sort", False)
    assert world.out(lane, steps, "pop", -1) == [b"no pickle"]


def test_users_objects_are_found_by_what_they_say(world, lane, steps):
    world.ask(lane, steps, "append", blobs=[pickle.dumps(Fraction(1, 3), 2)])
    assert world.ask(lane, steps, "index", 0, None, blobs=[pickle.dumps(Fraction(2, 6), 2)]) == 2


def test_sort_orders_plain_types_only(world, lane, steps):
    world.ask(lane, steps, "append", blobs=[pickle.dumps("x")])
    with pytest.raises(BadType, match="list 'steps' cannot be sorted: '<' not supported"):
        world.ask(lane, steps, "sort", False)
    world.ask(lane, steps, "set", -1, blobs=[pickle.dumps(Fraction(1, 3))])
    with pytest.raises(NotSupported, match="list 'steps' cannot be sorted by the server: only numbers"):
        world.ask(lane, steps, "sort", False)


def test_sort_is_stable_both_ways(world, lane):
    one, yes, half = pickle.dumps(1.0), pickle.dumps(True), pickle.dumps(0.5)
    numbers = world.add(List, one, ONE, half, yes)
    world.ask(lane, numbers, "sort", False)
    assert list(numbers.stored()) == [half, one, ONE, yes]
    world.ask(lane, numbers, "sort", True)
    assert list(numbers.stored()) == [one, ONE, yes, half]


@pytest.mark.parametrize("n", [MAX_REPEATED, 2**64 - 1])
def test_repeat_refuses_absurd_sizes(world, lane, steps, n):
    with pytest.raises(TooBig, match="list 'steps' repeated"):
        world.ask(lane, steps, "repeat", n)
    world.ask(lane, steps, "clear")
    world.ask(lane, steps, "repeat", n)
    assert world.ask(lane, steps, "len") == 0


def test_replace_needs_the_version_of_the_snapshot(world, lane, steps):
    version = world.ask(lane, steps, "snapshot")
    assert world.ask(lane, steps, "replace", version, blobs=[TWO, ONE]) is True
    assert world.ask(lane, steps, "replace", version, blobs=[ONE]) is False
    assert list(steps.stored()) == [TWO, ONE]


@pytest.mark.parametrize(
    ("method", "args", "blobs"),
    [
        ("set", [0], [ONE]),
        ("delete", [0], []),
        ("insert", [0], [ONE]),
        ("append", [], [ONE]),
        ("extend", [], [ONE]),
        ("pop", [-1], []),
        ("remove", [], [ONE]),
        ("reverse", [], []),
        ("sort", [False], []),
        ("clear", [], []),
        ("repeat", [2], []),
        ("set_slice", [[None, None, None]], []),
        ("delete_slice", [[0, 1, None]], []),
        ("incr", [0, 1], []),
        ("cas", [0], [ONE, TWO]),
    ],
)
def test_every_change_makes_a_snapshot_old(world, lane, steps, method, args, blobs):
    version = world.ask(lane, steps, "snapshot")
    world.ask(lane, steps, method, *args, blobs=blobs)
    assert world.ask(lane, steps, "replace", version, blobs=[]) is False


def test_what_leaves_is_no_longer_mentioned(world, lane):
    proxy = Value(PICKLE, ONE, (), ("lock-1",))
    doors = world.add(List, proxy, proxy)
    world.ask(lane, doors, "repeat", 3)
    assert world.mentions == {"lock-1": 6}
    assert world.out(lane, doors, "pop", 0) == [proxy]
    world.ask(lane, doors, "set_slice", [0, 2, None], blobs=[proxy])
    world.ask(lane, doors, "remove", blobs=[ONE])
    assert world.mentions == {"lock-1": 3}
    world.ask(lane, doors, "repeat", 0)
    assert world.mentions == {"lock-1": 0}


def test_an_answer_is_not_changed_by_what_comes_after_it(world, lane, steps):
    before = world.call(lane, steps, "snapshot")
    world.arrived(before)
    world.ask(lane, steps, "clear")
    assert before.out == [ONE, TWO]
