"""Items on terms: DELAYED until they are due, given up when they expire, before or after others.

    put on terms --delay--> DELAYED --due--> READY --> LEASED --ack--> gone
                               |               |  ^       |
                               '--- expired ---'  '-------' as all others
                                       v
                       what the kind makes of it (`_expire`)

RULES
* Such an item has a number like all others, and an own entry here: these are for the few, or for those that
  take long. Items without terms know nothing of it.
* Times in records are wall-clock. An alarm is no state: it is planned from what is due, also after a restart.
* A change only notes whose alarm is to be looked at; `look_after` sets it when the change is through.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.queue_order import Run
from mpserve.core.queue_ranges import numbers_of
from mpserve.core.queue_special import Delayed, Special
from mpserve.core.queue_state import Dead, QueueState

if TYPE_CHECKING:
    from mpserve.core.effects import Effects
    from mpserve.core.machine import Change
    from mpserve.core.timers import Timer
    from mpshared.terms import Terms
    from mpshared.values import Blob

__all__ = ["QueueTerms"]

_SOON_S: Final = 0.001
"""Two clocks are added and subtracted on the way from a due time to an alarm: it may ring a little early."""
_AGAIN_S: Final = 1.0
"""When an alarm rings again whose matter is not settled, such as a process that is to be killed."""


class QueueTerms(QueueState):
    """A queue some of whose items are on terms."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self._alarms: dict[int, Timer] = {}
        self._touched: list[int] = []
        """Whose alarm is to be looked at."""

    def add_on_terms(self, fx: Effects, terms: Terms, blob: Blob) -> int:
        """Store a new item on terms; return its number. Cost: an entry, a record, and an alarm."""
        number = self.ready.next
        due_s = fx.wall_s + terms.delay_s if terms.delay_s else None
        expires_s = None if terms.expires_s is None else fx.wall_s + terms.expires_s
        self.change(fx, "put_on_terms", number, Special(terms, expires_s).given(), due_s, blob)
        self.look_after(fx)
        return number

    # -- changes ---------------------------------------------------------------------------------

    def on_put_on_terms(
        self, fx: Effects, number: int, special: Sequence[Any], due_s: float | None, blob: Blob
    ) -> None:
        """Store a new item."""
        self._keep(fx, (blob,))
        self.ready.skip()
        self.open_items += 1
        self.on_agreed(fx, number, special)
        if due_s is None:
            self.ready.set_apart(number, 0, blob)
        else:
            self.delayed[number] = Delayed(due_s, 0, blob)

    def on_agreed(self, _fx: Effects, number: int, special: Sequence[Any]) -> None:
        """Note the terms of an item, and how far it has come."""
        self.specials[number] = Special.made(*special)
        self.ready.single_out(number, -self.specials[number].terms.priority)
        self._touched.append(number)

    def on_due(self, _fx: Effects, number: int) -> None:
        """Make an item READY."""
        _, deaths, blob = self.delayed.pop(number)
        self.ready.set_apart(number, deaths, blob)

    def on_again(self, _fx: Effects, session_id: str, number: int, due_s: float) -> int:
        """Have a leased item, whose run has failed, run again later; return 0 if it was not leased."""
        runs = self.leases.give_up(session_id, [(number, number)])
        for _, deaths, blobs in runs:
            self.specials[number].failures += 1
            self.suspects.discard(number)
            self._come_back(runs)
            self.delayed[number] = Delayed(due_s, deaths, blobs[0])
        return len(runs)

    def on_lapse(self, _fx: Effects, number: int, report: dict[str, Any]) -> None:
        """Set an item aside that waits."""
        late = self.delayed.pop(number, None)
        if late is None:
            [(_, deaths, [blob])] = self.ready.take([(number, number)])
        else:
            _, deaths, blob = late
        self.dead[number] = Dead(deaths, blob, report)
        self._set_free((number,))
        self.open_items = max(0, self.open_items - 1)

    def on_clear(self, fx: Effects) -> int:
        """Delete what is READY or DELAYED; return how many items that were."""
        late = list(self.delayed)
        self._remove(fx, late)
        self.open_items = max(0, self.open_items - len(late))
        return len(late) + super().on_clear(fx)

    def on_postponed(self, fx: Effects, number: int, due_s: float, deaths: int, blob: Blob) -> None:
        """Store an item that is not due yet; for a rebuilt queue."""
        self._keep(fx, (blob,))
        self.delayed[number] = Delayed(due_s, deaths, blob)

    def _remove(self, fx: Effects, numbers: Iterable[int]) -> list[Run]:
        """Take items out that are READY or DELAYED, and let go of their values."""
        runs: list[Run] = []
        for number in numbers:
            if number in self.delayed:
                _, deaths, blob = self.delayed.pop(number)
                runs.append((number, deaths, [blob]))
            else:
                runs += self.ready.take([(number, number)])
        self._lose(fx, runs)
        return runs

    def _set_free(self, numbers: Collection[int]) -> None:
        super()._set_free(numbers)
        if self.specials:
            for number in numbers:
                if self.specials.pop(number, None) is not None:
                    self.ready.let_go(number)
                    self._touched.append(number)

    def _come_back(self, runs: Iterable[Run]) -> None:
        if not self.specials:
            return
        for number in numbers_of((first, first + len(blobs) - 1) for first, _, blobs in runs):
            if number in self.specials:
                self.specials[number].came_back()
                self._touched.append(number)

    def rebuild(self) -> Iterator[Change]:
        """Yield the terms, the items, those that are late, the counts."""
        for number, special in self.specials.items():
            yield "agreed", (number, special.given())
        for number, late in self.delayed.items():
            yield "postponed", (number, *late)
        yield from super().rebuild()

    def revive(self, fx: Effects) -> None:
        """Plan what is due."""
        super().revive(fx)
        self._touched = list(self.with_alarms())
        self.settle(fx)

    def leave(self) -> None:
        """Ring no more: it is deleted."""
        super().leave()
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()

    # -- time ------------------------------------------------------------------------------------

    def look_after(self, fx: Effects, overdue_s: float = 0.0) -> None:
        """Set the alarms of all items that something happened to; of what is overdue, in `overdue_s`."""
        touched, self._touched = self._touched, []
        for number in touched:
            alarm = self._alarms.pop(number, None)
            if alarm is not None:
                alarm.cancel()
            due_s = self.due_of(number)
            if due_s is not None:
                wait_s = due_s - fx.wall_s
                at_s = fx.now_s + (wait_s if wait_s > 0 else overdue_s)
                self._alarms[number] = fx.timers.add(at_s, self._ring, number)

    def with_alarms(self) -> Iterator[int]:
        """Yield the numbers of items to which something may happen by itself."""
        yield from self.specials

    def due_of(self, number: int) -> float | None:
        """Return when that is, wall-clock; None: not as things are."""
        special = self.specials.get(number)
        return None if special is None else self._next_due_s(number, special)

    def happens(self, fx: Effects, number: int) -> None:
        """Have it happen, if it is time."""
        special = self.specials.get(number)
        if special is not None:
            self._happen(fx, number, special)

    def _next_due_s(self, number: int, special: Special) -> float | None:
        late = self.delayed.get(number)
        if late is not None:
            return late.due_s if special.expires_at_s is None else min(late.due_s, special.expires_at_s)
        return special.expires_at_s if self.ready.has(number) else None

    def _ring(self, fx: Effects, number: int) -> None:
        self.happens(fx, number)
        self._touched.append(number)
        self.look_after(fx, _AGAIN_S)
        self.settle(fx)

    def _happen(self, fx: Effects, number: int, special: Special) -> None:
        """Do what is due with an item."""
        late = self.delayed.get(number)
        if self._is_past(fx, special.expires_at_s) and (late is not None or self.ready.has(number)):
            self._expire(fx, number, special)
        elif late is not None and self._is_past(fx, late.due_s):
            self.change(fx, "due", number)

    def _is_past(self, fx: Effects, at_s: float | None) -> bool:
        return at_s is not None and at_s <= fx.wall_s + _SOON_S

    def _expire(self, fx: Effects, number: int, special: Special) -> None:
        """Give up an item that waits; what becomes of it is the kind's matter."""
        raise NotImplementedError

    def settle(self, fx: Effects) -> None:
        """Let everybody go on who can."""
        raise NotImplementedError

    def validate(self) -> None:
        """Raise AssertionError when terms are forgotten, or left over."""
        super().validate()
        places = [number for number, _, _ in self.ready] + [leased[3] for leased in self._leased()]
        assert self.delayed.keys() <= self.specials.keys() <= {*places, *self.delayed}
