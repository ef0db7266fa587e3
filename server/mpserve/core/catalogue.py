"""The catalogue: which objects exist, under which names, and who refers to them.

It is the machine with the empty ident: the operations of kind "cluster" are its methods.

RULES
* A name belongs to a kind: the queue "x" and the dict "x" are two objects.
* What depends on a lock (a condition) is deleted with it: it could never be used again.
* `open` refuses before it changes anything, also where it would delete a namesake first.
* What is asked of a condition's lock is asked of that lock: it agrees, adopts or refuses like any object.

Files, from the inside: `references` who refers to an object, and when one without a name is freed ·
`catalogue_state` objects and names, every change · here: what is asked of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.catalogue_state import CatalogueState
from mpserve.core.effects import Effects
from mpserve.core.kinds import KINDS
from mpserve.core.locks import get_lock, lock_of
from mpserve.core.mutex import Mutex
from mpserve.core.room import weight
from mpserve.core.status import describe, describe_object
from mpserve.core.t_array import array_bytes
from mpserve.core.watching import Watched, Watching
from mpserve.core.why import explain
from mpshared.errors import BadValue, Conflict, NoSuchObject
from mpshared.settings import MAX_ATTEMPTS

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.machine import Machine
    from mpserve.core.parking import ParkingLot, Waiter
    from mpserve.core.sessions import Sessions
    from mpshared.values import Blob

__all__ = ["Catalogue"]


class Catalogue(CatalogueState):
    """All objects of an engine, as clients ask for them."""

    kind: ClassVar[str] = "cluster"

    def __init__(
        self,
        new_ident: Callable[[], str],
        sessions: Sessions,
        max_attempts: int = MAX_ATTEMPTS.default,
    ) -> None:
        super().__init__(sessions, max_attempts)
        self._new_ident = new_ident
        self.watching = Watching()

    @property
    def label(self) -> str:
        """How messages name it."""
        return "the cluster"

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
        if ttl_s is not None and name is None:
            raise BadValue(f"ttl is for a {kind:.80} with a name; one without goes with its last reference")
        if ttl_s is not None and ttl_s <= 0:
            raise BadValue(f"the ttl of {kind:.80} {name!r} must be above 0 seconds")
        machine = self.find_named(name, kind) if name is not None else None
        own, of_lock = _parted(kind, settings)
        if machine is None or fresh:
            self._check_bounds(fx, call.session, kind, name, own, machine)
            machine = self._create(fx, call, kind, name, own, of_lock, machine)
        else:
            self._agree(fx, (machine, own), (lock_of(machine), of_lock))
        machine.used_s = fx.now_s
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
            raise BadValue("delete needs the name of an object")
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
                f"{machine.label} cannot be waited for together with others; pipes, queues and processes can"
            )
        return machine

    def forget_waiter(self, fx: Effects, waiter: Waiter) -> None:
        """Drop a parked call of a peer that is gone."""
        if waiter.lot is self.watching.lot:
            self.watching.forget(waiter)
        else:
            super().forget_waiter(fx, waiter)

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

    # -- creating --------------------------------------------------------------------------------

    def _create(
        self,
        fx: Effects,
        call: Call,
        kind: str,
        name: str | None,
        settings: dict[str, Any],
        of_lock: dict[str, Any],
        namesake: Machine | None,
    ) -> Machine:
        """Make an object, and the lock that it stands on if it has none, in the place of a namesake."""
        ident, blobs, program = self._new_ident(), list(call.blobs), call.session.id
        needs_lock = self._rehearse(ident, kind, name, settings, blobs)
        if needs_lock:
            self._rehearse(ident, "rlock", None, of_lock, [])
        elif of_lock:
            self._agree(fx, (self.objects[settings["lock"]], of_lock))
        if "program" in KINDS[kind].SETTINGS and not settings.get("standing"):
            settings = {**settings, "program": program}
        if namesake is not None:
            self.remove(fx, namesake)
        if needs_lock:
            lock = self._make(fx, self._new_ident(), "rlock", None, of_lock, [])
            settings = {**settings, "lock": lock.ident}
        machine = self._make(fx, ident, kind, name, settings, blobs)
        machine.maker = program
        return machine

    def _make(
        self,
        fx: Effects,
        ident: str,
        kind: str,
        name: str | None,
        settings: dict[str, Any],
        blobs: list[Blob],
    ) -> Machine:
        self.change(fx, "created", ident, kind, name, settings)
        machine = self.objects[ident]
        machine.setup(fx, blobs)
        if isinstance(machine, Mutex) and machine.fence < self.fence:  # the clock was set back
            machine.change(fx, "numbered", self.fence)
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
            raise BadValue(f"there is no kind of object {kind!r:.80}; there are {', '.join(sorted(KINDS))}")
        trial = KINDS[kind](ident, name, settings)
        if trial.settings.get("program"):
            raise BadValue(f"whose {kind} it is, the server fills in; leave out the setting 'program'")
        needs_lock = trial.settings.get("lock") == ""
        if not needs_lock:
            trial.bind(self.objects)
        trial.setup(Effects(), blobs)
        return needs_lock

    def _agree(self, fx: Effects, *asked: tuple[Machine | None, dict[str, Any]]) -> None:
        """Accept the settings of a later opener, adopt the first explicit ones, or refuse all."""
        to_adopt = [(m, settings) for m, settings in asked if m is not None and _is_new(m, settings)]
        for machine, settings in to_adopt:
            self.change(fx, "configured", machine.ident, settings)
            machine.retry(fx)  # more permits, more room: somebody may have waited for that

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the lines of supervisors that wait for commands, and of those who watch objects."""
        return (*self.sessions.lots(), self.watching.lot)


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
        raise Conflict(
            f"{machine.label} exists with {has}, asked for {key}={settings[key]!r}; open it without "
            "settings, or with fresh=True"
        )
    type(machine)(machine.ident, machine.name, {**machine.settings, **settings})
    return True
