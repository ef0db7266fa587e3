"""Our own envelope: what travels once both sides have proved themselves.

RULES
* A frame is a header of 32 bytes, a head (one msgpack value, see `pack.py`) and a payload (the values,
  unopened).
* The limit is checked when the header is here, before anything is allocated for the frame.
* The head's `metas` must describe the payload to the last byte. Every lie raises a `ProtocolError` that
  names the field, and the decoder is of no more use: nobody knows what else is wrong.
* Values are cut out once and never copied again (`metas.py`).

      offset   0          4      5       6     8      12       20       28          32
               size:u32   type   flags   op    lane   number   ack      head_size   head …   payload …
                          u8     u8=0    u16   u32    u64      u64      u32

size counts what follows the header: head and payload. number and ack have 64 bits: 32 are used up within two
days by a lane that does 25,000 calls a second, and a number must never come back.

      type          from     head                      payload
      CALL          client   [target, args, metas]     values    op from `mpshared.ops`; ack as in ACK
      REPLY         server   [result, metas]           values    ack: output to be printed first
      ERROR         server   [code, text, fields]                ack: the same
      ABANDON       client   nil                                 undo call `number`, or drop its answer
      ACK           client   nil                                 all answers up to `ack` have arrived
                    server   nil                                 all OUTPUT frames up to `ack` have arrived
      ATTACH        client   map                                 a session to go on with, or a new one
      ATTACHED      server   map                                 limits, server id, epoch, session
      HEARTBEAT     both     list
      LANE_CLOSED   client   nil                                 the lane's thread or task has ended
      GOODBYE       client   str                                 the session is to end
                    server   str                                 "bye": that it has; "restarting", "gone"
      OUTPUT        client   [session id, entries]               printed for that program; `number`ed in order
                    server   [last, entries]                     to print; `last` is the last entry's number
                    client   [last, []]                          printed up to entry `last`

      meta: n                               a value of n bytes: a pickle that stands alone
          | [tag, n, [size, …], [ref, …]]   a `Value`: n bytes, then buffers of these sizes; its refs
      entry: [1 | 2, bytes]                 for standard output or error: whole lines, or a piece of one;
          | [1 | 2, nothing]                from the server: a line end, if an unfinished line stands there
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from reprlib import repr as shown
from typing import Any, Final, NamedTuple, TypeAlias

from mpshared.values import VALUES_MOST, Blob
from mpshared.wire.assembler import LARGE_BYTES, Assembler, Record
from mpshared.wire.errors import MessageTooLarge, ProtocolError
from mpshared.wire.own.bodies import is_output
from mpshared.wire.own.metas import bunched, cut, describe, lie, three
from mpshared.wire.own.pack import (
    LIARS_HARMLESS_BYTES,
    MAX_DEPTH,
    TIMESTAMP,
    UNREADABLE,
    check_bounded,
    may_nest,
    open_extension,
    pack,
    unpack,
    unpack_small,
    unpackb,
)

__all__ = [
    "HEADER",
    "HEADER_BYTES",
    "HEAD_MOST_BYTES",
    "SEPARATE_BYTES",
    "SIZE_MAX_BYTES",
    "Call",
    "CallFields",
    "Control",
    "Event",
    "Failed",
    "FrameDecoder",
    "Reply",
    "Type",
    "encode_call",
    "encode_control",
    "encode_error",
    "encode_reply",
    "open_call",
]


class Type(IntEnum):
    """What a frame is. The numbers are the protocol's."""

    CALL = 1
    REPLY = 2
    ERROR = 3
    ABANDON = 4
    ACK = 5
    ATTACH = 6
    ATTACHED = 7
    HEARTBEAT = 8
    LANE_CLOSED = 10
    GOODBYE = 11
    OUTPUT = 12


class Call(NamedTuple):
    """A request: operation `op` on the object `target` ("" for the cluster)."""

    op: int
    lane: int
    number: int
    ack: int
    target: str
    args: list[Any]
    blobs: Sequence[Blob]


