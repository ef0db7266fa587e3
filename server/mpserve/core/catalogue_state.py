"""What the catalogue holds: objects, their names, what stands on what, and how long they live.

Every change of it is here, and what a journal makes of them. What is asked of it: `mpserve.core.catalogue`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mpserve.core.deadlocks import Deadlocks
from mpserve.core.hall import Hall
from mpserve.core.hosts import Hosts
from mpserve.core.house import House
from mpserve.core.kinds import KINDS
from mpserve.core.mutex import Mutex
from mpserve.core.references import References
from mpshared.errors import Conflict, NoSuchObject

if TYPE_CHECKING:
    from mpserve.core.calls import Session
    from mpserve.core.effects import Effects
    from mpserve.core.machine import Change, Machine
    from mpserve.core.sessions import Sessions
    from mpserve.core.timers import Timer

__all__ = ["CatalogueState"]

TIDY_EVERY = 1024
"""Deleted objects after which all sessions forget what they may own in one that is gone."""


class CatalogueState(References):
    """All objects of an engine, and their names."""

    def __init__(self, sessions: Sessions, max_attempts: int) -> None:
        super().__init__()
        self.sessions = sessions
        self.house = House(Hosts(sessions), Hall(sessions), Deadlocks(sessions), max_attempts)
        self.names: dict[tuple[str, str], str] = {}
        self.pools: dict[str, Machine] = {}
        """By ident."""
        self.dependents: dict[str, dict[str, None]] = {}
        """ident of a lock -> idents of what stands on it."""
        self.fence = 0
        """The highest number that a holder of a lock had which is deleted; 0: no lock was."""
        self._ttl_timers: dict[str, Timer] = {}
        self._removed = 0

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
            raise Conflict(f"{machine.label} is not a {kind}")
        return machine

    def find_named(self, name: str, kind: str | None) -> Machine | None:
        """Return the object of that name; with no kind given the name must belong to one object only."""
        if kind is not None:
            ident = self.names.get((kind, name))
            return None if ident is None else self.objects[ident]
        found = [self.objects[ident] for (_, n), ident in self.names.items() if n == name]
        if len(found) > 1:
            kinds = ", ".join(sorted(m.kind for m in found))
            raise Conflict(f"several objects are named {name!r}: {kinds}; say which kind")
        return found[0] if found else None

    # -- deleting --------------------------------------------------------------------------------

    def remove(self, fx: Effects, machine: Machine) -> None:
        """Delete an object: who waits for it is told, what it stored is given up."""
        for ident in list(self.dependents.get(machine.ident, ())):
            self.remove(fx, self.objects[ident])
        self.change(fx, "removed", machine.ident)
        machine.break_waiters(fx)
        self._removed += 1
        if self._removed % TIDY_EVERY == 0:
            for session in self.sessions:
                session.tidy(self.objects)

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Drop every reference of an ended session; it works no more."""
        super().forget_session(fx, session)
        self.house.hall.leave(fx, session)

    # -- time to live ----------------------------------------------------------------------------

    def _watch(self, fx: Effects, machine: Machine) -> None:
        if machine.ttl_s is not None:
            earlier = self._ttl_timers.get(machine.ident)
            if earlier is not None:
                earlier.cancel()
            due_s = machine.used_s + machine.ttl_s
            self._ttl_timers[machine.ident] = fx.timers.add(due_s, self._check_ttl, machine)

    def _check_ttl(self, fx: Effects, machine: Machine) -> None:
        if any(len(lot) for lot in machine.lots()) or machine.ident in self.dependents:
            machine.used_s = fx.now_s  # to wait for it is to use it, and so is to stand on it
        if machine.ttl_s is not None and fx.now_s >= machine.used_s + machine.ttl_s:
            self.remove(fx, machine)
        else:
            self._watch(fx, machine)

    # -- after a restart -------------------------------------------------------------------------

    def rebuild(self) -> Iterator[Change]:
        """Yield who exists and who refers to it; what the objects hold comes from them, in the same order."""
        for machine in self.objects.values():
            yield "created", (machine.ident, machine.kind, machine.name, machine.given())
            if machine.ttl_s is not None:
                yield "lives", (machine.ident, machine.ttl_s)
        for ident, held in self.holders.items():
            for holder, n in held.items():
                yield "held", (holder, ident, n)
        for ident in self.lent:
            yield "is_lent", (ident,)
        if self.fence:
            yield "fenced", (self.fence,)

    def revive(self, fx: Effects) -> None:
        """Plan anew what is due at a certain time: all objects were just rebuilt from their records."""
        for session in self.sessions:
            self.house.hall.arrive(session)
        for machine in list(self.objects.values()):
            machine.used_s = fx.now_s
            self._watch(fx, machine)
            machine.revive(fx)
            fx.kept.setdefault(machine.ident, 0)  # what nothing refers to is freed, or its last time begins

    # -- changes ---------------------------------------------------------------------------------

    def on_created(
        self, fx: Effects, ident: str, kind: str, name: str | None, settings: dict[str, Any]
    ) -> None:
        """Add an object."""
        machine = self.objects[ident] = self._build(ident, kind, name, settings)
        fx.keep(list(machine.stored()))
        fx.room.held_bytes += machine.extra_bytes()
        if name is not None:
            self.names[kind, name] = ident
        if kind == "pool":
            self.pools[ident] = machine
        lock = settings.get("lock")
        if lock:
            fx.kept[lock] = fx.kept.get(lock, 0) + 1
            self.dependents.setdefault(lock, {})[ident] = None

    def on_removed(self, fx: Effects, ident: str) -> None:
        """Drop an object, its name, its references, and what it stored."""
        machine = self.objects.pop(ident)
        if isinstance(machine, Mutex):
            self.fence = max(self.fence, machine.fence)
        machine.leave()
        self.pools.pop(ident, None)
        if machine.name is not None:
            del self.names[machine.kind, machine.name]
        self.forget_object(ident)
        timer = self._ttl_timers.pop(ident, None)
        if timer is not None:
            timer.cancel()
        fx.keep(list(machine.stored()), -1)
        fx.room.held_bytes -= machine.extra_bytes()
        self._leave_lock(fx, machine)

    def _leave_lock(self, fx: Effects, machine: Machine) -> None:
        lock = machine.settings.get("lock")
        if lock:
            fx.kept[lock] = fx.kept.get(lock, 0) - 1
            del self.dependents[lock][machine.ident]
            if not self.dependents[lock]:
                del self.dependents[lock]

    def on_fenced(self, _fx: Effects, fence: int) -> None:
        """Note the highest number of a holder."""
        self.fence = fence

    def on_configured(self, _fx: Effects, ident: str, settings: dict[str, Any]) -> None:
        """Adopt the first explicit settings."""
        machine = self.objects[ident]
        machine.settings.update(settings)
        machine.explicit = True
        machine.configure()

    def on_lives(self, _fx: Effects, ident: str, ttl_s: float) -> None:
        """Note a time to live."""
        self.objects[ident].ttl_s = ttl_s

    def _build(self, ident: str, kind: str, name: str | None, settings: dict[str, Any]) -> Machine:
        machine = KINDS[kind](ident, name, settings)
        machine.bind(self.objects)
        machine.enter(self.house)
        return machine

    # -- looking ---------------------------------------------------------------------------------

    def state(self) -> Mapping[str, Any]:
        """Return names, references, and the settings and state of every object."""
        return {
            "names": dict(self.names),
            "holders": {ident: dict(held) for ident, held in self.holders.items()},
            "mentions": dict(self.mentions),
            "lent": set(self.lent),
            "dependents": {lock: set(idents) for lock, idents in self.dependents.items()},
            "fence": self.fence,
            "objects": {ident: _state(machine) for ident, machine in self.objects.items()},
        }

    def validate(self) -> None:
        """Check names, references, and every object. Cost: O(everything)."""
        super().validate()
        self.house.hall.validate()
        for machine in self.objects.values():
            machine.validate()
        assert self.names == {(m.kind, m.name): m.ident for m in self.objects.values() if m.name is not None}
        assert self.pools == {m.ident: m for m in self.objects.values() if m.kind == "pool"}
        assert self._ttl_timers.keys() == {m.ident for m in self.objects.values() if m.ttl_s is not None}
        standing = {(m.settings["lock"], m.ident) for m in self.objects.values() if m.settings.get("lock")}
        assert standing == {(lock, i) for lock, idents in self.dependents.items() for i in idents}


def _state(machine: Machine) -> tuple[Any, ...]:
    about = (machine.kind, machine.name, dict(machine.settings), machine.explicit, machine.ttl_s)
    return (*about, machine.state())
