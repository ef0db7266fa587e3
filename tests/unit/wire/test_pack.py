"""msgpack within limits: what is refused, and that refusing costs nothing."""

import threading
import tracemalloc
from typing import Any

import pytest

from mpshared.values import NUMBERS_MOST, PickledKey
from mpshared.wire.errors import CannotSend, MessageTooLarge, ProtocolError
from mpshared.wire.own.pack import DEAR_MOST, MAX_DEPTH, check_bounded, pack, unpack

PLAIN = [
    None,
    True,
    False,
    0,
    -1,
    2**64 - 1,
    -(2**63),
    1.5,
    "text",
    "",
    b"\xff",
    [],
    [1, [2]],
    {},
    {"a": 1, b"b": [None]},
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_data_comes_back_with_its_types(value):
    back = unpack(pack(value))
    assert (back, type(back)) == (value, type(value))


def test_pickled_keys_come_back_as_such():
    back = unpack(pack([PickledKey(b"pickle"), b"pickle"]))
    assert [*map(type, back)] == [PickledKey, bytes]
    assert back[0] == b"pickle"


def test_tuples_arrive_as_lists():
    assert unpack(pack([(1, 2), ()])) == [[1, 2], []]


class Int(int):
    pass


@pytest.mark.parametrize(
    "value",
    [object, {1}, 1j, Int(1), 2**64, -(2**63) - 1, "\udc80", {1.5: object}],
    ids=["object", "set", "complex", "subclass", "large", "small", "surrogate", "inner"],
)
def test_what_is_not_plain_is_refused_and_leaves_the_packer_clean(value):
    with pytest.raises(CannotSend, match="cannot be sent"):
        pack(["begun", value])
    assert unpack(pack("next")) == "next"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\x92\x01",
        b"\xa5abc",
        b"\xa1\xff",
        b"\x81\x01\x01",
        b"\x81\xc0\xc0",
        b"\x81\x90\x01",
        b"\xd4\x02x",
        b"\xd4\x80x",
        b"\xc7\x03\xffabc",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
    ],
    ids=repr,
)
def test_what_is_not_one_plain_value_is_refused(data):
    with pytest.raises(ProtocolError, match="in head"):
        unpack(data)


def test_timestamps_arrive_as_numbers():
    """An extension we do not use; what matters is that no foreign type comes out."""
    assert type(unpack(b"\xd6\xff\0\0\0\1")) is int


@pytest.mark.parametrize("open_one", [b"\x91", b"\x81\xa1a", b"\xdc\0\1"])
def test_nesting_is_bounded(open_one):
    assert unpack(open_one * MAX_DEPTH + b"\x01") is not None
    for depth in (MAX_DEPTH + 1, 500, 2000, 100_000):
        with pytest.raises(ProtocolError):
            unpack(open_one * depth + b"\x01")


def test_a_deep_branch_is_found_among_many_shallow_ones():
    deep: list[Any] = [0]
    for _ in range(MAX_DEPTH):
        deep = [deep]
    with pytest.raises(ProtocolError, match="nested deeper"):
        unpack(pack([{"a": [1] * 50}] * 50 + [{"b": deep}]))


def test_bytes_that_only_look_like_containers_are_no_nesting():
    value = ["\x91" * 500, b"\x91" * 500, [0x91] * 500]
    assert unpack(pack(value)) == value


@pytest.mark.parametrize("size", [1000, 100_000])
def test_lists_that_lie_about_their_length_allocate_next_to_nothing(size):
    """Each of these lists says that it is as long as the message; unpacked at once the larger takes 82 MB."""
    bomb = (b"\xdd" + (size // 2).to_bytes(4, "big")) * (size // 5)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            unpack(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("element", [b"\x90", b"\x80", b"\x91\x90", b"\xd4\x01x", b"\xc7\x00\x01"])
def test_what_takes_much_is_counted_where_it_is_asked_for(element):
    many = [b"\xdd" + count.to_bytes(4, "big") + element * count for count in (DEAR_MOST // 2 - 1, DEAR_MOST)]
    assert len(unpack(many[0], bounded=True)) == DEAR_MOST // 2 - 1
    check_bounded(many[0])
    with pytest.raises(ProtocolError, match="over 131072 lists, maps and pickled keys; send less at once"):
        unpack(many[1], bounded=True)
    with pytest.raises(MessageTooLarge, match="send it in smaller parts"):
        check_bounded(many[1])
    assert len(unpack(many[1])) == DEAR_MOST


def test_numbers_of_a_list_are_bounded_and_bytes_that_look_dear_are_not():
    with pytest.raises(ProtocolError, match="1048577 exceeds"):
        unpack(pack([0] * (NUMBERS_MOST + 1)), bounded=True)
    value = [[0] * NUMBERS_MOST, "\x91" * DEAR_MOST, b"\x91" * DEAR_MOST]
    assert unpack(pack(value), bounded=True) == value
    check_bounded(pack(value))


def test_threads_do_not_mix_their_bytes():
    wrong: list[int] = []

    def work(me):
        value = [
            (me, PickledKey(b"%d" % me))
        ] * 20  # tuples and keys run Python code in the middle of packing
        wrong.extend(1 for _ in range(300) if unpack(pack(value)) != [[me, b"%d" % me]] * 20)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
