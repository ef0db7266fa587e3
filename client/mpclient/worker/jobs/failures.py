"""What becomes of a job that fails: a `TaskError` that says what, where, why, and what to do.

Pools and executors are given the exception itself where a job raised one (`jobs_format`), and the `TaskError`
where the job could not run.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mpclient.values.jobs_format import UNSENT, dump_raised
from mpclient.values.pickling import PLAIN
from mpshared.errors import TaskError
from mpshared.text import shorten
from mpshared.units import format_size
from mpshared.values import TASK_ERROR, Blob, Value

if TYPE_CHECKING:
    from mpclient.session import Session

__all__ = ["Failures", "name_of"]

_PROTOCOL: Final = 4
"""Any supported Python reads it, stock clients too."""
_TRACEBACK_CHARS: Final = 64 << 10
_TEXT_CHARS: Final = 4000
_PATH_SHOWN: Final = 3
_PLAIN_ERRORS: Final = frozenset({"builtins", "pickle", "_pickle"})


class Failures:
    """Makes the results of jobs that failed in this worker process.

    Args:
        worker: The name of the worker process.
        place: Where its jobs are from: "queue 'tasks'", "pool 'Pool-1'".
    """

    def __init__(self, worker: str, place: str) -> None:
        self._worker = worker
        self.place = place
        self._host = socket.gethostname()
        self._here = f"on {self._host}, in process {os.getpid()} of worker {worker}"
        self.count = 0
        """How many were made since the log was told."""
        self.last = ""

    def raised(self, task: object, err: BaseException) -> Blob:
        """Return the result of a job that raised."""
        name = name_of(task)
        return self._error(f"{name} raised {_said(err)} ({self._here})", name, err)

    def unreadable(self, number: int, err: BaseException) -> Blob:
        """Return the result of a job that cannot be unpickled here."""
        text = f"job {number} of {self.place} cannot be opened {self._here}: {_said(err)}. {missing(err)}"
        return self._error(text, f"job {number}", err)

    def not_callable(self, number: int, thing: object) -> Blob:
        """Return the result of an item that is no job."""
        what = shorten(_guarded_repr(thing), 100)
        text = (
            f"item {number} of {self.place} is not a job: {what} (a {type(thing).__name__}) cannot "
            f"be called. Put functions, functools.partial or objects with __call__ on it ({self._here})"
        )
        return self._error(text, f"job {number}")

    def unpicklable(self, task: object, answer: object, err: BaseException) -> Blob:
        """Return the result of a job whose answer cannot be sent."""
        name = name_of(task)
        text = (
            f"{name} answered what cannot be pickled: a {type(answer).__qualname__} ({_said(err)}). Have it "
            f"return plain data instead ({self._here})"
        )
        return self._error(text, name, err)

    def wrong_python(self, number: int, needed: tuple[int, int], versions: Sequence[Sequence[int]]) -> Blob:
        """Return the result of a job with code by value from another Python; opening it may crash."""
        here = _version(sys.version_info[:2])
        present = ", ".join(map(_version, sorted(map(tuple, versions)))) or here
        wanted = _version(needed)
        text = (
            f"job {number} of {self.place} holds code from Python {wanted}, and this is a Python "
            f"{here} ({self._here}). Code that a program sends along runs on that version only; "
            f"the workers here have Python {present}. Start an mpworker with {wanted}, or put "
            f"the code into a module that both can import"
        )
        return self._error(text, f"job {number}")

    def too_big(self, number: int, size_bytes: int, err: BaseException) -> Blob:
        """Return the result of a job whose answer is larger than the server takes."""
        text = (
            f"job {number} of {self.place} answered {format_size(size_bytes)} bytes, more than the "
            f"server takes: {err}. Return less, or write it where both sides can read it ({self._here})"
        )
        return self._error(text, f"job {number}")

    # -- of pools --------------------------------------------------------------------------------

    def passed_on(self, task: object, err: BaseException, session: Session) -> Value:
        """Return the result of a job that raised: the exception itself."""
        name = name_of(task)
        text = self._noted(f"{name} raised {_said(err)} ({self._here})")
        return dump_raised(err, text, _traceback(err), self._fields(name, err), session)

    def not_sent(self, task: object, answer: object, err: BaseException, session: Session) -> Value:
        """Return the result of a job whose answer cannot be pickled: what the standard library raises."""
        from multiprocessing.pool import (  # type: ignore[attr-defined]  # noqa: PLC0415 - only for failures
            MaybeEncodingError,
        )

        name = name_of(task)
        text = self._noted(f"{name} answered what cannot be pickled: {_said(err)} ({self._here})")
        error = MaybeEncodingError(_Shown(err), _Shown(answer))
        if type(err).__module__ in _PLAIN_ERRORS and PLAIN.issuperset(map(type, err.args)):
            setattr(error, UNSENT, err)  # any other may not travel, and the rest with it
        return dump_raised(error, text, _traceback(err), self._fields(name, err), session)

    def initializer(self, function: object, err: BaseException) -> Blob:
        """Return the result of all jobs of a pool whose initializer failed in this process."""
        name = "the function" if function is None else name_of(function)
        text = (
            f"{name}, the initializer of {self.place}, failed {self._here}: {_said(err)}. No job of it can "
            f"run in this process. {missing(err) if function is None else 'Mend the initializer'}"
        )
        return self._error(text, name, err, initializer=name)

    def taken(self, module: str) -> Blob:
        """Return the result of all jobs of a pool that ships a module which worker processes have already."""
        text = (
            f"{self.place} ships a module {module!r}, and worker processes have one of that name themselves, "
            f"which they need ({self._here}). Give yours another name"
        )
        return self._error(text, module)

    # -- making them -----------------------------------------------------------------------------

    def _noted(self, text: str) -> str:
        self.count += 1
        self.last = text
        return shorten(text, _TEXT_CHARS)

    def _fields(self, task: str, err: BaseException | None) -> dict[str, Any]:
        kind = "" if err is None else type(err).__name__
        return {
            "task": task,
            "host": self._host,
            "pid": os.getpid(),
            "worker": self._worker,
            "type": kind,
        }

    def _error(self, text: str, task: str, err: BaseException | None = None, **more: Any) -> Blob:
        traceback = "" if err is None else _traceback(err)
        error = TaskError(self._noted(text), traceback=traceback, **self._fields(task, err), **more)
        return Value(TASK_ERROR, pickle.dumps(error, _PROTOCOL))


class _Shown:
    """Shows as a thing does, shortened and whatever its own ``__repr__`` does."""

    def __init__(self, thing: object) -> None:
        self._text = shorten(_guarded_repr(thing), _TEXT_CHARS)

    def __repr__(self) -> str:
        return self._text


def name_of(task: object) -> str:
    """Return how to call a job in a message: short, and without running users' code where that can be."""
    if isinstance(task, partial):
        return f"partial({name_of(task.func)})"
    name = getattr(task, "__qualname__", None)
    module = getattr(task, "__module__", None)
    if not isinstance(name, str):
        name, module = f"{type(task).__qualname__} object", type(task).__module__
    return shorten(f"{module}.{name}" if isinstance(module, str) else name, 200)


