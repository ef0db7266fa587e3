"""Errors, one class per code.

RULES
* An error travels as code, text and fields, never as a pickle; `make` turns it back into an exception.
* Each class also subclasses what a `multiprocessing` user would catch.
* A text says what, which object, what it means, and what to do.
* Texts are escaped, as they quote what others sent: the name of a host, a command line, words of the server.
"""

from __future__ import annotations

import queue
import threading
from typing import Any, ClassVar, Final

from mpshared.text import printable

__all__ = [
    "AlreadyReleased",
    "AttributeMissing",
    "BadIndex",
    "BadType",
    "BadValue",
    "BrokenBarrierError",
    "BrokenPipe",
    "Conflict",
    "DeadlockError",
    "Empty",
    "EndOfPipe",
    "Exhausted",
    "Full",
    "InternalError",
    "JobExpired",
    "JobStopped",
    "JobTimeout",
    "KeyMissing",
    "LockAbandoned",
    "MpserveError",
    "NoRoom",
    "NoSuchObject",
    "NoWorkers",
    "NotAllowed",
    "NotHeld",
    "NotSupported",
    "Overflow",
    "ProtocolViolation",
    "ServerGone",
    "ServerRestarted",
    "SessionExpired",
    "ShutDown",
    "StaleOwner",
    "TaskError",
    "TimeoutExpired",
    "TooBig",
    "WorkerDied",
    "make",
]

_KEPT: Final = "\n\t"
"""Some texts have several lines, as tracebacks do."""


class MpserveError(Exception):
    """Base of all errors of mpserve."""

    code: ClassVar[str] = "error"
    _fields: dict[str, Any] | None = None
    """None: none. An error without any, and without attributes, takes half the room; servers keep some."""

    def __init__(self, text: str = "", **fields: Any) -> None:
        super().__init__(printable(text, keep=_KEPT))
        if fields:
            self._fields = fields

    @property
    def text(self) -> str:
        """What happened, to which object, what it means and what to do."""
        text: str = self.args[0]
        return text

    @property
    def fields(self) -> dict[str, Any]:
        """What else is known, by name."""
        if self._fields is None:
            self._fields = {}
        return self._fields

    def travels(self) -> tuple[str, str, dict[str, Any]]:
        """Return what it is made of again elsewhere: code, text and fields."""
        return self.code, self.text, self._fields or {}

    def __reduce__(self) -> tuple[Any, ...]:
        return make, self.travels()


class Empty(MpserveError, queue.Empty):
    """Nothing to get, within the time given."""

    code = "empty"


class Full(MpserveError, queue.Full):
    """No room to put, within the time given."""

    code = "full"


class ShutDown(MpserveError, getattr(queue, "ShutDown", Exception)):  # type: ignore[misc]  # queue.ShutDown is new in 3.13
    """The queue was shut down."""

    code = "shut_down"


class KeyMissing(MpserveError, KeyError):
    """A dict or set has no such key; the client raises it as ``KeyError(key)``."""

    code = "no_key"

    def __str__(self) -> str:
        return self.text


class BadIndex(MpserveError, IndexError):
    """An index is out of range."""

    code = "bad_index"


class BadValue(MpserveError, ValueError):
    """An argument has the right type and no acceptable value, or a value cannot be read."""

    code = "bad_value"


class BadType(MpserveError, TypeError):
    """An argument or a stored value has the wrong type."""

    code = "bad_type"


class AttributeMissing(MpserveError, AttributeError):
    """A namespace has no such attribute."""

    code = "no_attribute"


class Overflow(MpserveError, OverflowError):
    """A number does not fit the array's type."""

    code = "overflow"


class NotHeld(MpserveError, RuntimeError, ValueError, AssertionError):
    """A lock was released by who does not hold it (threading, multiprocessing and RLock each name it
    differently).
    """

    code = "not_held"


class LockAbandoned(MpserveError, RuntimeError):
    """The holder of a lock with ``on_owner_death="raise"`` died; `recover()` takes the lock."""

    code = "abandoned"


class DeadlockError(MpserveError, RuntimeError):
    """To wait for this lock would have no end: its holder waits, over others maybe, for the caller."""

    code = "deadlock"


class AlreadyReleased(MpserveError, ValueError):
    """A bounded semaphore was released too many times, or task_done() called too many times."""

    code = "released"


class BrokenBarrierError(MpserveError, threading.BrokenBarrierError):
    """The barrier is broken: one of its parties gave up, died, or reset it."""

    code = "broken_barrier"


