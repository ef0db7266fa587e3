"""The batch under way."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpclient.worker.jobs.desk import NOTHING, Desk, Finished, is_answer, ranges_of, result_bytes
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


def test_what_could_not_be_sent_comes_before_what_was_finished_since():
    desk = Desk()
    for number in (1, 2):
        desk.finish((number, b"r", number * 10))
    finished = desk.collect()
    desk.finish((3, b"r", None))
    desk.put_back(finished)
    again = desk.collect()
    assert again == Finished((1, 2, 3), (b"r", b"r", b"r"), [[10, 20]])
    desk.put_back(NOTHING)
    assert desk.collect() == NOTHING


def test_the_batch_ahead_joins_the_one_before_it():
    desk = Desk()
    desk.receive([[1, 2, 1]], [b"a", b"b"], "pool")
    desk.next_job()
    desk.finish((1, b"A", None))
    desk.next_job()
    assert len(desk) == 0
    desk.receive([[3, 3, 1]], [b"c"], "pool", ahead=True)
    assert (desk.leased, len(desk)) == ([(1, 2), (3, 3)], 1)
    desk.receive([[5, 6, 1]], [b"e", b"f"], "pool", ahead=True)
    assert desk.leased == [(3, 3), (5, 6)]
    desk.receive([[8, 8, 1]], [b"h"], "pool")
    assert desk.leased == [(8, 8)]
    assert desk.collect() == Finished((1,), (b"A",), [], "pool")


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


def test_answers_are_pickled_when_they_are_collected():
    desk = Desk()
    answers = [3, "four", 5.0, True] * 10
    desk.receive([[1, len(answers), 1]], [b"x"] * len(answers), "pool")
    for number, answer in enumerate(answers, 1):
        assert is_answer(answer)
        desk.finish((number, answer, None))
    finished = desk.collect()
    assert finished.numbers == (*range(1, len(answers) + 1),)
    assert [*map(pickle.loads, finished.results)] == answers
    desk.put_back(finished)
    assert [*map(pickle.loads, desk.collect().results)] == answers


@pytest.mark.parametrize("others", [[], [b"pickled"], [b"pickled", Value(1, b"more")]])
def test_answers_beside_values(others):
    desk = Desk()
    desk.receive([[1, 1 + len(others), 1]], [b"x"] * (1 + len(others)), "pool")
    for number, result in enumerate([*others, 7], 1):
        desk.finish((number, result, None))
    *first, last = desk.collect().results
    assert first == others
    assert pickle.loads(last) == 7


@pytest.mark.parametrize("other", [None, b"bytes", [1], 1j, 1 << 80, -1 << 80, "long" * 100])
def test_what_is_no_answer(other):
    assert not is_answer(other)


@pytest.mark.parametrize("result", [b"12345", 7, "text", Value(1, b"12", (b"345",))])
def test_how_large_a_result_is(result):
    assert 5 <= result_bytes(result) <= 64
