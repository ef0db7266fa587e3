"""What a journal and its snapshot hold of places in lines."""

from __future__ import annotations

import pytest
from tests.unit.journal.test_ended import began, restored

from mpserve.engines.journal.codec import Answer
from mpserve.engines.journal.compact import entries_of
from mpshared.ops import BY_NAME


def parked(session_id, lane, number):
    return "", "parked", (session_id, lane, number)


def answer(session_id, lane, number):
    op = BY_NAME["lock.acquire"].code
    return Answer(session_id, lane, number, number - 1, op, "", None, False, None, None)


def places(restorer):
    """Return who waits with which call, in order."""
    lanes = [lane for session in restorer.sessions.values() for lane in session.lanes.values()]
    found = [(lane.place[1], lane.session.id, lane.number, lane.place[0]) for lane in lanes if lane.place[0]]
    return [tuple(rest) for _, *rest in sorted(found)]


@pytest.fixture
def waiting():
    return restored([began("a"), began("b"), parked("b", 1, 7), parked("a", 2, 3), parked("a", 1, 9)])


def test_they_come_back_in_order(waiting):
    assert places(waiting) == [("b", 1, 7), ("a", 2, 3), ("a", 1, 9)]
    assert waiting.sessions["a"].lanes[1].last_number == 9


def test_a_snapshot_has_them_in_order(waiting):
    assert places(restored(list(entries_of(waiting)))) == places(waiting)


def test_a_place_taken_later_counts(waiting):
    waiting.apply([parked("b", 1, 7)])
    assert places(waiting) == [("a", 2, 3), ("a", 1, 9), ("b", 1, 7)]


@pytest.mark.parametrize(
    "entry",
    [answer("b", 1, 7), answer("b", 1, 8), ("", "lane_over", ("b", 1)), ("", "over", ("b",))],
    ids=["answered", "answered the next", "its lane is over", "its session is over"],
)
def test_who_waits_no_more_has_none(waiting, entry):
    waiting.apply([entry])
    assert places(waiting) == [("a", 2, 3), ("a", 1, 9)]


def test_an_answer_of_before_changes_nothing(waiting):
    waiting.apply([answer("b", 1, 6)])
    assert places(waiting)[0] == ("b", 1, 7)


def test_of_a_session_that_is_not_known(waiting):
    waiting.apply([parked("c", 1, 1)])
    assert len(places(waiting)) == 3
