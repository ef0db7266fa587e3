"""Changes that get past the framing: the bytes are taken apart, a part is changed, and lengths fit again.

RULES
* Whatever the bytes, a mutator returns bytes: what it cannot take apart is changed plainly.
* Chance comes in as a `Random`: the same chance makes the same change.
* Some changes are plain on purpose: damaged framing has to be seen, too.
"""

from __future__ import annotations

import json
import pickle
import pickletools
import struct
from random import Random
from typing import Any, Final

import msgpack
from tests.fuzz.rule import Mutator, Plain

from mpshared.wire.own import frames

__all__ = [
    "PIECES",
    "cut_own",
    "cut_stock",
    "hellos",
    "join_own",
    "lines",
    "msgpacks",
    "own_frames",
    "pickles",
    "plain_change",
    "stock_frames",
]

_PLAIN_OF_TEN: Final = 2
"""So many of ten changes ignore what the bytes mean."""


def plain_change(data: bytes, chance: Random) -> bytes:
    """Change some bytes: where nothing better than chance is at hand."""
    changed = bytearray(data)
    at, size = chance.randint(0, len(changed)), chance.choice((1, 1, 1, 2, 4, 8, 32))
    match chance.randrange(4):
        case 0:
            changed[at : at + size] = chance.randbytes(size)
        case 1:
            del changed[at : at + size]
        case 2:
            changed[at:at] = changed[at : at + size]
        case _:
            changed[at:at] = chance.choice(_WORDS)
    return bytes(changed)


_WORDS: Final = (b"\0", b"\xff", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80", b"\n", b".", b"a", b"-1")


def _or_plain(change: Mutator) -> Mutator:
    """Return a mutator that is sometimes plain, and where the bytes cannot be taken apart."""

    def mutate(data: bytes, chance: Random, plain: Plain) -> bytes:
        if chance.randrange(10) < _PLAIN_OF_TEN:
            return plain(data)
        try:
            return change(data, chance, plain)
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError, struct.error):
            return plain(data)

    return mutate


def _shuffle(parts: list[Any], chance: Random) -> None:
    """Leave out, double, move or exchange some of the parts, in place."""
    if not parts:
        return
    at, other = chance.randrange(len(parts)), chance.randrange(len(parts))
    size = chance.choice((1, 1, 2, 4))
    match chance.randrange(4):
        case 0:
            del parts[at : at + size]
        case 1:
            parts[other:other] = parts[at : at + size]
        case 2:
            parts[at], parts[other] = parts[other], parts[at]
        case _:
            parts[at:at] = parts[at : at + size] * chance.choice((1, 2, 8))


# -- pickles --------------------------------------------------------------------------------------

# Each is one or a few opcodes that make sense together, so that chance builds what chance bytes never would.
PIECES: Final = (
    *(b"N", b"\x88", b"K\x01", b"K\x02", b"J\xff\xff\xff\xff", b"G?\xf0\x00\x00\x00\x00\x00\x00"),
    *(b"\x8a\x01\x05", b"\x8c\x01a", b"\x8c\x08builtins", b"\x8c\x03set", b"\x8c\x07getattr", b"C\x01b"),
    *(b"X\x01\x00\x00\x00c", b"]", b"}", b"\x8f", b")", b"(", b"t", b"\x85", b"\x86", b"\x87", b"l", b"d"),
    *(b"a", b"e", b"s", b"u", b"\x90", b"\x91", b"b", b"R", b"\x81", b"\x92", b"\x93", b"0", b"1", b"2"),
    *(b"\x94", b"q\x00", b"q\x05", b"h\x00", b"h\x01", b"h\x02", b"j\x01\x00\x00\x00", b"r\x03\x00\x00\x00"),
    *(b"cos\nsystem\n", b"cbuiltins\nset\n", b"cbuiltins\nfrozenset\n", b"cbuiltins\nslice\n", b"cm\nC\n"),
    *(b"cmultiprocessing.managers\nRebuildProxy\n", b"cmpshared.values\nopen_ref\n", b"cpickle\nloads\n"),
    *(b"\x94\x85\x94", b"h\x00h\x00\x86\x94", b"(K\x01K\x02K\x03t\x94", b"\x8f\x94(K\x01\x90"),
    *(b"}\x94K\x01Ns", b"\x80\x02", b"\x80\x04", b"\x95\x00\x00\x00\x00\x00\x00\x00\x00", b"\x97", b"\x98"),
    b"\x96" + bytes(8),
)

_LINES: Final = {"stringnl_noescape_pair": 2}
_PREFIXES: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_ARGUMENTS: Final = {ord(op.code): op.arg for op in pickletools.opcodes}


def _opcodes(data: bytes) -> list[bytes]:
    """Cut a pickle into its opcodes with their arguments; what is none is a piece of one byte."""
    pieces, at = [], 0
    while at < len(data):
        end = at + _opcode_bytes(data, at)
        pieces.append(data[at:end])
        at = end
    return pieces


