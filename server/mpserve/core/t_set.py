"""Set: keys without values. Members are compared by what their pickles say; of equal ones the first stays."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.comparing import Key, comparable, key_of, keys_of, stands_for
from mpserve.core.machine import Change, Machine, chunks
from mpserve.core.room import VALUE_BYTES, key_bytes
from mpshared.errors import KeyMissing

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects

__all__ = ["Set"]


class Set(Machine):
    """A shared set."""

    kind: ClassVar[str] = "set"

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.wire_keys: dict[Hashable, Key] = {}
        """Each member as it came, by `key_of` it. A dict, because its order is the same after a rebuild."""

    # -- reading ---------------------------------------------------------------------------------

    def contains(self, fx: Effects, call: Call, key: Key) -> None:
        """Answer whether it is a member. Cost: O(1)."""
        fx.reply(call, key_of(self, key) in self.wire_keys)

    def len(self, fx: Effects, call: Call) -> None:
        """Answer the number of members. Cost: O(1)."""
        fx.reply(call, len(self.wire_keys))

    def members(self, fx: Effects, call: Call) -> None:
        """Answer a list of all members. Cost: O(n)."""
        fx.reply(call, list(self.wire_keys.values()))

    # -- one member ------------------------------------------------------------------------------

    def add(self, fx: Effects, call: Call, key: Key) -> None:
        """Add a member; answer whether it is new. Cost: O(1)."""
        new = key_of(self, key) not in self.wire_keys
        if new:
            self.change(fx, "added", [key])
        fx.reply(call, new)

    def discard(self, fx: Effects, call: Call, key: Key) -> None:
        """Remove a member if it is one. Cost: O(1)."""
        if key_of(self, key) in self.wire_keys:
            self.change(fx, "removed", [key])
        fx.reply(call)

    def remove(self, fx: Effects, call: Call, key: Key) -> None:
        """Remove a member; raise `KeyMissing`. Cost: O(1)."""
        if key_of(self, key) not in self.wire_keys:
            raise KeyMissing(f"{self.label} has no such member; discard() does without it")
        self.change(fx, "removed", [key])
        fx.reply(call)

    def pop(self, fx: Effects, call: Call) -> None:
        """Remove any member and answer [it].

        Raises:
            KeyMissing: The set is empty.

        Cost: O(1) on average.
        """
        if not self.wire_keys:
            raise KeyMissing(f"pop from an empty set: {self.label}; test it first, or catch KeyError")
        key = next(reversed(self.wire_keys.values()))
        self.change(fx, "popped")
        fx.reply(call, [key])

    # -- many members, each operation one record ----------------------------------------------------

    def clear(self, fx: Effects, call: Call) -> None:
        """Remove all members. Cost: O(n)."""
        if self.wire_keys:
            self.change(fx, "cleared")
        fx.reply(call)

    def update(self, fx: Effects, call: Call, keys: list[Key]) -> None:
        """Add many members; all of them or, with one bad key, none. Cost: O(len(keys))."""
        if any(known not in self.wire_keys for known in keys_of(self, keys)):
            self.change(fx, "added", keys)
        fx.reply(call)

    def difference_update(self, fx: Effects, call: Call, keys: list[Key]) -> None:
        """Remove many members; those that are none are no error. Cost: O(len(keys))."""
        if any(known in self.wire_keys for known in keys_of(self, keys)):
            self.change(fx, "removed", keys)
        fx.reply(call)

    def intersection_update(self, fx: Effects, call: Call, keys: list[Key]) -> None:
        """Remove all members but these. Cost: O(n + len(keys))."""
        if self.wire_keys.keys() - set(keys_of(self, keys)):
            self.change(fx, "kept", keys)
        fx.reply(call)

    def symmetric_difference_update(self, fx: Effects, call: Call, keys: list[Key]) -> None:
        """Remove those of `keys` that are members, add the others; a key given twice counts once.

        Cost: O(len(keys)).
        """
        if keys_of(self, keys):
            self.change(fx, "toggled", keys)
        fx.reply(call)

    # -- changes ---------------------------------------------------------------------------------

    def on_added(self, fx: Effects, keys: Sequence[Key]) -> None:
        """Add members."""
        for key in keys:
            known = key_of(self, key)
            if known not in self.wire_keys:
                self.wire_keys[known] = key
                fx.room.held_bytes += _member_bytes(key)

    def on_removed(self, fx: Effects, keys: Sequence[Key]) -> None:
        """Remove members."""
        for known in keys_of(self, keys):
            key = self.wire_keys.pop(known, _NOTHING)
            if key is not _NOTHING:
                fx.room.held_bytes -= _member_bytes(key)

    def on_popped(self, fx: Effects) -> None:
        """Remove the member that was added last."""
        _, key = self.wire_keys.popitem()
        fx.room.held_bytes -= _member_bytes(key)

    def on_cleared(self, fx: Effects) -> None:
        """Remove all members."""
        fx.room.held_bytes -= self.extra_bytes()
        self.wire_keys.clear()

    def on_kept(self, fx: Effects, keys: Sequence[Key]) -> None:
        """Remove all members but these."""
        kept = frozenset(keys_of(self, keys))
        fx.room.held_bytes -= self.extra_bytes()
        self.wire_keys = {known: key for known, key in self.wire_keys.items() if known in kept}
        fx.room.held_bytes += self.extra_bytes()

    def on_toggled(self, fx: Effects, keys: Sequence[Key]) -> None:
        """Remove those that are members, add those that are not."""
        given: dict[Hashable, Key] = {}
        for key in keys:
            given.setdefault(key_of(self, key), key)
        for known, key in given.items():
            old = self.wire_keys.pop(known, _NOTHING)
            if old is _NOTHING:
                self.wire_keys[known] = key
                fx.room.held_bytes += _member_bytes(key)
            else:
                fx.room.held_bytes -= _member_bytes(old)

    def rebuild(self) -> Iterator[Change]:
        """Yield additions."""
        for part in chunks(self.wire_keys.values()):
            yield "added", (part,)

    # -- looking ---------------------------------------------------------------------------------

    def extra_bytes(self) -> int:
        """Return the size of all members."""
        return sum(map(_member_bytes, self.wire_keys.values()))

    def growth(self, call: Call, args: list[Any]) -> int:
        """Return what new members need; those that are here, or leave by the same call, need nothing."""
        keys = args if call.op.method == "add" else args[0]
        new = {known: key for key in keys if (known := key_of(self, key)) not in self.wire_keys}
        return sum(map(_member_bytes, new.values()))

    def state(self) -> list[Key]:
        """Return the members, in order."""
        return [comparable(key) for key in self.wire_keys.values()]

    def statistics(self) -> dict[str, Any]:
        """Return the number of members."""
        return {"length": len(self.wire_keys)}

    def validate(self) -> None:
        """Raise AssertionError unless each member is found under what stands for it."""
        super().validate()
        for known, key in self.wire_keys.items():
            assert stands_for(self, known, key)


def _member_bytes(key: Any) -> int:
    return VALUE_BYTES + key_bytes(key)


_NOTHING: Any = object()  # None is a key like any other
