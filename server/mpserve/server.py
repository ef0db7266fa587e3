"""The server as a whole.

It wires the rooms: loop and listener (net), the two protocols (dispatch), the state (engines).
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpserve.core.bounds import HeldLimits
from mpserve.dispatch.beside import Beside
from mpserve.dispatch.dispatcher import Dispatcher, Limits, new_identity
from mpserve.dispatch.own import OwnSide
from mpserve.dispatch.registered import (
    BadRegistration,
    RegisteredClasses,
    Registration,
    load_registrations,
)
from mpserve.dispatch.stock import StockSide
from mpserve.engines.memory import MemoryEngine
from mpserve.net.gate import GateLimits
from mpserve.net.keyring import Keyring
from mpserve.net.listener import Listener, Md5
from mpserve.net.loop import Loop
from mpshared import __version__ as VERSION
from mpshared import limits, settings
from mpshared.address import Address
from mpshared.keys import KeyProblem
from mpshared.spinning import can_spin

if TYPE_CHECKING:
    from mpserve.engines.journal.engine import JournalEngine
    from mpserve.engines.journal.store import Store, Sync
    from mpshared.log import Logger
    from mpshared.tls import ServerTls

__all__ = ["BadRegistration", "Options", "Server"]

SOON_S = 30 * 86400.0
"""A certificate that expires before that is told of at the start."""
GOODBYE_S = 1.0
"""How long peers may take to read the goodbye when the server stops."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a server is to run; the same names as the options of `mpserve start`, limits in groups."""

    address: Address
    advertise: Address | None = None
    max_message: int = limits.MAX_MESSAGE.default
    max_memory: int | None = None
    max_attempts: int = settings.MAX_ATTEMPTS.default
    grace_s: float = settings.GRACE.default
    session_timeout_s: float = settings.SESSION_TIMEOUT.default
    register: tuple[str, ...] = ()
    md5: Md5 = "loopback"
    allow_shutdown: bool = False
    tcp_only: bool = False
    """Clients of this machine are not offered a Unix socket."""
    spin_s: float = settings.SPIN.default
    """How long to look for more before sleeping."""
    data: str | None = None
    """The folder of the journal; None: everything is in memory only."""
    sync: Sync = "full"
    tls: ServerTls | None = None
    """What is spoken at `address`; None: no TLS."""
    plain: Address | None = None
    """Where to listen too, without TLS: for `Server.listen_plain`."""
    gate: GateLimits = field(default_factory=GateLimits)
    """Who may come in."""
    held: HeldLimits = field(default_factory=HeldLimits)
    """How many there may be of what the server holds."""
    max_lanes: int = limits.MAX_LANES.default
    max_unread: int = limits.MAX_UNREAD.default


