"""Named objects: opening, agreeing on settings, deleting, renewing, and a limited life."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from tests.contract.rigs import TIMEOUT_S

from mpserve.core.bounds import HeldLimits
from mpshared.errors import BadType, BadValue, Conflict, MpserveError, NoRoom, NoSuchObject
from mpshared.ops import KINDS

A, B = pickle.dumps("a"), pickle.dumps("b")


@pytest.fixture
def thread(rig):
    return rig.thread()


class TestOpening:
    def test_the_same_name_is_the_same_object(self, rig, thread):
        other = rig.thread()
        assert rig.open(thread, "dict", "shared") == rig.open(other, "dict", "shared")

    def test_a_name_belongs_to_a_kind(self, rig, thread):
        dict_, queue = rig.open(thread, "dict", "x"), rig.open(thread, "queue", "x")
        assert dict_ != queue
        error = thread.fails("cluster.delete", "", "x", None)
        assert isinstance(error, Conflict)
        assert "dict, queue" in str(error)
        assert thread.ask("cluster.delete", "", "x", "dict") is True
        assert thread.ask("cluster.delete", "", "x", None) is True
        assert thread.ask("cluster.delete", "", "x", None) is False

    def test_without_a_name_each_is_another(self, rig, thread):
        assert rig.open(thread, "dict") != rig.open(thread, "dict")

    @pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "\x1b[0m", 7, b"bytes", "mpserve.own"])
    def test_bad_and_reserved_names_are_refused(self, rig, thread, name):
        error = thread.fails("cluster.open", "", "dict", name, {}, False, None)
        assert isinstance(error, BadValue)
        assert "name" in str(error)
        assert thread.ask("cluster.count", "") == 0

    @pytest.mark.parametrize("name", ["x" * 200, "näme mit 空", "mpserve", "a.b", "'quoted'"])
    def test_good_names(self, rig, thread, name):
        ident = rig.open(thread, "event", name)
        assert thread.ask("cluster.list_objects", "") == [{"name": name, "kind": "event", "settings": {}}]
        assert rig.open(rig.thread(), "event", name) == ident

    def test_unknown_kinds_are_refused(self, rig, thread):
        error = thread.fails("cluster.open", "", "tree", "x", {}, False, None)
        assert isinstance(error, BadValue)
        assert "queue" in str(error)

    def test_the_first_contents_are_those_of_who_created_it(self, rig, thread):
        ident = rig.open(thread, "list", "l", blobs=[A])
        assert rig.open(rig.thread(), "list", "l", blobs=[B, B]) == ident
        assert thread.out("list.snapshot", ident) == [A]

    @pytest.mark.parametrize("kind", sorted(KINDS))
    def test_wrong_settings_and_values_leave_nothing_behind(self, rig, thread, kind):
        needed: dict[str, dict[Any, Any]] = {"barrier": {"parties": 2}, "array": {"typecode": "i"}}
        settings = needed.get(kind, {})
        for bad in ({"nonsense": 1}, {b"bytes": 1}, {"nonsense": 1, "b": 2}):
            error = thread.fails("cluster.open", "", kind, "x", {**settings, **bad}, False, None)
            assert isinstance(error, Conflict | BadType)
        if kind not in {"list", "iterator", "process"}:
            values = [A, B] if kind == "value" else [A]
            error = thread.fails("cluster.open", "", kind, "x", settings, False, None, blobs=values)
            assert isinstance(error, MpserveError)
        assert thread.ask("cluster.count", "") == 0

    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("queue", {"maxsize": "many"}),
            ("queue", {"order": []}),
            ("semaphore", {"value": -1}),
            ("barrier", {"parties": 0}),
            ("array", {"typecode": "u"}),
            ("value", {"typecode": 5}),
            ("condition", {"lock": 0}),
            ("condition", {"lock": ["x"]}),
            ("condition", {"lock": "gone"}),
            ("process", {"name": 7}),
            ("process", {"daemon": "yes"}),
            ("process", {"name": "made of nothing"}),
        ],
    )
    def test_bad_values_of_settings(self, rig, thread, kind, settings):
        error = thread.fails("cluster.open", "", kind, None, settings, False, None)
        assert isinstance(error, BadType | BadValue | Conflict | NoSuchObject)
        assert thread.ask("cluster.count", "") == 0


class TestOfManyObjects:
    @pytest.fixture(autouse=True)
    def _few(self, rig):
        rig.inner.bounds.limits = HeldLimits(max_objects=3)

    def test_a_condition_counts_with_the_lock_it_makes(self, rig, thread):
        rig.open(thread, "event")
        rig.open(thread, "condition", "c")
        assert thread.ask("cluster.count", "") == 3
        error = thread.fails("cluster.open", "", "event", None, {}, False, None)
        assert "the server has 3 objects; the limit is 3" in str(error)
        thread.ask("cluster.delete", "", "c", "condition")
        lock = rig.open(thread, "lock")
        error = thread.fails("cluster.open", "", "condition", None, {}, False, None)
        assert isinstance(error, NoRoom)
        assert "the server has 2 objects and it makes 2" in str(error)
        rig.open(thread, "condition", lock=lock)
        assert thread.ask("cluster.count", "") == 3


class TestAgreeing:
    def test_who_opens_without_settings_takes_what_is_there(self, rig, thread):
        rig.open(thread, "queue", "q", maxsize=3)
        other = rig.thread()
        told = other.ask("cluster.open", "", "queue", "q", {}, False, None)
        assert told[2]["maxsize"] == 3

    def test_the_first_explicit_settings_are_adopted(self, rig, thread):
        queue = rig.open(thread, "queue", "q")
        thread.ask("queue.put_many", queue, None, blobs=[A, B])
        before = thread.call("cluster.open", "", "queue", "q", {}, False, None)
        assert before.value[2]["maxsize"] == 0
        rig.open(rig.thread(), "queue", "q", maxsize=2, order="lifo")
        assert thread.ask("queue.full", queue) is True
        assert thread.out("queue.get", queue, 0, False) == [B]
        assert before.value[2]["maxsize"] == 0  # an answer that was given stays as it was

    def test_then_others_are_a_conflict_that_names_both(self, rig, thread):
        rig.open(thread, "queue", "q", maxsize=2)
        rig.open(thread, "queue", "q", maxsize=2)
        error = thread.fails("cluster.open", "", "queue", "q", {"maxsize": 5}, False, None)
        assert isinstance(error, Conflict)
        assert "maxsize=2" in str(error)
        assert "maxsize=5" in str(error)
        assert "'q'" in str(error)

    def test_adopting_bad_settings_changes_nothing(self, rig, thread):
        rig.open(thread, "queue", "q")
        assert isinstance(
            thread.fails("cluster.open", "", "queue", "q", {"maxsize": "x"}, False, None), BadType
        )
        assert rig.open(thread, "queue", "q", maxsize=1)

    def test_more_room_lets_a_putter_in(self, rig, thread):
        semaphore = rig.open(thread, "semaphore", "s")
        thread.ask("semaphore.acquire", semaphore, None)
        waiting = rig.thread().call("semaphore.acquire", semaphore, None)
        assert not waiting.answered
        rig.open(rig.thread(), "semaphore", "s", value=2)
        assert waiting.value is True


class TestDeleting:
    @pytest.mark.parametrize(
        ("kind", "settings", "before", "wait"),
        [
            ("queue", {}, [], ["queue.get", None, False]),
            ("queue", {}, [["queue.put", None]], ["queue.join", None]),
            ("queue", {"maxsize": 1}, [["queue.put", None]], ["queue.put", None]),
            ("lock", {}, [["lock.acquire", None]], ["lock.acquire", None]),
            ("rlock", {}, [["rlock.acquire", None]], ["rlock.acquire", None]),
            ("semaphore", {}, [["semaphore.acquire", None]], ["semaphore.acquire", None]),
            ("condition", {}, [["condition.acquire", None]], ["condition.acquire", None]),
            ("event", {}, [], ["event.wait", None]),
            ("barrier", {"parties": 2}, [], ["barrier.wait", None]),
        ],
    )
    def test_who_waits_is_told(self, rig, thread, kind, settings, before, wait):
        ident = rig.open(thread, kind, "x", **settings)
        for name, *args in before:
            thread.ask(name, ident, *args, blobs=[A] * (name == "queue.put"))
        name, *args = wait
        waiting = rig.thread().call(name, ident, *args, blobs=[A] * (name == "queue.put"))
        assert not waiting.answered
        assert thread.ask("cluster.delete", "", "x", None) is True
        assert isinstance(waiting.error, NoSuchObject)
        assert "deleted" in str(waiting.error)
        error = thread.fails(f"{kind}.{name.split('.')[1]}", ident, *args, blobs=[A] * (name == "queue.put"))
        assert isinstance(error, NoSuchObject)

    def test_what_a_session_held_in_it_is_no_matter_at_its_end(self, rig, thread):
        dying = rig.program()
        holder = dying.thread()
        for kind in ("lock", "rlock", "semaphore", "queue", "condition"):
            ident = rig.open(holder, kind, "x")
            if kind == "queue":
                holder.ask("queue.put", ident, None, blobs=[A])
                holder.ask("queue.get", ident, None, True)
            else:
                holder.ask(f"{kind}.acquire", ident, None)
            thread.ask("cluster.delete", "", "x", kind)
        unseen = holder.call("lock.acquire", rig.open(holder, "lock", "x"), None)
        assert unseen.answered
        thread.ask("cluster.delete", "", "x", "lock")
        dying.die()

    def test_a_lock_takes_its_condition_along(self, rig, thread):
        lock = rig.open(thread, "lock", "l")
        condition = rig.open(thread, "condition", "c", lock=lock)
        thread.ask("condition.acquire", condition, None)
        waiting = thread.call("condition.wait", condition, None)
        other = rig.thread()
        assert other.ask("condition.acquire", condition, 0) is True
        wants = rig.thread().call("condition.acquire", condition, None)
        assert not wants.answered
        other.ask("cluster.delete", "", "l", "lock")
        assert isinstance(waiting.error, NoSuchObject)
        assert isinstance(wants.error, NoSuchObject)
        assert not rig.exists(condition)

    def test_a_condition_leaves_its_lock(self, rig, thread):
        lock = rig.open(thread, "lock", "l")
        condition = rig.open(thread, "condition", "c", lock=lock)
        thread.ask("lock.acquire", lock, None)
        wants = rig.thread().call("condition.acquire", condition, None)
        assert not wants.answered
        thread.ask("cluster.delete", "", "c", "condition")
        thread.ask("lock.release", lock)
        assert wants.value is True

    def test_needs_a_name(self, rig, thread):
        assert isinstance(thread.fails("cluster.delete", "", None, "queue"), BadValue)


class TestFresh:
    def test_deletes_and_creates_in_one_call(self, rig, thread):
        old = rig.open(thread, "queue", "q", maxsize=1)
        thread.ask("queue.put", old, None, blobs=[A])
        new = rig.open(rig.thread(), "queue", "q", fresh=True, maxsize=7)
        assert new != old
        assert not rig.exists(old)
        assert thread.ask("queue.qsize", new) == 0
        assert rig.open(thread, "queue", "other", fresh=True)

    def test_that_is_refused_deletes_nothing(self, rig, thread):
        old = rig.open(thread, "value", "v", blobs=[A])
        for settings, blobs in (({"typecode": 5}, [A]), ({}, []), ({}, [A, B]), ({"unknown": 1}, [A])):
            assert thread.fails("cluster.open", "", "value", "v", settings, True, None, blobs=blobs)
        assert thread.out("value.get", old) == [A]


class TestTtl:
    @pytest.fixture(autouse=True)
    def _alive(self, rig, thread):
        """Let the program beat while time passes."""

        def pass_time(seconds):
            while seconds > 0:
                step = min(seconds, TIMEOUT_S / 2)
                rig.advance(step)
                for program in rig.programs:
                    if program.alive:
                        program.beat()
                seconds -= step

        rig.pass_time = pass_time

    def test_ends_after_the_last_use(self, rig, thread):
        ident = rig.open(thread, "dict", "d", ttl_s=100.0)
        rig.pass_time(90)
        thread.ask("dict.len", ident)
        rig.pass_time(90)
        assert rig.exists(ident)
        rig.pass_time(11)
        assert not rig.exists(ident)

    def test_to_open_is_to_use(self, rig, thread):
        ident = rig.open(thread, "dict", "d", ttl_s=100.0)
        rig.pass_time(90)
        rig.open(rig.thread(), "dict", "d")
        rig.pass_time(90)
        assert rig.exists(ident)
        rig.pass_time(11)
        assert not rig.exists(ident)

    def test_to_wait_is_to_use(self, rig, thread):
        event = rig.open(thread, "event", "e", ttl_s=10.0)
        waiting = thread.call("event.wait", event, 35.0)
        rig.pass_time(34)
        assert rig.exists(event)
        rig.pass_time(2)
        assert waiting.value is False
        rig.pass_time(20)
        assert not rig.exists(event)

    def test_to_stand_on_a_lock_is_to_use_it(self, rig, thread):
        lock = rig.open(thread, "lock", "l", ttl_s=10.0)
        condition = rig.open(thread, "condition", "c", lock=lock)
        rig.pass_time(50)
        thread.ask("condition.acquire", condition, None)
        thread.ask("cluster.delete", "", "c", None)
        rig.pass_time(21)
        assert not rig.exists(lock)

    def test_results_of_a_worker_use_their_queue(self, rig, thread):
        jobs, results = rig.open(thread, "queue"), rig.open(thread, "queue", "r", ttl_s=20.0)
        for _ in range(5):
            rig.pass_time(15)
            thread.ask("queue.exchange", jobs, results, [], 1, 0, None)
        assert rig.exists(results)

    def test_a_later_opener_may_change_it(self, rig, thread):
        ident = rig.open(thread, "dict", "d", ttl_s=1000.0)
        for _ in range(10):
            rig.open(thread, "dict", "d", ttl_s=20.0)
            rig.open(thread, "dict", "d", ttl_s=10.0)
        assert sum(timer.action is not None for _, _, timer in rig.inner.fx.timers._heap) < 5
        rig.pass_time(12)
        assert not rig.exists(ident)

    @pytest.mark.parametrize(("name", "ttl_s"), [("x", 0), ("x", -1.0), (None, 5.0)])
    def test_what_means_nothing_is_refused(self, rig, thread, name, ttl_s):
        assert isinstance(thread.fails("cluster.open", "", "dict", name, {}, False, ttl_s), BadValue)
        assert thread.ask("cluster.count", "") == 0

    def test_a_deleted_one_has_no_timer(self, rig, thread):
        rig.open(thread, "dict", "d", ttl_s=10.0)
        thread.ask("cluster.delete", "", "d", None)
        again = rig.open(thread, "dict", "d")
        rig.pass_time(50)
        assert rig.exists(again)
