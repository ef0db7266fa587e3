"""Containers and numbers against the real server: the builtin types' methods, and live nesting."""

from __future__ import annotations

import builtins
import ctypes
import enum
import multiprocessing
import operator
from collections.abc import MutableMapping, MutableSequence, MutableSet
from fractions import Fraction

import pytest

import mpclient


class Colour(enum.Enum):
    RED = 1


FROZEN = getattr(builtins, "frozendict", None)
KEYS = [
    *("text", "\u00e9\u4e2d", "\ud800", b"bytes", 5, -(2**70), 2**64 - 1, 1.5, True, None, (1, ("a", b"b"))),
    *(Colour.RED, frozenset({1, 2}), Fraction(1, 3), complex(1, 2)),
]


class TestDict:
    def test_one_key(self, cluster):
        d = cluster.dict({"a": 1}, b=2)
        d["c"] = [3]
        assert d["c"] == [3]
        assert "a" in d
        assert "z" not in d
        assert d.get("z") is None
        assert d.get("z", 5) == 5
        del d["a"]
        assert d.pop("b") == 2
        assert d.pop("b", 7) == 7
        assert d.setdefault("n", 1) == 1
        assert d.setdefault("n", 2) == 1
        assert d.setdefault("none") is None
        assert len(d) == 3
        assert d

    def test_all_keys(self, cluster):
        d = cluster.dict([("a", 1), ("b", 2)])
        assert d.keys() == ["a", "b"]
        assert d.values() == [1, 2]
        assert d.items() == [("a", 1), ("b", 2)]
        assert list(d) == ["a", "b"]
        assert list(reversed(d)) == ["b", "a"]
        assert d.copy() == {"a": 1, "b": 2}
        assert str(d) == "{'a': 1, 'b': 2}"
        assert d == {"a": 1, "b": 2}
        assert d != {"a": 1}
        assert d | {"c": 3} == {"a": 1, "b": 2, "c": 3}
        d |= {"c": 3}
        d.update(d=4)
        d.update([("e", 5)])
        d.update(cluster.dict(f=6))
        assert d.popitem() == ("f", 6)
        assert len(d) == 5
        d.clear()
        assert not d
        assert isinstance(d, MutableMapping)

    @pytest.mark.parametrize("key", KEYS, ids=ascii)
    def test_keys_of_many_types(self, cluster, key):
        d = cluster.dict()
        d[key] = "value"
        assert d[key] == "value"
        assert key in d
        assert d.items() == [(key, "value")]
        assert type(d.keys()[0]) is type(key)
        del d[key]
        assert key not in d

    def test_unhashable_keys(self, cluster):
        with pytest.raises(TypeError, match="unhashable"):
            cluster.dict()[[1]] = 2

    def test_missing_keys(self, cluster, unique):
        d = cluster.dict(name=unique)
        for call in (lambda: d["k"], lambda: d.pop("k"), lambda: d.__delitem__("k")):
            with pytest.raises(KeyError) as caught:
                call()
            assert caught.value.args == ("k",)
            assert unique in caught.value.__notes__[0]
        with pytest.raises(KeyError):
            d.popitem()

    def test_counting_on_the_server(self, cluster):
        d = cluster.dict(text="x")
        assert d.incr("n") == 1
        assert d.incr("n", 4) == 5
        assert d.incr("n", 0.5) == 5.5
        with pytest.raises(TypeError):
            d.incr("text")

    def test_compare_and_swap(self, cluster):
        d = cluster.dict(a=[1, 2])
        assert not d.cas("a", [1], "new")
        assert d.cas("a", [1, 2], "new")
        assert not d.cas("a", mpclient.MISSING, "other")
        assert d.cas("b", mpclient.MISSING, 1)
        assert d.cas("b", 1, mpclient.MISSING)
        assert d.copy() == {"a": "new"}

    def test_nested_objects_are_live(self, cluster):
        outer, inner = cluster.dict(), cluster.list()
        outer["inner"] = inner
        outer["inner"].append(1)
        assert inner.copy() == [1]
        assert outer["inner"] == inner
        assert outer["inner"][0] == 1

    def test_repr_says_what_it_is_without_asking_the_server(self, cluster, unique):
        assert repr(cluster.dict(name=unique)) == f"<Dict {unique} at {cluster.address}>"

    @pytest.mark.skipif(not FROZEN, reason="frozendict is from Python 3.15 on")
    def test_together_with_a_frozendict_it_is_what_stands_first(self, cluster):
        d, frozen = cluster.dict(a=1, b=2), FROZEN(b=3, c=4)
        assert (type(frozen | d), frozen | d) == (FROZEN, {"b": 2, "c": 4, "a": 1})
        assert (type(d | frozen), d | frozen) == (dict, {"a": 1, "b": 3, "c": 4})


