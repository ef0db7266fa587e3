"""Queue and JoinableQueue as `queue.Queue` shows them. A stock `get` takes for good once its reply has
left.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mpserve.dispatch.faces.arguments import duration_s, flag
from mpserve.dispatch.faces.base import Face, nothing, only, store

__all__ = ["QueueFace"]


def _wait_s(block: Any, timeout: Any) -> float | None:
    """Return block and timeout as one duration, checked as queue.Queue does."""
    if not flag(block):
        return 0.0
    if timeout is None:
        return None
    wait_s = duration_s(timeout)
    if wait_s < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return wait_s


class QueueFace(Face):
    """A `queue.Queue`."""

    kind = "queue"
    title = "Queue"
    EXPOSED: ClassVar = (
        "empty",
        "full",
        "get",
        "get_nowait",
        "join",
        "put",
        "put_nowait",
        "qsize",
        "shutdown",
        "task_done",
    )
    STORES: ClassVar = frozenset({"put", "put_nowait"})

    def put(self, item: Any, block: Any = True, timeout: Any = None) -> Any:
        return self._plan("put", _wait_s(block, timeout), values=[store(item)], then=nothing)

    def put_nowait(self, item: Any) -> Any:
        return self.put(item, block=False)

    def get(self, block: Any = True, timeout: Any = None) -> Any:
        return self._plan("get", _wait_s(block, timeout), False, then=only)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def qsize(self) -> Any:
        return self._plan("qsize")

    def empty(self) -> Any:
        return self._plan("qsize", then=lambda size, _: size == 0)

    def full(self) -> Any:
        return self._plan("full")

    def task_done(self) -> Any:
        return self._plan("task_done", 1, then=nothing)

    def join(self) -> Any:
        return self._plan("join", None, then=nothing)

    def shutdown(self, immediate: Any = False) -> Any:
        return self._plan("shutdown", flag(immediate), then=nothing)
