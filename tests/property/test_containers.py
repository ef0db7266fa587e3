"""Each container does what Python's own does: any calls in any order, the same answers, the same errors."""

import pickle
from array import array
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from tests.examples import examples
from tests.property.containers import (
    INDEXES,
    KEYS,
    NUMBERS,
    SLICES,
    VALUES,
    Container,
    blobs,
    clipped,
    exact,
    loaded,
    plus,
    python_key,
    wire_key,
)

from mpserve.core.t_array import TYPECODES, Array
from mpserve.core.t_dict import Dict
from mpserve.core.t_list import List
from mpserve.core.t_namespace import Namespace
from mpserve.core.t_set import Set
from mpserve.core.t_value import Value as Cell
from mpshared.values import NONE, PICKLE, Value


class DictRules(Container):
    def __init__(self):
        super().__init__(Dict)
        self.model = {}

    def content(self):
        state = self.machine.state()
        assert exact(python_key(key) for key, _ in state) == exact(self.model)
        assert exact(loaded(blob) for _, blob in state) == exact(self.model.values())

    @rule(key=KEYS)
    def get(self, key):
        self.value(lambda: self.model[key], "get", wire_key(key))

    @rule(key=KEYS, blob=blobs())
    def set(self, key, blob):
        self.plain(lambda: self.model.__setitem__(key, loaded(blob)), "set", wire_key(key), blobs=[blob])

    @rule(key=KEYS)
    def delete(self, key):
        self.plain(lambda: self.model.__delitem__(key), "delete", wire_key(key))

    @rule(key=KEYS)
    def contains(self, key):
        self.plain(lambda: key in self.model, "contains", wire_key(key))

    @rule()
    def read_all(self):
        self.plain(lambda: len(self.model), "len")
        want, (keys, out) = self.both(lambda: list(self.model.items()), "items")
        assert list(zip(map(python_key, keys), out, strict=True)) == want
        want, (keys, out) = self.both(lambda: list(self.model), "keys")
        assert (exact(map(python_key, keys)), out) == (exact(want), [])
        want, (result, out) = self.both(lambda: list(self.model.values()), "values")
        assert (result, out) == (None, want)

    @rule(key=KEYS)
    def pop(self, key):
        self.value(lambda: self.model.pop(key), "pop", wire_key(key))

    @rule()
    def popitem(self):
        answers = self.both(self.model.popitem, "popitem")
        if answers is not None:
            want, ([key], [value]) = answers
            assert (exact([python_key(key)]), value) == (exact(want[:1]), want[1])

    @rule(key=KEYS, blob=blobs())
    def setdefault(self, key, blob):
        self.value(
            lambda: self.model.setdefault(key, loaded(blob)), "setdefault", wire_key(key), blobs=[blob]
        )

    @rule(pairs=st.lists(st.tuples(KEYS, blobs())))
    def update(self, pairs):
        keys, new = [wire_key(key) for key, _ in pairs], [blob for _, blob in pairs]
        self.plain(lambda: self.model.update((k, loaded(b)) for k, b in pairs), "update", keys, blobs=new)

    @rule()
    def clear(self):
        self.plain(self.model.clear, "clear")

    @rule(key=KEYS, by=st.integers(-3, 3) | st.just(0.5))
    def incr(self, key, by):
        def expected():
            self.model[key] = total = plus(self.model.get(key, 0), by)
            return total

        self.plain(expected, "incr", wire_key(key), by)

    @rule(
        key=KEYS,
        believed=st.none() | VALUES,
        right=st.booleans(),
        has_old=st.booleans(),
        new=st.none() | blobs(),
    )
    def cas(self, key, believed, right, has_old, new):
        if has_old and right and key in self.model:
            believed = self.model[key]

        def expected():
            if has_old != (key in self.model) or (has_old and self.model[key] != believed):
                return False
            if new is None:
                self.model.pop(key, None)
            else:
                self.model[key] = loaded(new)
            return True

        sent = [pickle.dumps(believed)] * has_old + [new] * (new is not None)
        self.plain(expected, "cas", wire_key(key), has_old, new is not None, blobs=sent)


