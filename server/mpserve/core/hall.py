"""The hall: where work and workers meet. One for each engine, in the `House`.

    pools with READY jobs, in turn  <--->  workers, who wait on their recipe queues

RULES
* A worker waits in one place only: on its recipe queue. Here stands which queues have such workers.
* Pools take turns: who was given a worker goes to the end of the line. Who may be given none, because as many
  sessions as it may have are at work for it, does not stand in the line.
* Nobody waits for what is there: a worker that comes is given jobs at once, jobs that come go to the worker
  that waited longest. So what is open here fits none of those who wait.
* A process that has run jobs of an equipped pool (one with an initializer or modules of its own) is *bound*
  to that program, and is replaced before it serves another. So it stays with its program for `STAY_S`, as
  far as there is work, and those who are not bound are woken before those bound to others.
* Of a pool that is full only those are given jobs who have a place in it. A free place goes to who has none
  in any other pool, if such a worker waits: else two pools might share a process beside one that has nothing
  to do. Who is bound to a program leaves its places in pools of others: it would have to be replaced first.
* No state: all of it follows from the objects and the sessions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpserve.core.queue_order import Python
    from mpserve.core.queue_ranges import Range
    from mpserve.core.sessions import Sessions

__all__ = ["STAY_S", "Hall", "JobPool", "WorkersQueue"]

STAY_S: Final = 1.0
"""A new process takes some 0.2 s to start: at most a sixth of a worker's time goes into changing programs."""

Idle: TypeAlias = "tuple[Call, int, int]"
"""A worker's call that waits, how many jobs it asks for, and how many of those it brought were not its."""


class JobPool(Protocol):
    """What the hall and the queues know of a pool."""

    ident: str

    @property
    def is_open(self) -> bool:
        """Whether it has jobs, and may have one more worker."""

    settings: dict[str, Any]
    bounded: bool
    """Whether it may have so many workers only, who take places; else any number."""
    places: dict[str, None]
    """Sessions that have a place in it."""

    @property
    def is_full(self) -> bool:
        """Whether only those may have its jobs."""

    @property
    def owner(self) -> str | None:
        """The program that its workers are bound to; None: to none."""

    def leave_place(self, fx: Effects, session_id: str) -> None:
        """Make the place of a session free, unless it is at work."""

    def next_for(self, session: Session, n: int) -> list[Range]:
        """Say which jobs a worker would get that asks for `n`."""

    def check_done(self, call: Call, done: list[Range]) -> None:
        """Raise unless `done` and the call's values can be finished jobs and their results."""

    def finish(self, fx: Effects, call: Call, done: list[Range]) -> int:
        """Keep results; return how many were not the caller's to bring."""

    def hand(self, fx: Effects, call: Call, n: int, lost: int, *, ahead: bool = False) -> bool:
        """Answer a worker with jobs, `ahead`: for later; False: there are none that it may have."""

    def settle(self, fx: Effects) -> None:
        """Let everybody go on who can."""


class WorkersQueue(Protocol):
    """What the hall knows of a recipe queue."""

    def idle_workers(self) -> Iterator[Idle]:
        """Yield workers that wait here and take jobs of pools, longest first."""

    def idle_worker(self, call: Call) -> Idle | None:
        """Return that of a call, if it is such a worker's, and waits here."""


class StreamQueue(Protocol):
    """What the hall knows of a recipe queue on which jobs stream in."""

    def end_stream(self, fx: Effects) -> None:
        """Keep no jobs back any more."""


class Bond(NamedTuple):
    """The program that a worker process has code or an initializer of."""

    program: str
    since_s: float


