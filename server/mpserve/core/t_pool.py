"""Pool: the jobs of one Pool or executor of one program, and their results until the program collects them.

    submit --> READY --a worker's exchange--> LEASED --its next exchange--> result --collect--> gone
                 ^ |                           |  |                           ^
                 | '--cancel--> gone           |  '-- its holder died, for the last time (WorkerDied)
                 '-- handed back, holder died -'

RULES
* Jobs are numbered by their program, from 1. Each number that was submitted and not cancelled has exactly one
  result.
* A result counts if its job is still leased to who brings it; any other is of a run that was given up.
* What was collected in an answer that never arrived is put back in front.
* A pool belongs to one program and goes with it. A process that is at work for it then is ended.

Workers come to it through the `hall`. Its items and their leases are those of a queue: see `t_queue`'s list
of files; `pool_results` has the results.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.hall import Hall
from mpserve.core.parking import ParkingLot
from mpserve.core.pool_results import Finished, Results, those_of
from mpserve.core.queue_leases import count_of, merged
from mpserve.core.queue_order import Python, Range, Run
from mpserve.core.queue_wants import reply_jobs
from mpserve.core.queue_workers import QueueWorkers
from mpshared.errors import BadType, BadValue, KeyMissing, NoWorkers
from mpshared.reports import died_blob
from mpshared.values import needs_python

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpserve.core.house import House
    from mpserve.core.machine import Change
    from mpshared.errors import MpserveError
    from mpshared.values import Blob

__all__ = ["Pool"]


class Pool(QueueWorkers):
    """Jobs, and their results."""

    kind: ClassVar[str] = "pool"
    SETTINGS: ClassVar[dict[str, Any]] = {"processes": 0, "max_tasks": 0, "max_attempts": 0, "program": ""}
    """processes: so many sessions may work for it at once, 0: any. max_tasks: jobs in a batch, 0: any.
    max_attempts: 0: the server's. program: session id of who opened it; the server fills it in."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.results = Results()
        self.rich_results = 0
        """How many results are more than plain bytes."""
        self.functions: dict[str, Blob] = {}
        """What was taught, by digest."""
        self.equipment: Blob | None = None
        """What its workers are told first: the spec."""
        self.spec_version = 0
        self.python: Python | None = None
        """The only Python that may open what was taught; None: any."""
        self.collectors = ParkingLot()
        self.hall = Hall()

    def _check_settings(self) -> None:
        if self.name is not None:
            raise BadValue(f"a pool belongs to the program that opens it and has no name, got {self.name!r}")
        numbers = [value for key, value in self.settings.items() if key != "program"]
        if any(type(number) is not int or number < 0 for number in numbers):
            raise BadType(f"processes, max_tasks and max_attempts are whole numbers, got {numbers!r:.80}")

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"pool {self.ident}"

    @property
    def address(self) -> str:
        """What supervisors call it."""
        return self.ident

    def enter(self, house: House) -> None:
        """Find where the workers are."""
        self.hall = house.hall

    def leave(self) -> None:
        """Offer nothing any more: it is deleted."""
        self.hall.forget(self)

    # -- jobs ------------------------------------------------------------------------------------

    def submit(self, fx: Effects, call: Call, first: int) -> None:
        """Store the call's values as jobs, numbered from `first` on.

        Raises:
            BadValue: `first` is not the number after the last job's.
            NoWorkers: Workers are connected, and none has the Python that the code in a job, or in a function
                that was taught, needs. Field `versions`: what they have.

        Cost: O(jobs), one record.
        """
        if first != self.ready.next:
            raise BadValue(f"the next job of {self.label} is number {self.ready.next}, not {first}")
        if self.hall.workers:
            self._check_python(call.blobs)
        self.add(fx, call.blobs)
        fx.reply(call)
        self.hall.feed(fx, self)

    def _check_python(self, blobs: Sequence[Blob]) -> None:
        needed = {needs_python(blob) for blob in blobs if type(blob) is not bytes} | {self.python}
        versions = self.hall.versions
        for python in needed:
            if python is not None and python not in versions:
                one, others = _text(python), ", ".join(map(_text, versions))
                raise NoWorkers(
                    f"the jobs carry code of Python {one}, which no other version can run, and the connected "
                    f"workers have {others}; start an mpworker with Python {one}, or put the code into a "
                    "module that the workers can import",
                    versions=[list(version) for version in versions],
                )

    def cancel(self, fx: Effects, call: Call, ranges: list[Range]) -> None:
        """Remove what is READY among these jobs; answers those, for which no results will come."""
        found = self.ready.find(merged(ranges))
        if found:
            self.change(fx, "cancel", found)
        fx.reply(call, [list(pair) for pair in found])

    # -- workers ---------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it has READY jobs, and may have one more session work for it."""
        most: int = self.settings["processes"]
        return self.ready.size > 0 and (not most or len(self.leases.holders) < most)

    def hand(self, fx: Effects, call: Call, n: int, lost: int) -> bool:
        """Answer a worker's exchange with up to `n` jobs. False: it may have none of those that are there."""
        session, most = call.session, self.settings["max_tasks"]
        if self._is_barred(session.info.python, self.python):
            return False
        ranges = self.ready.choose(min(n, most) if most else n, self.barred_for(session), self.suspects)
        if not ranges:
            return False
        if call.waiter is not None:
            call.waiter.lot.forget(call)
        runs = self.change(fx, "lease", session.id, call.lane.number, "", ranges)
        session.held[self] = None
        call.took = (True, runs, self)
        version = self.spec_version
        reply_jobs(fx, call, runs, lost, self.hall.versions, pool=self.ident, spec_version=version)
        return True

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
        found: int = self.change(fx, "finish", call.session.id, done, call.blobs) if done else 0
        return len(call.blobs) - found

    def _bury(self, fx: Effects, session: Session, number: int, attempts: int, _results: str) -> None:
        """Make a `WorkerDied` the result of a job that has had its last attempt."""
        report = self.report_on(fx, session, number, attempts)
        self.change(fx, "give_up", session.id, number, died_blob(report, kept=False))

    # -- results ---------------------------------------------------------------------------------

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
        runs: list[Finished] = self.change(fx, "collect", n)
        call.took = runs
        out = runs[0][1] if len(runs) == 1 else [blob for _, blobs in runs for blob in blobs]
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
        """Keep a function, or the source of a module, under the hash of its content."""
        if digest not in self.functions:
            self.change(fx, "teach", digest, call.blobs[0])
        fx.reply(call)

    def learn(self, fx: Effects, call: Call, digest: str) -> None:
        """Answer what was taught; raise `KeyMissing` when nothing was."""
        if digest not in self.functions:
            raise KeyMissing(f"{self.label} was never taught {digest!r:.80}", key=digest)
        fx.reply(call, out=[self.functions[digest]])

    def equip(self, fx: Effects, call: Call) -> None:
        """Replace the spec: a value that its workers read before their first job. Answers its version."""
        self.change(fx, "equip", call.blobs[0])
        fx.reply(call, self.spec_version)

    def spec(self, fx: Effects, call: Call) -> None:
        """Answer [settings, spec version], and the spec if there is one."""
        out = () if self.equipment is None else (self.equipment,)
        fx.reply(call, [dict(self.settings), self.spec_version], out)

    # -- handing on ------------------------------------------------------------------------------

    def settle(self, fx: Effects) -> None:
        """Let everybody go on who can: collectors, and workers that wait."""
        while self.results.count and (call := self.collectors.first()) is not None:
            n = call.waiter.note if call.waiter is not None else 1
            self.collectors.forget(call)
            self._answer(fx, call, n)
        if self.ready.size:
            self.hall.feed(fx, self)

    def retry(self, fx: Effects) -> None:
        """Answer a collector that was away when results came."""
        self.settle(fx)

    def break_waiters(self, fx: Effects, error: MpserveError | None = None) -> None:
        """Answer who waits, and end the processes that are at work for it: the pool is being deleted."""
        super().break_waiters(fx, error)
        for session_id in list(self.leases.holders):
            self.hall.end_worker(fx, session_id, "its program ended it")

    # -- changes ---------------------------------------------------------------------------------

    def on_put(self, fx: Effects, blobs: Sequence[Blob]) -> None:
        """Store new jobs."""
        super().on_put(fx, blobs)
        self.hall.note(self)

    def on_lease(
        self, fx: Effects, session_id: str, lane: int, results: str, ranges: list[Range]
    ) -> list[Run]:
        """Move READY jobs to a session."""
        runs = super().on_lease(fx, session_id, lane, results, ranges)
        self.hall.note(self)
        return runs

    def on_back(self, fx: Effects, session_id: str, ranges: list[Range]) -> int:
        """Return leased jobs unharmed."""
        found = super().on_back(fx, session_id, ranges)
        self.hall.note(self)
        return found

    def on_died(self, fx: Effects, session_id: str, counted: list[Range], spared: list[Range]) -> None:
        """Return the jobs of a dead session."""
        super().on_died(fx, session_id, counted, spared)
        self.hall.note(self)

    def on_finish(self, fx: Effects, session_id: str, ranges: list[Range], blobs: Sequence[Blob]) -> int:
        """Move leased jobs to the results; return how many of `ranges` were leased to the session."""
        runs: list[Run] = self.leases.give_up(session_id, ranges)
        if self.rich or self.suspects:
            self._lose(fx, runs)
        found = sum([len(given) for _, _, given in runs])
        self.open_items -= found
        if found != len(blobs):
            held = [(first, first + len(given) - 1) for first, _, given in runs]
            ranges, blobs = those_of(held, ranges, blobs)
        if blobs:
            self._keep_results(fx, ranges, blobs)
        self.hall.note(self)
        return found

    def on_give_up(self, fx: Effects, session_id: str, number: int, blob: Blob) -> None:
        """Set a leased job aside; `blob` is its result."""
        self.on_finish(fx, session_id, [(number, number)], [blob])

    def _keep_results(self, fx: Effects, ranges: Sequence[Range], blobs: Sequence[Blob]) -> None:
        self.results.add(ranges, blobs)
        odd = [blob for blob in blobs if type(blob) is not bytes]
        self.rich_results += len(odd)
        fx.keep(odd)

    def on_collect(self, fx: Effects, n: int) -> list[Finished]:
        """Give the first results away."""
        runs = self.results.take(n)
        if self.rich_results:
            self._count_results(fx, runs, -1)
        return runs

    def on_uncollect(self, fx: Effects, runs: list[Finished]) -> None:
        """Store results again that were given away."""
        self.results.put_back(runs)
        self._count_results(fx, runs, 1)

    def _count_results(self, fx: Effects, runs: list[Finished], sign: int) -> None:
        odd = [blob for _, blobs in runs for blob in blobs if type(blob) is not bytes]
        self.rich_results += sign * len(odd)
        fx.keep(odd, sign)

    def on_cancel(self, fx: Effects, ranges: list[Range]) -> None:
        """Delete READY jobs."""
        runs = self.ready.take(ranges)
        self._lose(fx, runs)
        self.open_items -= count_of(ranges)
        self.hall.note(self)

    def on_teach(self, fx: Effects, digest: str, blob: Blob) -> None:
        """Keep a function or source."""
        self.functions[digest] = blob
        self.python = needs_python(blob) or self.python
        fx.keep([blob])

    def on_equip(self, fx: Effects, blob: Blob) -> None:
        """Keep the spec, in place of the one before."""
        fx.keep([] if self.equipment is None else [self.equipment], -1)
        self.equipment = blob
        self.spec_version += 1
        self.python = needs_python(blob) or self.python
        fx.keep([blob])

    # -- changes of a rebuilt pool ---------------------------------------------------------------

    def on_specified(self, fx: Effects, version: int, blob: Blob | None) -> None:
        """Note the spec, and how often there was a new one."""
        if blob is not None:
            self.on_equip(fx, blob)
        self.spec_version = version

    def on_result(self, fx: Effects, first: int, blobs: Sequence[Blob]) -> None:
        """Keep results."""
        self._keep_results(fx, [(first, first + len(blobs) - 1)], blobs)

    def rebuild(self) -> Iterator[Change]:
        """Yield what workers must know, the jobs, the results."""
        for item in self.functions.items():
            yield "teach", item
        yield "specified", (self.spec_version, self.equipment)
        yield from super().rebuild()
        for number, blob in self.results:
            yield "result", (number, [blob])

    def revive(self, fx: Effects) -> None:
        """Offer the jobs that are here."""
        super().revive(fx)
        self.hall.note(self)

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the line of collectors."""
        return (self.collectors,)

    def stored(self) -> Iterator[Blob]:
        """Yield the values of jobs, results, functions and the spec."""
        yield from super().stored()
        for _, blob in self.results:
            yield blob
        yield from self.functions.values()
        if self.equipment is not None:
            yield self.equipment

    def statistics(self) -> dict[str, Any]:
        """Return how many jobs are in each state, whose they are, and who waits."""
        return {
            "ready": self.ready.size,
            "leased": self.leases.count,
            "results": self.results.count,
            "unfinished": self.open_items,
            "processes": self.settings["processes"],
            "program": self.settings["program"],
            "collectors": len(self.collectors),
        }

    def state(self) -> dict[str, Any]:
        """Return jobs, results, and what workers must know."""
        return {
            **super().state(),
            "results": list(self.results),
            "functions": dict(self.functions),
            "spec": (self.spec_version, self.equipment),
        }

    def validate(self) -> None:
        """Raise AssertionError when a count is wrong, or a job is in two places."""
        super().validate()
        self.results.validate()
        odd = sum(type(blob) is not bytes for _, blob in self.results)
        assert self.rich_results == odd
        assert not self.dead
        assert self.open_items == self.ready.size + self.leases.count
        waiting = {number for number, _, _ in self.ready} | {leased[3] for leased in self._leased()}
        assert not waiting & {number for number, _ in self.results}
        assert not self.results.count or self.collectors.first() is None
        most = self.settings["processes"]
        assert not most or len(self.leases.holders) <= most
        assert (self in self.hall.pools) == self.is_open


def _text(version: Python) -> str:
    return ".".join(map(str, version))
