"""What is kept of sessions that ended while their programs may still run, and come back: stale owners.

RULES
* A session that said goodbye is not kept; nor are those of workers and stock clients, which never come back.
* Kept is what each of its threads held at the end, and which calls had been done: the program refuses to go
  on in threads that think they hold something, and makes calls again that were not done.
* Of a session that goes on so many lanes are kept. Those go first that held nothing: their threads lose
  nothing by not being told so.
* An acquire whose answer its thread may not have seen is counted apart (`Holding.unseen`): the thread knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mpserve.core.calls import Lane, Session
    from mpserve.core.machine import Machine

__all__ = ["Ended", "ExpiredLanes", "Holding", "end_of", "holdings_of", "last_done"]


class Holding(NamedTuple):
    """What one thread held of one object."""

    lane: int
    n: int
    """Levels of a lock, permits, leased items."""
    unseen: int
    """How many of these came with the answer of the last call that was done, which may not have arrived."""
    idents: Sequence[str]
    """Objects through which it is released: a lock, and the conditions on it."""
    label: str


class Ended(NamedTuple):
    """A session that ended, or a lane of one that goes on."""

    secret: str
    why: str
    held: Sequence[Holding]
    done: Sequence[Sequence[int]]
    """(lane, number of the last call that was done)"""

    def fields(self) -> dict[str, Any]:
        """Return what the program is told."""
        return {"held": [list(holding) for holding in self.held], "done": [list(pair) for pair in self.done]}

    @classmethod
    def of_record(
        cls, secret: str, why: str, held: Iterable[Sequence[Any]], done: Sequence[Sequence[int]]
    ) -> Ended:
        """Return what a journal holds."""
        return cls(secret, why, [Holding(*holding) for holding in held], done)


class ExpiredLanes(dict[int, Ended]):
    """What threads of one session are to be told whose lanes were closed; by number, oldest first."""

    __slots__ = ("_idle",)

    def __init__(self) -> None:
        super().__init__()
        self._idle: dict[int, None] = {}
        """Those among them that held nothing."""

    def note(self, number: int, ended: Ended, most: int) -> None:
        """Keep one more, and `most` at most. Cost: O(1)."""
        self._forget(number)
        self[number] = ended
        if not ended.held:
            self._idle[number] = None
        if len(self) > most:
            self._forget(next(iter(self._idle or self)))

    def _forget(self, number: int) -> None:
        self.pop(number, None)
        self._idle.pop(number, None)


def end_of(session: Session, machines: Iterable[Machine]) -> Ended:
    """Return what is to be kept of a session that is about to end; `machines` are those it may hold something
    of.
    """
    held = [holding for machine in machines for holding in _holdings(session, machine)]
    done = [(lane.number, last_done(lane)) for lane in session.lanes.values() if lane.number]
    return Ended(session.secret, session.over, held, done)


def holdings_of(lane: Lane, machines: Iterable[Machine]) -> list[Holding]:
    """Return what one thread holds."""
    found = [holding for machine in machines for holding in _holdings(lane.session, machine)]
    return [holding for holding in found if holding.lane == lane.number]


def _holdings(session: Session, machine: Machine) -> Iterable[Holding]:
    for number, n, idents in machine.holdings(session.id):
        lane = session.lanes.get(number)
        call = None if lane is None else lane.find(last_done(lane))
        done = call is not None and call.answered and call.error is None
        unseen = machine.taken_by(call) if call is not None and done else 0
        yield Holding(number, n, min(n, unseen), list(idents), machine.label)


def last_done(lane: Lane) -> int:
    """Return the number of a lane's last call that was done: those that wait are not."""
    running = lane.running
    if running is None:
        return lane.last_number
    return running.number if running.answered else running.number - 1
