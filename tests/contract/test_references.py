"""Anonymous objects: who keeps them alive, and when they are freed."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from tests.contract.direct_rig import DirectProgram
from tests.contract.rigs import TIMEOUT_S

from mpserve.core import catalogue_state
from mpserve.core.references import LENT_S
from mpshared.errors import NoSuchObject
from mpshared.values import PICKLE, Value

A = pickle.dumps("a")


def mention(*idents):
    return Value(PICKLE, pickle.dumps("mentions " + " ".join(idents)), (), idents)


@pytest.fixture
def thread(rig):
    return rig.thread()


def pass_time(rig, seconds):
    while seconds > 0:
        step = min(seconds, TIMEOUT_S / 2)
        rig.advance(step)
        for program in rig.programs:
            if program.alive and program.info.role != "stock":
                program.beat()
        seconds -= step


def drop(thread, *idents):
    thread.ask("cluster.drop", "", [[ident, 1] for ident in idents])


class TestCounting:
    def test_the_last_reference_frees_it(self, rig, thread):
        other = rig.thread()
        ident = rig.open(thread, "dict")
        other.ask("cluster.adopt", "", [ident, ident])
        drop(thread, ident)
        drop(other, ident)
        assert rig.exists(ident)
        drop(other, ident)
        assert not rig.exists(ident)
        assert isinstance(other.fails("cluster.adopt", "", [ident]), NoSuchObject)

    def test_a_named_one_stays(self, rig, thread):
        ident = rig.open(thread, "dict", "d")
        drop(thread, ident)
        thread.program.die()
        assert rig.exists(ident)

    def test_dropping_what_one_has_not_changes_nothing(self, rig, thread):
        other = rig.thread()
        ident = rig.open(thread, "dict")
        other.ask("cluster.drop", "", [[ident, 5], ["nonesuch", 1], [ident, 0]])
        assert rig.references(ident) == 1

    def test_adopting_one_that_is_gone_adopts_none(self, rig, thread):
        ident = rig.open(thread, "dict")
        assert isinstance(thread.fails("cluster.adopt", "", [ident, "gone"]), NoSuchObject)
        assert rig.references(ident) == 1

    def test_who_waits_for_a_freed_object_is_told(self, rig, thread):
        ident = rig.open(thread, "event")
        waiting = rig.thread().call("event.wait", ident, None)
        assert not waiting.answered
        drop(thread, ident)
        assert isinstance(waiting.error, NoSuchObject)

    def test_an_answer_that_was_given_up_takes_its_reference_back(self, rig, thread):
        thread.acks = False
        opened = thread.call("cluster.open", "", "dict", None, {}, False, None)
        ident = opened.value[0]
        adopted = thread.call("cluster.adopt", "", [ident, ident])
        assert adopted.answered
        assert rig.references(ident) == 3
        thread.abandon(adopted)
        assert rig.references(ident) == 1
        thread.abandon(opened)
        assert not rig.exists(ident)


class TestStored:
    def test_the_creator_exits_before_the_get(self, rig):
        creator, reader = rig.thread(), rig.thread()
        queue = rig.open(reader, "queue")
        ident = rig.open(creator, "dict")
        creator.ask("dict.set", ident, "k", blobs=[A])
        creator.ask("queue.put", queue, None, blobs=[mention(ident)])
        creator.program.die()
        assert rig.exists(ident)
        assert reader.out("queue.get", queue, None, False) == [mention(ident)]
        assert reader.out("dict.get", ident, "k") == [A]
        drop(reader, ident)
        assert not rig.exists(ident)

    def test_each_delivery_gives_a_reference(self, rig, thread):
        other = rig.thread()
        box, ident = rig.open(thread, "dict"), rig.open(thread, "lock")
        thread.ask("dict.set", box, "k", blobs=[mention(ident, ident)])
        for n in range(1, 4):
            other.out("dict.get", box, "k")
            assert rig.references(ident) == 1 + 2 + 2 * n
        thread.ask("dict.delete", box, "k")
        assert rig.references(ident) == 1 + 6

    def test_a_delivery_that_was_given_up_gives_none(self, rig, thread):
        box, ident = rig.open(thread, "dict"), rig.open(thread, "lock")
        thread.ask("dict.set", box, "k", blobs=[mention(ident)])
        call = thread.call("dict.get", box, "k")
        assert call.answered
        assert rig.references(ident) == 3
        thread.abandon(call)
        assert rig.references(ident) == 2

    def test_a_get_that_was_given_up_stores_the_mention_again(self, rig):
        creator, reader = rig.thread(), rig.thread()
        queue, ident = rig.open(reader, "queue"), rig.open(creator, "dict")
        creator.ask("queue.put", queue, None, blobs=[mention(ident)])
        creator.program.goodbye()
        call = reader.call("queue.get", queue, None, False)
        assert call.answered
        reader.abandon(call)
        assert rig.references(ident) == 1
        assert reader.out("queue.get", queue, None, False) == [mention(ident)]

    def test_a_get_by_one_who_dies_before_it_arrives(self, rig):
        creator, reader, dying = rig.thread(), rig.thread(), rig.thread()
        queue, ident = rig.open(reader, "queue"), rig.open(creator, "dict")
        creator.ask("queue.put", queue, None, blobs=[mention(ident)])
        creator.program.die()
        dying.acks = False
        assert dying.call("queue.get", queue, None, False).answered
        dying.program.die()
        assert rig.references(ident) == 1
        assert reader.out("queue.get", queue, None, False) == [mention(ident)]

    def test_nested_objects_are_freed_in_a_chain(self, rig, thread):
        idents = [rig.open(thread, "list") for _ in range(5)]
        for outer, inner in pairwise(idents):
            thread.ask("list.append", outer, blobs=[mention(inner)])
        drop(thread, *idents[1:])
        assert all(map(rig.exists, idents))
        drop(thread, idents[0])
        assert not any(map(rig.exists, idents))

    def test_deleting_by_name_gives_up_what_was_stored(self, rig, thread):
        box = rig.open(thread, "dict", "box")
        for kind in ("lock", "dict"):
            ident = rig.open(thread, kind)
            thread.ask("dict.set", box, kind, blobs=[mention(ident)])
            drop(thread, ident)
        assert thread.ask("cluster.count", "") == 3
        thread.ask("cluster.delete", "", "box", None)
        assert thread.ask("cluster.count", "") == 0

    def test_a_value_that_mentions_a_deleted_object(self, rig, thread):
        box, other = rig.open(thread, "dict"), rig.open(thread, "dict", "other")
        thread.ask("dict.set", box, "k", blobs=[mention(other)])
        thread.ask("cluster.delete", "", "other", None)
        thread.ask("dict.set", box, "k2", blobs=[mention(other, "never was")])
        assert thread.out("dict.get", box, "k") == [mention(other)]
        thread.ask("dict.clear", box)

    def test_a_put_let_in_by_the_end_of_who_kept_its_object(self, rig):
        """The queue takes the mention in the same step that ends the only session that had a reference."""
        keeper, putter = rig.thread(), rig.thread()
        queue = rig.open(putter, "queue", maxsize=1)
        ident = rig.open(keeper, "dict")
        putter.ask("queue.put", queue, None, blobs=[A])
        assert keeper.out("queue.get", queue, None, True) == [A]
        putter.ask("queue.put", queue, None, blobs=[A])
        blocked = keeper.call("queue.put", queue, None, blobs=[A])
        waiting = putter.call("queue.put", queue, None, blobs=[mention(ident)])
        assert not blocked.answered
        taker = rig.thread()
        taker.ask("queue.clear", queue)  # lets the keeper's in; the mention still waits
        assert blocked.answered
        assert not waiting.answered
        taker.ask("queue.clear", queue)
        assert waiting.answered
        keeper.program.die()  # its leased item comes back, too
        assert rig.references(ident) == 1

    def test_first_contents_count(self, rig, thread):
        inner = rig.open(thread, "dict")
        outer = rig.open(thread, "list", blobs=[mention(inner)])
        drop(thread, inner)
        assert rig.exists(inner)
        drop(thread, outer)
        assert not rig.exists(inner)


class TestCondition:
    def test_keeps_its_lock(self, rig, thread):
        lock = rig.open(thread, "lock")
        condition = rig.open(thread, "condition", lock=lock)
        drop(thread, lock)
        assert rig.exists(lock)
        thread.ask("condition.acquire", condition, None)
        drop(thread, condition)
        assert not rig.exists(condition)
        assert not rig.exists(lock)

    def test_one_without_a_lock_brings_its_own_and_takes_it_along(self, rig, thread):
        condition = rig.open(thread, "condition")
        assert thread.ask("cluster.count", "") == 2
        drop(thread, condition)
        assert thread.ask("cluster.count", "") == 0

    def test_a_refused_one_leaves_no_lock_behind(self, rig, thread):
        thread.fails("cluster.open", "", "condition", None, {}, False, None, blobs=[A])
        thread.fails("cluster.open", "", "condition", None, {"unknown": 1}, False, None)
        assert thread.ask("cluster.count", "") == 0


class TestLent:
    def test_outlives_its_last_reference_by_a_minute(self, rig, thread):
        ident = rig.open(thread, "dict")
        thread.ask("cluster.lend", "", [ident, "nonesuch"])
        thread.ask("cluster.lend", "", [ident])
        drop(thread, ident)
        pass_time(rig, LENT_S - 1)
        assert rig.exists(ident)
        pass_time(rig, 2)
        assert not rig.exists(ident)

    def test_the_minute_begins_anew_with_each_last_reference(self, rig, thread):
        ident = rig.open(thread, "dict")
        thread.ask("cluster.lend", "", [ident])
        drop(thread, ident)
        pass_time(rig, LENT_S - 5)
        thread.ask("cluster.adopt", "", [ident])
        pass_time(rig, 2)
        drop(thread, ident)
        pass_time(rig, LENT_S - 5)
        assert rig.exists(ident)
        pass_time(rig, 6)
        assert not rig.exists(ident)

    def test_a_stored_mention_keeps_it(self, rig, thread):
        ident, box = rig.open(thread, "dict"), rig.open(thread, "dict")
        thread.ask("cluster.lend", "", [ident])
        drop(thread, ident)
        thread.ask("dict.set", box, "k", blobs=[mention(ident)])
        pass_time(rig, 3 * LENT_S)
        assert rig.exists(ident)
        thread.ask("dict.clear", box)
        pass_time(rig, LENT_S + 1)
        assert not rig.exists(ident)

    def test_what_a_stock_client_is_given_is_lent(self, rig, thread):
        if not hasattr(rig, "threads"):
            pytest.skip("stock clients do not speak our protocol")
        stock = rig.program(role="stock")
        assert isinstance(stock, DirectProgram)
        reader = stock.thread()
        ident, queue = rig.open(thread, "dict"), rig.open(thread, "queue")
        thread.ask("queue.put_many", queue, None, blobs=[mention(ident), mention(ident)])
        drop(thread, ident)
        for _ in range(2):
            assert reader.out("queue.get", queue, None, False) == [mention(ident)]
        pass_time(rig, LENT_S - 1)
        assert rig.exists(ident)
        reader.ask("cluster.adopt", "", [ident])
        reader.ask("cluster.count", "")  # acknowledges
        stock.lose_all()
        pass_time(rig, 2 * LENT_S)
        assert rig.references(ident) == 1  # stock clients count as one, and by hand
        again = rig.program(role="stock").thread()
        drop(again, ident)
        pass_time(rig, LENT_S + 1)
        assert not rig.exists(ident)


def test_a_session_forgets_deleted_objects_that_it_held(rig, thread, monkeypatch):
    """A long-lived program may use up millions of locks."""
    monkeypatch.setattr(catalogue_state, "TIDY_EVERY", 10)
    for _ in range(35):
        lock = rig.open(thread, "lock")
        thread.ask("lock.acquire", lock, None)
        drop(thread, lock)
    session = rig.inner.find_session(thread.program.id)
    assert len(session.held) == 5