class ListRules(Container):
    def __init__(self):
        first = [NONE, pickle.dumps(1), Value(PICKLE, pickle.dumps([1.0]), (), ("lock-1",))]
        super().__init__(List, *first)
        self.model: list[Any] = [None, 1, [1.0]]

    def content(self):
        assert exact(map(loaded, self.machine.stored())) == exact(self.model)

    @rule(index=INDEXES)
    def get(self, index):
        self.value(lambda: self.model[clipped(index)], "get", index)

    @rule(index=INDEXES, blob=blobs())
    def set(self, index, blob):
        self.plain(lambda: self.model.__setitem__(clipped(index), loaded(blob)), "set", index, blobs=[blob])

    @rule(index=INDEXES)
    def delete(self, index):
        self.plain(lambda: self.model.__delitem__(clipped(index)), "delete", index)

    @rule(part=SLICES)
    def get_slice(self, part):
        answers = self.both(lambda: self.model[slice(*part)], "get_slice", part)
        if answers is not None:
            assert answers[1] == (None, answers[0])

    @rule(part=SLICES, new=st.lists(blobs(), max_size=4))
    def set_slice(self, part, new):
        values = [loaded(blob) for blob in new]
        self.plain(lambda: self.model.__setitem__(slice(*part), values), "set_slice", part, blobs=new)

    @rule(part=SLICES)
    def delete_slice(self, part):
        self.plain(lambda: self.model.__delitem__(slice(*part)), "delete_slice", part)

    @rule(blob=blobs())
    def append(self, blob):
        self.plain(lambda: self.model.append(loaded(blob)), "append", blobs=[blob])

    @rule(new=st.lists(blobs(), max_size=4))
    def extend(self, new):
        self.plain(lambda: self.model.extend(map(loaded, new)), "extend", blobs=new)

    @rule(index=INDEXES, blob=blobs())
    def insert(self, index, blob):
        self.plain(lambda: self.model.insert(clipped(index), loaded(blob)), "insert", index, blobs=[blob])

    @rule(index=st.just(-1) | INDEXES)
    def pop(self, index):
        self.value(lambda: self.model.pop(clipped(index)), "pop", index)

    @rule(value=VALUES)
    def remove(self, value):
        self.plain(lambda: self.model.remove(value), "remove", blobs=[pickle.dumps(value)])

    @rule(value=VALUES, stored=st.none() | st.integers(0, 9), start=INDEXES, stop=st.none() | INDEXES)
    def index(self, value, stored, start, stop):
        if stored is not None and stored < len(self.model):
            value = self.model[stored]
        limits = (start,) if stop is None else (start, stop)
        self.plain(
            lambda: self.model.index(value, *limits), "index", start, stop, blobs=[pickle.dumps(value)]
        )

    @rule(value=VALUES)
    def look_for(self, value):
        self.plain(lambda: self.model.count(value), "count", blobs=[pickle.dumps(value)])
        self.plain(lambda: value in self.model, "contains", blobs=[pickle.dumps(value)])
        self.plain(lambda: len(self.model), "len")

    @rule()
    def reverse(self):
        self.plain(self.model.reverse, "reverse")

    @rule(reverse=st.booleans())
    def sort(self, reverse):
        def expected():
            self.model[:] = sorted(self.model, reverse=reverse)

        self.plain(expected, "sort", reverse)

    @rule(numbers=st.lists(st.integers(-3, 3) | st.booleans() | st.just(0.5)))
    def fill_with_numbers(self, numbers):
        """Mixed values seldom have an order."""
        self.model[:] = numbers
        self.world.ask(
            self.lane, self.machine, "set_slice", [None] * 3, blobs=[pickle.dumps(n) for n in numbers]
        )

    @rule()
    def clear(self):
        self.plain(self.model.clear, "clear")

    @precondition(lambda self: len(self.model) < 20)
    @rule(n=st.integers(-1, 3))
    def repeat(self, n):
        def expected():
            self.model *= n

        self.plain(expected, "repeat", n)

    @rule(index=INDEXES, believed=VALUES, right=st.booleans(), new=blobs())
    def cas(self, index, believed, right, new):
        if right and -len(self.model) <= index < len(self.model):
            believed = self.model[index]

        def expected():
            same = self.model[clipped(index)] == believed
            if same:
                self.model[index] = loaded(new)
            return same

        self.plain(expected, "cas", index, blobs=[pickle.dumps(believed), new])

    @rule(index=INDEXES, by=st.integers(-3, 3) | st.just(0.5))
    def incr(self, index, by):
        def expected():
            self.model[index] = total = plus(self.model[clipped(index)], by)
            return total

        self.plain(expected, "incr", index, by)

    @rule(new=st.lists(blobs(), max_size=4), between=st.booleans())
    def sort_elsewhere(self, new, between):
        want, (version, out) = self.both(lambda: list(self.model), "snapshot")
        assert out == want
        if between:
            self.reverse()

        def expected():
            if not between:
                self.model[:] = map(loaded, new)
            return not between

        self.plain(expected, "replace", version, blobs=new)