class BrokenPipe(MpserveError, BrokenPipeError):
    """The other end of a pipe is closed: nobody can read what is sent."""

    code = "broken_pipe"

    def __str__(self) -> str:
        return self.text


class EndOfPipe(MpserveError, EOFError):
    """The other end of a pipe is closed, and everything that was sent has been read."""

    code = "end_of_pipe"


class Exhausted(MpserveError):
    """An iterator has no more values (a stock client sees StopIteration)."""

    code = "exhausted"


class TimeoutExpired(MpserveError, TimeoutError):
    """An answer did not come in time."""

    code = "timeout"


class NoWorkers(TimeoutExpired):
    """No worker is connected to the cluster, and none came in time."""

    code = "no_workers"


class NoSuchObject(MpserveError, LookupError):
    """The server has no such object: it was deleted, or freed with its last reference."""

    code = "no_object"


class Conflict(MpserveError, ValueError):
    """An object of that name exists and is something else."""

    code = "conflict"


class NotSupported(MpserveError, TypeError, NotImplementedError):
    """The call would run users' code on the server, or is not offered; the text says what to do instead."""

    code = "not_supported"


class NotAllowed(MpserveError, PermissionError):
    """The operator did not allow this."""

    code = "not_allowed"

    def __str__(self) -> str:
        return self.text


class TooBig(MpserveError, ValueError):
    """A message or value is over a limit."""

    code = "too_big"


class NoRoom(MpserveError, OSError):
    """The server has no room for more: its disk is full, or a limit is reached."""

    code = "no_room"

    def __str__(self) -> str:
        return self.text


class InternalError(MpserveError, RuntimeError):
    """The server failed in this one call, by a mistake of its own; all other calls go on."""

    code = "internal"


class ProtocolViolation(MpserveError):
    """The peer broke the protocol; the connection is closed."""

    code = "protocol"


class ServerGone(MpserveError, ConnectionError, EOFError):
    """The server cannot be reached, or said that it stops."""

    code = "server_gone"

    def __str__(self) -> str:
        return self.text


class ServerRestarted(ServerGone):
    """The server was restarted without its state: the objects of before are gone."""

    code = "server_restarted"


class SessionExpired(ServerGone):
    """The server ended this client's session: it was silent for too long."""

    code = "session_expired"


class StaleOwner(SessionExpired):
    """This thread held something when the server ended its program's session; it was handed on.

    Every call of the thread raises this until it has released what it thinks it holds.
    """

    code = "stale_owner"


class TaskError(MpserveError):
    """A job failed in its worker; carries the remote traceback as text.

    Attributes: `task` what was run; `host`, `pid`, `worker` where; `traceback` the remote traceback.
    """

    code = "task"

    def __init__(self, text: str = "", **fields: Any) -> None:
        super().__init__(text, **fields)
        self.task = str(fields.get("task", ""))
        self.host = str(fields.get("host", ""))
        pid = fields.get("pid", 0)
        self.pid = pid if type(pid) is int else 0  # fields are what a peer says
        self.worker = str(fields.get("worker", ""))
        self.traceback = printable(str(fields.get("traceback", "")), keep=_KEPT)

    def __str__(self) -> str:
        return f"{self.text}\n{self.traceback}" if self.traceback else self.text


class WorkerDied(TaskError):
    """The worker process died while it ran the job, as often as attempts are allowed; the job was set
    aside.
    """

    code = "worker_died"


class JobExpired(TaskError, TimeoutError):
    """The job was not begun before it expired."""

    code = "job_expired"


class JobTimeout(TaskError, TimeoutError):
    """The job ran for longer than its timeout, and its process was killed."""

    code = "job_timeout"


class JobStopped(TaskError):
    """The job was cancelled while it ran."""

    code = "job_stopped"


def _classes() -> dict[str, type[MpserveError]]:
    return {c.code: c for c in globals().values() if isinstance(c, type) and issubclass(c, MpserveError)}


_BY_CODE = _classes()


def make(code: str, text: str, fields: dict[str, Any] | None = None) -> MpserveError:
    """Return the exception for what came over the wire; an unknown code gives the base class.

    Its text is one line, but for those of a job, which its worker wrote.
    """
    fields = {k: v for k, v in (fields or {}).items() if type(k) is str and k not in {"self", "text"}}
    kind = _BY_CODE.get(code, MpserveError)
    return kind(text if issubclass(kind, TaskError) else printable(text), **fields)
