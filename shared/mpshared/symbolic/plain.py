r"""The fast way in: prove that a pickle is plain and cheap, then let C open it.

A *plain* pickle names nothing: it is made of numbers, text, bytes, tuples, lists, dicts and sets.
``pickle.loads`` can do no harm with it but one, to be slow. So before C sees a pickle, regular expressions (C
as well) read its opcodes from the first to the last and prove that

1. every opcode is on the short list below, every length lies within the message, nothing follows the end;
2. the memo grows by one entry per opcode (protocol 4's MEMOIZE): the older opcodes' index sizes an array, and
   nine bytes can ask for 256 MiB;
3. no dict key or set member costs more to hash than the message's size explains.

What is not proved here is not refused: it goes to `mpshared.symbolic.reading`, which is ten times slower and
judges exactly. So this file may be coarse, and must not be wrong.

On 3. Only tuples are expensive keys here: by nesting, by sharing (``t = (t, t)`` thirty times), by colliding
hashes. (Frozensets keep their hash but can collide, as can numbers over 64 bits: neither is on the list.) A
pickle is plain only if

* it is short, and its few references to the memo can double what is hashed only a few times; or
* it builds no dict and no set, so nothing is hashed; or
* it has few tuples, and from the first of them on refers to nothing in the memo, so none is shared.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final

__all__ = ["LENGTHS", "is_plain", "is_short_plain"]

_SHORT_BYTES: Final = 512
_SHORT_GETS: Final = 8  # 512 nodes doubled 8 times hash in about a millisecond
_FEW_TUPLES: Final = 500  # all colliding: 125,000 comparisons, some 10 ms; and no deeper than C's stack bears
_LISTED: Final = 64  # payloads shorter than this are in the expressions, longer ones are skipped by `_past`

LENGTHS: Final = b"|".join(re.escape(bytes([n])) + b".{%d}" % n for n in range(_LISTED))
_ATOM: Final = rb"[N\x88\x89)(]++|K.|M..|J.{4}|G.{8}|\x8a(?:\x05.{5}|\x06.{6}|\x07.{7}|\x08.{8})|\x95.{8}"
_MADE: Final = rb"(?:[\x8cC](?:" + LENGTHS + rb")|[\]}\x8f])\x94?+"  # str to set; \x94 is MEMOIZE
_FILL: Final = rb"[ae]"  # APPEND, APPENDS
_GET: Final = rb"h.|j.{4}"
_TUPLE: Final = rb"[t\x85-\x87]\x94?+"
_HASH: Final = rb"[su\x90]"  # SETITEM, SETITEMS, ADDITEMS


def _run_of(*opcodes: bytes) -> Callable[[], re.Pattern[bytes]]:
    """Return what gives an expression for any run of `opcodes`, none of which is given back."""
    return cache(lambda: re.compile(b"(?s:" + _run(*opcodes) + b")"))  # it takes milliseconds to make


def _run(*opcodes: bytes) -> bytes:
    return b"(?:" + b"|".join(opcodes) + b")*+"


_OPCODES: Final = (_ATOM, _MADE, _GET, _FILL, _TUPLE, _HASH)
_WHOLE: Final = re.compile(b"(?s:(?:\x80[\x04\x05]){0,2}+" + _run(*_OPCODES) + rb"\.\Z)").match
"""Tells in one step that a whole pickle is such a run without long payloads, as nearly all requests are."""
_ALL: Final = _run_of(*_OPCODES)
_HASHLESS: Final = _run_of(_ATOM, _MADE, _GET, _FILL, _TUPLE)
_TUPLELESS: Final = _run_of(_ATOM, _MADE, _GET, _FILL, _HASH)
_GETLESS_TUPLELESS: Final = _run_of(_ATOM, _MADE, _FILL, _HASH)

# A long payload stands between frames, so a FRAME may come before the MEMOIZE that belongs to it.
_AFTER_LONG: Final = re.compile(rb"(?s:(?:\x95.{8})?+\x94?+)")
# How many bytes the length has, by opcode of str and bytes.
_WIDTHS: Final = {0x8C: 1, 0x43: 1, 0x58: 4, 0x42: 4, 0x8D: 8, 0x8E: 8}
_TUPLE_OPCODES: Final = b"t\x85\x86\x87"
_MEMOIZE: Final = 0x94
_PROTOCOLS: Final = (b"\x80\x04", b"\x80\x05")


def is_plain(data: bytes) -> bool:
    """Tell whether C may open the pickle `data`: it is proved to name nothing, to be whole, and to be cheap.

    False says nothing against the pickle. Cost: one to two times that of opening it with C.
    """
    if not data.endswith(b"."):
        return False
    if _is_short(data):
        return _WHOLE(data) is not None or _is_run_of(_ALL(), data)
    return _is_run_of(_HASHLESS(), data) or _shares_no_tuple(data)


def is_short_plain(data: bytes) -> bool:
    """Tell whether `data` is plain, and so short that all it shares may as well be written out."""
    return data.endswith(b".") and _is_short(data) and (_WHOLE(data) is not None or _is_run_of(_ALL(), data))


def _is_short(data: bytes) -> bool:
    # Counts letters in text as well: this is coarse, and cheap.
    return len(data) <= _SHORT_BYTES and data.count(b"h") + data.count(b"j") <= _SHORT_GETS


def _is_run_of(run: re.Pattern[bytes], data: bytes) -> bool:
    return _past(run, data, _head(data)) == len(data) - 1


def _head(data: bytes) -> int:
    """Return the length of the protocol's opcode, or of two: 4 and 5 are on the list."""
    if not data.startswith(_PROTOCOLS):
        return 0
    return 4 if data.startswith(_PROTOCOLS, 2) else 2


def _shares_no_tuple(data: bytes) -> bool:
    """Tell whether a pickle is plain, has few tuples, and refers to nothing from the first of them on."""
    last = len(data) - 1
    at, getless = _past(_TUPLELESS(), data, _head(data)), _GETLESS_TUPLELESS()
    for _ in range(_FEW_TUPLES):
        if at == last:
            return True
        if data[at] not in _TUPLE_OPCODES:
            return False
        at = _past(getless, data, at + 1 + (data[at + 1] == _MEMOIZE))
    return False


def _past(run: re.Pattern[bytes], data: bytes, at: int) -> int:
    """Return the place of the first opcode from `at` on that is neither in `run` nor a long str or bytes.

    It is that of the last byte at most: a length that goes beyond counts as an opcode that is not in `run`.
    """
    last = len(data) - 1
    while True:
        match = run.match(data, at, last)
        assert match is not None  # a run may be empty
        at = match.end()
        width = _WIDTHS.get(data[at])
        if width is None:
            return at
        start = at + 1 + width
        past = start + int.from_bytes(data[at + 1 : start], "little")
        if past > last:
            return at
        match = _AFTER_LONG.match(data, past, last)
        assert match is not None  # as above
        at = match.end()
