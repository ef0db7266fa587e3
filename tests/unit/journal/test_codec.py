"""A journal's rows: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import zlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpserve.engines.journal.codec import (
    CONTINUES,
    GIVEN,
    SPARING_BYTES,
    Answer,
    Damaged,
    decode,
    encode,
    encode_sparingly,
)
from mpshared.bunch import Bunch
from mpshared.values import PickledKey, Value

BLOBS = (b"plain", Value(0, b"data", (b"one", b"two"), ("ident",)), Value(1 | 3 << 16 | 11 << 8, b"", (), ()))
RECORDS = [
    ("", "created", ("1f", "queue", "tasks", {"order": "fifo", "maxsize": 0})),
    ("1f", "put", ([*BLOBS],)),
    ("1f", "set", (PickledKey(b"key"), BLOBS[1])),
    ("1f", "held", ("session", 3, 1)),
    ("1f", "set", (None, -1, 2**63, 1.5, True, "text", b"bytes")),
]
ANSWERS = [
    Answer("session", 1, 7, 6, 0x0103, "1f", GIVEN, [3, 1], None, None),
    Answer("session", 1, 8, 7, 0x0101, "1f", None, None, [*BLOBS], None),
    Answer("session", 0, 9, 8, 0x0101, "", 5, None, None, ["empty", "nothing", {"a": 1}]),
]


def test_entries_come_back():
    entries = [*RECORDS, *ANSWERS]
    assert decode(*encode(entries)) == entries


@pytest.mark.parametrize("size", [0, 10, SPARING_BYTES, 3 * SPARING_BYTES + 1])
def test_the_pieces_of_a_row_say_the_same(size):
    large = bytes(range(251)) * (size // 251 + 1)
    values = [large[:size], Value(0, large[:size], (memoryview(large),), ("ident",)), Bunch(b"aab", [1, 2])]
    entries = [*RECORDS, ("1f", "put", (values, PickledKey(b"key"))), *ANSWERS]
    pieces = [*encode_sparingly(entries)]
    assert {checksum for _, checksum in pieces[:-1]} <= {CONTINUES}
    assert max(len(data) for data, _ in pieces) < 2 * SPARING_BYTES
    assert decode(b"".join(data for data, _ in pieces), pieces[-1][1]) == decode(*encode(entries))


def test_a_buffer_may_be_a_view():
    [(_, _, [blob])] = decode(*encode([("1f", "put", (Value(0, b"", (memoryview(b"view"),), ()),))]))
    assert blob.buffers == (b"view",)


def test_what_is_no_plain_data_is_refused():
    with pytest.raises(TypeError, match="object is no plain data"):
        encode([("1f", "put", (object(),))])


@pytest.mark.parametrize("at", range(0, len(encode(RECORDS)[0]), 7))
def test_a_flipped_bit_is_noticed(at):
    data, checksum = encode(RECORDS)
    bad = bytearray(data)
    bad[at] ^= 1
    with pytest.raises(Damaged, match="checksum"):
        decode(bytes(bad), checksum)


@pytest.mark.parametrize(
    "rows",
    [
        None,
        1,
        [1],
        [[]],
        [[2, "a", "b", []]],
        [[0, 1, "b", []]],
        [[0, "a", "b", None]],
        [[1, "session", 1]],
        {"a": 1},
    ],
)
def test_other_msgpack_is_no_row(rows):
    data = msgpack.packb(rows)
    with pytest.raises(Damaged, match="no row"):
        decode(data, zlib.crc32(data))


@pytest.mark.parametrize(
    "parts",
    [["tag", b"", [], []], [0, "text", [], []], [0, b"", [1], []], [0, b"", [], [b"ref"]], [0, b"", []]],
)
def test_a_value_of_other_parts_is_no_row(parts):
    data = msgpack.packb([[0, "1f", "put", [msgpack.ExtType(2, msgpack.packb(parts))]]])
    with pytest.raises(Damaged, match="no row"):
        decode(data, zlib.crc32(data))


@given(st.binary())
def test_any_bytes_are_a_row_or_damaged(data):
    try:
        decode(data, zlib.crc32(data))
    except Damaged as err:
        assert "no row" in str(err)
