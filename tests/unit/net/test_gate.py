"""The gate: who may come in, who gives way, who is slowed down; and the log's sums."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.contract.wired_rig import Log
from tests.examples import examples

from mpserve.net import gate as gates
from mpserve.net.gate import HELD_MAX, SLOW_S, THIS_MACHINE, Gate, GateLimits, TurnedAway, origin_of
from mpserve.net.tally import MINUTE_S, Tally


def a_gate(**limits) -> Gate:
    return Gate(GateLimits(**limits), Counter())


def fail(gate, times, origin="a", now_s=0.0):
    for _ in range(times):
        gate.failed(origin, now_s)


@pytest.mark.parametrize(
    ("sockaddr", "origin"),
    [
        (("10.1.2.3", 4000), "10.1.2.3"),
        (("10.1.2.3", 4001), "10.1.2.3"),
        (("::ffff:10.1.2.3", 4000, 0, 0), "10.1.2.3"),
        (("2001:db8:1:2:3:4:5:6", 4000, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 4000, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1", 4000, 0, 2), "fe80::1%2"),
        (("fe80::1%eth0", 4000, 0, 2), "fe80::1%2"),
        (("fe80::1", 4000, 0, 3), "fe80::1%3"),
        (("fd12:3456:789a::1", 4000, 0, 0), "fd12:3456:789a::1"),
        (("64:ff9b::10.1.2.3", 4000, 0, 0), "64:ff9b::a01:203"),
        (("169.254.1.2", 4000), "169.254.1.2"),
        (("127.0.0.1", 4000), THIS_MACHINE),
        (("127.8.9.9", 4000), THIS_MACHINE),
        (("::ffff:127.0.0.1", 4000, 0, 0), THIS_MACHINE),
        (("::1", 4000, 0, 0), THIS_MACHINE),
        ("", THIS_MACHINE),
        (b"\0mpserve", THIS_MACHINE),
    ],
)
def test_what_counts_as_one_address(sockaddr, origin):
    assert origin_of(sockaddr) == origin


@pytest.mark.parametrize(
    ("subnet", "held"), [("fe80::", 0), ("fd12:3456:789a:1::", 0), ("2001:db8:0:1::", 1)]
)
def test_the_failures_of_one_host_are_not_those_of_its_subnet_unless_that_is_one_customers(subnet, held):
    gate = a_gate()
    bad, good = (origin_of((f"{subnet}{n}", 4000, 0, 2)) for n in (1, 2))
    fail(gate, gate.limits.max_failures + 1, bad)
    assert gate.knock(bad, 0.0) == SLOW_S
    assert gate.knock(good, 0.0) == held * SLOW_S


class TestNumbers:
    def test_the_last_place_is_given_and_the_next_one_refused(self):
        gate = a_gate(max_connections=3)
        for origin in "abc":
            assert gate.knock(origin, 0.0) == 0
        with pytest.raises(TurnedAway, match="3 connections") as caught:
            gate.knock("d", 0.0)
        assert caught.value.limit == "max-connections"
        gate.leave("a")
        assert gate.knock("d", 0.0) == 0
        assert gate.refused == {"max-connections": 1}

    def test_one_address_leaves_room_for_others(self):
        gate = a_gate(max_connections=10, max_connections_per_address=2)
        gate.knock("a", 0.0)
        gate.knock("a", 0.0)
        with pytest.raises(TurnedAway, match="from your address"):
            gate.knock("a", 0.0)
        assert gate.knock("b", 0.0) == 0
        gate.leave("a")
        assert gate.knock("a", 0.0) == 0
        assert gate.refused == {"max-connections-per-address": 1}


class TestUnknown:
    def test_the_oldest_gives_way(self):
        gate = a_gate(max_unauthenticated=4)
        assert [gate.arrive(n, str(n)) for n in range(4)] == [None] * 4
        assert gate.arrive(4, "4") == 0

    def test_an_address_that_has_half_of_the_places_gives_way_itself(self):
        gate = a_gate(max_unauthenticated=6)
        assert gate.arrive("honest", "elsewhere") is None
        assert [gate.arrive(n, "flood") for n in range(3)] == [None] * 3
        for n in range(3, 50):
            gone = gate.arrive(n, "flood")
            assert gone == n - 3
            gate.authenticated(gone)
        gate.validate()
        assert gate.statistics()["unauthenticated"] == 4

    def test_who_is_known_takes_no_place(self):
        gate = a_gate(max_unauthenticated=2)
        for n in range(10):
            assert gate.arrive(n, "a") is None
            gate.authenticated(n)
        gate.validate()


class TestFailures:
    def test_after_too_many_the_next_ones_are_held(self):
        gate = a_gate(max_failures=3)
        fail(gate, 3)
        assert gate.knock("a", 0.0) == 0
        fail(gate, 1)
        assert gate.knock("a", 0.0) == SLOW_S
        assert gate.knock("b", 0.0) == 0

    def test_one_a_second_is_forgiven_and_no_more_than_ten_have_to_be(self):
        gate = a_gate(max_failures=3)
        fail(gate, 10_000)
        assert gate.knock("a", 9.9) == SLOW_S
        assert gate.knock("a", 10.0) == 0
        fail(gate, 1, now_s=10.0)
        assert gate.knock("a", 10.0) == SLOW_S
        assert gate.knock("a", 11.1) == 0

    def test_who_has_nothing_left_is_forgotten(self):
        gate = a_gate(max_failures=3)
        fail(gate, 1)
        assert gate.failures("a", 0.5) == 0.5
        assert gate.failures("a", 1.0) == 0
        assert not gate._failures

    def test_those_that_are_held_are_bounded_and_others_come_in(self):
        gate = a_gate(max_failures=1)
        fail(gate, 2)
        for _ in range(HELD_MAX):
            assert gate.knock("a", 0.0) == SLOW_S
        with pytest.raises(TurnedAway, match="failed attempts.*of others who share it.*check your key"):
            gate.knock("a", 0.0)
        assert gate.knock("b", 0.0) == 0
        gate.held_long_enough("a")
        assert gate.knock("a", 0.0) == SLOW_S

    def test_addresses_that_are_known_are_bounded(self, monkeypatch):
        monkeypatch.setattr(gates, "ADDRESSES_MAX", 10)
        gate = a_gate(max_failures=1)
        for n in range(100):
            fail(gate, 2, str(n))
        assert len(gate._failures) == 10
        assert gate.knock("0", 0.0) == 0
        assert gate.knock("99", 0.0) == SLOW_S


class Machine(RuleBasedStateMachine):
    """Whatever comes and goes, the counts agree and no limit is exceeded."""

    def __init__(self):
        super().__init__()
        self.now_s = 0.0
        self.gate = a_gate(
            max_connections=8, max_connections_per_address=5, max_unauthenticated=4, max_failures=2
        )
        self.held, self.open, self.known = [], {}, set()

    @rule(origin=st.sampled_from("abc"))
    def knock(self, origin):
        try:
            wait_s = self.gate.knock(origin, self.now_s)
        except TurnedAway:
            return
        if wait_s:
            self.held.append(origin)
        else:
            self.arrive(origin)

    def arrive(self, origin):
        connection = SimpleNamespace(origin=origin)
        key = id(connection)
        self.open[key] = connection
        oldest = self.gate.arrive(key, origin)
        if oldest is not None:
            self.leave(oldest)

    @precondition(lambda self: self.held)
    @rule()
    def go_on(self):
        origin = self.held.pop(0)
        self.gate.held_long_enough(origin)
        self.arrive(origin)

    @precondition(lambda self: self.open)
    @rule(n=st.integers(0, 7), good=st.booleans())
    def finish(self, n, good):
        key = list(self.open)[n % len(self.open)]
        if good:
            self.gate.authenticated(key)
            self.known.add(key)
        else:
            self.gate.failed(self.open[key].origin, self.now_s)
            self.leave(key)

    def leave(self, key):
        self.gate.gone(key, self.open.pop(key).origin)
        self.known.discard(key)

    @rule(seconds=st.floats(0.1, 5.0))
    def wait(self, seconds):
        self.now_s += seconds

    @invariant()
    def agrees(self):
        self.gate.validate()
        assert self.gate.open == len(self.open) + len(self.held) <= 8
        assert len(self.open) - len(self.known) <= 4


Machine.TestCase.settings = hypothesis_settings(max_examples=examples(50), stateful_step_count=40)
TestMachine = Machine.TestCase


class TestTally:
    def test_the_first_lines_as_they_come_then_one_sum(self):
        log = Log()
        tally = Tally(log)
        for n in range(1000):
            tally.tell("peer.refused", "a", 10.0 + n / 100, 3, peer=f"a:{n}", reason="why")
        assert [fields["peer"] for _, fields in log.lines] == ["a:0", "a:1", "a:2"]
        assert tally.next_deadline_s() == 10.0 + MINUTE_S
        tally.advance(10.0 + MINUTE_S)
        event, fields = log.lines[-1]
        assert event == "peer.refused"
        assert fields == {"address": "a", "more": 997, "within_s": MINUTE_S, "peer": "a:999", "reason": "why"}
        assert tally.next_deadline_s() is None

    def test_addresses_and_events_count_apart(self):
        log = Log()
        tally = Tally(log)
        for origin in "ab":
            for event in ("one", "two"):
                tally.tell(event, origin, 0.0)
                tally.tell(event, origin, 0.0)
        assert len(log.lines) == 4

    def test_many_addresses_end_the_oldest_minute_early(self):
        log = Log()
        tally = Tally(log)
        tally.tell("e", "first", 0.0)
        tally.tell("e", "first", 0.0)
        for n in range(2000):
            tally.tell("e", str(n), 0.0)
        assert len(tally._minutes) == 1024
        assert ("e", {"address": "first", "more": 1, "within_s": MINUTE_S}) in log.lines

    def test_what_is_open_is_told_at_the_end(self):
        log = Log()
        tally = Tally(log)
        tally.tell("e", "a", 0.0)
        tally.tell("e", "a", 0.0)
        tally.close()
        assert log.lines[-1][1]["more"] == 1
