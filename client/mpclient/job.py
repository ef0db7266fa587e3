"""Jobs that outlive the program that submitted them: `cluster.submit`, `cluster.job`.

RULES
* They lie in one standing pool of the server (`POOL`), which workers serve like any other.
* A job's id is the pool's ident and the job's number: it never means another job, also not after a restart.
* The function travels inside the job: nobody would know when to forget it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mpclient.pooling import nested
from mpclient.pooling.outcomes import Failure, open_all
from mpclient.pooling.refusal import pickled
from mpclient.values.jobs_format import ONCE
from mpclient.values.pickling import own_buffers
from mpshared.errors import BadValue, NoSuchObject
from mpshared.ops import BY_NAME
from mpshared.terms import Terms

if TYPE_CHECKING:
    from mpclient.cluster import Cluster
    from mpclient.session import Session

__all__ = ["POOL", "Job", "Submitter", "find_job"]

POOL: Final = "jobs"
_OPEN: Final = BY_NAME["cluster.open"]
_ENQUEUE: Final = BY_NAME["pool.enqueue"]
_ASK: Final = BY_NAME["pool.ask"]
_STOP: Final = BY_NAME["pool.stop"]
_RELEASE: Final = BY_NAME["pool.release"]


class Job:
    """One job, wherever it was submitted. Safe in threads; a copy in another program is the same job.

    Made by `Cluster.submit` and `Cluster.job`.
    """

    def __init__(self, cluster: Cluster, ident: str) -> None:
        self._cluster = cluster
        pool, _, number = ident.rpartition("-")
        if not pool or not number.isdecimal():
            raise BadValue(f"{ident!r:.100} is no job's id; an id is what `Job.id` says")
        self.id = ident
        """What `Cluster.job` finds it by, in any program."""
        self._pool, self._number = pool, int(number)

    def __repr__(self) -> str:
        return f"<Job {self.id} at {self._cluster.address}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Job, (self._cluster, self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    # -- looking ---------------------------------------------------------------------------------

    def state(self) -> str:
        """Return where it is: "delayed", "waiting", "running", "done".

        Raises:
            NoSuchObject: It is not known, or its result is not kept any more.
        """
        return str(self._ask(0)[0][0])

    def done(self) -> bool:
        """Tell whether it has a result; see `state`."""
        return self.state() == "done"

    def result(self, timeout: float | None = None) -> Any:
        """Return its result, or raise what it raised; as often as it is asked for, while it is kept.

        Raises:
            TimeoutError: It has none within `timeout` seconds (None: wait for ever).
            CancelledError: It was cancelled.
            NoSuchObject: It is not known, or its result is not kept any more.
        """
        nested.submitted(1)
        try:
            (place, _), blobs = self._ask(timeout)
        finally:
            nested.settled(1)
        if not blobs:
            raise TimeoutError(f"job {self.id} has no result within {timeout:g} s; it is {place}")
        outcome = open_all(blobs, self._cluster.session)[0]
        if type(outcome) is Failure:
            raise outcome.error
        return outcome

    def _ask(self, timeout_s: float | None) -> tuple[Any, Any]:
        reply = self._call(_ASK, [self._number, timeout_s])
        return reply.result, reply.blobs

    # -- ending ----------------------------------------------------------------------------------

    def cancel(self, grace: float = 5.0) -> bool:
        """Cancel it, also while it runs; return False if it is done.

        In a job that runs `KeyboardInterrupt` is raised; if it has not ended `grace` seconds later, its
        process is killed. Its result is a `CancelledError` then.
        """
        grace_s = Terms.asked(grace=grace).grace_s
        removed, stopped = self._call(_STOP, [[[self._number, self._number]], grace_s]).result
        return bool(removed or stopped)

    def forget(self) -> bool:
        """Have its result dropped before its time; return False if it is not done yet."""
        return bool(self._call(_RELEASE, [self._number]).result)

    def _call(self, op: Any, args: list[Any]) -> Any:
        try:
            return self._cluster.session.call(op, self._pool, args)
        except NoSuchObject:
            raise NoSuchObject(
                f"job {self.id} is not known at {self._cluster.address}: its result was kept for its ttl and "
                "is gone, or the server was restarted without --data",
                ident=self.id,
            ) from None


class Submitter:
    """Submits jobs to a cluster, on terms; made by `Cluster.options`."""

    def __init__(self, cluster: Cluster, terms: Terms) -> None:
        self._cluster = cluster
        self.terms = terms

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job:
        """Have ``fn(*args, **kwargs)`` called by a worker; return the job.

        Raises:
            TypeError, PicklingError, …: Something in the call cannot travel; the text says what.
            NoWorkers: It carries code by value, and no worker that is connected has this Python.
        """
        session = self._cluster.session
        roots = [("function", fn), ("job.args", args), ("job.kwds", kwargs)]
        blob = own_buffers(pickled((ONCE, "", args, kwargs, fn), roots, session))
        pool = _standing.get(session.server_id) or _open_pool(session)
        try:
            number, _ = session.call(_ENQUEUE, pool, [self.terms.given()], (blob,)).result
        except NoSuchObject:  # deleted, or the server was restarted without its state
            pool = _open_pool(session)
            number, _ = session.call(_ENQUEUE, pool, [self.terms.given()], (blob,)).result
        return Job(self._cluster, f"{pool}-{number}")


def find_job(cluster: Cluster, ident: str) -> Job:
    """Return the job of that id.

    Raises:
        ValueError: That is no id.
        NoSuchObject: It is not known, or its result is not kept any more.
    """
    job = Job(cluster, ident)
    job.state()
    return job


_standing: Final[dict[str, str]] = {}
"""The ident of the standing pool of each server that this program has submitted to."""


def _open_pool(session: Session) -> str:
    """Find the standing pool of a server by its name; it is made if need be."""
    ident: str = session.call(_OPEN, "", ["pool", POOL, {"standing": True}, False, None]).result[0]
    _standing[session.server_id] = ident
    return ident
