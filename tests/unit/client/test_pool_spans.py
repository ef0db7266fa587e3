"""Which job has which number."""

from __future__ import annotations

import pytest

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
