"""Nested work: what this process has submitted to pools of its own and has no result of yet.

A job that waits for jobs of its own must not keep the slot that those need: the worker's tender watches what
is outstanding here, and lends the slot (`docs/explanation/worker.md`).

RULES
* Pools count here in every process: `submitted` before jobs are sent, `settled` when their results have come,
  when they were cancelled, or when the pool is given up. In programs nobody watches, and that is all.
* When a slot cannot be lent and nobody else runs the jobs, everybody who `listen`s hears why: whoever waits
  for such jobs raises `NoWorkers` with that text instead of waiting for ever.
* A forked child has submitted nothing.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

__all__ = ["listen", "outstanding", "refuse", "settled", "submitted", "watch"]


class Listener(Protocol):
    """Who waits for nested jobs."""

    def nested_refused(self, text: str) -> None:
        """Hear that nobody may ever run them; from any thread."""


class _State:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.watcher: Callable[[], Any] | None = None
        self.listeners: weakref.WeakSet[Any] = weakref.WeakSet()


_state: Final = _State()


def submitted(n: int) -> None:
    """Count `n` more jobs of this process's pools."""
    with _state.lock:
        first = not _state.count
        _state.count += n
    if first and _state.watcher is not None:
        _state.watcher()


def settled(n: int) -> None:
    """Count `n` fewer: their results are here, or will never come."""
    with _state.lock:
        _state.count -= n
        last = not _state.count
    if last and _state.watcher is not None:
        _state.watcher()


def outstanding() -> int:
    """Return how many jobs of this process's pools are unfinished."""
    return _state.count


def listen(listener: Listener) -> None:
    """Have `listener.nested_refused` called when no slot can be lent; kept weakly."""
    with _state.lock:
        _state.listeners.add(listener)


def watch(watcher: Callable[[], Any]) -> None:
    """Have `watcher` called when the first job becomes outstanding, and when none is; for the worker.

    It is called in whichever thread counts, and must not wait.
    """
    _state.watcher = watcher


def refuse(text: str) -> None:
    """Tell all who listen that no slot can be lent, and why."""
    with _state.lock:
        listeners = list(_state.listeners)
    for listener in listeners:
        listener.nested_refused(text)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.__init__)  # type: ignore[misc]  # nothing of the parent's holds here