class TestList:
    def test_as_the_builtin(self, cluster):
        shared, plain = cluster.list([3, 1, 2]), [3, 1, 2]
        for target in (shared, plain):
            target.append(5)
            target.extend([7, 1])
            target.insert(1, "x")
            target[0] = 9
            target[1:3] = [4, 4, 4]
            target[::2] = [0, 0, 0, 0]
            del target[0]
            del target[1:2]
            target.remove(1)
            operator.iadd(target, [8])
            operator.imul(target, 2)
            target.reverse()
            assert target.pop() is not None
            assert target.pop(0) == 8
        assert shared == plain
        assert shared.copy() == plain
        assert shared[-1] == plain[-1]
        assert shared[1:4] == plain[1:4]
        assert shared[::-1] == plain[::-1]
        assert len(shared) == len(plain)
        assert list(shared) == plain
        assert list(reversed(shared)) == plain[::-1]
        assert shared.index(4) == plain.index(4)
        assert shared.count(0) == plain.count(0)
        assert 4 in shared
        assert "no" not in shared
        assert operator.add(shared, [1]) == [*plain, 1]
        assert shared * 2 == plain * 2
        assert str(shared) == str(plain)
        assert isinstance(shared, MutableSequence)

    def test_iterating_over_a_long_one_that_grows(self, cluster):
        shared = cluster.list(range(3000))
        found = []
        for item in shared:
            found.append(item)
            if item >= 2998:
                shared.append(item + 2)
            if item == 3005:
                break
        assert found == list(range(3006))

    def test_ends_beyond_every_list(self, cluster):
        shared, plain, far = cluster.list([3, 1, 2]), [3, 1, 2], 2**70
        assert shared[-far:far] == shared[::1] == plain[-far:far]
        assert shared[::-far] == plain[::-far]
        assert shared.index(1, -far, far) == plain.index(1, -far, far)
        shared[far:] = [4]
        del shared[-far:1]
        assert shared == [1, 2, 4]
        with pytest.raises(TypeError):
            shared["a":]
        with pytest.raises(TypeError):
            shared.index(1, "a")

    def test_errors(self, cluster):
        shared = cluster.list([1])
        with pytest.raises(IndexError):
            shared[5]
        with pytest.raises(IndexError):
            shared.pop(5)
        with pytest.raises(ValueError, match="not in list"):
            shared.remove(3)
        with pytest.raises(ValueError):
            shared.index(3)
        with pytest.raises(TypeError, match="list indices must be integers or slices, not str"):
            shared["a"]

    def test_sort(self, cluster):
        shared = cluster.list(["b", "C", "a"])
        shared.sort()
        assert shared.copy() == ["C", "a", "b"]
        shared.sort(key=str.lower, reverse=True)
        assert shared.copy() == ["C", "b", "a"]

    def test_sort_of_objects_runs_their_code_here(self, cluster):
        shared = cluster.list([Fraction(1, 2), Fraction(1, 3)])
        shared.sort()
        assert shared.copy() == [Fraction(1, 3), Fraction(1, 2)]
        with pytest.raises(TypeError):
            cluster.list([1, "a"]).sort()

    def test_one_step_on_the_server(self, cluster):
        shared = cluster.list([1, "a"])
        assert shared.incr(0, 2) == 3
        assert shared.cas(1, "a", "b")
        assert not shared.cas(1, "a", "c")
        assert shared.copy() == [3, "b"]

    def test_a_key_that_changes_the_list_ends_soon(self, cluster):
        shared = cluster.list(range(5))
        calls = []

        def growing(item):
            calls.append(item)
            shared.append(item)
            return item

        with pytest.raises(ValueError, match="was changed each time"):
            shared.sort(key=growing)
        assert len(calls) == 5 + 10 + 20

    def test_sorting_moves_nested_objects_alive(self, cluster):
        inner = [cluster.dict(rank=rank) for rank in (2, 1)]
        shared = cluster.list(inner)
        shared.sort(key=lambda d: d["rank"])
        assert [d["rank"] for d in shared] == [1, 2]
        assert shared[0] == inner[1]


