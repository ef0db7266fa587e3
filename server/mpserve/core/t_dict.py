"""Dict: keys to values, in the order of insertion.

A key is compared by what its pickle says; of equal keys the first is the one given back, as in Python.
Values are stored unopened; only `incr` and `cas` look into them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.comparing import (
    Key,
    Number,
    add,
    comparable,
    key_of,
    keys_of,
    number_blob,
    same,
    stands_for,
)
from mpserve.core.machine import Change, Machine, chunks
from mpserve.core.room import key_bytes, weight
from mpshared.errors import BadValue, KeyMissing
from mpshared.values import PickledKey

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpshared.values import Blob

__all__ = ["Dict"]


class Dict(Machine):
    """A shared dict."""

    kind: ClassVar[str] = "dict"

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.blobs: dict[Hashable, Blob] = {}
        """Values by `key_of` their keys."""
        self.originals: dict[Hashable, PickledKey] = {}
        """The keys that are not scalars, as they came. (A scalar stands for itself.)"""

    # -- reading ---------------------------------------------------------------------------------

    def get(self, fx: Effects, call: Call, key: Key) -> None:
        """Answer the value; raise `KeyMissing`. Cost: O(1)."""
        blob = None if type(key) is PickledKey else self.blobs.get(key)
        fx.reply(call, None, (self._get_blob(key) if blob is None else blob,))

    def contains(self, fx: Effects, call: Call, key: Key) -> None:
        """Answer whether there is such a key. Cost: O(1)."""
        fx.reply(call, key_of(self, key) in self.blobs)

    def len(self, fx: Effects, call: Call) -> None:
        """Answer the number of keys. Cost: O(1)."""
        fx.reply(call, len(self.blobs))

    def keys(self, fx: Effects, call: Call) -> None:
        """Answer a list of all keys. Cost: O(n)."""
        fx.reply(call, self._wire_keys())

    def values(self, fx: Effects, call: Call) -> None:
        """Answer all values. Cost: O(n)."""
        fx.reply(call, None, list(self.blobs.values()))

    def items(self, fx: Effects, call: Call) -> None:
        """Answer a list of all keys, and their values in the same order. Cost: O(n)."""
        fx.reply(call, self._wire_keys(), list(self.blobs.values()))

    # -- writing ---------------------------------------------------------------------------------

    def set(self, fx: Effects, call: Call, key: Key) -> None:
        """Set the value of a key. Cost: O(1)."""
        if type(key) is PickledKey:
            key_of(self, key)  # a key that cannot be one is refused before the change is recorded
        self.change(fx, "set", key, call.blobs[0])
        fx.reply(call)

    def delete(self, fx: Effects, call: Call, key: Key) -> None:
        """Delete a key; raise `KeyMissing`. Cost: O(1)."""
        self._get_blob(key)
        self.change(fx, "deleted", key)
        fx.reply(call)

    def pop(self, fx: Effects, call: Call, key: Key) -> None:
        """Delete a key and answer its value; raise `KeyMissing`. Cost: O(1)."""
        blob = self._get_blob(key)
        self.change(fx, "deleted", key)
        fx.reply(call, None, [blob])

    def popitem(self, fx: Effects, call: Call) -> None:
        """Delete the key that was inserted last; answer [key] and its value.

        Raises:
            KeyMissing: The dict is empty.

        Cost: O(1) on average.
        """
        if not self.blobs:
            raise KeyMissing(f"popitem(): {self.label} is empty; test it first, or catch KeyError")
        known, blob = next(reversed(self.blobs.items()))
        key = self.originals.get(known, known)
        self.change(fx, "popped")
        fx.reply(call, [key], [blob])

    def setdefault(self, fx: Effects, call: Call, key: Key) -> None:
        """Answer the value of a key; a missing one is set to the value given. Cost: O(1)."""
        blob = self.blobs.get(key_of(self, key))
        if blob is None:
            blob = call.blobs[0]
            self.change(fx, "set", key, blob)
        fx.reply(call, None, [blob])

    def update(self, fx: Effects, call: Call, keys: list[Key]) -> None:
        """Set many keys at once, in order; all of them or, with one bad key, none.

        Raises:
            BadValue: Not as many values as keys.

        Cost: O(len(keys)), one record.
        """
        if len(keys) != len(call.blobs):
            raise BadValue(f"update of {self.label} was sent {len(keys)} keys and {len(call.blobs)} values")
        keys_of(self, keys)
        if keys:
            self.change(fx, "updated", keys, list(call.blobs))
        fx.reply(call)

    def clear(self, fx: Effects, call: Call) -> None:
        """Delete everything. Cost: O(n)."""
        if self.blobs:
            self.change(fx, "cleared")
        fx.reply(call)

    def incr(self, fx: Effects, call: Call, key: Key, by: Number) -> None:
        """Add to the number stored under a key, a missing one counting as 0; answer the sum.

        Raises:
            BadType: What is stored is no number.
            Overflow: The sum leaves 64 bits.

        Cost: O(1).
        """
        total = add(self, self.blobs.get(key_of(self, key)), by)
        self.change(fx, "set", key, number_blob(total))
        fx.reply(call, total)

    def cas(self, fx: Effects, call: Call, key: Key, has_old: bool, has_new: bool) -> None:
        """Compare and swap: change the value of a key if it is what the caller believes; answer whether.

        Args:
            fx: Where the answer goes.
            call: Its values: the old one, if `has_old`, then the new one, if `has_new`.
            key: The key.
            has_old: False: the caller believes that there is no such key.
            has_new: False: the key is to be deleted.

        Cost: O(size of both values).
        """
        if len(call.blobs) != has_old + has_new:
            raise BadValue(
                f"cas on {self.label}: {has_old + has_new} values announced, {len(call.blobs)} sent"
            )
        stored = self.blobs.get(key_of(self, key))
        believed = not has_old if stored is None else has_old and same(self, stored, call.blobs[0])
        if believed and has_new:
            self.change(fx, "set", key, call.blobs[-1])
        elif believed and stored is not None:
            self.change(fx, "deleted", key)
        fx.reply(call, believed)

    # -- changes ---------------------------------------------------------------------------------

    def on_set(self, fx: Effects, key: Key, blob: Blob) -> None:
        """Store one value."""
        known = key_of(self, key)
        old = self.blobs.get(known)
        self.blobs[known] = blob
        if type(blob) is bytes and type(old) is bytes:  # as nearly always: `keep`, in fewer steps
            fx.room.held_bytes += len(blob) - len(old)
            return
        fx.keep((blob,))
        if old is not None:
            fx.keep((old,), -1)
            return
        fx.room.held_bytes += key_bytes(key)
        if type(key) is PickledKey:
            self.originals[known] = key

    def on_updated(self, fx: Effects, keys: Sequence[Key], blobs: Sequence[Blob]) -> None:
        """Store many values."""
        for key, blob in zip(keys, blobs, strict=True):
            self.on_set(fx, key, blob)

    def on_deleted(self, fx: Effects, key: Key) -> None:
        """Drop one key."""
        known = key_of(self, key)
        self._forget(fx, known, self.blobs.pop(known))

    def on_popped(self, fx: Effects) -> None:
        """Drop the last key."""
        self._forget(fx, *self.blobs.popitem())

    def _forget(self, fx: Effects, known: Hashable, blob: Blob) -> None:
        fx.keep((blob,), -1)
        fx.room.held_bytes -= key_bytes(self.originals.pop(known, known) if self.originals else known)

    def on_cleared(self, fx: Effects) -> None:
        """Drop all keys."""
        fx.keep(list(self.blobs.values()), -1)
        fx.room.held_bytes -= self.extra_bytes()
        self.blobs.clear()
        self.originals.clear()

    def rebuild(self) -> Iterator[Change]:
        """Yield updates."""
        for part in chunks(zip(self._wire_keys(), self.blobs.values(), strict=True)):
            yield "updated", ([key for key, _ in part], [blob for _, blob in part])

    # -- looking ---------------------------------------------------------------------------------

    def _get_blob(self, key: Key) -> Blob:
        try:
            return self.blobs[key_of(self, key)]
        except KeyError:
            raise KeyMissing(
                f"{self.label} has no such key; get(key, default) and pop(key, default) do without it"
            ) from None

    def _wire_keys(self) -> list[Any]:
        if not self.originals:
            return list(self.blobs)
        return [self.originals.get(known, known) for known in self.blobs]

    def extra_bytes(self) -> int:
        """Return the size of all keys."""
        return sum(map(key_bytes, self._wire_keys()))

    def growth(self, call: Call, args: list[Any]) -> int:
        """Return what new values need beyond those whose places they take."""
        match call.op.method:
            case "set":
                return self._more(args[0], call.blobs[0])
            case "setdefault":
                return 0 if key_of(self, args[0]) in self.blobs else self._more(args[0], call.blobs[0])
            case "cas":
                return self._more(args[0], call.blobs[-1]) if args[2] and call.blobs else 0
        return sum([self._more(key, blob) for key, blob in zip(args[0], call.blobs, strict=False)])

    def _more(self, key: Key, blob: Blob) -> int:
        old = self.blobs.get(key_of(self, key))
        return weight([blob]) + key_bytes(key) if old is None else weight([blob]) - weight([old])

    def stored(self) -> Iterator[Blob]:
        """Yield every value."""
        return iter(self.blobs.values())

    def state(self) -> list[tuple[Any, Blob]]:
        """Return keys and values, in order."""
        return list(zip(map(comparable, self._wire_keys()), self.blobs.values(), strict=True))

    def statistics(self) -> dict[str, Any]:
        """Return the number of keys."""
        return {"length": len(self.blobs)}

    def validate(self) -> None:
        """Raise AssertionError unless each key is found under what stands for it."""
        super().validate()
        assert self.originals.keys() <= self.blobs.keys()
        for known, key in self.originals.items():
            assert stands_for(self, known, key)