class Reply(NamedTuple):
    """The answer to a call."""

    lane: int
    number: int
    result: Any
    blobs: Sequence[Blob]
    ack: int = 0


class Failed(NamedTuple):
    """The error that a call ended with; `mpshared.errors.make` turns it into an exception."""

    lane: int
    number: int
    code: str
    text: str
    fields: dict[str, Any]
    ack: int = 0


class Control(NamedTuple):
    """Any other frame. What `body` is stands in the table above, and has been checked."""

    type: Type
    lane: int
    number: int
    ack: int
    body: Any


Event: TypeAlias = Call | Reply | Failed | Control
CallFields: TypeAlias = tuple[int, int, int, int, str, list[Any], Sequence[Blob]]
"""Those of a `Call`, in its order."""

HEADER: Final = struct.Struct("!IBBHIQQI")
_REPLY_HEADER: Final = struct.Struct("!IB3xIQQI")  # the same, without what a reply does not have
_SIZES: Final = struct.Struct("!I24xI")
HEADER_BYTES: Final = HEADER.size
SIZE_MAX_BYTES: Final = 0xFFFFFFFF
"""The most that head and payload of one frame may have together: 4 GiB, by its header."""
HEAD_MOST_BYTES: Final = 10 << 20
"""The most that a server takes for a head: enough for `NUMBERS_MOST` numbers. To open one of 10 MiB takes 0.1
to 0.2 s, and 180 MB, at worst."""
SEPARATE_BYTES: Final = 1 << 15
"""A value of this size and more is a piece of its own; below, copying it costs less than another piece to
write."""

_CALL, _REPLY, _ERROR = int(Type.CALL), int(Type.REPLY), int(Type.ERROR)  # plain ints compare faster
_BODIES: Final[dict[int, tuple[Type, type]]] = {
    Type.ABANDON: (Type.ABANDON, type(None)),
    Type.ACK: (Type.ACK, type(None)),
    Type.ATTACH: (Type.ATTACH, dict),
    Type.ATTACHED: (Type.ATTACHED, dict),
    Type.HEARTBEAT: (Type.HEARTBEAT, list),
    Type.LANE_CLOSED: (Type.LANE_CLOSED, type(None)),
    Type.GOODBYE: (Type.GOODBYE, str),
    Type.OUTPUT: (Type.OUTPUT, list),
}
_NIL: Final = pack(None)
_SHORT_BYTES: Final = 1 << 15
_SHORT_MOST: Final = HEADER_BYTES + _SHORT_BYTES
_BARE: Final = {result: pack([result, []]) for result in (None, True, False)}
_ONE: Final = tuple([pack([None, [size]]) for size in range(1024)])
_ONES: Final = len(_ONE)
"""Heads of the commonest replies: no value, and one value of less than so many bytes."""
_KNOWN: Final[dict[bytes, tuple[Any, int]]] = {
    **{head: (result, 0) for result, head in _BARE.items()},
    **{head: (None, size) for size, head in enumerate(_ONE) if size},
}
"""What these heads say: the result, and how many bytes of one value follow."""
_CONTAINERS: Final = frozenset({list, dict})
_NONE: Final[list[Any]] = []
_NOT_THREE: Final = (*UNREADABLE, TypeError)
"""What comes of taking apart what is not msgpack, or not a list of three."""
_new = tuple.__new__  # a NamedTuple's own constructor costs twice as much


# -- encoding -------------------------------------------------------------------------------------


