"""Locks as an operator names them: by a name, or by the ident that `mpserve status` shows for one without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mpserve.core.mutex import Mutex
from mpserve.core.t_condition import Condition
from mpshared.errors import BadValue, Conflict, NoSuchObject

if TYPE_CHECKING:
    from mpserve.core.machine import Machine

__all__ = ["get_lock", "lock_of"]

_KINDS: Final = ("lock", "rlock", "condition")


def lock_of(machine: Machine | None) -> Mutex | None:
    """Return a lock itself, the lock of a condition, None for anything else."""
    if isinstance(machine, Condition):
        return machine.lock
    return machine if isinstance(machine, Mutex) else None


def get_lock(
    objects: Mapping[str, Machine], names: Mapping[tuple[str, str], str], name: str, kind: str | None
) -> Mutex:
    """Return the lock that `name` stands for.

    Args:
        objects: All objects, by ident.
        names: Their idents, by kind and name.
        name: A name or an ident.
        kind: lock, rlock or condition, where several have the name; None: any of them.

    Raises:
        NoSuchObject: There is none.
        Conflict: There are several.
        BadValue: No lock is of that kind.
    """
    if kind not in {None, *_KINDS}:
        raise BadValue(
            f"a {kind!s:.80} is no lock; what is held is a {', '.join(_KINDS[:-1])} or {_KINDS[-1]}"
        )
    idents = [names[key] for key in ((each, name) for each in _KINDS if kind in {None, each}) if key in names]
    found = [lock for lock in map(lock_of, map(objects.get, idents or [name])) if lock is not None]
    if not found:
        raise NoSuchObject(
            f"there is no {kind or 'lock'} {name!r:.200}; `mpserve status` lists what there is"
        )
    if len(set(found)) > 1:
        kinds = ", ".join(objects[ident].kind for ident in idents)
        raise Conflict(f"several locks are named {name!r}: {kinds}; say which kind")
    return found[0]
