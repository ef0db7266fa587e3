"""However a stream is cut into pieces, the same comes out; and what is sent is what arrives."""

from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.stock_client import StockClient

from mpshared.values import PickledKey, Value
from mpshared.wire.errors import ProtocolError
from mpshared.wire.framing import FrameReader, encode_frame
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Call, Control, Failed, FrameDecoder, Reply, Type, open_call
from mpshared.wire.own.handshake import Authenticated, ClientHandshake, ServerHandshake
from mpshared.wire.stock.server import Authenticated as StockAuthenticated
from mpshared.wire.stock.server import OwnHello
from mpshared.wire.stock.server import ServerHandshake as StockServer

HEADER = frames.HEADER
KEY = b"a key of the tests, 128 bits"
quick = settings(max_examples=examples(150), deadline=None)

u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
text = st.text(max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=20)
    | st.builds(PickledKey, st.binary(max_size=20))
)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(text | st.binary(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
large = st.integers(0, 90_000).map(lambda n: b"L" * n)
data = st.binary(max_size=50) | large
values = st.builds(
    Value, u32, data, st.lists(data, max_size=3).map(tuple), st.lists(text, max_size=3).map(tuple)
)
blobs = st.lists(st.binary(max_size=50) | data | values, max_size=6).map(tuple)
bodies = {
    Type.ATTACH: st.dictionaries(text, plain, max_size=3),
    Type.ATTACHED: st.dictionaries(text, plain, max_size=3),
    Type.HEARTBEAT: st.lists(plain, max_size=3),
    Type.GOODBYE: text,
    Type.OUTPUT: st.tuples(
        text | st.integers(0, 2**64 - 1),
        st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)).map(list), max_size=4),
    ).map(list),
}


def control(kind):
    return st.builds(Control, st.just(kind), u32, u64, u64, bodies.get(kind, st.none()))


events = st.one_of(
    st.builds(Call, st.integers(0, 2**16 - 1), u32, u64, u64, text, st.lists(plain, max_size=4), blobs),
    st.builds(Reply, u32, u64, plain, blobs, u64),
    st.builds(Failed, u32, u64, text, text, st.dictionaries(text, plain, max_size=3), u64),
    *map(control, sorted({*Type} - {Type.CALL, Type.REPLY, Type.ERROR})),
)


def encode(event):
    encoders: dict[type, Any] = {
        Call: frames.encode_call,
        Reply: frames.encode_reply,
        Failed: frames.encode_error,
        Control: frames.encode_control,
    }
    return b"".join(encoders[type(event)](*event))


def cut(draw, stream):
    """Cut a stream into pieces: anywhere, or all of one size."""
    step = draw(st.sampled_from([0, 1, 2, 7, 1000, 65536]))
    if step and len(stream) < 3000 * step:
        points = list(range(0, len(stream), step))
    else:
        points = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[a:b] for a, b in zip([0, *points], [*points, len(stream)], strict=True)]


def give(machine, piece, *, as_asked):
    """Hand a piece over at once, or in what the machine asks for; yield whenever it may have something."""
    while piece:
        size = (machine.wants if as_asked else 0) or len(piece)
        machine.receive_data(piece[:size])
        piece = piece[size:]
        yield


def same(one, other):
    """Compare with types: bytes and PickledKey, 1 and 1.0 and True are equal but not the same."""
    return one == other and repr(one) == repr(other)


@quick
@given(st.data(), st.lists(events, max_size=5), st.booleans())
def test_every_cutting_of_our_frames_gives_the_same_events(source, sent, as_asked):
    decoder = FrameDecoder(1 << 24)
    got: list[object] = []
    for piece in cut(source.draw, b"".join(map(encode, sent))):
        for _ in give(decoder, piece, as_asked=as_asked):
            got += iter(decoder.next_event, None)
    assert same(got, sent)
    assert decoder.unread() == b""


@quick
@given(events, st.lists(events, max_size=2))
def test_the_short_way_reads_what_the_long_way_reads(event, more):
    decoder = FrameDecoder(1 << 24)
    taken: tuple[Any, ...] | None = decoder.take_reply(encode(event)) or decoder.next_event()
    assert same(tuple(taken or ()), tuple(event))
    assert decoder.take_reply(b"".join(map(encode, more))) is None or len(more) == 1
    assert decoder.unread() == b"".join(map(encode, more)) or len(more) == 1


@quick
@given(events, st.lists(events, max_size=2))
def test_a_small_call_is_read_without_a_decoder_when_nothing_else_is_here(event, more):
    frame = encode(event)
    taken = open_call(frame, len(frame))
    assert taken is None or same(taken, tuple(event))
    assert taken is None or open_call(frame, len(frame) - HEADER.size - 1) is None
    assert open_call(b"".join(map(encode, more)), 1 << 24) is None or len(more) == 1


