"""A server that is none of ours, or a broken one: one clear error, whatever it says."""

import asyncio

import pytest
from tests.unit.client.peer import KEY

from mpclient.aio.session import Session as AioSession
from mpclient.output.printer import Printer
from mpclient.transport.dialling import check_attached
from mpclient.transport.term import Term
from mpshared.errors import MpserveError, ProtocolViolation, TaskError, make
from mpshared.ops import BY_NAME
from mpshared.wire.own.frames import Call, encode_error

ATTACHED = {
    "session": "s",
    "secret": "x",
    "server": "id",
    "epoch": "e",
    "limits": {"max_message": 1 << 20},
    "session_timeout_s": 30.0,
}
ODD = [{"spin_s": "long"}, {"last": "one"}, {"advertise": 5}]


def begin(attached):
    return Term(check_attached(attached), Printer(lambda _pieces: None))


def test_a_sound_answer_makes_a_term():
    assert begin(ATTACHED).beat_s == 10.0


@pytest.mark.parametrize("name", ATTACHED)
@pytest.mark.parametrize("value", [None, [], -1, {}, float("nan")])
def test_an_answer_with_something_else_in_it_is_refused(name, value):
    with pytest.raises(ProtocolViolation, match="no server of mpserve"):
        begin({**ATTACHED, name: value})


@pytest.mark.parametrize("more", ODD)
def test_an_answer_with_something_else_besides_is_refused(more):
    with pytest.raises(ProtocolViolation, match="no server of mpserve"):
        begin({**ATTACHED, **more})


@pytest.mark.parametrize("name", ATTACHED)
def test_an_answer_that_lacks_something_is_refused(name):
    with pytest.raises(ProtocolViolation, match="greeting lacks"):
        begin({key: value for key, value in ATTACHED.items() if key != name})


def test_output_of_no_number_is_refused():
    with pytest.raises(ProtocolViolation, match="number of its last entry"):
        Printer(lambda _pieces: None).take("a session", [[1, b"line"]])


@pytest.mark.parametrize(
    "fields", [{b"bytes": 1}, {"pid": "seven"}, {"pid": []}, {"text": 1, "self": 2}, {"code": 3}]
)
@pytest.mark.parametrize("code", ["task", "worker_died", "empty", "unknown"])
def test_an_error_with_odd_fields_is_still_that_error(code, fields):
    error = make(code, "text", fields)
    assert isinstance(error, MpserveError)
    assert "text" in str(error)
    assert not isinstance(error, TaskError) or error.pid == 0


def test_a_lane_that_is_refused_after_it_was_taken_ends_the_session_of_asyncio(peer):
    def refuse(event):
        if isinstance(event, Call):
            return encode_error(event.lane, 0, "no_room", "too many", {})
        return None

    async def call():
        session = AioSession(peer.address, KEY)
        try:
            await session.call(BY_NAME["queue.qsize"], "q", [])
        finally:
            await session.close()

    peer.script = refuse
    with pytest.raises(ProtocolViolation, match="refused lane 1, which it had taken"):
        asyncio.run(asyncio.wait_for(call(), 10))