def encode_call(
    op: int, lane: int, number: int, ack: int, target: str, args: Sequence[Any], blobs: Sequence[Blob]
) -> list[bytes]:
    """Return a CALL as pieces to be written in order.

    Raises:
        CannotSend: An argument is not plain data, or the whole is over 4 GiB (`MessageTooLarge`).

    Cost: about 1.5 µs with one small value, which is one piece; values of 32 KiB and more are not copied.
    """
    if not blobs:
        head = pack([target, args, _NONE])
        if len(head) < SEPARATE_BYTES:
            return [HEADER.pack(len(head), _CALL, 0, op, lane, number, ack, len(head)) + head]
    blob = blobs[0] if len(blobs) == 1 else None
    if type(blob) is bytes and len(blob) < SEPARATE_BYTES:  # nearly all
        head = pack([target, args, [len(blob)]])
        if len(head) < SEPARATE_BYTES:
            size = len(head) + len(blob)
            return [HEADER.pack(size, _CALL, 0, op, lane, number, ack, len(head)) + head + blob]
    metas, parts = describe(blobs)
    head = pack([target, args, metas])
    if len(head) > LIARS_HARMLESS_BYTES:
        _check_accepted(head, len(parts))
    return _frame(_CALL, op, lane, number, ack, head, parts)


def _check_accepted(head: bytes, count: int) -> None:
    """Raise `MessageTooLarge` for what a server refuses whatever its settings."""
    if count > VALUES_MOST:
        msg = f"{count} values in one call, a server takes {VALUES_MOST}; send them in smaller parts"
        raise MessageTooLarge(msg)
    if len(head) > HEAD_MOST_BYTES:
        msg = f"keys and numbers of {len(head)} bytes, a server takes {HEAD_MOST_BYTES}; send smaller parts"
        raise MessageTooLarge(msg)
    check_bounded(head)


def encode_reply(lane: int, number: int, result: object, blobs: Sequence[Blob], ack: int = 0) -> list[bytes]:
    """Return a REPLY as pieces to be written in order; see `encode_call`."""
    if not blobs and (result is None or result is True or result is False):
        head = _BARE[result]
        return [_REPLY_HEADER.pack(len(head), _REPLY, lane, number, ack, len(head)) + head]
    if len(blobs) == 1 and type(blob := blobs[0]) is bytes and (n := len(blob)) < SEPARATE_BYTES:
        head = _ONE[n] if result is None and n < _ONES else pack([result, [n]])
        if len(head) < SEPARATE_BYTES:
            return [_REPLY_HEADER.pack(len(head) + n, _REPLY, lane, number, ack, len(head)) + head + blob]
    metas, parts = describe(blobs)
    return _frame(_REPLY, 0, lane, number, ack, pack([result, metas]), parts)


def encode_error(
    lane: int, number: int, code: str, text: str, fields: dict[str, Any], ack: int = 0
) -> list[bytes]:
    """Return an ERROR as pieces to be written in order; see `encode_call`."""
    return _frame(_ERROR, 0, lane, number, ack, pack([code, text, fields]), ())


def encode_control(
    kind: Type, lane: int = 0, number: int = 0, ack: int = 0, body: object = None
) -> list[bytes]:
    """Return any other frame as pieces to be written in order; see `encode_call`.

    Raises:
        CannotSend: The body is not plain data.
        TypeError: The body is not what the table says for this type; that is a mistake of the caller's.
    """
    _, expected = _BODIES[kind]
    if type(body) is not expected:
        msg = f"the body of {kind.name} is {expected.__name__}, not {type(body).__name__}"
        raise TypeError(msg)
    return _frame(kind, 0, lane, number, ack, _NIL if body is None else pack(body), ())


def _frame(
    kind: int, op: int, lane: int, number: int, ack: int, head: bytes, parts: Sequence[bytes]
) -> list[bytes]:
    payload_bytes = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
    size = len(head) + payload_bytes
    if size > SIZE_MAX_BYTES:
        msg = f"{size} bytes are more than a frame can carry ({SIZE_MAX_BYTES}); send smaller parts"
        raise MessageTooLarge(msg)
    header = HEADER.pack(size, kind, 0, op, lane, number, ack, len(head))
    if payload_bytes < SEPARATE_BYTES:
        return [b"".join((header, head, *parts))]
    return _gather((header, head, *parts))


