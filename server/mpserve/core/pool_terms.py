"""A pool's jobs on terms: run again when they fail, begun not before a time, nor after another.

RULES
* A run has failed when its result says that the job raised, or could not be run. It is the last one if there
  are no retries left, or the next would come too late: then its failure is the result.
* Deaths of workers are counted apart from that, as for all jobs (`max_attempts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.pool_state import PoolState
from mpserve.core.queue_order import Range
from mpserve.core.queue_special import Special
from mpshared.errors import JobExpired
from mpshared.reports import error_blob
from mpshared.terms import Terms
from mpshared.values import RAISED, TASK_ERROR, Blob, tag_of

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects

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

    def hold_back(
        self, fx: Effects, call: Call, done: list[Range]
    ) -> tuple[list[Range], Sequence[Blob], int]:
        """Take those of `done` out that are to run again; return the rest, its results, and how many."""
        numbers = [number for lo, hi in done for number in range(lo, hi + 1)]
        rest: list[tuple[int, Blob]] = []
        kept = 0
        for number, blob in zip(numbers, call.blobs, strict=True):
            special = self.specials.get(number)
            if special is not None and self._is_to_run_again(fx, special, blob):
                due_s = fx.wall_s + special.terms.pause_s(special.failures + 1)
                kept += self.change(fx, "again", call.session.id, number, due_s)
            else:
                rest.append((number, blob))
        return [(number, number) for number, _ in rest], [blob for _, blob in rest], kept

    def _is_to_run_again(self, fx: Effects, special: Special, blob: Blob) -> bool:
        if tag_of(blob) not in _FAILED or special.failures >= special.terms.retries:
            return False
        due_s = fx.wall_s + special.terms.pause_s(special.failures + 1)
        return special.expires_at_s is None or due_s < special.expires_at_s

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
