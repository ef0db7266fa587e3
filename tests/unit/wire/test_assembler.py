"""Chunks in, records out: what all decoders stand on."""

import random
import struct
import tracemalloc

import pytest

from mpshared.wire.assembler import (
    FIRST_BYTES,
    LARGE_BYTES,
    SCRATCH_BYTES,
    SPARE_BYTES,
    SPARE_MOST,
    STEP,
    _spare,
)
from mpshared.wire.framing import FrameReader, join_frame


def fill(reader, data, step):
    """Give data to a reader as an event loop does that receives into its buffers; return the frames."""
    frames: list[bytes] = []
    view = memoryview(data)
    while view:
        buffer = reader.get_buffer()
        took = min(step, len(buffer), len(view))
        assert took > 0
        buffer[:took] = view[:took]
        reader.buffer_updated(took)
        view = view[took:]
        frames += iter(reader.next_frame, None)
    return frames


@pytest.mark.parametrize("step", [1000, 65536, 1 << 20])
def test_received_into_buffers_is_the_same_as_received_as_bytes(step):
    payloads = [b"a", bytes(LARGE_BYTES + 7), b"b" * 3000, b"c" * (4 * LARGE_BYTES), b"d"]
    reader = FrameReader(1 << 24)
    assert fill(reader, b"".join(map(join_frame, payloads)), step) == payloads


def test_a_large_record_is_received_straight_into_its_place():
    reader = FrameReader(1 << 24)
    frame = join_frame(b"x" * 200_000)
    reader.receive_data(frame[:1000])
    assert reader.next_frame() is None
    assert len(reader.get_buffer()) == len(frame) - 1000


def test_connections_may_share_a_scratch():
    scratch = bytearray(1000)
    one, two = FrameReader(1 << 20, scratch), FrameReader(1 << 20, scratch)
    first, second = join_frame(b"1" * 1500), join_frame(b"2" * 1500)
    frames = []
    for reader, piece in [(one, first[:900]), (two, second[:900]), (one, first[900:]), (two, second[900:])]:
        frames += fill(reader, piece, 1000)
    assert frames == [b"1" * 1500, b"2" * 1500]


def test_an_idle_reader_holds_no_buffers():
    reader = FrameReader(1 << 20)
    assert reader._scratch is None
    assert len(reader.get_buffer()) == SCRATCH_BYTES
    reader = FrameReader(1 << 20, bytearray(10))
    reader.receive_data(join_frame(b"x" * 60_000))
    assert reader.next_frame()
    assert reader.next_frame() is None
    assert reader._chunk == b""


def test_records_that_nobody_asked_for_yet_are_not_lost():
    reader = FrameReader(1 << 24)
    payloads = [b"a" * 10, b"b" * 200_000, b"c"]
    for piece in (join_frame(payloads[0]), *map(join_frame, payloads[1:])):
        reader.receive_data(piece)
    assert list(iter(reader.next_frame, None)) == payloads


def test_bytes_behind_a_large_record_wait_for_their_turn():
    reader = FrameReader(1 << 24)
    large = join_frame(b"x" * 200_000)
    reader.receive_data(large[:10])
    assert reader.next_frame() is None
    reader.receive_data(large[10:] + join_frame(b"y") + b"\0\0")
    reader.receive_data(b"\0\1z")
    assert list(iter(reader.next_frame, None)) == [b"x" * 200_000, b"y", b"z"]


def test_the_unread_part_of_a_large_record_is_handed_over():
    reader = FrameReader(1 << 24)
    large = join_frame(b"x" * 200_000)
    reader.receive_data(large[:500])
    assert reader.next_frame() is None
    reader.receive_data(large[500:900])
    assert reader.unread() == large[:900]


def test_rooms_are_used_again_but_never_by_two_at_once():
    readers = [FrameReader(1 << 24) for _ in range(3)]
    payloads = [bytes([number]) * (4 * LARGE_BYTES + number) for number in range(3)]
    found = []
    for _ in range(2):
        for reader, payload in zip(readers, payloads, strict=True):
            reader.receive_data(join_frame(payload)[:LARGE_BYTES])
            assert reader.next_frame() is None
        for reader, payload in zip(readers, payloads, strict=True):
            reader.receive_data(join_frame(payload)[LARGE_BYTES:])
            found.append(reader.next_frame())
    assert found == payloads * 2
    assert 3 <= len(_spare) <= SPARE_MOST


@pytest.mark.parametrize("size", [FIRST_BYTES + 1, 5 * FIRST_BYTES, (1 << 23) + 3])
@pytest.mark.parametrize("piece", [LARGE_BYTES - 1, FIRST_BYTES - 4, FIRST_BYTES, 1 << 22])
def test_a_room_grows_as_it_is_filled(size, piece):
    reader = FrameReader(1 << 24)
    payload = random.Random(size).randbytes(size)
    frame = join_frame(payload) + join_frame(b"next")
    assert fill(reader, frame, piece) == [payload, b"next"]


def test_what_is_announced_takes_little_more_room_than_what_has_come():
    _spare.clear()
    reader = FrameReader(1 << 30)
    announced = struct.pack("!i", 1 << 30)
    tracemalloc.start()
    try:
        reader.receive_data(announced + bytes(1 << 20))
        assert reader.next_frame() is None
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < (STEP + 1) << 20
    assert most < (STEP + 8) << 20


def test_a_room_that_is_very_large_is_not_kept():
    reader = FrameReader(1 << 24)
    frame = join_frame(bytes(SPARE_BYTES + 1))
    assert fill(reader, frame, 1 << 20)
    assert max(map(len, _spare), default=0) <= SPARE_BYTES


def test_large_records_of_nearly_one_size_take_one_room():
    _spare.clear()
    reader = FrameReader(1 << 24)
    assert fill(reader, join_frame(bytes(1 << 20)), LARGE_BYTES)
    room = _spare[-1]
    for more in range(-2000, 2000, 370):
        assert fill(reader, join_frame(bytes((1 << 20) + more)), LARGE_BYTES)
        assert _spare[-1] is room


def test_of_the_rooms_that_are_left_the_largest_are_kept():
    _spare.clear()
    readers = [FrameReader(1 << 24) for _ in range(SPARE_MOST + 1)]
    frames = [
        join_frame(bytes((SPARE_MOST + 1 - number) * 2 * FIRST_BYTES)) for number in range(SPARE_MOST + 1)
    ]
    for reader, frame in zip(readers, frames, strict=True):  # all of them at once: none is there to be taken
        assert not fill(reader, frame[:-1], 1 << 22)
    for reader, frame in zip(readers, frames, strict=True):
        assert fill(reader, frame[-1:], 1)
    assert [*map(len, _spare)] == sorted(map(len, _spare))
    assert len(_spare) == SPARE_MOST
    assert len(_spare[0]) > 2 * FIRST_BYTES
