"""Connection: one end of a pipe, as `multiprocessing.connection.Connection`; the other end may be anywhere.

RULES
* An end is open while any program holds it, as a descriptor is that several processes share. `close` is for
  this object; when it was the last one here the server knows at once, and the other end reads on until it is
  empty and then meets `EOFError`.
* A message is bytes: what `send` pickles `recv_bytes` can read, and the other way round.
* Two connections are equal if they are the same object, whatever they are ends of.
* Made with the number of a descriptor, as programs do that have one, it is the standard library's.
"""

from __future__ import annotations

import os
import pickle
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self
from weakref import WeakKeyDictionary, WeakSet

from mpclient.objects.base import Held, Proxy
from mpclient.objects.bell import Watched
from mpclient.objects.readers import as_bool, nothing
from mpclient.objects.waiting import join_timeout
from mpclient.values.pickling import loads
from mpshared.errors import ServerGone
from mpshared.ops import BY_NAME
from mpshared.values import Pieces

if TYPE_CHECKING:
    from types import TracebackType

    from mpclient.transport.references import Handle
    from mpclient.transport.term import SessionBase
    from mpshared.ops import Op
    from mpshared.wire.own.frames import Reply

__all__ = ["CLASSES", "Connection", "PipeEnd"]

_SEND: Final[Op] = BY_NAME["pipe.send"]
_RECV: Final[Op] = BY_NAME["pipe.recv"]
_POLL: Final[Op] = BY_NAME["pipe.poll"]


class PipeEnd(Held):
    """One end of a pipe, whoever drives its calls."""

    __slots__ = ("_readable", "_writable")

    kind: ClassVar[str] = "pipe"
    flavour: ClassVar[str] = "Connection"

    def __init__(self, handle: Handle, name: str | None = None, *, mode: str = "rw") -> None:
        super().__init__(handle, name)
        self._readable = "r" in mode
        self._writable = "w" in mode
        with _changing:
            _open.setdefault(handle, WeakSet()).add(self)

    @classmethod
    def from_handle(cls, handle: Handle, details: str) -> Self:
        """Make the connection that was pickled; its directions are the one detail."""
        return cls(handle, mode=details)

    def _details(self) -> str:
        return "r" * self._readable + "w" * self._writable

    def _mention(self, session: SessionBase) -> tuple[tuple[Any, ...], tuple[str, ...]] | None:
        self._check()
        return super()._mention(session)

    def __reduce__(self) -> tuple[Any, ...]:
        self._check()
        return super().__reduce__()

    @property
    def closed(self) -> bool:
        """Whether this object is closed."""
        return self._handle is None

    @property
    def readable(self) -> bool:
        """Whether one can receive here."""
        return self._readable

    @property
    def writable(self) -> bool:
        """Whether one can send here."""
        return self._writable

    def __repr__(self) -> str:
        return f"<{type(self).__name__} closed>" if self.closed else super().__repr__()

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def _check(self) -> None:
        if self._handle is None:
            raise OSError("handle is closed")

    def _check_readable(self) -> None:
        self._check()
        if not self._readable:
            raise OSError("connection is write-only")

    def _check_writable(self) -> None:
        self._check()
        if not self._writable:
            raise OSError("connection is read-only")

    def _leave(self) -> Handle | None:
        """Close this object. With the last one here that is the same end, its handle is returned: this
        program's references are to be given back, now, as the other end is to hear of it.
        """
        with _changing:
            handle, self._handle = self._handle, None  # type: ignore[assignment]  # closed: see `_check`
            if handle is None:
                return None
            others = _open[handle]
            others.discard(self)
            return None if others else handle

    def _read_bytes(self, reply: Reply) -> bytes:
        blob = reply.blobs[0]
        if type(blob) is bytes:
            return blob
        if isinstance(blob, Pieces):
            return blob.data
        value = loads(blob, self._handle.session)
        return pickle.dumps(value)  # it refers to others, which stay with the value


