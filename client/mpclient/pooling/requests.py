"""What a pool's sender is asked for besides sending; it serves requests between two messages."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from mpclient.pooling.outcomes import Failure, JobCancelled, failures
from mpclient.pooling.sources import DROPPED, Tickets
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.jobs import Jobs
    from mpclient.pooling.sources import Ticket
    from mpclient.pooling.spans import Sink

__all__ = ["Abandoned", "Cancel", "GiveBack", "Look", "Request", "Stop"]

_CANCEL: Final = BY_NAME["pool.cancel"]
_STOP: Final = BY_NAME["pool.stop"]
_WAITING: Final = BY_NAME["pool.waiting"]


class Request:
    """What a sender serves."""

    def serve(self, jobs: Jobs) -> None:
        """Do it, in the sender: nothing is on its way to the server meanwhile."""
        raise NotImplementedError


class Cancel(Request):
    """Cancel what has not begun.

    Args:
        sink: Only the jobs of this sink; None: all of the pool's.
        ticket: Only this one job.
        error: The outcome; with a ticket and no error the ticket is not settled: who asks does that.
    """

    def __init__(
        self, sink: Sink | None = None, *, ticket: Ticket | None = None, error: BaseException | None = None
    ) -> None:
        self._sink = sink
        self._ticket = ticket
        self._error = error
        self.count = 0
        """How many were cancelled."""
        self.served = threading.Event()

    def serve(self, jobs: Jobs) -> None:
        """See `Request`."""
        try:
            if self._ticket is not None:
                self._serve_one(jobs, self._ticket)
            else:
                self._serve_all(jobs, self._error or JobCancelled("this job was cancelled before it began"))
        finally:
            self.served.set()
        jobs.check_done()

    def _serve_one(self, jobs: Jobs, ticket: Ticket) -> None:
        if ticket.number > 0:
            self._remove(jobs, [[ticket.number, ticket.number]])
        elif ticket.number == 0:
            ticket.number = DROPPED
            self.count = 1
            if self._error is not None:
                ticket.settle(Failure(self._error))

    def _serve_all(self, jobs: Jobs, error: BaseException) -> None:
        with jobs.lock:
            ranges = [[span.first, span.last] for span in jobs.spans if self._sink in {None, span.sink}]
            flows = [flow for flow in jobs.flows_under_way() if self._sink in {None, flow}]
        if self._sink is None:
            for ticket in jobs.singles.drop():
                ticket.settle(failures(error, 1)[0])
        for flow in flows:
            flow.cancel(failures(error, 1)[0].error)
        if ranges:
            self._remove(jobs, ranges)

    def _ask(self, jobs: Jobs, ranges: list[list[int]]) -> list[list[int]]:
        """Have the server do it; return what it removed."""
        return list(jobs.session.call_patiently(_CANCEL, jobs.ident, [ranges]).result)

    def _remove(self, jobs: Jobs, ranges: list[list[int]]) -> None:
        """Have the server remove jobs; those that it did remove have their outcome now."""
        for first, last in self._ask(jobs, ranges):
            with jobs.lock:
                parts = list(jobs.spans.split(first, last))
            for span, low, high in parts:
                if self._error is None and isinstance(span.sink, Tickets):
                    span.sink.forget(low - span.first)
                jobs.settle(span, low, failures(self._error or JobCancelled(), high - low + 1))
            self.count += last - first + 1


class Stop(Cancel):
    """Cancel one job, whether it runs or not.

    Args:
        ticket: Who waits for it.
        error: Its outcome if it has not begun.
        grace_s: How long it may go on running.
    """

    def __init__(self, ticket: Ticket, error: BaseException, grace_s: float) -> None:
        super().__init__(ticket=ticket, error=error)
        self._grace_s = grace_s

    def _ask(self, jobs: Jobs, ranges: list[list[int]]) -> list[list[int]]:
        removed, stopped = jobs.session.call_patiently(_STOP, jobs.ident, [ranges, self._grace_s]).result
        self.count = len(stopped)
        return list(removed)


class Abandoned(Request):
    """Have a pool ended that nobody refers to any more: its finaliser may not wait.

    Args:
        finish: Whether everything that was submitted is to be finished first.
    """

    def __init__(self, *, finish: bool) -> None:
        self._finish = finish

    def serve(self, jobs: Jobs) -> None:
        """See `Request`."""
        if self._finish:
            jobs.close()
        else:
            jobs.terminate()


class Look(Request):
    """Look whether a worker has begun a job: ``count`` is 1 then."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self.count = 0
        self.served = threading.Event()

    def serve(self, jobs: Jobs) -> None:
        """See `Request`."""
        number = self._ticket.number
        try:
            if number > 0:
                waiting = jobs.session.call(_WAITING, jobs.ident, [[[number, number]]]).result
                self.count = 0 if waiting else 1
        finally:
            self.served.set()


class GiveBack(Request):
    """Have the server forget what was lent for the jobs of one stream."""

    def __init__(self, digest: str) -> None:
        self._digest = digest

    def serve(self, jobs: Jobs) -> None:
        """See `Request`."""
        jobs.functions.give_back(self._digest)
