"""All who are connected: how they come in by the doors, and how long each of them has for what.

RULES
* Who may come in, `gate` says. Who may not is told why in one frame and closed; nothing is kept of him.
* A peer has `GateLimits.auth_timeout_s` to authenticate.
* A peer that has more to read and takes nothing of it for `STALLED_S` is dropped.
* A peer that is being closed has `LINGER_S` to read the last it is told, and as long again to close its end.
* A peer that authenticates speaks with its `greeting`.
* What peers do wrong is told to the log, by the line at first, later in sums (`tally`).
* Where TLS is spoken, a peer is greeted when its handshake is done; one that says nothing for `SILENT_S` does
  not speak it.
"""

from __future__ import annotations

import secrets
import socket
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from mpserve.net.door import Door, turn_away
from mpserve.net.gate import Gate, GateLimits, TurnedAway, origin_of
from mpserve.net.greeting import Greeting
from mpserve.net.peer import Peer
from mpserve.net.sockets import listen_abstract, listen_tcp, listen_unix, prepare_tcp
from mpserve.net.tally import Tally
from mpshared.address import UNIX_SEND_BYTES, Address

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
_Enter = Callable[[socket.socket, object, str], Peer]
Md5 = Literal["loopback", "always", "never"]

LINGER_S: Final = 2.0
"""For a peer to read the last it is told, and again to close its end."""
STALLED_S: Final = 30.0
"""For a peer to take some of what it is told. `sockets` has as much for hosts that vanish; this is for those
that are there."""
SILENT_S: Final = 3.0
"""For the first byte of a peer where TLS is spoken. Its client speaks first, at once; one without TLS waits,
and gives up after 5 s (a worker) or 10 s: it is to hear why before that."""
LINGERING_MAX: Final = 1024
"""Closing peers at once that have not authenticated; the others `gate` bounds: at a stop each is told."""
MD5_HOSTS_MAX: Final = 1024


