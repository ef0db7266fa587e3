"""What a session is, whoever drives it: threads (`mpclient.session`) or asyncio (`mpclient.aio`).

RULES
* A `Term` is a session as the server knows it: from the first ATTACH to its end.
* When a term ends early, whoever took part in it hears why, once; the next call begins a new term. What
  becomes of a term that expired: `mpclient.transport.stale`.
* A key that came from a file is read again when the server refuses it: it may have been replaced.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mpclient.output.remarks import remark
from mpclient.transport.dialling import HANDSHAKE_S, Busy, Connection, Lost, NoFiles, dial, no_server
from mpclient.transport.references import References
from mpclient.transport.stale import Stale, is_told
from mpshared import __version__
from mpshared.errors import (
    MpserveError,
    NotAllowed,
    ProtocolViolation,
    ServerGone,
    ServerRestarted,
    SessionExpired,
    make,
)
from mpshared.keys import Key, KeyProblem, read_key_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mpclient.output.printer import Printer
    from mpclient.transport.lane import Numbered
    from mpclient.transport.references import Handle
    from mpshared.address import Address
    from mpshared.ops import Op
    from mpshared.tls import ClientTls

__all__ = ["SAY_S", "Describes", "SessionBase", "Term", "again"]

T = TypeVar("T")
_STARTED_S: Final = time.time()
_RENEW_S: Final = 0.5
"""How long a call looks for a server once a session has ended: a program that tries again need not wait."""
SAY_S: Final = 3.0
"""A program that looks for its server longer than this says so."""
_BUSY_S: Final = 2.0
"""Between two attempts at a server that takes nobody more, at most: thousands may wait for their turn."""


@dataclass(frozen=True, slots=True)
class Describes:
    """What a program says of itself; the same fields as the server's `SessionInfo`."""

    role: str = "program"
    name: str = ""
    supervisor: str = ""
    slots: int = 0
    max_spawned: int = 0
    queue: str = ""
    pools: bool = False

    def as_body(self) -> dict[str, Any]:
        """Return the whole description: this, and what the process itself tells."""
        return asdict(self) | {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_s": _STARTED_S,
            "python": list(sys.version_info[:2]),
            "version": __version__,
        }


class Term:
    """One session as the server knows it."""

    __slots__ = (
        "_numbers",
        "beat_s",
        "durable",
        "epoch",
        "id",
        "lanes",
        "max_message_bytes",
        "over",
        "printer",
        "restarting",
        "secret",
        "server",
        "shortcut",
    )

    def __init__(self, attached: dict[str, Any], printer: Printer) -> None:
        self.printer = printer
        try:
            self.id: str = attached["session"]
            self.secret: str = attached["secret"]
            self.server: str = attached["server"]
            self.epoch: str = attached["epoch"]
            self.max_message_bytes: int = attached["limits"]["max_message"]
            self.beat_s: float = attached["session_timeout_s"] / 3
        except (KeyError, TypeError) as err:
            raise no_server(f"its greeting lacks {err}") from None
        if type(self.max_message_bytes) is not int or not 0 < self.beat_s < math.inf:
            raise no_server("its greeting has no sound limits")
        self.durable = bool(attached.get("durable"))
        self.restarting = False
        self.shortcut: Address | None = None
        """Where the server listens for clients of its own machine, while this is one."""
        self.over: MpserveError | None = None
        """Why it ended, once it has."""
        self.lanes: dict[int, weakref.ref[Numbered]] = {}
        self._numbers = count(1)

    def new_lane(self, lane: Numbered) -> int:
        """Register a lane and return its number."""
        number = next(self._numbers)
        self.lanes[number] = weakref.ref(lane)
        return number

    def living_lanes(self) -> list[Any]:
        """Return the lanes of living threads, and forget the others."""
        alive: list[Any] = []
        for number, ref in list(self.lanes.items()):
            lane = ref()
            if lane is None:
                self.lanes.pop(number, None)
            else:
                alive.append(lane)
        return alive

    def body(self, lane: int) -> dict[str, Any]:
        """Return what attaches a connection to this session and lane."""
        return {"session": self.id, "secret": self.secret, "lane": lane}


