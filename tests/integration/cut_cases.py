"""One call of every operation, at a moment at which to do it twice would show.

CASES    operation -> its call, and what goes before
World    a client behind a relay, one beside it, and what both see of the objects

RULES
* The object that is called is made for each call, of the operation's kind, and is `THIS` among the arguments.
* What goes before is done by the same client, unless a function says otherwise.
* What two plays of a case lead to is the same, but for idents: `World.play` returns it as text.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.integration.relay import Relay

from mpclient.session import Describes, Session
from mpclient.testing import wait_until
from mpshared.address import Address
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME

__all__ = ["CASES", "Case", "World"]

A, B, C, ONE = (pickle.dumps(x) for x in ("a", "b", "c", 1))
THIS = "the object itself"
Step = tuple[str, list[Any], list[bytes]]
ALL = [None, None, None]


@dataclass(frozen=True)
class Case:
    """How an operation is called."""

    args: Sequence[Any] = ()
    blobs: Sequence[bytes] = ()
    before: Sequence[Step] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    first: Sequence[bytes] = ()
    """The values that the object is made with."""
    role: str = "worker"
    more: Callable[[World], None] | None = None
    """What else goes before; it may set `World.known`, which names idents among the arguments."""
    named: bool = False
    same: Callable[[Any], Any] = lambda result: result
    """What of the answer is the same each time."""


def step(name: str, *args: Any, blobs: Sequence[bytes] = ()) -> Step:
    return name, list(args), list(blobs)


class World:
    """One server, seen from `me`, behind the relay, and from `other`."""

    def __init__(self, address: str, key: str, relay: Relay) -> None:
        self._address, self._key = Address.parse(address), key.encode()
        self._relay = relay
        self.me = self.other = self._session(self._address)
        self.helpers: list[Session] = []
        self.known: dict[str, str] = {}

    def _session(self, address: Address, **described: Any) -> Session:
        return Session(address, self._key, Describes(**described), reconnect_timeout_s=20.0)

    def begin(self, role: str) -> None:
        """Have a new client behind the relay."""
        more: dict[str, Any] = {"pools": True} if role == "worker" else {}
        if role == "supervisor":
            more = {"slots": 1, "max_spawned": 1000}
        if role == "process":
            self.host = self._session(self._address, role="supervisor", slots=1, max_spawned=1000)
            more = {"supervisor": self.host.id}
        self.me = self._session(Address.parse(self._relay.address), role=role, **more)

    def end(self) -> None:
        hosts = [self.host] if self.me.describes.role == "process" else []
        for session in (self.me, *self.helpers, *hosts):
            session.close()

    def close(self) -> None:
        self.other.close()

    def helper(self, role: str = "program", **more: Any) -> Session:
        """Have one more client until the end of the call."""
        helper = self._session(self._address, role=role, **more)
        self.helpers.append(helper)
        self.known[f"helper {len(self.helpers)}"] = helper.id
        return helper

    # -- calls ---------------------------------------------------------------------------------------

    def call(
        self, name: str, *args: Any, blobs: Sequence[bytes] = (), by: Session | None = None, on: str = THIS
    ) -> Any:
        """Make a call; return the result alone."""
        return self._reply(by or self.me, name, on, args, blobs).result

    def _reply(self, by: Session, name: str, on: str, args: Sequence[Any], blobs: Sequence[bytes]) -> Any:
        op = BY_NAME[name]
        target = "" if op.kind == "cluster" else self.known[on]
        return by.call(op, target, [self._ident(arg) for arg in args], list(blobs))

    def _ident(self, arg: Any) -> Any:
        if isinstance(arg, list):
            return [self._ident(part) for part in arg]
        return self.known.get(arg, arg) if isinstance(arg, str) else arg

    def make(self, label: str, kind: str, first: Sequence[bytes] = (), **settings: Any) -> None:
        """Make an object that arguments may name."""
        settings = {key: self._ident(value) for key, value in settings.items()}
        made = self.call("cluster.open", kind, settings.pop("name", None), settings, False, None, blobs=first)
        self.known[label] = made[0]

    def row(self, label: str = THIS) -> dict[str, Any] | None:
        """Return what status tells of an object."""
        objects = self.call("cluster.status", by=self.other)["objects"]
        found: list[dict[str, Any]] = [row for row in objects if row["ident"] == self.known.get(label)]
        return found[0] if found else None

    # -- a play --------------------------------------------------------------------------------------

    def play(self, name: str, case: Case, cut: tuple[str, int] | None = None) -> str:
        """Set the stage, make the call with a cut, and return what came of it."""
        self.known = {"me": self.me.id}
        kind = BY_NAME[name].kind
        if kind != "cluster":
            self.make(THIS, kind, case.first, **case.settings)
        fence = (self.row() or {}).get("fence", 0)
        if case.more is not None:
            case.more(self)
        for before, args, blobs in case.before:
            self.call(before, *args, blobs=blobs)
        count = self.call("cluster.count", by=self.other)
        self._wait_for_calm()
        self._relay.arm(*cut) if cut else self._relay.disarm()
        answer = self._outcome(name, case)
        self.sizes = dict(self._relay.passed)
        self._relay.disarm()
        row = self.row()
        if row is not None and "fence" in row:
            row["fence"] -= fence
        if row is not None and "lock" in row:
            self.known["lock"] = row["lock"]
        seen = [row, self.call("cluster.count", by=self.other) - count, *self._looks(kind)]
        while self.helpers:
            self.helpers.pop().close()
        if "name" in case.settings:
            self.call("cluster.delete", case.settings["name"], kind)
        elif "lent" in self.known:  # would be freed a minute later, in the middle of another play
            self.call("cluster.delete", self.known["lent"], "event")
        elif THIS in self.known:  # the jobs of a pool would be given to the next play
            self.call("cluster.drop", [[THIS, 9]])
        return self._nameless(repr((answer, seen)))

    def _wait_for_calm(self) -> None:
        """Wait until both connections are there: what they say to each other is not to be cut."""
        self.me.call(BY_NAME["cluster.count"], "", [])

        def both() -> bool:
            sessions = self.call("cluster.status", by=self.other)["sessions"]
            return [s["connections"] for s in sessions if s["id"] == self.me.id] == [2]

        wait_until(both, 20)

    def _outcome(self, name: str, case: Case) -> Any:
        try:
            reply = self._reply(self.me, name, THIS, case.args, case.blobs)
        except MpserveError as err:
            return err.code, err.text
        if name == "cluster.open":
            self.known[THIS] = reply.result[0]
        return case.same(reply.result), reply.blobs

    def _looks(self, kind: str) -> list[Any]:
        found: list[Any] = []
        for name, *args in LOOKS.get(kind, ()):
            try:
                reply = self._reply(self.me, name, THIS, args, ())
                found.append((name, reply.result, reply.blobs))
            except MpserveError as err:
                found.append((name, err.code))
        return found

    def _nameless(self, text: str) -> str:
        for label, ident in self.known.items():
            text = text.replace(ident, f"<{label}>")
        return text


LOOKS: dict[str, list[list[Any]]] = {
    "queue": [["queue.unfinished"], ["queue.task_done", 1], ["queue.get_many", 99, 0, False]],
    "dict": [["dict.items"]],
    "list": [["list.snapshot"]],
    "set": [["set.members"]],
    "namespace": [["namespace.items"]],
    "value": [["value.get"]],
    "array": [["array.get_slice", ALL]],
    "semaphore": [["semaphore.get_value"]],
    "barrier": [["barrier.status"]],
    "pool": [["pool.spec"], ["pool.waiting", [[1, 99]]], ["pool.collect", 99, 0]],
    "process": [["process.look"]],
}


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
