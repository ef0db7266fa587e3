"""Queue: what Queue, JoinableQueue, SimpleQueue, LifoQueue, PriorityQueue are; where jobs wait for workers.

    put --> READY --get(lease), exchange--> LEASED --task_done, exchange's done--> gone
            ^ ^ |                            |  |
            | | '--get without lease--> gone |  '--holder died, last attempt--> DEAD --dead_drop--> gone
            | |          | answer lost       |                                   |
            | '----------'-------------------' handed back, holder died          |
            '--------------------------------------------------- dead_requeue ---'

    put_later --> DELAYED --due--> READY; given up when it expires: DEAD

RULES
* An item's number is its place. Whatever returns goes to its old place, and may exceed `maxsize`.
* Nobody races: an item goes to the getter that waited longest (among workers of short jobs: to the one that
  came last), room to the putter that waited longest. A batch enters whole, so a large one holds up those
  behind it.
* Unfinished items: put +1, done -1, dead -1, requeued +1, cleared -1. A return changes nothing.
* A value with code for one Python is kept for sessions of that version while such a worker serves the queue.

Files, from the inside: `queue_ranges` their numbers · `queue_shelf`, `queue_order`, `queue_sorted`,
`queue_ranked` READY items · `queue_leases` LEASED ones · `queue_special` what is known of one on terms ·
`queue_state` all items, every change · `queue_terms` what is DELAYED or expires · `queue_workers` who works
and dies · `queue_stream` jobs that wait for more of them · `queue_wants`, `queue_getters` who takes · here:
who puts, brings results, waits for the end.
Sources: CPython's queue.py for shutdown, join and task_done; beanstalkd for the life of a job.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpserve.core.parking import ParkingLot, answer_false
from mpserve.core.queue_getters import QueueGetters
from mpserve.core.queue_ranges import Range, count_of, merged, those_of
from mpserve.core.queue_wants import JOBS, GoOn, Offer, Want
from mpshared.errors import AlreadyReleased, BadValue, Full, MpserveError, NoSuchObject
from mpshared.reports import death_report
from mpshared.terms import Terms

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpserve.core.hall import JobPool
    from mpserve.core.parking import Waiter
    from mpserve.core.queue_special import Special
    from mpshared.values import Blob

__all__ = ["Queue"]

_TERMS: Final = frozenset({"delay_s", "expires_s"})


class Queue(QueueGetters):
    """A line of items, and three lines of waiters."""

    kind: ClassVar[str] = "queue"

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.putters, self.joiners = ParkingLot(), ParkingLot()
        self._results: dict[str, None] = {}
        """Idents of queues on which calls of this one wait for room, or have waited."""

    # -- putting ---------------------------------------------------------------------------------

    def put(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Store the call's values as one batch, which waits until all of them have room.

        Raises:
            ShutDown: The queue takes nothing any more.
            Full: Not enough room within `timeout_s` (None: wait for ever, 0: do not wait).
            BadValue: More values than the queue can ever hold.
            NotSupported, BadType: A priority queue cannot order them.

        Cost: O(values), one record. Source: queue.Queue.put.
        """
        if self.shut:
            raise self._closed("put to")
        if self.ready.compares:
            self.ready.check(call.blobs)
        if self.maxsize and self._must_wait(len(call.blobs)):
            self._wait_for_room(fx, call, timeout_s)
            return
        gathers = self.servers and not self.maxsize and self.gathers(fx, call)
        at_once = self.getters.line and not gathers
        if at_once and len(call.blobs) == 1:
            self._put_for_one(fx, call)
            return
        if call.blobs:
            self.change(fx, "put", call.blobs)
        fx.reply(call)  # before those who waited for them: the next ones are made meanwhile
        if at_once or self.watchers:
            self.settle(fx)

    put_many = put

    def put_revocably(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Store one value as `put` does, for a caller that may be cancelled; see `undo_put`."""
        number = self.ready.next
        self.put(fx, call, timeout_s)
        if call.answered:
            call.took = number
            call.blobs = ()  # they are stored, or given away; the answer is kept

    def _put_for_one(self, fx: Effects, call: Call) -> None:
        """Put one value that somebody waits for; answer after him: a worker is at the job meanwhile."""
        first = self.ready.next
        try:
            if not self.hand_over(fx, call.blobs):
                self.change(fx, "put", call.blobs)
                self.settle(fx)
        finally:
            if self.ready.next != first:
                fx.reply(call)  # it is stored: who is told otherwise might put it again

    def put_later(self, fx: Effects, call: Call, timeout_s: float | None, terms: dict[str, Any]) -> None:
        """Store the call's value, to become READY after `delay_s`, or to be set aside after `expires_s`.

        It takes a place of `maxsize` from the beginning, and `join` waits for it.

        Raises:
            BadType, BadValue: Other terms, or they cannot be such.
            Others: As `put`.
        """
        agreed = Terms.of(terms)
        if terms.keys() - _TERMS:
            raise BadValue(f"an item of {self.label} has {' and '.join(sorted(_TERMS))}, no other terms")
        if self.shut:
            raise self._closed("put to")
        self.ready.check(call.blobs)
        if self.maxsize and self._must_wait(1):
            self._wait_for_room(fx, call, timeout_s, partial(self._put_later_now, agreed))
        else:
            self._put_later_now(agreed, fx, call)
            self.settle(fx)

    def _put_later_now(self, terms: Terms, fx: Effects, call: Call) -> None:
        self.add_on_terms(fx, terms, call.blobs[0])
        fx.reply(call)

    def _expire(self, fx: Effects, number: int, special: Special) -> None:
        known = {"host": "", "pid": 0, "worker": "", "locks": [], "since_s": fx.wall_s}
        reason = f"not taken within {special.terms.expires_s:g} s"
        report = death_report({"reason": reason}, queue=self.label, number=number, attempts=0, **known)
        self.change(fx, "lapse", number, report)

    @property
    def _places(self) -> int:
        """How many places of `maxsize` are taken."""
        return self.ready.size + len(self.delayed)

    def _must_wait(self, room: int) -> bool:
        return self._places + room > self.maxsize or self.putters.first() is not None

    def _wait_for_room(
        self, fx: Effects, call: Call, timeout_s: float | None, go_on: GoOn | None = None
    ) -> None:
        n = len(call.blobs)
        if n > self.maxsize:
            limit = f"whose maxsize is {self.maxsize}"
            raise BadValue(f"a batch of {n} can never fit into {self.label}, {limit}: split it")
        if timeout_s == 0:
            raise self._full(n)
        self.putters.park(fx, call, timeout_s, self._put_expired, Offer(n, go_on or self._put_now))

    def _put_now(self, fx: Effects, call: Call) -> None:
        try:
            self.ready.check(call.blobs)  # others may have put another type meanwhile
        except MpserveError as err:
            fx.fail(call, err)
            return
        if call.op.undo:
            call.took = self.ready.next
        self.add(fx, call.blobs)
        fx.reply(call)

    def _put_expired(self, fx: Effects, call: Call) -> None:
        fx.fail(call, self._full(len(call.blobs)))
        self.settle(fx)  # those behind it may need less room

    def _full(self, n: int) -> Full:
        has = f"{self._places} of {self.maxsize} places are taken"
        return Full(f"no room for {n} more in {self.label}: {has}; get something, or wait longer")

    # -- a worker's round ------------------------------------------------------------------------

    def exchange(
        self,
        fx: Effects,
        call: Call,
        results: Queue | None,
        done: list[Range],
        n: int,
        timeout_s: float | None,
        pool: JobPool | None,
    ) -> None:
        """Do a worker's whole round in one step: results out, jobs done, next jobs in.

        The next jobs are from here, or of a pool if the worker takes such; if both have some they alternate.

        Args:
            fx: Where the answer goes.
            call: The call; its values are results.
            results: Where the results go. While it is full the call waits there for the first free place,
                without a deadline and before anything is done; then they enter whole.
            done: Items that are finished.
            n: How many jobs to lease at most, 0 for none. A batch ends with the first pill.
            timeout_s: How long to wait for the first job, from when the results have gone.
            pool: The pool whose jobs are `done`; the values are their results, one each. None: this queue.

        Answers [[[first, last, attempt], …], ended, versions, lost, pool, spec version]: numbers and attempts
        of the jobs (none when time ran out), whether the queue is shut down and empty, the Pythons of its
        workers as (major, minor), how many items of `done` were not the caller's any more, the ident of the
        pool that the jobs are from (None: this queue), and its `Pool.spec_version`.

        Raises:
            ShutDown: `results` was shut down. Nothing is done; acknowledge without results.
            BadValue: `done` names items that never existed, there are results and no queue for them, or not
                one for each job of a pool.

        Cost: O(results + ranges + jobs), one record for each of the three.
        """
        self._round(fx, call, results, done, n, timeout_s, pool)

    def exchange_ahead(
        self,
        fx: Effects,
        call: Call,
        results: Queue | None,
        done: list[Range],
        n: int,
        pool: JobPool | None,
    ) -> None:
        """Do the round of a worker that is at work, far from here: jobs in for when it is done.

        As `exchange`, but nobody waits, and the jobs are from where it is at: `pool`, or this queue. None is
        on terms, or a suspect; and while others have jobs for this worker too, it is given some `TURN` times
        in a row, then none until it comes by `exchange`. No worker that waits is passed over: while one waits
        there is nothing that it may have.

        Raises:
            Full: There is no room for the results. Nothing is done; bring them by `exchange`.
            ShutDown, BadValue: As `exchange`.

        Cost: As `exchange`.
        """
        self._round(fx, call, results, done, n, 0, pool, ahead=True)

    def _round(
        self,
        fx: Effects,
        call: Call,
        results: Queue | None,
        done: list[Range],
        n: int,
        timeout_s: float | None,
        pool: JobPool | None,
        *,
        ahead: bool = False,
    ) -> None:
        if pool is not None:
            pool.check_done(call, done)
        elif done:
            self.check_numbers(done)
        self.serve(call.lane.session)
        if pool is not None:
            lost = pool.finish(fx, call, done)
            call.blobs = ()
            ident = results.ident if results is not None else ""
            self._go_on(fx, call, timeout_s, Want(n, JOBS, True, ident, lost, ahead=ahead), pool)
            pool.settle(fx)
        elif not call.blobs:
            self._exchange(results, done, n, timeout_s, ahead, fx, call)
        elif results is None:
            has = f"{len(call.blobs)} results"
            raise BadValue(f"exchange on {self.label}: {has}, and no queue to put them on; name one")
        elif results.accepts(call):
            self._exchange(results, done, n, timeout_s, ahead, fx, call)
        elif ahead:
            raise results._full(1)  # noqa: SLF001
        else:
            self._results[results.ident] = None
            go_on = partial(self._exchange, results, done, n, timeout_s, ahead)
            results.putters.park(fx, call, None, results._put_expired, Offer(1, go_on))  # noqa: SLF001

    def accepts(self, call: Call) -> bool:
        """Tell whether results have a free place to enter by; raise if they never will."""
        if self.shut:
            raise self._closed("results for")
        if self.ready.compares:
            self.ready.check(call.blobs)
        return not (self.maxsize and self._must_wait(1))

    def _exchange(
        self,
        results: Queue | None,
        done: list[Range],
        n: int,
        timeout_s: float | None,
        ahead: bool,
        fx: Effects,
        call: Call,
    ) -> None:
        lost, job_s, unsettled = 0, math.inf, False
        if results is not None and call.blobs:
            unsettled = results.take_in(fx, self._results_of(call, done))
            call.blobs = ()  # stored: what it may wait for now is jobs
        if done:
            session, count = call.lane.session, count_of(done if len(done) == 1 else merged(done))
            lost = count - self.change(fx, "ack", session.id, done)
            job_s = (fx.now_s - session.handed_s) / count
        ident = results.ident if results is not None else ""
        self._go_on(fx, call, timeout_s, Want(n, JOBS, True, ident, lost, job_s, ahead))
        if self.joiners.line:
            self.settle(fx)
        if results is not None and unsettled:
            results.settle(fx)

    def take_in(self, fx: Effects, blobs: Sequence[Blob]) -> bool:
        """Store results; return whether somebody here waits for what comes of it."""
        if self.getters.line and self.hand_over(fx, blobs):
            return False
        self.add(fx, blobs)
        return bool(self.getters.line or self.joiners.line or self.watchers)

    def _results_of(self, call: Call, done: list[Range]) -> Sequence[Blob]:
        """Return the results of jobs that are leased to the caller; those of others come from who has them.

        Or they are here already: a call that had brought them, and waited when the server was killed, is sent
        again as a whole.
        """
        blobs, session_id = call.blobs, call.lane.session.id
        if len(blobs) != count_of(done) or self.leases.holds(session_id, done):
            return blobs
        held = self.leases.held_of(session_id, done)
        return blobs if count_of(held) == len(blobs) else those_of(held, done, blobs)[1]

    # -- finishing -------------------------------------------------------------------------------

    def task_done(self, fx: Effects, call: Call, n: int) -> None:
        """Acknowledge `n` items: this lane's oldest, then the session's; with none only the count goes down.

        Raises:
            AlreadyReleased: More than are unfinished.

        Cost: O(leases that are touched). Source: queue.Queue.task_done.
        """
        if n > self.open_items:
            has = f"{self.open_items} items are unfinished; call it once for each get()"
            raise AlreadyReleased(f"task_done() called too many times on {self.label}: {has}")
        ranges = self.leases.oldest(call.session.id, call.lane.number, n)
        if ranges:
            n -= self.change(fx, "ack", call.session.id, ranges)
        if n:
            self.change(fx, "lower", n)
        fx.reply(call)
        if self.joiners:
            self.settle(fx)

    def join(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Answer True once nothing is unfinished, False after `timeout_s`."""
        if not self.open_items:
            fx.reply(call, True)
        elif timeout_s == 0:
            fx.reply(call, False)
        else:
            self.joiners.park(fx, call, timeout_s, answer_false)
            self.hall.waits(fx, call.session)

    def shutdown(self, fx: Effects, call: Call, immediate: bool) -> None:
        """Take nothing more; with `immediate` also forget what is READY. What is out may still be finished.

        Putters that wait fail at once, getters as soon as nothing is left for them.
        Source: queue.Queue.shutdown of Python 3.13.
        """
        if not self.shut or (immediate and self._places):
            self.change(fx, "shut", immediate)
        fx.reply(call)
        for putter in self.putters.drain():
            fx.fail(putter, self._closed("put to"))
        fx.room.turn_away(fx, self, self._closed("put to"))
        self.settle(fx)

    def clear(self, fx: Effects, call: Call) -> None:
        """Forget what is READY or DELAYED; answers how many items that were."""
        fx.reply(call, self.change(fx, "clear") if self._places else 0)
        self.settle(fx)

    # -- looking ---------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Tell whether `get` need not wait: there is an item, or none will come."""
        return bool(self.ready.size) or self._is_over

    def qsize(self, fx: Effects, call: Call) -> None:
        """Answer the number of READY items."""
        fx.reply(call, self.ready.size)

    def full(self, fx: Effects, call: Call) -> None:
        """Answer whether a put would have to wait."""
        fx.reply(call, 0 < self.maxsize <= self._places)

    def unfinished(self, fx: Effects, call: Call) -> None:
        """Answer how many items `join` waits for."""
        fx.reply(call, self.open_items)

    # -- handing on ------------------------------------------------------------------------------

    def settle(self, fx: Effects) -> None:
        """Let everybody go on who can: getters, putters, and who waits for the end."""
        if self._touched:
            self.look_after(fx)
        if self._settling:  # reached again through another queue's results: the loop below goes on by itself
            return
        self._settling = True
        try:
            while self._feed(fx) or (self.putters.line and self._admit(fx)):
                pass
        finally:
            self._settling = False
        if self.shut and self._is_over:
            self._close_getters(fx)
        if not self.open_items and self.joiners.line:
            for call in self.joiners.drain():
                fx.reply(call, True)
        self.stir(fx)

    def _admit(self, fx: Effects) -> bool:
        """Let putters in; return whether any came."""
        admitted = False
        while (waiter := self.putters.first()) is not None:
            offer: Offer = waiter.note
            if self._places + offer.room > self.maxsize:
                break
            self.putters.forget(waiter.call)
            offer.go_on(fx, waiter.call)
            admitted = True
        return admitted

    def retry(self, fx: Effects) -> None:
        """Go on with a call that was suspended, here or on a queue for results."""
        self.settle(fx)
        self.offer_workers(fx)
        for results in self._results_queues():
            results.settle(fx)

    def forget_waiter(self, fx: Effects, waiter: Waiter) -> None:
        """Drop a parked call; those behind it may need less room."""
        super().forget_waiter(fx, waiter)
        session = waiter.call.session
        if session.ended:
            self.stop_serving(session)  # what was kept for it is older than what comes in now
        self.retry(fx)

    def break_waiters(self, fx: Effects, error: MpserveError | None = None) -> None:
        """Answer everybody who waits, also on a queue for results."""
        why = error or NoSuchObject(f"{self.label} was deleted while this call waited for it")
        for results in self._results_queues():
            for call in results.putters:
                if call.machine is self:
                    results.putters.forget(call)
                    fx.fail(call, why)
            results.settle(fx)
        super().break_waiters(fx, why)

    def _results_queues(self) -> list[Queue]:
        found = (self.machines.get(ident) for ident in self._results)
        return [queue for queue in found if isinstance(queue, Queue)]

    # -- what it is ------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the lines of getters, putters and joiners."""
        return self.getters, self.putters, self.joiners

    def statistics(self) -> dict[str, Any]:
        """Return how many items are in each state, and how many calls wait."""
        waiting = {"getters": len(self.getters), "putters": len(self.putters), "joiners": len(self.joiners)}
        return {**super().statistics(), **waiting}

    def validate(self) -> None:
        """Raise AssertionError when a count is wrong, or somebody waits who need not."""
        super().validate()
        assert self.open_items or not len(self.joiners)
        assert not (self.shut and len(self.putters))
        for waiter in self.putters.waiters()[:1]:  # those behind it are looked at when it goes on
            assert waiter.call.lane.suspended or self._places + waiter.note.room > self.maxsize
