"""msgpack within strict limits: plain data, bounded nesting, no allocation that the bytes do not pay for.

RULES
* Plain data: None, bool, int (64 bits), float, str, bytes, list, dict with str or bytes keys, and
  `PickledKey` (extension 1). Tuples are sent as lists. Subclasses of these types are refused where they are
  sent, not guessed at where they arrive.
* At most `MAX_DEPTH` containers inside one another: what reads them afterwards may recurse.
* msgpack makes a list as long as its header says before it has seen the elements, and some hundred lists
  within one another that all lie take a thousand times the memory of the message. So anything over
  `LIARS_HARMLESS_BYTES` is first skipped through, which allocates nothing and finds every header that
  promises more than there is.
* Where it is asked for, objects that take a hundred times their bytes are counted while they are made: many
  of those would hold up everybody.

Cost: about 0.3 µs to pack and 0.6 µs to unpack the head of a small call.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from msgpack import ExtType, Packer, Unpacker, unpackb
from msgpack.exceptions import UnpackException

from mpshared.values import NUMBERS_MOST, PickledKey
from mpshared.wire.errors import CannotSend, MessageTooLarge, ProtocolError

__all__ = [
    "DEAR_MOST",
    "KEY",
    "LIARS_HARMLESS_BYTES",
    "MAX_DEPTH",
    "TIMESTAMP",
    "UNREADABLE",
    "check_bounded",
    "may_nest",
    "open_extension",
    "pack",
    "unpack",
    "unpack_small",
    "unpackb",
]

KEY: Final = 1
"""The msgpack extension that carries a `PickledKey`."""
MAX_DEPTH: Final = 32

LIARS_HARMLESS_BYTES: Final = 1024
"""A lying message of this size takes 1 MB, for microseconds; a second pass would cost every small call."""
DEAR_MOST: Final = 1 << 17
"""Lists, maps and pickled keys together: 72 bytes and 0.1 µs and more each, of one byte that says so."""
_KEPT_MAX_BYTES: Final = 1 << 20
"""A packer keeps the room of the largest thing it has packed; after more than this it is dropped."""
_CONTAINERS: Final = frozenset({list, dict})
_NOT_CONTAINERS: Final = bytes(set(range(256)) - set(range(0x80, 0xA0)) - set(range(0xDC, 0xE0)))
"""All bytes that cannot begin an array or a map."""
_NOT_DEAR: Final = bytes(set(_NOT_CONTAINERS) - {0xC7, 0xC8, 0xC9} - set(range(0xD4, 0xD9)))
"""All bytes that cannot begin an extension either."""


def open_extension(code: int, data: bytes) -> PickledKey:
    """Return what msgpack's extension `code` stands for."""
    if code != KEY:
        raise ValueError(f"unknown extension {code}")
    return PickledKey(data)


