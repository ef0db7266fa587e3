"""Accepting connections, and everything a peer may not yet do.

RULES
* A peer has `GREETING_S` to authenticate; at most `UNKNOWN_MAX` may be on their way at once, then the oldest
  must go.
* Out of file descriptors, the server keeps one in reserve to accept and close with, instead of turning in
  circles.
* One port, both protocols: the standard library's challenge is sent first, and the answer tells who came.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mpserve.net.peer import Peer
from mpshared.address import Address
from mpshared.wire.own import handshake as own
from mpshared.wire.stock import server as stock

if TYPE_CHECKING:
    from mpserve.dispatch.transport import Side, Transport
    from mpserve.net.loop import Loop
    from mpshared.log import Logger

__all__ = ["Listener", "SideFactory"]

SideFactory = Callable[["Transport"], "Side"]
Md5 = Literal["loopback", "always", "never"]

BACKLOG: Final = 4096
"""As much as the system allows: ten thousand clients may start together. The standard library has 16 or
128."""
GREETING_S: Final = 10.0
"""For the whole handshake. Precedent: PostgreSQL's authentication_timeout is 60 s, OpenSSH's LoginGraceTime
120 s; a key needs less."""
LINGER_S: Final = 2.0
"""For a refused peer to close its end."""
UNKNOWN_MAX: Final = 1024
"""Unauthenticated peers at once. Precedent: OpenSSH's MaxStartups, 100."""
ACCEPT_MAX: Final = 64
"""Accepted per turn, so that a flood of new peers does not keep the others waiting."""


