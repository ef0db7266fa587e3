"""Who asks what: sessions, their lanes, and one call on its way.

A `Session` owns; a `Lane` is one thread (or task) of it; a `Call` is one numbered request of a lane and, once
answered, its answer. A stock connection is a session of its own with a single lane, because the standard
library ties ownership to the connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.ended import ExpiredLanes
from mpserve.core.room import Room
from mpshared.bunch import message_bytes

if TYPE_CHECKING:
    from mpserve.core.ended import Ended
    from mpserve.core.machine import Machine
    from mpserve.core.output import Output
    from mpserve.core.parking import Waiter
    from mpshared.errors import MpserveError
    from mpshared.ops import Op, Role
    from mpshared.values import Blob

__all__ = ["NO_CALLS", "Call", "Lane", "Session", "SessionInfo"]

_NOTHING: Final[Any] = MappingProxyType({})
"""What most sessions and lanes have of what few have: it takes no room for each."""

NO_CALLS: Final[Any] = ()
"""Instead of an empty list, which takes 56 bytes."""

MOST_LOCKS: Final = 20
"""How many a death report names."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a client process says of itself. Untrusted: shown, escaped, and never used as a key."""

    role: str = "program"
    """program, process, worker, supervisor, or stock"""
    host: str = ""
    pid: int = 0
    started_s: float = 0.0
    python: tuple[int, int] = (0, 0)
    version: str = ""
    name: str = ""
    supervisor: str = ""
    """Session id of the supervisor that answers for this worker or Process, or ""."""
    slots: int = 0
    max_spawned: int = 0
    """How many Processes a worker host may have at once."""
    queue: str = ""
    """Name of the recipe queue a worker serves, or ""."""
    pools: bool = False
    """A worker: takes jobs of pools, too. A supervisor: its worker processes do."""


class Session:
    """One client process as the server knows it."""

    __slots__ = (
        "access",
        "ahead",
        "awaited",
        "connections",
        "ended",
        "expired_lanes",
        "handed_s",
        "heard_s",
        "held",
        "id",
        "info",
        "kept_bytes",
        "lanes",
        "locks",
        "lost_s",
        "meant",
        "output",
        "output_heard",
        "over",
        "parted",
        "rank",
        "report",
        "restored",
        "room",
        "secret",
        "waiting_bytes",
    )

    def __init__(
        self,
        session_id: str,
        info: SessionInfo,
        secret: str = "",
        now_s: float = 0.0,
        room: Room | None = None,
    ) -> None:
        self.id = session_id
        self.info = info
        self.secret = secret
        self.access: Role | None = "client"
        """Whose key its connections have; None: it is of before a restart, and nobody has come back yet."""
        self.rank = 1
        """What its lanes begin with; see `Lane.rank`."""
        self.lanes: dict[int, Lane] = {}
        self.held: dict[Machine, None] = _NOTHING
        """Objects in which it may own something; more than true is allowed, less is not."""
        self.room = room or Room()
        """Where its kept answers and its output count."""
        self.kept_bytes = 0
        """Size of the large answers that its lanes keep until they are acknowledged."""
        self.waiting_bytes = 0
        """Size of the values of its calls that wait, parked or behind others."""
        self.output: Output | None = None
        """What workers print for it; None: nothing so far."""
        self.output_heard = 0
        """The number of the last frame of what it printed for others."""
        self.restored = False
        """It is of before a restart; see `Lane.restored`."""
        self.awaited = False
        """The same, and its control is not back yet."""
        self.handed_s = 0.0
        """When a queue last leased it something."""
        self.ahead = 0
        """How often in a row it was given jobs while at others."""
        self.connections = 0
        self.heard_s = now_s
        self.lost_s: float | None = None
        """Since when it has no connection at all."""
        self.expired_lanes: Mapping[int, Ended] = _NOTHING
        """Lanes that were closed because they were suspended for too long; their threads may come back."""
        self._not_over()

    def _not_over(self) -> None:
        """Begin with what is to be known of its end."""
        self.ended = False
        self.meant = False
        """It was ended on purpose: nobody has to look for why it is gone."""
        self.parted = False
        """It said goodbye, and before that which answers it had."""
        self.over = ""
        """Why it ended, for its own program: "it was silent for 30 s"."""
        self.report: Mapping[str, Any] = _NOTHING
        """What its supervisor told about its death."""
        self.locks: Sequence[str] = ()
        """Labels of the locks and semaphores that it held at its end."""

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.info.role} {self.info.host}:{self.info.pid}>"

    def grant(self, access: Role) -> None:
        """Note whose key its connections have."""
        self.access = access
        self.rank = 0 if access == "observe" else 1
        for lane in self.lanes.values():
            lane.rank = self.rank

    def lane(self, number: int) -> Lane:
        """Return the lane of that number, a new one at its first call."""
        lane = self.lanes.get(number)
        if lane is None:
            lane = self.lanes[number] = Lane(self, number)
            lane.restored = self.restored
        return lane

    def note_expired(self, number: int, ended: Ended, most: int) -> None:
        """Keep what a thread whose lane was closed is to be told, of `most` lanes; see `ExpiredLanes`."""
        kept = self.expired_lanes
        if not isinstance(kept, ExpiredLanes):
            kept = self.expired_lanes = ExpiredLanes()
        kept.note(number, ended, most)

    def note_locks(self) -> None:
        """Note which locks it holds: it ends, and they will be taken from it."""
        held = [machine for machine in self.held if machine.is_lock and self.id in machine.owners()]
        self.locks = [machine.label for machine in held[:MOST_LOCKS]]

    def tidy(self, objects: Mapping[str, Machine]) -> None:
        """Forget what is deleted among the objects it may own something in: a program may use up millions."""
        self.held = {machine: None for machine in self.held if objects.get(machine.ident) is machine}

    def may_own_in(self, machine: Machine) -> None:
        """Note that it may own something in an object from now on."""
        if not self.held:
            self.held = {}
        self.held[machine] = None


