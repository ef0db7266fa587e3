"""First, last or lowest first: the order of a queue, and what a priority queue refuses."""

import pickle

import cloudpickle
import pytest

from mpserve.core.queue_shelf import PART, Entry, Shelf
from mpserve.core.t_queue import Queue
from mpshared.errors import BadType, BadValue, Conflict, NotSupported


def put(world, lane, q, *values):
    world.ask(lane, q, "put_many", 0, blobs=[pickle.dumps(value) for value in values])


def get(world, lane, q, n=1):
    return [pickle.loads(world.out(lane, q, "get", 0, False)[0]) for _ in range(n)]


class Custom:
    def __lt__(self, other):
        raise AssertionError("the server ran users' code")


# -- orders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "expected"), [("fifo", [2, 1, 3]), ("lifo", [3, 1, 2]), ("priority", [1, 2, 3])]
)
def test_orders(world, lane, order, expected):
    q = world.add(Queue, order=order)
    put(world, lane, q, 2, 1, 3)
    assert get(world, lane, q, 3) == expected


@pytest.mark.parametrize("order", ["fifo", "lifo", "priority"])
def test_a_batch_comes_in_the_order_of_the_queue(world, lane, order):
    q = world.add(Queue, order=order)
    put(world, lane, q, 2, 1, 3)
    singly = get(world, lane, q, 3)
    put(world, lane, q, 2, 1, 3)
    assert [pickle.loads(blob) for blob in world.out(lane, q, "get_many", 9, 0, False)] == singly


def test_more_items_than_a_chunk_holds(world, lane):
    q = world.add(Queue, order="priority")
    numbers = [n * 7919 % 3001 for n in range(3001)]
    put(world, lane, q, *numbers)
    out = world.out(lane, q, "get_many", 5000, 0, False)
    assert [pickle.loads(blob) for blob in out] == sorted(numbers)


def test_equal_priorities_are_first_come_first_served(world, lane):
    q = world.add(Queue, order="priority")
    put(world, lane, q, (1, "a"), (0, "z"), (1, "a"), (1.0, "a"), (True, "a"))
    assert get(world, lane, q, 5) == [(0, "z"), (1, "a"), (1, "a"), (1.0, "a"), (True, "a")]


def test_an_object_of_the_users_may_stand_behind_what_decides(world, lane):
    q = world.add(Queue, order="priority")
    first, second = Custom(), Custom()
    put(world, lane, q, (2, second), (1, first))
    out = world.out(lane, q, "get_many", 2, 0, False)
    assert [pickle.loads(blob)[0] for blob in out] == [1, 2]


@pytest.mark.parametrize(
    ("queued", "value", "error"),
    [
        ([1], "a", BadType),
        (["a"], 1, BadType),
        ([(1, "a")], (1, 2), BadType),
        ([(1, 2)], 1, BadType),
        ([(1, Custom())], (1, Custom()), BadType),
        ([], Custom(), NotSupported),
        ([], {"a": 1}, BadType),
        ([], float("nan"), BadType),
        ([], {1, 2}, BadType),
    ],
)
def test_what_cannot_be_ordered_is_refused_and_changes_nothing(world, lane, queued, value, error):
    q = world.add(Queue, order="priority")
    put(world, lane, q, *queued)
    before = q.state()
    with pytest.raises(error):
        put(world, lane, q, value)
    assert q.state() == before


def test_what_is_refused_is_named(world, lane):
    class Local: ...

    q = world.add(Queue, order="priority")
    with pytest.raises(NotSupported, match=r"cannot order objects of .*\.Custom: "):
        put(world, lane, q, Custom())
    with pytest.raises(NotSupported, match="cannot order objects of a program's own class: "):
        world.ask(lane, q, "put", 0, blobs=[cloudpickle.dumps(Local())])


def test_a_damaged_pickle_cannot_be_ordered(world, lane):
    q = world.add(Queue, order="priority")
    with pytest.raises(BadValue, match="cannot read"):
        world.ask(lane, q, "put", 0, blobs=[b"\x80nonsense"])


def test_a_batch_that_cannot_be_ordered_in_itself(world, lane):
    q = world.add(Queue, order="priority")
    with pytest.raises(BadType, match="number and a str"):
        put(world, lane, q, 1, "a")
    assert q.ready.size == 0


def test_a_priority_of_enormous_size_takes_little_time(world, lane):
    q = world.add(Queue, order="priority")
    value: list[object] = [1]
    for _ in range(40):
        value = [value, value]  # 2**40 parts when written out
    put(world, lane, q, (1, value), (2, value))
    assert q.ready.size == 2


def test_returned_items_find_a_place_among_others_that_do_not_compare(world, lane):
    q = world.add(Queue, order="priority")
    put(world, lane, q, (1, "a"))
    taken = world.call(lane, q, "get", 0, False)
    other = world.lane()
    put(world, other, q, (1, 2), (0, 0))
    world.abandon(taken)
    assert sorted(map(str, get(world, other, q, 3))) == ["(0, 0)", "(1, 'a')", "(1, 2)"]


def test_settings_that_arrive_late_reorder_what_is_queued(world, lane):
    q = world.add(Queue, name="q")
    put(world, lane, q, 1, 2, 3)
    q.settings["order"] = "lifo"
    q.configure()
    put_and_got = []
    world.shadows[q.ident].settings["order"] = "lifo"
    world.shadows[q.ident].configure()
    put(world, lane, q, 4)
    put_and_got += get(world, lane, q, 4)
    assert put_and_got == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"order": "random"}, BadValue),
        ({"maxsize": "5"}, BadType),
        ({"max_attempts": 1.5}, BadType),
        ({"size": 5}, Conflict),
    ],
)
def test_impossible_settings(world, settings, error):
    with pytest.raises(error):
        world.add(Queue, **settings)


def test_a_shelf_stays_sorted_whatever_comes_and_goes():
    shelf = Shelf()
    entries: list[Entry] = []
    for n in range(3 * PART):
        entry: Entry = (n * 31 % 97, n * 7919 % 5003, 0, b"")
        shelf.add(entry)
        entries.append(entry)
    for entry in entries[::3]:
        assert shelf.remove(entry[0], entry[1]) == entry
    assert shelf.remove(1000, 0) is shelf.remove(-1, 0) is shelf.remove(50, -1) is None
    assert list(shelf) == sorted(entry for at, entry in enumerate(entries) if at % 3)
    assert shelf.count == len(list(shelf))
    for entry in list(shelf):
        shelf.remove(entry[0], entry[1])
    assert not list(shelf)
