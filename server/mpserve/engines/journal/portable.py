"""Export and import: a journal's state as lines of JSON, for backups, other versions, and other programs.

The format, version 1. The first line tells what the file is; each other line is one entry of a journal
(`codec`), of the shortest journal that makes the state:

    {"mpserve": "export", "format": 1, "server": "…", "epoch": "…"}
    ["record", ident, verb, [argument, …]]
    ["answer", session, lane, number, ack, op, ident, took, result, values, error]
    {"end": number of entries}

What JSON has no word for is an object with one key: {"b": base64} bytes, {"k": base64} a pickled key,
{"v": [tag, bytes, [buffer, …], [ref, …]]} a value, {"d": [[key, value], …]} a map, {"f": "nan"} (or "inf",
"-inf") a number. A file without its last line is incomplete, and refused.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from typing import Any, Final

from mpserve.engines.journal.codec import Answer, Entry, read_answer
from mpshared.values import PickledKey, Value

__all__ = ["FORMAT", "NoExport", "from_lines", "to_lines"]

FORMAT: Final = 1


class NoExport(ValueError):
    """The lines are no export of this version; the text says where they differ."""


def to_lines(server: tuple[str, str], entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the lines of an export, without line ends.

    Args:
        server: Id and epoch.
        entries: What makes the state.
    """
    yield _dump({"mpserve": "export", "format": FORMAT, "server": server[0], "epoch": server[1]})
    count = 0
    for count, entry in enumerate(entries, 1):  # noqa: B007 - the last one counts
        word = "answer" if isinstance(entry, Answer) else "record"
        yield _dump([word, *map(_plain, entry)])
    yield _dump({"end": count})


def from_lines(lines: Iterable[str]) -> tuple[tuple[str, str], Iterator[Entry]]:
    """Return server id and epoch, and the entries, which are read as they are asked for.

    Raises:
        NoExport: They are something else, damaged, or incomplete; also while the entries are read.
    """
    iterator = iter(lines)
    first = _load(next(iterator, ""), 1)
    if not isinstance(first, dict) or first.get("mpserve") != "export":
        raise NoExport("line 1 is not the beginning of an export of mpserve's")
    if first.get("format") != FORMAT:
        raise NoExport(f"it has format {first.get('format')!r:.20}, this version reads {FORMAT}")
    return (str(first.get("server", "")), str(first.get("epoch", ""))), _entries(iterator)


def _entries(lines: Iterator[str]) -> Iterator[Entry]:
    number = 1
    for number, line in enumerate(lines, 2):
        loaded = _load(line, number)
        if isinstance(loaded, dict):
            if loaded.get("end") != number - 2:
                says = f"it should end after {loaded.get('end')!r:.20} entries"
                raise NoExport(f"line {number}: {says}, here are {number - 2}")
            return
        yield _entry(loaded, number)
    raise NoExport(f"it is incomplete: it breaks off after line {number}")


def _entry(loaded: Any, number: int) -> Entry:
    try:
        word, *fields = loaded
        values = [_rich(field) for field in fields]
        if word == "answer":
            return read_answer(values)
        ident, verb, args = values
        if word == "record" and type(ident) is type(verb) is str:
            return ident, verb, tuple(args)
    except (TypeError, ValueError, LookupError, RecursionError) as err:
        raise NoExport(f"line {number} is no entry ({err!s:.100})") from None
    raise NoExport(f"line {number} is no entry")


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _load(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise NoExport(f"line {number} is no JSON") from None


def _plain(value: Any) -> Any:
    """Return what stands for a value in JSON."""
    kind = type(value)
    if kind in {bytes, bytearray, memoryview}:
        return {"b": b64encode(value).decode()}
    if kind is PickledKey:
        return {"k": b64encode(value).decode()}
    if kind is Value:
        return {"v": [value.tag, _plain(value.data), [*map(_plain, value.buffers)], list(value.refs)]}
    if kind is dict:
        return {"d": [[_plain(key), _plain(each)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if kind is float and not math.isfinite(value):
        return {"f": repr(value)}
    return value


def _rich(value: Any) -> Any:
    """Return the value that `_plain` was given."""
    if isinstance(value, list):
        return [_rich(each) for each in value]
    if not isinstance(value, dict):
        return value
    ((mark, inner),) = value.items()
    return _READERS[mark](inner)


def _value(inner: Any) -> Value:
    tag, data, buffers, refs = inner
    return Value(tag, _rich(data), tuple(map(_rich, buffers)), tuple(refs))


_READERS: Final[dict[str, Any]] = {
    "b": lambda inner: b64decode(inner, validate=True),
    "k": lambda inner: PickledKey(b64decode(inner, validate=True)),
    "v": _value,
    "d": lambda inner: {_rich(key): _rich(each) for key, each in inner},
    "f": float,
}
