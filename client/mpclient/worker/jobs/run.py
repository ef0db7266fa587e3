"""Running one job: opened, called, its answer pickled; or a `TaskError`. It never ends the worker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mpclient.values import partials
from mpclient.values.pickling import dumps, loads
from mpclient.worker.jobs.desk import is_answer
from mpshared.values import Blob, needs_python

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpclient.values.partials import Place
    from mpclient.worker.jobs.desk import Result
    from mpclient.worker.jobs.failures import Failures

__all__ = ["Run", "Runner"]

_HERE: Final = sys.version_info[:2]
_UNKNOWN: Final[Any] = object()

Run: TypeAlias = "Callable[[int, Any], tuple[Result, Any]]"
"""Runs a job, by number and what is known of it; returns as `Runner.run`."""


class Runner:
    """Runs jobs for one session."""

    def __init__(self, session: Session, failures: Failures) -> None:
        self._session = session
        self._failures = failures
        self.versions: Sequence[Sequence[int]] = ()
        """The Pythons of the queue's workers, [[major, minor], …], as the server told last."""

    def runs(self, place: Place | None) -> Run:
        """Return what runs a job: a value (None), or arguments for the function that is at `place` then."""
        return self.run if place is None else self._opened(*place)

    def run(self, number: int, blob: Blob) -> tuple[Blob, Any]:
        """Run one job.

        Returns:
            Its result, and what must not be dropped before the server has it (else None).
        """
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

    def _opened(self, module: str, name: str) -> Run:
        """Return what runs jobs of one function, which is looked up for each. The hot path: few calls."""
        modules, known = sys.modules, _UNKNOWN

        def run(number: int, args: tuple[Any, ...]) -> tuple[Blob, Any]:
            nonlocal known
            try:
                function = getattr(modules.get(module), name, _UNKNOWN)
                if function is _UNKNOWN or function is not known:
                    function = known = _found(module, name)
            except BaseException as err:  # noqa: BLE001 - users' modules run in there
                return self._failures.unreadable(number, err), None
            return self._call(function, args)

        return run

    def _call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Blob, Any]:
        try:
            answer = function(*args)
        except BaseException as err:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are the job's, not ours
            return self._failures.raised(partial(function, *args), err), None
        if is_answer(answer):
            return answer, None
        return self._pickled(partial(function, *args), answer)

    def _pickled(self, task: object, answer: object) -> tuple[Blob, Any]:
        try:
            result = dumps(answer, self._session, whole=False)
        except BaseException as err:  # noqa: BLE001 - users' __reduce__ and __getstate__
            return self._failures.unpicklable(task, answer, err), None
        if type(result) is bytes or not result.refs:  # type: ignore[union-attr]
            return result, None
        return result, answer


def _found(module: str, name: str) -> Callable[..., Any]:
    function = getattr(sys.modules.get(module) or import_module(module), name)
    if not callable(function):
        raise TypeError(f"{module}.{name} cannot be called")
    return function  # type: ignore[no-any-return]
