"""The limit of what the server holds, on every engine: puts wait, what cannot wait fails, nothing is lost.

That what is counted is what is there, each rig checks after every step of every test.
"""

from __future__ import annotations

import pickle

import pytest

from mpserve.core.room import VALUE_BYTES, weight
from mpshared.errors import Full, NoRoom, NoSuchObject, ShutDown
from mpshared.ops import BY_NAME

KIB = bytes(1024 - VALUE_BYTES)
"""A value that costs 1 KiB."""
LIMIT = 8 << 10
ZERO = pickle.dumps(0)


@pytest.fixture
def full(rig):
    """A queue that fills the server, but for half a KiB."""
    rig.inner.room.limit_bytes = LIMIT
    thread = rig.thread()
    queue = rig.open(thread, "queue")
    thread.ask("queue.put_many", queue, None, blobs=[KIB] * 7)
    thread.ask("queue.put", queue, None, blobs=[KIB[:448]])
    return rig, thread, queue


def held(rig):
    rig.settle()
    return rig.inner.room.held_bytes


def test_what_is_stored_and_taken_is_counted(rig):
    thread = rig.thread()
    queue = rig.open(thread, "queue")
    before = held(rig)
    thread.ask("queue.put_many", queue, None, blobs=[KIB] * 3)
    assert held(rig) == before + 3072
    thread.ask("queue.get", queue, None, True)
    assert held(rig) == before + 3072  # leased: it may come back
    thread.ask("queue.task_done", queue, 1)
    thread.ask("queue.get", queue, None, False)
    assert held(rig) == before + 1024


def test_a_put_waits_until_there_is_room(full):
    rig, thread, queue = full
    putter = rig.thread()
    putting = putter.call("queue.put", queue, None, blobs=[KIB])
    assert not putting.answered
    assert rig.inner.room.statistics()["waiting"] == 1
    assert thread.ask("queue.qsize", queue) == 8
    thread.ask("queue.get", queue, 0, False)
    assert putting.value is None
    assert thread.ask("queue.qsize", queue) == 8
    assert held(rig) <= LIMIT


def test_puts_enter_in_the_order_in_which_they_came(full):
    rig, thread, queue = full
    small, large = rig.thread(), rig.thread()
    first = large.call("queue.put_many", queue, None, blobs=[KIB] * 2)
    second = small.call("queue.put", queue, None, blobs=[b"s"])  # it would fit, but came later
    thread.ask("queue.get", queue, 0, False)
    assert not first.answered
    assert not second.answered
    thread.ask("queue.get", queue, 0, False)
    assert first.value is None
    assert second.value is None


def test_a_put_without_time_fails_and_one_whose_time_is_over(full):
    rig, _, queue = full
    putter = rig.thread()
    with pytest.raises(Full, match=r"needs 1.0K of the server's --max-memory of 8K.*512 bytes are free"):
        putter.ask("queue.put", queue, 0, blobs=[KIB])
    putting = putter.call("queue.put", queue, 3, blobs=[KIB])
    rig.advance(2)
    assert not putting.answered
    rig.advance(2)
    with pytest.raises(Full):
        _ = putting.value


def test_the_rest_of_its_time_is_for_the_queue(rig):
    rig.inner.room.limit_bytes = LIMIT
    thread, putter = rig.thread(), rig.thread()
    small = rig.open(thread, "queue", maxsize=1)
    other = rig.open(thread, "queue")
    thread.ask("queue.put", small, None, blobs=[b"1"])
    thread.ask("queue.put_many", other, None, blobs=[KIB] * 7)
    putting = putter.call("queue.put", small, 5, blobs=[KIB])
    rig.advance(3)
    thread.ask("queue.clear", other)
    rig.advance(1)
    assert not putting.answered  # there is memory, but no place
    rig.advance(2)
    with pytest.raises(Full):
        _ = putting.value


def test_what_can_never_fit_is_refused_at_once(full):
    rig, _, queue = full
    with pytest.raises(NoRoom, match="it will never fit"):
        rig.thread().ask("queue.put", queue, None, blobs=[bytes(LIMIT)])


def test_what_cannot_wait_fails_and_changes_nothing(full):
    rig, thread, queue = full
    thread.ask("queue.get", queue, None, False)
    objects = {kind: rig.open(thread, kind) for kind in ("dict", "list", "set", "namespace")}
    cell = rig.open(thread, "value", blobs=[ZERO], typecode="i")
    numbers = rig.open(thread, "array", typecode="B", size=4)
    thread.ask("list.append", objects["list"], blobs=[KIB])
    refused = [
        ("dict.set", objects["dict"], ["k"], [KIB]),
        ("dict.setdefault", objects["dict"], ["k"], [KIB]),
        ("dict.update", objects["dict"], [["k"]], [KIB]),
        ("dict.cas", objects["dict"], ["k", False, True], [KIB]),
        ("list.append", objects["list"], [], [KIB]),
        ("list.set", objects["list"], [0], [KIB * 2]),
        ("list.repeat", objects["list"], [2], []),
        ("set.add", objects["set"], ["m" * 1024], []),
        ("set.update", objects["set"], [["m" * 1024]], []),
        ("namespace.set", objects["namespace"], ["a"], [KIB]),
        ("value.set", cell, [], [KIB + ZERO + bytes(64)]),
        ("array.set_slice", numbers, [[None, None, None], [1] * 1024], []),
        ("cluster.open", "", ["list", None, {}, False, None], [KIB]),
        ("cluster.open", "", ["array", None, {"typecode": "B", "size": 1024}, False, None], []),
    ]
    before = held(rig)
    for name, ident, args, blobs in refused:
        with pytest.raises(
            NoRoom, match=f"no room: {name} on .* of the server's --max-memory of 8K, of which"
        ):
            thread.ask(name, ident, *args, blobs=blobs)
    assert held(rig) == before