class _Held(NamedTuple):
    """An accepted connection that has to wait; nothing of it is read."""

    until_s: float
    origin: str
    sock: socket.socket
    go_on: Callable[[], None]


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
        limits: GateLimits,
        refused: Counter[str],
        linger_s: float = LINGER_S,
    ) -> None:
        self._loop = loop
        self._log = log
        self._keys = keys
        self._md5 = md5
        self.gate: Gate[Peer] = Gate(limits, refused)
        self._tally = Tally(log)
        self._held: deque[_Held] = deque()
        self._linger_s = linger_s
        self._sides: dict[str, SideFactory] = {"own": own_side, "stock": stock_side}
        self.peers = 0
        """Number of connections."""
        self._deadlines: OrderedDict[Peer, float] = OrderedDict()
        self._lingering: OrderedDict[Peer, float] = OrderedDict()
        self._strangers: dict[Peer, None] = {}
        """Those among the lingering that have not authenticated, in the same order."""
        self._stalled: OrderedDict[Peer, float] = OrderedDict()
        self._silent: OrderedDict[TlsPeer, float] = OrderedDict()
        self._minds_time = False
        self._next_s: float | None = None
        self._doors: list[Door] = []
        self._md5_hosts: set[str] = set()

    # -- listening -------------------------------------------------------------------------------

    def listen(self, address: Address, tls: ServerTls | None = None) -> Address:
        """Begin to accept at `address`; return it with the port that the system chose.

        Raises:
            OSError: It cannot be listened at.
        """
        sock = listen_unix(address.path) if address.is_unix else listen_tcp(address)
        enter = self._enter if tls is None else partial(self._enter_tls, tls)
        welcome = partial(self._welcome, enter)
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
        self._doors.append(Door(self._loop, self._log, sock, partial(self._welcome, self._enter)))
        return name

    def _welcome(self, enter: _Enter, sock: socket.socket, sockaddr: object) -> None:
        """Let an accepted connection come in, now or later, or turn it away."""
        origin, now_s = origin_of(sockaddr), self._loop.clock()
        try:
            wait_s = self.gate.knock(origin, now_s)
        except TurnedAway as err:
            turn_away(sock, str(err))
            self._tell("peer.turned_away", origin, 1, peer=_named(sockaddr)[0], limit=err.limit, why=str(err))
            return
        go_on = partial(self._go_on, enter, origin, sock, sockaddr)
        if not wait_s:
            go_on()
            return
        self._held.append(_Held(now_s + wait_s, origin, sock, go_on))
        self._mind_time()

    def _go_on(self, enter: _Enter, origin: str, sock: socket.socket, sockaddr: object) -> None:
        try:
            peer = enter(sock, sockaddr, origin)
        except BaseException:
            self.gate.leave(origin)
            raise
        peer.counted = True
        self.peers += 1
        oldest = self.gate.arrive(peer, origin)
        if oldest is not None:
            reason = "too many peers are authenticating; the oldest gives way (--max-unauthenticated)"
            self.complain("peer.refused", oldest, reason)
            oldest.close_now()
        self._deadlines[peer] = self._loop.clock() + self.gate.limits.auth_timeout_s
        self._mind_time()

    def _enter(self, sock: socket.socket, sockaddr: object, origin: str) -> Peer:
        label, local = _prepare(sock, sockaddr)
        peer = Peer(self._loop, sock, label, self._log, self, origin)
        self._greet(b"", peer, local=local)
        return peer

    def _enter_tls(self, tls: ServerTls, sock: socket.socket, sockaddr: object, origin: str) -> Peer:
        from mpserve.net.tls import TlsPeer  # noqa: PLC0415 - who speaks no TLS does without

        label, local = _prepare(sock, sockaddr)
        greet = partial(self._greet, tls.channel, local=local)
        peer = TlsPeer(self._loop, sock, label, self._log, self, origin, tls.machine(), greet)
        self._silent[peer] = self._loop.clock() + SILENT_S
        return peer

    def _greet(self, channel: bytes, peer: Peer, *, local: bool) -> None:
        md5 = self._md5 == "always" or (self._md5 == "loopback" and local)
        peer.side = Greeting(peer, self._keys.accepted(), self, md5_allowed=md5, channel=channel)

    # -- peers -----------------------------------------------------------------------------------

    def authenticated(self, peer: Peer, protocol: Literal["own", "stock"], detail: str, access: Role) -> Side:
        """Give an authenticated peer the side that speaks its protocol."""
        self.gate.authenticated(peer)
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
        if host not in self._md5_hosts and len(self._md5_hosts) < MD5_HOSTS_MAX:
            self._md5_hosts.add(host)
            self._log.info(
                "peer.md5", peer=peer.label, reason="a client of Python 3.11 or earlier; see --md5"
            )

    def refused(self, peer: Peer, reason: str) -> None:
        """Close a peer that could not authenticate; its address is slowed down if that is often so."""
        self.gate.failed(peer.origin, self._loop.clock())
        self.complain("peer.refused", peer, reason)
        peer.close()

    def complain(self, event: str, peer: Peer, reason: str) -> None:
        """Tell the log what a peer did wrong; in a minute as often as its address may fail."""
        self._tell(event, peer.origin, self.gate.limits.max_failures, peer=peer.label, reason=reason)

    def _tell(self, event: str, origin: str, most: int, **fields: object) -> None:
        self._tally.tell(event, origin, self._loop.clock(), most, **fields)
        self._mind_time()

    def gone(self, peer: Peer) -> None:
        """Forget a closed peer."""
        if not peer.counted:
            return  # it broke before it was one
        peer.counted = False
        self.peers -= 1
        self.gate.gone(peer, peer.origin)
        self._deadlines.pop(peer, None)
        self._lingering.pop(peer, None)
        self._strangers.pop(peer, None)
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
        if peer in self._deadlines or peer in self._strangers:
            self._lingers_unknown(peer)
        self._lingering.pop(peer, None)  # its new place is at the end: the order is that of the deadlines
        self._lingering[peer] = self._loop.clock() + self._linger_s
        self._mind_time()

    def _lingers_unknown(self, peer: Peer) -> None:
        self.gate.authenticated(peer)  # it is counted here instead
        self._deadlines.pop(peer, None)
        self._strangers.pop(peer, None)
        if len(self._strangers) >= LINGERING_MAX:
            next(iter(self._strangers)).close_now()
        self._strangers[peer] = None

    def _mind_time(self) -> None:
        """Note whose time is up next; be asked by the loop in each turn only while somebody's runs."""
        firsts = [next(iter(waiting.values())) for waiting in self._waiting() if waiting]
        if self._held:
            firsts.append(self._held[0].until_s)
        told_s = self._tally.next_deadline_s()
        if told_s is not None:
            firsts.append(told_s)
        self._next_s = min(firsts, default=None)
        runs = self._next_s is not None
        if runs != self._minds_time:
            self._minds_time = runs
            (self._loop.timed.append if runs else self._loop.timed.remove)(self)

    def next_deadline_s(self) -> float | None:
        """Return when the first peer's time is up."""
        return self._next_s

    def _waiting(self) -> tuple[Mapping[Peer, float], ...]:
        return self._deadlines, self._lingering, self._stalled, self._silent  # type: ignore[return-value]

    def advance(self, now_s: float) -> None:
        """Close whose time is up."""
        self._tally.advance(now_s)
        self._advance_held(now_s)
        self._advance_silent(now_s)
        late = f"not authenticated within {self.gate.limits.auth_timeout_s:g} s"
        stalled = f"it has read nothing of what it was told for {STALLED_S:g} s"
        for waiting, counted, event, reason in (
            (self._deadlines, "auth-timeout", "peer.refused", late),
            (self._lingering, "", "", ""),
            (self._stalled, "stalled", "peer.dropped", stalled),
        ):
            for peer, deadline_s in list(waiting.items()):
                if deadline_s > now_s:
                    break
                if event:
                    self.complain(event, peer, reason)
                    self.gate.refused[counted] += 1
                peer.close_now()
        self._mind_time()

    def _advance_held(self, now_s: float) -> None:
        while self._held and self._held[0].until_s <= now_s:
            held = self._held.popleft()
            self.gate.held_long_enough(held.origin)
            try:
                held.go_on()
            except Exception as err:  # noqa: BLE001 - the next one may fare better
                held.sock.close()
                self._log.error("listener.failed", error=repr(err), exc_info=err)

    def _advance_silent(self, now_s: float) -> None:
        while self._silent:
            peer, deadline_s = next(iter(self._silent.items()))
            if deadline_s > now_s:
                return
            del self._silent[peer]
            if not peer.spoke:
                self.gate.refused["silent"] += 1
                peer.refuse_silent()

    # -- end -------------------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Accept nobody any more."""
        for door in self._doors:
            door.close()
        self._doors.clear()
        while self._held:
            held = self._held.popleft()
            held.sock.close()
            self.gate.held_long_enough(held.origin)
            self.gate.leave(held.origin)

    def say_goodbye(self, reason: str) -> None:
        """Tell every peer that the server stops, and close."""
        for peer in self._all_peers():
            side = peer.side
            peer.close(wait=side is not None and side.goodbye(reason))

    def _all_peers(self) -> list[Peer]:
        return [handler for handler in self._loop.handlers() if isinstance(handler, Peer)]

    def close(self) -> None:
        """Close everything now."""
        self.stop_listening()
        for peer in self._all_peers():
            peer.close_now()
        self._tally.close()


def _prepare(sock: socket.socket, sockaddr: object) -> tuple[str, bool]:
    """Set up an accepted socket; return how its peer is called, and whether it is on this machine."""
    sock.setblocking(False)
    if isinstance(sockaddr, tuple):
        prepare_tcp(sock)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNIX_SEND_BYTES)
    return _named(sockaddr)


def _named(sockaddr: object) -> tuple[str, bool]:
    """Return how a peer is called, and whether it is on this machine."""
    if not isinstance(sockaddr, tuple):
        return "unix", True
    peer_address = Address.from_sockaddr(sockaddr)
    return str(peer_address), peer_address.is_local
