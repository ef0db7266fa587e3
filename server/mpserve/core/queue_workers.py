"""Who works on a queue: their Pythons, what becomes of a dead one's items, and the items that were set aside.

RULES
* When a holder dies, the item that its supervisor says it was at has had its attempt; where nobody says so,
  the oldest item of each of its lanes, whose jobs all count as of one. All others return unharmed.
* All of them are *suspects* from then on: a batch of jobs holds one suspect and nothing else, or none. So a
  job that kills its workers is told from its neighbours after the first death, however large the batch was.
* An item that has had its last attempt is DEAD: it is kept with a report, and who waits for its result gets a
  `WorkerDied`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.queue_order import Python, Run
from mpserve.core.queue_ranges import Range, numbers_of
from mpserve.core.queue_terms import QueueTerms
from mpshared.errors import BadValue, MpserveError
from mpshared.reports import death_report, died_blob, running_job

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpserve.core.machine import Machine
    from mpserve.core.queue_leases import Lease
    from mpshared.values import Blob

__all__ = ["QueueWorkers"]

_LOGGED: Final = ("queue", "number", "attempts", "host", "pid", "worker", "reason")
"""What the log is told of a job that was set aside; the rest may be long."""


class QueueWorkers(QueueTerms):
    """A queue as its workers and their deaths change it."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.servers: dict[str, Python] = {}
        """The Python of each session that has called `exchange`."""
        self.versions: list[Python] = []
        """Those of them that exist, ascending. Replaced, never changed: answers hold it."""
        self.machines: Mapping[str, Machine] = {ident: self}

    def bind(self, machines: Mapping[str, Machine]) -> None:
        """Know where the queues for results are found."""
        self.machines = machines

    @property
    def address(self) -> str | None:
        """What supervisors call it when they tell which item a dead process was at."""
        return self.name

    def add(self, fx: Effects, blobs: Sequence[Blob]) -> None:
        """Store new items, whether there is room or not."""
        if blobs:
            self.change(fx, "put", blobs)

    # -- coming back -----------------------------------------------------------------------------

    def hand_back(self, fx: Effects, call: Call, ranges: list[Range]) -> None:
        """Return leased items unharmed to their old places; answers how many were still the caller's."""
        self.check_numbers(ranges)
        fx.reply(call, self.change(fx, "back", call.session.id, ranges))
        self.settle(fx)

    def take_back(self, fx: Effects, session: Session, leased: bool, runs: Sequence[Run]) -> None:
        """Store again what was given to a session in an answer that never arrived.

        Leased items of a session that ended are left to `forget_session`: nobody knows whether the worker had
        them already, and a job that kills its workers at once would be tried for ever.
        """
        if not leased:
            self.change(fx, "restore", runs)
        elif not session.ended:
            ranges = [(first, first + len(blobs) - 1) for first, _, blobs in runs]
            self.change(fx, "back", session.id, ranges)
        self.settle(fx)

    def undo_put(self, fx: Effects, call: Call) -> None:
        """Delete what a cancelled call has put, unless somebody has it, or had.

        Who ends has cancelled nothing: what it put stays, whether it read the answer or not.
        """
        number, ends = call.took, call.lane.suspended or call.session.ended
        if number is None or ends or number in self.suspects or not self.ready.has(number):
            return
        self.change(fx, "revoke", number)
        self.settle(fx)

    def check_numbers(self, ranges: list[Range]) -> None:
        """Raise `BadValue` for numbers of items that never existed."""
        highest = ranges[0][1] if len(ranges) == 1 else max([hi for _, hi in ranges], default=0)
        if highest >= self.ready.next:
            has = f"its last item is {self.ready.next - 1}; is this another queue's number?"
            raise BadValue(f"{self.label} never handed out all of {ranges!r:.80}: {has}")

    # -- Pythons ---------------------------------------------------------------------------------

    def serve(self, session: Session) -> None:
        """Count the session among the workers of this queue, until it ends."""
        if session.id not in self.servers:
            self.servers[session.id] = session.info.python
            self.versions = sorted(set(self.servers.values()))
            session.may_own_in(self)

    def barred_for(self, session: Session) -> Collection[Python]:
        """Return the Pythons whose items `session` must leave to others. O(1) when no item asks for one."""
        if not self.ready.versions or not self.versions:
            return ()
        python = session.info.python
        return [v for v in self.ready.versions if v != python and v in self.versions]

    def stop_serving(self, session: Session) -> None:
        """Keep no items for the Python of a worker that is gone, unless another one has it."""
        if self.servers.pop(session.id, None) is not None:
            self.versions = sorted(set(self.servers.values()))

    # -- death -----------------------------------------------------------------------------------

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Return what the dead session held, count its attempts, set aside what has had its last one."""
        self.stop_serving(session)
        counted, spared, last = self._verdict(session.id, running_job(session.report, self.address))
        for number, attempts, results in last:
            self._bury(fx, session, number, attempts, results)
        if counted or spared:
            self.change(fx, "died", session.id, counted, spared)
        self.settle(fx)

    def _verdict(
        self, session_id: str, running: int | None
    ) -> tuple[list[Range], list[Range], list[tuple[int, int, str]]]:
        """Return what had an attempt, what had none, what had its last one as (number, attempts, results)."""
        leases = self.leases.of(session_id)
        runner_of = self.runner_of
        at = {runner_of(lease): lease.first for lease in reversed(leases)}
        at |= {runner_of(lease): running for lease in leases if running is not None and running in lease}
        counted: list[Range] = []
        spared: list[Range] = []
        last: list[tuple[int, int, str]] = []
        for lease in leases:
            number = at[runner_of(lease)]
            if number not in lease:
                spared.append((lease.first, lease.last))
                continue
            if lease.deaths + 1 >= self.max_attempts:
                last.append((number, lease.deaths + 1, lease.results))
            else:
                counted.append((number, number))
            around = (lease.first, number - 1), (number + 1, lease.last)
            spared += [(lo, hi) for lo, hi in around if lo <= hi]
        return counted, spared, last

    def runner_of(self, lease: Lease) -> int:
        """Return the lane whose thread an item was for, by number; 0: the one that runs the jobs of a worker,
        whichever of its threads fetched them.
        """
        return 0 if lease.results else lease.lane

    def may_lie(self, ranges: Sequence[Range]) -> bool:
        """Tell whether jobs may lie at a worker that is at others.

        Not those on terms, whose time would run, nor a suspect, which a worker is to have alone.
        """
        if not self.suspects and not self.specials:
            return True
        numbers = [*numbers_of(ranges)]
        return self.suspects.isdisjoint(numbers) and not any(number in self.specials for number in numbers)

    def _bury(self, fx: Effects, session: Session, number: int, attempts: int, results: str) -> None:
        report = self.report_on(fx, session, number, attempts)
        self.change(fx, "bury", session.id, number, report)
        queue = self.machines.get(results)
        if isinstance(queue, QueueWorkers) and not queue.shut:
            queue.put_died(fx, died_blob(report))

    def report_on(self, fx: Effects, session: Session, number: int, attempts: int) -> dict[str, Any]:
        """Return the report on an item that has had its last attempt with `session` (`mpshared.reports`); the
        operator is told, too.
        """
        info = session.info
        who = {"host": info.host, "pid": info.pid, "worker": info.name}
        known = {**who, "locks": session.locks, "since_s": fx.wall_s}
        report = death_report(session.report, queue=self.label, number=number, attempts=attempts, **known)
        fx.events.append(("job.set_aside", {key: report[key] for key in _LOGGED}))
        return report

    def put_died(self, fx: Effects, blob: Blob) -> None:
        """Store the result of a job that was set aside, even if the queue is full.

        A queue that cannot order it goes without: the report lies among the dead all the same.
        """
        try:
            self.ready.check([blob])
        except MpserveError:
            return
        self.add(fx, [blob])
        self.settle(fx)

    # -- the dead --------------------------------------------------------------------------------

    def dead_list(self, fx: Effects, call: Call) -> None:
        """Answer the reports of all items that were set aside (`mpshared.reports`), oldest first."""
        fx.reply(call, [self.dead[number].report for number in sorted(self.dead)])

    def dead_requeue(self, fx: Effects, call: Call, numbers: list[Any]) -> None:
        """Give dead items (none named: all) new attempts at their old places; answers how many."""
        chosen = self._dead_numbers(numbers)
        if chosen:
            self.change(fx, "requeue", chosen)
        fx.reply(call, len(chosen))
        self.settle(fx)

    def dead_drop(self, fx: Effects, call: Call, numbers: list[Any]) -> None:
        """Delete dead items (none named: all); answers how many."""
        chosen = self._dead_numbers(numbers)
        if chosen:
            self.change(fx, "drop", chosen)
        fx.reply(call, len(chosen))

    def _dead_numbers(self, numbers: list[Any]) -> list[int]:
        unknown = [number for number in numbers if type(number) is not int or number not in self.dead]
        if unknown:
            has = f"dead are {sorted(self.dead)!r:.200}"
            raise BadValue(f"{self.label} has no dead item {unknown[0]!r:.80}; {has}; see its dead.list()")
        return sorted(set(numbers or self.dead))