def _gather(parts: Iterable[bytes]) -> list[bytes]:
    """Join neighbours that are small, and leave the large ones alone."""
    pieces: list[bytes] = []
    small: list[bytes] = []
    for part in parts:
        if len(part) < SEPARATE_BYTES:
            small.append(part)
            continue
        if small:
            pieces.append(b"".join(small))
            small.clear()
        pieces.append(part)
    if small:
        pieces.append(b"".join(small))
    return pieces


# -- decoding -------------------------------------------------------------------------------------


def open_call(data: bytes, max_message: int) -> CallFields | None:
    """Return what `data` says if it is one whole small call, maybe of many small values; None: ask a decoder.

    Nearly every read is one small frame, and this is its short way: in one function, as each more costs a
    call a few percent, and without a decoder, which a connection needs only while a frame is partly here.

    Cost: about 1 µs.
    """
    end = len(data)
    if not HEADER_BYTES < end <= _SHORT_MOST:
        return None
    size, kind, flags, op, lane, number, ack, head_size = HEADER.unpack_from(data)
    body = HEADER_BYTES + head_size
    if size != end - HEADER_BYTES or body > end or head_size > LIARS_HARMLESS_BYTES or size > max_message:
        return None
    try:
        packed = data[HEADER_BYTES:body]
        target, args, metas = unpackb(packed, ext_hook=open_extension, timestamp=TIMESTAMP)
    except _NOT_THREE:
        return None
    if kind != _CALL or flags or type(target) is not str or type(args) is not list:
        return None
    if (
        head_size - len(target) > MAX_DEPTH
        and not _CONTAINERS.isdisjoint(map(type, args))
        and may_nest(packed)
    ):
        return None
    if metas == _NONE:
        return (op, lane, number, ack, target, args, ()) if body == end else None
    if type(metas) is list and len(metas) == 1 and type(metas[0]) is int and metas[0] == end - body:
        return op, lane, number, ack, target, args, (data[body:],)
    if type(metas) is list and (bunch := bunched(data, metas, body, end)) is not None:
        return op, lane, number, ack, target, args, bunch
    return None


class FrameDecoder(Assembler):
    """Cut a stream into frames and open their heads.

    Args:
        max_message: The most bytes that head and payload of a frame may have together.
        max_head: The most bytes that a head alone may have. A head becomes objects, of many times its size; a
            payload stays bytes.
        bounded: The peer may be anybody who has a key: count what its frames become (`pack.unpack`,
            `VALUES_MOST`).

    Cost: about 2 µs for a call with one small value; 13 µs for a run of 256.
    """

    __slots__ = ("_bounded", "_broken", "_short", "max_head", "max_message")

    LEAST_BYTES = HEADER_BYTES

    def __init__(
        self,
        max_message: int,
        max_head: int = HEAD_MOST_BYTES,
        *,
        bounded: bool = False,
    ) -> None:
        super().__init__()
        self._bounded = bounded
        self.max_message = max_message
        self.max_head = max_head
        self._short = _SHORT_MOST if max_message >= _SHORT_BYTES else HEADER_BYTES + max_message
        self._broken: ProtocolError | None = None

    def take_reply(self, data: bytes) -> Reply | None:
        """Take bytes as `receive_data` does; return what they say if they are one small reply with nothing to
        say, a yes or no, or one value, and nothing else is here.

        None says: ask `next_event`, which also tells what is wrong.
        """
        end = len(data)
        if HEADER_BYTES < end <= self._short and not self._chunk and self._parts is None:
            size, kind, flags, op, lane, number, ack, head_size = HEADER.unpack_from(data)
            body = HEADER_BYTES + head_size
            packed = data[HEADER_BYTES:body]
            known = _KNOWN.get(packed)
            if size == end - HEADER_BYTES and kind == _REPLY and not (flags or op):
                result, value_size = known or _open_tiny(packed)
                if body + value_size == end:
                    return _new(Reply, (lane, number, result, (data[body:],) if value_size else (), ack))
        self.receive_data(data)
        return None

    def next_event(self) -> Event | None:
        """Return what the next frame says, or None when more bytes are needed.

        Raises:
            ProtocolError: The frame lies. So says every later call.
        """
        if self._broken is not None:
            raise self._broken
        try:
            record = self._next_record()
            if record is None:
                return None
            try:
                return _decode(*record, bounded=self._bounded)
            except MemoryError:
                return self._without_memory(record)
        except ProtocolError as err:
            self._broken = err
            self._short = 0
            raise

    def _without_memory(self, record: Record) -> Event:  # noqa: ARG002 - derived ones look at it
        """Return what can be told of a record for which there was no memory."""
        raise MemoryError

    def _measure(self, chunk: bytes, pos: int, available: int) -> int:
        if available < HEADER_BYTES:
            return HEADER_BYTES
        size, head_size = _SIZES.unpack_from(chunk, pos)
        if size > self.max_message:
            todo = f"{self.max_message} accepted; send less at once, or raise --max-message"
            raise lie("size", f"{size} bytes announced, {todo}")
        if head_size > size or head_size > self.max_head:
            raise lie("head_size", f"{head_size} bytes of {size}; this side accepts {self.max_head}")
        need: int = HEADER_BYTES + size
        return need

    def _before(self, chunk: bytes, pos: int) -> int:
        """Return where the values begin; a head that is large is gathered with them."""
        head_size: int = _SIZES.unpack_from(chunk, pos)[1]
        return HEADER_BYTES if head_size > LARGE_BYTES else HEADER_BYTES + head_size