def test_what_takes_no_more_than_it_gives_up_goes_on(full):
    rig, thread, queue = full
    rig.inner.room.limit_bytes = LIMIT * 2
    box, cell = rig.open(thread, "dict"), rig.open(thread, "value", blobs=[ZERO], typecode="i")
    words = rig.open(thread, "list", blobs=[KIB])
    thread.ask("dict.set", box, "k", blobs=[KIB])
    rig.inner.room.limit_bytes = held(rig)
    thread.ask("dict.set", box, "k", blobs=[KIB])
    thread.ask("dict.update", box, ["k"], blobs=[KIB])
    thread.ask("dict.cas", box, "k", True, True, blobs=[KIB, KIB[1:]])
    assert thread.ask("dict.incr", box, "n", 1) == 1  # counters do not stop
    assert thread.ask("value.incr", cell, 5) == 5
    thread.ask("list.set", words, 0, blobs=[KIB])
    thread.ask("list.set_slice", words, [0, 1, None], blobs=[KIB])
    thread.ask("list.pop", words, 0)
    thread.ask("dict.delete", box, "k")
    thread.ask("queue.clear", queue)


def test_jobs_go_on_and_their_results_enter(full):
    rig, thread, queue = full
    worker = rig.thread(role="worker")
    results = rig.open(thread, "queue")
    for n in range(7):
        done = [[n, n]] if n else []
        brought = [KIB * 2] if n else []
        worker.ask("queue.exchange", queue, results, done, 1, None, None, blobs=brought)
    assert thread.ask("queue.qsize", results) == 6
    assert held(rig) > LIMIT
    with pytest.raises(Full):
        thread.ask("queue.put", queue, 0, blobs=[b"1"])


def test_a_pool_and_a_pipe_wait_as_well(full):
    rig, thread, queue = full
    program = rig.program()
    submitter, sender = program.thread(), program.thread()
    pool = rig.open(submitter, "pool")
    there = rig.open(sender, "pipe")
    here = rig.open(sender, "pipe", peer=there)
    submitting = submitter.call("pool.submit", pool, 1, blobs=[KIB])
    sending = sender.call("pipe.send", here, blobs=[KIB])
    assert not submitting.answered
    assert not sending.answered
    thread.ask("queue.clear", queue)
    assert submitting.value is None
    assert sending.value is None


def test_who_waits_for_what_is_deleted_or_shut_down_is_told(full):
    rig, thread, queue = full
    named = rig.open(thread, "queue", "named")
    first, second = rig.thread(), rig.thread()
    to_named = first.call("queue.put", named, None, blobs=[KIB])
    to_full = second.call("queue.put", queue, None, blobs=[KIB])
    thread.ask("cluster.delete", "", "named", "queue")
    with pytest.raises(NoSuchObject):
        _ = to_named.value
    thread.ask("queue.shutdown", queue, False)
    with pytest.raises(ShutDown):
        _ = to_full.value


def test_a_dead_waiter_lets_the_others_pass(full):
    rig, thread, queue = full
    dying = rig.program()
    dying.thread().call("queue.put_many", queue, None, blobs=[KIB] * 3)
    putting = rig.thread().call("queue.put", queue, None, blobs=[b"small"])
    assert not putting.answered
    dying.die()
    assert putting.value is None
    assert thread.ask("queue.qsize", queue) == 9


_NOT_REFUSED = {"list.remove"}
"""It brings a value to look for."""


def test_what_waits_for_room_is_a_change():
    for op in BY_NAME.values():
        assert op.room != "wait" or op.writes
        assert op.room or not op.blobs or not op.writes or op.name in _NOT_REFUSED


def test_a_value_costs_its_bytes_and_what_holds_it():
    assert weight([b"123", KIB]) == 3 + VALUE_BYTES + 1024


@pytest.mark.parametrize(
    ("settings", "operation", "args"),
    [
        ({}, "pool.submit", (1,)),
        ({}, "pool.submit_on_terms", (1, {})),
        ({"name": "jobs", "standing": True}, "pool.enqueue", ({},)),
    ],
)
def test_who_submits_jobs_and_waits_for_room_may_give_up(full, settings, operation, args):
    rig, _, _ = full
    threads = rig.thread(), rig.thread()
    pool = rig.open(threads[0], "pool", **settings)
    given_up, _ = [thread.call(operation, pool, *args, blobs=[KIB]) for thread in threads]
    rig.settle()
    assert rig.inner.room.statistics()["waiting"] == 2
    threads[0].abandon(given_up)
    threads[1].program.die()
    rig.settle()
    assert rig.inner.room.statistics()["waiting"] == 0