class Connection(PipeEnd, Watched):
    """One end of a pipe; `mpclient.Pipe` makes two."""

    __slots__ = ()

    def __new__(cls, handle: Handle | int, *args: Any, **more: Any) -> Any:
        """Make one of ours; of a descriptor the standard library's, with its arguments."""
        if not isinstance(handle, int):
            return super().__new__(cls)
        import multiprocessing.connection  # noqa: PLC0415 - heavy, and rare

        return multiprocessing.connection.Connection(handle, *args, **more)

    # -- sending ---------------------------------------------------------------------------------

    def send(self, obj: Any) -> None:
        """Send an object; waits while more than a megabyte lies unread at the other end.

        Raises:
            BrokenPipeError: The other end is closed.
            OSError: This one is, or is read-only.
        """
        self._check_writable()
        return self._call(_SEND, blobs=(self._blob(obj),), read=nothing)

    def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        """Send bytes: `size` of them (None: all) from `offset` on; see `send`."""
        self._check_writable()
        with memoryview(buf) as given:
            view = given.cast("B") if given.itemsize > 1 else given
            return self._call(_SEND, blobs=(bytes(view[_part(view.nbytes, offset, size)]),), read=nothing)

    # -- receiving -------------------------------------------------------------------------------

    def recv(self) -> Any:
        """Return the next object, waiting for one.

        Raises:
            EOFError: There is none, and the other end is closed.
            OSError: This one is, or is write-only.
        """
        self._check_readable()
        return self._take(_RECV, read=self._read_value)

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """Return the next message as bytes; see `recv`.

        Raises:
            OSError: It is longer than `maxlength`. Nothing more can be read from this object then.
        """
        self._check_readable()
        if maxlength is not None and maxlength < 0:
            raise ValueError("negative maxlength")
        message = self._take(_RECV, read=self._read_bytes)
        if maxlength is not None and len(message) > maxlength:
            self._refuse_more()
        return message

    def recv_bytes_into(self, buf: Any, offset: int = 0) -> int:
        """Write the next message into `buf`, from byte `offset` on; return its length.

        Raises:
            BufferTooShort: It does not fit; ``error.args[0]`` is the message.
        """
        self._check_readable()
        with memoryview(buf) as given:
            if offset < 0:
                raise ValueError("negative offset")
            if offset > given.nbytes:
                raise ValueError("offset too large")
            message = self._take(_RECV, read=self._read_bytes)
            end = offset + len(message)
            if end > given.nbytes:
                from multiprocessing import BufferTooShort  # noqa: PLC0415 - heavy, and rare

                raise BufferTooShort(message)
            given.cast("B")[offset:end] = message
        return len(message)

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Return whether `recv` need not wait, waiting up to `timeout` seconds (None: for ever) until so."""
        self._check_readable()
        return self._call(_POLL, join_timeout(timeout), read=as_bool)

    def _refuse_more(self) -> NoReturn:
        if self._writable:
            self._readable = False
        else:
            self.close()
        raise OSError("bad message length")

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Close this object. With the last one here that is the same end, this program has left it."""
        handle = self._leave()
        if handle is not None:
            with suppress(ServerGone):
                handle.give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watch(self) -> Handle:
        self._check()
        return self._handle


_changing = threading.RLock()  # reentrant: a finaliser of the program's may close one in here
_open: Final[WeakKeyDictionary[Handle, WeakSet[Held]]] = WeakKeyDictionary()
"""The open connections of this process, by what they hold."""


def _forked() -> None:
    global _changing  # noqa: PLW0603 - a thread of the parent's may have held it
    _changing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _part(length: int, offset: int, size: int | None) -> slice:
    """Return which part of a buffer of `length` bytes is meant; refuse what lies outside."""
    if offset < 0:
        raise ValueError("offset is negative")
    if length < offset:
        raise ValueError("buffer length < offset")
    if size is None:
        return slice(offset, length)
    if size < 0:
        raise ValueError("size is negative")
    if offset + size > length:
        raise ValueError("buffer length < offset + size")
    return slice(offset, offset + size)


CLASSES: Final[dict[str, type[Proxy]]] = {"Connection": Connection}
