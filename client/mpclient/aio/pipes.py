"""Connections of pipes, awaited. ``async for message in connection`` ends where the other end is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, cast

from mpclient.aio.base import AsyncProxy, awaited
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


class Connection(t_pipe.PipeEnd, AsyncProxy):
    """One end of a pipe; `Cluster.Pipe` makes two."""

    __slots__ = ()

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
        handle = self._leave()
        if handle is not None:
            with suppress(ServerGone):
                await _give_back(handle)

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


async def _give_back(handle: Handle) -> None:
    """Give this program's references to an end back; also if the task is cancelled meanwhile."""
    session = cast("Session", handle.session)
    if n := session.references.surrender(handle):
        try:
            if handle.lent:
                await session.call(LEND, "", [[handle.ident]], finish=True)
        finally:
            await session.call(DROP, "", [[[handle.ident, n]]], finish=True)
