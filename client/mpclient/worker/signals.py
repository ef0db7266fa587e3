"""Who does what on which signal.

| signal  | supervisor                              | worker process                         |
|---------|-----------------------------------------|----------------------------------------|
| SIGTERM | stop in order; the second time: at once | the same as `stop` from its supervisor |
| SIGINT  | the same                                | nothing: Ctrl-C is for the supervisor  |
| SIGCHLD | look which worker process ended         | the default                            |

RULES
* A signal of ours breaks a call on the server, which the tender has seen wait: it arms the `Breaker` and
  sends SIGTERM to the main thread, whose handler raises `Interrupted`. Or it breaks a job that is to end:
  then the handler raises what `interrupt` was told to, if that job still runs.
* A job may set handlers of its own; ours are put back before each wait.
* A process that a job forks gets the default handlers: its parent must be able to terminate it, from the
  first moment. So SIGTERM is blocked during the fork: Python forgets what comes between fork and the
  child's first step.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from _signal import signal as set_handler  # type: ignore[import-not-found]  # `signal.signal` takes 9 µs
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Final, Self

__all__ = ["Breaker", "Interrupted", "SupervisorSignals", "do_nothing"]

STOPS: Final = (signal.SIGTERM, signal.SIGINT)


class SupervisorSignals:
    """The supervisor's signals as bytes on a socket; `with` puts the old handlers back."""

    def __init__(self) -> None:
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self.stops: list[int] = []
        """Numbers of the stop signals that came, in order."""

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in (*STOPS, signal.SIGCHLD)}
        for number in STOPS:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, do_nothing)
        self._wakeup = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._ear.close()
        self._bell.close()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.stops.append(number)

    def fileno(self) -> int:
        """Return what becomes readable when a signal came, or `wake` was called."""
        return self._ear.fileno()

    def wake(self) -> None:
        """Make the loop turn; from any thread."""
        with suppress(OSError):  # full: it turns anyway; closed: it is over
            self._bell.send(b"\0")

    def clear(self) -> None:
        """Forget the bytes that woke the loop."""
        with suppress(BlockingIOError):
            while self._ear.recv(4096):
                pass

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the next signal."""
        select.select([self._ear], [], [], seconds)


class Interrupted(BaseException):
    """A call on the server was broken, because this process is to stop."""


class Breaker:
    """Lets another thread break the main thread's calls on the server, and nothing else.

    Made in the main thread.
    """

    def __init__(self, ask_stop: Callable[[], None]) -> None:
        self._ask_stop = ask_stop
        self._main = threading.get_ident()
        self._since_s: float | None = None
        self._patience_s = 0.0
        self._armed = False
        self._interruption: Callable[[], BaseException | None] | None = None
        """Called in the main thread: returns what to raise there, if the job that it is for still runs."""
        self.forked = False
        """Whether this is a process that a job forked."""
        self._mask = threading.local()
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._unblock, after_in_child=self._after_fork
        )
        signal.signal(signal.SIGINT, do_nothing)
        signal.signal(signal.SIGTERM, self._on_term)

    def enter(self, patience_s: float) -> None:
        """From now on the main thread may be broken, once it has waited for `patience_s` seconds."""
        set_handler(signal.SIGTERM, self._on_term)
        self._patience_s = patience_s
        self._since_s = time.monotonic()

    def leave(self) -> None:
        """From now on it may not."""
        self._since_s = None

    @property
    def is_entered(self) -> bool:
        """Whether the main thread is between `enter` and `leave`: it runs no job."""
        return self._since_s is not None

    def break_call(self) -> None:
        """Break the main thread's call, if there is one that has waited long enough. From another thread."""
        since_s = self._since_s
        if since_s is not None and time.monotonic() - since_s >= self._patience_s:
            self._armed = True
            signal.pthread_kill(self._main, signal.SIGTERM)

    def interrupt(self, interruption: Callable[[], BaseException | None]) -> None:
        """Raise in the main thread what `interruption`, called there, returns. From another thread."""
        self._interruption = interruption
        signal.pthread_kill(self._main, signal.SIGTERM)

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            if (error := interruption()) is not None:
                raise error
            return
        if not self._armed:
            self._ask_stop()
            return
        self._armed = False
        if self._since_s is not None:
            self._since_s = None
            raise Interrupted

    def _before_fork(self) -> None:
        self._mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask.before)

    def _after_fork(self) -> None:
        self.forked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whichever thread forked is the child's main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._unblock()


def do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. As this is a handler, the wakeup descriptor is written, and no job's child inherits it."""
