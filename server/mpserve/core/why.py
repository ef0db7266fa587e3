"""What `mpserve why` shows: who waits for which lock, who holds it, and where that goes in a circle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mpserve.core.mutex import Mutex
from mpserve.core.owner import Owner

if TYPE_CHECKING:
    from mpserve.core.catalogue import Catalogue
    from mpserve.core.deadlocks import Wait
    from mpserve.core.parking import Waiter

__all__ = ["explain"]


def explain(catalogue: Catalogue, only: Mutex | None, now_s: float) -> dict[str, Any]:
    """Return waits, circles and the sessions in them as msgpack data; names are as given.

    Args:
        catalogue: All objects.
        only: The lock that is asked about: who waits for it, and whom its holder waits for, and so on.
        now_s: Monotonic.
    """
    found = list(_waits_of(catalogue, only) if only is not None else _all_waits(catalogue))
    pairs = [(Owner.of(waiter.call), lock) for waiter, lock in found]
    owners = {owner for waiter, lock in pairs for owner in (waiter, lock.holder) if owner is not None}
    return {
        "waits": [_row(waiter, lock, now_s) for waiter, lock in found],
        "circles": [[_step(wait) for wait in circle] for circle in _circles(catalogue, pairs)],
        "sessions": dict(_described(catalogue, owners)),
    }


def _all_waits(catalogue: Catalogue) -> Iterator[tuple[Waiter, Mutex]]:
    for machine in catalogue.objects.values():
        if isinstance(machine, Mutex):
            yield from ((waiter, machine) for waiter in machine.acquirers.waiters())


def _waits_of(catalogue: Catalogue, lock: Mutex) -> Iterator[tuple[Waiter, Mutex]]:
    """Yield who waits for `lock`, then its holder, if that waits for another, and so on."""
    deadlocks = catalogue.house.deadlocks
    yield from ((waiter, lock) for waiter in lock.acquirers.waiters())
    if lock.holder is None:
        return
    following = deadlocks.awaited_by(lock.holder)
    if following is None:
        return
    for wait in deadlocks.way(lock.holder, following)[0]:
        waiter = deadlocks.waiter_of(wait.waiter)
        if waiter is not None and wait.lock is not lock:
            yield waiter, wait.lock


def _circles(catalogue: Catalogue, pairs: Iterable[tuple[Owner, Mutex]]) -> list[list[Wait]]:
    """Return each circle once."""
    circles: dict[frozenset[Owner], list[Wait]] = {}
    for owner, lock in pairs:
        waits, is_circle = catalogue.house.deadlocks.way(owner, lock)
        if is_circle:
            circles.setdefault(frozenset(wait.waiter for wait in waits), waits)
    return list(circles.values())


def _row(waiter: Waiter, lock: Mutex, now_s: float) -> dict[str, Any]:
    return {
        "waiter": Owner.of(waiter.call),
        "lock": lock.label,
        "ident": lock.ident,
        "holder": lock.holder,
        "abandoned": lock.abandoned,
        "waited_s": round(now_s - waiter.since_s, 3),
    }


def _step(wait: Wait) -> dict[str, Any]:
    return {"waiter": wait.waiter, "lock": wait.lock.label, "ident": wait.lock.ident, "holder": wait.holder}


def _described(catalogue: Catalogue, owners: Iterable[Owner]) -> Iterator[tuple[str, dict[str, Any]]]:
    for session_id in sorted({owner.session for owner in owners}):
        session = catalogue.sessions.find(session_id)
        if session is not None:
            info = session.info
            yield session_id, {"host": info.host, "pid": info.pid, "name": info.name, "role": info.role}
