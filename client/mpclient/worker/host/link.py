"""The supervisor's connection to the server, in threads of its own: the supervisor never waits for it.

    LOOKING --reached--> session begun, queues found: `Up` --> next_command, again and again: `Command`
       ^  '--not reached--> `Unreachable`, a delay that grows, …       |       (lost: `Away`, then `Back`)
       '------------------------- session over: `Down` ----------------'

RULES
* At first it looks for the server for the connect timeout, then `GaveUp`. A server that was found once is
  looked for as long as there is a supervisor.
* A session goes on for as long as a program's without its server, and so do this host's Processes: a server
  that keeps its state on disk may take its time to come back.
* A wrong key, and what is no server of ours, are no matter of patience: `Refused`, and the link ends.
* What processes wrote and could not send any more goes ahead of the report of their end.
* Deaths are reported by another thread, in order: one that takes long holds up nothing else.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from mpclient.output.outgoing import Outgoing
from mpclient.session import Describes, Session
from mpclient.transport.dialling import Lost
from mpshared.errors import MpserveError, NoSuchObject, NotAllowed, ProtocolViolation, ServerGone
from mpshared.exit_codes import ExitCode
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.worker.options import Options

__all__ = ["Away", "Back", "Command", "Down", "GaveUp", "Link", "LinkEvent", "Refused", "Unreachable", "Up"]

_OPEN: Final = BY_NAME["cluster.open"]
_NEXT_COMMAND: Final = BY_NAME["cluster.next_command"]
_REPORT_DEATH: Final = BY_NAME["cluster.report_death"]
_ENDED: Final = BY_NAME["process.ended"]
_REFUSED: Final = BY_NAME["process.refused"]

_DIAL_S: Final = 5.0
_COMMAND_S: Final = 600.0
_FIRST_DELAY_S: Final = 0.25
_MOST_DELAY_S: Final = 8.0
_LAST_S: Final = 2.0
"""How long the goodbye waits for the last reports."""


@dataclass(frozen=True, slots=True)
class Up:
    """The server is there, and this supervisor has a session: `session`."""

    session: str


@dataclass(frozen=True, slots=True)
class Down:
    """The session is over, and with it this host's Processes."""

    why: str


@dataclass(frozen=True, slots=True)
class Away:
    """The server does not answer; its session is tried for `left_s` seconds more."""

    why: str
    left_s: float


@dataclass(frozen=True, slots=True)
class Back:
    """The server that was away is there again, and the session goes on."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """An attempt failed; the next one is made in `next_try_s` seconds."""

    why: str
    next_try_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no use in trying; `code` is how the command ends."""

    code: ExitCode
    why: str


@dataclass(frozen=True, slots=True)
class Command:
    """The server wants something done."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No server was found within the connect timeout."""

    why: str


LinkEvent: TypeAlias = Up | Away | Back | Down | Unreachable | GaveUp | Refused | Command


class _Session(Session):
    """The supervisor's session, whose server's absence is an event of the link."""

    tell: Callable[[LinkEvent], None]

    def note_away(self, why: str, left_s: float) -> None:
        self.tell(Away(why, left_s))

    def note_back(self) -> None:
        self.tell(Back())


