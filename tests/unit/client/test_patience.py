"""How long is gone on without a server, and from when on that counts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mpclient.transport import patience
from mpclient.transport.dialling import Lost
from mpclient.transport.patience import Patience
from mpshared.errors import ServerGone

LIMIT_S = 60.0
LOST = Lost("the connection broke")


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


@pytest.fixture
def begin(clock):
    """Return what makes the patience of a call that has just lost its server."""
    session = SimpleNamespace(
        address="there", reconnect_timeout_s=LIMIT_S, end=lambda term, error: error, note_away=lambda *_: None
    )
    return lambda: Patience(session, SimpleNamespace(durable=True, restarting=False))


def test_it_ends_at_the_limit(clock, begin):
    one = begin()
    clock.s += LIMIT_S - 1
    one.delay_s(LOST)
    clock.s += 1
    with pytest.raises(ServerGone):
        one.delay_s(LOST)


def test_it_begins_anew_when_the_server_was_there_for_longer_than_it_was_away(clock, begin):
    one = begin()
    for _ in range(5):
        clock.s += 20
        one.asked()
        clock.s += 3600
        assert one.delay_s(LOST) == 0  # as at the first time: it may be back already
        assert one.delay_s(LOST) > 0
    clock.s += LIMIT_S
    with pytest.raises(ServerGone):
        one.delay_s(LOST)


def test_a_server_that_dies_of_the_call_is_not_asked_for_ever(clock, begin):
    one = begin()
    with pytest.raises(ServerGone):
        for _ in range(100):
            clock.s += 10
            one.asked()
            clock.s += 1
            one.delay_s(LOST)
    assert clock.s < 1000 + 2 * LIMIT_S