class Hall:
    """See the file's beginning."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.pools: OrderedDict[JobPool, None] = OrderedDict()
        """Those that are open, in turn."""
        self.queues: dict[WorkersQueue, None] = {}
        """Those on which workers may wait who take jobs of pools; more than true is allowed, less is not."""
        self.streams: dict[StreamQueue, str] = {}
        """Queues on which jobs were put one after the other, by the session of that id; perhaps long ago."""
        self.workers: dict[str, Session] = {}
        """Sessions that take jobs of pools, and supervisors of such; by id."""
        self.crew = 0
        """How many of these are workers."""
        self._pythons: dict[Python, int] = {}
        """How many of them have which."""
        self.versions: list[Python] = []
        """Their Pythons, ascending. Replaced, never changed: answers hold it."""
        self.bonds: dict[str, Bond] = {}
        """Of workers, by session id."""
        self.seats: dict[str, dict[JobPool, None]] = {}
        """The pools in which a session has a place, by its id."""

    # -- who is there ----------------------------------------------------------------------------

    def arrive(self, session: Session) -> None:
        """Note a session that began."""
        if session.info.pools and session.id not in self.workers:
            self.workers[session.id] = session
            self._count(session, 1)

    def leave(self, fx: Effects, session: Session) -> None:
        """Forget a session that ended. Jobs that were kept for its Python may go to others now."""
        if self.workers.pop(session.id, None) is not None:
            self.bonds.pop(session.id, None)
            if self._count(session, -1):
                self.feed_all(fx)

    def _count(self, session: Session, change: int) -> bool:
        """Count a session that came or went; return whether the Pythons are others now."""
        if session.info.role == "worker":
            self.crew += change
        python = session.info.python
        left = self._pythons[python] = self._pythons.get(python, 0) + change
        if not left:
            del self._pythons[python]
        if len(self._pythons) == len(self.versions):
            return False
        self.versions = sorted(self._pythons)
        return True

    def note(self, pool: JobPool) -> None:
        """Take note of a pool that changed."""
        if not pool.is_open:
            self.pools.pop(pool, None)
        elif pool not in self.pools:
            self.pools[pool] = None

    def forget(self, pool: JobPool) -> None:
        """Forget a pool that is deleted."""
        self.pools.pop(pool, None)

    def seat(self, pool: JobPool, session_id: str) -> None:
        """Note that a session has a place in a pool."""
        self.seats.setdefault(session_id, {})[pool] = None

    def unseat(self, pool: JobPool, session_id: str) -> None:
        """Note that it has none any more."""
        pools = self.seats[session_id]
        del pools[pool]
        if not pools:
            del self.seats[session_id]

    def wait_at(self, queue: WorkersQueue) -> None:
        """Note that a worker waits at `queue` who takes jobs of pools."""
        self.queues[queue] = None

    def close(self, queue: WorkersQueue) -> None:
        """Forget a queue that is deleted."""
        self.queues.pop(queue, None)

    def waits(self, fx: Effects, session: Session) -> None:
        """Note that a session waits for something at a queue: no job of its own is kept back meanwhile."""
        for queue in [queue for queue, putter in self.streams.items() if putter == session.id]:
            del self.streams[queue]
            queue.end_stream(fx)

    # -- meeting ---------------------------------------------------------------------------------

    def serve(self, fx: Effects, call: Call, n: int, lost: int) -> bool:
        """Give a worker the next jobs of a pool, if it may have any."""
        pools = list(self.pools)
        bond = self.bonds.get(call.session.id)
        if bond is not None and fx.now_s < bond.since_s + STAY_S:
            pools.sort(key=lambda pool: pool.owner != bond.program)
        return any(self._give(fx, pool, call, n, lost) for pool in pools)

    def has_jobs_beside(self, fx: Effects, pool: JobPool | None, session: Session) -> bool:
        """Tell whether others than `pool` have jobs for a worker, which need no other process."""
        bond = self.bonds.get(session.id)
        stays = bond is not None and fx.now_s < bond.since_s + STAY_S
        return any(
            other is not pool
            and (bond is None or not stays or other.owner == bond.program)
            and other.next_for(session, 1)
            for other in self.pools
        )

    def holds(self, fx: Effects, session: Session) -> bool:
        """Tell whether a worker should go on with the pools of a program: for other jobs it is replaced."""
        bond = self.bonds.get(session.id)
        if bond is None or fx.now_s >= bond.since_s + STAY_S:
            return False
        return any(pool.owner == bond.program for pool in self.pools)

    def feed(self, fx: Effects, pool: JobPool) -> None:
        """Give jobs of a pool to workers that wait. Cost: O(1) when none waits."""
        while self.queues and pool in self.pools and self._feed_one(fx, pool):
            pass

    def feed_all(self, fx: Effects) -> None:
        """Give jobs to workers that wait, one batch from each pool in turn."""
        while self.queues and any(self._feed_one(fx, pool) for pool in list(self.pools)):
            pass

    def _feed_one(self, fx: Effects, pool: JobPool) -> bool:
        return any(self._give(fx, pool, call, n, lost) for call, n, lost in self._idle_for(pool))

    def _idle_for(self, pool: JobPool) -> Iterable[Idle]:
        """Return workers that wait, in the order in which they are to be woken."""
        if pool.is_full:
            return self._idle_with_place(pool)
        idle: Iterable[Idle] = chain.from_iterable(self._idle_at(queue) for queue in list(self.queues))
        if self.seats and pool.bounded:
            idle = sorted(idle, key=lambda one: one[0].session.id in self.seats)
        if not self.bonds:
            return idle
        ranks = {pool.owner: 0, None: 1}
        return sorted(idle, key=lambda one: ranks.get(self._bound_to(one[0].session), 2))

    def _idle_with_place(self, pool: JobPool) -> Iterator[Idle]:
        """Yield those that have a place in a pool. Cost: O(places), however many others wait."""
        for session_id in list(pool.places):
            session = self.workers.get(session_id)
            for lane in [] if session is None else list(session.lanes.values()):
                if (call := lane.running) is None or lane.suspended:
                    continue
                found = [one for queue in self.queues if (one := queue.idle_worker(call)) is not None]
                yield from found

    def _bound_to(self, session: Session) -> str | None:
        bond = self.bonds.get(session.id)
        return None if bond is None else bond.program

    def _idle_at(self, queue: WorkersQueue) -> Iterator[Idle]:
        found = False
        for one in queue.idle_workers():
            found = True
            yield one
        if not found:
            self.queues.pop(queue, None)

    def give_ahead(self, fx: Effects, pool: JobPool, call: Call, n: int, lost: int) -> bool:
        """Give a worker that is at work for a pool more of its jobs, if it may have any."""
        return self._give(fx, pool, call, n, lost, ahead=True)

    def _give(
        self, fx: Effects, pool: JobPool, call: Call, n: int, lost: int, *, ahead: bool = False
    ) -> bool:
        if not pool.hand(fx, call, n, lost, ahead=ahead):
            return False
        if pool in self.pools:
            self.pools.move_to_end(pool)
        if pool.owner is not None and call.session.id not in self.bonds:
            self._bind(fx, call.session.id, pool.owner)
        return True

    def _bind(self, fx: Effects, session_id: str, program: str) -> None:
        self.bonds[session_id] = Bond(program, fx.now_s)
        for pool in list(self.seats.get(session_id, ())):
            if pool.settings["program"] != program:
                pool.leave_place(fx, session_id)

    # -- parting ---------------------------------------------------------------------------------

    def end_worker(self, fx: Effects, session_id: str, why: str) -> None:
        """End a worker in the middle of its job: its session here, its process by its supervisor.

        The session goes first: until the process is dead it is given nothing that would die with it.
        """
        session = self.workers.get(session_id)
        if session is not None and not session.ended:
            session.meant = True
            self._sessions.end(fx, session, why)
            self._sessions.tell_supervisor(fx, session, why)

    def interrupt(self, fx: Effects, session_id: str, pool: JobPool, number: int, why: str) -> None:
        """Have an exception raised in a job that runs, by its worker's supervisor."""
        session = self.workers.get(session_id)
        if session is not None:
            about = {"session": session_id, "pool": pool.ident, "number": number, "why": why}
            self._sessions.post_command(fx, session.info.supervisor, {"command": "interrupt_job", **about})

    # -- looking ---------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise AssertionError when the line is wrong, or a worker waits for what is there."""
        infos = [session.info for session in self.workers.values()]
        assert self.versions == sorted({info.python for info in infos})
        assert self.crew == sum(info.role == "worker" for info in infos)
        assert all(not session.ended for session in self.workers.values())
        assert self.bonds.keys() <= self.workers.keys()
        assert all(session_id in pool.places for session_id, at in self.seats.items() for pool in at)
        for pool in self.pools:
            assert pool.is_open
            for queue in self.queues:
                for call, n, _ in queue.idle_workers():
                    assert not pool.next_for(call.session, n), f"{call!r} waits, and {pool!r} has jobs"
