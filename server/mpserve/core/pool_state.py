"""What a pool *is*: its jobs, their results, what its workers must know; every change that can happen to it.

RULES
* As in `queue_state`: each method named ``on_…`` is one change, and nobody is answered here.
* A job is DELAYED, READY, LEASED, or has a result; one that was cancelled or collected is gone.
* The hall takes note of every change of what is READY and who works: it is an index of the pools.
* Who is given jobs of a pool that may have so many `processes` takes a *place* in it and keeps it. While all
  are taken only those who have them are given jobs; how one becomes free again: `pool_places`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.hall import JobPool
from mpserve.core.pool_results import Finished, Results
from mpserve.core.queue_order import Python, Run
from mpserve.core.queue_ranges import Range, count_of, numbers_of, those_of
from mpserve.core.queue_workers import QueueWorkers
from mpshared.errors import BadType, BadValue
from mpshared.values import needs_python

if TYPE_CHECKING:
    from mpserve.core.effects import Effects
    from mpserve.core.hall import Hall
    from mpserve.core.house import House
    from mpserve.core.machine import Change
    from mpshared.values import Blob

__all__ = ["PoolState"]


class PoolState(QueueWorkers, JobPool):
    """Jobs and results."""

    SETTINGS: ClassVar[dict[str, Any]] = {
        "processes": 0,
        "max_tasks": 0,
        "max_attempts": 0,
        "program": "",
        "standing": False,
    }
    """processes: so many sessions may work for it at once, 0: any. max_tasks: jobs in a batch, 0: any.
    max_attempts: 0: the server's. program: session id of who opened it; the server fills it in. standing: it
    belongs to no program (`pool_standing`)."""
    hall: Hall

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.results = Results()
        self.functions: dict[str, Blob] = {}
        """What was taught, by digest."""
        self.equipment: Blob | None = None
        """What its workers are told first: the spec."""
        self.spec_version = 0
        self.python: Python | None = None
        """The only Python that may open what was taught; None: any."""
        self.bounded = self.settings["processes"] > 0
        """Whether it has places; where it has none, whoever comes is given jobs, and nobody need look."""
        self.places: dict[str, None] = {}
        """The sessions that have a place."""
        self.missed: set[str] = set()
        """Those among them that have not come since jobs wait for them; no state."""

    def _check_settings(self) -> None:
        standing = self.settings["standing"]
        if type(standing) is not bool or standing != (self.name is not None):
            raise BadValue(
                "a pool belongs to the program that opens it and has no name, or it is a standing one and "
                f"has one; got the name {self.name!r:.200} and standing={standing!r:.80}"
            )
        numbers = [self.settings[name] for name in ("processes", "max_tasks", "max_attempts")]
        if any(type(number) is not int or number < 0 for number in numbers):
            raise BadType(f"processes, max_tasks and max_attempts are whole numbers, got {numbers!r:.80}")

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"pool {self.name!r}" if self.name else f"pool {self.ident}"

    @property
    def address(self) -> str:
        """What supervisors call it."""
        return self.ident

    def enter(self, house: House) -> None:
        """Find where the workers are."""
        super().enter(house)
        self.hall = house.hall

    def leave(self) -> None:
        """Offer nothing any more: it is deleted."""
        super().leave()
        self.hall.forget(self)
        for session_id in self.places:
            self.hall.unseat(self, session_id)

    # -- what the hall asks ----------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it has READY jobs, and may have one more session work for it."""
        most: int = self.settings["processes"]
        return self.ready.size > 0 and (not most or len(self.leases.holders) < most)

    @property
    def is_full(self) -> bool:
        """Whether only those who have a place may have its jobs."""
        most: int = self.settings["processes"]
        return self.bounded and len(self.places) >= most

    @property
    def owner(self) -> str | None:
        """The program that a process belongs to from its first job on; None: it is any program's after."""
        return None if self.equipment is None else self.settings["program"]

    # -- changes ---------------------------------------------------------------------------------

    def on_put(self, fx: Effects, blobs: Sequence[Blob]) -> None:
        """Store new jobs."""
        super().on_put(fx, blobs)
        self.hall.note(self)

    def on_put_on_terms(
        self, fx: Effects, number: int, special: Sequence[Any], due_s: float | None, blob: Blob
    ) -> None:
        """Store a new job on terms."""
        super().on_put_on_terms(fx, number, special, due_s, blob)
        self.hall.note(self)

    def on_due(self, fx: Effects, number: int) -> None:
        """Make a job READY."""
        super().on_due(fx, number)
        self.hall.note(self)

    def on_again(self, fx: Effects, session_id: str, number: int, due_s: float) -> int:
        """Have a job run again that has failed."""
        found = super().on_again(fx, session_id, number, due_s)
        self.hall.note(self)
        return found

    def on_settled(self, fx: Effects, number: int, blob: Blob) -> None:
        """Give a job that waits its result without a run."""
        self._remove(fx, (number,))
        self.open_items -= 1
        self.results.add([(number, number)], [blob])
        fx.keep([blob])
        self.hall.note(self)

    def on_lease(
        self, fx: Effects, session_id: str, lane: int, results: str, ranges: list[Range]
    ) -> list[Run]:
        """Move READY jobs to a session."""
        runs = super().on_lease(fx, session_id, lane, results, ranges)
        if self.bounded:
            self._seat(session_id)
        self.hall.note(self)
        return runs

    def _seat(self, session_id: str) -> None:
        """Have a session that was given jobs take a place, or show that it comes."""
        self.missed.discard(session_id)
        if session_id in self.places:
            return
        if self.is_full:  # the record is of a version without places
            self._unseat(next(one for one in self.places if one not in self.leases.holders))
        self.places[session_id] = None
        self.hall.seat(self, session_id)

    def _unseat(self, session_id: str) -> None:
        if session_id in self.places:
            del self.places[session_id]
            self.hall.unseat(self, session_id)

    def on_vacate(self, _fx: Effects, session_ids: Sequence[str]) -> None:
        """Make places free."""
        for session_id in session_ids:
            self._unseat(session_id)

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
        self._lose(fx, runs)
        found = sum([len(given) for _, _, given in runs])
        self.open_items -= found
        if found != len(blobs):
            held = [(first, first + len(given) - 1) for first, _, given in runs]
            ranges, blobs = those_of(held, ranges, blobs)
        if blobs:
            self.results.add(ranges, blobs)
            fx.keep(blobs)
        self.hall.note(self)
        return found

    def on_give_up(self, fx: Effects, session_id: str, number: int, blob: Blob) -> None:
        """Set a leased job aside; `blob` is its result."""
        self.on_finish(fx, session_id, [(number, number)], [blob])

    def on_collect(self, fx: Effects, n: int) -> list[Finished]:
        """Give the first results away."""
        runs = self.results.take(n)
        for _, blobs in runs:
            fx.keep(blobs, -1)
        return runs

    def on_uncollect(self, fx: Effects, runs: Sequence[Finished]) -> None:
        """Store results again that were given away."""
        self.results.put_back(runs)
        for _, blobs in runs:
            fx.keep(blobs)

    def on_cancel(self, fx: Effects, ranges: list[Range]) -> None:
        """Delete READY and DELAYED jobs."""
        if count_of(ranges) > self.ready.size + len(self.delayed):
            raise ValueError("more jobs are cancelled than wait")
        late = [number for number in numbers_of(ranges) if number in self.delayed]
        self._remove(fx, late)
        self._lose(fx, self.ready.take(self.ready.find(ranges) if late else ranges))
        self.open_items -= count_of(ranges)
        self.hall.note(self)

    def on_teach(self, fx: Effects, digest: str, blob: Blob) -> None:
        """Keep a function or source."""
        self.functions[digest] = blob
        self.python = needs_python(blob) or self.python
        fx.keep([blob])

    def on_forget(self, fx: Effects, digest: str) -> None:
        """Drop a function; the Python that it needed only what is left may need still."""
        fx.keep([self.functions.pop(digest)], -1)
        pythons = [python for blob in self.functions.values() if (python := needs_python(blob))]
        self.python = pythons[-1] if pythons else None

    def on_equip(self, fx: Effects, blob: Blob) -> None:
        """Keep the spec, in place of the one before."""
        fx.keep([] if self.equipment is None else [self.equipment], -1)
        self.equipment = blob
        self.spec_version += 1
        fx.keep([blob])

    # -- changes of a rebuilt pool ---------------------------------------------------------------

    def on_specified(self, fx: Effects, version: int, blob: Blob | None) -> None:
        """Note the spec, and how often there was a new one."""
        if blob is not None:
            self.on_equip(fx, blob)
        self.spec_version = version

    def on_seated(self, _fx: Effects, session_ids: Sequence[str]) -> None:
        """Give sessions places."""
        for session_id in session_ids:
            self._seat(session_id)

    def on_out(self, fx: Effects, session_id: str, *lease: Any) -> None:
        """Lease jobs; who has them has a place, also in a journal of a version without."""
        super().on_out(fx, session_id, *lease)
        if self.bounded:
            self._seat(session_id)

    def on_result(self, fx: Effects, first: int, blobs: Sequence[Blob]) -> None:
        """Keep results."""
        self.results.add([(first, first + len(blobs) - 1)], blobs)
        fx.keep(blobs)

    def rebuild(self) -> Iterator[Change]:
        """Yield what workers must know, the jobs, the results."""
        for item in self.functions.items():
            yield "teach", item
        yield "specified", (self.spec_version, self.equipment)
        if self.places:
            yield "seated", ([*self.places],)
        yield from super().rebuild()
        for run in self.results.runs:
            yield "result", run

    def revive(self, fx: Effects) -> None:
        """Offer the jobs that are here."""
        super().revive(fx)
        self.hall.note(self)

    # -- looking ---------------------------------------------------------------------------------

    def owners(self) -> Iterable[str]:
        """Return the ids of the sessions that have jobs, or a place."""
        return {*super().owners(), *self.places}

    def stored(self) -> Iterator[Blob]:
        """Yield the values of jobs, results, functions and the spec."""
        yield from super().stored()
        for _, blob in self.results:
            yield blob
        yield from self.functions.values()
        if self.equipment is not None:
            yield self.equipment

    def statistics(self) -> dict[str, Any]:
        """Return how many jobs there were ever, how many are in each state, and whose they are."""
        return {
            "put": self.ready.next - 1,
            "ready": self.ready.size,
            "leased": self.leases.count,
            "delayed": len(self.delayed),
            "results": self.results.count,
            "unfinished": self.open_items,
            "sessions": len(self.leases.holders),
            "processes": self.settings["processes"],
            "program": self.settings["program"],
        }

    def state(self) -> dict[str, Any]:
        """Return jobs, results, and what workers must know."""
        return {
            **super().state(),
            "results": list(self.results),
            "functions": dict(self.functions),
            "spec": (self.spec_version, self.equipment),
            "places": [*self.places],
        }

    def validate(self) -> None:
        """Raise AssertionError when a count is wrong, or a job is in two places."""
        super().validate()
        self.results.validate()
        assert not self.dead
        assert self.open_items == self.ready.size + self.leases.count + len(self.delayed)
        waiting = {number for number, _, _ in self.ready} | {leased[3] for leased in self._leased()}
        waiting |= self.delayed.keys()
        assert not waiting & {number for number, _ in self.results}
        most = self.settings["processes"]
        assert self.bounded or not self.places
        if self.bounded:
            assert self.places.keys() >= {*self.leases.holders}
            assert len(self.places) <= most
        assert (self in self.hall.pools) == self.is_open
