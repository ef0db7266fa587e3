"""Frames by hand: what `rigs` would not send."""

from __future__ import annotations

from mpshared import errors
from mpshared.ops import BY_NAME
from mpshared.wire.own import frames

NEW = {"role": "program", "python": [3, 12], "host": "here", "pid": 1}


def call(lane, number, name, target="", *args, ack=0, blobs=()):
    return frames.encode_call(BY_NAME[name].code, lane, number, ack, target, args, blobs)


def numbers(wire):
    wire.carry()
    return [answer.number for answer in wire.answers]


def refused(wire, text, kind=errors.ProtocolViolation):
    """Tell whether the connection was ended by one clear error."""
    wire.carry()
    assert wire.closed
    [error] = wire.errors
    assert isinstance(error, kind)
    assert text in str(error)
    return True
