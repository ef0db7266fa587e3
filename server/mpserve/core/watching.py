"""Watching: one call that waits until any of several objects is ready (`connection.wait`).

RULES
* What can be waited for is a `Watched`: it says whether it `is_ready`, and calls `stir` whenever that may
  have become true. Nothing is taken: who is told still has to read, and may find that another was faster.
* A waiting call stands in one lot, the catalogue's, and is noted at each object it watches; it leaves all of
  them together.
* A suspended watcher is answered like all others; its answer is kept for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mpserve.core.machine import Machine
from mpserve.core.parking import ParkingLot

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpserve.core.parking import Waiter
    from mpshared.errors import MpserveError

__all__ = ["Watched", "Watching"]


class Watched(Machine):
    """An object that can be waited for together with others."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.watchers: dict[Call, None] = {}
        """Calls that watch it."""

    def is_ready(self) -> bool:
        """Tell whether nobody need wait for it."""
        raise NotImplementedError

    def stir(self, fx: Effects) -> None:
        """Answer whoever watches it, if it is ready. Cost: O(watchers, and what each of them watches)."""
        if self.watchers and self.is_ready():
            for call in list(self.watchers):
                _answer(fx, call)

    def break_waiters(self, fx: Effects, error: MpserveError | None = None) -> None:
        """Answer everybody who waits; to watchers it counts as ready: the next call on it says why."""
        super().break_waiters(fx, error)
        for call in list(self.watchers):
            _answer(fx, call, self)

    def validate(self) -> None:
        """Raise AssertionError unless every watcher waits, and for nothing that is ready."""
        super().validate()
        assert not (self.watchers and self.is_ready())
        for call in self.watchers:
            assert call.waiter is not None
            assert self in call.waiter.note


class Watching:
    """The calls that watch."""

    def __init__(self) -> None:
        self.lot = ParkingLot()

    def wait(self, fx: Effects, call: Call, objects: Sequence[Watched], timeout_s: float | None) -> None:
        """Answer the idents of those objects that are ready, as soon as one is; [] after `timeout_s`."""
        ready = [watched.ident for watched in objects if watched.is_ready()]
        if ready or timeout_s == 0:
            fx.reply(call, ready)
            return
        self.lot.park(fx, call, timeout_s, partial(_timed_out, objects), objects)
        for watched in objects:
            watched.watchers[call] = None

    def forget(self, waiter: Waiter) -> None:
        """Take a call that gave up out of the line, and away from all it watches."""
        _leave(waiter.call, waiter.note)
        self.lot.forget(waiter.call)


def _answer(fx: Effects, call: Call, gone: Watched | None = None) -> None:
    assert call.waiter is not None
    objects: Sequence[Watched] = call.waiter.note
    _leave(call, objects)
    call.waiter.lot.forget(call)
    fx.reply(call, [watched.ident for watched in objects if watched is gone or watched.is_ready()])


def _leave(call: Call, objects: Sequence[Watched]) -> None:
    for watched in objects:
        watched.watchers.pop(call, None)


def _timed_out(objects: Sequence[Watched], fx: Effects, call: Call) -> None:
    _leave(call, objects)
    fx.reply(call, [])
