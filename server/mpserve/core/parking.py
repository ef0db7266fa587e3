"""Where calls wait: a `ParkingLot` is one line of waiters, served first come, first served.

RULES
* Ownership is handed over: who is unparked already *has* what it waited for; nobody races for it again.
* A waiter whose lane is suspended keeps its place and is skipped.
* What calls with values hold while they wait is counted for their session, and bounded (`Bounds`).
* A peer that is gone is forgotten before anything is handed out, so a dead waiter never swallows anything.
* A call that comes again after a restart stands where it stood before: in front of all that came since, and
  behind those that were before it. Until it is back it holds up nobody.

Source: the idea and the verbs are trio's `ParkingLot`; the order of forgetting is our own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mpshared.bunch import message_bytes

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpserve.core.timers import Timer

__all__ = ["ParkingLot", "Waiter", "answer_false", "answer_none"]

OnExpiry: TypeAlias = "Callable[[Effects, Call], None]"
_PLACE: Final = attrgetter("place")


def answer_false(fx: Effects, call: Call) -> None:
    """Answer that what a call waited for has not come about: its time is up."""
    fx.reply(call, False)


def answer_none(fx: Effects, call: Call) -> None:
    """Answer that there is nothing: its time is up."""
    fx.reply(call)


class Waiter:
    """A parked call: where it stands, and what happens when its time is up."""

    __slots__ = ("call", "lot", "note", "on_expiry", "place", "since_s", "size_bytes", "timer")

    def __init__(self, call: Call, lot: ParkingLot, on_expiry: OnExpiry, note: Any, since_s: float) -> None:
        self.call = call
        self.lot = lot
        self.on_expiry = on_expiry
        self.note = note
        """The kind's own remark: what a getter wants, whose claim on a lock it is, …"""
        self.since_s = since_s
        self.timer: Timer | None = None
        self.size_bytes = 0
        """What its values count for what its session's waiting calls may hold."""
        self.place = 0
        """Its place of before a restart, counted over all lines; 0: it has come since."""


def _weigh(fx: Effects, waiter: Waiter) -> None:
    """Count what a call with values holds while it waits; raise NoRoom if its session's hold enough."""
    call, size = waiter.call, message_bytes(waiter.call.blobs)
    fx.bounds.check_waiting(call, size)
    waiter.size_bytes = size
    call.session.waiting_bytes += size


def _expire(fx: Effects, waiter: Waiter) -> None:
    waiter.lot.forget(waiter.call)
    waiter.on_expiry(fx, waiter.call)


class ParkingLot:
    """One line of parked calls."""

    __slots__ = ("_mixed", "line")

    def __init__(self) -> None:
        self.line: OrderedDict[int, Waiter] = OrderedDict()
        """By the id of the call. For others to look at whether somebody waits: `len` is a call."""
        self._mixed = False
        """Calls have come back, and do not stand at their places yet."""

    def __len__(self) -> int:
        return len(self.line)

    def __iter__(self) -> Iterator[Call]:
        return iter([waiter.call for waiter in self.waiters()])

    def park(
        self, fx: Effects, call: Call, timeout_s: float | None, on_expiry: OnExpiry, note: Any = None
    ) -> None:
        """Let `call` wait at the end of the line; after `timeout_s` it leaves and ``on_expiry(fx, call)``
        answers it.

        Raises:
            NoRoom: It has values, and those of its session that wait hold enough already.
        """
        waiter = Waiter(call, self, on_expiry, note, fx.now_s)
        if call.blobs:
            _weigh(fx, waiter)
        if timeout_s is not None:
            waiter.timer = fx.timers.add(fx.now_s + timeout_s, _expire, waiter)
        self.line[id(call)] = waiter
        call.waiter = waiter
        if fx.parked is not None:
            self._keep_place(fx.parked, waiter)

    def _keep_place(self, parked: dict[Call, None], waiter: Waiter) -> None:
        """Have a waiter stand at its place of before a restart, or its place be noted for the next one."""
        call = waiter.call
        waiter.place = call.lane.take_place(call.number)
        if waiter.place:
            self._mixed = True
        else:
            parked.pop(call, None)
            parked[call] = None

    def _in_order(self) -> Iterable[Waiter]:
        """Return the waiters in order. Cost: O(1), but O(n log n) once others have come back."""
        if self._mixed:
            self._mixed = False
            back = [waiter for waiter in self.line.values() if waiter.place]
            for waiter in sorted(back, key=_PLACE, reverse=True):
                self.line.move_to_end(id(waiter.call), last=False)
        return self.line.values()

    def first(self) -> Waiter | None:
        """Return the first awake waiter without removing it. Cost: O(suspended waiters before it)."""
        for waiter in self._in_order() if self._mixed else self.line.values():
            if not waiter.call.lane.suspended:
                return waiter
        return None

    def awake(self) -> Iterator[Waiter]:
        """Yield the awake waiters in order; who takes one out of the line looks no further."""
        return (waiter for waiter in self._in_order() if not waiter.call.lane.suspended)

    def waiters(self) -> list[Waiter]:
        """Return all waiters in order, suspended ones too; they may be taken out of the line meanwhile."""
        return list(self._in_order())

    def unpark(self) -> Call | None:
        """Remove the first awake waiter and return its call."""
        waiter = self.first()
        if waiter is None:
            return None
        self.forget(waiter.call)
        return waiter.call

    def repark(self, call: Call, lot: ParkingLot, on_expiry: OnExpiry) -> None:
        """Move `call` from this lot to the end of another, where it waits without a deadline."""
        before = self.line[id(call)]
        self.forget(call)
        waiter = call.waiter = Waiter(call, lot, on_expiry, None, before.since_s)
        if before.size_bytes:
            waiter.size_bytes = before.size_bytes
            call.session.waiting_bytes += before.size_bytes
        lot.line[id(call)] = waiter

    def forget(self, call: Call) -> None:
        """Take `call` out of the line, wherever it stands. Cost: O(1)."""
        waiter = self.line.pop(id(call), None)
        if waiter is None:
            return
        if waiter.timer is not None:
            waiter.timer.cancel()
        if waiter.size_bytes:
            call.session.waiting_bytes -= waiter.size_bytes
        call.waiter = None

    def drain(self) -> list[Call]:
        """Remove all waiters, suspended ones too, and return their calls."""
        calls = list(self)
        for call in calls:
            self.forget(call)
        return calls

    def validate(self) -> None:
        """Raise AssertionError unless every waiter knows that it stands here and is not answered."""
        for key, waiter in self.line.items():
            assert key == id(waiter.call)
            assert waiter.call.waiter is waiter
            assert not waiter.call.answered
