"""What is told for the whole session, and until when."""

from __future__ import annotations

import pytest

from mpclient.transport.errands import Errands
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


def note_ends(errands, *lanes):
    """Note that lanes have ended: that was told by connections of their own."""
    for lane in lanes:
        errands.unsure.note(ended(lane))


def test_an_end_of_a_lane_is_told_until_a_later_call_is_answered(errands, wire):
    note_ends(errands, 1, 2)
    errands.make_sure()
    assert wire.told() == [(Type.LANE_CLOSED, 1), (Type.LANE_CLOSED, 2), ("call", 1)]
    note_ends(errands, 3)
    errands.make_sure()
    assert wire.told() == []
    errands.answered(answer(1))
    errands.make_sure()
    assert wire.told() == [(Type.LANE_CLOSED, 3), ("call", 2)]
    errands.answered(answer(2))
    errands.make_sure()
    errands.send_again()
    assert wire.told() == []


def test_what_is_unsure_when_the_connection_is_lost_is_told_until_a_call_is_answered_that_was_made_since(
    errands, wire
):
    note_ends(errands, 1)
    errands.make_sure()
    note_ends(errands, 2)
    wire.told()
    errands.send_again()
    assert wire.told() == [(Type.LANE_CLOSED, 1), (Type.LANE_CLOSED, 2), ("call", 1)]
    errands.answered(answer(1))
    errands.make_sure()
    assert wire.told() == [(Type.LANE_CLOSED, 1), (Type.LANE_CLOSED, 2), ("call", 2)]
    errands.answered(answer(2))
    errands.send_again()
    assert wire.told() == []


def test_much_that_is_told_by_the_same_connection_is_made_sure_of_once(errands, wire):
    for number in range(1, 100):
        errands.tell(encode_control(Type.ABANDON, 1, number), 1, number)
    told = wire.told()
    assert told.count(("call", 1)) == 1
    assert len(told) == 100
    sure = told.index(("call", 1))
    errands.answered(answer(1))
    assert errands.unsure.take_abandoned(1) == list(range(sure + 1, 100))


def test_abandoned_calls_are_told_again_with_their_lane_only(errands, wire):
    errands.tell(encode_control(Type.ABANDON, 1, 7), 1, 7)
    errands.tell(encode_control(Type.ABANDON, 2, 8), 2, 8)
    errands.tell(ended(3), 3)
    wire.told()
    errands.send_again()
    assert wire.told() == [(Type.LANE_CLOSED, 3)]
    assert errands.unsure.take_abandoned(1) == [7]
    assert errands.unsure.take_abandoned(1) == []
    assert errands.unsure.take_abandoned(2) == [8]


def test_a_call_that_cannot_be_sent_is_made_anew(errands, wire):
    note_ends(errands, 1)
    wire.lost = True
    with pytest.raises(ConnectionError):
        errands.make_sure()
    wire.lost = False
    errands.send_again()
    assert wire.told() == [(Type.LANE_CLOSED, 1)]
    errands.make_sure()
    assert wire.told() == [(Type.LANE_CLOSED, 1), ("call", 1)]
