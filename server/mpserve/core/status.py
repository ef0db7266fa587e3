"""What `mpserve status` shows: plain maps of names and numbers, never values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpserve.core.calls import Session
    from mpserve.core.catalogue import Catalogue
    from mpserve.core.room import Room

__all__ = ["describe"]


def describe(catalogue: Catalogue, room: Room, now_s: float) -> dict[str, Any]:
    """Return sessions and objects as msgpack data; names are as given: whoever prints them escapes them."""
    return {
        "memory": room.statistics(),
        **catalogue.bounds.statistics(),
        "sessions": [_session(s, now_s) for s in catalogue.sessions],
        "objects": [
            {
                "kind": machine.kind,
                "name": machine.name,
                "ident": machine.ident,
                "references": catalogue.references(machine.ident),
                **machine.statistics(),
            }
            for machine in catalogue.objects.values()
        ],
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
    }