class SetRules(Container):
    def __init__(self):
        super().__init__(Set)
        self.model = set()

    def content(self):
        members = [python_key(key) for key in self.machine.state()]
        assert len(members) == len(self.model)
        assert set(members) == self.model

    @rule(key=KEYS)
    def add(self, key):
        def expected():
            before = len(self.model)
            self.model.add(key)
            return len(self.model) > before

        self.plain(expected, "add", wire_key(key))

    @rule(key=KEYS)
    def discard(self, key):
        self.plain(lambda: self.model.discard(key), "discard", wire_key(key))

    @rule(key=KEYS)
    def remove(self, key):
        self.plain(lambda: self.model.remove(key), "remove", wire_key(key))

    @rule(key=KEYS)
    def contains(self, key):
        self.plain(lambda: key in self.model, "contains", wire_key(key))

    @rule()
    def read_all(self):
        self.plain(lambda: len(self.model), "len")
        want, (keys, out) = self.both(self.model.copy, "members")
        assert ({python_key(key) for key in keys}, len(keys), out) == (want, len(want), [])

    @rule()
    def pop(self):
        if not self.model:
            self.plain(self.model.pop, "pop")
            return
        [key] = self.world.ask(self.lane, self.machine, "pop")
        self.model.remove(python_key(key))

    @rule()
    def clear(self):
        self.plain(self.model.clear, "clear")

    @rule(
        keys=st.lists(KEYS),
        method=st.sampled_from(
            ["update", "difference_update", "intersection_update", "symmetric_difference_update"]
        ),
    )
    def combine(self, keys, method):
        self.plain(lambda: getattr(self.model, method)(keys), method, [wire_key(key) for key in keys])


class NamespaceRules(Container):
    NAMES = st.sampled_from(["x", "y", "état", "", "_private", "__reduce__"])

    def __init__(self):
        super().__init__(Namespace)
        self.model = {}

    def content(self):
        assert [(name, loaded(blob)) for name, blob in self.machine.state()] == list(self.model.items())

    @rule(name=NAMES)
    def get(self, name):
        def expected():
            if name not in self.model:
                raise AttributeError
            return self.model[name]

        self.value(expected, "get", name)

    @rule(name=NAMES, blob=blobs())
    def set(self, name, blob):
        def expected():
            if name.startswith("_"):
                raise AttributeError
            self.model[name] = loaded(blob)

        self.plain(expected, "set", name, blobs=[blob])

    @rule(name=NAMES)
    def delete(self, name):
        def expected():
            if name not in self.model:
                raise AttributeError
            del self.model[name]

        self.plain(expected, "delete", name)

    @rule(name=NAMES, by=st.integers(-3, 3))
    def incr(self, name, by):
        def expected():
            if name.startswith("_"):
                raise AttributeError
            self.model[name] = total = plus(self.model.get(name, 0), by)
            return total

        self.plain(expected, "incr", name, by)

    @rule()
    def items(self):
        want, (names, out) = self.both(lambda: dict(self.model), "items")
        assert dict(zip(names, out, strict=True)) == want


