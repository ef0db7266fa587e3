"""Jobs that stream in: waiting workers are given some at a time, not woken for each.

    a put       --settle--> a waiting worker, at once
    the next    --gather--> kept, until GATHER_S has passed, or as many are here as a worker asks for,
                            or who put them waits for something at a queue, or anything else happens here

RULES
* To wake a process takes longer than a tiny job does, and each has to be woken by somebody who then does
  nothing else. So jobs are gathered, but only those of a *stream*: put one by one, or batch by batch, on one
  lane, which does nothing in between and takes less than `GAP_S` from one to the next, or `GATHER_S` for a
  batch. The first goes at once.
* Only for workers whose last jobs took less than `GATHER_S` each, the way there and back included.
* Of these workers, while none but workers wait, the one that came last goes first: all that it needs is still
  in the processor's caches.
* What was gathered is divided among all who wait, but into no parts that would take less than `GATHER_S`.
* No state: what is gathered is READY, and a server that starts again hands it out at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mpserve.core.parking import ParkingLot
from mpserve.core.queue_wants import JOBS, Want
from mpserve.core.queue_workers import QueueWorkers

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Lane
    from mpserve.core.effects import Effects
    from mpserve.core.hall import Hall
    from mpserve.core.house import House
    from mpserve.core.parking import Waiter
    from mpserve.core.timers import Timer

__all__ = ["GAP_S", "GATHER_S", "QueueStream"]

GAP_S: Final = 0.0005
"""Between two puts of a stream: at least two jobs are gathered then."""
GATHER_S: Final = 0.001
"""The shortest time that epoll can wait."""
_FLOOR_S: Final = 1e-6


class QueueStream(QueueWorkers):
    """A queue as it is fed by those who put one job after the other."""

    hall: Hall

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.getters = ParkingLot()
        self.mixed = False
        """Others than workers may wait as well."""
        self.gathering: Timer | None = None
        """Runs while jobs are kept from workers that wait."""
        self._streams_until_s = 0.0
        self._last: tuple[Lane, int, float] | None = None
        """Who put last, by which call, when."""

    def enter(self, house: House) -> None:
        """Find where jobs of pools are, for workers that wait here."""
        super().enter(house)
        self.hall = house.hall

    def leave(self) -> None:
        """Keep nothing back any more: it is deleted."""
        super().leave()
        self.hall.streams.pop(self, None)
        self._stop_gathering()

    def gathers(self, fx: Effects, call: Call) -> bool:
        """Note a put that comes; return whether workers that wait are to wait for more. Cost: O(1)."""
        lane, number, now_s = call.lane, call.number, fx.now_s
        last, self._last = self._last, (lane, number, now_s)
        gap_s = GAP_S if len(call.blobs) == 1 else GATHER_S
        if last is None or last[0] is not lane or last[1] + 1 != number or last[2] + gap_s <= now_s:
            self._streams_until_s = 0.0
            return False
        self._streams_until_s = now_s + gap_s
        self.hall.streams[self] = lane.session.id
        following = self.following() if self.getters.line else None
        return following is not None and self._keeps_from(fx, following.note, len(call.blobs))

    def following(self) -> Waiter | None:
        """Return who is to be given the next item. Cost: O(1); else see `ParkingLot.first`."""
        first = self.getters.first()
        if first is None or self.mixed or first.note.job_s >= GATHER_S:
            return first
        last = next(reversed(self.getters.line.values()))
        return first if last.call.lane.suspended or last.note.job_s >= GATHER_S else last

    def keeps_from(self, fx: Effects, want: Want, timeout_s: float | None) -> bool:
        """Tell whether a worker that has come, and has time, is to wait for more than there is."""
        return timeout_s is None and self._streams_until_s > fx.now_s and self._keeps_from(fx, want)

    def _keeps_from(self, fx: Effects, want: Want, coming: int = 0) -> bool:
        if want.style != JOBS or want.job_s >= GATHER_S or self.ready.size + coming >= want.n:
            return False
        if self.gathering is None:
            self.gathering = fx.timers.add(fx.now_s + GATHER_S, _gathered, self)
        return True

    def end_stream(self, fx: Effects) -> None:
        """Keep nothing back any more: who put it waits for what becomes of it."""
        self._streams_until_s = 0.0
        if self.gathering is not None:
            self.settle(fx)

    def _stop_gathering(self) -> bool:
        if self.gathering is None:
            return False
        self.gathering.cancel()
        self.gathering = None
        return True

    def _share(self, want: Want, waiting: int) -> Want:
        """Return what one of those who wait is given of what was gathered."""
        if want.style != JOBS:
            return want
        share = max(-(-self.ready.size // waiting), int(GATHER_S / max(want.job_s, _FLOOR_S)))
        return want._replace(n=min(want.n, share))


def _gathered(fx: Effects, queue: QueueStream) -> None:
    queue.settle(fx)
