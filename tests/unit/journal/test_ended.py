"""What a journal and its snapshot hold of sessions that ended, and of lanes that were away for too long."""

from __future__ import annotations

from dataclasses import asdict

from mpserve.core.calls import SessionInfo
from mpserve.core.ended import Ended, Holding
from mpserve.core.sessions import MAX_ENDED
from mpserve.engines.journal.codec import decode, encode
from mpserve.engines.journal.compact import entries_of
from mpserve.engines.journal.restore import Restorer

HELD = Holding(3, 1, 0, ["lock", "condition"], "lock 'door'")
ENDED = Ended("secret", "it was silent", [HELD], [[3, 17]])


def restored(entries):
    restorer = Restorer()
    restorer.apply(decode(*encode(entries)))
    return restorer


def ended_of(restorer):
    return restorer.catalogue.sessions.ended


def began(session_id):
    return "", "began", (session_id, "secret", asdict(SessionInfo(python=(3, 11))))


def test_a_session_that_may_come_back():
    restorer = restored([began("a"), began("b"), ("", "over", ("a", *ENDED[1:])), ("", "over", ("b",))])
    assert dict(ended_of(restorer)) == {"a": ENDED}
    assert not restorer.sessions
    assert ended_of(restored(list(entries_of(restorer)))) == ended_of(restorer)


def test_a_lane_that_may_come_back():
    restorer = restored([began("a"), ("", "lane_expired", ("a", 3, *ENDED)), ("", "lane_over", ("a", 3))])
    assert restorer.sessions["a"].expired_lanes == {3: ENDED}
    again = restored(list(entries_of(restorer)))
    assert again.sessions["a"].expired_lanes == {3: ENDED}


def test_of_many_lanes_those_that_held_something_are_kept():
    idle = ("", "it was silent", [], [[3, 17]])
    lanes = [(n, ENDED if n % 2 else idle) for n in range(MAX_ENDED + 5)]
    restorer = restored([began("a"), *[("", "lane_expired", ("a", n, *ended)) for n, ended in lanes]])
    kept = restorer.sessions["a"].expired_lanes
    assert list(kept) == [n for n, _ in lanes if n % 2 or n >= 10]
    for n in range(MAX_ENDED):
        restorer.apply([("", "lane_expired", ("a", 10_000 + n, *ENDED))])
    assert list(kept) == [10_000 + n for n in range(MAX_ENDED)]
    restorer.apply([("", "lane_expired", ("a", 7, *idle))])
    assert 7 not in kept


def test_no_more_are_kept_than_in_the_server():
    entries = [("", "ended", (str(n), *ENDED)) for n in range(MAX_ENDED + 5)]
    assert list(ended_of(restored(entries))) == [str(n) for n in range(5, MAX_ENDED + 5)]
