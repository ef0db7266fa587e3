"""A bunch: many small values that came together, one after another in one piece of bytes.

RULES
* It is a sequence of plain values (`bytes`), and never changes. Whoever treats it as any other sequence of
  values is right, if slow: each is cut out when somebody looks at it.
* Parts of it are bunches, and hold no more than their own bytes.
* What is the same for all (they are plain; they weigh so much together) costs one look, not one for each: so
  jobs that travel together are taken apart by nobody before the worker who runs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, overload

from mpshared.values import size_bytes

if TYPE_CHECKING:
    from mpshared.values import Blob

__all__ = ["BUNCH_LEAST", "Bunch", "cut_run", "joined", "message_bytes", "odd_ones", "total_bytes"]

BUNCH_LEAST: Final = 16
"""Fewer values than that are no bunch: to make one, and look into it, would cost more than they do."""
SMALL_BYTES: Final = 512
"""Nor are values that are larger than this on average: they would be copied with every part."""


class Bunch(Sequence[bytes]):
    """See the file's beginning.

    Args:
        data: All values, without anything between them.
        sizes: How long each is; together as long as `data`. It belongs to the bunch from now on.
    """

    __slots__ = ("data", "sizes")

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data = data
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.cut())

    def __reversed__(self) -> Iterator[bytes]:
        return reversed(self.cut())

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Return where `value` is for the first time; raise ValueError where it is not."""
        return self.cut().index(value, start, len(self) if stop is None else stop)

    def cut(self) -> list[bytes]:
        """Return the values. Whoever looks at many begins with this: to find a single one takes a sum."""
        return cut_run(self.data, self.sizes)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Bunch: ...
    def __getitem__(self, at: int | slice) -> bytes | Bunch:
        sizes = self.sizes
        if isinstance(at, int):
            at = range(len(sizes))[at]
            start = sum(sizes[:at])
            return self.data[start : start + sizes[at]]
        first, stop, step = at.indices(len(sizes))
        if step != 1:
            values = self.cut()[at]
            return Bunch(b"".join(values), [*map(len, values)])
        part = sizes[first:stop]
        start = sum(sizes[:first])
        return Bunch(self.data[start : start + sum(part)], part)

    def find(self, value: bytes, n: int) -> int:
        """Return where `value` is for the first time among the first `n`, or -1."""
        part = self[:n] if n < len(self) else self
        if len(value) not in part.sizes:  # nearly always: no value is cut out
            return -1
        values = part.cut()
        return values.index(value) if value in values else -1

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Bunch):
            return self.data == other.data and self.sizes == other.sizes
        if isinstance(other, list | tuple):
            return self.cut() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a list: it is compared by what is in it

    def __repr__(self) -> str:
        return f"Bunch({self.cut()!r})"


def cut_run(data: bytes, sizes: Iterable[int], pos: int = 0) -> list[bytes]:
    """Return values of these sizes, which follow each other from `pos` on."""
    values = []
    for size in sizes:
        values.append(data[pos : (pos := pos + size)])  # noqa: PERF401 - faster: no cell for `pos`
    return values


def odd_ones(blobs: Sequence[Blob]) -> list[Blob]:
    """Return those among values that are more than plain bytes."""
    return [] if type(blobs) is Bunch else [blob for blob in blobs if type(blob) is not bytes]


def total_bytes(blobs: Sequence[Any]) -> int:
    """Return how many bytes values that are plain have together."""
    return len(blobs.data) if type(blobs) is Bunch else sum(map(len, blobs))


def message_bytes(blobs: Sequence[Blob]) -> int:
    """Return how much of a message values take, without its envelope."""
    return len(blobs.data) if type(blobs) is Bunch else sum(map(size_bytes, blobs))


def joined(parts: Sequence[Sequence[Blob]]) -> Sequence[Blob]:
    """Return the values of all parts; of bunches one that is as long."""
    if len(parts) == 1:
        return parts[0]
    if {*map(type, parts)} == {Bunch}:
        bunches: Iterable[Any] = parts
        data = b"".join([bunch.data for bunch in bunches])
        return Bunch(data, list(chain.from_iterable([bunch.sizes for bunch in bunches])))
    return list(chain.from_iterable(parts))
