"""What all kinds of objects share: one `Machine` per object.

RULES
* An operation of `mpshared.ops` with method ``m`` is the method ``m(self, fx, call, *args)``; values are in
  ``call.blobs``.
* Everything that changes what the object *is* goes through `change`, as a verb: it is recorded, then carried
  out by the method named ``on_<verb>(fx, *args)``. Verbs are enough to rebuild the object. Waiters are not
  state: their calls come again.
* A method that refuses raises an `MpserveError` before its first change, so an illegal call leaves the object
  unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from mpserve.core.room import weight
from mpshared.errors import Conflict, NoSuchObject

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Lane, Session
    from mpserve.core.effects import Effects
    from mpserve.core.house import House
    from mpserve.core.parking import ParkingLot, Waiter
    from mpshared.errors import MpserveError
    from mpshared.values import Blob

__all__ = ["CHUNK", "Change", "Machine", "chunks"]

Change: TypeAlias = tuple[str, tuple[Any, ...]]
"""A verb and its arguments."""
CHUNK: Final = 1000
"""Values in one change of `Machine.rebuild`."""


def chunks(items: Iterable[Any], n: int = CHUNK) -> Iterator[list[Any]]:
    """Yield items in lists of `n`."""
    iterator = iter(items)
    while part := list(islice(iterator, n)):
        yield part


class _Methods(dict[str, str]):
    """Names of the methods that carry verbs out. A name made anew is looked up in every class each time."""

    def __missing__(self, verb: str) -> str:
        name = self[verb] = sys.intern("on_" + verb)
        return name


_METHODS: Final = _Methods()


class Machine:
    """One shared object."""

    kind: ClassVar[str]
    is_lock: ClassVar[bool] = False
    """Whether sessions hold it as they hold a lock: death reports name it."""
    SETTINGS: ClassVar[dict[str, Any]] = {}
    """Settings and their defaults; a name that is not here is refused. (A machine may check more in
    `__init__`.)"""
    LOCK_SETTINGS: ClassVar[frozenset[str]] = frozenset()
    """Settings of the lock it stands on, which may be given with its own."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        self.ident = ident
        self.name = name
        unknown = set(settings or ()) - set(self.SETTINGS)
        if unknown:
            raise Conflict(
                f"a {self.kind} has no setting {min(unknown)!r}; it has {sorted(self.SETTINGS) or 'none'}"
            )
        self.settings: dict[str, Any] = {**self.SETTINGS, **(settings or {})}
        self.explicit = bool(settings)
        """Somebody gave settings; until then the first who does decides them."""
        self.ttl_s: float | None = None
        """A named object is deleted this long after its last use; None: never."""
        self.used_s = 0.0
        self.maker = ""
        """Session id of who made it; no state: after a restart nobody has."""

    def __repr__(self) -> str:
        return f"<{self.label}>"

    @property
    def label(self) -> str:
        """How messages name the object: ``queue 'tasks'`` or ``anonymous lock 1f0c…``."""
        return f"{self.kind} {self.name!r}" if self.name else f"anonymous {self.kind} {self.ident}"

    def change(self, fx: Effects, verb: str, *args: Any) -> Any:
        """Record and carry out one change."""
        if fx.records is not None:
            fx.records.append((self.ident, verb, args))
        method = getattr(self, _METHODS[verb])
        return method(fx, args[0]) if len(args) == 1 else method(fx, *args)

    # -- what kinds override ---------------------------------------------------------------------

    def configure(self) -> None:
        """Take note of `settings`, which changed: the first explicit ones arrived for an object in use."""

    def bind(self, machines: Mapping[str, Machine]) -> None:
        """Find the objects that the settings name; called whenever the object was made, and changes
        nothing.
        """

    def enter(self, house: House) -> None:
        """Find what the engine has only one of; called after `bind`, but for a rehearsal not at all."""

    def leave(self) -> None:
        """Be forgotten by what `enter` found: the object is deleted."""

    def setup(self, fx: Effects, blobs: list[Blob]) -> None:
        """Fill a new object with the values it was created with (recorded like any change)."""
        if blobs:
            raise Conflict(f"a {self.kind} takes no values at creation")
        _ = fx

    def lots(self) -> Iterable[ParkingLot]:
        """Return every lot of the object."""
        return ()

    def stored(self) -> Iterator[Blob]:
        """Yield every stored value (so that deleting the object gives up the references in them)."""
        return iter(())

    def extra_bytes(self) -> int:
        """Return what it holds besides values: keys, members, numbers. Cost: at most O(n)."""
        return 0

    def growth(self, call: Call, args: list[Any]) -> int:
        """Return by how much a call that stores something would enlarge what is held, in bytes."""
        _ = args
        return weight(call.blobs)

    def forget_waiter(self, fx: Effects, waiter: Waiter) -> None:
        """Drop a parked call of a peer that is gone or gave up. No answer is owed."""
        _ = fx
        waiter.lot.forget(waiter.call)

    def awaited(self, waiter: Waiter) -> Machine | None:
        """Return the lock in whose line a parked call of this object stands."""
        _ = waiter
        return None

    def retry(self, fx: Effects) -> None:
        """Hand out what can be handed out: a suspended waiter is awake again."""

    def forget_lane(self, fx: Effects, lane: Lane) -> None:
        """Take back what a thread owned that ended; what belongs to its whole session stays."""

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Take back everything `session` owned and hand it on. Its waiters are gone already."""

    def owners(self) -> Iterable[str]:
        """Return the ids of the sessions that own something here; more than true is allowed."""
        return ()

    def holdings(self, session_id: str) -> Iterable[tuple[int, int, Iterable[str]]]:
        """Yield what threads of a session must release: (lane, how often, objects through which)."""
        _ = session_id
        return ()

    def taken_by(self, call: Call) -> int:
        """Return how much of its holdings here an answered call brought."""
        _ = call
        return 0

    def revive(self, fx: Effects) -> None:
        """Plan anew what is due at a certain time: the object was just rebuilt from its records."""

    def given(self) -> dict[str, Any]:
        """Return the settings to create it with again."""
        return dict(self.settings) if self.explicit else {}

    def rebuild(self) -> Iterator[Change]:
        """Yield the changes that make a fresh object with the same settings equal to this one.

        They are as few as can be: a journal of them is short, however much has happened here.
        """
        raise NotImplementedError

    def state(self) -> Any:
        """Return the whole state as plain data; equal after the object was rebuilt from its records."""
        raise NotImplementedError

    def statistics(self) -> dict[str, Any]:
        """Return what `mpserve status` shows of the object: plain numbers and names, never values."""
        return {}

    def validate(self) -> None:
        """Raise AssertionError when an invariant is broken (tests call it after every step)."""
        for lot in self.lots():
            lot.validate()

    # -- end of life -----------------------------------------------------------------------------

    def break_waiters(self, fx: Effects, error: MpserveError | None = None) -> None:
        """Answer everybody who waits with an error: the object is being deleted."""
        why = error or NoSuchObject(f"{self.label} was deleted while this call waited for it")
        for lot in self.lots():
            for call in lot.drain():
                fx.fail(call, why)
        fx.room.turn_away(fx, self, why)
