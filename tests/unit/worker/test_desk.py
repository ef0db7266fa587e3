"""The batch under way."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpclient.worker.desk import NOTHING, Batch, Desk, Finished, ranges_of
from mpshared.values import NONE, Value


@given(st.sets(st.integers(0, 50)))
def test_ranges_hold_the_numbers_and_nothing_else(numbers):
    ranges = ranges_of(sorted(numbers))
    assert [n for first, last in ranges for n in range(first, last + 1)] == sorted(numbers)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))


def test_numbers_out_of_order_are_ranges_too():
    assert ranges_of([5, 6, 2, 3, 9]) == [(5, 6), (2, 3), (9, 9)]


def test_jobs_come_in_the_order_of_the_lease():
    desk = Desk()
    assert desk.receive([[3, 4, 1], [1, 1, 2]], [b"c", b"dd", b"a"]) == 4
    assert desk.leased == [(3, 4), (1, 1)]
    assert [desk.next_job() for _ in range(3)] == [(3, b"c"), (4, b"dd"), (1, b"a")]
    with pytest.raises(IndexError):
        desk.next_job()


def test_finished_jobs_are_collected_once():
    desk = Desk()
    desk.receive([[1, 2, 1]], [b"a", b"b"])
    desk.next_job()
    result = Value(0, b"A", (b"more",), ("ident",))
    desk.finish((1, result, "kept alive"))
    assert desk.to_tend
    assert desk.collect() == Finished((1,), (result,), ["kept alive"])
    assert desk.collect() == NOTHING
    assert len(NOTHING.numbers) == 0


def test_a_part_of_what_is_finished():
    finished = Finished([1, 2, 3], [b"a", b"b", b"c"], ["kept"], "pool")
    assert finished.part(1, 3) == Finished([2, 3], [b"b", b"c"], ["kept"], "pool")


def test_a_pill_comes_after_the_jobs():
    desk = Desk()
    desk.receive([[1, 3, 1]], [b"a", b"b", NONE])
    assert not desk.is_at_pill
    desk.next_job()
    desk.next_job()
    assert desk.is_empty
    assert desk.is_at_pill
    assert desk.take_pill() == 3
    assert not desk.is_at_pill
    assert desk.clear() == []


def test_what_was_not_begun_goes_back_with_the_pill():
    desk = Desk()
    desk.receive([[1, 3, 1], [7, 7, 1]], [b"a", b"b", b"c", NONE])
    desk.next_job()
    assert desk.clear() == [(2, 3), (7, 7)]
    assert desk.is_empty
    assert not desk.is_at_pill
    assert desk.take_pill() is None


def test_a_batch_of_a_pool_has_no_pills_and_says_where_its_results_go():
    desk = Desk()
    desk.receive([[1, 2, 1]], [b"a", NONE], "pool", 3)
    assert (desk.pool, desk.spec_version) == ("pool", 3)
    assert [desk.next_job(), desk.next_job()] == [(1, b"a"), (2, NONE)]
    assert not desk.is_at_pill
    desk.finish((1, b"A", None))
    assert desk.collect().pool == "pool"
    desk.receive([[1, 1, 1]], [b"a"])
    desk.finish((1, b"A", None))
    assert desk.collect().pool is None


def test_a_job_that_runs_alone_needs_no_tending():
    desk = Desk()
    desk.receive([[1, 1, 1]], [b"a"])
    desk.next_job()
    assert not desk.to_tend


def test_the_next_batch_lies_beside_this_one():
    desk = Desk()
    desk.receive([[1, 2, 1]], [b"a", b"b"], "pool", 3)
    desk.next_job()
    desk.put_ahead(Batch([[5, 6, 1]], [b"e", b"f"], "pool", 4))
    assert desk.has_ahead
    assert desk.held() == [([(1, 2)], "pool"), ([(5, 6)], "pool")]
    desk.finish((1, b"A", None))
    desk.finish((desk.next_job()[0], b"B", None))
    assert desk.is_empty
    assert desk.to_tend
    assert not desk.must_collect
    assert desk.take_ahead() == 2
    assert not desk.has_ahead
    assert desk.spec_version == 4
    assert desk.held() == [([(1, 2), (5, 6)], "pool")], "what is finished is not acknowledged yet"
    assert desk.collect() == Finished((1, 2), (b"A", b"B"), [], "pool")
    assert desk.next_job() == (5, b"e")


def test_results_go_before_a_batch_from_elsewhere_is_begun():
    desk = Desk()
    desk.receive([[1, 1, 1]], [b"a"])
    desk.next_job()
    desk.put_ahead(Batch([[1, 1, 1]], [b"p"], "pool"))
    assert not desk.must_collect
    desk.finish((1, b"A", None))
    assert desk.must_collect
    assert desk.collect().pool is None
    assert not desk.must_collect
    desk.take_ahead()
    assert desk.pool == "pool"


def test_what_lies_beside_goes_back_too():
    desk = Desk()
    desk.receive([[1, 2, 1]], [b"a", b"b"])
    desk.next_job()
    desk.put_ahead(Batch([[7, 7, 1], [9, 9, 2]], [b"p", b"q"], "pool"))
    assert desk.clear_all() == [([(2, 2)], None), ([(7, 7), (9, 9)], "pool")]
    assert not desk.has_ahead
    assert desk.clear_all() == [([], None)]


def test_a_batch_ahead_may_end_with_a_pill():
    desk = Desk()
    desk.receive([[1, 1, 1]], [b"a"])
    desk.next_job()
    desk.put_ahead(Batch([[2, 3, 1]], [b"b", NONE]))
    assert not desk.has_pill
    desk.take_ahead()
    assert desk.has_pill
    assert desk.next_job() == (2, b"b")
    assert desk.is_at_pill
