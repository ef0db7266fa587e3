"""The futures of executors.

RULES
* They are `concurrent.futures` ones: `wait`, `as_completed`, `asyncio.wrap_future` take them as any other.
* One is cancelled by asking the server: True means that the call never ran and never will.
* The condition, a dozen objects that most futures need never, is made by the first who uses it. Whoever looks
  or waits goes by it, as in the standard library; `settle` does without it as long as there is none. What
  decides between the two is the lock of the future's `Jobs`.
"""

from __future__ import annotations

import concurrent.futures
import threading
from concurrent.futures import InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.pooling.outcomes import Failure, JobCancelled, PoolClosed
from mpclient.pooling.threads import NoThreads
from mpclient.values.jobs_format import UNSENT
from mpshared.errors import MpserveError, TaskError, WorkerDied
from mpshared.terms import Terms

if TYPE_CHECKING:
    from mpclient.jobs import Jobs

__all__ = ["Future", "as_executors_say"]

_PENDING: Final = "PENDING"  # the standard library's words, which it keeps to itself
_RUNNING: Final = "RUNNING"
_UNFINISHED: Final = frozenset({_PENDING, _RUNNING})
_FINISHED: Final = "FINISHED"


class Future(concurrent.futures.Future[Any]):
    """The result of one call; see `concurrent.futures.Future`."""

    def __init__(self, jobs: Jobs) -> None:  # that of the standard library makes the condition
        self._state = _PENDING
        self._result: Any = None
        self._exception: BaseException | None = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Any] = []
        self._made: threading.Condition | None = None
        self._jobs = jobs
        self.number = 0

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]  # made late, never replaced
        made = self._made
        if made is None:
            with self._jobs.lock:
                made = self._made = self._made or threading.Condition()
        return made

    # -- cancelling ------------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Cancel the call and return True; False: it has begun, or is over. Cost: a round trip."""
        if self.done():
            return self.cancelled()
        if not self._jobs.cancel_now(self):
            self._note_running()
            return self.cancelled()
        self._cancelled()
        return True

    def stop(self, grace: float = 5.0) -> bool:
        """Cancel the call, also while it runs; return False if it is over.

        `KeyboardInterrupt` is raised in it; if it has not ended `grace` seconds later, its process is killed.
        The future is cancelled when it has ended, and not before; what it answers meanwhile is dropped.

        Raises:
            ValueError, TypeError: `grace` is no time.
        """
        grace_s = Terms.asked(grace=grace).grace_s
        return not self.done() and self._jobs.stop(self, grace_s)

    def _cancelled(self) -> None:
        with self._condition:
            if self._state == _RUNNING:
                self._state = _PENDING  # it was stopped
        if super().cancel():
            self.set_running_or_notify_cancel()

    def _note_running(self) -> None:
        """Say `running` from now on: it could not be cancelled."""
        with self._condition:
            if self._state == _PENDING:
                self._state = _RUNNING

    # -- looking ---------------------------------------------------------------------------------

    def running(self) -> bool:
        """Tell whether the call runs. Cost: a round trip, as long as it is not known."""
        if super().running():
            return True
        if not self.done() and self._jobs.has_begun(self):
            self._note_running()
        return super().running()

    def done(self) -> bool:
        """Tell whether the call is over, or was cancelled."""
        return self._state not in _UNFINISHED

    def result(self, timeout: float | None = None) -> Any:
        """Return what the call returned, or raise what it raised; see `concurrent.futures.Future.result`."""
        if self._state == _FINISHED and self._exception is None:
            return self._result
        if not self.done():
            self._jobs.check_may_wait()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, or None; see `concurrent.futures.Future.exception`."""
        if not self.done():
            self._jobs.check_may_wait()
        return super().exception(timeout)

    # -- its outcome -----------------------------------------------------------------------------

    def settle(self, outcome: Any) -> None:
        """Take the outcome, the first one; see `sources.Ticket`."""
        with suppress(InvalidStateError):  # it was cancelled, and the pool has ended at the same time
            if type(outcome) is Failure:
                self._fail(outcome.error)
            elif not self._finish_alone(outcome):
                self.set_result(outcome)

    def _finish_alone(self, result: Any) -> bool:
        """Take a result that nobody has asked for yet; False: somebody has."""
        with self._jobs.lock:
            if self._made is not None:
                return False
            self._result = result
            self._state = _FINISHED  # last: `result` looks at it first, and without a lock
            return True

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, JobCancelled):
            self._cancelled()
        else:
            self.set_exception(as_executors_say(error))

    def forked(self, error: BaseException) -> None:
        """End, in a forked child; see `sources.Ticket`."""
        self._made = None
        self._done_callbacks = []
        self._waiters = []
        self.set_exception(error)


def as_executors_say(error: BaseException) -> BaseException:
    """Return what users of the standard library's executors catch in place of what those of its pools do.

    There a worker process that dies, or whose initializer fails, breaks the executor; here it goes on. One
    whose threads cannot be started is broken here, too.
    """
    if type(error) is NoThreads:
        from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415 - heavy, and rarely needed

        return BrokenProcessPool(str(error))
    if isinstance(error, MpserveError) and type(error) in {PoolClosed, WorkerDied}:
        return _broken(type(error), error)
    if type(error) is TaskError and "initializer" in error.fields:
        return _broken(TaskError, error)
    original = getattr(error, UNSENT, None)
    if not isinstance(original, BaseException):
        return error
    original.__cause__ = error.__cause__
    return original


def _broken(kind: type[MpserveError], error: MpserveError) -> MpserveError:
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415 - heavy, and rarely needed

    made: type[MpserveError] = type(kind.__name__, (kind, BrokenProcessPool), {"__module__": kind.__module__})
    return made(error.text, **error.fields)
