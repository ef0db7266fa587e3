"""What becomes of a job, as the program sees it: its answer, or a `Failure`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mpclient.values.jobs_format import read_result
from mpclient.values.pickling import loads_all
from mpshared.bunch import odd_ones
from mpshared.errors import JobStopped, MpserveError

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpshared.values import Blob

__all__ = ["Failure", "JobCancelled", "PoolClosed", "failures", "open_all"]


class JobCancelled(MpserveError, CancelledError):
    """The job was cancelled: before it began by Ctrl-C, `cancel`, or the end of its pool, later by `stop`."""


class PoolClosed(MpserveError):
    """The pool was terminated: what it had not answered by then has no result."""


class Failure:
    """The outcome of a job that has no answer."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"Failure({self.error!r})"


def failures(error: BaseException, n: int) -> list[Failure]:
    """Return `n` failures of one cause, each with an exception of its own: raising adds to it."""
    if isinstance(error, MpserveError):
        return [Failure(type(error)(error.text, **error.fields)) for _ in range(n)]
    return [Failure(type(error)(*error.args)) for _ in range(n)]


def open_all(blobs: Sequence[Blob], session: Session) -> Sequence[Any]:
    """Return the outcomes of a batch. Cost: one look-up and the unpickling per plain answer, or a row."""
    if not odd_ones(blobs):
        with suppress(BaseException):  # somebody's __setstate__: found again below, and told alone
            return loads_all(blobs, session)
    return [_open(blob, session) for blob in blobs]


def _open(blob: Blob, session: Session) -> Any:
    try:
        return read_result(blob, session)
    except JobStopped as err:
        return Failure(JobCancelled(err.text))
    except BaseException as err:  # noqa: BLE001 - the job's own, whatever it is
        return Failure(err.with_traceback(None))
