"""Chunks in, records out: what all decoders stand on."""

import random
import struct
import tracemalloc

import pytest

from mpshared.wire.assembler import LARGE_BYTES, PART_BYTES, WANTS_MOST_BYTES
from mpshared.wire.framing import HEADER_BYTES, FrameReader, join_frame

LARGE = random.Random(1).randbytes(5 * LARGE_BYTES + 7)


def feed(reader, data, step, *, asked=False):
    """Give data to a reader in steps, or in what it asks for; return the frames."""
    frames: list[bytes] = []
    view = memoryview(data)
    while view:
        size = min(step, reader.wants or step) if asked else step
        reader.receive_data(bytes(view[:size]))
        view = view[size:]
        frames += iter(reader.next_frame, None)
    return frames


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("step", [1000, PART_BYTES - 1, PART_BYTES, LARGE_BYTES, 1 << 20])
def test_records_come_back_whole_however_they_are_read(step, asked):
    payloads = [b"a", LARGE, b"b" * 3000, LARGE, LARGE[:-1], b"c" * (4 * LARGE_BYTES), b"d", b"", LARGE]
    reader = FrameReader(1 << 24)
    assert feed(reader, b"".join(map(join_frame, payloads)), step, asked=asked) == payloads
    assert reader.idle


def test_a_record_is_asked_for_to_its_end():
    reader = FrameReader(1 << 24)
    frame = join_frame(LARGE)
    assert feed(reader, frame[:1000], 1000) == []
    assert reader.wants == len(frame) - 1000
    assert feed(reader, frame[1000:], len(frame)) == [LARGE]


def test_behind_a_large_record_the_next_head_is_asked_for_alone():
    reader = FrameReader(1 << 24)
    assert feed(reader, join_frame(LARGE), LARGE_BYTES) == [LARGE]
    assert reader.wants == HEADER_BYTES
    frame = join_frame(LARGE)
    assert feed(reader, frame[:HEADER_BYTES], HEADER_BYTES) == []
    assert reader.wants == len(LARGE)
    part = frame[HEADER_BYTES:]
    reader.receive_data(part)
    assert reader.next_frame() is part  # not copied


def test_behind_a_small_record_nothing_is_asked_for():
    reader = FrameReader(1 << 24)
    assert feed(reader, join_frame(LARGE), LARGE_BYTES) == [LARGE]
    frame = join_frame(b"small")
    assert feed(reader, frame[:HEADER_BYTES], HEADER_BYTES) == []
    assert reader.wants == 5
    assert feed(reader, frame[HEADER_BYTES:], 5) == [b"small"]
    assert reader.wants == 0


def test_an_idle_reader_holds_no_buffers():
    reader = FrameReader(1 << 20)
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


@pytest.mark.parametrize("piece", [1000, 1 << 16])
def test_what_is_announced_takes_little_more_room_than_what_has_come(piece):
    reader = FrameReader(1 << 30)
    announced = struct.pack("!i", 1 << 30)
    tracemalloc.start()
    try:
        reader.receive_data(announced)
        for _ in range((1 << 20) // piece):
            assert reader.next_frame() is None
            reader.receive_data(bytes(piece))
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.wants == WANTS_MOST_BYTES
    assert held < 5 << 18
    assert most < 5 << 19
