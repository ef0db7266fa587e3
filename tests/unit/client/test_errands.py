"""What is told for the whole session, and until when."""

from __future__ import annotations

import pytest

from mpclient.errands import Errands
from mpshared.wire.own.frames import Call, FrameDecoder, Reply, Type, encode_control


class Wire:
    """Takes what is sent; `lost` makes it fail."""

    def __init__(self) -> None:
        self.decoder = FrameDecoder(1 << 20)
        self.lost = False

    def __call__(self, pieces):
        if self.lost:
            raise ConnectionError
        self.decoder.receive_data(b"".join(pieces))

    def told(self):
        """Return what was sent since the last time: numbers of calls, and of lanes that ended."""
        events = list(iter(self.decoder.next_event, None))
        return [("call", e.number) if isinstance(e, Call) else (e.type, e.lane) for e in events]


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def errands(wire):
    return Errands(None, wire)


def ended(lane):
    return encode_control(Type.LANE_CLOSED, lane, ack=1)


def answer(number):
    return Reply(0, number, 0, None, ())


def test_an_end_of_a_lane_is_told_until_a_later_call_is_answered(errands, wire):
    errands.ended.extend([ended(1), ended(2)])
    errands.make_sure()
    assert wire.told() == [(Type.LANE_CLOSED, 1), (Type.LANE_CLOSED, 2), ("call", 1)]
    errands.make_sure()
    assert wire.told() == []
    errands.ended.append(ended(3))
    errands.send_again()  # the connection was lost
    assert wire.told() == [(Type.LANE_CLOSED, n) for n in (1, 2, 3)] + [("call", 1)]
    errands.answered(answer(1))
    errands.make_sure()
    assert wire.told() == [(Type.LANE_CLOSED, 3), ("call", 2)]
    errands.answered(answer(2))
    errands.make_sure()
    errands.send_again()
    assert wire.told() == []


def test_a_call_that_cannot_be_sent_is_made_anew(errands, wire):
    errands.ended.append(ended(1))
    wire.lost = True
    with pytest.raises(ConnectionError):
        errands.make_sure()
    wire.lost = False
    errands.send_again()
    assert wire.told() == [(Type.LANE_CLOSED, 1)]
    errands.make_sure()
    assert wire.told() == [(Type.LANE_CLOSED, 1), ("call", 1)]
