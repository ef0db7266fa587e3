"""What becomes of a job that fails: a `TaskError` that says what, where, why, and what to do."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from mpshared.errors import TaskError
from mpshared.text import shorten
from mpshared.units import format_size
from mpshared.values import TASK_ERROR, Blob, Value

__all__ = ["Failures", "name_of"]

_PROTOCOL: Final = 4
"""Any supported Python reads it, stock clients too."""
_TRACEBACK_CHARS: Final = 64 << 10
_TEXT_CHARS: Final = 4000
_PATH_SHOWN: Final = 3


class Failures:
    """Makes the results of jobs that failed in this worker process.

    Args:
        worker: The name of the worker process.
        queue: The name of its queue.
    """

    def __init__(self, worker: str, queue: str) -> None:
        self._worker = worker
        self._queue = queue
        self._host = socket.gethostname()
        self._place = f"on {self._host}, in process {os.getpid()} of worker {worker}"
        self.count = 0
        """How many were made since the log was told."""
        self.last = ""

    def raised(self, task: object, err: BaseException) -> Blob:
        """Return the result of a job that raised."""
        name = name_of(task)
        return self._error(f"{name} raised {_said(err)} ({self._place})", name, err)

    def unreadable(self, number: int, err: BaseException) -> Blob:
        """Return the result of a job that cannot be unpickled here."""
        text = (
            f"job {number} of queue {self._queue!r} cannot be opened {self._place}: {_said(err)}. "
            f"{_missing(err)}"
        )
        return self._error(text, f"job {number}", err)

    def not_callable(self, number: int, thing: object) -> Blob:
        """Return the result of an item that is no job."""
        what = shorten(_guarded_repr(thing), 100)
        text = (
            f"item {number} of queue {self._queue!r} is not a job: {what} (a {type(thing).__name__}) cannot "
            f"be called. Put functions, functools.partial or objects with __call__ on it ({self._place})"
        )
        return self._error(text, f"job {number}")

    def unpicklable(self, task: object, answer: object, err: BaseException) -> Blob:
        """Return the result of a job whose answer cannot be sent."""
        name = name_of(task)
        text = (
            f"{name} answered what cannot be pickled: a {type(answer).__qualname__} ({_said(err)}). Have it "
            f"return plain data instead ({self._place})"
        )
        return self._error(text, name, err)

    def wrong_python(self, number: int, needed: tuple[int, int], versions: Sequence[Sequence[int]]) -> Blob:
        """Return the result of a job with code by value from another Python; opening it may crash."""
        here = _version(sys.version_info[:2])
        present = ", ".join(map(_version, sorted(map(tuple, versions)))) or here
        wanted = _version(needed)
        text = (
            f"job {number} of queue {self._queue!r} holds code from Python {wanted}, and this is a Python "
            f"{here} ({self._place}). Code that a program sends along runs on that version only; "
            f"the workers of this queue have Python {present}. Start an mpworker with {wanted}, or put "
            f"the code into a module that both can import"
        )
        return self._error(text, f"job {number}")

    def too_big(self, number: int, size_bytes: int, err: BaseException) -> Blob:
        """Return the result of a job whose answer is larger than the server takes."""
        text = (
            f"job {number} of queue {self._queue!r} answered {format_size(size_bytes)} bytes, more than the "
            f"server takes: {err}. Return less, or write it where both sides can read it ({self._place})"
        )
        return self._error(text, f"job {number}")

    def _error(self, text: str, task: str, err: BaseException | None = None) -> Blob:
        self.count += 1
        self.last = text
        error = TaskError(
            shorten(text, _TEXT_CHARS),
            task=task,
            host=self._host,
            pid=os.getpid(),
            worker=self._worker,
            traceback="" if err is None else _traceback(err),
            type="" if err is None else type(err).__name__,
        )
        return Value(TASK_ERROR, pickle.dumps(error, _PROTOCOL))


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


def _missing(err: BaseException) -> str:
    """Say what this host lacks, as far as the exception tells."""
    folders = ", ".join(sys.path[:_PATH_SHOWN])
    more = f", and {len(sys.path) - _PATH_SHOWN} more" if len(sys.path) > _PATH_SHOWN else ""
    where = f"It looks for modules in {folders}{more}"
    if isinstance(err, ModuleNotFoundError):
        return (
            f"The module {err.name!r} is not on this host: install it here, or name its folder with "
            f"mpworker --pythonpath. {where}"
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
