"""The places in a pool that may have so many processes: who takes its jobs, and for how long.

A program that opens a pool of one process relies on it that what a job left there is found by the next one.

RULES
* Who has a place keeps it, at work or not, until its session ends: the process died, or was replaced.
* But no job waits for a process that does not come. Who has not taken jobs for `PATIENCE_S` while there were
  some all the time loses its place: it is at others' jobs, leaves, is cut off, or is of a Python that may not
  have them. This is looked at `PATIENCE_S` after jobs have begun to wait for somebody, and each `PATIENCE_S`
  from then on; so others may have them within twice that.
* Who is at work for the pool keeps its place, however long its job takes.
* Who is bound to another program by now loses it at once (`hall`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mpserve.core.pool_standing import PoolStanding

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpserve.core.queue_ranges import Range
    from mpserve.core.timers import Timer

__all__ = ["PATIENCE_S", "PoolPlaces"]

PATIENCE_S: Final = 1.0
"""A process that takes turns between programs is back after 0.1 s at most, where jobs are short."""


class PoolPlaces(PoolStanding):
    """A pool that may have places."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self._patience: Timer | None = None

    def is_closed_to(self, session_id: str) -> bool:
        """Tell whether the places of a bounded pool are all taken by others."""
        return self.is_full and session_id not in self.places

    def offer(self, fx: Effects) -> None:
        """Give jobs to workers that wait."""
        self.hall.feed(fx, self)
        if self.bounded:
            self.watch(fx)

    # -- who does not come -----------------------------------------------------------------------

    @property
    def _is_held_up(self) -> bool:
        """Whether jobs wait for somebody who has a place and is not at work."""
        return bool(self.ready.size) and self.is_full and self.is_open

    def watch(self, fx: Effects) -> None:
        """Begin to wait for those who have a place, or stop it. Cost: O(places) when it begins."""
        if self._patience is None and self._is_held_up:
            self.missed = {*self.places}.difference(self.leases.holders)
            self._patience = fx.timers.add(fx.now_s + PATIENCE_S, self._lose_patience)
        elif self._patience is not None and not self._is_held_up:
            self._stop_watching()

    def _stop_watching(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None
        self.missed = set()

    def _lose_patience(self, fx: Effects) -> None:
        self._patience = None
        if self.missed:
            self.change(fx, "vacate", sorted(self.missed))
        self.settle(fx)

    # -- who goes --------------------------------------------------------------------------------

    def leave_place(self, fx: Effects, session_id: str) -> None:
        """Make the place of a session free, unless it is at work."""
        if session_id not in self.leases.holders:
            self.change(fx, "vacate", [session_id])
            self.settle(fx)

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Take its jobs back, and make its place free."""
        super().forget_session(fx, session)
        if session.id in self.places:
            self.leave_place(fx, session.id)

    def stop(self, fx: Effects, call: Call, ranges: list[Range], grace_s: float) -> None:
        """Cancel jobs; see `PoolTerms.stop`."""
        super().stop(fx, call, ranges, grace_s)
        self.watch(fx)

    def revive(self, fx: Effects) -> None:
        """Wait for those who have a place: they may not be back."""
        super().revive(fx)
        self.watch(fx)

    def leave(self) -> None:
        """Wait for nobody any more: it is deleted."""
        super().leave()
        self._stop_watching()

    def validate(self) -> None:
        """Raise AssertionError when jobs wait for somebody, and nobody sees to it."""
        super().validate()
        assert (self._patience is not None) == self._is_held_up
        assert self.missed.isdisjoint(self.leases.holders)
