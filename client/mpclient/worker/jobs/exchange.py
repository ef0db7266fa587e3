"""The worker's round trip: results out, jobs done, next jobs in; and what is done when the server refuses.

| the server says            | what that means                  | what is done                               |
|----------------------------|----------------------------------|--------------------------------------------|
| no such object: results    | deleted, perhaps made anew       | opened by its name, sent again             |
| no such object: the jobs'  | deleted, and its jobs with it    | opened by its name, the results dropped    |
| shut down: results         | nobody will read them            | acknowledged, the results dropped, logged  |
| too big                    | one of the results is            | that one becomes a `TaskError`             |
| another refusal by a pool  | none is foreseen                 | the same: somebody waits for each result   |
| no such object: the pool   | its program has ended it         | the results dropped                        |
| another refusal of results | a priority queue cannot order it | sent one by one, the refused dropped       |
| gone                       | the session is over              | raised: nothing is this process's any more |
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from mpclient.objects.readers import nothing
from mpclient.worker.jobs.desk import NOTHING, Finished, Range, ranges_of
from mpclient.worker.jobs.pace import Distance
from mpshared.errors import MpserveError, NoSuchObject, ServerGone, ShutDown, TooBig
from mpshared.ops import BY_NAME
from mpshared.values import size_bytes

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpclient.worker.jobs.failures import Failures
    from mpshared.wire.own.frames import Reply

__all__ = ["Exchange", "Tell"]

_OPEN: Final = BY_NAME["cluster.open"]
_EXCHANGE: Final = BY_NAME["queue.exchange"]
_EXCHANGE_AHEAD: Final = BY_NAME["queue.exchange_ahead"]
_HAND_BACK: Final = BY_NAME["queue.hand_back"]
_HAND_BACK_TO_POOL: Final = BY_NAME["pool.hand_back"]


class Tell(Protocol):
    """Writes a line to the worker host's log."""

    def __call__(self, level: str, event: str, **fields: Any) -> None:
        """Write an event with its fields."""


