"""One call of every operation, at a moment at which to do it twice would show.

CASES    operation -> its call, and what goes before

How they are played, and what their parts mean: `cut_world`.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.integration.cut_world import ALL, THIS, Case, World, step

from mpclient.session import Session
from mpclient.testing import wait_until
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME

__all__ = ["CASES"]

A, B, C, ONE = (pickle.dumps(x) for x in ("a", "b", "c", 1))


# -- what goes before --------------------------------------------------------------------------------


def make(label: str, kind: str, **settings: Any) -> Callable[[World], None]:
    return lambda world: world.make(label, kind, **settings)


def abandoned(world: World) -> None:
    """Have the object, a lock, held by a program that died."""
    holder = world.helper()
    world.call(f"{world.row()['kind']}.acquire", 0, by=holder)
    holder.close()


def held_by_the_dead(world: World) -> None:
    world.make("lock", "lock", name=f"lock of {world.me.id}", on_owner_death="hold")
    holder = world.helper()
    world.call("lock.acquire", 0, by=holder, on="lock")
    holder.close()
    world.known["name"] = f"lock of {world.me.id}"


def freed_by_an_operator(world: World) -> None:
    """Undo what the play before has left: the lock keeps its name."""
    with suppress(MpserveError):
        world.call("cluster.delete", f"lock of {world.me.id}", "lock")
    held_by_the_dead(world)


def named(world: World) -> None:
    world.known["name"] = f"event of {world.me.id}"
    world.call("cluster.open", "event", world.known["name"], {}, False, None, by=world.other)


def to_be_lent(world: World) -> None:
    world.known["lent"] = f"event of {world.me.id}"
    world.make("o", "event", name=world.known["lent"])


def dead_items(world: World) -> None:
    world.call("queue.put_many", None, blobs=[A, B])
    for _ in "ab":
        worker = world.helper("worker")
        world.call("queue.get", 0, True, by=worker)
        worker.close()


def leased(world: World) -> None:
    world.make("queue", "queue")
    world.call("pool.submit", 1, blobs=[A, B])
    world.call("queue.exchange", None, [], 1, 0, None, on="queue")


def finished(world: World) -> None:
    leased(world)
    world.call("queue.exchange", None, [[1, 1]], 0, 0, THIS, blobs=[C], on="queue")


def done_and_kept(world: World) -> None:
    world.make("queue", "queue")
    world.call("pool.enqueue", {}, blobs=[A])
    world.call("queue.exchange", None, [], 1, 0, None, on="queue")
    world.call("queue.exchange", None, [[1, 1]], 0, 0, THIS, blobs=[C], on="queue")


def piped(world: World) -> None:
    world.make("far", "pipe", peer=THIS)


def has_mail(world: World) -> None:
    piped(world)
    for blob in (A, B):
        world.call("pipe.send", blobs=[blob], on="far")


def placed(world: World) -> Session:
    """Have the object, a process, placed on a worker host; return that."""
    role = world.me.describes.role
    host = world.me if role == "supervisor" else world.host if role == "process" else None
    host = host or world.helper("supervisor", slots=1, max_spawned=9)
    world.call("cluster.count", by=host)  # it has a connection, also after a restart
    starter, op, ident = world.helper(), BY_NAME["process.start"], world.known[THIS]

    def start() -> None:
        with suppress(MpserveError):
            starter.call(op, ident, [None])

    threading.Thread(target=start, daemon=True).start()
    wait_until(lambda: world.row()["stage"] == "placed", 20)
    return host


def running(world: World) -> Session:
    host = placed(world)
    world.call("process.take", by=world.helper("process", supervisor=host.id))
    return host


def over(world: World) -> None:
    world.call("process.ended", 3, {}, by=running(world))


def of_host(stage: Callable[[World], Session]) -> Callable[[World], None]:
    def more(world: World) -> None:
        stage(world)

    return more


def a_worker_of_mine(world: World) -> None:
    world.known["worker"] = world.helper("worker", supervisor=world.me.id).id


def keys(result: Any) -> Any:
    return sorted(result)


STANDING = {"standing": True, "name": "standing"}
later = {"delay_s": 1000.0, "key": "once"}
put = [step("queue.put_many", None, blobs=[A, B, C])]
got = [*put, step("queue.get_many", 2, 0, True)]
filled = [step("dict.update", ["k", "n"], blobs=[A, ONE])]
words = [A, B, ONE]
members = [step("set.update", ["a", "b", 3])]
spaced = [step("namespace.set", "x", blobs=[A]), step("namespace.set", "n", blobs=[ONE])]
cell = {"settings": {"typecode": "i"}, "first": [ONE]}
numbers = {"settings": {"typecode": "i", "numbers": [1, 2, 3, 4]}}
twin: dict[str, Any] = {"settings": {"on_owner_death": "raise"}, "more": abandoned}
round_with_action = {"settings": {"parties": 1, "has_action": True}, "before": [step("barrier.wait", None)]}

CASES: dict[str, Case] = {
    "cluster.open": Case(["event", None, {}, False, None]),
    "cluster.delete": Case(["name", "event"], more=named),
    "cluster.list_objects": Case(),
    "cluster.adopt": Case([["o"]], more=make("o", "event")),
    "cluster.drop": Case([[["o", 1]]], more=make("o", "event"), before=[step("cluster.adopt", ["o"])]),
    "cluster.lend": Case([["o"]], more=to_be_lent),
    "cluster.status": Case(same=keys),
    "cluster.shutdown": Case(),
    "cluster.next_command": Case([0.0]),
    "cluster.report_death": Case(["worker", {}], role="supervisor", more=a_worker_of_mine),
    "cluster.count": Case(same=bool),
    "cluster.wait": Case([["o"], 0.0], more=make("o", "pipe")),
    "cluster.release": Case(["name", "lock"], more=freed_by_an_operator),
    "cluster.why": Case([None, None], same=keys),
    "cluster.describe": Case(["o"], more=make("o", "event"), same=keys),
    "queue.put": Case([None], [A]),
    "queue.put_revocably": Case([None], [A]),
    "queue.put_many": Case([None], [A, B]),
    "queue.get": Case([None, False], before=put),
    "queue.get_many": Case([2, None, True], before=put),
    "queue.task_done": Case([1], before=got),
    "queue.join": Case([0.0]),
    "queue.qsize": Case(before=put),
    "queue.full": Case(),
    "queue.clear": Case(before=put),
    "queue.shutdown": Case([True], before=put),
    "queue.exchange": Case(
        ["results", [[1, 2]], 1, None, None], [A, B], before=got, more=make("results", "queue")
    ),
    "queue.exchange_ahead": Case(
        ["results", [[1, 2]], 1, None], [A, B], before=got, more=make("results", "queue")
    ),
    "queue.hand_back": Case([[[1, 2]]], before=got),
    "queue.dead_list": Case(settings={"max_attempts": 1}, more=dead_items, same=len),
    "queue.dead_requeue": Case([[]], settings={"max_attempts": 1}, more=dead_items),
    "queue.dead_drop": Case([[1]], settings={"max_attempts": 1}, more=dead_items),
    "queue.unfinished": Case(before=got),
    "queue.put_later": Case([None, {"delay_s": 1000.0}], [A]),
    "dict.get": Case(["k"], before=filled),
    "dict.set": Case(["k"], [B], before=filled),
    "dict.delete": Case(["k"], before=filled),
    "dict.contains": Case(["k"], before=filled),
    "dict.len": Case(before=filled),
    "dict.keys": Case(before=filled),
    "dict.values": Case(before=filled),
    "dict.items": Case(before=filled),
    "dict.pop": Case(["k"], before=filled),
    "dict.popitem": Case(before=filled),
    "dict.setdefault": Case(["new"], [C], before=filled),
    "dict.update": Case([["k", "m"]], [B, C], before=filled),
    "dict.clear": Case(before=filled),
    "dict.incr": Case(["n", 2], before=filled),
    "dict.cas": Case(["k", True, True], [A, B], before=filled),
    "list.get": Case([1], first=words),
    "list.set": Case([1], [C], first=words),
    "list.delete": Case([0], first=words),
    "list.get_slice": Case([[0, 2, None]], first=words),
    "list.set_slice": Case([[0, 1, None]], [B, C], first=words),
    "list.delete_slice": Case([[0, 1, None]], first=words),
    "list.append": Case([], [C], first=words),
    "list.extend": Case([], [B, C], first=words),
    "list.insert": Case([1], [C], first=words),
    "list.pop": Case([-1], first=words),
    "list.remove": Case([], [A], first=[A, A]),
    "list.index": Case([0, None], [B], first=words),
    "list.count": Case([], [B], first=words),
    "list.contains": Case([], [B], first=words),
    "list.len": Case(first=words),
    "list.reverse": Case(first=words),
    "list.sort": Case([False], first=[B, A]),
    "list.clear": Case(first=words),
    "list.repeat": Case([2], first=words),
    "list.cas": Case([0], [A, C], first=words),
    "list.incr": Case([2, 5], first=words),
    "list.snapshot": Case(first=words),
    "list.replace": Case([0], [C]),
    "set.add": Case(["c"], before=members),
    "set.discard": Case(["a"], before=members),
    "set.remove": Case(["a"], before=members),
    "set.contains": Case(["a"], before=members),
    "set.pop": Case(before=members),
    "set.clear": Case(before=members),
    "set.len": Case(before=members),
    "set.members": Case(before=members),
    "set.update": Case([["a", "d"]], before=members),
    "set.difference_update": Case([["a"]], before=members),
    "set.intersection_update": Case([["a"]], before=members),
    "set.symmetric_difference_update": Case([["a", "z"]], before=members),
    "namespace.get": Case(["x"], before=spaced),
    "namespace.set": Case(["x"], [B], before=spaced),
    "namespace.delete": Case(["x"], before=spaced),
    "namespace.items": Case(before=spaced),
    "namespace.incr": Case(["n", 2], before=spaced),
    "value.get": Case(**cell),
    "value.set": Case([], [A], **cell),
    "value.incr": Case([2], **cell),
    "value.cas": Case([], [ONE, A], **cell),
    "value.get_typed": Case(**cell),
    "array.get": Case([1], **numbers),
    "array.set": Case([1, 9], **numbers),
    "array.get_slice": Case([[1, 3, None]], **numbers),
    "array.set_slice": Case([[1, 3, None], [7, 8, 9]], **numbers),
    "array.len": Case(**numbers),
    "array.incr": Case([1, 5], **numbers),
    "array.get_typed": Case([ALL], **numbers),
    "event.set": Case(),
    "event.clear": Case(before=[step("event.set")]),
    "event.is_set": Case(),
    "event.wait": Case([None], before=[step("event.set")]),
    "lock.acquire": Case([None]),
    "lock.release": Case(before=[step("lock.acquire", None)]),
    "lock.locked": Case(),
    "lock.recover": Case(**twin),
    "lock.get_fence": Case(before=[step("lock.acquire", None)], same=bool),
    "rlock.acquire": Case([None], before=[step("rlock.acquire", None)]),
    "rlock.release": Case(before=[step("rlock.acquire", None)] * 3),
    "rlock.locked": Case(),
    "rlock.recover": Case(**twin),
    "rlock.get_fence": Case(before=[step("rlock.acquire", None)], same=bool),
    "semaphore.acquire": Case([None], settings={"value": 3}),
    "semaphore.release": Case([1], settings={"value": 3}, before=[step("semaphore.acquire", None)] * 2),
    "semaphore.get_value": Case(settings={"value": 3}),
    "condition.acquire": Case([None], before=[step("condition.acquire", None)]),
    "condition.release": Case(before=[step("condition.acquire", None)] * 3),
    "condition.locked": Case(),
    "condition.wait": Case([0.0], before=[step("condition.acquire", None)] * 2),
    "condition.hold_again": Case(before=[step("condition.acquire", None)]),
    "condition.notify": Case([1], before=[step("condition.acquire", None)]),
    "condition.notify_all": Case(before=[step("condition.acquire", None)]),
    "condition.recover": Case(**twin),
    "condition.get_fence": Case(before=[step("condition.acquire", None)], same=bool),
    "barrier.wait": Case([None], settings={"parties": 1, "has_action": True}),
    "barrier.action_done": Case([True], **round_with_action),
    "barrier.reset": Case(**round_with_action),
    "barrier.abort": Case(settings={"parties": 2}),
    "barrier.status": Case(settings={"parties": 2}),
    "iterator.next": Case(first=words),
    "pool.submit": Case([1], [A, B]),
    "pool.submit_on_terms": Case([1, {"delay_s": 1000.0}], [A]),
    "pool.collect": Case([9, None], more=finished),
    "pool.cancel": Case([[[1, 1]]], before=[step("pool.submit", 1, blobs=[A, B])]),
    "pool.stop": Case([[[1, 1]], 1000.0], before=[step("pool.submit", 1, blobs=[A, B])]),
    "pool.teach": Case(["digest"], [A]),
    "pool.learn": Case(["digest"], before=[step("pool.teach", "digest", blobs=[A])]),
    "pool.equip": Case([], [A], before=[step("pool.equip", blobs=[B])]),
    "pool.spec": Case(),
    "pool.hand_back": Case([[[1, 1]]], more=leased),
    "pool.forget": Case(["digest"], before=[step("pool.teach", "digest", blobs=[A])]),
    "pool.waiting": Case([[[1, 9]]], before=[step("pool.submit", 1, blobs=[A, B])]),
    "pool.enqueue": Case([later], [A], settings=STANDING),
    "pool.ask": Case([1, 0.0], settings=STANDING, before=[step("pool.enqueue", later, blobs=[A])]),
    "pool.release": Case([1], settings=STANDING, more=done_and_kept),
    "process.start": Case([None], first=[A], more=of_host(running)),
    "process.take": Case(first=[A], role="process", more=of_host(placed)),
    "process.ended": Case([3, {}], first=[A], role="supervisor", more=of_host(running)),
    "process.wait": Case([None], first=[A], more=over),
    "process.signal": Case([15], first=[A], more=of_host(running)),
    "process.look": Case(first=[A]),
    "process.refused": Case(["no room"], first=[A], role="supervisor", more=of_host(placed)),
    "pipe.send": Case([], [A], more=piped),
    "pipe.recv": Case(more=has_mail),
    "pipe.poll": Case([None], more=has_mail),
}
