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

Cost: about 0.3 µs to pack and 0.6 µs to unpack the head of a small call.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from msgpack import ExtType, Packer, Unpacker, unpackb
from msgpack.exceptions import UnpackException

from mpshared.values import PickledKey
from mpshared.wire.errors import CannotSend, ProtocolError

__all__ = [
    "KEY",
    "LIARS_HARMLESS_BYTES",
    "MAX_DEPTH",
    "UNREADABLE",
    "may_nest",
    "pack",
    "unpack",
    "unpack_small",
]

KEY: Final = 1
"""The msgpack extension that carries a `PickledKey`."""
MAX_DEPTH: Final = 32

LIARS_HARMLESS_BYTES: Final = 1024
"""A lying message of this size takes 1 MB, for microseconds; a second pass would cost every small call."""
_KEPT_MAX_BYTES: Final = 1 << 20
"""A packer keeps the room of the largest thing it has packed; after more than this it is dropped."""
_CONTAINERS: Final = frozenset({list, dict})
_NOT_CONTAINERS: Final = bytes(set(range(256)) - set(range(0x80, 0xA0)) - set(range(0xDC, 0xE0)))
"""All bytes that cannot begin an array or a map."""


def _extension(code: int, data: bytes) -> PickledKey:
    if code != KEY:
        msg = f"unknown extension {code}"
        raise ValueError(msg)
    return PickledKey(data)


# timestamp=2: an extension that we do not use becomes a plain int rather than an object of msgpack's.
unpack_small: Final = partial(unpackb, ext_hook=_extension, timestamp=2)
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
    msg = f"{kind.__name__} is not plain data; convert it, or send it as a value"
    raise TypeError(msg)


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
        msg = f"an argument cannot be sent: {err}"
        raise CannotSend(msg) from err
    if len(data) <= _KEPT_MAX_BYTES:
        _packers.append(packer)
    return data


def unpack(data: bytes) -> Any:
    """Return the plain data that these bytes hold, all of them.

    Raises:
        ProtocolError: They are not one whole msgpack value within the limits.
    """
    try:
        if len(data) > LIARS_HARMLESS_BYTES:
            _skip_through(data)
        value = unpack_small(data)
    except UNREADABLE as err:
        msg = f"not msgpack within the limits ({type(err).__name__}: {err!s:.100}); the connection is closed"
        raise ProtocolError("head", msg) from None
    if len(data) > MAX_DEPTH and may_nest(data) and _deeper_than(value, MAX_DEPTH):
        msg = f"containers nested deeper than {MAX_DEPTH}; the connection is closed"
        raise ProtocolError("head", msg)
    return value


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
