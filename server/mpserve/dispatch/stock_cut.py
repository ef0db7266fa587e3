r"""The short way for what is stored: a value is cut out of its request as it is, whatever it names.

    PROTO FRAME ( ident "put" | the value | TUPLE1 {} TUPLE .        a request as every pickler writes it
                        PROTO | the value | .                        what is stored

To read a function and its arguments symbolically, and to write them again, takes thirty times as long.

RULES
* A value is cut only where it is proved to be sound: every opcode is on a short list, every length lies
  within it, and the reply with which a client will get it opens as one (by C, with something inert for
  whatever is named). What is not proved takes the long way, which judges exactly.
* That it opens by itself is not proved: opcodes that no pickler writes may use what stands beneath them in
  the reply. It is then as what any client may store: who gets it cannot open it, and is told so.
* Nothing is imported or called: `_Inert` stands for all names. What may be a shared object, or hide one,
  takes the long way.
* The proof is cheap whatever the bytes: no memo index makes room, only short values are hashed or refer much,
  and few objects are made by calls. The contents of long bytes are not looked at.
* References within the value count what the request remembered before it: two texts, in whose place is
  nothing. A value that refers to one of these takes the long way.
* A frame is a hint for readers of files, and is left out.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
from typing import Any, Final, Self

from mpserve.dispatch.stock_forms import PAIR, PAIR_ENDS, RETURN
from mpshared.symbolic.plain import LENGTHS
from mpshared.values import NONE

__all__ = ["HEAD_AT", "cut_value", "names_in", "value_at"]

HEAD_AT: Final = 11
"""Where what names object and method begins, behind PROTO and FRAME."""
_TAIL: Final = b"\x85\x94}\x94t\x94."
_BEGINS: Final = (b"\x80\x04\x95", b"\x80\x05\x95")

_SHORT_BYTES: Final = 512
_SHORT_GETS: Final = 8  # as in `symbolic.plain`
_LONG_CALLS: Final = 64
"""Each may be given the same long arguments again."""
_PROVED_BYTES: Final = 8 << 10
"""Opcodes of so many bytes take C some tenths of a millisecond."""

_ONE: Final = rb"N\x88\x89()\]}\x8fae\x94t\x85-\x87\x93R\x81b"
"""Opcodes without operands: constants, empty containers, APPEND(S), MEMOIZE, tuples, STACK_GLOBAL, REDUCE,
NEWOBJ, BUILD."""
_HASH: Final = rb"su\x90"  # SETITEM, SETITEMS, ADDITEMS
_WITH: Final = (
    rb"[\x8cC](?:"
    + LENGTHS
    + rb")|K.|h[^\x00\x01]|M..|J.{4}|j(?!.\x00{3}).{4}|G.{8}|\x8a(?:\x05.{5}|\x06.{6}|\x07.{7}|\x08.{8})"
)
_SHORT: Final = re.compile(b"(?s:(?:[" + _ONE + _HASH + b"]++|" + _WITH + b")*+)").fullmatch
_LONG: Final = re.compile(b"(?s:(?:[" + _ONE + b"]++|" + _WITH + b")*+)").match
_NUMBER: Final = re.compile(rb"(?s:[\x88\x89]|K.|M..|J.{4})").fullmatch

_WIDTHS: Final = {0x8C: 1, 0x43: 1, 0x58: 4, 0x42: 4, 0x8D: 8, 0x8E: 8}
"""How many bytes the length has, by opcode of str and bytes."""
_BYTES: Final = b"CB\x8e"
_FRAME: Final = 0x95

_PROTO: Final = b"\x80\x04"
_REMEMBERED: Final = b"N\x94\x940"
"""None, remembered twice, and dropped: what the value refers to has the same numbers as in the request."""
_SHARED: Final = frozenset({"multiprocessing.managers", "mpshared.values", "pickle", "_pickle"})
"""Where the calls are from that mean shared objects (`symbolic.calls`), or may hide one."""


class _Inert:
    """Stands for everything that a pickle names, and for what is made by calling that."""

    __slots__ = ()

    def __new__(cls, *_args: object) -> Self:
        return object.__new__(cls)

    def __setstate__(self, _state: object) -> None:
        """Take any state."""


class _Inspector(pickle.Unpickler):
    """Opens a pickle without what it names."""

    def find_class(self, module: str, _name: str) -> Any:
        """Return what is inert; raise for what may be shared."""
        if module in _SHARED:
            raise pickle.UnpicklingError(module)
        return _Inert


def value_at(request: bytes) -> int:
    """Return where the value begins in a request that brings one and nothing else; 0: it is another."""
    if not (request.startswith(_BEGINS) and request.endswith(_TAIL)):
        return 0
    try:
        method_at = 15 + request[13]
        at = method_at + 3 + request[method_at + 1]
        return at if request[at - 1] == request[method_at - 1] == 0x94 else 0
    except IndexError:
        return 0


def names_in(head: bytes) -> tuple[str, str] | None:
    """Return ident and method from what stands before the value; None: it is of another form."""
    ident_ends = 3 + head[2]
    form = head[:2], head[ident_ends : ident_ends + 2], head[-1:]
    if form != (b"(\x8c", b"\x94\x8c", b"\x94"):
        return None
    return head[3:ident_ends].decode("ascii", "replace"), head[ident_ends + 3 : -1].decode("ascii", "replace")


def cut_value(request: bytes, start: int) -> bytes | None:
    """Return the value that begins at `start`, as a pickle of its own; None: it is not proved.

    Cost: 3 µs for a small one; one copy.
    """
    end = len(request) - len(_TAIL)
    own = request[start:end] if end - start <= _SHORT_BYTES else b""
    if _NUMBER(own):
        return b"".join((_PROTO, own, b"."))
    if own == b"N":
        return NONE
    if own and own.count(b"h") + own.count(b"j") <= _SHORT_GETS and _SHORT(own):
        return _sound(own, [own])
    return _cut_long(request, start, end)


def _cut_long(request: bytes, start: int, end: int) -> bytes | None:
    """As `cut_value`: look neither at what long bytes contain, nor at frames."""
    view = memoryview(request)
    own: list[bytes | memoryview] = []
    shape: list[bytes | memoryview] = []
    size = 0
    while size <= _PROVED_BYTES:
        match = _LONG(request, start, min(end, start + _PROVED_BYTES))
        assert match is not None  # a run may be empty
        at = match.end()
        own.append(view[start:at])
        shape.append(own[-1])
        size += at - start
        if at == end:
            opcodes = b"".join(shape)
            calls = opcodes.count(b"R") + opcodes.count(b"\x81")
            return _sound(opcodes, own) if calls <= _LONG_CALLS else None
        start = _past(request, at)
        if start > end:
            return None
        if request[at] != _FRAME:
            own.append(view[at:start])
            shape.append(b"C\0" if request[at] in _BYTES else own[-1])
            size += len(shape[-1])
        size += 2
    return None


def _past(request: bytes, at: int) -> int:
    """Return the place behind a frame's head, or a long text or bytes; of anything else, one behind all."""
    opcode = request[at]
    if opcode == _FRAME:
        return at + 9
    if (width := _WIDTHS.get(opcode)) is None:
        return len(request) + 1
    start = at + 1 + width
    return start + int.from_bytes(request[at + 1 : start], "little")


def _sound(opcodes: bytes, own: list[bytes | memoryview]) -> bytes | None:
    """Return the value that is made of `own` if the reply with it opens; `opcodes` are those that count."""
    ahead = _REMEMBERED if b"h" in opcodes or b"j" in opcodes else b""
    reply = b"".join((PAIR[2:], ahead, opcodes, PAIR_ENDS))
    try:
        pair = _Inspector(io.BytesIO(_PROTO + b"\x95" + struct.pack("<Q", len(reply)) + reply)).load()
    except Exception:  # noqa: BLE001 - whatever it is, the long way finds it again and says so
        return None
    return b"".join((_PROTO, ahead, *own, b".")) if pair[0] == RETURN else None
