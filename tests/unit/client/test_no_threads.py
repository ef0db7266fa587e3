"""A system that gives no more threads: what needs one says so, or does without."""

from __future__ import annotations

import threading

import pytest
from tests.unit.client.peer import reply

from mpclient.objects.buffer import Buffer
from mpshared.errors import ServerGone
from mpshared.ops import BY_NAME
from mpshared.wire.own.frames import Call

LEN = BY_NAME["dict.len"]
PUT_MANY = BY_NAME["queue.put_many"]


@pytest.fixture(autouse=True)
def answers(peer):
    peer.script = lambda event: reply(event, 3) if isinstance(event, Call) else None


@pytest.fixture
def forbid(monkeypatch):
    """Have no thread of the client's begin any more; those of the peer do."""
    begin = threading.Thread.start

    def start(thread):
        if thread.name.startswith("mpserve-"):
            raise RuntimeError("can't start new thread")
        begin(thread)

    return lambda: monkeypatch.setattr(threading.Thread, "start", start)


def test_a_session_that_nobody_keeps_is_over_at_once(session, forbid, monkeypatch):
    forbid()
    with pytest.raises(ServerGone, match="no thread to keep its session at .*: can't start new thread"):
        session.call(LEN, "ident", [])
    monkeypatch.undo()
    assert session.call(LEN, "ident", []).result == 3


def test_a_buffered_put_without_a_thread_to_send_it_sends_it_itself(peer, session, forbid):
    session.start()
    forbid()
    buffer = Buffer(session.claim("ident"))
    buffer.put(b"one")
    buffer.put(b"two")
    assert [call.op for call in peer.calls if call.lane] == [PUT_MANY.code] * 2
