"""Our envelope: every type of frame there and back, and every lie by its name."""

import struct
from typing import Any

import pytest

from mpshared.values import BY_VALUE, PickledKey, Pieces, Value, size_bytes
from mpshared.wire.errors import CannotSend, MessageTooLarge, ProtocolError
from mpshared.wire.own import frames
from mpshared.wire.own.frames import (
    HEADER_BYTES,
    SEPARATE_BYTES,
    Call,
    Control,
    Failed,
    FrameDecoder,
    Reply,
    Type,
    encode_call,
    encode_control,
    encode_error,
    encode_reply,
)
from mpshared.wire.own.pack import pack

VALUE = Value(BY_VALUE | 3 << 16 | 11 << 8, b"data", (b"buffer", b""), ("ident-1", "ident-2"))
BLOBS = [
    (),
    (b"",),
    (b"one",),
    (b"a", b"", b"c" * 300),
    (VALUE,),
    (b"x", VALUE, b"y", Value(0, b"")),
    tuple(b"%d" % n for n in range(500)),
    (b"L" * 100_000,),
    (b"s", b"L" * SEPARATE_BYTES, b"t", b"u", Value(0, b"M" * 40_000, (b"N" * 50_000,)), b"v"),
]
BODIES = {
    Type.ABANDON: None,
    Type.ACK: None,
    Type.ATTACH: {"session": "s", "info": {"pid": 1}},
    Type.ATTACHED: {"epoch": 2**40, "secret": b"x"},
    Type.HEARTBEAT: ["w1", "w2"],
    Type.LANE_CLOSED: None,
    Type.GOODBYE: "restarting",
    Type.OUTPUT: ["program", [[1, b"a line\n"], [2, b"\x89 no text"]]],
}


def decode(data, max_message=1 << 24):
    decoder = FrameDecoder(max_message)
    decoder.receive_data(data)
    return list(iter(decoder.next_event, None))


@pytest.mark.parametrize("blobs", BLOBS, ids=len)
def test_calls_and_replies_come_back_whole(blobs):
    args = [1.5, None, "text", PickledKey(b"k"), [["nested", -1]], {"a": b"b"}]
    parts = encode_call(0xFFFF, 2**32 - 1, 2**64 - 1, 2**63, "target", args, blobs) + encode_reply(
        7, 8, args, blobs
    )
    call, reply = decode(b"".join(parts))
    assert call == Call(0xFFFF, 2**32 - 1, 2**64 - 1, 2**63, "target", args, blobs)
    assert reply == Reply(7, 8, args, blobs)
    for event in (call, reply):
        assert [*map(type, event.blobs)] == [*map(type, blobs)]


def test_values_are_plain_bytes_also_when_they_came_into_a_room_of_their_own():
    data = b"".join(encode_call(1, 1, 1, 0, "", [], [b"L" * 200_000, Value(0, b"d" * 10, (b"B" * 200_000,))]))
    decoder = FrameDecoder(1 << 24)
    events: list[Any] = []
    for i in range(0, len(data), 50_000):
        decoder.receive_data(data[i : i + 50_000])
        events += iter(decoder.next_event, None)
    large, value = events[0].blobs
    assert type(large) is type(value.data) is type(value.buffers[0]) is bytes


def test_errors_come_back_whole():
    assert decode(encode_error(3, 4, "empty", "nothing there", {"size": 0})[0]) == [
        Failed(3, 4, "empty", "nothing there", {"size": 0})
    ]


@pytest.mark.parametrize("kind", BODIES)
def test_controls_come_back_whole(kind):
    (event,) = decode(b"".join(encode_control(kind, 5, 6, 7, BODIES[kind])))
    assert event == Control(kind, 5, 6, 7, BODIES[kind])
    assert type(event.type) is Type


def test_an_answer_names_the_output_that_comes_first():
    answers = encode_reply(3, 4, "result", [b"value"], 5) + encode_reply(3, 5, None, (), 2**64 - 1)
    assert decode(b"".join(answers + encode_error(3, 6, "empty", "nothing", {}, 7))) == [
        Reply(3, 4, "result", (b"value",), 5),
        Reply(3, 5, None, (), 2**64 - 1),
        Failed(3, 6, "empty", "nothing", {}, 7),
    ]


