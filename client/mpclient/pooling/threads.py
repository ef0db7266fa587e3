"""The threads of a pool, which begin with its first job.

RULES
* Who waits for their end, or asks whether one lives, waits until all are started: one that has not begun
  cannot be joined, and does not live.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["NoThreads", "Threads", "report"]


class NoThreads(RuntimeError):
    """The system gives no more threads, or Python ends."""


class Threads:
    """None at first; false until then."""

    def __init__(self) -> None:
        self._all: tuple[threading.Thread, ...] = ()
        self._starting = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def is_current(self) -> bool:
        """Whether the caller is one of them."""
        return threading.current_thread() in self._all

    @property
    def first(self) -> threading.Thread:
        """The one that was started first."""
        with self._starting:
            return self._all[0]

    def start(self, run: Callable[[Callable[[], None]], None], **works: Callable[[], None]) -> None:
        """Have each of `works` run by `run`, in a daemon thread of its name.

        Raises:
            NoThreads: One cannot be started.
        """
        with self._starting:
            self._all = tuple(
                threading.Thread(target=run, args=(work,), name=f"mpserve-{name}", daemon=True)
                for name, work in works.items()
            )
            try:
                for thread in self._all:
                    thread.start()
            except RuntimeError as err:
                raise NoThreads(f"the pool has no threads to work with: {err}") from err
            finally:  # where one could not be started, or who starts them is interrupted
                self._all = tuple(thread for thread in self._all if thread.ident is not None)

    def join(self, limit_s: float) -> None:
        """Wait for their end, `limit_s` for each; not where the caller is one of them."""
        if self.is_current:
            return
        with self._starting:
            threads = self._all
        for thread in threads:
            thread.join(limit_s)


def report(err: Exception) -> None:
    """Report what a function of the user's raised, as a thread's uncaught exception is."""
    told = (type(err), err, err.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(told))
