"""The values in a frame: what its metas say of the payload, and how they are cut out of it.

      meta: n                               a value of n bytes: a pickle that stands alone
          | [tag, n, [size, …], [ref, …]]   a `Value`: n bytes, then buffers of these sizes; its refs

RULES
* The metas describe the payload to the last byte: that is checked before anything is cut.
* A value is cut out once: no object besides its bytes. Many small ones stay together (`mpshared.bunch`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from reprlib import repr as shown
from typing import Any, Final

from mpshared.bunch import BUNCH_LEAST, SMALL_BYTES, Bunch, cut_run
from mpshared.values import Blob, Pieces, Value
from mpshared.wire.errors import ProtocolError

__all__ = ["bunched", "cut", "describe", "lie", "three"]

_SIZES: Final = {int}
_COMPOUND: Final = frozenset({Value, Pieces})


def describe(blobs: Sequence[Blob | Pieces]) -> tuple[list[Any], Sequence[bytes]]:
    """Return the metas of some values, and their bytes."""
    if type(blobs) is Bunch:
        return blobs.sizes, (blobs.data,)
    if len(blobs) == 1 and type(blobs[0]) is bytes:
        return [len(blobs[0])], blobs  # type: ignore[return-value]
    if _COMPOUND.isdisjoint(map(type, blobs)):
        return [*map(len, blobs)], blobs  # type: ignore[return-value]
    metas: list[Any] = []
    parts: list[bytes] = []
    for blob in blobs:
        if type(blob) is Value:
            metas.append([blob.tag, len(blob.data), [*map(len, blob.buffers)], list(blob.refs)])
            parts += (blob.data, *blob.buffers)
        else:
            metas.append(len(blob))
            parts += blob.parts if type(blob) is Pieces else (blob,)  # type: ignore[arg-type]
    return metas, parts


def cut(buffer: bytes, metas: list[Any], pos: int, end: int, most: int) -> Sequence[Blob]:
    """Return the values that `metas` describe, `most` of them with all buffers; they fill the buffer from
    `pos` to `end` exactly.
    """
    if not metas and pos == end:
        return ()
    if len(metas) == 1 and metas[0] == end - pos and type(metas[0]) is int:  # the common one
        return (buffer[pos:end],)
    bunch = bunched(buffer, metas, pos, end)
    if bunch is not None and len(bunch) <= most:
        return bunch
    kinds = {*map(type, metas)}
    if kinds <= {int}:
        return tuple(_cut_run(buffer, metas, pos, end, most))
    if kinds <= {int, list}:
        return tuple(_cut_values(buffer, metas, pos, end, most))
    raise lie("metas", f"expected sizes and lists, got {shown(metas)}")


def bunched(buffer: bytes, metas: list[Any], pos: int, end: int) -> Bunch | None:
    """Return values together, uncut, if they are many and small, and the metas tell no lie; else None."""
    n = len(metas)
    if n < BUNCH_LEAST or end - pos > SMALL_BYTES * n or {*map(type, metas)} != _SIZES:
        return None
    if sum(metas) != end - pos or min(metas) < 0:
        return None
    return Bunch(buffer[pos:end], metas)


def _check_run(sizes: list[int], payload_bytes: int, most: int) -> None:
    """Raise unless values of these sizes are the payload, and not too many."""
    if len(sizes) > most:
        raise lie("metas", f"{len(sizes)} values and buffers, {most} accepted; send less at once")
    if sum(sizes) != payload_bytes or (sizes and min(sizes) < 0):
        raise lie("metas", f"{len(sizes)} values of {sum(sizes)} bytes in a payload of {payload_bytes}")


def _cut_run(buffer: bytes, sizes: list[int], pos: int, end: int, most: int) -> list[bytes]:
    """Return consecutive slices, which together are the payload: that is checked before anything is cut."""
    _check_run(sizes, end - pos, most)
    return cut_run(buffer, sizes, pos)


def _cut_values(buffer: bytes, metas: list[Any], pos: int, end: int, most: int) -> list[Blob]:
    """Cut all data and buffers as one run, then deal them out."""
    sizes: list[int] = []
    for meta in metas:
        if type(meta) is list:
            _, n, buffers, _ = _checked_meta(meta)
            sizes += (n, *buffers)
        else:
            sizes.append(meta)
    cuts = iter(_cut_run(buffer, sizes, pos, end, most))
    return [next(cuts) if type(meta) is int else _deal(meta, cuts) for meta in metas]


def _deal(meta: list[Any], cuts: Iterable[bytes]) -> Value:
    cuts = iter(cuts)
    data = next(cuts)
    return Value(meta[0], data, tuple([next(cuts) for _ in meta[2]]), tuple(meta[3]))


def _checked_meta(meta: list[Any]) -> list[Any]:
    if [*map(type, meta)] == [int, int, list, list]:
        tag, _, buffers, refs = meta
        if tag >= 0 and {*map(type, buffers)} <= {int} and {*map(type, refs)} <= {str}:
            return meta
    raise lie("metas", f"expected [tag, size, [sizes], [refs]], got {shown(meta)}")


def lie(field: str, text: str) -> ProtocolError:
    """Return the error that names the field of a frame which says what is not so."""
    return ProtocolError(f"frame {field}", f"{text}; the connection is closed")


def three(head: Any, first: type, second: type, third: type) -> tuple[Any, Any, Any]:
    """Return a head's three parts; raise ProtocolError unless they are of these types."""
    if type(head) is list and len(head) == 3:
        one, two, three = head
        if type(one) is first and type(two) is second and type(three) is third:
            return one, two, three
    names = ", ".join(kind.__name__ for kind in (first, second, third))
    raise lie("head", f"expected [{names}], got {shown(head)}")
