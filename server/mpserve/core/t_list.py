"""List: values in order.

Values are stored unopened; `remove`, `index`, `count`, `contains`, `sort`, `cas` and `incr` look into them.
The version counts changes: a program that sorts by its own rule takes a `snapshot` and gives it back by
`replace`, which is refused when somebody else changed the list meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpserve.core.comparing import Number, add, find_places, number_blob, same, sorted_places
from mpserve.core.indexes import check_slice, clamp, place
from mpserve.core.machine import Change, Machine, chunks
from mpserve.core.room import weight
from mpshared.errors import BadIndex, BadValue, TooBig

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpshared.values import Blob

__all__ = ["MAX_REPEATED", "MOST_REPEATED", "List"]

MAX_REPEATED: Final = 1_000_000
"""Items. `list *= n` is the one operation whose result what was sent does not bound; 8 MB of pointers."""
MOST_REPEATED: Final = 1 << 24
"""Items, as many as a call ever made: what a journal says beyond this is damage. It never shrinks, whatever
calls may make today."""

_NO_ITEM = "list index out of range"
_NO_TARGET = "list assignment index out of range"


class List(Machine):
    """A shared list."""

    kind: ClassVar[str] = "list"

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.blobs: list[Blob] = []
        self.version = 0

    def setup(self, fx: Effects, blobs: list[Blob]) -> None:
        """Store the first items."""
        if blobs:
            self.change(fx, "extended", blobs)

    # -- reading ---------------------------------------------------------------------------------

    def get(self, fx: Effects, call: Call, index: int) -> None:
        """Answer one item; raise `BadIndex`. Cost: O(1)."""
        fx.reply(call, None, [self.blobs[self._place(index, _NO_ITEM)]])

    def get_slice(self, fx: Effects, call: Call, part: slice) -> None:
        """Answer the items of a slice. Cost: O(result)."""
        check_slice(self, part, len(self.blobs))
        fx.reply(call, None, self.blobs[part])

    def len(self, fx: Effects, call: Call) -> None:
        """Answer the number of items. Cost: O(1)."""
        fx.reply(call, len(self.blobs))

    def index(self, fx: Effects, call: Call, start: int, stop: int | None) -> None:
        """Answer the first place of a value, in the range given.

        Raises:
            BadValue: It is not there.

        Cost: O(size of the items looked at).
        """
        places = range(*slice(start, stop).indices(len(self.blobs)))
        found = next(find_places(self, self.blobs, call.blobs[0], places), None)
        if found is None:
            raise BadValue(f"the value is not in {self.label}")
        fx.reply(call, found)

    def count(self, fx: Effects, call: Call) -> None:
        """Answer how many items equal a value. Cost: O(size of all items)."""
        fx.reply(call, sum(1 for _ in self._find(call.blobs[0])))

    def contains(self, fx: Effects, call: Call) -> None:
        """Answer whether an item equals a value. Cost: O(size of the items looked at)."""
        fx.reply(call, next(self._find(call.blobs[0]), None) is not None)

    def snapshot(self, fx: Effects, call: Call) -> None:
        """Answer the version and all items. Cost: O(n)."""
        fx.reply(call, self.version, self.blobs.copy())

    # -- one item --------------------------------------------------------------------------------

    def set(self, fx: Effects, call: Call, index: int) -> None:
        """Replace one item; raise `BadIndex`. Cost: O(1)."""
        self.change(fx, "set", self._place(index, _NO_TARGET), call.blobs[0])
        fx.reply(call)

    def delete(self, fx: Effects, call: Call, index: int) -> None:
        """Delete one item; raise `BadIndex`. Cost: O(items behind it)."""
        self.change(fx, "deleted", self._place(index, _NO_TARGET))
        fx.reply(call)

    def append(self, fx: Effects, call: Call) -> None:
        """Add one item at the end. Cost: O(1)."""
        self.change(fx, "extended", [call.blobs[0]])
        fx.reply(call)

    def insert(self, fx: Effects, call: Call, index: int) -> None:
        """Insert before a place; one out of range means the nearer end. Cost: O(items behind it)."""
        self.change(fx, "inserted", clamp(index, len(self.blobs)), call.blobs[0])
        fx.reply(call)

    def pop(self, fx: Effects, call: Call, index: int) -> None:
        """Delete one item and answer it.

        Raises:
            BadIndex: There is no such item.

        Cost: O(items behind it).
        """
        if not self.blobs:
            raise BadIndex(f"pop from empty list: {self.label}; test it first, or catch IndexError")
        where = self._place(index, "pop index out of range")
        blob = self.blobs[where]
        self.change(fx, "deleted", where)
        fx.reply(call, None, [blob])

    def remove(self, fx: Effects, call: Call) -> None:
        """Delete the first item that equals a value.

        Raises:
            BadValue: There is none.

        Cost: O(size of the items looked at).
        """
        where = next(self._find(call.blobs[0]), None)
        if where is None:
            raise BadValue(f"list.remove(x): x not in list: {self.label}")
        self.change(fx, "deleted", where)
        fx.reply(call)

    def cas(self, fx: Effects, call: Call, index: int) -> None:
        """Compare and swap: given old and new, replace the item if it is the old one; answer whether.

        Raises:
            BadIndex: There is no such item.

        Cost: O(size of both values).
        """
        where = self._place(index, _NO_ITEM)
        old, new = call.blobs
        believed = same(self, self.blobs[where], old, f"item {where}")
        if believed:
            self.change(fx, "set", where, new)
        fx.reply(call, believed)

    def incr(self, fx: Effects, call: Call, index: int, by: Number) -> None:
        """Add to the number at a place; answer the sum.

        Raises:
            BadIndex: There is no such item.
            BadType: It is no number.
            Overflow: The sum leaves 64 bits.

        Cost: O(1).
        """
        where = self._place(index, _NO_ITEM)
        total = add(self, self.blobs[where], by)
        self.change(fx, "set", where, number_blob(total))
        fx.reply(call, total)

    # -- many items, each operation one record -------------------------------------------------------

    def extend(self, fx: Effects, call: Call) -> None:
        """Add items at the end. Cost: O(values sent)."""
        if call.blobs:
            self.change(fx, "extended", list(call.blobs))
        fx.reply(call)

    def set_slice(self, fx: Effects, call: Call, part: slice) -> None:
        """Replace a slice by the values sent; with step 1 the length may change.

        Raises:
            BadValue: Step 0, or an extended slice of another size.

        Cost: O(n).
        """
        check_slice(self, part, len(self.blobs), len(call.blobs))
        self.change(fx, "replaced", *_plain(part), list(call.blobs))
        fx.reply(call)

    def delete_slice(self, fx: Effects, call: Call, part: slice) -> None:
        """Delete a slice. Cost: O(n)."""
        check_slice(self, part, len(self.blobs))
        self.change(fx, "cut", *_plain(part))
        fx.reply(call)

    def reverse(self, fx: Effects, call: Call) -> None:
        """Turn the order round. Cost: O(n)."""
        self.change(fx, "reversed")
        fx.reply(call)

    def sort(self, fx: Effects, call: Call, reverse: bool) -> None:
        """Sort items of plain types; equal ones keep their order.

        The record holds the new order, not the wish: a rebuild need not compare, and cannot decide otherwise.

        Raises:
            NotSupported: Some would have to be ordered by users' code.
            BadType: They have no order.
            BadValue: One of them cannot be read.

        Cost: O(n log n), and the size of all items.
        """
        order = sorted_places(self, self.blobs, reverse=reverse)
        self.change(fx, "arranged", order)
        fx.reply(call)

    def clear(self, fx: Effects, call: Call) -> None:
        """Delete all items. Cost: O(n)."""
        self.change(fx, "cut", None, None, None)
        fx.reply(call)

    def repeat(self, fx: Effects, call: Call, n: int) -> None:
        """Repeat the list n times in place; 0 or less empties it.

        Raises:
            TooBig: The result would have more than `MAX_REPEATED` items.

        Cost: O(result).
        """
        self._check_repeated(n, MAX_REPEATED)
        self.change(fx, "repeated", max(n, 0) if self.blobs else 1)
        fx.reply(call)

    def _check_repeated(self, n: int, most: int) -> None:
        length = len(self.blobs) * max(n, 0)
        if n > 1 and length > most:
            raise TooBig(
                f"{self.label} repeated {n} times would have {length} items; one call makes {most} "
                f"at most. Extend it in parts"
            )

    def replace(self, fx: Effects, call: Call, version: int) -> None:
        """Replace all items if nothing changed since the snapshot of that version; answer whether.

        Cost: O(n).
        """
        fresh = version == self.version
        if fresh:
            self.change(fx, "replaced", None, None, None, list(call.blobs))
        fx.reply(call, fresh)

    def growth(self, call: Call, args: list[Any]) -> int:
        """Return what new values need beyond those whose places they take."""
        match call.op.method:
            case "set":
                return weight(call.blobs) - self._weight_at(args[0])
            case "cas":
                return weight(call.blobs[1:]) - self._weight_at(args[0])
            case "set_slice":
                return weight(call.blobs) - weight(self.blobs[args[0]])
            case "replace":
                return weight(call.blobs) - weight(self.blobs)
            case "repeat":
                return weight(self.blobs) * (int(args[0]) - 1)
        return weight(call.blobs)

    def _weight_at(self, index: int) -> int:
        n = len(self.blobs)
        return weight([self.blobs[index]]) if -n <= index < n else 0

    # -- changes ---------------------------------------------------------------------------------

    def on_set(self, fx: Effects, where: int, blob: Blob) -> None:
        """Replace one item."""
        fx.keep((self.blobs[where],), -1)
        self.blobs[where] = blob
        fx.keep((blob,))
        self.version += 1

    def on_deleted(self, fx: Effects, where: int) -> None:
        """Drop one item."""
        fx.keep((self.blobs.pop(where),), -1)
        self.version += 1

    def on_inserted(self, fx: Effects, where: int, blob: Blob) -> None:
        """Store one item."""
        self.blobs.insert(where, blob)
        fx.keep((blob,))
        self.version += 1

    def on_extended(self, fx: Effects, blobs: Sequence[Blob]) -> None:
        """Store items at the end."""
        self.blobs.extend(blobs)
        fx.keep(blobs)
        self.version += 1

    def on_replaced(
        self, fx: Effects, start: int | None, stop: int | None, step: int | None, blobs: Sequence[Blob]
    ) -> None:
        """Replace a slice."""
        part = slice(start, stop, step)
        fx.keep(self.blobs[part], -1)
        self.blobs[part] = blobs
        fx.keep(blobs)
        self.version += 1

    def on_cut(self, fx: Effects, start: int | None, stop: int | None, step: int | None) -> None:
        """Drop a slice."""
        part = slice(start, stop, step)
        fx.keep(self.blobs[part], -1)
        del self.blobs[part]
        self.version += 1

    def on_reversed(self, _fx: Effects) -> None:
        """Turn the order round."""
        self.blobs.reverse()
        self.version += 1

    def on_arranged(self, _fx: Effects, order: Sequence[int]) -> None:
        """Put the items into another order: at each place the one that was at place ``order[…]``."""
        self.blobs = [self.blobs[where] for where in order]
        self.version += 1

    def on_repeated(self, fx: Effects, n: int) -> None:
        """Repeat the items n times (0: drop them)."""
        self._check_repeated(n, MOST_REPEATED)
        fx.keep(self.blobs, n - 1)
        self.blobs *= n
        self.version += 1

    def on_versioned(self, _fx: Effects, version: int) -> None:
        """Note how often it was changed."""
        self.version = version

    def rebuild(self) -> Iterator[Change]:
        """Yield extensions, and the version."""
        for part in chunks(self.blobs):
            yield "extended", (part,)
        yield "versioned", (self.version,)

    # -- looking ---------------------------------------------------------------------------------

    def _place(self, index: int, text: str) -> int:
        return place(self, index, len(self.blobs), text)

    def _find(self, wanted: Blob) -> Iterator[int]:
        return find_places(self, self.blobs, wanted, range(len(self.blobs)))

    def stored(self) -> Iterator[Blob]:
        """Yield every item."""
        return iter(self.blobs)

    def state(self) -> tuple[int, list[Blob]]:
        """Return version and items."""
        return self.version, self.blobs.copy()

    def statistics(self) -> dict[str, Any]:
        """Return the number of items."""
        return {"length": len(self.blobs)}


def _plain(part: slice) -> tuple[int | None, int | None, int | None]:
    return part.start, part.stop, part.step