def test_a_program_says_what_it_has_printed():
    (event,) = decode(b"".join(encode_control(Type.OUTPUT, body=[7, []])))
    assert event == Control(Type.OUTPUT, 0, 0, 0, [7, []])


def test_all_types_of_frame_are_spoken_of_here():
    assert set(Type) == {*BODIES, Type.CALL, Type.REPLY, Type.ERROR}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_of_the_wrong_type_is_the_callers_mistake(kind):
    with pytest.raises(TypeError, match=f"body of {kind.name}"):
        encode_control(kind, body=1.5)


def test_small_values_leave_in_one_piece_and_large_ones_are_not_copied():
    large = b"L" * SEPARATE_BYTES
    assert len(encode_call(1, 1, 1, 0, "t", [], [b"x" * 100] * 256)) == 1
    pieces = encode_call(1, 1, 1, 0, "t", [], [b"a", b"b", large, b"c", b"d", large])
    assert [piece is large for piece in pieces] == [False, True, False, True]
    assert pieces[2] == b"cd"


@pytest.mark.parametrize("others", [(), (b"other", VALUE)])
def test_a_value_in_pieces_travels_as_one(others):
    large = b"L" * SEPARATE_BYTES
    value = Pieces([b"begin", large, b"end"])
    pieces = encode_call(1, 1, 1, 0, "t", [], [value, *others])  # type: ignore[list-item]
    assert [piece for piece in pieces if piece is large]
    (call,) = decode(b"".join(pieces))
    assert call.blobs == (value.data, *others)
    assert size_bytes(value) == len(call.blobs[0])


def test_many_small_values_of_a_large_batch_are_joined():
    assert len(encode_reply(1, 1, None, [b"x" * 1000] * 1000)) == 1


def test_arguments_that_are_no_plain_data_are_refused():
    with pytest.raises(CannotSend, match="object is not plain data"):
        encode_call(1, 1, 1, 0, "t", [object()], [])


def test_a_message_over_4_gib_is_refused_before_it_is_put_together(monkeypatch):
    monkeypatch.setattr(frames, "SIZE_MAX_BYTES", 1 << 16)
    with pytest.raises(MessageTooLarge, match="send smaller parts"):
        encode_call(1, 1, 1, 0, "t", [], [b"x" * (1 << 16)])


# -- lies -----------------------------------------------------------------------------------------


def frame(head, payload=b"", kind=Type.CALL, *, flags=0, op=0, size=None, head_size=None):
    """Make any frame, also one that no encoder would."""
    size = len(head) + len(payload) if size is None else size
    head_size = len(head) if head_size is None else head_size
    return struct.pack("!IBBHIQQI", size, kind, flags, op, 1, 2, 3, head_size) + head + payload