class TestSet:
    def test_as_the_builtin(self, cluster):
        shared, plain = cluster.set([1, 2, (3, 4)]), {1, 2, (3, 4)}
        for target in (shared, plain):
            target.add("x")
            target.discard("nothing")
            target.remove(1)
            target.update([5], (6,))
            operator.ior(target, {7})
            operator.isub(target, {7})
            operator.iand(target, {2, (3, 4), "x", 5, 99})
            operator.ixor(target, {5, 50})
        assert shared == plain
        assert set(shared) == plain
        assert len(shared) == len(plain)
        assert (3, 4) in shared
        assert shared | {0} == plain | {0}
        assert shared & {2} == {2}
        assert shared - {2} == plain - {2}
        assert {2, 0} - shared == {0}
        assert shared.union([0]) == plain | {0}
        assert shared.issuperset([2])
        assert shared.isdisjoint([77])
        assert shared.pop() in plain
        with pytest.raises(KeyError):
            shared.remove("nothing")
        shared.clear()
        with pytest.raises(KeyError):
            shared.pop()
        assert isinstance(shared, MutableSet)


class TestNamespace:
    def test_attributes(self, cluster):
        space = cluster.Namespace(x=1)
        space.y = [2]
        assert space.x == 1
        assert space.y == [2]
        assert str(space) == "Namespace(x=1, y=[2])"
        assert space._asdict() == {"x": 1, "y": [2]}
        assert space._incr("x", 4) == 5
        del space.y
        with pytest.raises(AttributeError, match="y"):
            _ = space.y
        with pytest.raises(AttributeError):
            _ = space._private


class TestValue:
    def test_number(self, cluster):
        value = cluster.Value("i", 5)
        assert value.value == 5
        value.value += 1
        assert value.get() == 6
        assert value.incr(4) == 10
        assert value.cas(10, 0)
        assert not value.cas(10, 1)
        assert cluster.Value("d").value == 0.0
        assert cluster.Value(ctypes.c_int).value == 0

    def test_only_numbers_of_its_type(self, cluster):
        with pytest.raises(TypeError):
            cluster.Value("i", 1.5)
        with pytest.raises(OverflowError):
            cluster.Value("b").value = 200
        with pytest.raises(TypeError, match="type code"):
            cluster.Value("z")
        with pytest.raises(mpclient.NotSupported, match="is not one number"):
            cluster.Value(ctypes.c_char_p)

    def test_its_lock(self, cluster, in_thread):
        value = cluster.Value("i")
        with value, value.get_lock():
            assert not in_thread(lambda: value.get_lock().acquire(False))()

    def test_by_name_its_lock_is_the_same(self, server, cluster, unique):
        with server.connect() as other, cluster.Value("i", 3, name=unique).get_lock():
            theirs = other.Value("i", name=unique)
            assert theirs.value == 3
            assert not theirs.get_lock().acquire(False)


class TestArray:
    def test_numbers(self, cluster):
        array = cluster.Array("i", [1, 2, 3])
        assert array[:] == [1, 2, 3]
        array[0] = 10
        array[1:] = [20, 30]
        assert list(array) == [10, 20, 30]
        assert len(array) == 3
        assert array[-1] == 30
        assert array.incr(0, 5) == 15
        assert 20 in array
        assert cluster.Array("d", 3)[:] == [0.0, 0.0, 0.0]
        with pytest.raises(IndexError):
            array[3]
        with pytest.raises(ValueError, match="same size"):
            array[:] = [1]
        with pytest.raises(ValueError, match="negative"):
            cluster.Array("i", -1)
        with array.get_lock():
            array[0] += 1
        assert array.tolist() == [16, 20, 30]


