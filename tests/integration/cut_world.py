"""What the cases of calls that are cut are played in; the cases are in `cut_cases`.

Case     how an operation is called, and what goes before
World    a client behind a relay, one beside it, and what both see of the objects

RULES
* The object that is called is made for each call, of the operation's kind, and is `THIS` among the arguments.
* What goes before is done by the same client, unless a function says otherwise.
* What two plays of a case lead to is the same, but for idents: `World.play` returns it as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.integration.relay import Relay

from mpclient.session import Describes, Session
from mpclient.testing import wait_until
from mpshared.address import Address
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME

__all__ = ["ALL", "THIS", "Case", "Step", "World", "step"]

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
        cuts = self._relay.cuts
        self._relay.arm(*cut) if cut else self._relay.disarm()
        answer = self._outcome(name, case)
        self.sizes = dict(self._relay.passed)
        self._relay.disarm()
        if cut:  # the answer may be here before: a cut that comes later would hit a goodbye
            wait_until(lambda: self._relay.cuts > cuts, 20)
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