class Server:
    """One server: listens, serves until it is stopped, leaves nothing behind."""

    def __init__(
        self,
        options: Options,
        keys: Keyring | bytes,
        log: Logger,
        registrations: Mapping[str, Registration] | None = None,
    ) -> None:
        """Make a server that does not listen yet; `keys` let in, bytes are the clients' only key.

        Raises:
            BadRegistration: What is to be registered cannot be used.
            StoreError: The folder for the data cannot.
        """
        own = {**load_registrations(options.register), **(registrations or {})}
        self.options = options
        self.keys = keys if isinstance(keys, Keyring) else Keyring.of(keys)
        self.log = log
        spin_s = options.spin_s if can_spin() else 0.0
        self.loop = Loop(spin_s=spin_s)
        self.loop.trouble = lambda err: log.error("loop.failed", error=repr(err), exc_info=err)
        self.store = None if options.data is None else _open_store(options)
        self.engine = self._make_engine()
        self.engine.bounds.limits = options.held
        self.engine.handed_over = self.loop.handed_over
        self.dispatcher = self._make_dispatcher(spin_s)
        self.dispatcher.beside = Beside(self.loop.call_soon_threadsafe)
        self._revive()
        self.registered = RegisteredClasses(
            own, self.loop.call_soon_threadsafe, self.engine.kind_of, self.loop.clock
        )
        self.listener = self._make_listener()
        self.engine.bounds.connections = self.listener.gate.statistics
        self.loop.timed += [self.engine, self.registered] if own else [self.engine]
        self.loop.stood = self.engine.stood
        self.loop.starved = self.engine.lacks_memory
        self.address = options.address
        self.plain: Address | None = None
        self.stop_reason = ""

    def _make_listener(self) -> Listener:
        return Listener(
            self.loop,
            self.log,
            keys=self.keys,
            md5=self.options.md5,
            own_side=lambda transport, access: OwnSide(self.dispatcher, transport, access),
            stock_side=lambda transport, access: StockSide(
                self.dispatcher, transport, self.registered, access
            ),
            limits=self.options.gate,
            refused=self.engine.bounds.refused,
        )

    def _make_dispatcher(self, spin_s: float) -> Dispatcher:
        options = self.options
        return Dispatcher(
            self.engine,
            self.loop.clock,
            self.log,
            limits=Limits(
                max_message=options.max_message,
                spin_s=spin_s / 2,
                lanes=options.max_lanes,
                kept_bytes=options.max_unread,
                allow_shutdown=options.allow_shutdown,
                admins=self.keys.has("admin"),
                session_timeout_s=options.session_timeout_s,
                grace_s=options.grace_s,
                advertise=str(options.advertise or ""),
                advertise_stock=options.tls is None,
            ),
            stop=self.stop,
            identity=None if self.store is None else (self.store.server, self.store.epoch),
            bounds=self.engine.bounds,
        )

    def _make_engine(self) -> MemoryEngine:
        how: dict[str, Any] = {
            "grace_s": self.options.grace_s,
            "session_timeout_s": self.options.session_timeout_s,
            "max_bytes": self.options.max_memory or 0,
            "max_attempts": self.options.max_attempts,
            "wall_offset_s": time.time() - self.loop.clock(),
        }
        if self.store is None:
            return MemoryEngine(_new_ident, **how)
        from mpserve.engines.journal.engine import JournalEngine  # noqa: PLC0415 - loads SQLite

        return JournalEngine(_new_ident, self.store, self.loop.call_soon_threadsafe, **how)

    def _revive(self) -> None:
        """Go on from what the journal brought back, and have it written to from now on."""
        if self.journal is None:
            return
        restored = self.journal.restored
        for damage in restored.damage:
            self.log.error("journal.damaged", what=damage, kept="the damaged files, as damaged-*.db")
        objects, sessions = len(self.engine.catalogue.objects), len(restored.sessions)
        self.log.info("journal.read", objects=objects, sessions=sessions, changes=restored.entries)
        self.journal.revive(self.loop.clock())
        self.loop.ender = self.journal

    @property
    def journal(self) -> JournalEngine | None:
        """The engine, if it has a journal."""
        return None if self.store is None else self.engine  # type: ignore[return-value]

    def listen(self) -> Address:
        """Begin to accept; return the address with the port that the system chose.

        Raises:
            OSError: The address cannot be listened at.
        """
        options = self.options
        self.address = self.listener.listen(options.address, options.tls)
        if not (options.tcp_only or self.address.is_unix or options.tls is not None):
            self.dispatcher.shortcut = self.listener.open_shortcut()
        return self.address

    def listen_plain(self, address: Address) -> None:
        """Begin to accept here too, without TLS.

        Raises:
            OSError: The address cannot be listened at.
        """
        self.plain = self.listener.listen(address)

    def serve(self) -> None:
        """Serve until `stop`, then say goodbye and close."""
        self.log.info(
            "server.ready", address=str(self.address), pid=os.getpid(), version=VERSION, **self._security()
        )
        self._watch_certificate()
        try:
            self.loop.run()
            self._say_goodbye()
        finally:
            self.close()
        self.log.info("server.stopped", reason=self.stop_reason)

    def _watch_certificate(self) -> None:
        if self.options.tls is not None and self.options.tls.until_s < time.time() + SOON_S:
            self.log.warning(
                "tls.expires_soon",
                todo="replace the files of --tls-cert and --tls-key, then send SIGHUP to the server",
            )

    def reload(self) -> None:
        """Read keys and certificates again, for the connections to come. Safe in a signal handler."""
        self.loop.call_soon_threadsafe(self._reload)

    def _reload(self) -> None:
        try:
            done = self.keys.reload()
        except KeyProblem as err:
            self.log.error("keys.not_reloaded", why=str(err), so="the keys of before go on, all of them")
        else:
            self.log.info("keys.reloaded", **done)
        if self.options.tls is None:
            return
        from mpshared.tls import TlsProblem  # noqa: PLC0415 - loads ssl

        try:
            self.options.tls.reload()
        except TlsProblem as err:
            self.log.error("tls.not_reloaded", why=str(err), so="the certificate of before goes on")
        else:
            self.log.info("tls.reloaded", certificate_until=_day(self.options.tls.until_s))
            self._watch_certificate()

    def _security(self) -> dict[str, str]:
        """Return what the log says of TLS."""
        if self.options.tls is None:
            return {} if self.plain is None else {"plain": str(self.plain)}
        told = "1.3, clients need a certificate" if self.options.tls.wants_certificates else "1.3"
        stock = "cannot connect: they speak no TLS; see --plain" if self.plain is None else f"at {self.plain}"
        return {
            "tls": told,
            "certificate_until": _day(self.options.tls.until_s),
            "standard_library_clients": stock,
        }

    def stop(self, reason: str) -> None:
        """Leave `serve` soon. Safe in a signal handler."""
        self.stop_reason = self.stop_reason or reason
        self.loop.stop()

    def _say_goodbye(self) -> None:
        self.dispatcher.stopping = True
        self.listener.stop_listening()
        self._close_journal()
        self.listener.say_goodbye("gone" if self.store is None else "restarting")
        until_s = self.loop.clock() + GOODBYE_S
        while self.listener.peers and self.loop.clock() < until_s:
            self.loop.turn(0.05)

    def _close_journal(self) -> None:
        """Write and answer what is done, `GOODBYE_S` at most; what happens from now on leaves no trace.

        So those who hang up now are still there after the restart, and what they ask is asked again there.
        """
        until_s = self.loop.clock() + GOODBYE_S
        while self.journal is not None and self.journal.is_writing and self.loop.clock() < until_s:
            self.loop.turn(0.01)
        self.loop.ender = None
        if self.journal is not None and not self.journal.close():
            self.log.error("journal.incomplete", why="what was not answered yet could not be written")

    def close(self) -> None:
        """Close all sockets, and the journal. A second time does nothing."""
        self.listener.close()
        self.registered.close()
        self.dispatcher.beside.close()
        self._close_journal()
        self.loop.close()

    def stop_at_end_of(self, fd: int) -> None:
        """Stop when the other end of the pipe `fd` is closed: the program that this server was started for is
        gone.
        """
        self.loop.watch(fd, _Lifeline(self, fd))


def _day(wall_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(wall_s))


def _new_ident() -> str:
    return secrets.token_hex(8)


def _open_store(options: Options) -> Store:
    from mpserve.engines.journal.store import Store  # noqa: PLC0415 - loads SQLite

    assert options.data is not None
    return Store(Path(options.data), options.sync, new_identity())


class _Lifeline:
    """The reading end of a pipe that nobody ever writes to."""

    def __init__(self, server: Server, fd: int) -> None:
        self._server = server
        self._fd = fd

    def readable(self) -> None:
        if not os.read(self._fd, 1):
            self._server.loop.forget(self._fd, self)
            self._server.stop("the program that started this server has ended")

    def writable(self) -> None:
        """Nothing is written."""

    def broken(self, error: Exception) -> None:
        self._server.stop(f"the lifeline broke: {error!r}")