class Listener:
    """The server's sockets."""

    def __init__(
        self,
        loop: Loop,
        log: Logger,
        *,
        authkey: bytes,
        md5: Md5,
        own_side: SideFactory,
        stock_side: SideFactory,
    ) -> None:
        self._loop = loop
        self._log = log
        self._authkey = authkey
        self._md5 = md5
        self._sides: dict[str, SideFactory] = {"own": own_side, "stock": stock_side}
        self._peers: dict[Peer, None] = {}
        self._deadlines: OrderedDict[Peer, float] = OrderedDict()
        self._lingering: OrderedDict[Peer, float] = OrderedDict()
        self._sockets: list[tuple[socket.socket, _Acceptor]] = []
        self._reserve: int | None = os.open(os.devnull, os.O_RDONLY)
        self._unlink = ""
        self._md5_hosts: set[str] = set()

    # -- listening -------------------------------------------------------------------------------

    def listen(self, address: Address) -> Address:
        """Begin to accept at `address`; return it with the port that the system chose.

        Raises:
            OSError: It cannot be listened at.
        """
        if address.is_unix:
            self._add(_unix_socket(address.path))
            self._unlink = address.path
            return address
        infos = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, sockaddr = infos[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(sockaddr)
        except OSError:
            sock.close()
            raise
        self._add(sock)
        return address.with_port(sock.getsockname()[1])

    def _add(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.listen(BACKLOG)
        acceptor = _Acceptor(self, sock)
        self._sockets.append((sock, acceptor))
        self._loop.watch(sock.fileno(), acceptor)

    def accept(self, sock: socket.socket) -> None:
        """Accept who waits."""
        for _ in range(ACCEPT_MAX):
            try:
                accepted, sockaddr = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as err:
                if err.errno in {errno.EMFILE, errno.ENFILE}:
                    self._turn_away(sock)
                    continue
                raise
            self._welcome(accepted, sockaddr)

    def _turn_away(self, sock: socket.socket) -> None:
        self._log.error(
            "server.full",
            reason="no file descriptor is left for a new connection; raise the limit (ulimit -n)",
        )
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
        with contextlib.suppress(OSError):
            sock.accept()[0].close()
        with contextlib.suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY)

    def _welcome(self, sock: socket.socket, sockaddr: object) -> None:
        sock.setblocking(False)
        local = True
        label = "unix"
        if isinstance(sockaddr, tuple):
            _prepare_tcp(sock)
            peer_address = Address.from_sockaddr(sockaddr)
            label, local = str(peer_address), peer_address.is_local
        peer = Peer(self._loop, sock, label, self._log, self)
        self._peers[peer] = None
        if len(self._deadlines) >= UNKNOWN_MAX:
            oldest = next(iter(self._deadlines))
            self._log.warning(
                "peer.refused",
                peer=oldest.label,
                reason="too many peers are authenticating; the oldest gives way",
            )
            oldest.close_now()
        self._deadlines[peer] = self._loop.clock() + GREETING_S
        md5 = self._md5 == "always" or (self._md5 == "loopback" and local)
        peer.side = Greeting(peer, self._authkey, self, md5_allowed=md5)

    # -- peers -----------------------------------------------------------------------------------

    def authenticated(self, peer: Peer, protocol: Literal["own", "stock"], detail: str) -> Side:
        """Give an authenticated peer the side that speaks its protocol."""
        self._deadlines.pop(peer, None)
        self._log.debug("peer.authenticated", peer=peer.label, protocol=protocol, detail=detail)
        if detail == "md5":
            self._note_md5(peer)
        peer.side = self._sides[protocol](peer)
        return peer.side

    def _note_md5(self, peer: Peer) -> None:
        """Tell the log once per host: a stock client connects several times for each object it makes."""
        host = peer.label.rpartition(":")[0]
        if host not in self._md5_hosts and len(self._md5_hosts) < UNKNOWN_MAX:
            self._md5_hosts.add(host)
            self._log.info(
                "peer.md5", peer=peer.label, reason="a client of Python 3.11 or earlier; see --md5"
            )

    def refused(self, peer: Peer, reason: str) -> None:
        """Close a peer that could not authenticate."""
        self._log.warning("peer.refused", peer=peer.label, reason=reason)
        peer.close()

    def gone(self, peer: Peer) -> None:
        """Forget a closed peer."""
        self._peers.pop(peer, None)
        self._deadlines.pop(peer, None)
        self._lingering.pop(peer, None)

    def lingers(self, peer: Peer) -> None:
        """Close a peer soon that was told everything."""
        self._deadlines.pop(peer, None)
        self._lingering[peer] = self._loop.clock() + LINGER_S

    def next_deadline_s(self) -> float | None:
        """Return when the first peer's time is up."""
        return min(
            (next(iter(waiting.values())) for waiting in (self._deadlines, self._lingering) if waiting),
            default=None,
        )

    def advance(self, now_s: float) -> None:
        """Close whose time is up."""
        for waiting, reason in (
            (self._deadlines, f"not authenticated within {GREETING_S:g} s"),
            (self._lingering, ""),
        ):
            for peer, deadline_s in list(waiting.items()):
                if deadline_s > now_s:
                    break
                if reason:
                    self._log.warning("peer.refused", peer=peer.label, reason=reason)
                peer.close_now()

    # -- end -------------------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Accept nobody any more."""
        for sock, acceptor in self._sockets:
            self._loop.forget(sock.fileno(), acceptor)
            sock.close()
        self._sockets.clear()
        if self._unlink:
            Path(self._unlink).unlink(missing_ok=True)
            self._unlink = ""

    def say_goodbye(self, reason: str) -> None:
        """Tell every peer that the server stops, and close."""
        for peer in list(self._peers):
            if peer.side is not None:
                peer.side.goodbye(reason)
            peer.close()

    @property
    def peers(self) -> int:
        """Number of connections."""
        return len(self._peers)

    def close(self) -> None:
        """Close everything now."""
        self.stop_listening()
        for peer in list(self._peers):
            peer.close_now()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None


class _Acceptor:
    """A listening socket as a handler of the loop."""

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        self._listener = listener
        self._sock = sock

    def readable(self) -> None:
        self._listener.accept(self._sock)

    def writable(self) -> None:
        """A listening socket writes nothing."""

    def broken(self, error: Exception) -> None:
        self._listener._log.error(  # noqa: SLF001 - a part of it
            "listener.failed", error=repr(error), exc_info=error
        )


class Greeting:
    """The side of a peer that has not authenticated yet."""

    def __init__(self, peer: Peer, authkey: bytes, listener: Listener, *, md5_allowed: bool) -> None:
        self._peer = peer
        self._authkey = authkey
        self._listener = listener
        nonce = secrets.token_bytes(stock.NONCE_BYTES)
        self._handshake: stock.ServerHandshake | own.ServerHandshake = stock.ServerHandshake(
            authkey, md5_allowed=md5_allowed, nonce=nonce
        )
        peer.send([self._handshake.data_to_send()])

    def receive_data(self, data: bytes) -> None:
        """Go on with the handshake."""
        self._handshake.receive_data(data)
        self._step()

    def _step(self) -> None:
        event = self._handshake.next_event()
        said = self._handshake.data_to_send()
        if said:
            self._peer.send([said])
        match event:
            case stock.Refused(reason=reason):
                self._listener.refused(self._peer, reason)
            case stock.OwnHello(hello=hello):
                self._change_to_own(hello)
            case stock.Authenticated(digest=digest):
                self._hand_over("stock", digest)
            case own.Authenticated():
                self._hand_over("own", "")
            case _:
                return

    def _change_to_own(self, hello: bytes) -> None:
        rest = self._handshake.trailing_data()
        self._handshake = own.ServerHandshake(
            self._authkey, hello, nonce=secrets.token_bytes(own.NONCE_BYTES)
        )
        self._handshake.receive_data(rest)
        self._step()

    def _hand_over(self, protocol: Literal["own", "stock"], detail: str) -> None:
        rest = self._handshake.trailing_data()
        side = self._listener.authenticated(self._peer, protocol, detail)
        if rest:
            side.receive_data(rest)

    def room(self) -> None:
        """Nothing large is taken before authentication."""

    def fill(self, size_bytes: int) -> None:
        """Never called: there is no room."""

    def starved(self) -> bool:
        """Always: each side waits for the other during a handshake."""
        return True

    def drained(self) -> None:
        """Nothing depends on it."""

    def closed(self) -> None:
        """Nothing is owed to an unknown peer."""

    def goodbye(self, reason: str) -> None:
        """An unknown peer is told nothing."""


def _prepare_tcp(sock: socket.socket) -> None:
    """Send at once, and find hosts that vanished without a word."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", 10),
            ("TCP_KEEPINTVL", 5),
            ("TCP_KEEPCNT", 4),
            ("TCP_USER_TIMEOUT", 30_000),
        ):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _unix_socket(path: str) -> socket.socket:
    """Return a socket bound to `path`, readable and writable by this user only; a dead server's leftover is
    replaced.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(1.0)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        if Path(path).is_socket():  # a file of somebody's refuses too; bind() will tell of that one
            Path(path).unlink()
    except OSError:
        return
    finally:
        probe.close()
