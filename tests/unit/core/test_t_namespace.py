"""Namespace: private names, texts, references."""

import pickle

import pytest

from mpserve.core.t_namespace import Namespace
from mpshared.errors import AttributeMissing, BadType
from mpshared.values import PICKLE, Value

ONE = pickle.dumps(1)


@pytest.fixture
def options(world):
    return world.add(Namespace, name="options")


@pytest.mark.parametrize("name", ["_x", "__reduce__", "__class__", "_"])
def test_private_names_are_nobodys(world, lane, options, name):
    for method, args, blobs in (("get", [], []), ("set", [], [ONE]), ("delete", [], []), ("incr", [1], [])):
        with pytest.raises(AttributeMissing, match=f"'Namespace' object has no attribute '{name}'"):
            world.ask(lane, options, method, name, *args, blobs=blobs)
    assert options.state() == []


def test_a_missing_attribute_is_named_as_python_does(world, lane, options):
    text = r"'Namespace' object has no attribute 'depth' \(namespace 'options'\)"
    for method in ("get", "delete"):
        with pytest.raises(AttributeError, match=text):
            world.ask(lane, options, method, "depth")


def test_the_text_shows_a_hostile_name_short_and_harmless(world, lane, options):
    with pytest.raises(AttributeMissing) as raised:
        world.ask(lane, options, "get", "\x1b[2J" + "x" * 10_000)
    assert "\x1b" not in raised.value.text
    assert len(raised.value.text) < 500


def test_items_are_names_and_values(world, lane, options):
    world.ask(lane, options, "set", "x", blobs=[ONE])
    assert world.ask(lane, options, "incr", "y", 2) == 2
    call = world.call(lane, options, "items")
    assert (call.result, [pickle.loads(blob) for blob in call.out]) == (["x", "y"], [1, 2])


def test_incr_needs_a_number(world, lane, options):
    world.ask(lane, options, "set", "x", blobs=[pickle.dumps("1")])
    with pytest.raises(BadType, match="namespace 'options'"):
        world.ask(lane, options, "incr", "x", 1)


def test_what_leaves_is_no_longer_mentioned(world, lane, options):
    for name in "xy":
        world.ask(lane, options, "set", name, blobs=[Value(PICKLE, b"...", (), ("lock-1",))])
    world.ask(lane, options, "set", "x", blobs=[ONE])
    assert world.mentions == {"lock-1": 1}
    world.ask(lane, options, "delete", "y")
    assert world.mentions == {"lock-1": 0}
