"""Whatever the bytes: they are read, or refused with the documented error, and nothing in them runs.

What never ends, or takes all memory, is ended by the test run's own time limit.
"""

import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.test_symbolic_round_trip import objects

from mpshared.symbolic import (
    OWN,
    ForeignOrder,
    Limits,
    MalformedPickle,
    Stock,
    dump,
    equal,
    key,
    load,
    matcher,
    plain_order,
    text,
)
from mpshared.symbolic.machine import Machine
from mpshared.symbolic.plain import is_plain
from mpshared.symbolic.reading import _BROKEN, _run

# Each is one or a few opcodes that make sense together, so that chance builds what chance bytes never would.
PIECES = [
    *(
        b"N",
        b"\x88",
        b"K\x01",
        b"K\x02",
        b"J\xff\xff\xff\xff",
        b"G?\xf0\x00\x00\x00\x00\x00\x00",
        b"\x8a\x01\x05",
    ),
    *(
        b"\x8c\x01a",
        b"\x8c\x08builtins",
        b"\x8c\x03set",
        b"\x8c\x07getattr",
        b"C\x01b",
        b"X\x01\x00\x00\x00c",
    ),
    *(b"]", b"}", b"\x8f", b")", b"(", b"t", b"\x85", b"\x86", b"\x87", b"l", b"d"),
    *(b"a", b"e", b"s", b"u", b"\x90", b"\x91", b"b", b"R", b"\x81", b"\x92", b"\x93", b"0", b"1", b"2"),
    *(b"\x94", b"q\x00", b"q\x05", b"h\x00", b"h\x01", b"h\x02", b"j\x01\x00\x00\x00", b"r\x03\x00\x00\x00"),
    *(b"cos\nsystem\n", b"cbuiltins\nset\n", b"cbuiltins\nfrozenset\n", b"cbuiltins\nslice\n", b"cm\nC\n"),
    *(b"cmultiprocessing.managers\nRebuildProxy\n", b"cmpshared.values\nopen_ref\n", b"cpickle\nloads\n"),
    *(
        b"\x94\x85\x94",
        b"h\x00h\x00\x86\x94",
        b"(K\x01K\x02K\x03t\x94",
        b"\x8f\x94(K\x01\x90",
        b"}\x94K\x01Ns",
    ),
    *(
        b"\x80\x02",
        b"\x80\x04",
        b"\x95\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x97",
        b"\x98",
        b"\x96" + bytes(8),
    ),
]

soups = st.lists(st.sampled_from(PIECES), max_size=40).map(lambda pieces: b"".join(pieces) + b".")


@st.composite
def damaged_pickles(draw):
    data = bytearray(pickle.dumps(draw(objects), draw(st.integers(2, 5))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(
            st.one_of(st.binary(max_size=3), st.sampled_from(PIECES))
        )
    return bytes(data)


def use(data):
    """Do everything with `data` that the server does; only the documented errors come out."""
    try:
        obj = load(data)
    except MalformedPickle:
        return
    assert len(text(obj, limit=500)) <= 500
    assert matcher(data)(data)
    for attempt in (
        lambda: dump(obj, face=OWN),
        lambda: dump(obj, face=Stock(("127.0.0.1", 1))),
        lambda: equal(obj, load(data)),
        lambda: key(obj),
        lambda: plain_order(obj),
    ):
        try:
            attempt()
        except (MalformedPickle, ForeignOrder):
            pass
        except TypeError as error:
            assert str(error).startswith("unhashable type: ")


@given(st.binary())
def test_random_bytes(data):
    use(data)


@given(soups)
def test_random_opcodes(data):
    use(data)


@given(damaged_pickles())
def test_damaged_pickles(data):
    use(data)


@given(objects, st.integers(2, 5), st.data())
def test_a_pickle_cut_off_anywhere_is_refused(obj, protocol, data):
    whole = pickle.dumps(obj, protocol)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MalformedPickle):
        load(whole[:cut])


@given(soups | damaged_pickles())
def test_what_goes_the_fast_way_reads_the_same_the_exact_way(data):
    if not is_plain(data):
        return
    try:
        fast = pickle.loads(data)
        exact = _run(Machine(data, (), Limits()))
    except _BROKEN:
        return
    assert equal(fast, exact)


@given(soups | damaged_pickles())
def test_what_was_read_is_written_and_read_again(data):
    try:
        obj = load(data)
        written = dump(obj, face=OWN)
    except MalformedPickle:
        return
    again = load(written)
    try:
        assert equal(obj, again) or not equal(obj, load(data))  # a NaN equals nothing
    except (MalformedPickle, TypeError):
        assert not is_plain(
            data
        )  # a dict of a user's class with a key that is none, or an opaque value with no pickle


@given(soups | damaged_pickles())
def test_nothing_is_imported(data):
    before = set(sys.modules)
    use(data)
    assert set(sys.modules) - before <= {"mpshared.symbolic"}
