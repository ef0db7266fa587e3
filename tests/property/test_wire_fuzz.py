"""Whatever bytes arrive: one of the documented errors, or nothing. And nobody without the key gets in."""

import struct
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from mpshared.values import PickledKey, Value
from mpshared.wire.auth import derive_key, prove
from mpshared.wire.errors import AuthenticationRefused, ProtocolError, VersionMismatch
from mpshared.wire.framing import FrameReader, join_frame
from mpshared.wire.handshake import CHALLENGE, FAILURE, OWN, WELCOME, Refused
from mpshared.wire.own import frames
from mpshared.wire.own.frames import FrameDecoder, Type
from mpshared.wire.own.handshake import ClientHandshake, ServerHandshake
from mpshared.wire.own.pack import pack, unpack
from mpshared.wire.stock.server import OwnHello
from mpshared.wire.stock.server import ServerHandshake as StockServer

KEY = b"a key of the tests, 128 bits"
quick = settings(max_examples=examples(400), deadline=None)

STREAM = b"".join(
    [
        *frames.encode_call(0x101, 1, 2, 1, "target", [1.5, None, PickledKey(b"k")], [b"one", b"", b"three"]),
        *frames.encode_reply(1, 2, [{"a": 1}], [Value(1, b"data", (b"buffer",), ("ref",)), b"plain"]),
        *frames.encode_error(1, 3, "empty", "nothing", {"n": 1}),
        *frames.encode_control(Type.ACK, 1, 2, 3),
        *frames.encode_control(Type.OUTPUT, 0, 4, body=["program", [[1, b"line\n"], [2, b"piece"]]]),
    ]
)


@st.composite
def damaged(draw, valid):
    """A valid stream with some bytes changed, left out, doubled or put in."""
    stream = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(stream)))
        change = draw(st.sampled_from(["set", "drop", "double", "insert"]))
        length = draw(st.integers(1, 8))
        if change == "set":
            stream[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif change == "drop":
            del stream[at : at + length]
        elif change == "double":
            stream[at:at] = stream[at : at + length]
        else:
            stream[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(stream)


def drain(machine, stream):
    machine.receive_data(stream)
    return list(iter(machine.next_event, None))


@quick
@given(st.binary(max_size=200) | damaged(STREAM))
def test_our_decoder_raises_only_protocol_errors(stream):
    with suppress(ProtocolError):
        drain(FrameDecoder(1 << 16), stream)


@quick
@given(st.binary(max_size=100), st.binary(max_size=100), st.integers(0, 14), st.integers(0, 3))
def test_a_sound_header_with_anything_behind_it_raises_only_protocol_errors(head, payload, kind, op):
    header = struct.pack("!IBBHIQQI", len(head) + len(payload), kind, 0, op, 1, 2, 3, len(head))
    with suppress(ProtocolError):
        drain(FrameDecoder(1 << 16), header + head + payload)


metas = st.recursive(
    st.integers(-3, 20) | st.none() | st.booleans() | st.text(max_size=3) | st.floats(),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=10,
)


@quick
@given(st.lists(metas, max_size=5), st.binary(max_size=40))
def test_values_are_cut_exactly_or_not_at_all(described, payload):
    head = pack(["target", [], described])
    header = struct.pack("!IBBHIQQI", len(head) + len(payload), Type.CALL, 0, 1, 1, 2, 3, len(head))
    try:
        (call,) = drain(FrameDecoder(1 << 16), header + head + payload)
    except ProtocolError as err:
        assert err.field == "frame metas"
        return
    parts = [(blob,) if isinstance(blob, bytes) else (blob.data, *blob.buffers) for blob in call.blobs]
    assert b"".join(map(b"".join, parts)) == payload
    assert len(call.blobs) == len(described)


@quick
@given(st.binary(max_size=300))
def test_msgpack_from_anywhere_is_plain_or_refused(data):
    try:
        value = unpack(data)
    except ProtocolError:
        return
    level = [value]
    while level:
        assert {*map(type, level)} <= {type(None), bool, int, float, str, bytes, list, dict, PickledKey}
        level = [
            child
            for item in level
            if isinstance(item, list | dict)
            for child in (item if isinstance(item, list) else [*item, *item.values()])
        ]


@quick
@given(st.binary(max_size=60))
def test_length_frames_raise_only_protocol_errors(stream):
    reader = FrameReader(40)
    reader.receive_data(stream)
    with suppress(ProtocolError):
        for payload in iter(reader.next_frame, None):
            assert len(payload) <= 40


# -- handshakes: the fuzzer holds no key ----------------------------------------------------------

words = st.sampled_from([CHALLENGE, WELCOME, FAILURE, OWN, b"{sha256}", b"{md5}", b"", b"\x82", b"\0" * 20])
payloads = st.lists(words | st.binary(max_size=40), max_size=4).map(b"".join)
streams = st.lists(payloads.map(join_frame) | st.binary(max_size=30), max_size=5)
hellos = st.dictionaries(
    st.sampled_from(["versions", "nonce", "version", "refused", "new"]),
    st.lists(st.integers(-1, 3), max_size=3)
    | st.binary(min_size=32, max_size=32)
    | st.integers(0, 2)
    | st.text(max_size=5),
).map(lambda fields: OWN + pack(fields))


def run(machine, stream):
    """Give a machine all pieces; return its events."""
    events: list[object] = []
    for piece in stream:
        machine.receive_data(piece)
        events += iter(machine.next_event, None)
        machine.data_to_send()
    return events


@quick
@given(streams, st.booleans())
def test_the_stock_server_only_ever_refuses_or_switches(stream, md5_allowed):
    events = run(StockServer(KEY, md5_allowed=md5_allowed, nonce=b"s" * 40), stream)
    assert len(events) <= 1
    assert all(isinstance(event, Refused | OwnHello) for event in events)


@quick
@given(hellos | payloads, streams)
def test_our_server_only_ever_refuses(hello, stream):
    machine = ServerHandshake(KEY, hello, nonce=b"S" * 32)
    events = [*iter(machine.next_event, None), *run(machine, stream)]
    assert len(events) <= 1
    assert all(isinstance(event, Refused) for event in events)


@quick
@given(st.lists(hellos.map(join_frame) | payloads.map(join_frame), max_size=4))
def test_our_client_is_never_taken_in(stream):
    machine = ClientHandshake(KEY, nonce=b"C" * 32)
    with suppress(ProtocolError, AuthenticationRefused, VersionMismatch):
        assert run(machine, [join_frame(CHALLENGE), *stream]) == []


@quick
@given(st.data())
def test_damage_anywhere_in_the_exchange_is_found_by_both_sides_of_it(source):
    """Someone in the middle changes bytes: no side authenticates a peer that has seen something else."""
    hello = OWN + pack({"versions": [1, 2], "nonce": b"C" * 32})
    seen = source.draw(damaged(hello))
    server = ServerHandshake(KEY, seen, nonce=b"S" * 32, versions=(1, 2))
    reader = FrameReader(256)
    reader.receive_data(server.data_to_send())
    answer = reader.next_frame() or b""
    server.receive_data(join_frame(prove(derive_key(KEY), b"client", hello, answer)))
    events = list(iter(server.next_event, None))
    assert all(isinstance(event, Refused) for event in events) or seen == hello
