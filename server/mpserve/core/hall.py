"""The hall: where work and workers meet. One for each engine, owned by the catalogue.

    pools with READY jobs, in turn  <--->  workers, who wait on their recipe queues

RULES
* A worker waits in one place only: on its recipe queue. Here stands which queues have such workers.
* Pools take turns: who was given a worker goes to the end of the line. Who may be given none, because as many
  sessions as it may have are at work for it, does not stand in the line.
* Nobody waits for what is there: a worker that comes is given jobs at once, jobs that come go to the worker
  that waited longest. So what is open here fits none of those who wait.
* No state: all of it follows from the objects and the sessions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpserve.core.queue_order import Python, Range
    from mpserve.core.sessions import Sessions

__all__ = ["Hall", "JobPool", "WorkersQueue"]


class JobPool(Protocol):
    """What the hall and the queues know of a pool."""

    ident: str

    @property
    def is_open(self) -> bool:
        """Whether it has jobs, and may have one more worker."""

    def check_done(self, call: Call, done: list[Range]) -> None:
        """Raise unless `done` and the call's values can be finished jobs and their results."""

    def finish(self, fx: Effects, call: Call, done: list[Range]) -> int:
        """Keep results; return how many were not the caller's to bring."""

    def hand(self, fx: Effects, call: Call, n: int, lost: int) -> bool:
        """Answer a worker with jobs; False: there are none that it may have."""

    def settle(self, fx: Effects) -> None:
        """Let everybody go on who can."""


class WorkersQueue(Protocol):
    """What the hall knows of a recipe queue."""

    def idle_workers(self) -> Iterator[tuple[Call, int, int]]:
        """Yield workers that wait here and take jobs of pools: (call, n, lost), longest first."""


class Hall:
    """See the file's beginning."""

    def __init__(self, sessions: Sessions | None = None) -> None:
        self._sessions = sessions
        self.pools: OrderedDict[JobPool, None] = OrderedDict()
        """Those that are open, in turn."""
        self.queues: dict[WorkersQueue, None] = {}
        """Those on which workers may wait who take jobs of pools; more than true is allowed, less is not."""
        self.workers: dict[str, Session] = {}
        """Sessions that take jobs of pools, and supervisors of such; by id."""
        self.versions: list[Python] = []
        """Their Pythons, ascending. Replaced, never changed: answers hold it."""

    # -- who is there ----------------------------------------------------------------------------

    def arrive(self, session: Session) -> None:
        """Note a session that began."""
        if session.info.pools:
            self.workers[session.id] = session
            self._count_versions()

    def leave(self, fx: Effects, session: Session) -> None:
        """Forget a session that ended. Jobs that were kept for its Python may go to others now."""
        if self.workers.pop(session.id, None) is not None:
            before = self.versions
            self._count_versions()
            if self.versions != before:
                self.feed_all(fx)

    def _count_versions(self) -> None:
        versions = sorted({session.info.python for session in self.workers.values()})
        if versions != self.versions:
            self.versions = versions

    def note(self, pool: JobPool) -> None:
        """Take note of a pool that changed."""
        if not pool.is_open:
            self.pools.pop(pool, None)
        elif pool not in self.pools:
            self.pools[pool] = None

    def forget(self, pool: JobPool) -> None:
        """Forget a pool that is deleted."""
        self.pools.pop(pool, None)

    def wait_at(self, queue: WorkersQueue) -> None:
        """Note that a worker waits at `queue` who takes jobs of pools."""
        self.queues[queue] = None

    def close(self, queue: WorkersQueue) -> None:
        """Forget a queue that is deleted."""
        self.queues.pop(queue, None)

    # -- meeting ---------------------------------------------------------------------------------

    def serve(self, fx: Effects, call: Call, n: int, lost: int) -> bool:
        """Give a worker the next jobs of a pool, if it may have any."""
        return any(self._give(fx, pool, call, n, lost) for pool in list(self.pools))

    def feed(self, fx: Effects, pool: JobPool) -> None:
        """Give jobs of a pool to workers that wait. Cost: O(1) when none waits."""
        while self.queues and pool in self.pools and self._feed_one(fx, pool):
            pass

    def feed_all(self, fx: Effects) -> None:
        """Give jobs to workers that wait, one batch from each pool in turn."""
        while self.queues and any(self._feed_one(fx, pool) for pool in list(self.pools)):
            pass

    def _feed_one(self, fx: Effects, pool: JobPool) -> bool:
        for queue in list(self.queues):
            found = False
            for call, n, lost in queue.idle_workers():
                found = True
                if self._give(fx, pool, call, n, lost):
                    return True
            if not found:
                del self.queues[queue]
        return False

    def _give(self, fx: Effects, pool: JobPool, call: Call, n: int, lost: int) -> bool:
        given = pool.hand(fx, call, n, lost)
        if given and pool in self.pools:
            self.pools.move_to_end(pool)
        return given

    # -- parting ---------------------------------------------------------------------------------

    def end_worker(self, fx: Effects, session_id: str, why: str) -> None:
        """End a worker in the middle of its job: its session here, its process by its supervisor.

        The session goes first: until the process is dead it is given nothing that would die with it.
        """
        session = self.workers.get(session_id)
        if session is not None and self._sessions is not None and not session.ended:
            self._sessions.end(fx, session, why)
            self._sessions.tell_supervisor(fx, session, why)

    def validate(self) -> None:
        """Raise AssertionError when somebody waits who need not, or the line is wrong."""
        assert self.versions == sorted({session.info.python for session in self.workers.values()})
        assert all(not session.ended for session in self.workers.values())
        assert all(pool.is_open for pool in self.pools)
