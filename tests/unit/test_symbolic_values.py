"""Keys, order, numbers and text of what was read."""

import collections
import copyreg
import decimal
import enum
import fractions
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.symbolic_samples import Color, Frozen, Level, MyDict, Pair, Point, Slotted, samples

from mpshared.symbolic import (
    ForeignOrder,
    MalformedPickle,
    Opaque,
    PickleTooComplex,
    Ref,
    equal,
    key,
    load,
    load_number,
    matcher,
    plain_order,
    text,
)


def as_key(obj, protocol=4):
    return key(load(pickle.dumps(obj, protocol)))


def same(one, other):
    return matcher(one)(other)


# -- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "obj", [None, 1, 1.5, True, "a", b"b", 2j, (), (1, ("a",)), frozenset([1, (2,)]), range(3), ...]
)
def test_a_plain_key_is_itself(obj):
    assert as_key(obj) == obj
    assert hash(as_key(obj)) == hash(obj)


def test_numbers_are_one_key_as_in_python():
    assert len({as_key(1), as_key(1.0), as_key(True), as_key(fractions.Fraction(1))}) == 2
    assert len({as_key((1, 2)), as_key((1.0, 2))}) == 1


@pytest.mark.parametrize(
    "obj",
    [
        Frozen("a", (1, Frozen("b"))),
        Color.RED,
        Level.LOW,
        Pair(1, (2,)),
        len,
        Point,
        fractions.Fraction(1, 3),
    ],
)
def test_a_users_object_is_a_key_by_its_structure(obj):
    found = {as_key(obj, protocol) for protocol in range(2, 6)}
    assert len(found) == 1
    assert hash(as_key((obj, 1))) == hash(as_key((obj, 1)))
    assert found.isdisjoint(
        {as_key(other) for other in (Frozen("b"), Color.BLUE, Level.HIGH, Pair(2, 2), max, Slotted)}
    )


def test_inside_a_users_object_everything_can_be_a_key():
    one, other = (
        Point([1, {"a": {2}}, bytearray(b"x"), slice(1, 2)]),
        Point([1, {"a": {3}}, bytearray(b"x"), slice(1, 2)]),
    )
    assert as_key(one) == as_key(Point([1, {"a": {2}}, bytearray(b"x"), slice(1, 2)]))
    assert as_key(one) != as_key(other)
    assert as_key(Point([1])) != as_key(Point((1,)))
    assert as_key(MyDict(a=1, b=2)) == as_key(MyDict(b=2, a=1))


@pytest.mark.parametrize("obj", [[], {}, set(), bytearray(), [1], ([],), (1, {}), slice(1, 2, 3)])
def test_what_cannot_be_a_key_is_refused_in_pythons_words(obj):
    with pytest.raises(TypeError, match=r"^unhashable type: '(list|dict|set|bytearray|slice)'$"):
        as_key(obj)


def test_a_key_too_large_is_refused():
    nested: tuple[object, ...] = ()
    for _ in range(100):
        nested = (nested,)
    for obj in (nested, tuple(range(20_000)), Point([0] * 20_000), tuple([10**9999] * 100)):
        with pytest.raises(PickleTooComplex, match="smaller key"):
            key(load(pickle.dumps(obj)))


def test_a_cyclic_object_is_no_key():
    point = Point(1)
    point.y = point
    with pytest.raises(PickleTooComplex):
        as_key(point)


def test_references_and_opaque_values_as_keys():
    assert key(Ref("dict", "a")) == key(Ref("", "a")) != key(Ref("dict", "b"))
    assert key(Opaque(pickle.dumps(Color.RED))) == as_key(Color.RED)
    assert key((Opaque(pickle.dumps(1)),)) == (1,)


# -- equality -------------------------------------------------------------------------------------


def test_dicts_and_sets_are_equal_in_any_order():
    assert same(pickle.dumps({"a": 1, "b": [2]}), pickle.dumps({"b": [2], "a": 1}))
    assert same(pickle.dumps({Color.RED: 1, Color.BLUE: 2}), pickle.dumps({Color.BLUE: 2, Color.RED: 1}))
    assert same(pickle.dumps({Color.RED, Color.BLUE}), pickle.dumps({Color.BLUE, Color.RED}))
    assert same(pickle.dumps({1}), pickle.dumps(frozenset({1})))
    one, other = (
        collections.defaultdict(int, pairs) for pairs in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)])
    )
    assert same(pickle.dumps(one), pickle.dumps(other))
    assert same(pickle.dumps(MyDict(a=1, b=2)), pickle.dumps(MyDict(b=2, a=1)))


def test_ordered_dicts_are_equal_in_order_only():
    one, other = (collections.OrderedDict(pairs) for pairs in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]))
    assert not same(pickle.dumps(one), pickle.dumps(other))


def test_a_mapping_of_a_users_class_may_have_any_keys():
    one, other = ({"pairs": AnyKeys([([n], n) for n in numbers])} for numbers in ((1, 2), (2, 1)))
    assert same(pickle.dumps(one), pickle.dumps(other))
    assert not same(pickle.dumps(one), pickle.dumps(AnyKeys([([1], 2)])))


class AnyKeys:
    """A mapping whose keys need not be hashable."""

    def __init__(self, pairs=()):
        self.pairs = list(pairs)

    def __setitem__(self, name, value):
        self.pairs.append((name, value))

    def __reduce__(self):
        return copyreg.__newobj__, (AnyKeys,), None, None, iter(self.pairs)  # type: ignore[attr-defined]


def test_keys_that_look_alike_are_equal_to_none():
    for obj in ({object(): 1, object(): 2}, {object(), object()}):
        data = pickle.dumps(obj)
        assert same(data, data)
        assert not same(data, pickle.dumps(obj, 2))