def _open_tiny(head: bytes) -> tuple[Any, int]:
    """Return the result and the size of the one value that follows; -1: this is for `_decode`."""
    if len(head) <= MAX_DEPTH:
        try:
            result, metas = unpack_small(head)
        except _NOT_THREE:
            return None, -1
        if type(metas) is list and len(metas) == 1 and type(size := metas[0]) is int and size > 0:
            return result, size
    return None, -1


def _decode(buffer: bytes, start: int, end: int, payload: bytes | None, *, bounded: bool) -> Event:
    _, kind, flags, op, lane, number, ack, head_size = HEADER.unpack_from(buffer, start)
    if flags:
        raise lie("flags", f"{flags:#x} set, none are known")
    start += HEADER_BYTES
    if payload is not None:
        if not payload:  # none is empty: this one was dropped
            raise MemoryError
        if start == end:  # the head is there, too
            buffer, start, end, payload = payload, 0, len(payload), None
    body = start + head_size
    head = unpack(buffer[start:body], bounded=bounded)
    if payload is not None:
        buffer, body, end = payload, 0, len(payload)
    if kind == _CALL:
        target, args, metas = three(head, str, list, list)
        most = VALUES_MOST if bounded else SIZE_MAX_BYTES
        blobs = cut(buffer, metas, body, end, most)
        return _new(Call, (op, lane, number, ack, target, args, blobs))
    if op:
        raise lie("op", f"{op:#06x} in a frame that is no call")
    if kind == _REPLY:
        if type(head) is not list or len(head) != 2 or type(head[1]) is not list:
            raise lie("head", f"expected [result, metas], got {shown(head)}")
        blobs = cut(buffer, head[1], body, end, SIZE_MAX_BYTES)
        return _new(Reply, (lane, number, head[0], blobs, ack))
    if body != end:
        raise lie("payload", f"{end - body} bytes in a frame that carries no values")
    if kind == _ERROR:
        return _new(Failed, (lane, number, *three(head, str, str, dict), ack))
    return _control(kind, lane, number, ack, head)


def _control(kind: int, lane: int, number: int, ack: int, body: Any) -> Control:
    known = _BODIES.get(kind)
    if known is None:
        raise lie("type", f"{kind} is no type of frame; the peer may be newer than this side")
    name, expected = known
    if type(body) is not expected or (name is Type.OUTPUT and not is_output(body)):
        raise lie("head", f"not the body of {name.name}: {shown(body)}")
    return _new(Control, (name, lane, number, ack, body))
