"""The one connection of an asyncio session: frames over a transport.

RULES
* It is dialled and attached in a thread (`dialling`), then handed to the loop; so nothing here knows how that
  is done.
* Over TLS it goes on with the machine that shook hands; asyncio's own would begin anew.
* How it ends is told once: `Lost`, or what the server did that no server of ours does.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from mpclient.transport.dialling import Goodbye, Lost
from mpshared.errors import MpserveError, ProtocolViolation
from mpshared.wire.errors import AuthenticationRefused, ProtocolError
from mpshared.wire.own.frames import Control, Type

if TYPE_CHECKING:
    from mpclient.transport.dialling import Connection
    from mpshared.wire.own.frames import Event
    from mpshared.wire.tls import TlsMachine

__all__ = ["Line"]


class Line(asyncio.Protocol):
    """See the file's beginning.

    Args:
        control: The connection, attached; it belongs to the line from now on.
        hear: Is given every frame.
        ended: Is told how it ended.
    """

    def __init__(
        self,
        control: Connection,
        hear: Callable[[Event], None],
        ended: Callable[[Line, Lost | MpserveError], None],
    ) -> None:
        self._socket, self._decoder, self._early, self._tls = control.hand_over()
        self._hear = hear
        self._ended = ended
        self._begun = self._over = False
        self._error: Lost | MpserveError | None = None
        self._transport: asyncio.Transport | None = None
        self._room = asyncio.Event()
        self._room.set()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nothing more comes."""

    async def open(self) -> Self:
        """Begin to read, by the running loop."""
        loop = asyncio.get_running_loop()
        try:
            if self._socket.family == getattr(socket, "AF_UNIX", None):
                await loop.create_unix_connection(lambda: self, sock=self._socket)
            else:
                await loop.create_connection(lambda: self, sock=self._socket)
        except OSError as err:
            self._socket.close()
            raise Lost(f"the connection broke ({err})") from None
        except BaseException:
            self._socket.close()
            raise
        return self

    def begin(self) -> None:
        """Hear what there is from now on, and what came meanwhile; also if that is the end."""
        self._begun = True
        if self._error is not None:
            self._ended(self, self._error)
            return
        self._read()

    # -- frames ----------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the server has much to read before more should be sent."""
        return not self._room.is_set()

    @property
    def is_answered(self) -> bool:
        """Whether the server has said goodbye, and will not be back."""
        return isinstance(self._error, Goodbye) and self._error.reason != "restarting"

    async def room(self) -> None:
        """Wait until the server has read what was sent, or the line has ended."""
        await self._room.wait()

    def send(self, pieces: list[bytes]) -> None:
        """Write a frame; nothing happens on a line that has ended."""
        transport = self._transport
        # One that is about to tell of its end would register its descriptor anew, for whoever gets that next.
        if transport is not None and not self._over and not transport.is_closing():
            if self._tls is None:
                transport.writelines(pieces)
            else:
                transport.writelines(self._tls.send_in_parts(pieces))

    def _read(self) -> None:
        early, self._early = self._early, []
        try:
            for heard in early:
                self._take(heard)
            while not self._over and (event := self._decoder.next_event()) is not None:
                self._take(event)
        except ProtocolError as err:
            self._end(ProtocolViolation(f"the server's answer makes no sense: {err}"))
        except ProtocolViolation as err:  # who hears the event found that it says what it may not
            self._end(err)

    def _take(self, event: Event) -> None:
        if type(event) is Control and event.type is Type.GOODBYE:
            self._end(Goodbye(event.body))
        else:
            self._hear(event)

    # -- its end ---------------------------------------------------------------------------------

    def _end(self, error: Lost | MpserveError) -> None:
        if not self._over:
            self._over = True
            self._room.set()
            self._error = error
            if self._transport is not None:
                self._transport.abort()
            if self._begun:
                self._ended(self, error)

    def close(self) -> None:
        """Close without a word more."""
        self._over = True
        self._room.set()
        if self._transport is not None:
            self._transport.abort()

    # -- from the loop ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes, act on every whole frame."""
        if self._tls is not None and not (data := self._decrypted(self._tls, data)):
            return
        self._decoder.receive_data(data)
        if self._begun:
            self._read()

    def _decrypted(self, machine: TlsMachine, data: bytes) -> bytes:
        try:
            plain = machine.receive_data(data)
        except (AuthenticationRefused, ProtocolError) as err:
            self._end(Lost(f"the connection broke ({err})"))
            return b""
        if machine.ended and not plain:
            self._end(Lost("the server closed the connection"))
        return plain

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        if not self.closed.done():
            self.closed.set_result(None)
        why = "the server closed the connection" if exc is None else f"the connection broke ({exc})"
        self._end(Lost(why))

    def pause_writing(self) -> None:
        """Note that the server has much to read."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Note that it has read."""
        self._room.set()
