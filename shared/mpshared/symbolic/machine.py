"""The state of reading one pickle: its stacks, its memo, and what it is charged.

RULES
* Nothing is allocated for bytes that are not there (`Machine.take`), nor for a memo index (a dict holds the
  memo).
* A key is judged before it is hashed (`Machine.check_keys`): its size as hashing walks it, and its
  collisions.
* What copies is charged (`Machine.charge`): two bytes of a pickle can push a megabyte once more.
"""

from __future__ import annotations

import _compat_pickle
from collections.abc import Iterable
from typing import Any, Final

from mpshared.symbolic.limits import Limits, MalformedPickle, PickleTooComplex
from mpshared.symbolic.stubs import Global, Opaque, Ref, Stub

__all__ = ["Machine"]

_CHEAP_KEYS: Final = frozenset({str, bytes, float, bool, type(None), Stub, Global, Ref, Opaque})
_WORD: Final = 1 << 63
_CONSTANTS: Final[dict[tuple[str, str], object]] = {
    ("builtins", "Ellipsis"): ...,
    ("builtins", "NotImplemented"): NotImplemented,
}
_PYTHON_2_NAMES: Final = 3  # protocols below this are written with Python 2's names


class Machine:
    """One pickle being read: its bytes, its stacks, its memo, and what it has been charged."""

    __slots__ = (
        "_allowance",
        "_buffers",
        "_collisions",
        "_hashing",
        "_names",
        "_objects",
        "at",
        "data",
        "fresh",
        "limits",
        "marks",
        "memo",
        "protocol",
        "refs",
        "stack",
    )

    def __init__(self, data: bytes, buffers: Iterable[bytes], limits: Limits) -> None:
        self.data = data
        self.at = 0
        self.protocol = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        """The stacks below each MARK: an opcode cannot reach through it."""
        self.memo: dict[int, Any] = {}
        self.refs: dict[str, None] = {}
        self.fresh: Stub | None = None
        """The result of the last REDUCE, while nothing can refer to it but the stack."""
        self.limits = limits
        self._buffers = iter(buffers)
        self._names: dict[tuple[str, str], object] = {}
        self._objects = limits.objects
        self._allowance = 2 * len(data)
        self._hashing = limits.hashing_per_byte * len(data) + limits.key_nodes
        self._collisions: dict[int, dict[int, int]] = {}

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes of the message; never allocates for bytes that are not there."""
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise MalformedPickle(
                f"a pickle is cut off: byte {start} announces {size} more, {len(self.data) - start} follow"
            )
        return self.data[start : self.at]

    def take_int(self, width: int) -> int:
        """Return the next `width` bytes as a number, which is not negative."""
        return int.from_bytes(self.take(width), "little")

    def take_line(self) -> str:
        """Return the text up to the next newline, and go past it."""
        end = self.data.index(b"\n", self.at)
        line = self.data[self.at : end].decode()
        self.at = end + 1
        return line

    def pop_mark(self) -> list[Any]:
        """Return what was pushed since the last MARK, and go back to the stack below it."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def next_buffer(self) -> bytearray:
        """Return the next of the buffers that came beside the pickle, as a copy."""
        for buffer in self._buffers:
            return bytearray(buffer)
        raise MalformedPickle(
            "a pickle refers to an out-of-band buffer that did not come with it: send both together"
        )

    def name(self, module: str, qualname: str) -> object:
        """Return the one `Global` of this name in this pickle, or the constant that is written as a name."""
        if self.protocol < _PYTHON_2_NAMES:
            module, qualname = _python3_name(module, qualname)
        found = self._names.get((module, qualname))
        if found is None:
            found = _CONSTANTS.get((module, qualname))
            self._names[module, qualname] = found = Global(module, qualname) if found is None else found
        return found

    def pay(self, objects: int) -> None:
        """Pay for making objects, before or soon after they are made."""
        self._objects -= objects
        if self._objects < 0:
            raise PickleTooComplex(
                f"a pickle of {len(self.data)} bytes has more than {self.limits.objects} parts, such as the "
                "attributes of objects, and opening it would hold up everybody: send it in smaller parts, or "
                "as bytes that are a pickle, or by mpclient, whose values are stored unopened"
            )

    def charge(self, copied: int) -> None:
        """Pay for a copy of what a reference of two bytes may have pushed: it may be a million bytes long."""
        self._allowance -= copied
        if self._allowance < 0:
            raise PickleTooComplex(
                f"a pickle of {len(self.data)} bytes copies parts of itself over and over: no pickler writes "
                "this, and it was not stored"
            )

    def check_keys(self, container: object, keys: Iterable[object]) -> None:
        """Judge the keys that are about to be hashed into `container`, the dear kinds of them."""
        for key in keys:
            kind = type(key)
            if kind in _CHEAP_KEYS or (kind is int and -_WORD < key < _WORD):  # type: ignore[operator]
                continue
            self._hashing -= _key_nodes(key, self.limits)
            if self._hashing < 0:
                raise PickleTooComplex(
                    f"a pickle of {len(self.data)} bytes hashes its keys again and again: it was not stored"
                )
            hashes = self._collisions.setdefault(id(container), {})
            hashed = hash(key)
            hashes[hashed] = hashes.get(hashed, 0) + 1
            if hashes[hashed] > self.limits.collisions:
                raise PickleTooComplex(
                    f"more than {self.limits.collisions} keys of one dict or set have the same hash, "
                    "and each would be compared with all others: this is no accident, and the value was not "
                    "stored"
                )


def _python3_name(module: str, qualname: str) -> tuple[str, str]:
    """Return today's name of what Python 2 called `module.qualname`, as the pickle module does."""
    renamed = _compat_pickle.NAME_MAPPING.get((module, qualname))
    return renamed or (_compat_pickle.IMPORT_MAPPING.get(module, module), qualname)


def _key_nodes(key: object, limits: Limits) -> int:
    """Return how much is walked to hash `key`, everything shared in it counted as often as it is met."""
    nodes, level = 0, [key]
    for _ in range(limits.key_depth):
        inner = [node for node in level if type(node) is tuple]
        size = sum(map(len, inner))
        # Numbers are hashed anew each time: their length counts, in words.
        nodes += len(level) + sum(node.bit_length() >> 6 for node in level if type(node) is int)
        if nodes + size > limits.key_nodes:
            break
        if not inner:
            return nodes
        level = [item for node in inner for item in node]
    raise PickleTooComplex(
        f"a dict key or set member is nested deeper than {limits.key_depth} or larger than "
        f"{limits.key_nodes} values, with all that it shares written out, and hashing it would hold up "
        "everybody: use a smaller key, e.g. a string"
    )