class TestAsInMultiprocessing:
    """The same steps with `multiprocessing`'s objects and with ours."""

    @pytest.fixture(params=["multiprocessing", "cluster"])
    def maker(self, request, cluster):
        return multiprocessing if request.param == "multiprocessing" else cluster

    @pytest.mark.parametrize("typecode", ["c", ctypes.c_char])
    def test_a_byte(self, maker, typecode):
        value = maker.Value(typecode)
        assert value.value == b"\0"
        value.value = b"x"
        assert value.value == b"x"
        value.value = 65
        assert value.value == b"A"
        assert maker.Value(typecode, b"z", lock=False).value == b"z"
        for wrong in ("x", b"xy", b"", 256, None):
            with pytest.raises(TypeError):
                value.value = wrong
        with pytest.raises(TypeError):
            maker.Value(typecode, "x")

    @pytest.mark.parametrize("typecode", ["u", ctypes.c_wchar])
    def test_a_character(self, maker, typecode):
        value = maker.Value(typecode)
        assert value.value == "\0"
        value.value = "\U0001f600"
        assert value.value == "\U0001f600"
        for wrong in (b"x", "xy", "", 5):
            with pytest.raises(TypeError):
                value.value = wrong

    def test_a_truth_value(self, maker):
        value = maker.Value(ctypes.c_bool)
        assert value.value is False
        value.value = 17
        assert value.value is True
        assert maker.Value(ctypes.c_bool, []).value is False
        array = maker.Array(ctypes.c_bool, [1, 0, "yes"])
        assert array[:] == [True, False, True]
        assert array[1] is False
        array[1] = 5
        assert list(array) == [True, True, True]

    @pytest.mark.parametrize("typecode", ["c", ctypes.c_char])
    @pytest.mark.parametrize("lock", [True, False])
    def test_bytes(self, maker, typecode, lock):
        array = maker.Array(typecode, b"hello", lock=lock)
        assert (len(array), array[:], array[1:3], array[-1]) == (5, b"hello", b"el", b"o")
        assert list(array) == [b"h", b"e", b"l", b"l", b"o"]
        assert b"h" in array
        array[0] = b"J"
        array[1:3] = b"EL"
        array[4] = 79
        assert (array.value, array.raw) == (b"JELlO", b"JELlO")
        array.value = b"ab"
        assert (array.value, array.raw) == (b"ab", b"ab\0lO")
        array.raw = b"xyz"
        assert (array.value, array.raw) == (b"xyzlO", b"xyzlO")
        for attribute in ("value", "raw"):
            with pytest.raises(ValueError, match="too long"):
                setattr(array, attribute, b"123456")
            with pytest.raises(TypeError):
                setattr(array, attribute, "text")
        with pytest.raises(TypeError):
            array[0] = "x"
        assert maker.Array(typecode, 3).raw == bytes(3)

    def test_characters(self, maker):
        array = maker.Array("u", "ab\u4e2d")
        assert (array[:], array[2], array[:2], len(array)) == ("ab\u4e2d", "\u4e2d", "ab", 3)
        array[0] = "x"
        assert list(array) == ["x", "b", "\u4e2d"]
        text = array.get_obj()
        text.value = "q"
        assert (text.value, text[:]) == ("q", "q\0\u4e2d")
        assert maker.Array(ctypes.c_wchar, 2)[:] == "\0\0"
        with pytest.raises(TypeError):
            array[0] = b"x"

    def test_only_bytes_and_characters_have_a_text(self, maker):
        assert not hasattr(maker.Array("B", 3), "value")
        assert not hasattr(maker.Array("B", 3), "raw")
        assert not hasattr(maker.Array("u", 3), "raw")

    @pytest.mark.parametrize("name", ["get_lock", "get_obj", "acquire", "release", "__enter__"])
    def test_without_a_lock_its_methods_are_absent(self, maker, name):
        assert hasattr(maker.Value("i"), name)
        assert hasattr(maker.Array("i", 1), name)
        assert not hasattr(maker.Value("i", lock=False), name)
        assert not hasattr(maker.Array("i", 1, lock=False), name)

    def test_they_travel_as_what_they_are(self, cluster):
        """Only ours travel by queue."""
        q = cluster.Queue()
        made = [
            make(lock)
            for lock in (True, False)
            for make in (
                lambda lock: cluster.Value("c", b"x", lock=lock),
                lambda lock: cluster.Value(ctypes.c_bool, True, lock=lock),
                lambda lock: cluster.Array("c", b"xy", lock=lock),
                lambda lock: cluster.Array("u", "xy", lock=lock),
                lambda lock: cluster.Array(ctypes.c_bool, [1, 0], lock=lock),
            )
        ]
        q.put(made)
        got = q.get()
        assert [type(proxy) for proxy in got] == [type(proxy) for proxy in made]
        assert [p.value for p in got[:4]] == [b"x", True, b"xy", "xy"]
        assert got[4][:] == [True, False]
        assert [hasattr(proxy, "get_lock") for proxy in got] == [True] * 5 + [False] * 5

    def test_nothing_is_added_to_what_is_no_number(self, cluster):
        for typecode in ("c", "u", ctypes.c_bool):
            with pytest.raises(TypeError, match="nothing can be added"):
                cluster.Value(typecode).incr()
            with pytest.raises(TypeError, match="nothing can be added"):
                cluster.Array(typecode, 1).incr(0)


def test_many_values_go_in_parts(cluster, monkeypatch):
    monkeypatch.setattr("mpclient.objects.base.PART", 3)
    items, table, members = (
        cluster.list(range(7)),
        cluster.dict({n: n for n in range(7)}),
        cluster.set(range(7)),
    )
    items.extend(range(7, 11))
    items += [11]
    table.update(a=1)
    assert items[:] == [*range(12)]
    assert table.copy() == {**{n: n for n in range(7)}, "a": 1}
    assert members.copy() == {*range(7)}
    assert cluster.list(range(7), name="kept")[:] == cluster.list([1], name="kept")[:] == [*range(7)]
