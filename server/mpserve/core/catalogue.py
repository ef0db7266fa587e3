"""The catalogue: which objects exist, under which names, and who refers to them.

It is the machine with the empty ident: the operations of kind "cluster" are its methods.

RULES
* A name belongs to a kind: the queue "x" and the dict "x" are two objects.
* What depends on a lock (a condition) is deleted with it: it could never be used again.
* `open` refuses before it changes anything, also where it would delete a namesake first.
* What is asked of a condition's lock is asked of that lock: it agrees, adopts or refuses like any object.

Who refers to an object, and when one without a name is freed: `mpserve.core.references`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.deadlocks import Deadlocks
from mpserve.core.effects import Effects
from mpserve.core.hall import Hall
from mpserve.core.hosts import Hosts
from mpserve.core.house import House
from mpserve.core.kinds import KINDS
from mpserve.core.locks import get_lock, lock_of
from mpserve.core.references import References
from mpserve.core.room import weight
from mpserve.core.status import describe, describe_object
from mpserve.core.t_array import array_bytes
from mpserve.core.watching import Watched, Watching
from mpserve.core.why import explain
from mpshared.errors import BadValue, Conflict, NoSuchObject

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.machine import Change, Machine
    from mpserve.core.parking import ParkingLot
    from mpserve.core.sessions import Sessions
    from mpserve.core.timers import Timer
    from mpshared.values import Blob

__all__ = ["Catalogue"]

TIDY_EVERY = 1024
"""Deleted objects after which all sessions forget what they may own in one that is gone."""


class Catalogue(References):
    """All objects of an engine."""

    kind: ClassVar[str] = "cluster"

    def __init__(self, new_ident: Callable[[], str], sessions: Sessions) -> None:
        super().__init__()
        self._new_ident = new_ident
        self.sessions = sessions
        self.house = House(hosts=Hosts(sessions), hall=Hall(sessions), deadlocks=Deadlocks(sessions))
        self.names: dict[tuple[str, str], str] = {}
        self.pools: dict[str, Machine] = {}
        """By ident."""
        self.dependents: dict[str, dict[str, None]] = {}
        """ident of a lock -> idents of what stands on it."""
        self.watching = Watching()
        self._ttl_timers: dict[str, Timer] = {}
        self._removed = 0

    @property
    def label(self) -> str:
        """How messages name it."""
        return "the cluster"

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
        first. The call's values are the first contents of a new object; one that exists keeps its own.

        Raises:
            BadValue: No such kind; a time to live for an object without a name, or none that is one.
            Conflict: It exists with other settings, or is asked for something that no such object has.
            Others: As the kind refuses settings and values.
        """
        if ttl_s is not None and (name is None or ttl_s <= 0):
            msg = f"ttl is for named objects, and above 0: got {ttl_s!r} for {kind:.80} {name!r}"
            raise BadValue(msg)
        machine = self.find_named(name, kind) if name is not None else None
        own, of_lock = _parted(kind, settings)
        if machine is None or fresh:
            self._check_bounds(fx, call.session, kind, name, own, machine)
            machine = self._create(fx, kind, name, own, list(call.blobs), machine, call.session.id, of_lock)
        else:
            self._agree(fx, (machine, own), (lock_of(machine), of_lock))
        if ttl_s is not None and machine.ttl_s != ttl_s:
            self.change(fx, "lives", machine.ident, ttl_s)
            self._watch(fx, machine)
        self.hold(fx, call.session, machine.ident)
        call.took = machine.ident
        fx.reply(call, [machine.ident, kind, dict(machine.settings)])

    def undo_open(self, fx: Effects, call: Call) -> None:
        """Give up the reference that an answer brought which never arrived."""
        self.let_go(fx, call.session, call.took)

    def delete(self, fx: Effects, call: Call, name: str | None, kind: str | None) -> None:
        """Delete the named object; answers whether there was one."""
        if name is None:
            msg = "delete needs the name of an object"
            raise BadValue(msg)
        machine = self.find_named(name, kind)
        if machine is not None:
            self.remove(fx, machine)
        fx.reply(call, machine is not None)

    def release(self, fx: Effects, call: Call, lock: str, kind: str | None) -> None:
        """Release a lock whose holder is gone, which an operator names; see `Mutex.free`.

        Raises:
            NoSuchObject, Conflict, BadValue: As `locks.get_lock`.
            NotHeld, NotAllowed: As `Mutex.free`.
        """
        get_lock(self.objects, self.names, lock, kind).free(fx)
        fx.reply(call)

    def list_objects(self, fx: Effects, call: Call) -> None:
        """Answer one map per named object. Cost: 0.3 µs each, as settings are not copied."""
        named = [self.objects[ident] for ident in self.names.values()]
        fx.reply(call, [{"name": m.name, "kind": m.kind, "settings": m.settings} for m in named])

    def adopt(self, fx: Effects, call: Call, idents: list[str]) -> None:
        """Give the caller a reference to each object: it unpickled them from somewhere else."""
        for ident in idents:
            if ident not in self.objects:
                msg = f"the object {ident!r:.80} is gone: it was freed before this program opened its proxy"
                raise NoSuchObject(msg, ident=str(ident))
        for ident in idents:
            self.hold(fx, call.session, ident)
        call.took = idents
        fx.reply(call, [self.objects[ident].kind for ident in idents])

    def undo_adopt(self, fx: Effects, call: Call) -> None:
        """Give up the references that an answer brought which never arrived."""
        for ident in call.took:
            self.let_go(fx, call.session, ident)

    def drop(self, fx: Effects, call: Call, counts: list[tuple[str, int]]) -> None:
        """Give up references of the caller; more than it has are not an error (the session may have expired
        once).
        """
        for ident, n in counts:
            self.let_go(fx, call.session, ident, n)
        fx.reply(call)

    def lend(self, fx: Effects, call: Call, idents: list[str]) -> None:
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
        fx.reply(call, describe(self, fx))

    def describe(self, fx: Effects, call: Call, ident: str) -> None:
        """Answer what `status` tells of one object; None: there is no such."""
        machine = self.objects.get(ident)
        fx.reply(call, None if machine is None else describe_object(self, machine))

    def why(self, fx: Effects, call: Call, lock: str | None, kind: str | None) -> None:
        """Answer what `mpserve why` shows: of one lock, or of all.

        Raises:
            NoSuchObject, Conflict, BadValue: As `locks.get_lock`.
        """
        only = None if lock is None else get_lock(self.objects, self.names, lock, kind)
        fx.reply(call, explain(self, only, fx.now_s))

    def next_command(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Answer a supervisor's next command."""
        self.house.hosts.ready(fx)
        self.sessions.next_command(fx, call, timeout_s)

    def undo_next_command(self, _fx: Effects, call: Call) -> None:
        """Keep a command whose answer never arrived."""
        self.sessions.undo_next_command(call)

    def retry(self, fx: Effects) -> None:
        """Answer supervisors that were away when their command came."""
        self.house.hosts.ready(fx)
        self.sessions.retry(fx)

    def wait(self, fx: Effects, call: Call, idents: list[str], timeout_s: float | None) -> None:
        """Answer the idents of those objects that are ready, as soon as one is; [] after `timeout_s`.

        A pipe is ready when `recv` need not wait. Cost: O(idents). Source: multiprocessing.connection.wait.

        Raises:
            NoSuchObject: One of them does not exist.
            Conflict: One of them is of a kind that is never ready.
        """
        self.watching.wait(fx, call, [self._find_watched(ident) for ident in idents], timeout_s)

    def _find_watched(self, ident: str) -> Watched:
        machine = self.objects.get(ident)
        if machine is None:
            raise NoSuchObject(f"the server has no object {ident:.80} to wait for: it was freed", ident=ident)
        if not isinstance(machine, Watched):
            raise Conflict(
                f"{machine.label} cannot be waited for together with others; pipes and processes can"
            )
        return machine

    def forget_waiter(self, fx: Effects, call: Call) -> None:
        """Drop a parked call of a peer that is gone."""
        if call.waiter is not None and call.waiter.lot is self.watching.lot:
            self.watching.forget(call)
        else:
            super().forget_waiter(fx, call)

    def report_death(self, fx: Effects, call: Call, session_id: str, report: dict[str, Any]) -> None:
        """End a worker's session at once: its supervisor saw the process die. Answers whether it lived."""
        session = self.sessions.find(session_id)
        known = session is not None and session.info.supervisor == call.session.id
        if session is not None and known:
            session.report = report
            self.sessions.end(fx, session, "its supervisor saw its process die")
        fx.reply(call, known)

    def growth(self, call: Call, args: list[Any]) -> int:
        """Return what a new object would hold."""
        kind, name, settings, fresh, _ttl_s = args
        if name is not None and not fresh and (kind, name) in self.names:
            return 0
        return weight(call.blobs) + (array_bytes(settings) if kind == "array" else 0)

    # -- creating and deleting -------------------------------------------------------------------

    def _create(
        self,
        fx: Effects,
        kind: str,
        name: str | None,
        settings: dict[str, Any],
        blobs: list[Blob],
        namesake: Machine | None = None,
        program: str = "",
        of_lock: dict[str, Any] | None = None,
    ) -> Machine:
        ident = self._new_ident()
        needs_lock = self._rehearse(ident, kind, name, settings, blobs)
        of_lock = of_lock or {}
        if needs_lock:
            self._rehearse(ident, "rlock", None, of_lock, [])
        elif of_lock:
            self._agree(fx, (self.objects[settings["lock"]], of_lock))
        if "program" in KINDS[kind].SETTINGS and not settings.get("standing"):
            settings = {**settings, "program": program}
        if namesake is not None:
            self.remove(fx, namesake)
        if needs_lock:
            lock = self._create(fx, "rlock", None, of_lock, [])
            settings = {**settings, "lock": lock.ident}
        self.change(fx, "created", ident, kind, name, settings)
        machine = self.objects[ident]
        machine.maker = program
        machine.setup(fx, blobs)
        return machine

    def _check_bounds(
        self,
        fx: Effects,
        session: Session,
        kind: str,
        name: str | None,
        settings: dict[str, Any],
        namesake: Machine | None,
    ) -> None:
        """Refuse one more object where there are enough; one in the place of another is none more.

        Raises:
            NoRoom: There are as many as there may be.
        """
        if namesake is None:
            names = 0 if name is None else len(self.names)
            label = f"{kind:.40} {name!r}" if name else f"another {kind:.40}"
            made = 2 if kind in KINDS and KINDS[kind].LOCK_SETTINGS and not settings.get("lock") else 1
            fx.bounds.check_object(len(self.objects), made, names, self.held_by(session), label)

    def _rehearse(
        self, ident: str, kind: str, name: str | None, settings: dict[str, Any], blobs: list[Blob]
    ) -> bool:
        """Refuse what cannot be created, before anything is changed. Tell whether it needs a lock made."""
        if kind not in KINDS:
            msg = f"there is no kind of object {kind!r:.80}; there are {', '.join(sorted(KINDS))}"
            raise BadValue(msg)
        trial = KINDS[kind](ident, name, settings)
        if trial.settings.get("program"):
            raise BadValue(f"whose {kind} it is, the server fills in; leave out the setting 'program'")
        needs_lock = trial.settings.get("lock") == ""
        if not needs_lock:
            trial.bind(self.objects)
        trial.setup(Effects(), blobs)
        return needs_lock

    def _build(self, ident: str, kind: str, name: str | None, settings: dict[str, Any]) -> Machine:
        machine = KINDS[kind](ident, name, settings)
        machine.bind(self.objects)
        machine.enter(self.house)
        return machine

    def _agree(self, fx: Effects, *asked: tuple[Machine | None, dict[str, Any]]) -> None:
        """Accept the settings of a later opener, adopt the first explicit ones, or refuse all."""
        to_adopt = [(m, settings) for m, settings in asked if m is not None and _is_new(m, settings)]
        for machine, settings in to_adopt:
            self.change(fx, "configured", machine.ident, settings)
            machine.retry(fx)  # more permits, more room: somebody may have waited for that

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
        machine.used_s = max(machine.used_s, fx.now_s)
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

    def revive(self, fx: Effects) -> None:
        """Plan anew what is due at a certain time: all objects were just rebuilt from their records."""
        for session in self.sessions:
            self.house.hall.arrive(session)
        for machine in list(self.objects.values()):
            if machine.ttl_s is not None:
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

    def on_configured(self, _fx: Effects, ident: str, settings: dict[str, Any]) -> None:
        """Adopt the first explicit settings."""
        machine = self.objects[ident]
        machine.settings.update(settings)
        machine.explicit = True
        machine.configure()

    def on_lives(self, _fx: Effects, ident: str, ttl_s: float) -> None:
        """Note a time to live."""
        self.objects[ident].ttl_s = ttl_s

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the lines of supervisors that wait for commands, and of those who watch objects."""
        return (*self.sessions.lots(), self.watching.lot)

    def state(self) -> Mapping[str, Any]:
        """Return names, references, and the settings and state of every object."""
        return {
            "names": dict(self.names),
            "holders": {ident: dict(held) for ident, held in self.holders.items()},
            "mentions": dict(self.mentions),
            "lent": set(self.lent),
            "dependents": {lock: set(idents) for lock, idents in self.dependents.items()},
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


def _parted(kind: str, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of an object of that kind, and those of the lock it stands on."""
    of_lock = KINDS[kind].LOCK_SETTINGS if kind in KINDS else frozenset()
    own = {key: value for key, value in settings.items() if key not in of_lock}
    return own, {key: value for key, value in settings.items() if key in of_lock}


def _is_new(machine: Machine, settings: dict[str, Any]) -> bool:
    """Tell whether settings are the first explicit ones of an object.

    Raises:
        Conflict: It has others.
        Others: As its kind refuses settings.
    """
    unknown = set(settings) - set(machine.settings)
    different = {k: v for k, v in settings.items() if k not in unknown and machine.settings[k] != v}
    if not settings or (machine.explicit and not (unknown or different)):
        return False
    if machine.explicit or unknown:
        key = min(unknown or different)
        has = f"{key}={machine.settings[key]!r}" if key in machine.settings else f"no setting {key!r}"
        msg = (
            f"{machine.label} exists with {has}, asked for {key}={settings[key]!r}; open it without "
            "settings, or with fresh=True"
        )
        raise Conflict(msg)
    type(machine)(machine.ident, machine.name, {**machine.settings, **settings})
    return True


def _state(machine: Machine) -> tuple[Any, ...]:
    about = (machine.kind, machine.name, dict(machine.settings), machine.explicit, machine.ttl_s)
    return (*about, machine.state())
