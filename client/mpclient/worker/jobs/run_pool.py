"""Running one job of a Pool or executor: opened, called, its answer pickled; or its failure (`jobs_format`).

A job by a function that is known here costs what opening it, the call, and pickling the answer cost; all else
happens once a batch, or once a function.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final

from mpclient.values.jobs_format import ITEM, MAP, ONCE, STAR
from mpclient.values.pickling import PLAIN, SHORT, dumps, is_long
from mpclient.worker.jobs.desk import is_answer
from mpshared.errors import MpserveError, ServerGone
from mpshared.values import NONE, PICKLE_PROTOCOL, Blob, needs_python

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpclient.values.partials import Place
    from mpclient.worker.jobs.desk import Result
    from mpclient.worker.jobs.failures import Failures
    from mpclient.worker.jobs.pools import Pool, Pools
    from mpclient.worker.jobs.run import Run
    from mpclient.worker.signals import Breaker

__all__ = ["PoolRunner"]

_HERE: Final = sys.version_info[:2]
_FETCH_S: Final = 5.0
"""A stop breaks the fetching of a function that takes longer than this."""


class _Failed(Exception):
    """A job cannot be run; holds its result."""

    def __init__(self, result: Blob) -> None:
        super().__init__()
        self.result = result


class PoolRunner:
    """Runs jobs of pools for one session, one pool at a time."""

    def __init__(self, session: Session, pools: Pools, failures: Failures, breaker: Breaker) -> None:
        self._session = session
        self._pools = pools
        self._failures = failures
        self._breaker = breaker
        self._at = 0
        """The number of the job whose code runs."""
        self.versions: Sequence[Sequence[int]] = ()
        """The Pythons of the workers, [[major, minor], …], as the server told last."""

    def enter(self, pool: Pool) -> None:
        """Get ready to `run` jobs of a pool."""
        self._pool = pool
        self._known = pool.functions.known
        self._failures.place = pool.label
        if self._pools.taken and pool.failure is None:
            pool.ready = True
            pool.failure = self._failures.taken(self._pools.taken)

    def runs(self, place: Place | None) -> Run:
        """Return what runs a job: a value (None), or an item for the function that is at `place` then."""
        return self.run if place is None else self._opened(place[1])

    def run(self, number: int, blob: Blob) -> tuple[Blob, Any]:
        """Run one job.

        Returns:
            Its result, and what must not be dropped before the server has it (else None).

        Raises:
            ServerGone: The session is over.
            Interrupted: A stop broke the fetching of a function.
        """
        try:
            self._prepare(number)
            if type(blob) is bytes:
                try:
                    job = pickle.loads(blob)
                except BaseException as err:  # noqa: BLE001 - users' __setstate__ and modules run in there
                    return self._failures.unreadable(number, err), None
            else:
                job = self._open(number, blob)
            function = self._known.get(job[1])
            if function is None:
                function = job[4] if job[0] == ONCE else self._learn(number, job[1])
        except _Failed as failed:
            return failed.result, None
        try:
            try:
                self._at = number
                if job[0] == ITEM:
                    answer = function(job[2])
                elif job[0] == MAP:
                    answer = list(map(function, job[2]))
                elif job[0] == STAR:
                    answer = list(starmap(function, job[2]))
                else:  # CALL, ONCE
                    answer = function(*job[2], **job[3])
            finally:
                self._at = 0  # from here on `interruption` returns None: nothing of ours is broken
        except BaseException as err:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are the job's, not ours
            return _kept(self._failures.passed_on(function, err, self._session), err)
        kind = type(answer)
        if answer is None:
            return NONE, None
        if kind in SHORT or (kind in PLAIN and not is_long(answer)):
            return pickle.dumps(answer, PICKLE_PROTOCOL), None
        return self._pickled(function, answer)

    def _opened(self, digest: str) -> Run:
        """Return what runs jobs of one item each, by one function. The hot path: few calls."""
        pool, known = self._pool, self._known

        def run(number: int, item: Any) -> tuple[Result, Any]:
            function = known.get(digest)
            if function is None or not pool.ready or pool.failure is not None:
                try:
                    self._prepare(number)
                    function = self._learn(number, digest) if function is None else function
                except _Failed as failed:
                    return failed.result, None
            try:
                try:
                    self._at = number
                    answer = function(item)
                finally:
                    self._at = 0
            except BaseException as err:  # noqa: BLE001 - as in `run`
                return _kept(self._failures.passed_on(function, err, self._session), err)
            return (answer, None) if is_answer(answer) else self._pickled(function, answer)

        return run

    def interruption(self, pool: str, number: int, why: str) -> BaseException | None:
        """Return what is to be raised in a job, once; None: it does not run. In the thread that runs jobs."""
        if self._at != number or self._pool.ident != pool:
            return None
        self._at = 0
        if why == "timeout":
            return TimeoutError("this job has run for longer than its timeout")
        return KeyboardInterrupt("this job was cancelled")

    # -- its parts -------------------------------------------------------------------------------

    def _prepare(self, number: int) -> None:
        """See that the pool's initializer has run.

        Raises:
            _Failed: It failed, here or before.
        """
        pool = self._pool
        if not pool.ready:
            self._initialize(number, pool)
        if pool.failure is not None:
            raise _Failed(pool.failure)

    def _pickled(self, function: object, answer: object) -> tuple[Blob, Any]:
        try:
            result = dumps(answer, self._session, whole=False)
        except BaseException as err:  # noqa: BLE001 - users' __reduce__ and __getstate__
            return self._failures.not_sent(function, answer, err, self._session), None
        return (result, None) if type(result) is bytes else _kept(result, answer)

    def _open(self, number: int, blob: Blob) -> Any:
        self._check_python(number, blob)
        try:
            return self._pools.open(self._pool, blob)
        except BaseException as err:  # noqa: BLE001 - users' __setstate__ and modules run in there
            raise _Failed(self._failures.unreadable(number, err)) from None

    def _check_python(self, number: int, blob: Blob) -> None:
        needed = needs_python(blob)
        if needed is not None and needed != _HERE:
            raise _Failed(self._failures.wrong_python(number, needed, self.versions))

    def _learn(self, number: int, digest: str) -> Any:
        """Fetch a function that this process does not know."""
        blob = self._fetch(number, digest)
        self._check_python(number, blob)
        try:
            return self._pools.learn(self._pool, digest, blob)
        except BaseException as err:  # noqa: BLE001 - users' modules are imported in there
            raise _Failed(self._failures.unreadable(number, err)) from None

    def _fetch(self, number: int, digest: str) -> Blob:
        self._breaker.enter(_FETCH_S)
        try:
            return self._pools.fetch(self._pool, digest)
        except ServerGone:
            raise
        except MpserveError as err:  # the pool is gone, and nobody waits; or its program never taught it
            raise _Failed(self._failures.unreadable(number, err)) from None
        finally:
            self._breaker.leave()

    # -- once a process and pool -----------------------------------------------------------------

    def _initialize(self, number: int, pool: Pool) -> None:
        """Run the initializer. What goes wrong with it is the result of all jobs of this pool here."""
        assert pool.spec.initializer is not None  # who has none is ready
        blob = self._fetch(number, pool.spec.initializer)
        self._check_python(number, blob)
        pool.ready = True
        function: Any = None
        try:
            function, arguments, watching = self._pools.open_initializer(pool, blob)
            function(*arguments)
            pool.left_behind = watching.left()
        except BaseException as err:  # noqa: BLE001 - users' code
            pool.failure = self._failures.initializer(function, err)


def _kept(result: Blob, thing: Any) -> tuple[Blob, Any]:
    """Return the result, and `thing` where it mentions shared objects."""
    if type(result) is bytes or not result.refs:  # type: ignore[union-attr]
        return result, None
    return result, thing
