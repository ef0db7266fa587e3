"""A pool's jobs on terms: run again when they fail, not begun before or after a time, ended while they run.

RULES
* A run has failed when its result says that the job raised, or could not be run. It is the last one if there
  are no retries left, or the next would come too late: then its failure is the result.
* Deaths of workers are counted apart from that, as for all jobs (`max_attempts`).
* What runs is ended in two steps: an exception is raised in it; later its process is killed. If that was for
  its timeout it is a failure, if it was cancelled that is its result, whatever it answers. A worker that dies
  between the two has done what it was told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.pool_state import PoolState
from mpserve.core.queue_order import Run
from mpserve.core.queue_ranges import Range, merged, numbers_of
from mpserve.core.queue_special import Special
from mpshared.errors import JobExpired, JobStopped, JobTimeout
from mpshared.reports import error_blob
from mpshared.terms import Terms
from mpshared.values import RAISED, TASK_ERROR, Blob, tag_of

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Session
    from mpserve.core.effects import Effects
    from mpshared.errors import TaskError

__all__ = ["PoolTerms"]

_FAILED: Final = frozenset({RAISED, TASK_ERROR})


class PoolTerms(PoolState):
    """A pool some of whose jobs are on terms."""

    def submit_on_terms(self, fx: Effects, call: Call, first: int, terms: dict[str, Any]) -> None:
        """Store the call's value as a job on terms (`mpshared.terms`); its number is `first`.

        Raises:
            BadType, BadValue: They are none; or as `submit`.
            NoWorkers: As `submit`.
        """
        agreed = Terms.of(terms)
        self.check_jobs(first, call.blobs)
        self.add_on_terms(fx, agreed, call.blobs[0])
        fx.reply(call)
        self.settle(fx)

    def check_jobs(self, first: int, blobs: Sequence[Blob]) -> None:
        """Raise unless these can be the next jobs."""
        raise NotImplementedError

    # -- its results -----------------------------------------------------------------------------

    def hold_back(self, fx: Effects, call: Call, done: list[Range]) -> tuple[list[Range], Sequence[Blob]]:
        """Take those out of `done` that are to run again; return the rest and its results."""
        rest: list[tuple[int, Blob]] = []
        for number, blob in zip(numbers_of(done), call.blobs, strict=True):
            special = self.specials.get(number)
            if special is not None and special.stopped:
                rest.append((number, error_blob(self._was_stopped(number))))
            elif (
                special is None
                or tag_of(blob) not in _FAILED
                or not self._run_again(fx, call.session, number, special)
            ):
                rest.append((number, blob))
        return [(number, number) for number, _ in rest], [blob for _, blob in rest]

    def _run_again(self, fx: Effects, session: Session, number: int, special: Special) -> bool:
        """Have a job that a session holds, and that has failed, run again; False: that was its last run."""
        due_s = fx.wall_s + special.terms.pause_s(special.failures + 1)
        too_late = special.expires_at_s is not None and due_s >= special.expires_at_s
        if too_late or special.failures >= special.terms.retries:
            return False
        return bool(self.change(fx, "again", session.id, number, due_s))

    # -- ending what runs ------------------------------------------------------------------------

    def note_begun(self, fx: Effects, runs: Sequence[Run]) -> None:
        """Note when jobs with a timeout began."""
        for number, _, _ in runs:  # those on terms are given alone
            special = self.specials.get(number)
            if special is not None and special.terms.timeout_s is not None:
                self.change(fx, "began", number, fx.wall_s)
        self.look_after(fx)

    def stop(self, fx: Effects, call: Call, ranges: list[Range], grace_s: float) -> None:
        """Cancel jobs, also those that run: an exception is raised in them, later their processes are killed.

        Args:
            fx: Where the answer goes.
            call: The call.
            ranges: Which jobs.
            grace_s: How much later.

        Answers [removed, stopped]: ranges of those that had not begun, for which no results will come, and of
        those that run: their results will say that they were stopped.
        """
        removed = self.remove_waiting(fx, ranges)
        stopped = []
        for session_id, number in self._running(ranges):
            self._tell_to_end(fx, session_id, number, fx.wall_s + max(0.0, grace_s), "cancelled")
            stopped.append((number, number))
        self.look_after(fx)
        fx.reply(call, [[list(pair) for pair in removed], [list(pair) for pair in merged(stopped)]])

    def remove_waiting(self, fx: Effects, ranges: list[Range]) -> Sequence[Range]:
        """Delete those of the jobs that wait; return them."""
        raise NotImplementedError

    def cancelled_blob(self, number: int) -> Blob:
        """Return the result of a job that was cancelled before it began."""
        task = f"job {number} of {self.label}"
        return error_blob(JobStopped(f"{task} was cancelled before it began", task=task))

    def _running(self, ranges: Sequence[Range]) -> list[tuple[str, int]]:
        return [
            (session_id, number)
            for session_id, lease in self.leases
            for lo, hi in ranges
            for number in range(max(lo, lease.first), min(hi, lease.last) + 1)
        ]

    def _tell_to_end(self, fx: Effects, session_id: str, number: int, kill_at_s: float, why: str) -> None:
        special = self.specials.get(number)
        if special is None:
            special = Special(Terms(), None)
            self.change(fx, "agreed", number, special.given())
        stopped = special.stopped or why == "cancelled"
        self.change(fx, "warned", number, min(kill_at_s, special.kill_at_s or kill_at_s), stopped)
        self.hall.interrupt(fx, session_id, self, number, why)

    def on_began(self, _fx: Effects, number: int, at_s: float) -> None:
        """Note when the run under way began."""
        self.specials[number].began_at_s = at_s
        self._touched.append(number)

    def on_warned(self, _fx: Effects, number: int, kill_at_s: float, stopped: bool) -> None:
        """Note that a job that runs was told to end, and when it will be ended."""
        special = self.specials[number]
        special.kill_at_s, special.stopped = kill_at_s, stopped
        self._touched.append(number)

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Take jobs back; those that were told to end have had their time, and no attempt."""
        leases = self.leases.of(session.id) if self.specials else []
        for number in numbers_of((lease.first, lease.last) for lease in leases):
            special = self.specials.get(number)
            if special is not None and special.kill_at_s is not None:
                self._was_ended(fx, session, number, special)
        super().forget_session(fx, session)

    def _was_ended(self, fx: Effects, session: Session, number: int, special: Special) -> None:
        if not special.stopped and self._run_again(fx, session, number, special):
            return
        error: TaskError = self._was_stopped(number)
        if not special.stopped:
            error = self._was_late(number, special, session)
        self.change(fx, "finish", session.id, [(number, number)], [error_blob(error)])

    # -- time ------------------------------------------------------------------------------------

    def look_after(self, fx: Effects, overdue_s: float = 0.0) -> None:
        """Also end what was cancelled while it ran and came back: nobody is to begin it again."""
        for number in dict.fromkeys(self._touched):
            special = self.specials.get(number)
            if special is not None and special.stopped and (number in self.delayed or self.ready.has(number)):
                self.change(fx, "settled", number, error_blob(self._was_stopped(number)))
        super().look_after(fx, overdue_s)

    def _next_due_s(self, number: int, special: Special) -> float | None:
        if not special.stopped and special.began_at_s is None:
            return super()._next_due_s(number, special)
        if special.kill_at_s is not None or special.began_at_s is None:
            return special.kill_at_s
        return special.began_at_s + (special.terms.timeout_s or 0.0)

    def _happen(self, fx: Effects, number: int, special: Special) -> None:
        for session_id, _ in self._running([(number, number)]):
            if special.kill_at_s is None and self._is_past(fx, self._next_due_s(number, special)):
                self._tell_to_end(fx, session_id, number, fx.wall_s + special.terms.grace_s, "timeout")
            if self._is_past(fx, special.kill_at_s):
                self.hall.end_worker(fx, session_id, "a job in it was told to end, and did not")
            return
        super()._happen(fx, number, special)

    # -- what becomes of them --------------------------------------------------------------------

    def _expire(self, fx: Effects, number: int, special: Special) -> None:
        self.change(fx, "settled", number, error_blob(self._expired(number, special)))

    def _expired(self, number: int, special: Special) -> JobExpired:
        task, terms = f"job {number} of {self.label}", special.terms
        runs = f", after {special.failures} runs that failed" if special.failures else ""
        text = (
            f"{task} was not begun within {terms.expires_s:g} s{runs}, and is not tried any more: no worker "
            f"was free for it. Start more workers, give it a higher priority, or let it expire later"
        )
        return JobExpired(text, task=task)

    def _was_stopped(self, number: int) -> JobStopped:
        task = f"job {number} of {self.label}"
        return JobStopped(f"{task} was cancelled while it ran; what it had done by then stands", task=task)

    def _was_late(self, number: int, special: Special, session: Session) -> JobTimeout:
        task, terms, info = f"job {number} of {self.label}", special.terms, session.info
        text = (
            f"{task} did not end within its timeout of {terms.timeout_s:g} s, nor within {terms.grace_s:g} s "
            f"after TimeoutError was raised in it, so process {info.pid} on {info.host} was killed. Give it "
            f"a longer timeout, or have it let TimeoutError pass"
        )
        return JobTimeout(text, task=task, host=info.host, pid=info.pid, worker=info.name)
