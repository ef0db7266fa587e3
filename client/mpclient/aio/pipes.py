"""Connections of pipes, awaited. ``async for message in connection`` ends where the other end is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from mpclient.aio.base import AsyncProxy, awaited, shared
from mpclient.objects import t_pipe
from mpclient.transport.references import DROP, LEND
from mpshared.errors import ServerGone
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from types import TracebackType

    from mpclient.aio.session import Session
    from mpclient.transport.references import Handle
    from mpshared.ops import Op

__all__ = ["Connection"]

_RECV: Final[Op] = BY_NAME["pipe.recv"]


class Connection(AsyncProxy):
    """One end of a pipe; `Cluster.Pipe` makes two."""

    __slots__ = ("_readable", "_writable")

    kind: ClassVar[str] = "pipe"
    flavour: ClassVar[str] = "Connection"

    def __init__(self, handle: Handle, name: str | None = None, *, mode: str = "rw") -> None:
        super().__init__(handle, name)
        self._readable = "r" in mode
        self._writable = "w" in mode
        t_pipe.join(self, handle)

    @classmethod
    def from_handle(cls, handle: Handle, details: str) -> Self:
        """Make the connection that was pickled; its directions are the one detail."""
        return cls(handle, mode=details)

    _details = shared(t_pipe.Connection._details)
    _check = shared(t_pipe.Connection._check)
    _check_readable = shared(t_pipe.Connection._check_readable)
    _check_writable = shared(t_pipe.Connection._check_writable)
    _read_bytes = shared(t_pipe.Connection._read_bytes)

    send = awaited(t_pipe.Connection.send)
    send_bytes = awaited(t_pipe.Connection.send_bytes)
    recv = awaited(t_pipe.Connection.recv)
    poll = awaited(t_pipe.Connection.poll)

    async def recv_bytes(self) -> bytes:
        """Return the next message as bytes; see `recv`."""
        self._check_readable()
        return await self._take(_RECV, read=self._read_bytes)

    async def close(self) -> None:
        """Close this object. With the last one here that is the same end, this program has left it."""
        session = None if self.closed else self._own_session
        handle = t_pipe.leave(self)
        if handle is not None and session is not None:
            with suppress(ServerGone):
                await _give_back(session, handle)

    @property
    def closed(self) -> bool:
        """Whether this object is closed."""
        return self._handle is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            try:
                message = await self.recv()
            except EOFError:
                return
            yield message

    def _session(self) -> Session:
        return self._own_session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} closed>" if self.closed else super().__repr__()

    __eq__ = object.__eq__
    __hash__ = object.__hash__


async def _give_back(session: Session, handle: Handle) -> None:
    """Give this program's references to an end back; also if the task is cancelled meanwhile."""
    n = session.references.surrender(handle)
    while lent := session.references.take_lent():
        await session.call(LEND, "", [lent], finish=True)
    if n:
        await session.call(DROP, "", [[[handle.ident, n]]], finish=True)
