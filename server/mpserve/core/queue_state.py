"""What a queue *is*: its items, where each of them is, and every change that can happen to them.

RULES
* Each method named ``on_…`` is one change; together with their arguments, in order, they rebuild the queue.
* Nobody is answered here, and nothing waits here: that is the part of those who are derived from this.
* A value counts as stored until it is given away, acknowledged or deleted; giving it back stores it again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from mpserve.core.queue_leases import Leases
from mpserve.core.queue_order import Ready, Run
from mpserve.core.queue_ranges import Range
from mpserve.core.queue_ranked import ORDERS
from mpserve.core.queue_special import Delayed, Special
from mpserve.core.room import VALUE_BYTES, plain_bytes
from mpserve.core.watching import Watched
from mpshared.bunch import odd_ones
from mpshared.errors import BadType, BadValue

if TYPE_CHECKING:
    from mpserve.core.effects import Effects
    from mpserve.core.house import House
    from mpserve.core.machine import Change
    from mpshared.values import Blob

__all__ = ["Dead", "QueueState"]


class Dead(NamedTuple):
    """An item that was set aside."""

    deaths: int
    blob: Blob
    report: dict[str, Any]


class QueueState(Watched):
    """Items that are READY, LEASED, DELAYED or DEAD, and the count of the unfinished."""

    SETTINGS: ClassVar[dict[str, Any]] = {"order": "fifo", "maxsize": 0, "max_attempts": 0}
    """order: fifo, lifo or priority. maxsize: of READY items, 0: any. max_attempts: 0: the server's."""
    _usual_attempts: int

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self._check_settings()
        self.ready: Ready = ORDERS[self.settings.get("order", "fifo")]()
        self.maxsize = max(0, self.settings.get("maxsize", 0))
        self.leases = Leases()
        self.dead: dict[int, Dead] = {}
        self.suspects: set[int] = set()
        """Numbers of stored items that were out when their holder died."""
        self.specials: dict[int, Special] = {}
        """Items on terms, by number, as long as they are stored and not DEAD."""
        self.delayed: dict[int, Delayed] = {}
        """Items that are not due yet, by number; each is on terms."""
        self.open_items = 0
        """How many items `join` waits for."""
        self.shut = False
        self.rich = 0
        """How many stored values are more than plain bytes; while 0 nobody looks for the others."""

    def _check_settings(self) -> None:
        order, numbers = self.settings["order"], (self.settings["maxsize"], self.settings["max_attempts"])
        if type(order) is not str or order not in ORDERS:
            raise BadValue(f"a queue's order is one of {', '.join(ORDERS)}, not {order!r:.80}")
        if any(type(number) is not int for number in numbers):
            what = "maxsize and max_attempts are whole numbers (0: no limit, and the server's)"
            raise BadType(f"{what}, got {numbers!r:.80}")

    def enter(self, house: House) -> None:
        """Find how often an item is handed out where the settings do not say."""
        self._usual_attempts = house.max_attempts

    def configure(self) -> None:
        """Follow settings that arrived when items were here already."""
        self.maxsize = max(0, self.settings["maxsize"])
        if type(self.ready) is not ORDERS[self.settings["order"]]:
            old, self.ready = self.ready, ORDERS[self.settings["order"]]()
            self.ready.next = old.next
            for number, special in self.specials.items():
                self.ready.single_out(number, -special.terms.priority)
            self.ready.restore((number, deaths, [blob]) for number, deaths, blob in sorted(old))

    @property
    def max_attempts(self) -> int:
        """How often an item is handed out before it is set aside."""
        return max(1, self.settings["max_attempts"] or self._usual_attempts)

    # -- changes ---------------------------------------------------------------------------------

    def on_put(self, fx: Effects, blobs: Sequence[Blob]) -> None:
        """Store new items. Cost: O(items), and no Python object for each in a fifo."""
        odd: Sequence[Blob] = ()
        if len(blobs) == 1 and type(blobs[0]) is bytes:
            fx.room.held_bytes += VALUE_BYTES + len(blobs[0])
        else:
            odd = self._keep(fx, blobs)
        self.ready.push(blobs, odd)
        self.open_items += len(blobs)

    def on_lease(
        self, _fx: Effects, session_id: str, lane: int, results: str, ranges: list[Range]
    ) -> list[Run]:
        """Move READY items to a session; `results` is the ident of the queue for their results, or ""."""
        runs = self.ready.take(ranges)
        self.leases.grant(session_id, lane, results, runs)
        return runs

    def on_assigned(
        self, fx: Effects, session_id: str, lane: int, results: str, blobs: Sequence[Blob]
    ) -> list[Run]:
        """Lease a new item of plain bytes, which nobody else was to have first; see `on_lease`."""
        fx.room.held_bytes += VALUE_BYTES + len(blobs[0])
        self.open_items += 1
        runs: list[Run] = [(self.ready.pass_by(), 0, blobs)]
        self.leases.grant(session_id, lane, results, runs)
        return runs

    def on_passed(self, _fx: Effects, blobs: Sequence[Blob]) -> list[Run]:
        """Give away a new item of plain bytes, which nobody else was to have first."""
        self.open_items += 1
        return [(self.ready.pass_by(), 0, blobs)]

    def on_take(self, fx: Effects, ranges: list[Range]) -> list[Run]:
        """Give READY items away."""
        runs = self.ready.take(ranges)
        self._lose(fx, runs)
        return runs

    def on_revoke(self, fx: Effects, number: int) -> None:
        """Delete a READY item, as if it had not been put."""
        self._lose(fx, self.ready.take([(number, number)]))
        self.open_items = max(0, self.open_items - 1)

    def on_restore(self, fx: Effects, runs: Sequence[Run]) -> None:
        """Store items again that were given away."""
        for _, _, blobs in runs:
            self._keep(fx, blobs)
        self.ready.restore(runs)

    def on_ack(self, fx: Effects, session_id: str, ranges: list[Range]) -> int:
        """Finish leased items; return how many of `ranges` were leased to the session."""
        runs = self.leases.give_up(session_id, ranges)
        self._lose(fx, runs)
        found = len(runs[0][2]) if len(runs) == 1 else sum([len(blobs) for _, _, blobs in runs])
        self.open_items = max(0, self.open_items - found)
        return found

    def on_lower(self, _fx: Effects, n: int) -> None:
        """Count `n` items as finished."""
        self.open_items -= n

    def on_back(self, _fx: Effects, session_id: str, ranges: list[Range]) -> int:
        """Return leased items unharmed; return how many of `ranges` were leased to the session."""
        runs = self.leases.give_up(session_id, ranges)
        self._come_back(runs)
        self.ready.restore(runs, apart=bool(self.suspects))
        return sum([len(blobs) for _, _, blobs in runs])

    def on_died(self, _fx: Effects, session_id: str, counted: list[Range], spared: list[Range]) -> None:
        """Return the items of a dead session; those in `counted` have had an attempt."""
        had = self.leases.give_up(session_id, counted)
        runs = [(first, deaths + 1, blobs) for first, deaths, blobs in had]
        runs += self.leases.give_up(session_id, spared)
        for first, _, blobs in runs:
            self.suspects.update(range(first, first + len(blobs)))
        self._come_back(runs)
        self.ready.restore(runs, apart=True)

    def on_bury(self, _fx: Effects, session_id: str, number: int, report: dict[str, Any]) -> None:
        """Set a leased item aside."""
        [(_, deaths, [blob])] = self.leases.give_up(session_id, [(number, number)])
        self.dead[number] = Dead(deaths + 1, blob, report)
        self._set_free((number,))
        self.open_items = max(0, self.open_items - 1)

    def on_requeue(self, _fx: Effects, numbers: list[int]) -> None:
        """Make dead items READY again with all their attempts; they stay suspects."""
        self.ready.restore([(number, 0, [self.dead.pop(number).blob]) for number in numbers], apart=True)
        self.suspects.update(numbers)
        self.open_items += len(numbers)

    def on_drop(self, fx: Effects, numbers: list[int]) -> None:
        """Delete dead items."""
        self._lose(fx, [(number, 0, [self.dead.pop(number).blob]) for number in numbers])

    def on_clear(self, fx: Effects) -> int:
        """Delete what is READY; return how many items that were."""
        if self.suspects or self.specials:
            self._set_free([number for number, _, _ in self.ready])
        blobs = self.ready.drain()
        self._lose_values(fx, blobs)
        self.open_items = max(0, self.open_items - len(blobs))
        return len(blobs)

    def on_shut(self, fx: Effects, immediate: bool) -> None:
        """Take nothing more; with `immediate` delete what is READY."""
        self.shut = True
        if immediate:
            self.on_clear(fx)

    def _lose(self, fx: Effects, runs: Iterable[Run]) -> None:
        """Let go of what is remembered of items that are gone."""
        for first, _, blobs in runs:
            if self.suspects or self.specials:
                self._set_free(range(first, first + len(blobs)))
            if len(blobs) == 1 and not self.rich:
                fx.room.held_bytes -= VALUE_BYTES + len(blobs[0])
            else:
                self._lose_values(fx, blobs)

    def _set_free(self, numbers: Collection[int]) -> None:
        """Forget what is remembered of items beside their values; more in `queue_terms`."""
        self.suspects.difference_update(numbers)

    def _come_back(self, runs: Iterable[Run]) -> None:
        """Note that items return from their holders; see `queue_terms`."""

    def _lose_values(self, fx: Effects, blobs: Sequence[Blob]) -> None:
        if self.rich:
            fx.keep(blobs, -1)
            self.rich -= len(odd_ones(blobs))
        else:
            fx.room.held_bytes -= plain_bytes(blobs)

    # -- changes of a rebuilt queue --------------------------------------------------------------

    def on_shelved(self, fx: Effects, first: int, deaths: int, blobs: Sequence[Blob]) -> None:
        """Store READY items that have been out."""
        self._keep(fx, blobs)
        self.ready.reshelve(first, deaths, blobs)

    def on_stood_apart(self, fx: Effects, number: int, deaths: int, blob: Blob) -> None:
        """Store a READY item that has a place of its own."""
        self._keep(fx, (blob,))
        self.ready.set_apart(number, deaths, blob)

    def on_lined(self, fx: Effects, first: int, blobs: Sequence[Blob]) -> None:
        """Store READY items that have not."""
        self.ready.refill(first, blobs, self._keep(fx, blobs))

    def on_out(
        self,
        fx: Effects,
        session_id: str,
        lane: int,
        results: str,
        first: int,
        deaths: int,
        blobs: Sequence[Blob],
    ) -> None:
        """Store items that a session has leased."""
        self._keep(fx, blobs)
        self.leases.grant(session_id, lane, results, [(first, deaths, blobs)])

    def on_died_out(self, fx: Effects, number: int, deaths: int, blob: Blob, report: dict[str, Any]) -> None:
        """Store an item that was set aside."""
        self._keep(fx, (blob,))
        self.dead[number] = Dead(deaths, blob, report)

    def on_counted(
        self, _fx: Effects, following: int, open_items: int, shut: bool, suspects: Sequence[int]
    ) -> None:
        """Note what is counted, when all items are here."""
        self.ready.rebuilt(following)
        self.open_items, self.shut, self.suspects = open_items, shut, set(suspects)

    def _keep(self, fx: Effects, blobs: Sequence[Blob]) -> Sequence[Blob]:
        """Note that values are stored; return those that are more than plain bytes."""
        odd = odd_ones(blobs)
        if odd:
            self.rich += len(odd)
            fx.keep(blobs)
        else:
            fx.room.held_bytes += plain_bytes(blobs)
        return odd

    def rebuild(self) -> Iterator[Change]:
        """Yield all items, then the counts."""
        yield from self.ready.rebuild()
        for session_id, lease in self.leases:
            yield "out", (session_id, lease.lane, lease.results, *lease.part(lease.first, lease.last))
        for number, item in self.dead.items():
            yield "died_out", (number, item.deaths, item.blob, item.report)
        yield "counted", (self.ready.next, self.open_items, self.shut, sorted(self.suspects))

    def owners(self) -> Iterable[str]:
        """Return the sessions that have leased items."""
        return self.leases.holders

    def holdings(self, session_id: str) -> Iterable[tuple[int, int, Iterable[str]]]:
        """Yield the leased items of a session."""
        for lane, n in self.leases.counts(session_id).items():
            yield lane, n, (self.ident,)

    # -- looking ---------------------------------------------------------------------------------

    def stored(self) -> Iterator[Blob]:
        """Yield the values of READY, LEASED, DELAYED and DEAD items."""
        for _, _, blob in self.ready:
            yield blob
        yield from self.leases.blobs()
        for late in self.delayed.values():
            yield late.blob
        for item in self.dead.values():
            yield item.blob

    def statistics(self) -> dict[str, Any]:
        """Return how many items there were ever, and how many are in each state."""
        return {
            "put": self.ready.next - 1,
            "ready": self.ready.size,
            "leased": self.leases.count,
            "delayed": len(self.delayed),
            "dead": len(self.dead),
            "unfinished": self.open_items,
            "maxsize": self.maxsize,
            "shut_down": self.shut,
        }

    def state(self) -> dict[str, Any]:
        """Return every item and where it is."""
        return {
            "next": self.ready.next,
            "ready": sorted(self.ready),
            "leases": list(self._leased()),
            "delayed": dict(self.delayed),
            "specials": {number: special.given() for number, special in self.specials.items()},
            "dead": dict(self.dead),
            "suspects": set(self.suspects),
            "unfinished": self.open_items,
            "shut": self.shut,
        }

    def _leased(self) -> Iterator[tuple[str, int, str, int, int, Blob]]:
        for session_id, lease in self.leases:
            first, deaths, blobs = lease.part(lease.first, lease.last)
            for number, blob in enumerate(blobs, first):
                yield session_id, lease.lane, lease.results, number, deaths, blob

    def validate(self) -> None:
        """Raise AssertionError when an item is in two places or a count is wrong."""
        super().validate()
        self.ready.validate()
        self.leases.validate()
        numbers = [number for number, _, _ in self.ready]
        numbers += [number for _, _, _, number, _, _ in self._leased()]
        numbers += [*self.delayed, *self.dead]
        assert len(numbers) == len(set(numbers))
        assert all(0 < number < self.ready.next for number in numbers)
        assert self.suspects <= set(numbers)
        assert self.rich == sum(type(blob) is not bytes for blob in QueueState.stored(self))
        assert self.open_items >= 0