def _opcode_bytes(data: bytes, at: int) -> int:
    argument = _ARGUMENTS.get(data[at])
    if argument is None:
        return 1
    if argument.n >= 0:
        return 1 + argument.n
    if argument.n == pickletools.UP_TO_NEWLINE:
        end = at
        for _ in range(_LINES.get(argument.name, 1)):
            end = data.find(b"\n", end + 1)
            if end < 0:
                return len(data) - at
        return end + 1 - at
    width = _PREFIXES[argument.n]
    return 1 + width + min(int.from_bytes(data[at + 1 : at + 1 + width], "little"), len(data))


def _change_opcodes(data: bytes, chance: Random, plain: Plain) -> bytes:
    pieces = _opcodes(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randint(0, len(pieces))
        match chance.randrange(6):
            case 0 | 1:
                _shuffle(pieces, chance)
            case 2 | 3:
                pieces.insert(at, chance.choice(PIECES))
            case 4:
                pieces[at : at + 1] = [chance.choice(PIECES)]
            case _:
                pieces[at : at + 1] = [plain(piece) for piece in pieces[at : at + 1]]
    return b"".join(pieces)


pickles: Final = _or_plain(_change_opcodes)

# -- msgpack --------------------------------------------------------------------------------------

_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 31, 127, 128, 255, 1 << 16, 1 << 31, 1 << 32, 1 << 53, 1 << 63),
    *((1 << 64) - 1, -(1 << 63), 0.0, 0.5, -1.0, 1e308, float("inf"), float("-inf"), float("nan")),
    *(
        "",
        "a",
        "x",
        "id1",
        "id2",
        "\0",
        "\ud800",
        "x" * 300,
        b"",
        b"N.",
        pickle.dumps(1),
        pickle.dumps({"a": 1}),
    ),
    *([], [1], [[]], [1, 1], [[1, 1]], [[1, 1, 1]], [0, 2, None], {}, {"a": 1}, {b"b": None}),
    *(msgpack.ExtType(1, pickle.dumps((1, 2))), msgpack.ExtType(1, b""), msgpack.ExtType(5, b"?")),
    msgpack.ExtType(2, msgpack.packb([0, b"N.", [b"buffer"], ["id1"]])),
)
_WORDS_OF_OURS: Final = (
    "queue",
    "dict",
    "list",
    "set",
    "lock",
    "condition",
    "pool",
    "process",
    "pipe",
    "value",
)


def _change_msgpack(data: bytes, chance: Random, plain: Plain) -> bytes:
    value = msgpack.unpackb(data, strict_map_key=False, unicode_errors="surrogatepass")
    changed = _change_value(value, chance, plain)
    packed: bytes = msgpack.packb(changed, unicode_errors="surrogatepass")
    return packed


def _change_value(value: Any, chance: Random, plain: Plain) -> Any:
    """Return the value with one place in it changed; lists and maps are changed in place."""
    if isinstance(value, list) and value and chance.randrange(4):
        at = chance.randrange(len(value))
        value[at] = _change_value(value[at], chance, plain)
        return value
    if isinstance(value, dict) and value and chance.randrange(4):
        key = chance.choice(list(value))
        value[key] = _change_value(value[key], chance, plain)
        return value
    return _other_value(value, chance, plain)


