"""The catalogue: which objects exist, under which names, and who refers to them.

It is the machine with the empty ident: the operations of kind "cluster" are its methods.

RULES
* A name belongs to a kind: the queue "x" and the dict "x" are two objects.
* An anonymous object lives while something refers to it: a session (counted per session, in batches), a
  stored value that mentions it, or an object that needs it. A *lent* one lives `LENT_S` longer, since
  somebody may be on the way.
* What a session refers to is given up when the session ends. Stock clients count by hand (`STOCK`): what a
  killed one leaks is visible in `status`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.kinds import KINDS
from mpserve.core.machine import Machine
from mpserve.core.status import describe
from mpshared.errors import BadValue, Conflict, MpserveError, NoSuchObject

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpserve.core.sessions import Sessions
    from mpshared.values import Blob

__all__ = ["LENT_S", "STOCK", "Catalogue"]

LENT_S = 60.0
"""Seconds a lent object outlives its last reference."""
STOCK = "stock"
"""Stands for all stock clients as a holder of references."""


class Catalogue(Machine):
    """All objects of an engine."""

    kind: ClassVar[str] = "cluster"

    def __init__(self, new_ident: Callable[[], str], sessions: Sessions) -> None:
        super().__init__("")
        self._new_ident = new_ident
        self.sessions = sessions
        self.objects: dict[str, Machine] = {}
        self.names: dict[tuple[str, str], str] = {}
        self.mentions: dict[str, int] = {}
        """ident -> number of stored values (and objects) that need it."""
        self.holders: dict[str, dict[str, int]] = {}
        """ident -> session id -> number of references."""
        self.by_session: dict[str, dict[str, int]] = {}
        """The same, the other way round."""
        self.lent: set[str] = set()

    # -- finding ---------------------------------------------------------------------------------

    def get(self, ident: str, kind: str) -> Machine:
        """Return the object; raise `NoSuchObject` or `Conflict` for a wrong kind."""
        machine = self.objects.get(ident)
        if machine is None:
            msg = (
                f"the server has no object {ident:.80}: it was deleted, or freed when nothing referred to "
                "it any more"
            )
            raise NoSuchObject(msg, ident=ident)
        if machine.kind != kind:
            msg = f"{machine.label} is not a {kind}"
            raise Conflict(msg)
        return machine

    def find_named(self, name: str, kind: str | None) -> Machine | None:
        """Return the object of that name; with no kind given the name must belong to one object only."""
        if kind is not None:
            ident = self.names.get((kind, name))
            return None if ident is None else self.objects[ident]
        found = [self.objects[ident] for (_, n), ident in self.names.items() if n == name]
        if len(found) > 1:
            kinds = ", ".join(sorted(m.kind for m in found))
            msg = f"several objects are named {name!r}: {kinds}; say which kind"
            raise Conflict(msg)
        return found[0] if found else None

    # -- operations ------------------------------------------------------------------------------

    def open(
        self,
        fx: Effects,
        call: Call,
        kind: str,
        name: str | None,
        settings: dict[str, Any],
        fresh: bool,
        ttl_s: float | None,
    ) -> None:
        """Open the object of that name, or create it; the caller holds one reference.

        Answers [ident, kind, settings]. Without a name a new object is made. `fresh` deletes a namesake
        first.
        """
        machine = self.find_named(name, kind) if name is not None else None
        if machine is not None and fresh:
            self.remove(fx, machine)
            machine = None
        if machine is None:
            machine = self._create(fx, kind, name, settings, list(call.blobs))
        else:
            self._agree(fx, machine, settings)
        if ttl_s is not None and name is not None and machine.ttl_s != ttl_s:
            self.change(fx, "lives", machine.ident, ttl_s)
            self._watch(fx, machine)
        self.hold(fx, call.session, machine.ident)
        fx.reply(call, [machine.ident, kind, machine.settings])

    def delete(self, fx: Effects, call: Call, name: str | None, kind: str | None) -> None:
        """Delete the named object; answers whether there was one."""
        if name is None:
            msg = "delete needs the name of an object"
            raise BadValue(msg)
        machine = self.find_named(name, kind)
        if machine is not None:
            self.remove(fx, machine)
        fx.reply(call, machine is not None)

    def list_objects(self, fx: Effects, call: Call) -> None:
        """Answer one map per named object."""
        named = [self.objects[ident] for ident in self.names.values()]
        fx.reply(call, [{"name": m.name, "kind": m.kind, "settings": m.settings} for m in named])

    def adopt(self, fx: Effects, call: Call, idents: list[Any]) -> None:
        """Give the caller a reference to each object: it unpickled them from somewhere else."""
        for ident in idents:
            if ident not in self.objects:
                msg = f"the object {ident!r:.80} is gone: it was freed before this program opened its proxy"
                raise NoSuchObject(msg, ident=str(ident))
        for ident in idents:
            self.hold(fx, call.session, ident)
        fx.reply(call, [self.objects[ident].kind for ident in idents])

    def drop(self, fx: Effects, call: Call, counts: list[tuple[str, int]]) -> None:
        """Give up references of the caller; more than it has are not an error (the session may have expired
        once).
        """
        for ident, n in counts:
            self.let_go(fx, call.session, ident, n)
        fx.reply(call)

    def lend(self, fx: Effects, call: Call, idents: list[Any]) -> None:
        """Mark objects as lent: a proxy was pickled where the server cannot see it."""
        for ident in idents:
            if ident in self.objects and ident not in self.lent:
                self.change(fx, "is_lent", ident)
        fx.reply(call)

    def count(self, fx: Effects, call: Call) -> None:
        """Answer the number of objects."""
        fx.reply(call, len(self.objects))

    def status(self, fx: Effects, call: Call) -> None:
        """Answer what `mpserve status` shows."""
        fx.reply(call, describe(self, fx.now_s))

    def next_command(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Answer a supervisor's next command."""
        self.sessions.next_command(fx, call, timeout_s)

    def report_death(self, fx: Effects, call: Call, session_id: str, report: dict[str, Any]) -> None:
        """End a worker's session at once: its supervisor saw the process die. Answers whether it lived."""
        session = self.sessions.find(session_id)
        known = session is not None and session.info.supervisor == call.session.id
        if session is not None and known:
            session.report = report
            fx.ended.append(session)
        fx.reply(call, known)

    # -- creating and deleting -------------------------------------------------------------------

    def _create(
        self, fx: Effects, kind: str, name: str | None, settings: dict[str, Any], blobs: list[Blob]
    ) -> Machine:
        if kind not in KINDS:
            msg = f"there is no kind of object {kind!r:.80}; there are {', '.join(sorted(KINDS))}"
            raise BadValue(msg)
        lock = settings.get("lock")
        if "lock" in KINDS[kind].SETTINGS and not lock:
            lock = self._create(fx, "rlock", None, {}, []).ident
            settings = {**settings, "lock": lock}
        if lock and lock not in self.objects:
            msg = f"the lock {lock!r:.80} for the new {kind} is gone"
            raise NoSuchObject(msg)
        ident = self._new_ident()
        self._build(ident, kind, name, settings)  # refuses bad settings before anything is changed
        self.change(fx, "created", ident, kind, name, settings)
        machine = self.objects[ident]
        try:
            machine.setup(fx, blobs)
        except MpserveError:
            self.remove(fx, machine)
            raise
        return machine

    def _build(self, ident: str, kind: str, name: str | None, settings: dict[str, Any]) -> Machine:
        machine = KINDS[kind](ident, name, settings)
        machine.bind(self.objects)
        return machine

    def _agree(self, fx: Effects, machine: Machine, settings: dict[str, Any]) -> None:
        """Accept the settings of a later opener, adopt the first explicit ones, or refuse."""
        unknown = set(settings) - set(machine.settings)
        different = {k: v for k, v in settings.items() if k not in unknown and machine.settings[k] != v}
        if not settings or not (unknown or different):
            return
        if machine.explicit or unknown:
            key = min(unknown or different)
            has = f"{key}={machine.settings[key]!r}" if key in machine.settings else f"no setting {key!r}"
            msg = (
                f"{machine.label} exists with {has}, asked for {key}={settings[key]!r}; open it without "
                "settings, or with fresh=True"
            )
            raise Conflict(msg)
        type(machine)(machine.ident, machine.name, {**machine.settings, **settings})
        self.change(fx, "configured", machine.ident, settings)
        machine.retry(fx)  # more permits, more room: somebody may have waited for that

    def remove(self, fx: Effects, machine: Machine) -> None:
        """Delete an object: who waits for it is told, what it stored is given up."""
        self.change(fx, "removed", machine.ident)
        machine.break_waiters(fx)

    # -- references ------------------------------------------------------------------------------

    def hold(self, fx: Effects, session: Session, ident: str, n: int = 1) -> None:
        """Give `session` n references (all stock clients count as one holder)."""
        self.change(fx, "held", STOCK if session.info.role == STOCK else session.id, ident, n)

    def let_go(self, fx: Effects, session: Session, ident: str, n: int = 1) -> None:
        """Take up to n references from `session`."""
        holder = STOCK if session.info.role == STOCK else session.id
        has = self.by_session.get(holder, {}).get(ident, 0)
        if has:
            self.change(fx, "dropped", holder, ident, min(n, has))
            self._free_if_unused(fx, ident)

    def delivered(self, fx: Effects, session: Session, blobs: Sequence[Blob]) -> None:
        """Give the receiver of values its own references to what they mention."""
        for blob in blobs:
            for ident in () if type(blob) is bytes else blob.refs:  # type: ignore[union-attr]
                if ident not in self.objects:
                    continue
                if session.info.role == STOCK:  # it counts by itself, later: keep the object until it has
                    self.change(fx, "is_lent", ident)
                else:
                    self.hold(fx, session, ident)

    def apply_kept(self, fx: Effects) -> None:
        """At the end of a turn: count the mentions that were stored and dropped, free what nothing refers
        to.
        """
        while fx.kept:
            kept, fx.kept = fx.kept, {}
            for ident, change in kept.items():
                if change and (ident in self.objects or ident in self.mentions):
                    self.mentions[ident] = self.mentions.get(ident, 0) + change
                    if self.mentions[ident] <= 0:
                        del self.mentions[ident]
                        self._free_if_unused(fx, ident)

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Drop every reference of an ended session."""
        if session.info.role != STOCK:
            for ident, n in list(self.by_session.get(session.id, {}).items()):
                self.let_go(fx, session, ident, n)

    def references(self, ident: str) -> int:
        """Return how many references and stored mentions an object has."""
        return sum(self.holders.get(ident, {}).values()) + self.mentions.get(ident, 0)

    def _free_if_unused(self, fx: Effects, ident: str) -> None:
        machine = self.objects.get(ident)
        if machine is None or machine.name is not None or self.references(ident):
            return
        if ident in self.lent:
            fx.timers.add(fx.now_s + LENT_S, self._free_lent, ident)
        else:
            self.remove(fx, machine)

    def _free_lent(self, fx: Effects, ident: str) -> None:
        machine = self.objects.get(ident)
        if machine is not None and machine.name is None and not self.references(ident):
            self.remove(fx, machine)

    # -- time to live ----------------------------------------------------------------------------

    def _watch(self, fx: Effects, machine: Machine) -> None:
        machine.used_s = max(machine.used_s, fx.now_s)
        if machine.ttl_s is not None:
            fx.timers.add(machine.used_s + machine.ttl_s, self._check_ttl, machine)

    def _check_ttl(self, fx: Effects, machine: Machine) -> None:
        if self.objects.get(machine.ident) is not machine or machine.ttl_s is None:
            return
        waited_for = any(len(lot) for lot in machine.lots())
        if not waited_for and fx.now_s >= machine.used_s + machine.ttl_s:
            self.remove(fx, machine)
        else:
            machine.used_s = fx.now_s if waited_for else machine.used_s
            fx.timers.add(machine.used_s + machine.ttl_s, self._check_ttl, machine)

    # -- changes ---------------------------------------------------------------------------------

    def on_created(
        self, fx: Effects, ident: str, kind: str, name: str | None, settings: dict[str, Any]
    ) -> None:
        """Add an object."""
        self.objects[ident] = self._build(ident, kind, name, settings)
        if name is not None:
            self.names[kind, name] = ident
        lock = settings.get("lock")
        if lock:
            fx.kept[lock] = fx.kept.get(lock, 0) + 1

    def on_removed(self, fx: Effects, ident: str) -> None:
        """Drop an object, its name, its references, and what it stored."""
        machine = self.objects.pop(ident)
        if machine.name is not None:
            del self.names[machine.kind, machine.name]
        for holder in self.holders.pop(ident, {}):
            self.by_session[holder].pop(ident, None)
        self.lent.discard(ident)
        fx.keep(list(machine.stored()), -1)
        lock = machine.settings.get("lock")
        if lock:
            fx.kept[lock] = fx.kept.get(lock, 0) - 1

    def on_configured(self, _fx: Effects, ident: str, settings: dict[str, Any]) -> None:
        """Adopt the first explicit settings."""
        machine = self.objects[ident]
        machine.settings.update(settings)
        machine.explicit = True
        machine.configure()

    def on_lives(self, _fx: Effects, ident: str, ttl_s: float) -> None:
        """Note a time to live."""
        self.objects[ident].ttl_s = ttl_s

    def on_held(self, _fx: Effects, holder: str, ident: str, n: int) -> None:
        """Count references."""
        of_object = self.holders.setdefault(ident, {})
        of_holder = self.by_session.setdefault(holder, {})
        of_object[holder] = of_holder[ident] = of_object.get(holder, 0) + n

    def on_dropped(self, _fx: Effects, holder: str, ident: str, n: int) -> None:
        """Count references down."""
        of_object, of_holder = self.holders[ident], self.by_session[holder]
        left = of_object[holder] - n
        if left:
            of_object[holder] = of_holder[ident] = left
            return
        del of_object[holder], of_holder[ident]
        if not of_object:
            del self.holders[ident]
        if not of_holder:
            del self.by_session[holder]

    def on_is_lent(self, _fx: Effects, ident: str) -> None:
        """Mark an object as lent."""
        self.lent.add(ident)

    # -- looking ---------------------------------------------------------------------------------

    def state(self) -> Mapping[str, Any]:
        """Return names, references and the state of every object."""
        return {
            "names": dict(self.names),
            "holders": {ident: dict(held) for ident, held in self.holders.items()},
            "mentions": dict(self.mentions),
            "lent": set(self.lent),
            "objects": {ident: (m.kind, m.name, m.settings, m.state()) for ident, m in self.objects.items()},
        }

    def validate(self) -> None:
        """Check the two indexes of references against each other, and every object."""
        pairs = {(i, h, n) for i, held in self.holders.items() for h, n in held.items()}
        assert pairs == {(i, h, n) for h, held in self.by_session.items() for i, n in held.items()}
        for machine in self.objects.values():
            machine.validate()
