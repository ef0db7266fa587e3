"""Pool: the jobs of one Pool or executor of one program, and their results until the program collects them.

    submit --> READY --a worker's exchange--> LEASED --its next exchange--> result --collect--> gone
                 ^ |                           |  |                           ^
                 | '--cancel--> gone           |  '-- its holder died, for the last time (WorkerDied)
                 '-- handed back, holder died -'
    on terms (`pool_terms`): submit --> DELAYED --due--> READY; LEASED --it raised--> DELAYED

RULES
* Jobs are numbered by their program, from 1. Each number that was submitted and not cancelled has exactly one
  result.
* A result counts if its job is still leased to who brings it; any other is of a run that was given up.
* What was collected in an answer that never arrived is put back in front.
* A batch is never more than a worker's share of what is READY: the last jobs are spread over all of them.
* A pool belongs to one program and goes with it. A process that is at work for it then is ended.

Files, from the inside: a queue's (see `t_queue`) up to `queue_workers` · `pool_results` · `pool_state` every
change · `pool_terms`, `pool_standing`, `pool_places` · here: who asks, waits, is told. Workers come to it
through the `hall`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.hosts import no_python
from mpserve.core.parking import ParkingLot
from mpserve.core.pool_places import PoolPlaces
from mpserve.core.pool_results import MOST_BYTES, Finished, bytes_of
from mpserve.core.queue_order import Python, Run
from mpserve.core.queue_ranges import Range, count_of
from mpserve.core.queue_wants import reply_jobs
from mpshared.bunch import joined, odd_ones
from mpshared.errors import BadValue, KeyMissing
from mpshared.reports import died_blob
from mpshared.values import Blob, needs_python, size_bytes

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpserve.core.queue_leases import Lease
    from mpshared.errors import MpserveError

__all__ = ["Pool"]


class Pool(PoolPlaces):
    """Jobs, those who run them, and a line of collectors."""

    kind: ClassVar[str] = "pool"

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.collectors = ParkingLot()

    # -- its program: jobs -----------------------------------------------------------------------

    def submit(self, fx: Effects, call: Call, first: int) -> None:
        """Store the call's values as jobs, numbered from `first` on.

        Raises:
            BadValue: `first` is not the number after the last job's.
            NoWorkers: Workers are connected, and none has the Python that the code in a job needs. Field
                `versions`: what they have.

        Cost: O(jobs), one record.
        """
        self.check_is_a_programs()
        self.check_jobs(first, call.blobs)
        self.add(fx, call.blobs)
        fx.reply(call)
        self.offer(fx)

    def check_jobs(self, first: int, blobs: Sequence[Blob]) -> None:
        """Raise unless these can be the next jobs; see `submit`."""
        if first != self.ready.next:
            raise BadValue(f"the next job of {self.label} is number {self.ready.next}, not {first}")
        self._check_python(blobs)

    def _check_python(self, blobs: Sequence[Blob]) -> None:
        versions = self.hall.versions
        missing = {needs_python(blob) for blob in odd_ones(blobs)}.difference(versions, [None])
        if missing and versions:
            [*_, python] = missing
            raise no_python(f"a job of {self.label}", python or (0, 0), versions)

    def cancel(self, fx: Effects, call: Call, ranges: list[Range]) -> None:
        """Remove what is READY or DELAYED among these; answers those, for which no results will come."""
        fx.reply(call, [list(pair) for pair in self.remove_waiting(fx, ranges)])
        self.watch(fx)

    def waiting(self, fx: Effects, call: Call, ranges: list[Range]) -> None:
        """Answer which of these jobs are READY or DELAYED: no worker has them."""
        fx.reply(call, [list(pair) for pair in self.find_waiting(ranges)])

    # -- its program: results --------------------------------------------------------------------

    def collect(self, fx: Effects, call: Call, n: int, timeout_s: float | None) -> None:
        """Answer up to `n` results and at least one, or park the call until there is one.

        Answers [[[first, last], …], unfinished]: the numbers of the results in their order, none when time
        ran out, and how many jobs have no result yet.

        Cost: O(runs of numbers) and a copy, one record.
        """
        if self.results.count and n:
            self._answer(fx, call, n)
        elif timeout_s == 0 or not n:
            self._found_nothing(fx, call)
        else:
            self.collectors.park(fx, call, timeout_s, self._found_nothing, n)

    def _answer(self, fx: Effects, call: Call, n: int) -> None:
        runs: list[Finished] = self.change(fx, "collect", self.results.fitting(n))
        call.took = runs
        out = joined([blobs for _, blobs in runs])
        numbers = [[first, first + len(blobs) - 1] for first, blobs in runs]
        fx.reply(call, [numbers, self.open_items], out)

    def _found_nothing(self, fx: Effects, call: Call) -> None:
        fx.reply(call, [[], self.open_items])

    def undo_collect(self, fx: Effects, call: Call) -> None:
        """Put back results whose answer never arrived."""
        runs, call.took = call.took, None
        if runs:
            self.change(fx, "uncollect", runs)
            self.settle(fx)

    # -- what workers must know ------------------------------------------------------------------

    def teach(self, fx: Effects, call: Call, digest: str) -> None:
        """Keep a function, or the source of a module, under the hash of its content.

        Raises:
            NoWorkers: As `submit`. It is not kept then: jobs that do without it can run.
        """
        if digest not in self.functions:
            self._check_python(call.blobs)
            self.change(fx, "teach", digest, call.blobs[0])
        fx.reply(call)

    def learn(self, fx: Effects, call: Call, digest: str) -> None:
        """Answer what was taught; raise `KeyMissing` when nothing was."""
        if digest not in self.functions:
            raise KeyMissing(f"{self.label} was never taught {digest!r:.80}", key=digest)
        fx.reply(call, out=[self.functions[digest]])

    def forget(self, fx: Effects, call: Call, digest: str) -> None:
        """Drop what was taught: no job needs it any more."""
        if digest in self.functions:
            self.change(fx, "forget", digest)
            self.offer(fx)  # workers of other Pythons may have what is left
        fx.reply(call)

    def equip(self, fx: Effects, call: Call) -> None:
        """Replace the spec: a value that its workers read before their first job. Answers its version."""
        self.change(fx, "equip", call.blobs[0])
        fx.reply(call, self.spec_version)

    def spec(self, fx: Effects, call: Call) -> None:
        """Answer [settings, spec version], and the spec if there is one."""
        out = () if self.equipment is None else (self.equipment,)
        fx.reply(call, [dict(self.settings), self.spec_version], out)

    # -- workers ---------------------------------------------------------------------------------

    def hand(self, fx: Effects, call: Call, n: int, lost: int, *, ahead: bool = False) -> bool:
        """Answer a worker's exchange with up to `n` jobs. False: it may have none of those that are there."""
        session = call.session
        if ahead and not (self.is_open or session.id in self.leases.holders):
            return False
        ranges = self.next_for(session, n)
        if not ranges or (ahead and not self.may_lie(ranges)):
            return False
        if call.waiter is not None:
            call.waiter.lot.forget(call)
        runs = self._lease(fx, call, ranges)
        session.may_own_in(self)
        if self.specials:
            self.note_begun(fx, runs)
        if self.bounded:
            self.watch(fx)
        call.took = (True, runs, self)
        version = self.spec_version
        reply_jobs(fx, call, runs, lost, self.hall.versions, pool=self.ident, spec_version=version)
        return True

    def next_for(self, session: Session, n: int) -> list[Range]:
        """Say which jobs a worker would get that asks for `n`."""
        python = session.info.python
        if self.bounded and self.is_closed_to(session.id):
            return []
        if self._is_barred(python, self.python):
            return []
        most = self.settings["max_tasks"] or n
        suspects = self.suspects or None  # with none among them a batch ends where it likes
        return self.ready.choose(min(n, most, self._share), self.barred_for(session), suspects)

    @property
    def _share(self) -> int:
        """How many of the READY jobs are one worker's, were all of them dealt out now."""
        workers = min(self.hall.crew, self.settings["processes"] or self.hall.crew)
        return -(-self.ready.size // max(1, workers))

    def _lease(self, fx: Effects, call: Call, ranges: list[Range]) -> list[Run]:
        """Lease jobs, as many of them as fit into one answer."""
        session_id = call.session.id
        runs: list[Run] = self.change(fx, "lease", session_id, call.lane.number, "", ranges)
        size = sum([bytes_of(blobs, plain=not self.rich) for _, _, blobs in runs])
        if size <= MOST_BYTES:
            return runs
        kept, rest = _cut(runs)
        if rest:
            self.change(fx, "back", session_id, [(first, first + len(blobs) - 1) for first, _, blobs in rest])
        return kept

    def barred_for(self, session: Session) -> Collection[Python]:
        """Return the Pythons whose jobs `session` must leave to others. O(1) when no job asks for one."""
        python = session.info.python
        return [v for v in self.ready.versions if self._is_barred(python, v)] if self.ready.versions else ()

    def _is_barred(self, python: Python, needed: Python | None) -> bool:
        return needed is not None and needed != python and needed in self.hall.versions

    def check_done(self, call: Call, done: list[Range]) -> None:
        """Raise `BadValue` unless there is one result for each number, and all were jobs once."""
        self.check_numbers(done)
        n = count_of(done)
        if n != len(call.blobs):
            raise BadValue(f"{self.label}: {n} jobs are done, with {len(call.blobs)} results; send one each")

    def finish(self, fx: Effects, call: Call, done: list[Range]) -> int:
        """Keep the call's values as results; return how many were not the caller's any more."""
        blobs = call.blobs
        if self.specials:
            done, blobs = self.hold_back(fx, call, done)
        found: int = self.change(fx, "finish", call.session.id, done, blobs) if done else 0
        return len(blobs) - found

    def runner_of(self, _lease: Lease) -> int:
        """Return 0: one thread of a session runs jobs."""
        return 0

    def _bury(self, fx: Effects, session: Session, number: int, attempts: int, _results: str) -> None:
        """Make a `WorkerDied` the result of a job that has had its last attempt."""
        report = self.report_on(fx, session, number, attempts)
        self.change(fx, "give_up", session.id, number, died_blob(report, kept=False))

    # -- handing on ------------------------------------------------------------------------------

    def settle(self, fx: Effects) -> None:
        """Let everybody go on who can: collectors, and workers that wait."""
        if self._touched:
            self.look_after(fx)
        if self.stays and self.results.count:
            self.keep_results(fx)
        while self.results.count and (waiter := self.collectors.first()) is not None:
            self.collectors.forget(waiter.call)
            self._answer(fx, waiter.call, waiter.note)
        self.offer(fx)

    def retry(self, fx: Effects) -> None:
        """Answer a collector that was away when results came."""
        self.settle(fx)

    def break_waiters(self, fx: Effects, error: MpserveError | None = None) -> None:
        """Answer who waits, and end the processes that are at work for it: the pool is being deleted."""
        super().break_waiters(fx, error)
        for session_id in list(self.leases.holders):
            self.hall.end_worker(fx, session_id, "its program ended it")

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the lines of collectors and of those who wait for a job."""
        return (self.collectors, *super().lots())

    def statistics(self) -> dict[str, Any]:
        """Return how many jobs are in each state, whose they are, and how many calls wait."""
        return {**super().statistics(), "collectors": len(self.collectors)}

    def validate(self) -> None:
        """Raise AssertionError when a count is wrong, or somebody waits who need not."""
        super().validate()
        assert not self.results.count or self.collectors.first() is None


def _cut(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Divide runs into what fits into one answer, at least one job, and the rest."""
    kept: list[Run] = []
    size = 0
    for at, (first, deaths, blobs) in enumerate(runs):
        for n, blob in enumerate(blobs):
            size += size_bytes(blob)
            if size > MOST_BYTES and (kept or n):
                kept += [(first, deaths, blobs[:n])] if n else []
                return kept, [(first + n, deaths, blobs[n:]), *runs[at + 1 :]]
        kept.append((first, deaths, blobs))
    return kept, []
