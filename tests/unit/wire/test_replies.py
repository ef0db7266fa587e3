"""Long bytes in what a client is answered: received apart where they are, and never at the cost of others."""

import pickle
from functools import partial
from typing import Any

import pytest

from mpshared.values import Pieces, Value
from mpshared.wire.assembler import LARGE_BYTES, PART_BYTES
from mpshared.wire.own.frames import HEADER_BYTES, Event, encode_reply
from mpshared.wire.own.replies import ReplyDecoder, before_long

LONG = bytes(range(256)) * (LARGE_BYTES >> 7)
OTHER = LONG + b"other"
APART = [
    LONG,
    partial(bytes, LONG),
    {"name": "x" * 3000, "data": LONG, "more": [1, 2]},
    (LONG, "x" * LARGE_BYTES, OTHER),
]
TOGETHER = [
    "x" * len(LONG),
    bytearray(LONG),
    [*range(100_000)],
    ["x" * 2 * PART_BYTES, LONG],
    [LONG],
    [LONG[: LARGE_BYTES - 1]] * 2,
]


def dumped(value: object, protocol: int = 5) -> bytes:
    """Return a value as a client's pickler writes it: to a file, so that long bytes are out of its frames."""
    pieces: list[Any] = []

    class File:
        write = pieces.append

    pickle.Pickler(File(), protocol).dump(value)
    return b"".join(pieces)


class Stream:
    """A socket that gives as much as it is asked for, as with MSG_WAITALL; or `most`, as after a signal."""

    def __init__(self, *frames: list[bytes], most: int = 1 << 30) -> None:
        self.data, self.most = memoryview(b"".join(b"".join(pieces) for pieces in frames)), most
        self.reads: list[int] = []
        self.decoder = ReplyDecoder(1 << 30, 1 << 30)
        self.decoder.wants = HEADER_BYTES  # as behind a large frame

    def next_event(self) -> Any:
        """Read until there is an event."""
        event: Event | None
        while (event := self.decoder.next_event()) is None:
            size = min(self.decoder.wants or 1 << 16, self.most)
            assert size <= len(self.data) or not self.decoder.wants, "it would wait for what never comes"
            self.reads.append(size)
            self.decoder.receive_data(bytes(self.data[:size]))
            self.data = self.data[size:]
        return event


def reply(*blobs: Any, result: object = None) -> list[bytes]:
    return encode_reply(1, 1, result, blobs)


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("value", APART, ids=lambda value: type(value).__name__)
def test_long_bytes_come_apart(value, protocol):
    blob = dumped(value, protocol)
    (got,) = Stream(reply(blob)).next_event().blobs
    assert type(got) is Pieces
    assert got.data == blob
    begin, long, _rest = got.parts
    assert long == LONG
    assert begin[-5:] == b"B" + len(LONG).to_bytes(4, "little")


@pytest.mark.parametrize("value", TOGETHER, ids=lambda value: type(value).__name__)
def test_others_come_as_one_piece(value):
    blob = dumped(value)
    (got,) = Stream(reply(blob)).next_event().blobs
    assert got == blob


@pytest.mark.parametrize(
    "blobs",
    [
        (dumped(LONG), dumped(LONG)),
        (Value(0, dumped(LONG), (LONG,), ("ident",)),),
        (b"B" + LONG,),
        (dumped(LONG)[:-1],),
        (b"\x80\x05B\xff\xff\xff\xff" + LONG,),
        (b"\x80\x05\x95" + b"\xff" * 8 + LONG,),
    ],
    ids=["two", "with buffers", "no pickle", "cut off", "announces more", "endless frame"],
)
def test_what_else_is_there_comes_as_it_is(blobs):
    got = Stream(reply(*blobs), reply(b"next")).next_event().blobs
    assert [one.data if type(one) is Pieces else one for one in got] == [*blobs]


@pytest.mark.parametrize("most", [1, 7, PART_BYTES - 1, PART_BYTES, LARGE_BYTES, 3 * LARGE_BYTES])
def test_what_comes_in_other_parts_is_the_same(most):
    values = [dumped(value) for value in [*APART, *TOGETHER][:: 8 if most < PART_BYTES - 1 else 1]]
    stream = Stream(*map(reply, values), most=most)
    for value in values:
        (got,) = stream.next_event().blobs
        assert (got.data if type(got) is Pieces else got) == value


@pytest.mark.parametrize("value", [{"name": "x" * 15_000, "data": LONG}, LONG], ids=["late", "early"])
def test_who_reads_more_than_is_asked_for_is_not_asked_for_what_is_not_there(value):
    data = b"".join(reply(dumped(value)))
    decoder = ReplyDecoder(1 << 30, 1 << 30)
    for begin, end in ((0, 200), (200, len(data) - 1000)):
        decoder.receive_data(data[begin:end])
        assert decoder.next_event() is None
    assert decoder.wants <= 1000
    decoder.receive_data(data[-1000:])
    event: Any = decoder.next_event()
    assert [*event.blobs] == [dumped(value)]


def test_the_first_read_brings_what_is_before_the_long_bytes():
    stream = Stream(reply(dumped(LONG)), reply(dumped(LONG)))
    stream.next_event()
    stream.next_event()
    each = [HEADER_BYTES, stream.reads[1], len(LONG), 2]
    assert stream.reads == each * 2


def test_small_answers_behind_long_bytes_are_not_waited_for_longer_than_they_are():
    stream = Stream(
        reply(dumped(LONG)), reply(b"small"), reply(), reply(dumped("x" * 2 * LARGE_BYTES)), reply()
    )
    assert [len(stream.next_event().blobs) for _ in range(5)] == [1, 1, 0, 1, 0]


def test_who_looks_in_vain_rests():
    text = dumped("x" * 4 * LARGE_BYTES)
    stream = Stream(*[reply(text)] * 200)
    whole = 0
    for _ in range(200):
        (got,) = stream.next_event().blobs
        whole += stream.reads[-1] == len(got)
    assert whole > 190


def test_a_large_head_is_not_looked_into():
    stream = Stream(reply(dumped(LONG), result=["x" * 2 * LARGE_BYTES]))
    (got,) = stream.next_event().blobs
    assert got == dumped(LONG)


@pytest.mark.parametrize("value", APART, ids=lambda value: type(value).__name__)
def test_the_beginning_tells_where_they_are(value):
    blob = dumped(value)
    at = blob.index(LONG)
    for here in range(at):
        assert here < before_long(blob[:here]) <= at
    assert before_long(blob[:at]) == before_long(blob) == at
