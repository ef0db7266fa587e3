"""Accepting connections, and everything a peer may not yet do.

RULES
* A peer has `GREETING_S` to authenticate; at most `UNKNOWN_MAX` may be on their way at once, then the oldest
  must go.
* A peer that has more to read and takes nothing of it for `STALLED_S` is dropped.
* A peer that is being closed has `LINGER_S` to read the last it is told, and as long again to close its end.
* A peer's role is that of the key it has proved. Which keys are accepted is settled when it is greeted.
* One port, both protocols: the standard library's challenge is sent first, and the answer tells who came.
* Where TLS is spoken, a peer is greeted when its handshake is done; one that says nothing for `SILENT_S` does
  not speak it.
"""

from __future__ import annotations

import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from mpserve.net.door import Door
from mpserve.net.peer import Peer
from mpserve.net.sockets import listen_abstract, listen_tcp, listen_unix, prepare_tcp
from mpshared.address import Address
from mpshared.wire.own import handshake as own
from mpshared.wire.stock import server as stock

if TYPE_CHECKING:
    from mpserve.dispatch.transport import Side, Transport
    from mpserve.net.keyring import Keyring
    from mpserve.net.loop import Loop
    from mpserve.net.tls import TlsPeer
    from mpshared.log import Logger
    from mpshared.ops import Role
    from mpshared.tls import ServerTls

__all__ = ["Listener", "SideFactory"]

SideFactory = Callable[["Transport", "Role"], "Side"]
Md5 = Literal["loopback", "always", "never"]

GREETING_S: Final = 10.0
"""For the whole handshake. Precedent: PostgreSQL's authentication_timeout is 60 s, OpenSSH's LoginGraceTime
120 s; a key needs less."""
LINGER_S: Final = 2.0
"""For a peer to read the last it is told, and again to close its end."""
STALLED_S: Final = 30.0
"""For a peer to take some of what it is told. `sockets` has as much for hosts that vanish; this is for those
that are there."""
SILENT_S: Final = 3.0
"""For the first byte of a peer where TLS is spoken. Its client speaks first, at once; one without TLS waits,
and gives up after 5 s (a worker) or 10 s: it is to hear why before that."""
UNKNOWN_MAX: Final = 1024
"""Unauthenticated peers at once, and closing ones. Precedent: OpenSSH's MaxStartups, 100."""


