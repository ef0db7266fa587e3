"""What a row of the journal is: some turns' records and answers, as msgpack.

RULES
* Nothing in a row is a pickle that anybody opens: users' values stay bytes, as everywhere on the server.
* Every sequence comes back as a list, as on the wire; kinds accept any sequence in their changes.
* A row carries its checksum. What does not fit it, or is not what this page says, is `Damaged`, whatever the
  bytes.

      row     [entry, …]
      entry   [RECORD, ident, verb, args]
            | [ANSWER, session, lane, number, ack, op, ident, took, result, values or nil, error or nil]
      error   [code, text, fields]

Where an answer gives away what the record right before it took (an item that was got), its values are not
written twice: `took` is then `GIVEN`, and the values are what carrying out that record returns.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgpack

from mpserve.core.effects import Record
from mpshared.bunch import Bunch
from mpshared.values import Blob, PickledKey, Value

__all__ = [
    "CONTINUES",
    "GIVEN",
    "Answer",
    "Damaged",
    "Entry",
    "Row",
    "decode",
    "encode",
    "encode_sparingly",
    "read_answer",
]

GIVEN: Final = "given"
_RECORD: Final = 0
_ANSWER: Final = 1
_KEY: Final = 1
_VALUE: Final = 2


class Damaged(Exception):
    """A row that cannot be what was written."""


class Answer(NamedTuple):
    """The answer of one call, kept until its client has acknowledged it."""

    session: str
    lane: int
    number: int
    ack: int
    """All answers of the lane up to this number have arrived."""
    op: int
    ident: str
    """The object that was called."""
    took: Any
    """What the call's undo would give back, or `GIVEN`."""
    result: Any
    out: Sequence[Blob] | None
    error: Sequence[Any] | None
    """(code, text, fields)"""


Entry: TypeAlias = Record | Answer
Row: TypeAlias = tuple[bytes, int]
"""Data and checksum; or `CONTINUES` in its place, where the row goes on in the next one."""
CONTINUES: Final = -1
SPARING_BYTES: Final = 256 << 10
"""What a piece has of a row for which there is little memory."""
_BYTES_HEAD: Final = struct.Struct(">BI")
_VALUE_HEAD: Final = struct.Struct(">BIb")


def encode(entries: Iterable[Entry]) -> Row:
    """Return a row. Cost: one pass of msgpack, which asks `_plain` about each tuple."""
    data = _packed([*map(_fields, entries)])
    return data, zlib.crc32(data)


def _fields(entry: Entry) -> list[Any]:
    return [_ANSWER, *entry] if isinstance(entry, Answer) else [_RECORD, entry[0], entry[1], [*entry[2]]]


def _packed(thing: object) -> bytes:
    data: bytes = msgpack.packb(thing, default=_plain, strict_types=True, use_bin_type=True)
    return data


def encode_sparingly(entries: Iterable[Entry]) -> Iterator[Row]:
    """Yield a row in pieces, for which there need not be the memory of another copy of its values."""
    piece, checksum = bytearray(), 0
    for part in _parts([*map(_fields, entries)]):
        for at in range(0, len(part), SPARING_BYTES):
            some = memoryview(part)[at : at + SPARING_BYTES]
            checksum = zlib.crc32(some, checksum)
            piece += some
            if len(piece) >= SPARING_BYTES:
                yield bytes(piece), CONTINUES
                piece = bytearray()
    yield bytes(piece), checksum


def _parts(thing: Any) -> Iterator[bytes]:
    """Yield what `_packed` returns, but for longer heads; values as they are."""
    if isinstance(thing, Value):
        parts = [*_parts(tuple(thing))]
        yield _VALUE_HEAD.pack(0xC9, sum(map(len, parts)), _VALUE)
        yield from parts
    elif isinstance(thing, list | tuple | Bunch):
        yield msgpack.Packer().pack_array_header(len(thing))
        for each in thing:
            yield from _parts(each)
    elif type(thing) in (bytes, bytearray, memoryview):
        yield _BYTES_HEAD.pack(0xC6, len(thing))
        yield thing
    else:
        yield _packed(thing)


def decode(data: bytes, checksum: int) -> list[Entry]:
    """Return the entries of a row.

    Raises:
        Damaged: The checksum is another, or it is no row.
    """
    if zlib.crc32(data) != checksum:
        raise Damaged("its checksum is wrong")
    try:
        rows = msgpack.unpackb(data, ext_hook=_extension, strict_map_key=False, timestamp=2)
        return [_READERS[row[0]](row) for row in rows]
    except (ValueError, TypeError, LookupError, RecursionError, msgpack.exceptions.UnpackException) as err:
        raise Damaged(f"it is no row of a journal ({type(err).__name__}: {err!s:.100})") from None


def _read_record(row: Sequence[Any]) -> Record:
    _, ident, verb, args = row
    if type(ident) is not str or type(verb) is not str or type(args) is not list:
        raise TypeError("no record")
    return ident, verb, tuple(args)


def read_answer(fields: Iterable[Any]) -> Answer:
    """Return the entry of these fields; raise TypeError where they are none's."""
    answer = Answer(*fields)
    if [type(field) for field in answer[:6]] != [str, int, int, int, int, str]:
        raise TypeError("no answer")
    return answer


_READERS: Final[dict[int, Any]] = {_RECORD: _read_record, _ANSWER: lambda row: read_answer(row[1:])}


def _read_value(tag: Any, data: Any, buffers: Any, refs: Any) -> Value:
    if [type(part) for part in (tag, data, buffers, refs)] != [int, bytes, tuple, tuple]:
        raise TypeError("no value")
    if not ({*map(type, buffers)} <= {bytes} and {*map(type, refs)} <= {str}):
        raise TypeError("no value")
    return Value(tag, data, buffers, refs)


def _plain(value: object) -> object:
    """Return what stands for what msgpack does not know."""
    kind = type(value)
    if kind is tuple:
        return list(value)  # type: ignore[call-overload]
    if kind is Value:
        return msgpack.ExtType(_VALUE, msgpack.packb([*map(_listed, value)], use_bin_type=True))  # type: ignore[call-overload]
    if kind is PickledKey:
        return msgpack.ExtType(_KEY, bytes(value))  # type: ignore[call-overload]
    if isinstance(value, tuple | Bunch):
        return list(value)
    raise TypeError(f"{kind.__name__} is no plain data: it cannot be kept")


def _listed(part: Any) -> Any:
    """Return a part of a Value as msgpack takes it; buffers may be views."""
    if isinstance(part, tuple):
        return [bytes(each) if isinstance(each, memoryview | bytearray) else each for each in part]
    return part


def _extension(code: int, data: bytes) -> PickledKey | Value:
    if code == _KEY:
        return PickledKey(data)
    if code == _VALUE:
        return _read_value(*msgpack.unpackb(data, use_list=False, timestamp=2))
    raise ValueError(f"unknown extension {code}")
