"""A connection that speaks TLS: the machine of `mpshared.wire.tls` between a peer and its socket.

    accepted --its first byte--> shaking hands --done--> as any other peer

RULES
* Connections without TLS know nothing of this file: what is different here is a socket that decrypts what it
  reads, and an outbox that encrypts what it sends.
* No more is encrypted than `CHUNK_BYTES` ahead of the socket; ciphertext that has not left counts as unsent.
* Whoever says nothing, or something else than TLS, is told once in plain what is spoken here. So is the log.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mpserve.net.outbox import Outbox
from mpserve.net.peer import READ_BYTES, Owner, Peer
from mpshared.wire.errors import AuthenticationRefused, ProtocolError
from mpshared.wire.handshake import TLS_ONLY_FRAME

if TYPE_CHECKING:
    from mpserve.net.loop import Loop
    from mpshared.log import Logger
    from mpshared.wire.tls import TlsMachine

__all__ = ["TlsPeer"]

CHUNK_BYTES: Final = 256 << 10
_SILENT: Final = (
    "it has said nothing: a client without TLS waits so. Give it --tls-ca (MPSERVE_TLS_CA), or let it "
    "connect where --plain has this server listen"
)


class _TlsSocket(socket.socket):
    """A socket that decrypts what it reads; it sends what it is given."""

    __slots__ = ("_left", "_machine", "trouble")

    def __init__(self, sock: socket.socket, machine: TlsMachine) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.setblocking(False)
        self._machine = machine
        self._left = b""
        """Plaintext that came with the handshake."""
        self.trouble = ""
        """What the peer has done to TLS, that ends the connection."""

    @property
    def holds(self) -> bool:
        """Tell that there is something to read here, of which the system knows nothing."""
        return bool(self._left) or self._machine.behind

    def keep(self, plain: bytes) -> None:
        """Have the next read return this."""
        self._left = plain

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read once; raise BlockingIOError where no record is whole. May return a little more than asked for.

        Raises:
            OSError: The connection broke, or `trouble`.
            MemoryError: There is none for what comes, of which nothing is lost.
        """
        if self._left:
            left, self._left = self._left, b""
            return left
        try:
            if self._machine.behind and (late := self._machine.catch_up()):
                return late
            if self._machine.ended:
                return b""
            data = super().recv(max(bufsize, READ_BYTES), flags)  # a record is read whole
            if not data:
                return b""
            plain = self._machine.receive_data(data)
        except (AuthenticationRefused, ProtocolError) as err:
            self.trouble = str(err)
            raise ConnectionAbortedError(self.trouble) from None
        if plain or self._machine.ended:
            return plain
        raise BlockingIOError


class _TlsOutbox(Outbox):
    """Pieces that wait to be encrypted, behind ciphertext that waits for the socket."""

    __slots__ = ("_cipher", "_machine")

    def __init__(self, machine: TlsMachine) -> None:
        super().__init__()
        self._machine = machine
        self._cipher: bytes | memoryview = b""

    def add_cipher(self, data: bytes) -> None:
        """Append what the machine itself has to send."""
        if data:
            self._cipher = bytes(self._cipher) + data if self._cipher else data
            self.size_bytes += len(data)

    def sent_at_once(self, sock: socket.socket) -> bool:
        """Send all of it; tell whether nothing is left. What does not work out is left to `flush`."""
        try:
            self.flush(sock)
        except OSError:
            return False
        return not self.size_bytes

    def flush(self, sock: socket.socket) -> None:
        """Encrypt and send until all is gone or the socket takes no more; see `Outbox.flush`."""
        try:
            while self.size_bytes:
                if not self._cipher:
                    self._encrypt()
                sent = sock.send(self._cipher)
                self.size_bytes -= sent
                whole = sent == len(self._cipher)
                self._cipher = b"" if whole else memoryview(self._cipher)[sent:]
        except (BlockingIOError, InterruptedError):
            return

    def _encrypt(self) -> None:
        chunk = self._take()
        self._cipher = self._machine.send(chunk)
        self.size_bytes += len(self._cipher) - sum(map(len, chunk))

    def _take(self) -> list[bytes | memoryview]:
        """Take off the first pieces, `CHUNK_BYTES` at most."""
        pieces = self._pieces
        count = size = 0
        for piece in pieces:
            size += len(piece)
            if size > CHUNK_BYTES:
                break
            count += 1
        if count:
            chunk = pieces[:count]
            del pieces[:count]
            return chunk
        first = memoryview(pieces[0])
        pieces[0] = first[CHUNK_BYTES:]
        return [first[:CHUNK_BYTES]]

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._cipher = b""


class TlsPeer(Peer):
    """One accepted connection that speaks TLS.

    Args:
        machine: Its TLS.
        established: Called once, when the handshake is done: now the peer may be greeted.
    """

    __slots__ = ("_established", "_machine", "_tls_socket", "spoke")

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        label: str,
        log: Logger,
        owner: Owner,
        origin: str,
        machine: TlsMachine,
        established: Callable[[Peer], None],
    ) -> None:
        self._machine = machine
        self._tls_socket = _TlsSocket(sock, machine)
        self._established = established
        self.spoke = False
        """It has sent something."""
        super().__init__(loop, self._tls_socket, label, log, owner, origin)
        self._outbox: _TlsOutbox = _TlsOutbox(machine)

    def readable(self) -> None:
        """Read once, act on all that this decrypts to, and answer."""
        if not self._machine.established and not self._closing:
            self._shake()
            return
        super().readable()
        self._read_on()

    def _read_on(self) -> None:
        """Act on what was decrypted already."""
        tls_socket = self._tls_socket
        while tls_socket.holds and not self._closing:
            super().readable()
        if tls_socket.trouble:
            trouble, tls_socket.trouble = tls_socket.trouble, ""
            self._owner.complain("peer.dropped", self, trouble)

    def _shake(self) -> None:
        """Go on with the handshake."""
        try:
            data = socket.socket.recv(self._sock, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close_now()
            return
        self.spoke = True
        try:
            plain = self._machine.receive_data(data)
        except (AuthenticationRefused, ProtocolError) as err:
            self._refuse(err)
            return
        self._say(self._machine.data_to_send())
        if self._machine.established:
            self._established(self)
            self._tls_socket.keep(plain)
            self._read_on()

    def _refuse(self, err: Exception) -> None:
        """Tell the log and the peer why there is no handshake, and close."""
        alert = self._machine.data_to_send()
        self._say(alert if self._machine.speaks_tls else TLS_ONLY_FRAME)
        self._owner.refused(self, str(err))

    def refuse_silent(self) -> None:
        """Close a peer that has said nothing: a client without TLS, which waits for us."""
        self._say(TLS_ONLY_FRAME)
        self._owner.complain("peer.refused", self, _SILENT)
        self.close()

    def _say(self, cipher: bytes) -> None:
        if cipher:
            self._outbox.add_cipher(cipher)
            self._loop.mark_dirty(self)

    def _shut_down(self) -> None:
        """Say that nothing follows: in TLS, then to the system."""
        with contextlib.suppress(
            OSError
        ):  # there is nearly always room; who misses it sees the end all the same
            self._sock.send(self._machine.close())
        super()._shut_down()
