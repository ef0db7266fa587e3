"""Values: what users store and send, as the server sees them: bytes it does not open.

RULES
* A value whose pickle stands alone is plain ``bytes``. Only a value that carries more is a `Value`.
* None is always written as `NONE`, whoever writes it: so a pill is recognised without opening anything.
* A shared object inside a value is a call of `open_ref` in its pickle; `Value.refs` lists all of them.

Which Python may open a value stands in its tag, because code that travels by value (cloudpickle) crashes
an interpreter of another minor version instead of failing.
"""

from __future__ import annotations

import importlib
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "BY_VALUE",
    "LONG_HEADER",
    "NONE",
    "NUMBERS_MOST",
    "PICKLE",
    "PICKLE_PROTOCOL",
    "RAISED",
    "TASK_ERROR",
    "VALUES_MOST",
    "Blob",
    "PickledKey",
    "Pieces",
    "Value",
    "by_value_tag",
    "data_of",
    "needs_python",
    "open_ref",
    "ref_ids",
    "set_resolver",
    "size_bytes",
    "tag_of",
]

VALUES_MOST = 1 << 17
"""The most values, or keys, that one call may have: an operation takes 1 to 3 µs for each, and meanwhile
there is no other."""
NUMBERS_MOST = 1 << 20
"""The most numbers that one call may have for an array."""
PICKLE_PROTOCOL = 5
"""Of what programs and workers write: the first that leaves large buffers outside. Python 3.8 reads it."""
PICKLE = 0
"""A pickle by reference: any Python that has the modules may open it."""
BY_VALUE = 1
"""A pickle with code inside; the tag's upper bits say which Python may open it (`by_value_tag`)."""
TASK_ERROR = 2
"""A pickled `mpshared.errors.TaskError`; a stock reader is given a RemoteError with the same text."""
RAISED = 3
"""The failure of a Pool's or executor's job, pickled as plain data; see `mpclient.values.jobs_format`."""

LONG_HEADER = struct.Struct("<cI")
"""What pickle writes before long bytes: BINBYTES, and how many they are."""

NONE = b"N."
"""The one encoding of None."""


class Value(NamedTuple):
    """A value that is more than one plain pickle."""

    tag: int
    data: bytes
    buffers: tuple[bytes, ...] = ()
    refs: tuple[str, ...] = ()


Blob: TypeAlias = bytes | Value
"""Any stored value. Plain ``bytes`` means `PICKLE` with no buffers and no refs."""


class Pieces:
    """A large plain pickle on its way, as its pickler wrote it: its largest pieces are the user's own.

    On the way out for what is sent and not looked at. On the way in, of three pieces, the second of which is
    a long `bytes` of the value. It may stand for a `Blob` there.
    """

    __slots__ = ("parts", "size")

    tag = PICKLE
    buffers: tuple[bytes, ...] = ()
    refs: tuple[str, ...] = ()

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.parts = parts
        self.size = sum(map(len, parts))

    def __len__(self) -> int:
        """Return the size in bytes."""
        return self.size

    def __getitem__(self, part: slice) -> Any:
        """Return a part of the pickle: all of it as it is, else a copy."""
        return self if part == slice(0, self.size) else self.data[part]

    @property
    def data(self) -> bytes:
        """The pickle, joined: a copy."""
        return b"".join(self.parts)


class PickledKey(bytes):
    """A dict key or set member that is not a plain scalar: its pickle. Scalars travel as themselves."""

    __slots__ = ()


def by_value_tag(version: tuple[int, int] | None = None) -> int:
    """Return the tag of a pickle with code by value made by `version` (default: this Python)."""
    major, minor = version or sys.version_info[:2]
    return BY_VALUE | major << 16 | minor << 8


def tag_of(blob: Blob) -> int:
    """Return the kind of value: `PICKLE`, `BY_VALUE`, `TASK_ERROR` or `RAISED`, without the version bits."""
    return PICKLE if isinstance(blob, bytes) else blob.tag & 0xFF


def needs_python(blob: Blob) -> tuple[int, int] | None:
    """Return the (major, minor) that alone may open `blob`, or None when any may."""
    if isinstance(blob, bytes) or blob.tag & 0xFF != BY_VALUE:
        return None
    return blob.tag >> 16 & 0xFF, blob.tag >> 8 & 0xFF


def data_of(blob: Blob) -> bytes:
    """Return the pickle of `blob`."""
    return blob if isinstance(blob, bytes) else blob.data


def size_bytes(blob: Blob | Pieces) -> int:
    """Return how much of a message `blob` takes, without its envelope."""
    if isinstance(blob, bytes):
        return len(blob)
    return blob.size if type(blob) is Pieces else len(blob.data) + sum(map(len, blob.buffers))


def ref_ids(blobs: Iterable[Blob]) -> list[str]:
    """Return the idents of the shared objects that `blobs` mention, one entry per mention."""
    return [ident for blob in blobs if type(blob) is not bytes for ident in blob.refs]  # type: ignore[union-attr]


Resolver: TypeAlias = Callable[[str, str, str], Any]
_resolver: Resolver | None = None


def set_resolver(resolver: Resolver | None) -> None:
    """Say who turns `open_ref` calls in unpickled values into live objects (the client does)."""
    global _resolver  # noqa: PLW0603 - one for the process, as pickles are read anywhere in it
    _resolver = resolver


def open_ref(kind: str, ident: str, address: str) -> Any:
    """Return the live object for a reference met while unpickling.

    Args:
        kind: The object's kind, as in `mpshared.ops`.
        ident: The server's name of the object.
        address: Where the server was seen by who pickled it; "" means: where this value came from.

    Raises:
        RuntimeError: No client is loaded in this process.
    """
    if _resolver is None:
        importlib.import_module(
            "mpclient"
        )  # a pickled proxy may be the first that a child process sees of us
    if _resolver is None:
        raise RuntimeError(
            f"cannot open the shared {kind} {ident}: no mpserve client in this process; call "
            "mpclient.connect() first"
        )
    return _resolver(kind, ident, address)