class Listener:
    """The server's sockets."""

    def __init__(
        self,
        loop: Loop,
        log: Logger,
        *,
        keys: Keyring,
        md5: Md5,
        own_side: SideFactory,
        stock_side: SideFactory,
        greeting_s: float = GREETING_S,
        linger_s: float = LINGER_S,
    ) -> None:
        self._loop = loop
        self._log = log
        self._keys = keys
        self._md5 = md5
        self._greeting_s = greeting_s
        self._linger_s = linger_s
        self._sides: dict[str, SideFactory] = {"own": own_side, "stock": stock_side}
        self._peers: dict[Peer, None] = {}
        self._deadlines: OrderedDict[Peer, float] = OrderedDict()
        self._lingering: OrderedDict[Peer, float] = OrderedDict()
        self._stalled: OrderedDict[Peer, float] = OrderedDict()
        self._silent: OrderedDict[TlsPeer, float] = OrderedDict()
        self._minds_time = False
        self._doors: list[Door] = []
        self._md5_hosts: set[str] = set()

    # -- listening -------------------------------------------------------------------------------

    def listen(self, address: Address, tls: ServerTls | None = None) -> Address:
        """Begin to accept at `address`; return it with the port that the system chose.

        Raises:
            OSError: It cannot be listened at.
        """
        sock = listen_unix(address.path) if address.is_unix else listen_tcp(address)
        welcome = self._welcome if tls is None else partial(self._welcome_tls, tls)
        try:
            self._doors.append(Door(self._loop, self._log, sock, welcome))
        except OSError:
            sock.close()
            raise
        return address if address.is_unix else address.with_port(sock.getsockname()[1])

    def open_shortcut(self) -> str:
        """Begin to accept at a Unix socket that has no file; return its name, "" where there can be none.

        Whoever connects there has to prove himself like everybody else.
        """
        name = f"mpserve-{secrets.token_hex(16)}"
        try:
            sock = listen_abstract(name)
        except OSError as err:
            self._log.debug("server.no_shortcut", reason=str(err))
            return ""
        self._doors.append(Door(self._loop, self._log, sock, self._welcome))
        return name

    def _welcome(self, sock: socket.socket, sockaddr: object) -> None:
        label, local = _prepare(sock, sockaddr)
        peer = Peer(self._loop, sock, label, self._log, self)
        self._admit(peer)
        self._greet(b"", peer, local=local)

    def _welcome_tls(self, tls: ServerTls, sock: socket.socket, sockaddr: object) -> None:
        from mpserve.net.tls import TlsPeer  # noqa: PLC0415 - who speaks no TLS does without

        label, local = _prepare(sock, sockaddr)
        greet = partial(self._greet, tls.channel, local=local)
        peer = TlsPeer(self._loop, sock, label, self._log, self, tls.machine(), greet)
        self._silent[peer] = self._loop.clock() + SILENT_S
        self._admit(peer)

    def _admit(self, peer: Peer) -> None:
        self._peers[peer] = None
        if len(self._deadlines) >= UNKNOWN_MAX:
            oldest = next(iter(self._deadlines))
            crowded = "too many peers are authenticating; the oldest gives way"
            self._log.warning("peer.refused", peer=oldest.label, reason=crowded)
            oldest.close_now()
        self._deadlines[peer] = self._loop.clock() + self._greeting_s
        self._mind_time()

    def _greet(self, channel: bytes, peer: Peer, *, local: bool) -> None:
        md5 = self._md5 == "always" or (self._md5 == "loopback" and local)
        peer.side = Greeting(peer, self._keys.accepted(), self, md5_allowed=md5, channel=channel)

    # -- peers -----------------------------------------------------------------------------------

    def authenticated(self, peer: Peer, protocol: Literal["own", "stock"], detail: str, access: Role) -> Side:
        """Give an authenticated peer the side that speaks its protocol."""
        self._deadlines.pop(peer, None)
        self._silent.pop(peer, None)  # type: ignore[call-overload]
        self._mind_time()
        self._log.debug("peer.authenticated", peer=peer.label, protocol=protocol, key=access, detail=detail)
        if detail == "md5":
            self._note_md5(peer)
        peer.side = self._sides[protocol](peer, access)
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
        self._stalled.pop(peer, None)
        self._silent.pop(peer, None)  # type: ignore[call-overload]
        self._mind_time()

    def stalls(self, peer: Peer) -> None:
        """Note that a peer has more to read, and took something just now, or begins not to."""
        self._stalled.pop(peer, None)  # to the end: the order is that of the deadlines
        self._stalled[peer] = self._loop.clock() + STALLED_S
        self._mind_time()

    def reads(self, peer: Peer) -> None:
        """Note that a peer has read all it was told."""
        self._stalled.pop(peer, None)
        self._mind_time()

    def lingers(self, peer: Peer) -> None:
        """Close a peer soon: it is being told the last, or has been."""
        self._deadlines.pop(peer, None)
        self._lingering.pop(peer, None)  # its new place is at the end: the order is that of the deadlines
        if len(self._lingering) >= UNKNOWN_MAX:
            next(iter(self._lingering)).close_now()
        self._lingering[peer] = self._loop.clock() + self._linger_s
        self._mind_time()

    def _mind_time(self) -> None:
        """Be asked by the loop, in each of its turns, only while somebody's time runs."""
        runs = bool(self._deadlines or self._lingering or self._stalled)  # the silent have deadlines, too
        if runs != self._minds_time:
            self._minds_time = runs
            (self._loop.timed.append if runs else self._loop.timed.remove)(self)

    def next_deadline_s(self) -> float | None:
        """Return when the first peer's time is up."""
        return min(
            (next(iter(waiting.values())) for waiting in self._waiting() if waiting),
            default=None,
        )

    def _waiting(self) -> tuple[Mapping[Peer, float], ...]:
        return self._deadlines, self._lingering, self._stalled, self._silent  # type: ignore[return-value]

    def advance(self, now_s: float) -> None:
        """Close whose time is up."""
        self._advance_silent(now_s)
        for waiting, event, reason in (
            (self._deadlines, "peer.refused", f"not authenticated within {self._greeting_s:g} s"),
            (self._lingering, "", ""),
            (self._stalled, "peer.dropped", f"it has read nothing of what it was told for {STALLED_S:g} s"),
        ):
            for peer, deadline_s in list(waiting.items()):
                if deadline_s > now_s:
                    break
                if event:
                    self._log.warning(event, peer=peer.label, reason=reason)
                peer.close_now()

    def _advance_silent(self, now_s: float) -> None:
        while self._silent:
            peer, deadline_s = next(iter(self._silent.items()))
            if deadline_s > now_s:
                return
            del self._silent[peer]
            if not peer.spoke:
                peer.refuse_silent()

    # -- end -------------------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Accept nobody any more."""
        for door in self._doors:
            door.close()
        self._doors.clear()

    def say_goodbye(self, reason: str) -> None:
        """Tell every peer that the server stops, and close."""
        for peer in list(self._peers):
            side = peer.side
            peer.close(wait=side is not None and side.goodbye(reason))

    @property
    def peers(self) -> int:
        """Number of connections."""
        return len(self._peers)

    def close(self) -> None:
        """Close everything now."""
        self.stop_listening()
        for peer in list(self._peers):
            peer.close_now()


