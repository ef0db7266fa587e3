"""Running one job: opened, called, its answer pickled; or a `TaskError`. It never ends the worker."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from mpclient import partials
from mpclient.pickling import SHORT, dumps, loads
from mpshared.values import PICKLE_PROTOCOL, Blob, needs_python

if TYPE_CHECKING:
    from mpclient.partials import Opened
    from mpclient.session import Session
    from mpclient.worker.desk import Job
    from mpclient.worker.failures import Failures

__all__ = ["Runner"]

_HERE: Final = sys.version_info[:2]


class Runner:
    """Runs jobs for one session."""

    def __init__(self, session: Session, failures: Failures) -> None:
        self._session = session
        self._failures = failures
        self.versions: Sequence[Sequence[int]] = ()
        """The Pythons of the queue's workers, [[major, minor], …], as the server told last."""

    def run(self, number: int, job: Job) -> tuple[Blob, Any]:
        """Run one job.

        Returns:
            Its result, and what must not be dropped before the server has it (else None).
        """
        if type(job) is tuple:
            return self._run_opened(number, job)  # type: ignore[arg-type]  # a `Value` is of another type
        blob: Blob = job  # type: ignore[assignment]  # as above
        if type(blob) is not bytes:
            needed = needs_python(blob)
            if needed is not None and needed != _HERE:
                return self._failures.wrong_python(number, needed, self.versions), None
        elif (call := partials.load(blob)) is not None:
            return self._call(*call)
        try:
            task = loads(blob, self._session)
        except BaseException as err:  # noqa: BLE001 - users' __setstate__ and modules run in there
            return self._failures.unreadable(number, err), None
        if not callable(task):
            return self._failures.not_callable(number, task), None
        try:
            answer = task()
        except BaseException as err:  # noqa: BLE001 - as in `_call`
            return self._failures.raised(task, err), None
        return self._pickled(task, answer)

    def _run_opened(self, number: int, job: Opened) -> tuple[Blob, Any]:
        (module, name), args = job
        try:
            function = getattr(sys.modules.get(module) or import_module(module), name)
            if not callable(function):
                raise TypeError(f"{module}.{name} cannot be called")
        except BaseException as err:  # noqa: BLE001 - users' modules run in there
            return self._failures.unreadable(number, err), None
        return self._call(function, args)

    def _call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Blob, Any]:
        try:
            answer = function(*args)
        except BaseException as err:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are the job's, not ours
            return self._failures.raised(partial(function, *args), err), None
        if type(answer) in SHORT and answer is not None:
            return pickle.dumps(answer, PICKLE_PROTOCOL), None
        return self._pickled(partial(function, *args), answer)

    def _pickled(self, task: object, answer: object) -> tuple[Blob, Any]:
        try:
            result = dumps(answer, self._session, whole=False)
        except BaseException as err:  # noqa: BLE001 - users' __reduce__ and __getstate__
            return self._failures.unpicklable(task, answer, err), None
        if type(result) is bytes or not result.refs:  # type: ignore[union-attr]
            return result, None
        return result, answer