class Lane:
    """An ordered stream of numbered calls. One is under way at a time, later ones wait for it."""

    __slots__ = (
        "expired",
        "large",
        "last_number",
        "lost_s",
        "number",
        "pending",
        "place",
        "rank",
        "reply_to",
        "restored",
        "running",
        "session",
        "settled",
        "suspended",
        "unsettled",
    )

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.number = number
        self.rank = session.rank
        """Operations up to this `Op.rank` need no other look at who asks."""
        self.suspended = False
        """Its connection is lost: its waiters keep their place and are skipped."""
        self.lost_s = 0.0
        """Since when it is suspended."""
        self.expired = False
        """It was suspended for too long, and is closed for that."""
        self.last_number = 0
        """The highest call number that was accepted."""
        self.restored = False
        """It is of before a restart, which remembers changes only: numbers of reads are missing."""
        self.place = (0, 0)
        """Which call waited before a restart, and its place (see `parking.Waiter.place`); 0: none did."""
        self.settled = 0
        """Answers up to this number have arrived."""
        self.running: Call | None = None
        self.pending: tuple[Call, ...] = ()
        """Calls behind the one that is under way, in order."""
        self.reply_to: Any = None
        """The connection that answers go to; belongs to the dispatcher, the core never reads it."""
        self.unsettled: list[Call] = NO_CALLS
        """Accepted calls whose answers the client has not acknowledged, by their numbers: mostly none or one,
        for which a dict takes 220 bytes. See `note_nothing`."""
        self.large: dict[int, int] | None = None
        """Size of those answers among them that are large (`note_large`)."""

    def __repr__(self) -> str:
        return f"<Lane {self.number} of {self.session!r}>"

    def admit(self, call: Call) -> None:
        """Accept the next call of the lane; the caller has looked for a repeated number first (`find`)."""
        self.last_number = call.number
        if self.unsettled:
            self.unsettled.append(call)
        else:
            self.unsettled = [call]

    def admit_again(self, call: Call) -> None:
        """Accept a call of before a restart, whatever its number; instead of the one of that number."""
        self.unsettled = sorted((*self._without(call.number), call), key=lambda call: call.number)

    def find(self, number: int) -> Call | None:
        """Return the accepted call of that number while its answer is kept."""
        return next((call for call in self.unsettled if call.number == number), None)

    def take_place(self, number: int) -> int:
        """Return the place that call `number` had before a restart, once; 0: none."""
        known, place = self.place
        if known != number:
            return 0
        self.place = (0, 0)
        return place

    def was_parked(self, number: int) -> bool:
        """Tell whether call `number` waited before a restart and is to be made again."""
        return self.restored and number == self.place[0] > self.settled

    def settle(self, ack: int) -> None:
        """Forget the answers up to number `ack`: they have arrived.

        Cost: O(kept).
        """
        ack = min(self.last_number, ack)
        settled = 0
        for call in self.unsettled:
            if call.number > ack:
                break
            if not call.answered:
                ack = call.number - 1
                break
            settled += 1
            if self.large:
                self._forget_large(call.number)
        if settled:
            self.unsettled = self.unsettled[settled:] or NO_CALLS
        self.settled = max(self.settled, ack)

    def forget(self, number: int) -> None:
        """Forget a call that was abandoned."""
        self.unsettled = self._without(number)
        self._forget_large(number)

    def forget_all(self) -> None:
        """Forget all calls: the lane is at its end."""
        self.unsettled = NO_CALLS
        for number in list(self.large or ()):
            self._forget_large(number)

    def note_nothing(self, call: Call) -> None:
        """Forget the last call if its answer says nothing, and nobody can take it back: that it had a number,
        and is not kept, says as much. After a restart a missing number may be that of a read.
        """
        unsettled = self.unsettled
        if unsettled and unsettled[-1] is call and not (call.op.undo or self.restored):
            if len(unsettled) > 1:
                unsettled.pop()
            else:
                self.unsettled = NO_CALLS

    def _without(self, number: int) -> list[Call]:
        return [call for call in self.unsettled if call.number != number] or NO_CALLS

    def note_large(self, number: int, size_bytes: int) -> None:
        """Count a large answer against its session, until it is acknowledged."""
        if self.large is None:
            self.large = {}
        if number not in self.large and self.find(number) is not None:
            self.large[number] = size_bytes
            self.session.kept_bytes += size_bytes
            self.session.room.held_bytes += size_bytes

    def _forget_large(self, number: int) -> None:
        size_bytes = self.large.pop(number, 0) if self.large else 0
        self.session.kept_bytes -= size_bytes
        self.session.room.held_bytes -= size_bytes

    def settle_all(self) -> None:
        """Forget all answers: they have arrived. For a lane whose calls come strictly one after the other."""
        if self.running is None:
            self.unsettled = NO_CALLS
            self.settled = self.last_number

    def next_call(self) -> Call | None:
        """Make the lane's next call the one that is under way."""
        self.running = self.pending[0] if self.pending else None
        self.pending = self.pending[1:]
        if self.running is not None and self.running.blobs:
            self.session.waiting_bytes -= _size(self.running)
        return self.running

    def wait_behind(self, call: Call) -> None:
        """Have a call wait until those before it are answered."""
        if call.blobs:
            self.session.waiting_bytes += _size(call)
        self.pending += (call,)

    def drop(self, call: Call) -> bool:
        """Forget a call that waits behind others; tell whether it did."""
        if call not in self.pending:
            return False
        self.pending = tuple(other for other in self.pending if other is not call)
        self.session.waiting_bytes -= _size(call)
        return True

    def drop_all(self) -> None:
        """Forget all calls that wait behind others."""
        while self.pending:
            self.drop(self.pending[-1])


def _size(call: Call) -> int:
    return message_bytes(call.blobs)


@dataclass(slots=True, eq=False)
class Call:
    """One request, and once answered its answer."""

    op: Op
    target: str
    args: list[Any]
    blobs: Sequence[Blob]
    lane: Lane
    number: int = 0
    machine: Machine | None = None
    """The object that was called, once found."""
    waiter: Waiter | None = None
    """Set while the call is parked."""
    took: Any = None
    """What it took, for the operation's undo."""
    answered: bool = False
    at: int = 0
    """Where changes are recorded: how many there were in this turn when it was answered."""
    result: Any = None
    out: Sequence[Blob] = ()
    error: MpserveError | None = None

    @property
    def session(self) -> Session:
        """The session that asks."""
        return self.lane.session

    @property
    def is_lost(self) -> bool:
        """Whether its caller is gone without a word: nobody knows which answers it had."""
        session = self.lane.session
        return self.lane.expired or (session.ended and not session.parted)
