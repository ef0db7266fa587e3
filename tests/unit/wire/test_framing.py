"""Length frames, as `multiprocessing.connection` writes and reads them."""

import socket
import struct
from multiprocessing.connection import Connection

import pytest

from mpshared.wire.assembler import LARGE_BYTES
from mpshared.wire.errors import ProtocolError
from mpshared.wire.framing import FrameReader, encode_frame, join_frame
from mpshared.wire.stock.messages import StockMessages, stock_frame


def frames_of(reader):
    return list(iter(reader.next_frame, None))


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, LARGE_BYTES, 3 * LARGE_BYTES])
def test_a_frame_comes_back_whole(size):
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    reader = FrameReader(1 << 20)
    reader.receive_data(b"".join(encode_frame(payload)) + join_frame(b"next"))
    assert frames_of(reader) == [payload, b"next"]


def test_small_frames_are_one_piece_and_large_ones_are_not_copied():
    large = bytes(16385)
    assert encode_frame(b"abc") == [b"\0\0\0\3abc"]
    assert len(encode_frame(large[1:])) == 1
    assert encode_frame(large)[1] is large


@pytest.mark.parametrize("size", [5, 20_000, 200_000])
def test_the_standard_library_reads_and_writes_the_same_frames(size):
    ours, theirs = socket.socketpair()
    connection = Connection(theirs.detach())
    with ours, connection:
        ours.settimeout(10)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        payload = b"x" * size
        reader = FrameReader(1 << 20)
        for _ in range(2):
            ours.sendall(b"".join(stock_frame(payload)))
            echo(connection)
            while (frame := reader.next_frame()) is None:
                reader.receive_data(ours.recv(1 << 16))
            assert frame == payload


def echo(connection):
    """Send one message back, from a thread: a socket's buffer may be smaller than the message."""
    import threading

    threading.Thread(target=lambda: connection.send_bytes(connection.recv_bytes()), daemon=True).start()


def test_the_long_form_is_read_whatever_the_length():
    reader = FrameReader(100)
    reader.receive_data(struct.pack("!iQ", -1, 3) + b"abc" + join_frame(b"d"))
    assert frames_of(reader) == [b"abc", b"d"]


@pytest.mark.parametrize("length", [-2, -0x80000000, -100])
def test_negative_lengths_are_refused(length):
    reader = FrameReader(1 << 20)
    reader.receive_data(struct.pack("!i", length))
    with pytest.raises(ProtocolError, match="frame length") as caught:
        reader.next_frame()
    assert caught.value.field == "frame length"


@pytest.mark.parametrize(
    "header", [struct.pack("!i", 101), struct.pack("!iQ", -1, 101), struct.pack("!iQ", -1, 2**64 - 1)]
)
def test_a_length_over_the_limit_is_refused_at_its_header_and_for_ever(header):
    reader = FrameReader(100)
    reader.receive_data(header)
    for _ in range(2):
        with pytest.raises(ProtocolError, match="100"):
            reader.next_frame()
        reader.receive_data(join_frame(b"more"))


def test_an_incomplete_header_waits():
    reader = FrameReader(100)
    for byte in struct.pack("!iQ", -1, 3)[:-1]:
        reader.receive_data(bytes([byte]))
        assert reader.next_frame() is None


def test_what_belongs_to_no_frame_yet_is_left_for_the_next_reader():
    reader = FrameReader(1 << 20)
    reader.receive_data(join_frame(b"one") + b"\0\0\0\5tw")
    assert reader.next_frame() == b"one"
    assert reader.unread() == b"\0\0\0\5tw"


def test_an_empty_stock_message_is_refused():
    messages = StockMessages(100)
    messages.receive_data(join_frame(b"N.") + join_frame(b""))
    assert messages.next_event() == b"N."
    with pytest.raises(ProtocolError, match="empty message"):
        messages.next_event()
