"""Who takes from a queue, and waits for items: consumers, and workers, whose jobs may also come from pools.

RULES
* An item goes to the getter that waited longest, of those that may have it; but see `queue_stream`.
* Taken without a lease: gone at once; if the answer is lost the item is stored again.
* A worker waits here for jobs of pools as well, which come to it from the `hall`. While both have some they
  alternate.
* What a worker is given while it is at work is of what it is at; `TURN` times in a row if others have jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.queue_order import Run
from mpserve.core.queue_stream import QueueStream
from mpserve.core.queue_wants import JOBS, MANY, ONE, Want, reply_jobs, takes_pool_jobs
from mpshared.bunch import joined
from mpshared.errors import Empty, ShutDown

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpserve.core.hall import JobPool
    from mpserve.core.parking import Waiter
    from mpserve.core.queue_workers import QueueWorkers
    from mpshared.values import Blob

__all__ = ["QueueGetters"]

TURN: Final = 4
"""How many batches a worker is given ahead in a row, while others have jobs for it too: each such turn costs
it one way to the server and back without work."""
_ONE = Want(1, ONE, lease=False)
_ONE_LEASED = Want(1, ONE, lease=True)


class QueueGetters(QueueStream):
    """A queue as those see it who take from it."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self._pools_turn = False
        self._settling = False

    def leave(self) -> None:
        """Have no workers any more: it is deleted."""
        super().leave()
        self.hall.close(self)

    # -- getting ---------------------------------------------------------------------------------

    def get(self, fx: Effects, call: Call, timeout_s: float | None, lease: bool) -> None:
        """Answer one item, or park the call until there is one.

        With `lease` it stays the session's until it is acknowledged, and the answer is [number, attempt] (the
        first attempt is 1); without, None.

        Raises:
            Empty: Nothing within `timeout_s` (None: wait for ever, 0: do not wait).
            ShutDown: Nothing, and nothing will come.

        Cost: O(1). Source: queue.Queue.get.
        """
        if lease or not self.ready.size or self.ready.versions:
            self._get(fx, call, timeout_s, _ONE_LEASED if lease else _ONE)
        else:
            self._give_first(fx, call)

    def _give_first(self, fx: Effects, call: Call) -> None:
        """Give away the first item, which anybody may have: the short way of `_get`, as most take."""
        runs = self.change(fx, "take", self.ready.choose(1))
        call.took = (False, runs, self)
        fx.reply(call, None, runs[0][2])
        if self.maxsize or self.shut:
            self.settle(fx)

    def get_many(self, fx: Effects, call: Call, n: int, timeout_s: float | None, lease: bool) -> None:
        """Answer what is there, up to `n` items and at least one; wait and fail as `get` does.

        With `lease` the answer is [[first, last, attempt], …]: runs of numbers, in the order of the values.
        """
        want = Want(n, MANY, lease)
        if n:
            self._get(fx, call, timeout_s, want)
        else:
            self._answer(fx, call, want, ())

    def _go_on(
        self, fx: Effects, call: Call, timeout_s: float | None, want: Want, pool: JobPool | None = None
    ) -> None:
        """Give a worker that has brought what it did the next jobs; `pool`: what it was at."""
        if want.n and not want.ahead:
            call.lane.session.ahead = 0
            self._get(fx, call, timeout_s, want)
        elif not want.n or not self._hand_ahead(fx, call, want, pool):
            self._answer(fx, call, want, ())

    def _hand_ahead(self, fx: Effects, call: Call, want: Want, pool: JobPool | None) -> bool:
        """Give a worker more of what it is at, for later; see `exchange_ahead`."""
        session = call.session
        if self._is_over or (session.ahead >= TURN and self._has_other_jobs(fx, call, want, pool)):
            return False
        if pool is not None:
            handed = self.hall.give_ahead(fx, pool, call, want.n, want.lost)
        else:
            handed = bool(self.ready.size) and self.gathering is None and self._hand(fx, call, want)
            if handed and (self.maxsize or self.shut):
                self.settle(fx)
        session.ahead += handed
        return handed

    def _has_other_jobs(self, fx: Effects, call: Call, want: Want, pool: JobPool | None) -> bool:
        """Tell whether a worker would be given jobs of others than what it is at, were it done."""
        if pool is not None and self.ready.size and not self.hall.holds(fx, call.session):
            return True
        return takes_pool_jobs(call, want) and self.hall.has_jobs_beside(fx, pool, call.session)

    def _get(self, fx: Effects, call: Call, timeout_s: float | None, want: Want) -> None:
        pools = bool(self.hall.pools) and not self._is_over and takes_pool_jobs(call, want)
        if pools:
            self._pools_turn = not self._pools_turn or self.hall.holds(fx, call.session)
            if self._pools_turn and self.hall.serve(fx, call, want.n, want.lost):
                return
        if self.ready.size and not self.keeps_from(fx, want, timeout_s) and self._hand(fx, call, want):
            if self.maxsize or self.shut:
                self.settle(fx)
        elif pools and self.hall.serve(fx, call, want.n, want.lost):
            pass
        elif timeout_s == 0 or (self.shut and self._is_over):
            self._found_nothing(want, fx, call)
        else:
            self.mixed = want.style != JOBS or (self.mixed and bool(self.getters.line))
            self.getters.park(fx, call, timeout_s, partial(self._give_up, want), want)
            if takes_pool_jobs(call, want):
                self.hall.wait_at(self)
            if self.hall.streams and want.style != JOBS:
                self.hall.waits(fx, call.session)

    @property
    def _is_over(self) -> bool:
        return self.shut and not self.ready.size and not self.delayed

    def idle_workers(self) -> Iterator[tuple[Call, int, int]]:
        """Yield workers that wait here and take jobs of pools: (call, n, lost), longest first."""
        for waiter in self.getters.awake():
            want: Want = waiter.note
            if takes_pool_jobs(waiter.call, want):
                yield waiter.call, want.n, want.lost

    def idle_worker(self, call: Call) -> tuple[Call, int, int] | None:
        """Return that of a call, if it is such a worker's, and waits here."""
        waiter = call.waiter
        if call.machine is not self or waiter is None or waiter.lot is not self.getters:
            return None
        want: Want = waiter.note
        return (call, want.n, want.lost) if takes_pool_jobs(call, want) else None

    def _hand(self, fx: Effects, call: Call, want: Want) -> bool:
        """Give the caller what it wants, as far as it is there. False: nothing that it may have."""
        session, ready = call.lane.session, self.ready
        barred = self.barred_for(session) if ready.versions else ()
        most = min(ready.size, want.n)  # a single one is soon chosen
        ranges = ready.choose(most, barred, self.suspects if want.style == JOBS else None)
        if not ranges or (want.ahead and not self.may_lie(ranges)):
            return False
        if call.waiter is not None:
            self.getters.forget(call)
        if want.lease:
            runs = self.change(fx, "lease", session.id, call.lane.number, want.results, ranges)
        else:
            runs = self.change(fx, "take", ranges)
        self._handed(fx, call, want, runs)
        return True

    def _handed(self, fx: Effects, call: Call, want: Want, runs: Sequence[Run]) -> None:
        if want.lease:
            session = call.lane.session
            session.may_own_in(self)
            session.handed_s = fx.now_s
        call.took = (want.lease, runs, self)
        self._answer(fx, call, want, runs)

    def _answer(self, fx: Effects, call: Call, want: Want, runs: Sequence[Run]) -> None:
        if want.style == ONE:
            first, deaths, out = runs[0]
            fx.reply(call, [first, deaths + 1] if want.lease else None, out)
            return
        if want.style == JOBS:
            reply_jobs(fx, call, runs, want.lost, self.versions, ended=self._is_over)
            return
        out = joined([blobs for _, _, blobs in runs])
        jobs = [[first, first + len(blobs) - 1, deaths + 1] for first, deaths, blobs in runs]
        fx.reply(call, jobs if want.lease else None, out)

    def _give_up(self, want: Want, fx: Effects, call: Call) -> None:
        if self.gathering is None or not self._hand(fx, call, want):
            self._found_nothing(want, fx, call)

    def _found_nothing(self, want: Want, fx: Effects, call: Call) -> None:
        if want.style == JOBS:
            self._answer(fx, call, want, ())
        elif self._is_over:
            fx.fail(call, self._closed("get from"))
        else:
            fx.fail(call, Empty(f"{self.label} is empty; wait longer, or for ever with timeout=None"))

    def taken_by(self, call: Call) -> int:
        """Return how many leased items an answer brought."""
        if call.op.undo != "undo_get" or call.took is None:
            return 0
        leased, runs, owner = call.took
        return sum(len(blobs) for _, _, blobs in runs) if leased and owner is self else 0

    def undo_get(self, fx: Effects, call: Call) -> None:
        """Put back what a call took whose answer never arrived. What an exchange brought stands."""
        if call.took is not None:
            owner: QueueWorkers
            (leased, runs, owner), call.took = call.took, None
            if self.machines.get(owner.ident) is owner:
                owner.take_back(fx, call.session, leased, runs)

    # -- handing on ------------------------------------------------------------------------------

    def hand_over(self, fx: Effects, blobs: Sequence[Blob]) -> bool:
        """Give a new item to who waits for it, past all lines; False: it has to be stored first.

        It is what `put` and `settle` do with a single item, in one change: both that somebody waits and that
        there is nothing else, no room to mind, no reference in it are the rule where jobs go one at a time.
        """
        if self.ready.size or self.maxsize or self.gathering is not None or len(blobs) != 1:
            return False
        waiter = self.following() if type(blobs[0]) is bytes and not self._settling else None
        if waiter is None:
            return False
        call, want = waiter.call, waiter.note
        self.getters.forget(call)
        if want.lease:
            lane = call.lane
            runs = self.change(fx, "assigned", lane.session.id, lane.number, want.results, blobs)
        else:
            runs = self.change(fx, "passed", blobs)
        self._handed(fx, call, want, runs)
        return True

    def _closed(self, what: str) -> ShutDown:
        means = "it takes nothing new and ends when it is empty"
        anew = "; fresh=True makes a new one of that name" if self.name else ""
        return ShutDown(f"{what} {self.label}, which was shut down: {means}{anew}")

    def offer_workers(self, fx: Effects) -> None:
        """Let workers that wait here have jobs of pools: one of them may be awake again."""
        if self.getters:
            self.hall.wait_at(self)
            self.hall.feed_all(fx)

    def _feed(self, fx: Effects) -> bool:
        """Hand items to getters; return whether any went."""
        fed = False
        left = len(self.getters.line) if self.gathering is not None and self._stop_gathering() else 0
        while self.ready.size and (waiter := self.following()) is not None:
            if not self._hand_to_waiter(fx, waiter, left):
                return self._feed_past(fx) or fed
            fed = True
            left -= 1
        return fed

    def _feed_past(self, fx: Effects) -> bool:
        """Look for getters that may have what the first may not. Cost: O(getters), only with barred items."""
        fed = False
        for waiter in self.getters.waiters():
            if self.ready.size and not waiter.call.lane.suspended:
                fed = self._hand_to_waiter(fx, waiter) or fed
        return fed

    def _hand_to_waiter(self, fx: Effects, waiter: Waiter, sharers: int = 0) -> bool:
        want: Want = waiter.note
        return self._hand(fx, waiter.call, self._share(want, sharers) if sharers > 1 else want)

    def _close_getters(self, fx: Effects) -> None:
        for waiter in self.getters.waiters():
            self.getters.forget(waiter.call)
            self._found_nothing(waiter.note, fx, waiter.call)

    def validate(self) -> None:
        """Raise AssertionError when a getter waits that need not, or one is forgotten."""
        super().validate()
        assert self.versions == sorted(set(self.servers.values()))
        assert not (self._is_over and len(self.getters))
        for call in self.getters:
            barred = sum(self.ready.versions[version] for version in self.barred_for(call.session))
            assert call.lane.suspended or self.ready.size == barred or self.gathering is not None
        assert self in self.hall.queues or not any(self.idle_workers())