class ValueRules(Container):
    def __init__(self):
        super().__init__(Cell, pickle.dumps(0), typecode="i")
        self.model = 0

    def content(self):
        assert loaded(self.machine.state()) == self.model

    def change(self, value):
        self.model = value

    @rule()
    def get(self):
        self.value(lambda: self.model, "get")

    @rule(blob=blobs())
    def set(self, blob):
        self.plain(lambda: self.change(loaded(blob)), "set", blobs=[blob])

    @rule(by=st.integers(-3, 3) | st.just(0.5))
    def incr(self, by):
        def expected():
            self.model = plus(self.model, by)
            return self.model

        self.plain(expected, "incr", by)

    @rule(believed=VALUES, right=st.booleans(), new=blobs())
    def cas(self, believed, right, new):
        believed = self.model if right else believed
        same = believed == self.model
        self.plain(
            lambda: same and self.change(loaded(new)) is None, "cas", blobs=[pickle.dumps(believed), new]
        )


class ArrayRules(Container):
    TYPECODE: ClassVar = "i"

    def __init__(self):
        super().__init__(Array, typecode=self.TYPECODE, numbers=[1, 2, 3])
        self.model = array(self.TYPECODE, [1, 2, 3])

    def content(self):
        assert self.machine.numbers.tobytes() == self.model.tobytes()

    @rule(index=INDEXES)
    def get(self, index):
        self.plain(lambda: self.model[clipped(index)], "get", index)

    @rule(index=INDEXES, number=NUMBERS)
    def set(self, index, number):
        self.plain(lambda: self.model.__setitem__(clipped(index), number), "set", index, number)

    @rule(part=SLICES)
    def get_slice(self, part):
        self.plain(lambda: list(self.model[slice(*part)]), "get_slice", part)
        self.plain(lambda: [self.TYPECODE, list(self.model[slice(*part)])], "get_typed", part)

    @rule(part=SLICES, new=st.lists(NUMBERS | st.integers(0, 100), max_size=4))
    def set_slice(self, part, new):
        self.plain(lambda: self.assign(slice(*part), new), "set_slice", part, new)

    @rule(part=SLICES, new=st.lists(st.integers(0, 100), max_size=4))
    def set_slice_to_what_fits(self, part, new):
        self.plain(lambda: self.assign(slice(*part), new), "set_slice", part, new)

    def assign(self, part, new):
        # the order of checks: a bad slice and a bad number at once may be either error
        if part.step == 0 or (
            part.step not in {None, 1} and len(range(*part.indices(len(self.model)))) != len(new)
        ):
            raise ValueError
        self.model[part] = array(self.TYPECODE, new)

    @rule()
    def len(self):
        self.plain(lambda: len(self.model), "len")

    @rule(index=INDEXES, by=NUMBERS)
    def incr(self, index, by):
        def expected():
            self.model[clipped(index)] += by
            return self.model[index]

        self.plain(expected, "incr", index, by)


SETTINGS = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("rules", [DictRules, ListRules, SetRules, NamespaceRules, ValueRules])
def test_does_what_pythons_own_does(rules):
    run_state_machine_as_test(rules, settings=SETTINGS)


@pytest.mark.parametrize("typecode", TYPECODES)
def test_array_does_what_pythons_own_does(typecode):
    rules = type(f"ArrayRules_{typecode}", (ArrayRules,), {"TYPECODE": typecode})
    run_state_machine_as_test(rules, settings=settings(SETTINGS, max_examples=examples(15)))
