"""Targets: the wire. Bytes in, events or one of the documented errors out."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final
from zlib import adler32, crc32

from mpshared.values import PickledKey
from mpshared.wire.auth import derive_key, prove
from mpshared.wire.errors import CannotSend, ProtocolError
from mpshared.wire.framing import FrameReader, join_frame
from mpshared.wire.handshake import CHALLENGE, OWN, Refused
from mpshared.wire.own import frames
from mpshared.wire.own.frames import FrameDecoder, open_call
from mpshared.wire.own.handshake import ClientHandshake, ServerHandshake
from mpshared.wire.own.pack import pack, unpack
from mpshared.wire.stock.messages import StockMessages
from mpshared.wire.stock.server import OwnHello
from mpshared.wire.stock.server import ServerHandshake as StockServer

__all__ = [
    "KEY",
    "own_client_handshake",
    "own_frames",
    "own_msgpack",
    "own_server_handshake",
    "stock_messages",
    "stock_server_handshake",
]

KEY: Final = b"a key that the fuzzer does not know"
MESSAGE_MAX_BYTES: Final = 1 << 12
"""Below the longest input, so that lengths over the limit are seen as well."""
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, PickledKey})


def _events(machine: Any, *pieces: bytes) -> tuple[list[Any], str]:
    """Give a machine bytes in pieces; return its events, and which field was wrong."""
    events: list[Any] = []
    try:
        for piece in pieces:
            machine.receive_data(piece)
            while (event := machine.next_event()) is not None:
                events.append(event)
    except ProtocolError as err:
        return events, err.field
    return events, ""


def _cut_differently(make: Callable[[], Any], data: bytes) -> list[Any]:
    """Require that a stream says the same however it is cut; return its events, or raise what is wrong.

    It is cut at two places which every change of the bytes moves. (The property tests cut everywhere.)
    """
    size = len(data) + 1
    one, two = sorted((crc32(data) % size, adler32(data) % size))
    whole, cut = _events(make(), data), _events(make(), data[:one], data[one:two], data[two:])
    assert repr(whole) == repr(cut), "the same bytes, cut differently, say something else"
    if whole[1]:
        raise ProtocolError(whole[1], "as both said")
    return whole[0]


def stock_messages(data: bytes) -> None:
    """Read frames of `multiprocessing.connection`, whole and in pieces."""
    _cut_differently(lambda: StockMessages(MESSAGE_MAX_BYTES), data)
    reader = FrameReader(MESSAGE_MAX_BYTES)
    if reader.is_one(data):
        reader.receive_data(data)
        assert reader.next_frame() == data[4:], "one frame is not what follows its header"


def own_frames(data: bytes) -> None:
    """Read our own frames, whole, in pieces, and by the short ways of one call and of one reply."""
    decoder = FrameDecoder(MESSAGE_MAX_BYTES)
    for take in (lambda data: open_call(data, MESSAGE_MAX_BYTES), decoder.take_reply):
        long = FrameDecoder(MESSAGE_MAX_BYTES)
        taken: Any = take(data)
        if taken is not None:
            long.receive_data(data)
            assert repr(tuple(taken)) == repr(tuple(long.next_event() or ())), (
                "the short way says something else"
            )
    for event in _cut_differently(lambda: FrameDecoder(MESSAGE_MAX_BYTES), data):
        _require_same_written(event)


_ENCODERS: Final[dict[type, Any]] = {
    frames.Call: frames.encode_call,
    frames.Reply: frames.encode_reply,
    frames.Failed: frames.encode_error,
    frames.Control: frames.encode_control,
}


def _require_same_written(event: frames.Event) -> None:
    """Require that what was read is written, and read the same again."""
    try:
        pieces = _ENCODERS[type(event)](*event)
    except CannotSend:
        return  # a text of lone surrogates, say: msgpack reads none, but an odd key it may
    again = FrameDecoder(1 << 20)
    again.receive_data(b"".join(pieces))
    assert repr(again.next_event()) == repr(event), "written and read, it is something else"


def own_msgpack(data: bytes) -> None:
    """Read a head: plain data only, as deep as allowed, and the same when it is written and read again."""
    value = unpack(data)
    _require_plain(value)
    assert repr(unpack(pack(value))) == repr(value), "written and read, it is something else"


def _require_plain(value: Any) -> None:
    level = [value]
    for _ in range(40):
        level = [each for each in level if type(each) not in _PLAIN]
        assert all(type(each) in {list, dict} for each in level), "something that is no plain data"
        level = [
            child for each in level for child in (each if isinstance(each, list) else [*each, *each.values()])
        ]
        if not level:
            return
    raise AssertionError("nested deeper than is allowed")


# -- handshakes: the fuzzer holds no key --------------------------------------------------------------


_STEPS: Final = 4
"""One more than any handshake has."""


def _converse(machine: Any, data: bytes) -> list[Any]:
    """Give a machine the first frames one by one, as a peer does that waits for answers, and then the rest;
    return its events.
    """
    events: list[Any] = list(iter(machine.next_event, None))
    machine.data_to_send()
    for _ in range(_STEPS):
        size = 4 + max(0, struct.unpack_from("!i", data)[0]) if len(data) >= 4 else len(data)
        machine.receive_data(data[:size])
        events += iter(machine.next_event, None)
        machine.data_to_send()
        data = data[size:]
    machine.receive_data(data)
    events += iter(machine.next_event, None)
    return events


def stock_server_handshake(data: bytes) -> None:
    """Knock at the server: it refuses, or goes over to our own protocol, and refuses there."""
    for md5_allowed in (False, True):
        machine = StockServer(KEY, md5_allowed=md5_allowed, nonce=b"s" * 40, others=(KEY + b"2",))
        events = _converse(machine, data)
        assert len(events) <= 1, "it ended twice"
        for event in events:
            assert isinstance(event, Refused | OwnHello), "who has no key was let in"
            if isinstance(event, OwnHello):
                _own_server(event.hello, machine.trailing_data())


def own_server_handshake(data: bytes) -> None:
    """Say a hello of our own protocol, and something for a proof."""
    reader = FrameReader(MESSAGE_MAX_BYTES)
    reader.receive_data(data)
    _own_server(reader.next_frame() or b"", reader.unread())


def _own_server(hello: bytes, rest: bytes) -> None:
    for channel in (b"", b"channel"):
        machine = ServerHandshake(KEY, hello, nonce=b"S" * 32, versions=(1, 3), channel=channel)
        events = _converse(machine, rest)
        assert len(events) <= 1, "it ended twice"
        assert all(isinstance(event, Refused) for event in events), "who has no key was let in"


def own_client_handshake(data: bytes) -> None:
    """Answer our own client as somebody without the key."""
    machine = ClientHandshake(KEY, nonce=b"C" * 32, versions=(1, 2))
    assert not _converse(machine, data), "who has no key was taken for the server"


def honest_hello() -> bytes:
    """Return the first message of our own client."""
    machine = ClientHandshake(KEY, nonce=b"C" * 32)
    machine.receive_data(join_frame(CHALLENGE + b"{sha256}" + b"s" * 40))
    machine.next_event()
    return machine.data_to_send()


def honest_proof(key: bytes = KEY + b" changed") -> bytes:
    """Return a proof by another key than the server's."""
    answer = OWN + pack({"version": 1, "nonce": b"S" * 32})
    return join_frame(prove(derive_key(key), b"client", honest_hello()[4:], answer))