def call(metas, payload=b"", target="t", args=()):
    return frame(pack([target, list(args), metas]), payload)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (frame(pack(None), size=101), "size"),
        (frame(pack(None), size=2**32 - 1), "size"),
        (frame(pack(None), head_size=2), "head_size"),
        (frame(pack(None), b"x" * 50, head_size=2**32 - 1), "head_size"),
        (frame(b"", head_size=0), "head"),
        (frame(pack(None), kind=0), "type"),
        (frame(pack(None), kind=13), "type"),
        (frame(pack(None), kind=255), "type"),
        (frame(pack(None), kind=Type.ACK, flags=1), "flags"),
        (frame(pack(None), kind=Type.ACK, op=1), "op"),
        (frame(pack([None, []]), kind=Type.REPLY, op=1), "op"),
        (frame(b"\xc1"), "head"),
        (frame(pack(None) + b"x"), "head"),
        (frame(pack(None)), "head"),
        (frame(pack(["t", []])), "head"),
        (frame(pack(["t", [], [], []])), "head"),
        (frame(pack([1, [], []])), "head"),
        (frame(pack(["t", {}, []])), "head"),
        (frame(pack(["t", [], {}])), "head"),
        (frame(pack([None]), kind=Type.REPLY), "head"),
        (frame(pack([None, 1]), kind=Type.REPLY), "head"),
        (frame(pack(["a", "b", []]), kind=Type.ERROR), "head"),
        (frame(pack([1, "b", {}]), kind=Type.ERROR), "head"),
        (frame(pack(["a", "b", {}]), b"x", kind=Type.ERROR), "payload"),
        (frame(pack(None), b"x", kind=Type.ACK), "payload"),
        (frame(pack(1), kind=Type.ACK), "head"),
        (frame(pack(False), kind=Type.ABANDON), "head"),
        (frame(pack([]), kind=Type.ATTACH), "head"),
        (frame(pack({}), kind=Type.HEARTBEAT), "head"),
        (frame(pack(b"bye"), kind=Type.GOODBYE), "head"),
        (frame(pack([]), kind=Type.OUTPUT), "head"),
        (frame(pack(["p", [], 1]), kind=Type.OUTPUT), "head"),
        (frame(pack([b"p", []]), kind=Type.OUTPUT), "head"),
        (frame(pack([-1, []]), kind=Type.OUTPUT), "head"),
        (frame(pack([True, []]), kind=Type.OUTPUT), "head"),
        (frame(pack(["p", [1, b""]]), kind=Type.OUTPUT), "head"),
        (frame(pack(["p", [[0, b""]]]), kind=Type.OUTPUT), "head"),
        (frame(pack(["p", [[True, b""]]]), kind=Type.OUTPUT), "head"),
        (frame(pack(["p", [[1, "text"]]]), kind=Type.OUTPUT), "head"),
        (frame(pack(["p", [[1, b"", 1]]]), kind=Type.OUTPUT), "head"),
        (call([1]), "metas"),
        (call([], b"x"), "metas"),
        (call([1], b"xx"), "metas"),
        (call([2], b"x"), "metas"),
        (call([2, -1], b"x"), "metas"),
        (call([-1], b""), "metas"),
        (call([2**64 - 1, 1], b"x"), "metas"),
        (call([True], b"x"), "metas"),
        (call([1.0], b"x"), "metas"),
        (call([None], b""), "metas"),
        (call(["1"], b"x"), "metas"),
        (call([[0, 1, [], []]], b"xx"), "metas"),
        (call([[0, 1, [1], []]], b"x"), "metas"),
        (call([[0, 2, [-1], []]], b"x"), "metas"),
        (call([[0, 1, []]], b"x"), "metas"),
        (call([[]], b""), "metas"),
        (call([[-1, 1, [], []]], b"x"), "metas"),
        (call([[0.0, 1, [], []]], b"x"), "metas"),
        (call([[0, True, [], []]], b"x"), "metas"),
        (call([[0, 1, [1.0], []]], b"xx"), "metas"),
        (call([[0, 1, [], [1]]], b"x"), "metas"),
        (call([[0, 1, [], [b"r"]]], b"x"), "metas"),
        (call([[0, 1, {}, []]], b"x"), "metas"),
        (call([1, [0, 1, [], []]], b"x"), "metas"),
    ],
)
def test_every_lie_is_named_and_the_decoder_is_done(data, field):
    decoder = FrameDecoder(100)
    decoder.receive_data(b"".join(encode_control(Type.ACK)) + data)
    assert decoder.next_event() == Control(Type.ACK, 0, 0, 0, None)
    for _ in range(2):
        with pytest.raises(ProtocolError) as caught:
            decoder.next_event()
        assert caught.value.field.split()[-1] == field
        decoder.receive_data(b"".join(encode_control(Type.ACK)))


def test_sizes_are_refused_before_anything_is_allocated_for_them():
    decoder = FrameDecoder(1 << 20)
    decoder.receive_data(frame(b"", size=(1 << 20) + 1)[:HEADER_BYTES])
    with pytest.raises(ProtocolError, match="1048577 bytes announced, 1048576 accepted"):
        decoder.next_event()
    assert decoder._parts is None


def test_a_head_has_a_limit_of_its_own():
    decoder = FrameDecoder(1 << 30, max_head=100)
    decoder.receive_data(frame(pack(["t", ["x" * 200], []])))
    with pytest.raises(ProtocolError, match="head_size"):
        decoder.next_event()


def test_an_empty_decoder_has_nothing_to_say():
    assert FrameDecoder(100).next_event() is None
