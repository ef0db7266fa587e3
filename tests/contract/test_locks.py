"""Locks whose holder died: what was asked of them when they were made, who may take them, who frees them."""

from __future__ import annotations

import pytest

from mpshared.errors import (
    BadValue,
    Conflict,
    DeadlockError,
    LockAbandoned,
    MpserveError,
    NoSuchObject,
    NotAllowed,
    NotHeld,
)

KINDS = ["lock", "rlock", "condition"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def opened(rig, thread, kind, name=None, **settings):
    """Open an object; return its ident and what it is set to."""
    ident, _, has = thread.ask("cluster.open", "", kind, name, settings, False, None)
    return ident, has


class TestPolicies:
    def test_raise(self, rig, kind):
        other, dying = rig.thread(), rig.program()
        ident = rig.open(other, kind, on_owner_death="raise")
        dying.thread().ask(f"{kind}.acquire", ident, None)
        waiting = other.call(f"{kind}.acquire", ident, None)
        assert not waiting.answered
        dying.die()
        assert isinstance(waiting.error, LockAbandoned)
        assert isinstance(rig.thread().fails(f"{kind}.acquire", ident, 0), LockAbandoned)
        assert other.ask(f"{kind}.recover", ident) is True
        other.ask(f"{kind}.release", ident)
        assert rig.thread().ask(f"{kind}.acquire", ident, 0) is True

    def test_hold(self, rig, kind):
        other, dying = rig.thread(), rig.program()
        ident = rig.open(other, kind, on_owner_death="hold")
        dying.thread().ask(f"{kind}.acquire", ident, None)
        waiting = rig.thread().call(f"{kind}.acquire", ident, None)
        dying.die()
        assert not waiting.answered
        assert other.ask(f"{kind}.acquire", ident, 0) is False
        assert other.ask(f"{kind}.recover", ident) is True
        assert not waiting.answered
        other.ask(f"{kind}.release", ident)
        assert waiting.value is True

    @pytest.mark.parametrize("way", ["die", "goodbye"])
    def test_each_end_without_a_release_counts(self, rig, kind, way):
        other, dying = rig.thread(), rig.program()
        ident = rig.open(other, kind, on_owner_death="raise")
        thread = dying.thread()
        thread.ask(f"{kind}.acquire", ident, None)
        thread.ask(f"{kind}.locked", ident)  # it has the answer, and says so
        getattr(dying, way)()
        assert isinstance(other.fails(f"{kind}.acquire", ident, None), LockAbandoned)

    def test_at_a_goodbye_it_is_known_which_answers_arrived(self, rig, kind):
        other, leaving = rig.thread(), rig.program()
        ident = rig.open(other, kind, on_owner_death="raise")
        thread = leaving.thread()
        thread.acks = False
        assert thread.call(f"{kind}.acquire", ident, None).answered
        leaving.goodbye()
        assert other.ask(f"{kind}.acquire", ident, 0) is True

    def test_a_lane_that_was_away_for_too_long_counts(self, rig):
        program, other = rig.program(), rig.thread()
        ident = rig.open(other, "rlock", on_owner_death="hold")
        thread = program.thread()
        thread.call("rlock.acquire", ident, None)
        thread.lose()
        for _ in range(4):
            rig.advance(10)
            program.beat()
            other.program.beat()
        assert program.alive
        assert other.ask("rlock.recover", ident) is True

    def test_stock_clients_of_such_a_lock(self, rig):
        if not hasattr(rig, "threads"):
            pytest.skip("stock clients do not speak our protocol")
        stock, other = rig.program(role="stock"), rig.thread()
        ident = rig.open(other, "rlock", on_owner_death="raise")
        stock.thread().ask("rlock.acquire", ident, None)
        stock.lose_all()
        assert isinstance(other.fails("rlock.acquire", ident, 0), LockAbandoned)


class TestSettings:
    def test_unknown_ones_are_refused(self, rig, kind):
        thread = rig.thread()
        for settings in ({"on_owner_death": "maybe"}, {"on_owner_death": None}):
            error = thread.fails("cluster.open", "", kind, None, settings, False, None)
            assert isinstance(error, BadValue)
        assert thread.ask("cluster.count", "") == 0

    def test_named_ones_agree(self, rig, kind):
        one, two = rig.thread(), rig.thread()
        ident, _ = opened(rig, one, kind, "door", on_owner_death="hold")
        assert opened(rig, two, kind, "door")[0] == ident
        assert opened(rig, two, kind, "door", on_owner_death="hold")[0] == ident
        error = two.fails("cluster.open", "", kind, "door", {"on_owner_death": "raise"}, False, None)
        assert isinstance(error, Conflict)
        assert "exists with on_owner_death='hold', asked for on_owner_death='raise'" in error.text

    def test_one_that_nobody_gave_settings_adopts_the_first(self, rig, kind):
        one, two = rig.thread(), rig.thread()
        ident, _ = opened(rig, one, kind, "door")
        one.ask(f"{kind}.acquire", ident, None)
        opened(rig, two, kind, "door", on_owner_death="raise")
        one.program.die()
        assert isinstance(two.fails(f"{kind}.acquire", ident, 0), LockAbandoned)
        assert isinstance(
            two.fails("cluster.open", "", kind, "door", {"on_owner_death": "hold"}, False, None), Conflict
        )

    def test_a_condition_on_a_lock_asks_that_lock(self, rig):
        thread = rig.thread()
        lock, _ = opened(rig, thread, "lock")
        condition, has = opened(rig, thread, "condition", None, lock=lock, on_owner_death="hold")
        assert has == {"lock": lock}
        other = rig.thread()
        other.ask("cluster.adopt", "", [condition])
        thread.ask("lock.acquire", lock, None)
        thread.program.die()
        assert other.ask("condition.acquire", condition, 0) is False
        assert other.ask("condition.recover", condition) is True

    def test_a_condition_on_a_lock_that_is_otherwise_is_not_made(self, rig):
        thread = rig.thread()
        lock, _ = opened(rig, thread, "lock", None, on_owner_death="raise")
        settings = {"lock": lock, "on_owner_death": "hold"}
        assert isinstance(thread.fails("cluster.open", "", "condition", "c", settings, False, None), Conflict)
        assert thread.ask("cluster.count", "") == 1


class TestRelease:
    """What `mpserve release` asks."""

    def held(self, rig, kind="lock", name="door", policy="hold"):
        thread = rig.thread()
        ident = rig.open(rig.thread(), kind, name, on_owner_death=policy)
        thread.ask(f"{kind}.acquire", ident, None)
        return ident, thread.program

    @pytest.mark.parametrize("policy", ["hold", "raise"])
    @pytest.mark.parametrize("by", ["name", "ident"])
    def test_frees_what_a_dead_holder_left(self, rig, kind, policy, by):
        ident, program = self.held(rig, kind, "door", policy)
        program.die()
        operator = rig.thread()
        operator.ask("cluster.release", "", "door" if by == "name" else ident, None)
        assert operator.ask(f"{kind}.acquire", ident, 0) is True

    def test_hands_it_to_the_first_who_waits(self, rig, kind):
        ident, program = self.held(rig, kind)
        waiting = rig.thread().call(f"{kind}.acquire", ident, None)
        program.die()
        assert not waiting.answered
        rig.thread().ask("cluster.release", "", "door", kind)
        assert waiting.value is True

    def test_not_of_the_living(self, rig, kind):
        ident, _ = self.held(rig, kind)
        error = rig.thread().fails("cluster.release", "", "door", None)
        assert isinstance(error, NotAllowed)
        assert "which is alive" in error.text
        assert rig.thread().ask(f"{kind}.acquire", ident, 0) is False

    @pytest.mark.parametrize(
        ("name", "kind", "error"),
        [
            ("free", None, NotHeld),
            ("nothing", None, NoSuchObject),
            ("free", "rlock", NoSuchObject),
            ("free", "queue", BadValue),
            ("queue", None, NoSuchObject),
            ("two", None, Conflict),
        ],
    )
    def test_what_cannot_be(self, rig, name, kind, error):
        thread = rig.thread()
        for each, of in (("lock", "free"), ("queue", "queue"), ("lock", "two"), ("rlock", "two")):
            rig.open(thread, each, of)
        found = thread.fails("cluster.release", "", name, kind)
        assert isinstance(found, error)
        assert isinstance(found, MpserveError)

    def test_the_kind_tells_two_of_a_name_apart(self, rig):
        _, program = self.held(rig)
        thread = rig.thread()
        rig.open(thread, "rlock", "door")
        program.die()
        thread.ask("cluster.release", "", "door", "lock")


class TestDeadlocks:
    def crossed(self, rig, **settings):
        """Return two threads that hold a lock each, the first of which waits for the second's."""
        one, two = rig.thread(host="one"), rig.thread(host="two")
        locks = [rig.open(one, "lock", "a", **settings), rig.open(one, "rlock", "b")]
        one.ask("lock.acquire", locks[0], None)
        two.ask("rlock.acquire", locks[1], None)
        waiting = one.call("rlock.acquire", locks[1], None)
        assert not waiting.answered
        return one, two, locks, waiting

    def test_one_is_told_to_the_operator_once(self, rig):
        _, two, locks, _ = self.crossed(rig)
        for _ in range(2):
            assert not two.call("lock.acquire", locks[0], 1).answered
            rig.advance(1)
        [(event, fields)] = rig.events
        assert event == "lock.deadlock"
        assert [told.split(" waits for ")[1].split(",")[0] for told in fields["waits"]] == [
            "lock 'a'",
            "rlock 'b'",
        ]

    def test_raise_fails_who_would_close_it(self, rig):
        _, two, locks, waiting = self.crossed(rig, deadlock="raise")
        assert isinstance(two.fails("lock.acquire", locks[0], None), DeadlockError)
        assert len(rig.events) == 1
        two.ask("rlock.release", locks[1])
        assert waiting.value is True

    def test_why(self, rig):
        one, two, locks, _ = self.crossed(rig)
        asking = rig.thread()
        rig.advance(2)
        told = asking.ask("cluster.why", "", None, None)
        who = [[thread.program.id, thread.number] for thread in (one, two)]
        wait = {
            "waiter": who[0],
            "lock": "rlock 'b'",
            "ident": locks[1],
            "holder": who[1],
            "abandoned": False,
        }
        assert told["waits"] == [wait | {"waited_s": 2.0}]
        assert told["circles"] == []
        assert {key: s["host"] for key, s in told["sessions"].items()} == {who[0][0]: "one", who[1][0]: "two"}
        assert not two.call("lock.acquire", locks[0], None).answered
        told = asking.ask("cluster.why", "", None, None)
        assert [[step["lock"] for step in circle] for circle in told["circles"]] == [
            ["lock 'a'", "rlock 'b'"]
        ]

    def test_why_of_one_lock_goes_on_to_what_its_holder_waits_for(self, rig):
        _, _, locks, _ = self.crossed(rig)
        third, asking = rig.thread(), rig.thread()
        rig.open(asking, "lock", "c")
        assert not third.call("lock.acquire", locks[0], None).answered
        told = {name: asking.ask("cluster.why", "", name, None)["waits"] for name in "abc"}
        assert [wait["ident"] for wait in told["a"]] == locks
        assert [wait["ident"] for wait in told["b"]] == [locks[1]]
        assert told["c"] == []
        assert isinstance(asking.fails("cluster.why", "", "d", None), NoSuchObject)

    def test_why_in_a_circle_names_each_wait_once(self, rig):
        _, two, locks, _ = self.crossed(rig)
        assert not two.call("lock.acquire", locks[0], None).answered
        told = rig.thread().ask("cluster.why", "", "a", "lock")
        assert sorted(wait["ident"] for wait in told["waits"]) == sorted(locks)
        assert len(told["circles"]) == 1


class TestHandOver:
    """The loop is told of it, to look awake for who has the lock now."""

    def test_is_told_while_others_wait(self, rig, kind):
        holder, following, last = rig.thread(), rig.thread(), rig.thread()
        ident = rig.open(holder, kind)
        holder.ask(f"{kind}.acquire", ident, None)
        waiting = [thread.call(f"{kind}.acquire", ident, None) for thread in (following, last)]
        rig.settle()
        assert len(rig.hand_overs) == 0
        holder.ask(f"{kind}.release", ident)
        assert waiting[0].value is True
        assert len(rig.hand_overs) == 1

    def test_is_not_told_of_the_last_one(self, rig, kind):
        holder, last = rig.thread(), rig.thread()
        ident = rig.open(holder, kind)
        holder.ask(f"{kind}.acquire", ident, None)
        waiting = last.call(f"{kind}.acquire", ident, None)
        rig.settle()
        holder.ask(f"{kind}.release", ident)
        assert waiting.value is True
        assert len(rig.hand_overs) == 0

    def test_is_told_where_another_lock_goes_to_its_last_one_in_the_same_turn(self, rig, kind):
        program, following, last = rig.program(), rig.thread(), rig.thread()
        holder = program.thread()
        wanted, other = rig.open(holder, kind), rig.open(holder, kind)
        for ident in (wanted, other):
            holder.ask(f"{kind}.acquire", ident, None)
        for thread, ident in ((following, wanted), (last, wanted), (rig.thread(), other)):
            thread.call(f"{kind}.acquire", ident, None)
        rig.settle()
        program.goodbye()
        assert len(rig.hand_overs) == 1

    def test_is_told_where_a_wait_gives_up_the_lock(self, rig):
        holder, following, last = rig.thread(), rig.thread(), rig.thread()
        ident = rig.open(holder, "condition")
        holder.ask("condition.acquire", ident, None)
        waiting = [thread.call("condition.acquire", ident, None) for thread in (following, last)]
        rig.settle()
        holder.call("condition.wait", ident, None)
        assert waiting[0].value is True
        assert len(rig.hand_overs) == 1


@pytest.mark.parametrize("kind", ["lock", "rlock"])
def test_a_lock_that_is_made_anew_counts_on_where_the_clock_was_set_back(rig, kind):
    """As a restart finds it that comes after the setting."""
    thread, fences = rig.thread(), []
    for _ in range(3):
        lock = rig.open(thread, kind, "kept")
        thread.ask(f"{kind}.acquire", lock, 0)
        fences.append(thread.ask(f"{kind}.get_fence", lock))
        thread.ask("cluster.delete", "", "kept", kind)
        rig.inner.fx.wall_offset_s -= 3600.0
    assert fences == [fences[0], fences[0] + 1, fences[0] + 2]
