"""Which job has which number."""

from __future__ import annotations

import pytest

from mpclient.pooling.sources import DROPPED, Singles, Tickets
from mpclient.pooling.spans import Span, Spans


class Sink:
    def deliver(self, index, outcomes):
        raise AssertionError("nobody delivers here")


@pytest.fixture
def spans():
    spans = Spans()
    for first, n in ((1, 3), (4, 1), (10, 5)):
        spans.add(Span(first, n, Sink(), 100))
    return spans


@pytest.mark.parametrize(
    ("low", "high", "parts"),
    [
        (1, 1, [(1, 1)]),
        (2, 4, [(2, 3), (4, 4)]),
        (3, 11, [(3, 3), (4, 4), (10, 11)]),
        (5, 9, []),
        (14, 20, [(14, 14)]),
        (0, 0, []),
    ],
)
def test_a_range_of_numbers_falls_into_spans(spans, low, high, parts):
    assert [(first, last) for _, first, last in spans.split(low, high)] == parts


def test_a_span_lives_until_all_of_it_is_settled(spans):
    (span, _, _) = next(spans.split(10, 14))
    spans.settle(span, 4)
    assert list(spans.split(10, 14))
    spans.settle(span, 1)
    assert not list(spans.split(10, 14))
    assert len(spans) == 2


def test_removing_one_that_is_gone_changes_nothing(spans):
    (span, _, _) = next(spans.split(4, 4))
    spans.remove(span)
    spans.remove(span)
    assert [s.first for s in spans] == [1, 10]
    assert len(spans.clear()) == 2
    assert not spans


def test_who_comes_after_the_end_is_told(spans):
    """A pool counts at its end what has no outcome; what comes at the same time must not count again."""
    (span, _, _) = next(spans.split(10, 14))
    assert spans.settle(span, 2)
    assert [one.left for one in spans.clear()] == [3, 1, 3]
    assert not spans.settle(span, 3)
    assert not spans.remove(span)
    again = Span(10, 5, Sink(), 100)
    spans.add(again)
    assert not spans.remove(span)
    assert spans.remove(again)


class Ticket:
    number = 0

    def __init__(self):
        self.outcomes = []

    def settle(self, outcome):
        self.outcomes.append(outcome)

    def forked(self, error):
        raise AssertionError("nothing forks here")


def test_each_ticket_has_one_outcome():
    one, two, three = made = [Ticket() for _ in range(3)]
    tickets = Tickets(made)
    tickets.number(7)
    assert [ticket.number for ticket in made] == [7, 8, 9]
    tickets.deliver(1, ["two"])
    tickets.forget(2)
    tickets.deliver(0, ["end"] * 3)
    assert (one.outcomes, two.outcomes, three.outcomes) == (["end"], ["two"], [])


def test_what_waits_is_dropped_once():
    singles, ticket, cancelled = Singles(), Ticket(), Ticket()
    cancelled.number = DROPPED
    singles.waiting.extend([(ticket, b"", None), (cancelled, b"", None)])
    assert singles.drop() == [ticket]
    assert singles.drop() == []
