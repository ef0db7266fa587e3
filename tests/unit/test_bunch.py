"""Values that stay together: to whoever looks they are any sequence of values."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpshared.bunch import BUNCH_LEAST, SMALL_BYTES, Bunch, joined, message_bytes, odd_ones, total_bytes
from mpshared.values import Value
from mpshared.wire.errors import ProtocolError
from mpshared.wire.own.frames import Call, FrameDecoder, Reply, Type, encode_call, encode_reply, open_call
from mpshared.wire.own.pack import pack

VALUES = st.lists(st.binary(max_size=3))
PLACES = st.none() | st.integers(-8, 8)


def bunch_of(values):
    return Bunch(b"".join(values), [*map(len, values)])


@given(VALUES)
def test_it_is_a_sequence_of_its_values(values):
    bunch = bunch_of(values)
    assert bunch == values
    assert list(bunch) == values
    assert [bunch[at] for at in range(-len(values), len(values))] == values * 2
    assert list(reversed(bunch)) == values[::-1]
    assert [bunch.index(value) for value in values] == [values.index(value) for value in values]
    assert len(bunch) == len(values)
    assert repr(bunch) == f"Bunch({values!r})"
    with pytest.raises(IndexError):
        bunch[len(values)]


@given(VALUES, PLACES, PLACES, st.sampled_from([None, 1, 2, -1]))
def test_parts_of_it_are_such_and_hold_no_more(values, start, stop, step):
    part = bunch_of(values)[start:stop:step]
    assert type(part) is Bunch
    assert part == values[start:stop:step]
    assert part.data == b"".join(part)


@given(VALUES, st.binary(max_size=2), st.integers(0, 8))
def test_it_finds_the_first_of_a_value(values, value, n):
    known = [at for at, other in enumerate(values[:n]) if other == value]
    assert bunch_of(values).find(value, n) == (known[0] if known else -1)


def test_it_is_equal_to_what_has_the_same_values():
    assert bunch_of([b"a", b"bc"]) == (b"a", b"bc")
    assert bunch_of([b"a", b"bc"]) != bunch_of([b"ab", b"c"])
    assert bunch_of([b"a"]) != b"a"
    with pytest.raises(TypeError):
        hash(bunch_of([]))


def test_several_are_joined():
    one, two = bunch_of([b"a", b"bc"]), bunch_of([b"d"])
    assert joined([one]) is one
    assert type(joined([one, two])) is Bunch
    assert joined([one, two]) == [b"a", b"bc", b"d"]
    assert joined([one, [b"x"]]) == [b"a", b"bc", b"x"]
    assert joined([]) == []


def test_what_is_the_same_for_all_is_known():
    odd = Value(0, b"x", (), ("ident",))
    assert odd_ones(bunch_of([b"a", b"bc"])) == []
    assert odd_ones([b"a", odd]) == [odd]
    assert total_bytes(bunch_of([b"a", b"bc"])) == total_bytes([b"a", b"bc"]) == 3
    assert message_bytes(bunch_of([b"a", b"bc"])) == message_bytes([b"a", Value(0, b"b", (b"c",))]) == 3


class TestOnTheWire:
    def decoded(self, pieces):
        decoder = FrameDecoder(1 << 20)
        decoder.receive_data(b"".join(pieces))
        return decoder.next_event()

    def test_many_small_ones_come_together(self):
        values = [b"%d" % number for number in range(BUNCH_LEAST)]
        call = self.decoded(encode_call(1, 2, 3, 0, "q", [], values))
        assert isinstance(call, Call)
        assert type(call.blobs) is Bunch
        assert call.blobs == values

    def test_a_call_with_them_has_a_short_way(self):
        values = [b"%d" % number for number in range(BUNCH_LEAST)]
        [data] = encode_call(1, 2, 3, 0, "q", [None], values)
        call = open_call(data, 1 << 20)
        assert call is not None
        assert type(call[-1]) is Bunch
        assert call == (1, 2, 3, 0, "q", [None], values)

    @pytest.mark.parametrize("sizes", [[1] * 15 + [2], [1] * 16 + [-1, 1], [1] * 15 + [True]])
    def test_lies_about_them_are_named_by_the_usual_one(self, sizes):
        head = pack(["q", [], sizes])
        header = struct.pack("!IBBHIQQI", len(head) + 16, Type.CALL, 0, 1, 2, 3, 0, len(head))
        decoder = FrameDecoder(1 << 20)
        data = header + head + b"x" * 16
        assert open_call(data, 1 << 20) is None
        decoder.receive_data(data)
        with pytest.raises(ProtocolError, match="metas"):
            decoder.next_event()

    @pytest.mark.parametrize(
        "values",
        [
            [b"x"] * (BUNCH_LEAST - 1),
            [b"x" * (SMALL_BYTES + 1)] * BUNCH_LEAST,
            [Value(0, b"x")] * BUNCH_LEAST,
        ],
        ids=["few", "large", "odd"],
    )
    def test_others_do_not(self, values):
        call = self.decoded(encode_call(1, 2, 3, 0, "q", [], values))
        assert isinstance(call, Call)
        assert call.blobs == tuple(values)

    def test_they_leave_as_they_came(self):
        values = [b"%d" % number for number in range(BUNCH_LEAST)]
        pieces = encode_reply(2, 3, None, bunch_of(values))
        assert pieces == encode_reply(2, 3, None, values)
        reply = self.decoded(pieces)
        assert isinstance(reply, Reply)
        assert type(reply.blobs) is Bunch
        assert reply.blobs == values