class SessionBase:
    """This process at one server: where that is, what it holds there, and its term."""

    def __init__(
        self,
        address: Address,
        key: bytes | Key,
        describes: Describes | None = None,
        *,
        tls: ClientTls | None = None,
        connect_timeout_s: float = 30.0,
        reconnect_timeout_s: float = 60.0,
    ) -> None:
        self.address = address
        self._found = key if isinstance(key, Key) else Key(key, "an argument")
        self.tls = tls
        """None: what is said is not encrypted."""
        self.describes = describes or Describes()
        self.connect_timeout_s = connect_timeout_s
        self.reconnect_timeout_s = reconnect_timeout_s
        self.advertise = ""
        self.references = References(self)
        self.closed = False
        self._forget_term()
        self._set_up()

    def _set_up(self) -> None:
        """Make what belongs to the one kind of session alone."""
        raise NotImplementedError

    def _forget_term(self) -> None:
        self._term: Term | None = None
        self._ended: MpserveError | None = None
        self._stale = Stale()
        self._unsettled: Term | None = None
        """A term that ended without word from the server of what it held."""
        self._closing = threading.Event()

    def __repr__(self) -> str:
        return f"<Session at {self.address}: {self._term.id if self._term else 'none'}>"

    @property
    def server_id(self) -> str:
        """The server's own id; the same for all addresses it has."""
        raise NotImplementedError

    def call(self, op: Op, target: str, args: list[Any]) -> Any:
        """Make one call."""
        raise NotImplementedError

    @property
    def why_renewed(self) -> str:
        """Why the term before ended; "" where there was none."""
        return "" if self._ended is None else self._ended.text

    # -- what is said of a server that is away ---------------------------------------------------

    def note_away(self, why: str, left_s: float) -> None:
        """Note that the server is away for over `SAY_S`, and tried for `left_s` more; programs say so."""
        if self.describes.role == "program":
            remark(f"{why}; trying for {left_s:.0f} s more, calls wait meanwhile")

    def note_back(self) -> None:
        """Note that the server which was away is there again."""
        if self.describes.role == "program":
            remark(f"the server at {self.address} is there again")

    # -- the key ---------------------------------------------------------------------------------

    @property
    def key(self) -> bytes:
        """The key that this process proves itself with."""
        return self._found.secret

    @property
    def found_key(self) -> Key:
        """The key, and where it was found."""
        return self._found

    def _dial(self, address: Address, timeout_s: float, tls: ClientTls | None = None) -> Connection:
        """Open an authenticated connection; where the key was refused, with what its file holds now."""
        tried = self.key
        try:
            return dial(address, tried, timeout_s, tls)
        except NotAllowed as err:
            if err.fields.get("reason") != "key" or self._key_now() == tried:
                raise
        return dial(address, self.key, timeout_s, tls)

    def _key_now(self) -> bytes:
        if self._found.file is not None:
            with suppress(KeyProblem):  # it is being replaced, or is not for us any more
                self._found = read_key_file(self._found.file)
        return self.key

    # -- references ------------------------------------------------------------------------------

    def claim(self, ident: str) -> Handle:
        """Note a reference that the server has given this session, and return the object's handle."""
        return self.references.claim(ident)

    def adopt(self, ident: str) -> Handle:
        """Take a reference to an object whose proxy came by another way than a value.

        Raises:
            NoSuchObject: It is gone.
        """
        raise NotImplementedError

    def make(self, kind: str, handle: Handle) -> Any:
        """Return the live object for what stood in a value; see `mpclient.objects.make`."""
        raise NotImplementedError

    def borrowed(self) -> Any:
        """Return the cluster that a value mentions, as its reader has it."""
        raise NotImplementedError

    def wake(self) -> None:
        """Have what is due looked at. Safe in finalisers and signal handlers."""
        raise NotImplementedError

    # -- beginning -------------------------------------------------------------------------------

    def _introduce(self, begin: Callable[[Connection, dict[str, Any]], T]) -> T:
        """Connect and introduce ourselves, again and again until time is up; return what `begin` makes of it.

        Args:
            begin: Is given the control connection of a new term, and what the server says of it.

        Raises:
            ServerGone: No server within the connect timeout (after the end of a term: within seconds).
            NotAllowed, ProtocolViolation: It is not our server.
        """
        if self.closed:
            raise self._closed_here("; call connect() again")
        before = self._unsettled
        body = self._introduction(before)
        limit_s = self.connect_timeout_s if self._ended is None else min(_RENEW_S, self.connect_timeout_s)
        deadline_s = time.monotonic() + limit_s
        say_s = SAY_S if self.describes.role == "program" else limit_s
        delay_s = 0.02
        while True:
            left_s = deadline_s - time.monotonic()
            try:
                control = self.dial(max(0.1, left_s))
                attached = control.attach(body)
                self._settle(before, attached)
                try:
                    return begin(control, attached)
                except BaseException:
                    control.close()
                    raise
            except Lost as lost:
                if left_s <= delay_s:
                    raise ServerGone(self._in_vain(lost)) from None
                if left_s < limit_s - say_s:
                    say_s = limit_s  # once
                    todo = "" if isinstance(lost, Busy) else " Is `mpserve start` running there?"
                    remark(f"{lost}; trying for {left_s:.0f} s more.{todo}")
                most_s = _BUSY_S if isinstance(lost, Busy) else 0.5
            self.pause(delay_s)
            delay_s = min(most_s, delay_s * 2)

    def _introduction(self, before: Term | None) -> dict[str, Any]:
        """Return what begins a new term, and asks what became of the one before."""
        body: dict[str, Any] = {"new": self.describes.as_body(), "control": True}
        if before is not None:
            body["before"] = {"session": before.id, "secret": before.secret}
        return body

    def _in_vain(self, lost: Lost) -> str:
        """Return why this program has no server."""
        if isinstance(lost, NoFiles):
            return f"no connection to {self.address}: {lost}"
        if isinstance(lost, Busy):
            return f"{lost}. `mpserve status` tells what it has"
        return f"no server at {self.address}: {lost}. Is it running there (mpserve start)?"

    def _settle(self, before: Term | None, attached: dict[str, Any]) -> None:
        """Note what the server says of the term before."""
        fields = attached.get("before")
        if before is not None and type(fields) is dict:
            self._stale.note(before, make(SessionExpired.code, str(before.over), fields))
        self._unsettled = None

    @property
    def _may_renew(self) -> bool:
        """Whether threads may go on in a new session and need not know: others count on one session."""
        return self.describes.role == "program"

    def dial(self, timeout_s: float = HANDSHAKE_S) -> Connection:
        """Open an authenticated connection to the server, by the shortcut if there is one; see
        `dialling.dial`.
        """
        term = self._term
        if term is not None and term.shortcut is not None:
            try:
                return self._dial(term.shortcut, timeout_s)
            except Busy:
                pass  # it leads there all the same; there may be room for who comes by the address
            except (Lost, NotAllowed, ProtocolViolation):
                term.shortcut = None  # another network namespace, or the server is gone: the address tells
        return self._dial(self.address, timeout_s, self.tls)

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond `close`.

        Raises:
            ServerGone: Another thread closed the cluster.
        """
        if self._closing.wait(seconds):
            raise self._closed_here(" while a call waited")

    def _closed_here(self, more: str = "") -> ServerGone:
        return ServerGone(f"this program closed its connection to {self.address}{more}")

    # -- stale owners ----------------------------------------------------------------------------

    def _refuse_for(self, parts: Iterable[Numbered], op: Op, target: str, args: list[Any]) -> None:
        """Raise `StaleOwner` if a call must not be made by whoever had these lanes in a term that is over."""
        own = [claim for part in parts for claim in self._stale.of(part.term, part.number, part.abandoned)]
        self._stale.refuse(own, op, target, args)

    def _may_go_on(self, error: SessionExpired) -> bool:
        """Tell whether who held nothing may go on in a new session, and need not know of it."""
        return self._may_renew and is_told(error)

    # -- ending ----------------------------------------------------------------------------------

    def refused(self, term: Term, error: MpserveError) -> MpserveError:
        """Return what users see when the server no longer takes the session; ends the term."""
        if isinstance(error, SessionExpired) and error.fields.get("epoch", term.epoch) != term.epoch:
            error = ServerRestarted(
                f"the server at {self.address} was restarted and has none of its state: the queues, locks "
                f"and dicts of before are gone; open them again"
            )
        return self.end(term, error)

    def end(self, term: Term, error: MpserveError) -> MpserveError:
        """End a term: all in it hear `error`, or the first reason there was. Returns a copy of that."""
        if term.over is None:
            if self._may_renew:
                self._stale.note(term, error)  # before anybody can see that it is over
            self._unsettled = None if is_told(error) else term
            term.over = error
            if self._term is term:
                self._ended = error
                self._term = None
            term.printer.stop()
            self._break_off(term)
        return again(term.over)

    def _break_off(self, term: Term) -> None:
        """Break calls that are under way: their term is over."""
        raise NotImplementedError


def again(error: MpserveError) -> MpserveError:
    """Return a copy: one that is raised twice would collect the tracebacks of both."""
    return type(error)(error.text, **error.fields)
