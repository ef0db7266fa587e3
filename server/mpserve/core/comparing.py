"""Looking into stored values, where an operation must: keys, equality, order, counters.

RULES
* Pickles are compared by what they say (`mpshared.symbolic`), never byte by byte and never by users' code.
* Whatever is wrong with a pickle comes out as an `MpserveError` that names the object; nothing else escapes.
* All of it happens before the first change, so an operation that fails here leaves its object as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mpshared import symbolic
from mpshared.errors import BadType, BadValue, NotSupported, Overflow
from mpshared.values import PickledKey, data_of, size_bytes

if TYPE_CHECKING:
    from mpserve.core.machine import Machine
    from mpshared.values import Blob

__all__ = [
    "Key",
    "Number",
    "add",
    "comparable",
    "find_places",
    "key_of",
    "keys_of",
    "number_blob",
    "same",
    "sorted_places",
    "stands_for",
]

Key: TypeAlias = str | int | bytes | float | bool | None
"""A key as it travels: a scalar itself, or a `PickledKey`."""
Number: TypeAlias = int | float

_LEAST, _MOST = -(2**63), 2**64 - 1  # what msgpack can carry


def key_of(machine: Machine, key: Key) -> Hashable:
    """Return what stands for `key` in a Python dict: equal for equal keys.

    Raises:
        BadType: The key is of a type that can change, such as list.
        BadValue: Its pickle is damaged, or beyond what the server opens.

    Cost: O(1) for a scalar, O(size of the pickle) otherwise.
    """
    if type(key) is not PickledKey:
        return key
    try:
        return symbolic.key(symbolic.load(key))
    except TypeError as err:
        raise BadType(
            f"{err}, which {machine.label} cannot have as a key; a tuple or a string can be one"
        ) from None
    except ValueError as err:
        raise BadValue(f"a key given to {machine.label} cannot be read: {err}") from None


def keys_of(machine: Machine, keys: Iterable[Key]) -> list[Hashable]:
    """Return `key_of` for each key; one bad key refuses them all."""
    return [key_of(machine, key) for key in keys]


def stands_for(machine: Machine, known: Hashable, key: Key) -> bool:
    """Say whether `known` is what `key_of` gives for `key`; what holds a NaN equals nothing, and passes."""
    found = key_of(machine, key)
    return known == found or found != key_of(machine, key)


def comparable(key: Key) -> Key:
    """Return `key`, or text for a NaN, which would make two equal states unequal."""
    return key if key == key else repr(key)  # noqa: PLR0124 - NaN


def same(machine: Machine, one: Blob, other: Blob, what: str = "a value") -> bool:
    """Say whether two values are equal; `what` names `one` in an error.

    Raises:
        BadValue: One of the pickles is damaged, or beyond what the server opens.

    Cost: O(size of both), nothing to speak of for the same bytes.
    """
    return _said(machine, _matcher(other), one, what)


def find_places(machine: Machine, items: Sequence[Blob], wanted: Blob, places: range) -> Iterator[int]:
    """Yield, in the order given, the places whose item equals `wanted`.

    Raises:
        BadValue: As `same`; the text says at which index.

    Cost: O(size of the items looked at); `wanted` is opened once.
    """
    matches = _matcher(wanted)
    for place in places:
        if _said(machine, matches, items[place], f"item {place}"):
            yield place


def sorted_places(machine: Machine, items: Sequence[Blob], *, reverse: bool) -> list[int]:
    """Return the places of `items` in ascending (or descending) order; equal ones keep their order.

    Raises:
        NotSupported: Ordering them would need the users' own ``__lt__``.
        BadType: Plain types that have no order, such as str and int.
        BadValue: A pickle is damaged, or beyond what the server opens.

    Cost: O(n log n), and the size of all items.
    """
    try:
        keys: list[Any] = [symbolic.plain_order(_load(item)) for item in items]
        return sorted(range(len(items)), key=keys.__getitem__, reverse=reverse)
    except symbolic.ForeignOrder as err:
        raise NotSupported(
            f"{machine.label} cannot be sorted by the server: {err}. The sort() of mpclient does that for you"
        ) from None
    except TypeError as err:
        raise BadType(f"{machine.label} cannot be sorted: {err}") from None
    except ValueError as err:
        raise BadValue(f"{machine.label} cannot be sorted, an item cannot be read: {err}") from None


def add(machine: Machine, old: Blob | None, by: Number) -> Number:
    """Return the number in `old` plus `by`; nothing counts as 0.

    Raises:
        BadType: `old` is no number.
        BadValue: Its pickle is damaged.
        Overflow: The sum is an integer that no answer can carry, or too large for a float.
    """
    try:
        total = by if old is None else symbolic.load_number(data_of(old)) + by
    except OverflowError as err:
        raise Overflow(f"incr on {machine.label}: {err}") from None
    except TypeError as err:
        raise BadType(f"incr on {machine.label}: {err}") from None
    except ValueError as err:
        raise BadValue(f"incr on {machine.label}, whose value cannot be read: {err}") from None
    if type(total) is int and not _LEAST <= total <= _MOST:
        raise Overflow(f"incr on {machine.label} leaves 64 bits; count beyond them with get() and cas()")
    return total


def number_blob(number: Number) -> Blob:
    """Return a number as a stored value."""
    return symbolic.dump(number, face=symbolic.OWN)


def _matcher(wanted: Blob) -> Callable[[Blob], bool]:
    """Return a function that tells whether a value equals `wanted`, with or without buffers beside it."""
    by_bytes = symbolic.matcher(data_of(wanted))

    def matches(other: Blob) -> bool:
        if not _buffers(wanted) and not _buffers(other):
            return by_bytes(data_of(other))
        steps = symbolic.DEFAULT.steps_per_byte * (size_bytes(wanted) + size_bytes(other))
        return symbolic.equal(_load(wanted), _load(other), steps=steps)

    return matches


def _said(machine: Machine, matches: Callable[[Blob], bool], blob: Blob, what: str) -> bool:
    try:
        return matches(blob)
    except (TypeError, ValueError) as err:  # TypeError: a mapping of a user's class with keys that are none
        raise BadValue(f"{what} of {machine.label} cannot be compared: {err}") from None


def _load(blob: Blob) -> object:
    return symbolic.load(data_of(blob), buffers=_buffers(blob))


def _buffers(blob: Blob) -> tuple[bytes, ...]:
    return () if isinstance(blob, bytes) else blob.buffers