def _other_value(value: Any, chance: Random, plain: Plain) -> Any:
    kind = type(value)
    if kind is list and chance.randrange(2):
        value.insert(chance.randint(0, len(value)), chance.choice(_VALUES))
        _shuffle(value, chance)
        return value
    if kind is dict and chance.randrange(2):
        value[chance.choice((*_WORDS_OF_OURS, "a", b"b"))] = chance.choice(_VALUES)
        return value
    if kind is bytes and chance.randrange(4):
        return pickles(value, chance, plain)
    if kind is msgpack.ExtType and chance.randrange(4):
        change = _change_msgpack if value.code == 2 else pickles
        return msgpack.ExtType(value.code, change(value.data, chance, plain))
    if kind is str and chance.randrange(2):
        return plain(value.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    if kind is int and chance.randrange(2):
        return max(-(1 << 63), min(value + chance.choice((-2, -1, 1, 2, 255)), (1 << 64) - 1))
    return chance.choice(chance.choice((_VALUES, _VALUES, _WORDS_OF_OURS)))


msgpacks: Final = _or_plain(_change_msgpack)

_BEFORE_MAPS: Final = b"#MPSERVE#"


def hellos(data: bytes, chance: Random, plain: Plain) -> bytes:
    """Change a message of a handshake: the map behind its word, if it has one."""
    if data.startswith(_BEFORE_MAPS):
        return _BEFORE_MAPS + msgpacks(data[len(_BEFORE_MAPS) :], chance, plain)
    return plain(data)


# -- frames ---------------------------------------------------------------------------------------

_LENGTH: Final = struct.Struct("!i")
_HEADER: Final = struct.Struct("!IBBHIQQI")


def stock_frames(change: Mutator) -> Mutator:
    """Return a mutator of frames with a length before them, for whose payloads there is another one."""

    def mutate(data: bytes, chance: Random, plain: Plain) -> bytes:
        payloads, rest = cut_stock(data)
        if payloads and chance.randrange(4):
            at = chance.randrange(len(payloads))
            payloads[at] = change(payloads[at], chance, plain)
        elif rest and chance.randrange(2):
            rest = plain(rest)
        else:
            _shuffle(payloads, chance)
        return b"".join(_LENGTH.pack(len(payload)) + payload for payload in payloads) + rest

    return _or_plain(mutate)


def cut_stock(data: bytes) -> tuple[list[bytes], bytes]:
    payloads = []
    while len(data) >= _LENGTH.size:
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        if not _LENGTH.size <= end <= len(data):
            break
        payloads.append(data[_LENGTH.size : end])
        data = data[end:]
    return payloads, data


def _change_own_frames(data: bytes, chance: Random, plain: Plain) -> bytes:
    cut, rest = cut_own(data)
    if not cut:
        return plain(data)
    if chance.randrange(5):
        frame = chance.choice(cut)
        chance.choice((_change_head, _change_head, _change_values, _change_header))(frame, chance, plain)
    else:
        _shuffle(cut, chance)
        cut = [list(frame) for frame in cut]
    if chance.randrange(8):
        _number(cut)
    return b"".join(map(join_own, cut)) + rest


own_frames: Final = _or_plain(_change_own_frames)


def cut_own(data: bytes) -> tuple[list[list[Any]], bytes]:
    """Return the whole frames at the beginning as [kind, flags, op, lane, number, ack, head, payload], and
    what follows them.
    """
    cut = []
    while len(data) >= _HEADER.size:
        size, *fields, head_size = _HEADER.unpack_from(data)
        body, end = _HEADER.size + head_size, _HEADER.size + size
        if not body <= end <= len(data):
            break
        cut.append([*fields, data[_HEADER.size : body], data[body:end]])
        data = data[end:]
    return cut, data


def join_own(frame: list[Any]) -> bytes:
    *fields, head, payload = frame
    joined: bytes = _HEADER.pack(len(head) + len(payload), *fields, len(head)) + head + payload
    return joined


def _number(cut: list[list[Any]]) -> None:
    """Number the calls of each lane one after the other, as they have to be."""
    last: dict[int, int] = {}
    for frame in cut:
        if frame[0] == frames.Type.CALL:
            last[frame[3]] = frame[4] = last.get(frame[3], 0) + 1


_FIELD_MAX: Final = (255, 255, (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1, (1 << 64) - 1)


def _change_header(frame: list[Any], chance: Random, _plain: Plain) -> None:
    at = chance.choice((0, 0, 1, 2, 2, 2, 3, 4, 5))
    most = _FIELD_MAX[at]
    frame[at] = chance.choice(
        (0, 1, 2, most, chance.randint(0, most), frame[at] + 1 & most, chance.randrange(16), frame[at] ^ 3)
    )


def _change_head(frame: list[Any], chance: Random, plain: Plain) -> None:
    frame[6] = msgpacks(frame[6], chance, plain)


def _change_values(frame: list[Any], chance: Random, plain: Plain) -> None:
    """Change one value that a call or a reply carries, and what its head says of it."""
    head = msgpack.unpackb(frame[6], strict_map_key=False)
    sizes = head[-1]
    at = chance.randrange(len(sizes)) if sizes else -1
    if at < 0 or type(sizes[at]) is not int or not all(type(size) is int for size in sizes):
        frame[7] = pickles(frame[7], chance, plain)
        sizes[:] = [len(frame[7])]
    else:
        start = sum(sizes[:at])
        changed = pickles(frame[7][start : start + sizes[at]], chance, plain)
        frame[7] = frame[7][:start] + changed + frame[7][start + sizes[at] :]
        sizes[at] = len(changed)
    frame[6] = msgpack.packb(head)


# -- text -----------------------------------------------------------------------------------------


def _change_lines(data: bytes, chance: Random, plain: Plain) -> bytes:
    """Change a line of text: as JSON, if it is that."""
    parts = data.split(b"\n")
    if not chance.randrange(4):
        _shuffle(parts, chance)
        return b"\n".join(parts)
    at = chance.randrange(len(parts))
    try:
        parts[at] = json.dumps(_change_value(json.loads(parts[at]), chance, plain)).encode()
    except (ValueError, TypeError):
        parts[at] = plain(parts[at])
    return b"\n".join(parts)


lines: Final = _or_plain(_change_lines)
