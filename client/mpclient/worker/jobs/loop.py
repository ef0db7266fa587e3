"""The loop of a worker process: one exchange, a batch of jobs, the next exchange.

exchange (results out, done, jobs in) --> run them, one after the other --.
    ^                                                                     |
    '----------- unless: a pill, a stop, too many jobs, too much memory, --'
                         jobs that this process must not run
                               '--> deliver, hand back the rest, end

A batch is from the recipe queue, or from one pool; its results go along with the wish for the next. Where
the server is far away the next one is fetched while it runs (`ahead`), and its results go along with the wish
for the one after that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mpclient.values.jobs_format import load_items
from mpclient.values.partials import load_all
from mpclient.values.pickling import own_buffers
from mpclient.worker.channel import Why
from mpclient.worker.jobs.desk import ANSWER_BYTES, ANSWERS, result_bytes
from mpclient.worker.jobs.pace import BATCH_BYTES, LEAD, Pace
from mpclient.worker.jobs.pools import Unfit
from mpclient.worker.signals import Interrupted
from mpclient.worker.streams import flush_standard
from mpshared.bunch import Bunch
from mpshared.errors import MpserveError, NoSuchObject, ServerGone
from mpshared.memory import give_back
from mpshared.values import Value

if TYPE_CHECKING:
    from mpclient.worker.jobs.desk import Desk, Opened
    from mpclient.worker.jobs.exchange import Exchange, Tell
    from mpclient.worker.jobs.failures import Failures
    from mpclient.worker.jobs.pools import Pool, Pools
    from mpclient.worker.jobs.run import Run, Runner
    from mpclient.worker.jobs.run_pool import PoolRunner
    from mpclient.worker.jobs.tender import Tender
    from mpclient.worker.mark import Mark
    from mpclient.worker.streams import Streams
    from mpshared.wire.own.frames import Reply

__all__ = ["Loop"]

_PARKED_S: Final = 0.1
"""A stop breaks a wait for jobs that is this old: by then the server has the results that went along."""
_LOOK_S: Final = 0.001
"""How often to look within a batch whether the supervisor is gone: before each job, if they take as long."""
_HUGE_BYTES: Final = 4 * BATCH_BYTES
"""Results of this size do not go along with the wish for jobs: a stop might break that while they leave."""
_LEAVE_S: Final = 5.0
"""How long a worker that stops waits for room for its last results, or an answer; then the jobs go back."""


class Loop:
    """Runs jobs until there is a reason to end.

    Args:
        desk: Where jobs lie.
        exchange: Where they come from.
        tender: The thread beside.
        runner: Runs a recipe job.
        pools: The pools that are known here.
        pool_runner: Runs a job of one.
        failures: Counts those that failed.
        streams: What jobs print to.
        tell: Writes to the log.
        mark: Tells the supervisor which job runs.
        max_tasks: End after so many; None: no limit.
        max_memory_bytes: End after a job that left the process larger; None: no limit.
    """

    def __init__(
        self,
        desk: Desk,
        exchange: Exchange,
        tender: Tender,
        runner: Runner,
        pools: Pools,
        pool_runner: PoolRunner,
        failures: Failures,
        streams: Streams,
        tell: Tell,
        mark: Mark,
        *,
        max_tasks: int | None = None,
        max_memory_bytes: int | None = None,
    ) -> None:
        self._desk = desk
        self._exchange = exchange
        self._tender = tender
        self._ahead = tender.ahead
        self._distance = exchange.distance
        self._breaker = tender.breaker
        self._runner, self._pool_runner = runner, pool_runner
        self._pools = pools
        self._recipes = failures.place
        self._streams = streams
        self._failures = failures
        self._tell = tell
        self._mark = mark
        self._max_tasks = max_tasks
        self._is_full = None if max_memory_bytes is None else _memory_check(max_memory_bytes)
        self._full = self._dirty = self._spent = False
        self._pool: Pool | None = None
        """The pool of the batch under way or of the last one; None: the recipe queue's."""
        self._pace = Pace()
        self._again = False
        """Whether the last batch was from the recipe queue, too."""
        self._asked = False
        """Whether something was asked of `ahead`."""
        self._count = self._brought_bytes = 0

    def run(self) -> tuple[str, str]:
        """Work; return why it is over (`Why`) and a text for the log."""
        try:
            while (why := self._why_end()) is None:
                if self._land() or self._fetch():
                    self._work()
                else:
                    why = Why.SHUT
                    break
            self._leave(why)
        except Interrupted:
            why = Why.STOPPED
            self._give_up()
        except ServerGone as err:
            return Why.LOST, str(err)
        return why, ""

    def _why_end(self) -> str | None:
        if self._desk.is_at_pill:
            return Why.PILL
        if self._tender.stopping:
            return Why.STOPPED
        if self._dirty:
            return Why.DIRTY
        if self._spent or (self._max_tasks is not None and self._count >= self._max_tasks):
            return Why.TASKS
        return Why.MEMORY if self._full else None

    # -- a round ---------------------------------------------------------------------------------

    def _next_size(self, on_desk: int = 0) -> int:
        """Return how many jobs to ask for, beside those on the desk; 0: none, this process will end."""
        size = self._pace.next_size(self._distance.target_s)
        if self._max_tasks is not None:
            size = min(size, self._max_tasks - self._count - on_desk)
        if self._pool is not None and self._pool.left is not None:
            size = min(size, self._pool.left - on_desk)
        return max(0, size)

    def _fetch(self) -> bool:
        """Exchange results for jobs; False: the queue is shut down, and nothing will come."""
        size = self._next_size()
        self._breaker.enter(_PARKED_S)
        try:
            with self._tender.talking:
                if self._tender.stopping:
                    return True
                began_s = time.perf_counter()
                found = bool(self._exchange.round(self._desk.collect(), size, None, self._receive))
                self._distance.note_most(time.perf_counter() - began_s)
                return found
        finally:
            self._breaker.leave()

    def _receive(self, reply: Reply, *, ahead: bool = False) -> bool:
        runs, ended, versions, lost, pool, spec_version = reply.result
        self._runner.versions = self._pool_runner.versions = versions
        opened: Opened | None = None
        if type(reply.blobs) is Bunch:
            opened = load_all(reply.blobs) if pool is None else load_items(reply.blobs)
        self._brought_bytes = self._desk.receive(
            runs, reply.blobs, pool, spec_version, ahead=ahead, opened=opened
        )
        if lost and not ahead:
            self._tell("warning", "worker.jobs_not_ours", jobs=lost)
        if self._desk.is_batch:
            self._tender.attend()
        return bool(runs) or not ended

    def _ask_ahead(self) -> None:
        """Have the next batch fetched while this one runs, and the results of the last one sent."""
        jobs = len(self._desk)
        size = 0 if self._desk.has_pill or self._tender.stopping else self._next_size(jobs)
        finished = self._desk.collect()
        if size or finished.numbers:
            round_trip_s = self._distance.round_trip_s
            spare_s = self._pace.foreseen_s(jobs) - LEAD * round_trip_s
            at_s = time.monotonic() + spare_s if spare_s > round_trip_s else 0.0
            self._ahead.ask(finished, size, at_s, self._desk.pool)
            self._asked = True

    def _land(self) -> bool:
        """Put the batch ahead on the desk; False: there is none."""
        if not self._asked:
            return False
        self._asked = False
        self._breaker.enter(_LEAVE_S)  # what is finished lies here still
        try:
            found = self._ahead.land(partial(self._receive, ahead=True))
        finally:
            self._breaker.leave()
        if self._ahead.took_s is not None:
            self._distance.note(self._ahead.took_s)
        return found is not None

    def _enter(self) -> Run | None:
        """Get ready for the batch on the desk, and return what runs a job of it; None: it must not be run."""
        ident = self._desk.pool
        if self._desk.is_empty or self._tender.stopping:  # a pill alone, or a stop came with the exchange
            return None
        if ident is None and self._again:
            return self._runner.runs(self._desk.place)
        if self._pool is None or self._pool.ident != ident:
            self._streams.flush()  # what comes now is no more the last pool's
        self._mark.begin(ident)
        self._pool, self._again = None, False
        if ident is None:
            self._failures.place = self._recipes
            self._streams.route("")
            self._dirty = self._pools.owner is not None
            self._again = not self._dirty
            return self._runner.runs(self._desk.place) if self._again else None
        self._breaker.enter(_LEAVE_S)
        try:
            self._pool = self._pools.enter(ident, self._desk.spec_version)
        except Unfit:
            self._dirty = True
            return None
        except NoSuchObject:  # the pool has ended, and its jobs with it
            self._desk.clear()
            return None
        finally:
            self._breaker.leave()
        self._pool_runner.enter(self._pool)
        self._streams.route(self._pool.program)
        return self._pool_runner.runs(self._desk.place)

    def _work(self) -> None:
        """Run the jobs on the desk; stop early for whatever `_why_end` will name."""
        run = self._enter()
        if run is None:
            return
        if self._distance.is_far:
            self._ask_ahead()
        began_s = time.perf_counter()
        count, answered_bytes = self._run_all(run)
        took_s = time.perf_counter() - began_s
        self._count += count
        if self._pool is not None:
            self._pool.run += count
            self._spent = self._pool.left == 0
        self._pace.note(count, took_s, self._brought_bytes + answered_bytes)
        self._report()

    def _run_all(self, run: Run) -> tuple[int, int]:
        """Run jobs; return how many, and the size of their results. The hot path: local names, few calls."""
        next_job, finish, number = self._desk.next_job, self._desk.finish, self._mark.number
        breaker, tender, is_full = self._breaker, self._tender, self._is_full
        left = None if self._pool is None else self._pool.left
        count = answered_bytes = here_bytes = 0
        clock, look_s = time.perf_counter, 0.0
        while True:
            if (now_s := clock()) >= look_s:
                look_s = now_s + _LOOK_S
                if tender.is_orphaned():
                    break
            try:
                job = next_job()
            except IndexError:
                break
            at, what = job
            number[0] = at
            result, alive = run(at, what)
            if breaker.forked:
                _end_fork()
            if type(result) is Value and (self._asked or not self._desk.is_empty):
                result = own_buffers(result)  # the jobs behind it may use that memory again
            here_bytes += ANSWER_BYTES if type(result) in ANSWERS else result_bytes(result)
            finish((at, result, alive))
            count += 1
            if is_full is not None and is_full():
                self._full = True
                break
            if tender.stopping or count == left:
                break
            if here_bytes > BATCH_BYTES and (here_bytes > _HUGE_BYTES or not self._desk.is_empty):
                answered_bytes += here_bytes
                here_bytes = 0
                self._deliver_early()
        number[0] = 0
        return count, answered_bytes + here_bytes

    def _deliver_early(self) -> None:
        """Send results before the batch is over: they are large."""
        self._breaker.enter(_LEAVE_S)
        try:
            with self._tender.talking:
                self._exchange.deliver(self._desk.collect())
        finally:
            self._breaker.leave()

    def _report(self) -> None:
        """Flush what was printed without a line end, and log failures: one line a batch."""
        flush_standard()
        if self._pool is not None:  # else the next call looks for what was written, as it is nobody else's
            self._streams.flush()
        failures = self._failures
        if failures.count:
            level = "warning" if self._pool is None else "info"  # a pool's program is told, and decides
            self._tell(level, "job.failed", jobs=failures.count, last=failures.last)
            failures.count = 0

    # -- the end ---------------------------------------------------------------------------------

    def _leave(self, why: str) -> None:
        """Deliver what is finished, hand back what is not."""
        self._breaker.enter(_LEAVE_S)
        try:
            later = self._ahead.close()
            with self._tender.talking:
                pill = self._desk.take_pill() if why == Why.PILL else None
                rest, pool = self._desk.clear(), self._desk.pool
                self._exchange.deliver(self._desk.collect())
                if pill is not None:
                    self._exchange.acknowledge(pill)
                self._exchange.hand_back([*rest, *later], pool)
        finally:
            self._breaker.leave()

    def _give_up(self) -> None:
        """A call was broken: nobody knows what it did. What it did not acknowledge is run again."""
        self._breaker.enter(_LEAVE_S)
        try:
            later = self._ahead.close()
            again = self._exchange.hand_back([*self._desk.leased, *later], self._desk.pool)
            if again:
                self._tell("info", "worker.handed_back", jobs=again)
        except (Interrupted, MpserveError) as err:
            self._tell(
                "warning", "worker.not_handed_back", why=str(err) or "the server did not answer in time"
            )
        finally:
            self._breaker.leave()


def _memory_check(limit_bytes: int) -> Callable[[], bool]:
    """Return what tells whether this process holds more than allowed. Cost: some 10 µs."""
    import psutil  # noqa: PLC0415 - only where there is a limit

    info = psutil.Process().memory_info

    def is_full() -> bool:
        if info().rss > limit_bytes:
            give_back()  # what is free is not held
        return bool(info().rss > limit_bytes)

    return is_full


def _end_fork() -> Any:
    """End a process that a job forked and forgot to end: it must not go on as a second worker."""
    flush_standard()
    os._exit(0)