class Link:
    """See the file's beginning.

    Args:
        options: Where the server is, the key, and what to say of this worker host.
        post: Is given every event, in a thread of the link.
    """

    def __init__(self, options: Options, post: Callable[[LinkEvent], None]) -> None:
        self._options = options
        self._post = post
        self._closing = threading.Event()
        self._reports: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        describes = Describes(
            "supervisor",
            options.name,
            slots=options.processes,
            max_spawned=options.max_spawned,
            queue=options.queue,
            pools=True,
        )
        self._session = _Session(
            *(options.address, options.key, describes), tls=options.tls, connect_timeout_s=_DIAL_S
        )
        self._session.tell = post
        self._reporter = threading.Thread(target=self._report_all, name="mpworker-reports", daemon=True)
        self._outgoing = self._session.outgoing = Outgoing(self._session)

    def start(self) -> None:
        """Begin to look for the server."""
        threading.Thread(target=self._run, name="mpworker-link", daemon=True).start()
        self._reporter.start()

    def answer_for(self, sessions: list[str]) -> None:
        """Say which worker processes' sessions this supervisor's heartbeat speaks for."""
        self._session.speaks_for = sessions

    def report(self, session: str, report: dict[str, Any]) -> None:
        """Have the server told that a worker process died."""
        self._reports.put(partial(self._session.call_patiently, _REPORT_DEATH, "", [session, report]))

    def refuse(self, process: str, why: str) -> None:
        """Have the server told that a Process cannot be started here."""
        self._reports.put(partial(self._session.call_patiently, _REFUSED, process, [why]))

    def tell_end(self, process: str, session: str, exitcode: int, report: dict[str, Any]) -> None:
        """Have the server told how a Process ended; its session is over, whether somebody joins it or not."""
        self._reports.put(partial(self._report_end, process, session, exitcode, report))

    def bring(self, program: str, stream: int, data: bytes) -> bool:
        """Have a program print something, ahead of what is reported after this; False: it cannot."""
        outgoing = self._outgoing
        return not outgoing.full and outgoing.add(program, stream, data)

    def close(self) -> None:
        """Say goodbye, after what is to be reported. Returns within seconds, also when the server is gone."""
        self._closing.set()
        self._reports.put(None)
        self._reporter.join(_LAST_S)
        self._session.close()

    # -- the link's thread -----------------------------------------------------------------------

    def _run(self) -> None:
        deadline_s: float | None = time.monotonic() + self._options.connect_timeout_s
        while self._reach(deadline_s):
            deadline_s = None
            try:
                self._fetch_commands()
            except MpserveError as err:
                if self._closing.is_set():
                    return
                self._post(Down(str(err)))

    def _fetch_commands(self) -> NoReturn:
        while True:
            command = self._session.call(_NEXT_COMMAND, "", [_COMMAND_S]).result
            if command is not None:
                self._post(Command(command))

    def _reach(self, deadline_s: float | None) -> bool:
        """Look for the server until it is found; False: there is no use in it, or no need any more."""
        delay_s = _FIRST_DELAY_S
        while not self._closing.is_set():
            try:
                self._post(Up(self._attempt()))
                return True
            except (Lost, ServerGone) as err:
                why = str(err)
            except MpserveError as err:
                self._post(Refused(_code_of(err), str(err)))
                return False
            left_s = delay_s if deadline_s is None else deadline_s - time.monotonic()
            if left_s <= 0:
                self._post(GaveUp(why))
                return False
            delay_s = min(delay_s, left_s)
            self._post(Unreachable(why, delay_s))
            self._closing.wait(delay_s)
            delay_s = min(_MOST_DELAY_S, delay_s * 2)
        return False

    def _attempt(self) -> str:
        """Knock, begin a session, and find the queues, so that what is wrong with them is told here, once."""
        self._session.dial(_DIAL_S).close()
        session = self._session.id
        for name in (self._options.queue, self._options.results):
            opened = self._session.call_patiently(_OPEN, "", ["queue", name, {}, False, None])
            self._session.claim(opened.result[0])
        return session

    # -- the reports' thread ---------------------------------------------------------------------

    def _report_end(self, process: str, session: str, exitcode: int, report: dict[str, Any]) -> None:
        with suppress(NoSuchObject):  # nobody refers to it any more
            if self._session.call_patiently(_ENDED, process, [exitcode, report]).result:
                return  # its session has ended in the same step
        if session:
            self._session.call_patiently(_REPORT_DEATH, "", [session, report])

    def _report_all(self) -> None:
        while (report := self._reports.get()) is not None:
            # Where the session is over, so is the dead one's; a Process that nobody can join is forgotten.
            with suppress(MpserveError):
                report()


def _code_of(err: MpserveError) -> ExitCode:
    if isinstance(err, NotAllowed):
        return ExitCode.BAD_KEY
    if isinstance(err, ProtocolViolation):
        return ExitCode.INCOMPATIBLE
    return ExitCode.USAGE