class Exchange:
    """Both queues of a worker process, and the calls on them and on pools. One thread at a time.

    Args:
        session: Whose jobs they are.
        queue: The name of the recipe queue. None: an empty one that nobody else has, for a process that
            serves pools only.
        results: The name of the queue for results of recipe jobs; None as before.
        failures: Makes results of what the server refuses.
        tell: Writes to the log.
    """

    def __init__(
        self, session: Session, queue: str | None, results: str | None, failures: Failures, tell: Tell
    ) -> None:
        self._session = session
        self._names = queue, results
        self._failures = failures
        self._tell = tell
        self.distance = Distance()
        self._open()

    def _open(self) -> None:
        """Find both queues; they are made if need be."""
        self._handles = [self._session.claim(self._ident_of(name)) for name in self._names]

    def _ident_of(self, name: str | None) -> str:
        began_s = time.perf_counter()
        ident: str = self._session.call_patiently(_OPEN, "", ["queue", name, {}, False, None]).result[0]
        self.distance.note(time.perf_counter() - began_s)
        return ident

    # -- rounds ----------------------------------------------------------------------------------

    def round(self, finished: Finished, n: int, timeout_s: float | None, read: Callable[[Reply], Any]) -> Any:
        """Send results, acknowledge jobs, wait for up to `n` new ones.

        Args:
            finished: What is done.
            n: At most so many jobs; the server may give fewer.
            timeout_s: How long to wait for the first; None: for ever.
            read: Makes of the answer what is returned, while the call can still be broken.

        Raises:
            ServerGone: The session is over.
        """
        try:
            return self._call(finished, n, timeout_s, read)
        except ServerGone:
            raise
        except MpserveError as err:
            if not finished.numbers and not isinstance(err, NoSuchObject):
                raise
            self._mend(finished, err)
        return self.round(NOTHING, n, timeout_s, read)

    def ahead(self, finished: Finished, n: int, pool: str | None) -> Reply:
        """Send results and get up to `n` more jobs of a pool, or the recipe queue, without waiting.

        Raises:
            MpserveError: It is refused, as a whole; nothing is mended.
            ServerGone: The session is over.
        """
        tasks, results = self._handles
        args = [results.ident, ranges_of(finished.numbers), n, pool]
        reply: Reply = self._session.call_patiently(_EXCHANGE_AHEAD, tasks.ident, args, finished.results)
        return reply

    def deliver(self, finished: Finished) -> None:
        """Send results and acknowledge jobs; waits for room for them."""
        if finished.numbers:
            self.round(finished, 0, 0, nothing)

    def acknowledge(self, number: int) -> None:
        """Say that a recipe job without a result is done: a pill."""
        with suppress(NoSuchObject):  # the queue was deleted, the pill with it
            self._call(Finished((number,), (), ()), 0, 0, nothing)

    def knock(self) -> None:
        """Make sure that the calling thread is let in, before it takes anything from where others find it.

        Raises:
            MpserveError: It is not.
        """
        with suppress(NoSuchObject):
            self._session.call_patiently(_HAND_BACK, self._handles[0].ident, [[]])

    def hand_back(self, ranges: list[Range], pool: str | None) -> int:
        """Return jobs of a pool or the recipe queue unharmed; returns how many were still this session's."""
        if not ranges:
            return 0
        op, target = (_HAND_BACK, self._handles[0].ident) if pool is None else (_HAND_BACK_TO_POOL, pool)
        try:
            return int(self._session.call_patiently(op, target, [ranges]).result)
        except NoSuchObject:  # it was deleted, its jobs with it
            return 0

    def _call(self, finished: Finished, n: int, timeout_s: float | None, read: Callable[[Reply], Any]) -> Any:
        tasks, results = self._handles
        args = [results.ident, ranges_of(finished.numbers), n, timeout_s, finished.pool]
        return self._session.call_patiently(_EXCHANGE, tasks.ident, args, finished.results, read)

    # -- refusals --------------------------------------------------------------------------------

    def _mend(self, finished: Finished, err: MpserveError) -> None:
        """Do what can be done with results that were refused as they are."""
        if isinstance(err, NoSuchObject) and finished.pool is not None:
            self._find_again(finished, err)
        elif isinstance(err, NoSuchObject):
            self._reopen(finished)
        elif isinstance(err, ShutDown):
            self._drop(finished, err)
        elif len(finished.numbers) == 1:
            self._mend_one(finished, err)
        else:
            half = len(finished.numbers) // 2
            self.deliver(finished.part(0, half))
            self.deliver(finished.part(half, len(finished.numbers)))

    def _find_again(self, finished: Finished, err: MpserveError) -> None:
        """Drop the results of a pool that is gone: nobody waits for them. Else a queue is, not the pool."""
        if err.fields.get("ident") != finished.pool:
            self._open()
            self.deliver(finished)

    def _reopen(self, finished: Finished) -> None:
        before = self._handles[0].ident
        self._open()
        if self._handles[0].ident == before:
            self.deliver(finished)
        elif finished.numbers:
            self._tell(
                "warning", "worker.queue_deleted", queue=self._names[0], results_dropped=len(finished.numbers)
            )

    def _drop(self, finished: Finished, err: MpserveError) -> None:
        """Acknowledge jobs whose results nobody takes."""
        self._call(finished._replace(results=()), 0, 0, nothing)
        dropped = len(finished.numbers)
        self._tell("error", "worker.results_refused", queue=self._names[1], dropped=dropped, why=err.text)

    def _mend_one(self, finished: Finished, err: MpserveError) -> None:
        number, result = finished.numbers[0], finished.results[0]
        if not isinstance(err, TooBig) and finished.pool is None:
            self._drop(finished, err)
            return
        error = self._failures.too_big(number, size_bytes(result), err)
        self._call(finished._replace(results=(error,)), 0, 0, nothing)
