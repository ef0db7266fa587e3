"""Which task has which lane, and which it had in a term that is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from mpclient.aio.lane import Lane

__all__ = ["TaskLanes", "this_task"]


class TaskLanes:
    """The lanes of all tasks of a session."""

    def __init__(self) -> None:
        self._now: WeakKeyDictionary[asyncio.Task[Any], Lane] = WeakKeyDictionary()
        self._before: WeakKeyDictionary[asyncio.Task[Any], Lane] = WeakKeyDictionary()

    def find(self) -> Lane | None:
        """Return the lane of the task that runs."""
        return self._now.get(this_task())

    def before(self) -> list[Lane]:
        """Return the lane through which the task that runs may have held something in a term that is over."""
        lane = self._before.get(this_task())
        return [] if lane is None else [lane]

    def enter(self, lane: Lane) -> None:
        """Give the task that runs a lane."""
        self._now[this_task()] = lane

    def leave(self, lane: Lane) -> None:
        """Have the next call of the task that runs begin anew if its term is over."""
        task = this_task()
        if lane.term.over is not None and self._now.get(task) is lane:
            del self._now[task]
            if lane.sent:
                self._before[task] = lane

    def pop(self, task: asyncio.Task[Any]) -> Lane | None:
        """Forget a task that has ended; return the lane that it had."""
        return self._now.pop(task, None)


def this_task() -> asyncio.Task[Any]:
    """Return the task that runs."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("shared objects are used in tasks of asyncio: each task has its own line of calls")
    return task
