"""Indexes and slices of lists and arrays, checked before anything changes.

Indexes from the wire may be any 64-bit number, some of which Python's own sequences answer with odd errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpshared.errors import BadIndex, BadValue

if TYPE_CHECKING:
    from mpserve.core.machine import Machine

__all__ = ["check_slice", "clamp", "place"]


def place(machine: Machine, index: int, length: int, text: str) -> int:
    """Return `index` as a number from 0; negative ones count from the end.

    Raises:
        BadIndex: There is no such item; `text` is what Python says in this case.
    """
    if -length <= index < length:
        return index if index >= 0 else index + length
    raise BadIndex(f"{text}: {machine.label} has {length} items, no index {index}")


def clamp(index: int, length: int) -> int:
    """Return `index` as a number from 0 to `length`, as `list.insert` does."""
    return max(0, index + length) if index < 0 else min(index, length)


def check_slice(machine: Machine, part: slice, length: int, given: int | None = None) -> None:
    """Refuse a slice with step 0, and an extended slice that `given` items do not fill exactly.

    Raises:
        BadValue: As Python's own ValueError.
    """
    if part.step == 0:
        raise BadValue(f"slice step cannot be zero, in a slice of {machine.label}")
    if given is None or part.step in {None, 1}:
        return
    size = len(range(*part.indices(length)))
    if size != given:
        raise BadValue(
            f"attempt to assign sequence of size {given} to extended slice of size {size}, "
            f"in {machine.label}; only a slice without a step may change the length"
        )
