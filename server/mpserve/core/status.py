"""What `mpserve status` shows: plain maps of names and numbers, never values."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.queue_workers import QueueWorkers

if TYPE_CHECKING:
    from mpserve.core.calls import Session
    from mpserve.core.catalogue import Catalogue
    from mpserve.core.effects import Effects
    from mpserve.core.machine import Machine

__all__ = ["MOST_ROWS", "describe", "describe_object"]

MOST_ROWS: Final = 10_000
"""Sessions, and objects, that are told in full: nobody reads more, and others wait while they are listed."""


def describe(catalogue: Catalogue, fx: Effects) -> dict[str, Any]:
    """Return sessions and objects as msgpack data; names are as given: whoever prints them escapes them.

    Worker hosts come first, and pools, whose programs look for them here; then what has a name. Whoever knows
    its object asks for that one. Cost: O(what is told).
    """
    sessions, objects = catalogue.sessions, catalogue.objects
    return {
        "memory": fx.room.statistics(),
        **fx.bounds.statistics(),
        "more": {
            "sessions": max(0, len(sessions) - MOST_ROWS),
            "objects": max(0, len(objects) - MOST_ROWS),
        },
        "sessions": [_session(session, fx.now_s) for session in islice(sessions.hosts_first(), MOST_ROWS)],
        "objects": [
            describe_object(catalogue, machine) for machine in islice(_ordered(catalogue), MOST_ROWS)
        ],
    }


def _ordered(catalogue: Catalogue) -> Iterator[Machine]:
    """Yield all objects, those first that are looked for. Cost: O(what is taken, and had come before)."""
    pools, objects = catalogue.pools, catalogue.objects
    yield from pools.values()
    yield from (objects[ident] for ident in catalogue.names.values() if ident not in pools)
    yield from (one for ident, one in objects.items() if one.name is None and ident not in pools)


def describe_object(catalogue: Catalogue, machine: Machine) -> dict[str, Any]:
    """Return the row of one object."""
    return {
        "kind": machine.kind,
        "name": machine.name,
        "ident": machine.ident,
        "references": catalogue.references(machine.ident),
        **machine.statistics(),
    }


def _session(session: Session, now_s: float) -> dict[str, Any]:
    info = session.info
    return {
        "id": session.id,
        "role": info.role,
        "name": info.name,
        "host": info.host,
        "pid": info.pid,
        "python": list(info.python),
        "version": info.version,
        "supervisor": info.supervisor,
        "slots": info.slots,
        "queue": info.queue,
        "connections": session.connections,
        "silent_s": round(now_s - session.heard_s, 3),
        "waiting": sum(lane.running is not None for lane in session.lanes.values()),
        "leased": {machine.name or machine.ident: n for machine, n in _leased(session) if n},
    }


def _leased(session: Session) -> Iterator[tuple[Machine, int]]:
    """Yield how many items, jobs mostly, a session has of each queue and pool."""
    for machine in session.held:
        if isinstance(machine, QueueWorkers):
            yield machine, sum(machine.leases.counts(session.id).values())