@quick
@given(st.binary(max_size=60), st.binary(max_size=8), st.integers(0, 12))
def test_the_short_way_refuses_nothing_and_believes_nothing(head, payload, kind):
    frame = HEADER.pack(len(head) + len(payload), kind, 0, 0, 1, 1, 0, len(head)) + head + payload
    for take in (lambda data: open_call(data, 1 << 24)), FrameDecoder(1 << 24).take_reply:
        long = FrameDecoder(1 << 24)
        long.receive_data(frame)
        taken: tuple[Any, ...] | None = take(frame)
        if taken is not None:
            assert same(tuple(taken), tuple(long.next_event() or ()))


@quick
@given(st.data(), st.lists(data, max_size=5), st.booleans())
def test_every_cutting_of_stock_frames_gives_the_same_payloads(source, sent, as_asked):
    reader = FrameReader(1 << 24)
    got: list[bytes] = []
    stream = b"".join(b"".join(encode_frame(payload)) for payload in sent)
    for piece in cut(source.draw, stream):
        for _ in give(reader, piece, as_asked=as_asked):
            got += iter(reader.next_frame, None)
    assert got == sent


@quick
@given(st.data(), st.lists(data, max_size=5))
def test_asking_late_gives_the_same_as_asking_often(source, sent):
    reader = FrameReader(1 << 24)
    got: list[bytes] = []
    stream = b"".join(b"".join(encode_frame(payload)) for payload in sent)
    for piece in cut(source.draw, stream):
        reader.receive_data(piece)
        if source.draw(st.booleans()):
            got += [frame for frame in [reader.next_frame()] if frame is not None]
    assert got + list(iter(reader.next_frame, None)) == sent


@quick
@given(st.data(), st.lists(events, min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_a_limit_holds_for_every_cutting(source, sent, limit):
    """What is within the limit arrives; the first that is not ends the stream, whole or not."""
    sizes = [len(encode(event)) - frames.HEADER_BYTES for event in sent]
    limit = limit % (max(sizes) + 2)
    expected = sent[: next((i for i, size in enumerate(sizes) if size > limit), None)]
    decoder = FrameDecoder(limit)
    got: list[object] = []
    try:
        for piece in cut(source.draw, b"".join(map(encode, sent))):
            decoder.receive_data(piece)
            got += iter(decoder.next_event, None)
    except ProtocolError as err:
        assert len(expected) < len(sent)
        assert err.field.endswith("size")
    else:
        assert len(expected) == len(sent)
    assert same(got, expected)


# -- handshakes -----------------------------------------------------------------------------------


def converse(draw, client, server):
    """Carry bytes between two machines in any pieces, until both are silent; return all events in order."""
    said: list[object] = []
    while any(parcels := [server.data_to_send(), client.data_to_send()]):
        for parcel, receiver in zip(parcels, [client, server], strict=True):
            for piece in cut(draw, parcel):
                receiver.receive_data(piece)
                said += iter(receiver.next_event, None)
    return said


nonces = partial(st.binary, min_size=32, max_size=32)
stock_nonces = st.binary(min_size=40, max_size=40)


@quick
@given(st.data(), stock_nonces, stock_nonces, st.booleans())
def test_the_stock_handshake_ends_well_for_every_cutting(source, one, two, md5_allowed):
    client = StockClient(KEY, md5_allowed=md5_allowed, nonce=one)
    server = StockServer(KEY, md5_allowed=md5_allowed, nonce=two)
    assert converse(source.draw, client, server) == [StockAuthenticated("sha256")] * 2


class BothProtocols:
    """A server that goes over to our own protocol when the client does."""

    def __init__(self, nonce, versions):
        self.nonce, self.versions = nonce, versions
        self.machine: StockServer | ServerHandshake = StockServer(
            KEY, md5_allowed=False, nonce=nonce + bytes(8)
        )

    def next_event(self):
        event = self.machine.next_event()
        if isinstance(event, OwnHello):
            self.machine = ServerHandshake(KEY, event.hello, nonce=self.nonce, versions=self.versions)
            event = self.machine.next_event()
        return event

    def __getattr__(self, name):
        return getattr(self.machine, name)


version_ranges = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda pair: (min(pair), max(pair)))


@quick
@given(st.data(), nonces(), nonces(), version_ranges, version_ranges)
def test_our_handshake_ends_well_for_every_cutting_and_all_versions(source, one, two, ours, theirs):
    common = range(max(ours[0], theirs[0]), min(ours[1], theirs[1]) + 1)
    if not common or one == two:
        return
    client = ClientHandshake(KEY, nonce=one, versions=ours)
    assert converse(source.draw, client, BothProtocols(two, theirs)) == [Authenticated(common[-1])] * 2