def _said(err: BaseException) -> str:
    """Return type and message of an exception; the message is users' code and may fail."""
    try:
        message = str(err)
    except Exception as worse:  # noqa: BLE001 - somebody's __str__
        message = f"(its text cannot be had: {type(worse).__name__})"
    name = type(err).__name__
    return shorten(f"{name}: {message}" if message else name, 1000)


def missing(err: BaseException) -> str:
    """Say what this host lacks to open what a program sent, as far as the exception tells."""
    folders = ", ".join(sys.path[:_PATH_SHOWN])
    more = f", and {len(sys.path) - _PATH_SHOWN} more" if len(sys.path) > _PATH_SHOWN else ""
    where = f"It looks for modules in {folders}{more}"
    if isinstance(err, ModuleNotFoundError):
        return (
            f"The module {err.name!r} is not on this host: install it here, name its folder with "
            f"mpworker --pythonpath, or send it along with Pools and Processes by cluster.ship(). {where}"
        )
    if isinstance(err, AttributeError) and "__main__" in str(err):
        return (
            "It was pickled by name from a program's main file, which no worker imports: put it in a module, "
            "or use mpclient, which sends such code along"
        )
    if isinstance(err, AttributeError | ImportError):
        return f"A module here differs from the one where the job was made: install the same version. {where}"
    return "Whatever opening it needs must be the same here as where it was made"


def _traceback(err: BaseException) -> str:
    """Return the traceback as text, without the frame of ours that called."""
    import traceback  # noqa: PLC0415 - only for failures

    inner = err.__traceback__.tb_next if err.__traceback__ is not None else None
    try:
        text = "".join(traceback.format_exception(type(err), err, inner))
    except Exception as worse:  # noqa: BLE001 - users' __str__, __repr__ or __cause__
        text = f"(the traceback of a {type(err).__name__} cannot be had: {type(worse).__name__})\n"
    if len(text) > _TRACEBACK_CHARS:
        half = _TRACEBACK_CHARS // 2
        text = f"{text[:half]}\n  … {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return text


def _guarded_repr(thing: object) -> str:
    try:
        return repr(thing)
    except Exception as err:  # noqa: BLE001 - somebody's __repr__
        return f"<its repr raised {type(err).__name__}>"


def _version(version: Any) -> str:
    return f"{version[0]}.{version[1]}"