def _prepare(sock: socket.socket, sockaddr: object) -> tuple[str, bool]:
    """Set up an accepted socket; return how its peer is called, and whether it is on this machine."""
    sock.setblocking(False)
    if not isinstance(sockaddr, tuple):
        return "unix", True
    prepare_tcp(sock)
    peer_address = Address.from_sockaddr(sockaddr)
    return str(peer_address), peer_address.is_local


class Greeting:
    """The side of a peer that has not authenticated yet."""

    attentive = False

    def __init__(
        self,
        peer: Peer,
        keys: Sequence[tuple[Role, bytes]],
        listener: Listener,
        *,
        md5_allowed: bool,
        channel: bytes = b"",
    ) -> None:
        self._channel = channel
        self._peer = peer
        self._roles = [role for role, _ in keys]
        self._authkey, *self._others = (secret for _, secret in keys)
        self._listener = listener
        nonce = secrets.token_bytes(stock.NONCE_BYTES)
        self._handshake: stock.ServerHandshake | own.ServerHandshake = stock.ServerHandshake(
            self._authkey, md5_allowed=md5_allowed, nonce=nonce, others=self._others
        )
        peer.send([self._handshake.data_to_send()])

    def receive_data(self, data: bytes) -> bool:
        """Go on with the handshake."""
        self._handshake.receive_data(data)
        return self._step()

    def _step(self) -> bool:
        event = self._handshake.next_event()
        said = self._handshake.data_to_send()
        if said:
            self._peer.send([said])
        match event:
            case stock.Refused(reason=reason):
                self._listener.refused(self._peer, reason)
            case stock.OwnHello(hello=hello):
                return self._change_to_own(hello)
            case stock.Authenticated(digest=digest, key=which):
                return self._hand_over("stock", digest, which)
            case own.Authenticated(key=which):
                return self._hand_over("own", "", which)
        return False

    def _change_to_own(self, hello: bytes) -> bool:
        rest = self._handshake.trailing_data()
        self._handshake = own.ServerHandshake(
            self._authkey,
            hello,
            nonce=secrets.token_bytes(own.NONCE_BYTES),
            channel=self._channel,
            others=self._others,
        )
        self._handshake.receive_data(rest)
        return self._step()

    def _hand_over(self, protocol: Literal["own", "stock"], detail: str, which: int) -> bool:
        rest = self._handshake.trailing_data()
        side = self._listener.authenticated(self._peer, protocol, detail, self._roles[which])
        return bool(rest) and side.receive_data(rest)

    def room(self) -> None:
        """Nothing large is taken before authentication."""

    def fill(self, size_bytes: int) -> bool:
        """Never called: there is no room."""
        _ = size_bytes
        return False

    def starved(self) -> bool:
        """Always: each side waits for the other during a handshake."""
        return True

    def drained(self) -> None:
        """Nothing depends on it."""

    def closed(self) -> None:
        """Nothing is owed to an unknown peer."""

    def goodbye(self, reason: str) -> bool:
        """An unknown peer is told nothing."""
        _ = reason
        return False