def test_equality_is_of_structure():
    assert not same(pickle.dumps(decimal.Decimal(1)), pickle.dumps(decimal.Decimal("1.0")))
    assert same(pickle.dumps(object()), pickle.dumps(object()))


def test_a_nan_is_found_where_the_bytes_are_the_same():
    nan = pickle.dumps([float("nan")])
    assert same(nan, nan)
    assert not same(nan, pickle.dumps([float("nan")], 2))


def test_cycles_that_look_alike_are_equal():
    def ring(size):
        first: list[object] = []
        last = first
        for _ in range(size - 1):
            last.append([])
            last = last[0]  # type: ignore[assignment]
        last.append(first)
        return pickle.dumps(first)

    assert same(ring(3), ring(5))
    assert same(ring(50), ring(49))
    assert not same(ring(3), pickle.dumps([[[1]]]))


def test_a_matcher_reads_the_other_side_each_time():
    matches = matcher(pickle.dumps({"a": Color.RED}))
    assert matches(pickle.dumps({"a": Color.RED}, 2))
    assert not matches(pickle.dumps({"a": Color.BLUE}))
    with pytest.raises(MalformedPickle):
        matches(b"junk")


def test_types_of_one_name_and_another_shape_differ():
    assert not equal(load(pickle.dumps(Color.RED)), load(pickle.dumps(enum.Enum)))


# -- order ----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(), st.text(), st.lists(st.binary()))))
def test_plain_values_are_ordered_as_python_does(items):
    assert sorted(plain_order(load(pickle.dumps(item))) for item in items) == sorted(items)  # type: ignore[type-var]


@pytest.mark.parametrize(
    "sort", ["dataclass", "decimal", "datetime", "int enum", "foreign keys", "foreign members", "named tuple"]
)
def test_ordering_what_users_wrote_is_refused_with_advice(sort):
    with pytest.raises(ForeignOrder, match=r"does not run; sort a copy in your program"):
        plain_order(load(pickle.dumps([1, samples()[sort]])))
    assert issubclass(ForeignOrder, TypeError)


# -- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -5, 1 << 100, 1.5, True])
def test_numbers_are_read(number):
    assert load_number(pickle.dumps(number)) == number


@pytest.mark.parametrize(
    ("obj", "name"), [("5", "str"), (None, "NoneType"), (Level.LOW, "Level"), (2j, "complex")]
)
def test_what_is_no_number_is_named(obj, name):
    with pytest.raises(TypeError, match=name):
        load_number(pickle.dumps(obj))


# -- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sort", ["empty", "bytes", "frozenset", "complex", "range", "slice", "ellipsis", "bytearray"]
)
def test_plain_values_look_as_in_python(sort):
    obj = samples()[sort]
    assert text(load(pickle.dumps(obj))) == repr(obj)


@given(
    st.recursive(
        st.integers() | st.text() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_nested_plain_values_look_as_in_python(obj):
    assert text(load(pickle.dumps(obj))) == repr(obj)


@pytest.mark.parametrize(
    ("obj", "shown"),
    [
        (Point(1, "a"), "<{0}.Point(x=1, y='a')>"),
        (Slotted(1, None), "<{0}.Slotted(a=1, b=None)>"),
        (Color.RED, "<{0}.Color('red')>"),
        (Pair(1, [2]), "<{0}.Pair(1, [2])>"),
        (MyDict(a=1), "<{0}.MyDict() {{'a': 1}}>"),
        (samples()["keywords"], "<{0}.Keywords(1, b=[2], both=(1, [2]))>"),
        (samples()["state"], "<{0}.State(state=[{{'a': 1}}])>"),
        (Point, "<{0}.Point>"),
        (collections.deque([1]), "<collections.deque() [1]>"),
    ],
)
def test_users_objects_look_like_what_their_pickle_says(obj, shown):
    assert text(load(pickle.dumps(obj))) == shown.format("tests.property.symbolic_samples")


def test_what_contains_itself_is_shown_once():
    items: list[object] = [1]
    items.append((items, {"k": items}))
    assert text(load(pickle.dumps(items))) == repr(items)


def test_text_is_cut_with_an_ellipsis():
    assert text(["a" * 50] * 3, limit=10) == "['aaaaaaa…"
    assert text("abc", limit=5) == "'abc'"
    assert text("abcd", limit=5) == "'abc…"
    assert text(1, limit=0) == ""


def test_names_cannot_draw_on_the_terminal():
    assert text(load(b"\x80\x04\x8c\x04m\x1b[2\x8c\x01C\x93.")) == "<m\\x1b[2.C>"


def test_shared_objects_do_not_show_their_ident():
    assert text([Ref("dict", "5ec4e7")]) == "[<DictProxy object, typeid 'dict'>]"


@pytest.mark.parametrize("batch", [b"(e", b"(u", b"(\x90"])
@pytest.mark.parametrize("whole", [b"cm\nC\n)\x81%b.", b"K\x01%b."])
def test_an_empty_batch_is_nothing_whatever_it_is_for(whole, batch):
    """As to the pickle module: a number takes one, too, and an object is the same with it as without.

    From Python 3.15 on the module looks whether a number could take something, also if it is nothing.
    """
    if sys.version_info >= (3, 15) and whole.startswith(b"K") and batch != b"(u":
        with pytest.raises(MalformedPickle):
            load(b"\x80\x04" + whole % batch)
        return
    with_it, without = load(b"\x80\x04" + whole % batch), load(b"\x80\x04" + whole % b"")
    assert text(with_it, limit=100) == text(without, limit=100)
    assert equal(with_it, without)
