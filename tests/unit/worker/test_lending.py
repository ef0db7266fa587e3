"""Stand-ins for processes whose jobs wait for jobs of their own: who has one, and when it goes."""

from __future__ import annotations

import math
import time

import pytest

from mpclient.worker.host.lending import Lending


class Child:
    """What lending sees of a worker process."""

    def __init__(self):
        self.ended = []
        self.sent = []
        self.channel = self

    def end(self, how):
        self.ended.append(how)

    def send(self, kind, **fields):
        self.sent.append((kind, fields))


@pytest.fixture
def now(monkeypatch):
    """Set the clock."""
    at = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return lambda seconds: at.__setitem__(0, seconds)


@pytest.fixture
def lending():
    return Lending("host", 3)


def test_each_lender_has_one_stand_in(lending):
    first, second = Child(), Child()
    assert lending.lend(first, 0) is None
    assert lending.lend(first, 0) is None
    assert lending.lend(second, 0) is None
    assert [slot.name for slot in lending.slots] == ["host/+1", "host/+2"]
    assert all(slot.is_lent and slot.due_s is not None for slot in lending.slots)


def test_a_stand_in_lingers_for_the_next_lender(lending, now):
    first, second = Child(), Child()
    lending.lend(first, 0)
    (slot,) = lending.slots
    slot.began(stand_in := Child())
    lending.unlend(first)
    now(100.9)
    lending.tidy()
    assert lending.lend(second, 0) is None
    now(200.0)
    lending.tidy()
    assert lending.slots == [slot]
    assert slot.lender is second
    assert stand_in.ended == []


def test_it_is_stopped_once_it_has_lingered_and_forgotten_once_it_has_ended(lending, now):
    lending.lend(lender := Child(), 0)
    (slot,) = lending.slots
    slot.began(stand_in := Child())
    lending.unlend(lender)
    for at in (101.0, 102.0):
        now(at)
        lending.tidy()
        assert stand_in.ended == ["stop"]
        assert lending.slots == [slot]
    slot.emptied(at_once=True)
    lending.tidy()
    assert lending.slots == []


def test_one_that_ended_by_itself_is_replaced_while_its_lender_waits(lending):
    lending.lend(lender := Child(), 0)
    (slot,) = lending.slots
    slot.began(Child())
    slot.emptied(at_once=True)
    lending.tidy()
    assert lending.slots == [slot]
    assert slot.due_s is not None
    lending.unlend(lender)
    lending.tidy()
    assert lending.slots == [slot]
    assert slot.due_at_s(stopping=False) == math.inf


def test_a_stop_of_the_host_leaves_stand_ins_to_their_lenders(lending):
    lending.lend(lender := Child(), 0)
    (slot,) = lending.slots
    assert slot.due_at_s(stopping=True) == slot.due_s
    lending.unlend(lender)
    assert slot.due_at_s(stopping=True) == math.inf


def test_there_is_a_bound_that_counts_other_processes_too(lending):
    assert lending.lend(Child(), 2) is None
    refusal = lending.lend(Child(), 2)
    assert refusal is not None
    assert "3 beside its slots, and --max-spawned is 3" in refusal
    assert lending.lend(Child(), 1) is None


def test_a_place_where_nothing_comes_to_work_is_given_up(lending):
    lending.lend(lender := Child(), 0)
    lending.give_up(lending.slots[0], "no memory")
    assert lender.sent == [("cannot_lend", {"text": "no memory"})]
    lending.tidy()
    assert lending.slots == []
