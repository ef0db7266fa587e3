"""What a server has no memory for: dropped, told of by its call, and the stream goes on behind it."""

from __future__ import annotations

import pytest

from mpshared.errors import NoRoom
from mpshared.values import Value
from mpshared.wire.assembler import Assembler
from mpshared.wire.own.calls import CallDecoder
from mpshared.wire.own.frames import Call, encode_call, encode_control
from mpshared.wire.own.frames import Type as Kind

LARGE = bytes(300_000)


def no_memory(*_, **__):
    raise MemoryError


def heard(decoder, data, step):
    events = []
    for at in range(0, len(data), step):
        decoder.receive_data(data[at : at + step])
        while (event := decoder.next_event()) is not None:
            events.append(event)
    return events


@pytest.mark.parametrize("step", [7, 1000, 100_000])
@pytest.mark.parametrize("lacks", ["_keep", "_joined"])
@pytest.mark.parametrize("values", [[LARGE], [b"small", LARGE], [Value(0, LARGE, (LARGE,), ("ident",))]])
def test_a_call_whose_values_are_dropped_is_told(monkeypatch, step, lacks, values):
    sent = b"".join(
        [*encode_call(0x0103, 5, 7, 6, "t", [1], values), *encode_call(0x0103, 5, 8, 6, "t", [1], [b"x"])]
    )
    monkeypatch.setattr(Assembler, lacks, no_memory)
    large, small = heard(CallDecoder(1 << 24, bounded=True), sent, step)
    assert large[:6] == (0x0103, 5, 7, 6, "t", [1])
    assert not large.blobs
    with pytest.raises(NoRoom, match="memory"):
        len(large.blobs)
    assert small == Call(0x0103, 5, 8, 6, "t", [1], (b"x",))


@pytest.mark.parametrize("at", [50_000, 200_000])
def test_a_payload_that_is_coming_can_be_dropped_once(at):
    sent = b"".join(
        [*encode_call(0x0103, 5, 7, 6, "t", [1], [LARGE]), *encode_control(Kind.GOODBYE, body="")]
    )
    decoder = CallDecoder(1 << 24, bounded=True)
    assert not decoder.drop()
    assert heard(decoder, sent[:at], 50_000) == []
    assert decoder.wants
    assert decoder.drop()
    assert not decoder.drop()
    large, goodbye = heard(decoder, sent[at:], 50_000)
    with pytest.raises(NoRoom, match="memory"):
        len(large.blobs)
    assert goodbye.type is Kind.GOODBYE
    assert not decoder.drop()


def test_what_is_no_call_is_no_ones(monkeypatch):
    sent = b"".join(encode_control(Kind.OUTPUT, body=["session", [[1, LARGE]]]))
    monkeypatch.setattr(Assembler, "_joined", no_memory)
    with pytest.raises(MemoryError):
        heard(CallDecoder(1 << 24, bounded=True), sent, 100_000)
