"""Values that are stored as they came: what is cut out of a request opens, and nothing is opened for that."""

import functools
import operator
import os
import pickle
import struct
from multiprocessing import managers
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.symbolic_samples import samples
from tests.property.test_symbolic_fuzz import PIECES, soups
from tests.property.test_symbolic_round_trip import objects

from mpserve.dispatch.stock_cut import HEAD_AT, cut_value, names_in, value_at
from mpserve.dispatch.stock_forms import pair_around, read_request
from mpshared import symbolic
from mpshared.symbolic import MalformedPickle

IDENT = "0123456789abcdef"
HEAD = b"(\x8c\x10" + IDENT.encode() + b"\x94\x8c\x03put\x94"
TAIL = b"\x85\x94}\x94t\x94."

WHOLE: dict[str, Any] = {
    "job": functools.partial(operator.mul, 3, 4),
    "job with keywords": functools.partial(int, "11", base=2),
    "large bytes": bytes(1 << 20),
    "large job": functools.partial(bytes, bytes(1 << 20)),
    "several large ones": [bytes(70_000), "x" * 3000, bytes(100_000), 1],
    "None": None,
    "a long text": functools.partial(print, "x" * 100),
    "a dict": {"a": functools.partial(print), "b": [1, 2.5, -3]},
    "many numbers": list(range(1000)),
    "shares": [samples] * 5,
}


def request(obj: object, method: str = "put", protocol: int = 4) -> bytes:
    return pickle.dumps((IDENT, method, (obj,), {}), protocol)


def around(opcodes: bytes) -> bytes:
    """Return a request whose value is made by these opcodes, as a pickler would frame it."""
    body = HEAD + opcodes + TAIL
    return b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body


def cut(data: bytes) -> bytes | None:
    at = value_at(data)
    return cut_value(data, at) if at else None


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("sort", WHOLE)
def test_these_are_cut(sort, protocol):
    data = request(WHOLE[sort], protocol=protocol)
    value = cut(data)
    assert value is not None
    assert names_in(data[HEAD_AT : value_at(data)]) == (IDENT, "put")
    assert repr(pickle.loads(value)) == repr(WHOLE[sort])
    if sort != "None":
        message = b"".join(pair_around(value))
        assert repr(pickle.loads(message[4:])) == repr(("#RETURN", WHOLE[sort]))
        assert message[:4] == struct.pack("!i", len(message) - 4)


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("sort", samples())
def test_what_is_cut_opens_as_the_original(sort, protocol):
    obj = samples()[sort]
    value = cut(request(obj, protocol=protocol))
    if value is not None:
        assert pickle.loads(value) == obj
        assert symbolic.equal(symbolic.load(value), symbolic.load(pickle.dumps(obj, protocol)))


def test_most_sorts_are_cut():
    assert sum(cut(request(obj)) is not None for obj in samples().values()) > len(samples()) * 0.75


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps((IDENT, "put", (1, True), {}), 4),
        pickle.dumps((IDENT, "put", (), {}), 4),
        pickle.dumps((IDENT, "put", (), {"item": 1}), 4),
        pickle.dumps((IDENT, "put", (1,), {"block": True}), 4),
        pickle.dumps((None, "put", (1,), {}), 4),
        pickle.dumps((7, 7, (1,), {}), 4),
        request(1, protocol=3),
        b"\x80\x04\x95" + TAIL,
        b"\x80\x04\x95" + bytes([200]) * 20 + TAIL,
        b".",
    ],
)
def test_other_requests_are_not(data):
    at = value_at(data)
    assert not at or names_in(data[HEAD_AT:at]) is None


@pytest.mark.parametrize("word", ["put", IDENT])
def test_a_value_that_refers_to_what_is_before_it_takes_the_long_way(word):
    data = pickle.dumps((IDENT, "put", ([word],), {}), 4)
    assert b"h\x00" in data or b"h\x01" in data
    assert cut(data) is None


def test_a_shared_object_takes_the_long_way():
    token = managers.Token("list", ("h", 1), "i")  # type: ignore[attr-defined]  # not in typeshed
    assert cut(request([functools.partial(token.__reduce__), 1])) is None
    assert cut(request(token)) is None


class Run:
    """Pickles as a call of whatever is given."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def test_nothing_is_called(tmp_path):
    mark = tmp_path / "mark"
    assert cut(request([Run(os.system, f"touch {mark}")])) is not None
    assert not mark.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"",
        b"K\x01K\x02",  # two objects
        b"0K\x01",  # takes away what was before
        b"K\x010",
        b"\x85",  # makes it a part of itself
        b"a",
        b"t(K\x01",
        b"(K\x01",
        b"h\x05",  # nothing is remembered there
        b"j\x01\x00\x00\x00",  # what stands before it, in another way
        b"K",
        b"\x8c\x05ab",
        b"X\xff\xff\xff\x7fab",
        b"B\xff\xff\xff\x7f" + bytes(600),
        b"\x8c\x01\xff\x94",  # no UTF-8
        b"r\xff\xff\xff\x0f",  # LONG_BINPUT: room for 2 GiB
        b"cos\nsystem\n",
        b"(ios\nsystem\n",
        b"\x82\x01",
        b"Pid\n",
        b"K\x01Q",
        b"\x97",
        b"K\x01K\x02R",
        b"]K\x01b",
        b"\x95" * 700,
        b"N.N",
    ],
)
def test_what_is_not_sound_takes_the_long_way(opcodes):
    assert cut(around(opcodes)) is None


def test_what_would_cost_much_takes_the_long_way():
    doubled = b")\x94" + b"".join(b"h%ch%c\x86\x94" % (n + 2, n + 2) for n in range(40))
    assert cut(around(b"}" + doubled + b"K\x01s")) is None  # a key that is hashed for ever
    calls = b"(" + b"N" * 1000 + b"t\x94]\x94(" + b"\x8c\x01a\x94\x8c\x01b\x94\x93h\x02R" * 100 + b"e"
    assert cut(around(calls)) is None  # the same long arguments again and again
    assert cut(around(b"](" + b"N" * 10_000 + b"e")) is None  # beside the loop
    text = b"X" + struct.pack("<I", 1 << 20) + "\N{GREEK SMALL LETTER MU}".encode() * (1 << 19)
    assert cut(around(text)) is None  # not between frames, as a pickler would write it
    assert cut(around(b"\x95" + bytes(8) + text)) is None


@st.composite
def damaged_requests(draw):
    """Return a request for storing something, its value changed in some places, or in none."""
    data = request(draw(objects))
    opcodes = bytearray(data[value_at(data) : -len(TAIL)])
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(opcodes)))
        opcodes[at : at + draw(st.integers(0, 3))] = draw(st.sampled_from(PIECES) | st.binary(max_size=3))
    return around(bytes(opcodes))


@given(damaged_requests() | soups.map(around))
def test_what_is_cut_from_anything_is_what_the_long_way_finds(whole):
    value = cut(whole)
    if value is None:
        return
    try:
        found = symbolic.load(value)
        (expected,) = read_request(whole)[2]
    except MalformedPickle:
        return
    try:
        assert symbolic.equal(found, expected) or not symbolic.equal(found, symbolic.load(value))  # a NaN
    except MalformedPickle:
        return
