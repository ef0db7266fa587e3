"""Set: what the property test cannot see: which of equal members stays, texts, damaged input."""

import pickle

import pytest

from mpserve.core.t_set import Set
from mpshared.errors import BadType, BadValue, KeyMissing
from mpshared.values import PickledKey


def key(value):
    return PickledKey(pickle.dumps(value))


@pytest.fixture
def seen(world):
    return world.add(Set, name="seen")


def test_add_tells_whether_it_is_new(world, lane, seen):
    assert world.ask(lane, seen, "add", key((1, 2))) is True
    assert world.ask(lane, seen, "add", key((1.0, 2))) is False
    assert world.ask(lane, seen, "members") == [key((1, 2))]


def test_the_first_of_equal_members_stays(world, lane, seen):
    world.ask(lane, seen, "update", [True, 1, 1.0])
    world.ask(lane, seen, "intersection_update", [1, 2])
    assert [type(member) for member in world.ask(lane, seen, "members")] == [bool]


def test_a_member_given_twice_is_toggled_once(world, lane, seen):
    world.ask(lane, seen, "symmetric_difference_update", ["a", "a", "b"])
    world.ask(lane, seen, "symmetric_difference_update", ["b", "b"])
    assert world.ask(lane, seen, "members") == ["a"]


def test_none_is_a_member_like_any_other(world, lane, seen):
    world.ask(lane, seen, "symmetric_difference_update", [None])
    assert world.ask(lane, seen, "contains", None) is True
    world.ask(lane, seen, "symmetric_difference_update", [None])
    assert world.ask(lane, seen, "len") == 0


def test_nan_is_never_found_and_yet_leaves(world, lane, seen):
    world.ask(lane, seen, "update", [float("nan"), key((float("nan"),))])
    assert world.ask(lane, seen, "contains", float("nan")) is False
    world.ask(lane, seen, "intersection_update", [float("nan")])
    assert world.ask(lane, seen, "len") == 0


def test_errors_name_the_set(world, lane, seen):
    with pytest.raises(KeyMissing, match="pop from an empty set: set 'seen'"):
        world.ask(lane, seen, "pop")
    with pytest.raises(KeyMissing, match="set 'seen' has no such member"):
        world.ask(lane, seen, "remove", 1)


@pytest.mark.parametrize("bad", [key([1]), PickledKey(b"no pickle")])
@pytest.mark.parametrize(
    "method", ["update", "difference_update", "intersection_update", "symmetric_difference_update"]
)
def test_one_bad_key_refuses_the_whole_call(world, lane, seen, method, bad):
    world.ask(lane, seen, "add", "old")
    with pytest.raises((BadType, BadValue), match="set 'seen'"):
        world.ask(lane, seen, method, ["new", bad])
    assert seen.state() == ["old"]


def test_what_changes_nothing_is_not_recorded(world, lane, seen):
    world.ask(lane, seen, "update", ["a", "b"])
    before = len(world.records)
    world.ask(lane, seen, "add", "a")
    world.ask(lane, seen, "discard", "c")
    world.ask(lane, seen, "update", ["a"])
    world.ask(lane, seen, "difference_update", ["c"])
    world.ask(lane, seen, "intersection_update", ["b", "a", "c"])
    world.ask(lane, seen, "symmetric_difference_update", [])
    assert len(world.records) == before