class _Counted:
    """Counts what is dear while it is made."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = DEAR_MOST

    def container(self, made: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"over {DEAR_MOST} lists, maps and pickled keys; send less at once")
        return made

    def extension(self, code: int, data: bytes) -> PickledKey:
        made: PickledKey = self.container(open_extension(code, data))
        return made


TIMESTAMP: Final = 2
"""To msgpack: an extension that we do not use becomes a plain int rather than an object of its own."""
unpack_small: Final = partial(unpackb, ext_hook=open_extension, timestamp=TIMESTAMP)
"""Return what at most `LIARS_HARMLESS_BYTES` hold, or raise one of `UNREADABLE`. Nobody has looked how deep
it is nested."""
UNREADABLE: Final = (ValueError, UnpackException, RecursionError)  # the last: msgpack without its C part


def _plain(value: object) -> object:
    """Return what stands for a value that msgpack does not know."""
    kind = type(value)
    if kind is PickledKey:
        return ExtType(KEY, bytes(value))  # type: ignore[call-overload]
    if issubclass(kind, tuple):
        return list(value)  # type: ignore[call-overload]
    raise TypeError(f"{kind.__name__} is not plain data; convert it, or send it as a value")


def _new_packer() -> Packer:
    return Packer(default=_plain, strict_types=True, use_bin_type=True, autoreset=True)


_packers: list[Packer] = [_new_packer()]
"""Packers at rest. One is taken for each call: a packer that two threads use at once mixes their bytes."""


def pack(value: object) -> bytes:
    """Return plain data as msgpack.

    Raises:
        CannotSend: Something in it is not plain data, nests too deep, or is a number or text that msgpack
            cannot express.
    """
    try:
        packer = _packers.pop()
    except IndexError:
        packer = _new_packer()
    try:
        data: bytes = packer.pack(value)
    except (TypeError, ValueError, OverflowError) as err:  # this packer holds half a message: let it go
        raise CannotSend(f"an argument cannot be sent: {err}") from err
    if len(data) <= _KEPT_MAX_BYTES:
        _packers.append(packer)
    return data


def unpack(data: bytes, *, bounded: bool = False) -> Any:
    """Return the plain data that these bytes hold, all of them.

    Args:
        data: One msgpack value.
        bounded: Refuse more than `DEAR_MOST` dear objects, or a list of more than `NUMBERS_MOST`.

    Raises:
        ProtocolError: They are not one whole msgpack value within the limits.
    """
    try:
        if len(data) > LIARS_HARMLESS_BYTES:
            _skip_through(data)
        value = _unpack_bounded(data) if bounded and len(data) > DEAR_MOST else unpack_small(data)
    except UNREADABLE as err:
        msg = f"not msgpack within the limits ({type(err).__name__}: {err!s:.100}); the connection is closed"
        raise ProtocolError("head", msg) from None
    if len(data) > MAX_DEPTH and may_nest(data) and _deeper_than(value, MAX_DEPTH):
        msg = f"containers nested deeper than {MAX_DEPTH}; the connection is closed"
        raise ProtocolError("head", msg)
    return value


def _unpack_bounded(data: bytes) -> Any:
    """Return what these bytes hold; count what is dear if there may be too much of it."""
    if len(data.translate(None, _NOT_DEAR)) <= DEAR_MOST:
        return unpack_small(data, max_array_len=NUMBERS_MOST)
    counted = _Counted()
    return unpack_small(
        data,
        max_array_len=NUMBERS_MOST,
        ext_hook=counted.extension,
        list_hook=counted.container,
        object_hook=counted.container,
    )


def check_bounded(data: bytes) -> None:
    """Raise `MessageTooLarge` if `unpack` would refuse, where it counts, what was packed here."""
    if len(data) <= NUMBERS_MOST and len(data.translate(None, _NOT_DEAR)) <= DEAR_MOST:
        return
    try:
        _unpack_bounded(data)
    except UNREADABLE as err:
        raise MessageTooLarge(
            f"more than a server takes at once ({err!s:.100}); send it in smaller parts"
        ) from None


def may_nest(data: bytes) -> bool:
    """Return whether there are as many bytes that could begin a container as a nest too deep would need."""
    return len(data.translate(None, _NOT_CONTAINERS)) > MAX_DEPTH


def _skip_through(data: bytes) -> None:
    """Raise OutOfData where a container promises more elements than follow; make no objects."""
    unpacker = Unpacker(max_buffer_size=len(data))
    unpacker.feed(data)
    unpacker.skip()


def _deeper_than(value: object, limit: int) -> bool:
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(limit):
        if not level:
            return False
        level = [child for container in level for child in _containers_in(container)]
    return bool(level)


def _containers_in(container: object) -> list[object]:
    items = container.values() if isinstance(container, dict) else container
    if _CONTAINERS.isdisjoint(map(type, items)):  # type: ignore[call-overload]
        return []
    return [item for item in items if type(item) in _CONTAINERS]  # type: ignore[attr-defined]
