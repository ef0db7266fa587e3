"""What is read as data and written back is the original object to any reader, whatever the protocol."""

import functools
import pickle
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property import symbolic_samples
from tests.property.symbolic_samples import (
    DIFFERENT_BY_PROTOCOL,
    MyDict,
    MyList,
    MySet,
    Pair,
    Point,
    State,
    samples,
)

from mpshared.symbolic import OWN, Limits, dump, equal, load, matcher, text
from mpshared.symbolic.machine import Machine
from mpshared.symbolic.reading import _run

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)
SORTS = sorted(samples())

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.complex_numbers(allow_nan=False),
)
keys: st.SearchStrategy[Any] = st.deferred(
    lambda: scalars | st.lists(keys, max_size=3).map(tuple) | st.frozensets(keys, max_size=3)
)
objects = st.recursive(
    keys | st.sampled_from(SORTS).map(lambda sort: samples()[sort]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.lists(inner, max_size=5).map(MyList),
        st.dictionaries(keys, inner, max_size=5),
        st.dictionaries(keys, inner, max_size=5).map(MyDict),
        st.builds(Point, inner, inner),
        st.builds(Pair, inner, inner),
        st.builds(State, inner),
    ),
    max_leaves=15,
)


def same(one, other):
    return matcher(one)(other)


def there_and_back(obj, protocol=pickle.DEFAULT_PROTOCOL):
    return pickle.loads(dump(load(pickle.dumps(obj, protocol)), face=OWN))


@pytest.mark.parametrize(("sort", "protocol"), list(product(SORTS, PROTOCOLS)))
def test_each_sort_of_object_comes_back(sort, protocol):
    obj = samples()[sort]
    back = there_and_back(obj, protocol)
    assert back == obj
    assert type(back) is type(obj)
    assert getattr(back, "__dict__", None) == getattr(obj, "__dict__", None)


@given(objects, st.sampled_from(PROTOCOLS))
def test_whatever_is_made_of_them_comes_back(obj, protocol):
    assert there_and_back(obj, protocol) == obj


@given(objects, st.sampled_from(PROTOCOLS))
def test_writing_changes_nothing_that_reading_sees(obj, protocol):
    data = pickle.dumps(obj, protocol)
    once = load(data)
    twice = load(dump(once, face=OWN))
    assert equal(once, twice)
    assert same(data, dump(once, face=OWN))
    assert len(text(once)) == len(text(twice))  # sets show their members in any order


@given(keys | st.lists(keys) | st.dictionaries(keys, st.lists(keys)), st.sampled_from(PROTOCOLS))
def test_the_fast_way_and_the_exact_way_read_the_same(obj, protocol):
    data = pickle.dumps(obj, protocol)
    assert load(data) == _run(Machine(data, (), Limits())) == obj


@pytest.mark.parametrize(
    ("sort", "protocol"), list(product(sorted(set(SORTS) - DIFFERENT_BY_PROTOCOL), PROTOCOLS))
)
def test_an_object_is_the_same_in_every_protocol(sort, protocol):
    obj = samples()[sort]
    assert same(pickle.dumps(obj, protocol), pickle.dumps(obj, 4))


@given(objects, objects)
def test_what_python_finds_equal_after_the_same_way_is_the_same(one, other):
    one_data, other_data = pickle.dumps(one, 4), pickle.dumps(other, 4)
    if same(one_data, other_data):
        assert pickle.loads(one_data) == pickle.loads(other_data)


@given(scalars, scalars)
def test_plain_values_are_the_same_when_python_says_so(one, other):
    assert same(pickle.dumps([one]), pickle.dumps([other])) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        ([1], (1,)),
        ([1], [1, 2]),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({1}, {2}),
        (Point(1), Point(2)),
        (Point(1), State(1)),
        (MyList([1]), MyList([2])),
        (MyList([1]), [1]),
        (len, max),
        (Point, Point(1)),
        (functools.partial(len, [1]), functools.partial(len, [2])),
    ],
)
def test_different_objects_are_not_the_same(one, other):
    assert not same(pickle.dumps(one), pickle.dumps(other))
    assert not same(pickle.dumps([one, one]), pickle.dumps([one, other]))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_partials_come_back(protocol):
    back = there_and_back(functools.partial(Point, 1, y=[2]), protocol)
    assert back() == Point(1, [2])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "error", [KeyError("k"), OSError(2, "no file", "x"), UnicodeDecodeError("utf-8", b"x", 0, 1, "r")]
)
def test_exceptions_come_back(error, protocol):
    error.extra = [1]
    back = there_and_back(error, protocol)
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_one_object_stays_one_object(protocol):
    point, items = Point(1), [1]
    one, two, three, four = there_and_back([point, items, {"p": point}, (items,)], protocol)
    assert three["p"] is one
    assert four[0] is two


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_list_that_contains_itself_comes_back(protocol):
    items: list[object] = [1]
    items.append(items)
    back = there_and_back(items, protocol)
    assert back[1] is back
    assert same(pickle.dumps(items, protocol), pickle.dumps(items, 4))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", [list, MyList, dict, MyDict, tuple, Point, State, MySet, frozenset])
def test_a_cycle_through_each_kind_comes_back(kind, protocol):
    node: Any = symbolic_samples.Attributes()
    node.again = (
        kind({"k": node})
        if issubclass(kind, dict)
        else kind(node)
        if kind in {Point, State}
        else kind([node])
    )
    back = there_and_back(node, protocol)
    through = back.again
    inside = {
        dict: lambda: through["k"],
        Point: lambda: through.x,
        State: lambda: through.value,
    }
    reached = inside.get(dict if issubclass(kind, dict) else kind, lambda: next(iter(through)))()
    assert reached is back
    assert type(through) is kind


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_cycle_may_be_entered_at_its_set(protocol):
    node: Any = symbolic_samples.Attributes()
    node.again = MySet([node])
    back = there_and_back(node.again, protocol)
    (member,) = back
    assert type(back) is MySet
    assert member.again is back


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_arrays_come_back(protocol):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(12, dtype=">i4").reshape(3, 4)
    record = numpy.array([(1, "a")], dtype=[("n", "<f8"), ("t", "<U4")])
    back = there_and_back([array, record, array.dtype, numpy.float64(1.5), array[:, ::2]], protocol)
    assert (back[0] == array).all()
    assert back[0].flags.writeable
    assert (back[1] == record).all()
    assert back[2:4] == [array.dtype, 1.5]
    assert (back[4] == array[:, ::2]).all()


def test_buffers_beside_the_pickle_come_back_inside():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(1000)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(array, 5, buffer_callback=buffers.append)
    beside = tuple(bytes(buffer.raw()) for buffer in buffers)
    loaded = load(data, buffers=beside)
    assert (pickle.loads(dump(loaded, face=OWN)) == array).all()
    assert equal(loaded, load(pickle.dumps(array, 5)))
