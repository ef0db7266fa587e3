"""The same call on a container of the core and on Python's own: the ground of their property tests.

The `World` validates the object and compares it with one rebuilt from its records after every single step.
"""

import pickle
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant
from tests.unit.core.harness import World

from mpshared.errors import MpserveError
from mpshared.values import NONE, PICKLE, PickledKey, Value, data_of, ref_ids

ERRORS = (KeyError, IndexError, ValueError, TypeError, OverflowError, AttributeError)

# Few keys, so that they meet; many of them are equal to each other and not the same.
KEYS = st.sampled_from([
    "a", b"a", "", 0, -0.0, False, 1, 1.0, True, None, -1, -2, 2**62, 2.0**62, float("inf"),
    2**70, 2.0**70, 1j, (), (1, "a"), (1.0, "a"), (True, ("a", None)), frozenset({1, 2}), frozenset({1.0, 2}),
])  # fmt: skip
SCALARS = (str, int, bytes, float, bool, type(None))
NUMBERS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.integers(-300, 300), st.sampled_from([0.5, -1e39]))
VALUES = st.recursive(
    st.one_of(KEYS, st.integers(-3, 3), st.just(0.5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
INDEXES = st.one_of(st.integers(-7, 7), st.sampled_from([2**64 - 1, -(2**63)]))
SLICES = st.lists(st.none() | INDEXES, min_size=3, max_size=3)


def wire_key(key):
    """Return `key` as a client sends it."""
    fits = not isinstance(key, int) or -(2**63) <= key < 2**64
    return key if type(key) in SCALARS and fits else PickledKey(pickle.dumps(key))


def python_key(key):
    """Return what a client makes of a key that it was sent."""
    return pickle.loads(key) if isinstance(key, PickledKey) else key


def exact(items):
    """Tell 1, 1.0 and True apart."""
    return [(type(item), item) for item in items]


def plus(old, by):
    """Count as the server does: numbers only, and integers only as far as every reader can carry them."""
    if type(old) not in {int, float, bool}:
        raise TypeError
    if type(old + by) is int and not -(2**63) <= old + by < 2**64:
        raise OverflowError
    return old + by


def clipped(index):
    """Return an index that means the same; Python's own refuses those over 63 bits with other errors."""
    return max(-(2**31), min(index, 2**31))


def loaded(blob):
    return pickle.loads(data_of(blob))


@st.composite
def blobs(draw, values=VALUES):
    """Make a value as some client sends it: any protocol, now and then with shared objects in it."""
    value = draw(values)
    data = NONE if value is None else pickle.dumps(value, draw(st.integers(2, 5)))
    refs = draw(st.sampled_from([(), (), (), ("lock-1",), ("lock-1", "dict-2", "lock-1")]))
    return Value(PICKLE, data, (), refs) if refs else data


class Container(RuleBasedStateMachine):
    """One object, one client, and `model`: what Python has for it."""

    def __init__(self, of, *first, **options):
        super().__init__()
        self.world = World()
        self.lane = self.world.lane()
        self.machine = self.world.add(of, *first, name="it", **options)

    def both(self, expected, method, *args, blobs=()):
        """Do the same to the model (`expected`) and to the object; return both answers.

        None after the same error from both.

        The object's answer is a pair of plain data and unpickled values.
        """
        before = self.machine.state()
        try:
            want = expected()
        except ERRORS as err:
            with pytest.raises(type(err)) as raised:
                self.world.ask(self.lane, self.machine, method, *args, blobs=blobs)
            assert isinstance(raised.value, MpserveError)
            assert "'it'" in str(raised.value)
            assert self.machine.state() == before
            return None
        call = self.world.call(self.lane, self.machine, method, *args, blobs=blobs)
        result = self.world.arrived(call)
        return want, (result, [loaded(blob) for blob in call.out])

    def plain(self, expected, method, *args, blobs=()):
        """Do the same to both; the answers are plain data."""
        answers = self.both(expected, method, *args, blobs=blobs)
        if answers is not None:
            want, (result, out) = answers
            assert (result, out) == (want, [])

    def value(self, expected, method, *args, blobs=()):
        """Do the same to both; the answers are one value."""
        answers = self.both(expected, method, *args, blobs=blobs)
        if answers is not None:
            want, (result, out) = answers
            assert (result, out) == (None, [want])

    def content(self):
        """Check that both hold the same."""
        raise NotImplementedError

    @invariant()
    def holds_what_the_model_holds(self):
        self.content()

    @invariant()
    def counts_the_mentions_it_stores(self):
        counted = {ident: n for ident, n in self.world.mentions.items() if n}
        assert counted == Counter(ref_ids(self.machine.stored()))

    def teardown(self):
        before = self.machine.state()
        self.world.restart()
        self.machine = self.world.machines[self.machine.ident]
        assert self.machine.state() == before
        self.content()
