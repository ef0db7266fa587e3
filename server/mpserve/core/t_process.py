"""Process: one operating-system process on a worker host, from the program that starts it to its exit code.

    PENDING --a host is found--> PLACED --take--> RUNNING --its supervisor saw its end--> ENDED
       ^                           |                 '----its host is lost: -9-------------^
       '-- refused, host lost -----'

RULES
* It never runs twice: the payload is given out once, to the process that its host started for it. A host that
  fails before that is replaced by another; one that fails later has lost the process.
* Its end is what its supervisor saw. Only when both its session and its supervisor's are over does the server
  decide, and then it is -9, with the reason in `lost`.
* Its session ends in the same step in which its exit code is known: who joins it finds its locks free.
* When nobody can join it any more (its program is gone, or has forgotten it) its host is told to end it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpserve.core.parking import ParkingLot, answer_none
from mpserve.core.watching import Watched
from mpshared.errors import BadType, BadValue, Conflict, MpserveError, NotAllowed, NoWorkers
from mpshared.reports import ending
from mpshared.values import needs_python

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpserve.core.hosts import Hosts
    from mpserve.core.house import House
    from mpserve.core.machine import Change
    from mpserve.core.parking import Waiter
    from mpshared.values import Blob

__all__ = ["LEAVE_S", "Process", "Stage"]

LEAVE_S: Final = 5.0
"""How long a process whose session is over may take to end; then its host is told to end it."""
_KILLED: Final = -9
_SIGNALS: Final = range(1, 65)


class Stage(StrEnum):
    """How far it is."""

    PENDING = "pending"
    """It is not started, or waits for a host."""
    PLACED = "placed"
    """A host was told to start it."""
    RUNNING = "running"
    """It has its payload."""
    ENDED = "ended"
    """Its exit code is known."""


class Process(Watched):
    """One process on one of the worker hosts."""

    kind: ClassVar[str] = "process"
    SETTINGS: ClassVar[dict[str, Any]] = {"name": "", "daemon": False}
    """Its name, for people; and whether it ends with its program. Both are the program's affair."""
    hosts: Hosts

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        if type(self.settings["name"]) is not str or type(self.settings["daemon"]) is not bool:
            raise BadType(f"a process has a name and is a daemon or not, got {self.settings!r:.200}")
        self.stage = Stage.PENDING
        self.payload: Blob | None = None
        """What it is to run; None once it has it."""
        self.owner = ""
        """Session that started it."""
        self.supervisor = ""
        """Session of the supervisor of its host."""
        self.session = ""
        """Its own."""
        self.place = ("", 0)
        """Host and pid."""
        self.exitcode: int | None = None
        """As in `subprocess`: negative is the number of a signal."""
        self.lost = ""
        """Why nobody saw its end, else empty."""
        self.unwanted = False
        """Its host was told to end it. No state: it is told again after a restart."""
        self.refusals: dict[str, str] = {}
        """Hosts that could not start it, and why. No state either."""
        self.starters = ParkingLot()
        self.joiners = ParkingLot()

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"process {self.settings['name'] or self.ident!r}"

    def enter(self, house: House) -> None:
        """Find the worker hosts."""
        self.hosts = house.hosts

    def setup(self, fx: Effects, blobs: list[Blob]) -> None:
        """Take the payload: the one value that it is made with."""
        if len(blobs) != 1:
            raise Conflict(f"a process is made with one value, what it is to run; got {len(blobs)}")
        self.change(fx, "given", blobs[0])

    # -- its program -----------------------------------------------------------------------------

    def start(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Place it, and answer [host, pid] once it has its payload.

        `timeout_s` counts while there is no host at all; on a host it takes as long as it takes.

        Raises:
            NoWorkers: No host came in time; or none has the Python that it needs (with the field versions).
            NotAllowed: No host may have one more process, or each has refused it.
        """
        if self.stage in {Stage.RUNNING, Stage.ENDED}:
            fx.reply(call, list(self.place))
            return
        if self.stage is Stage.PENDING:
            if self._choose() is None and timeout_s == 0:
                raise NoWorkers(f"there is no worker host that could start {self.label}")
            self._begin(fx, call.session)
        self.starters.park(fx, call, timeout_s, self._no_host)

    def _choose(self) -> Session | None:
        assert self.payload is not None
        return self.hosts.choose(self.label, needs_python(self.payload), self.refusals)

    def _begin(self, fx: Effects, owner: Session) -> None:
        owner.may_own_in(self)
        if self.owner != owner.id:
            self.change(fx, "wanted", owner.id)
        self.find_place(fx)

    def find_place(self, fx: Effects) -> None:
        """Go to a host, or wait for one; who waits for the start hears when that cannot be."""
        try:
            host = self._choose()
        except MpserveError as err:
            self._fail(fx, err)
            return
        if host is None:
            self.hosts.wait(self)
            return
        self.change(fx, "placed", host.id)
        host.may_own_in(self)
        self._order_start(fx)

    def _order_start(self, fx: Effects) -> None:
        name = self.settings["name"]
        self.hosts.command(fx, self.supervisor, command="start_process", process=self.ident, name=name)

    def _no_host(self, fx: Effects, call: Call) -> None:
        """Answer who waited long enough; on a host, let it wait on."""
        if self.stage is Stage.PLACED:
            self.starters.park(fx, call, None, self._no_host)
            return
        self._wait_no_more()
        fx.fail(call, NoWorkers(f"no worker host came in time to start {self.label}"))

    def _wait_no_more(self) -> None:
        """Wait for no host any more, unless somebody still waits for the start."""
        if not self.starters:
            self.hosts.give_up(self)

    def _fail(self, fx: Effects, error: MpserveError) -> None:
        for call in self.starters.drain():
            fx.fail(call, type(error)(error.text, **error.fields))

    def wait(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Answer the exit code once there is one, None after `timeout_s`."""
        if self.stage is Stage.ENDED or timeout_s == 0:
            fx.reply(call, self.exitcode)
        else:
            self.joiners.park(fx, call, timeout_s, answer_none)

    def is_ready(self) -> bool:
        """Tell whether it has ended."""
        return self.stage is Stage.ENDED

    def signal(self, fx: Effects, call: Call, number: int) -> None:
        """Have its host send it a signal; answers whether it runs."""
        if number not in _SIGNALS:
            raise BadValue(f"there is no signal {number}")
        running = self.stage is Stage.RUNNING
        if running:
            self.hosts.command(
                fx, self.supervisor, command="signal_process", process=self.ident, signal=number
            )
        fx.reply(call, running)

    def look(self, fx: Effects, call: Call) -> None:
        """Answer [stage, host, pid, exit code, why it is lost]."""
        fx.reply(call, [str(self.stage), *self.place, self.exitcode, self.lost])

    # -- the process itself ----------------------------------------------------------------------

    def take(self, fx: Effects, call: Call) -> None:
        """Give the payload to the process that was started for it, once; answers its program's session id.

        Raises:
            NotAllowed: It was given out, or is not wanted any more, or somebody else asks.
        """
        info = call.session.info
        expected = info.role == "process" and info.supervisor == self.supervisor
        if self.stage is not Stage.PLACED or self.unwanted or not expected or self.payload is None:
            raise NotAllowed(
                f"{self.label} is {self.stage}: it is started once, by the host it was placed on"
            )
        out = (self.payload,)
        self.change(fx, "taken", call.session.id, info.host, info.pid)
        call.session.may_own_in(self)
        self._name_session(call.session)
        fx.reply(call, self.owner, out)
        for starter in self.starters.drain():
            fx.reply(starter, list(self.place))

    def _name_session(self, session: Session | None) -> None:
        """Have its session named as it is: who began that did not know yet which Process it would be."""
        if session is not None:
            session.info = replace(session.info, name=self.settings["name"])

    # -- its supervisor --------------------------------------------------------------------------

    def refused(self, fx: Effects, call: Call, why: str) -> None:
        """Place it on another host: this one cannot start it. Answers whether that was its host."""
        mine = self.stage is Stage.PLACED and call.session.id == self.supervisor
        if mine:
            self._move(fx, why[:500])
        fx.reply(call, mine)

    def _move(self, fx: Effects, why: str) -> None:
        self.refusals[self.supervisor] = why
        self.change(fx, "returned")
        if not self.unwanted:
            self.find_place(fx)

    def ended(self, fx: Effects, call: Call, exitcode: int, report: dict[str, Any]) -> None:
        """Take its exit code from the supervisor that saw its end; answers whether that was its host.

        Args:
            fx: Where answers go.
            call: The supervisor's.
            exitcode: As in `subprocess`.
            report: As for `cluster.report_death`.
        """
        mine = self.stage in {Stage.PLACED, Stage.RUNNING} and call.session.id == self.supervisor
        if mine and self.stage is Stage.PLACED:
            self._move(fx, f"its process was {ending(report)} before it ran")
        elif mine:
            self._end_session(fx, report)
            self._end(fx, exitcode)
        fx.reply(call, mine)

    def _end_session(self, fx: Effects, report: dict[str, Any]) -> None:
        session = self.hosts.sessions.find(self.session)
        if session is not None:
            session.report = report
            self.hosts.sessions.end(fx, session, "its supervisor saw its process end")

    def _end(self, fx: Effects, exitcode: int, lost: str = "") -> None:
        self.change(fx, "over", exitcode, lost)
        for joiner in self.joiners.drain():
            fx.reply(joiner, exitcode)
        self.stir(fx)

    # -- ends of others --------------------------------------------------------------------------

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Note the end of its program, its supervisor, or itself."""
        if session.id == self.owner:
            self._dismiss(fx)
        if session.id == self.supervisor and self.stage is Stage.PLACED:
            self._move(fx, "it was lost before the process ran")
        elif session.id in {self.supervisor, self.session} and self.stage is Stage.RUNNING:
            self._look_after_itself(fx)

    def _look_after_itself(self, fx: Effects) -> None:
        """Decide about a running process whose session, or whose supervisor's, is over."""
        if self.hosts.is_alive(self.supervisor):  # it will tell; a process that says goodbye ends soon after
            fx.timers.add(fx.now_s + LEAVE_S, self._check_left)
        elif not self.hosts.is_alive(self.session):
            self._end(fx, _KILLED, f"its worker host {self.place[0]} was lost")

    def _check_left(self, fx: Effects) -> None:
        if self.stage is Stage.RUNNING:
            self._dismiss(fx)

    def revive(self, fx: Effects) -> None:
        """Go on after a restart: commands were lost with it, and ends of sessions may have been."""
        self._name_session(self.hosts.sessions.find(self.session))
        if self.stage is Stage.PLACED and self.hosts.is_alive(self.supervisor):
            self._order_start(fx)  # a host that had it passes over it
        elif self.stage is Stage.PLACED:
            self._move(fx, "it was lost before the process ran")
        elif self.stage is Stage.RUNNING and not self._is_watched():
            self._look_after_itself(fx)
        if self.owner and not self.hosts.is_alive(self.owner):
            self._dismiss(fx)

    def _is_watched(self) -> bool:
        return self.hosts.is_alive(self.supervisor) and self.hosts.is_alive(self.session)

    def _dismiss(self, fx: Effects) -> None:
        """Have its host end it: nobody can join it any more."""
        if self.stage in {Stage.PLACED, Stage.RUNNING} and not self.unwanted:
            self.hosts.command(fx, self.supervisor, command="dismiss_process", process=self.ident)
        self.unwanted = True

    def forget_waiter(self, fx: Effects, waiter: Waiter) -> None:
        """Drop a parked call; who gave up a start does not wait for a host either."""
        super().forget_waiter(fx, waiter)
        self._wait_no_more()

    def break_waiters(self, fx: Effects, error: MpserveError | None = None) -> None:
        """Tell who waits that it is deleted, and its host to end it."""
        super().break_waiters(fx, error)
        self._dismiss(fx)

    def leave(self) -> None:
        """Give up its place: it is deleted."""
        self.hosts.leave(self.supervisor, self.ident)
        self.hosts.give_up(self)

    # -- changes ---------------------------------------------------------------------------------

    def on_given(self, fx: Effects, payload: Blob) -> None:
        """Store the payload."""
        self.payload = payload
        fx.keep((payload,))

    def on_wanted(self, _fx: Effects, owner: str) -> None:
        """Note who started it."""
        self.owner = owner

    def on_placed(self, _fx: Effects, supervisor: str) -> None:
        """Note its host."""
        self.stage = Stage.PLACED
        self.supervisor = supervisor
        self.hosts.arrive(supervisor, self.ident)

    def on_returned(self, _fx: Effects) -> None:
        """Note that it has no host any more."""
        self.hosts.leave(self.supervisor, self.ident)
        self.stage = Stage.PENDING
        self.supervisor = ""

    def on_taken(self, fx: Effects, session: str, host: str, pid: int) -> None:
        """Note that it runs, and give up the payload."""
        self.stage = Stage.RUNNING
        self.session = session
        self.place = (host, pid)
        payload, self.payload = self.payload, None
        if payload is not None:
            fx.keep((payload,), -1)

    def on_over(self, _fx: Effects, exitcode: int, lost: str) -> None:
        """Note its end."""
        self.hosts.leave(self.supervisor, self.ident)
        self.stage = Stage.ENDED
        self.exitcode = exitcode
        self.lost = lost

    def owners(self) -> Iterable[str]:
        """Return the sessions of its program, its host, and itself."""
        return filter(None, (self.owner, self.supervisor, self.session))

    def rebuild(self) -> Iterator[Change]:
        """Yield how far it came."""
        if self.payload is not None:
            yield "given", (self.payload,)
        if self.owner:
            yield "wanted", (self.owner,)
        if self.supervisor:
            yield "placed", (self.supervisor,)
        if self.session:
            yield "taken", (self.session, *self.place)
        if self.exitcode is not None:
            yield "over", (self.exitcode, self.lost)

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return who waits for its start, and who for its end."""
        return self.starters, self.joiners

    def stored(self) -> Iterator[Blob]:
        """Yield the payload while it is here."""
        if self.payload is not None:
            yield self.payload

    def state(self) -> tuple[Any, ...]:
        """Return everything that is recorded."""
        who = self.owner, self.supervisor, self.session
        return self.stage, self.payload, who, self.place, self.exitcode, self.lost

    def statistics(self) -> dict[str, Any]:
        """Return its name, how far it is, where, and how it ended."""
        host, pid = self.place
        about = {
            "process": self.settings["name"],
            "daemon": self.settings["daemon"],
            "stage": str(self.stage),
        }
        where = {"host": host, "pid": pid, "exitcode": self.exitcode, "owner": self.owner}
        return {**about, **where, "waiters": len(self.starters) + len(self.joiners)}

    def validate(self) -> None:
        """Raise AssertionError unless what is known fits the stage and nobody waits for what has come."""
        super().validate()
        assert (self.payload is None) == (self.stage in {Stage.RUNNING, Stage.ENDED})
        assert (self.exitcode is None) == (self.stage is not Stage.ENDED)
        assert bool(self.session) == (self.stage in {Stage.RUNNING, Stage.ENDED})
        on_host = self.ident in self.hosts.guests.get(self.supervisor, ())
        assert on_host == (self.stage in {Stage.PLACED, Stage.RUNNING})
        assert not (len(self.joiners) and self.stage is Stage.ENDED)
        assert not (len(self.starters) and self.stage in {Stage.RUNNING, Stage.ENDED})
