"""The synchronisation primitives as `threading` shows them."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from mpserve.dispatch.faces.arguments import duration_s, flag, whole
from mpserve.dispatch.faces.base import Face, nothing
from mpshared import symbolic

__all__ = ["BarrierFace", "ConditionFace", "EventFace", "LockFace", "RLockFace", "SemaphoreFace"]


def _lock_wait_s(blocking: Any, timeout: Any) -> float | None:
    """Return blocking and timeout as one duration, checked as `threading.Lock.acquire` does."""
    if timeout is None:
        raise TypeError("'NoneType' object cannot be interpreted as an integer or float")
    wait_s = duration_s(timeout)
    if not flag(blocking):
        if wait_s != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0.0
    if wait_s == -1:
        return None
    if wait_s < 0:
        raise ValueError("timeout value must be a non-negative number")
    if wait_s > threading.TIMEOUT_MAX:
        raise OverflowError("timeout value is too large")
    return wait_s


def _seconds(timeout: Any) -> float | None:
    return None if timeout is None else max(0.0, duration_s(timeout))


class LockFace(Face):
    """A `threading.Lock`."""

    kind = "lock"
    title = "Lock"
    EXPOSED: ClassVar[tuple[str, ...]] = ("acquire", "locked", "release")

    def acquire(self, blocking: Any = True, timeout: Any = -1) -> Any:
        return self._plan("acquire", _lock_wait_s(blocking, timeout))

    def release(self) -> Any:
        return self._plan("release", then=nothing)

    def locked(self) -> Any:
        return self._plan("locked")

    def m__repr__(self) -> Any:
        return self._plan(
            "locked",
            then=lambda held, _: f"<{'locked' if held else 'unlocked'} mpserve {self.kind} {self._ident}>",
        )


class RLockFace(LockFace):
    """A `threading.RLock`."""

    kind = "rlock"
    title = "RLock"


class SemaphoreFace(Face):
    """A `threading.Semaphore` or `BoundedSemaphore`."""

    kind = "semaphore"
    title = "Semaphore"
    EXPOSED: ClassVar = ("acquire", "locked", "release")

    def acquire(self, blocking: Any = True, timeout: Any = None) -> Any:
        blocking = flag(blocking)
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        return self._plan("acquire", _seconds(timeout) if blocking else 0.0)

    def release(self, n: Any = 1) -> Any:
        if whole(n) < 1:
            raise ValueError("n must be one or more")
        return self._plan("release", int(n), then=nothing)

    def locked(self) -> Any:
        return self._plan("get_value", then=lambda value, _: value == 0)


class EventFace(Face):
    """A `threading.Event`."""

    kind = "event"
    title = "Event"
    EXPOSED: ClassVar = ("clear", "is_set", "set", "wait")

    def is_set(self) -> Any:
        return self._plan("is_set")

    def set(self) -> Any:
        return self._plan("set", then=nothing)

    def clear(self) -> Any:
        return self._plan("clear", then=nothing)

    def wait(self, timeout: Any = None) -> Any:
        return self._plan("wait", _seconds(timeout))

    def m__repr__(self) -> Any:
        return self._plan(
            "is_set", then=lambda is_set, _: f"<mpserve event {self._ident}: {'set' if is_set else 'unset'}>"
        )


class ConditionFace(LockFace):
    """A `threading.Condition`."""

    kind = "condition"
    title = "Condition"
    EXPOSED: ClassVar = ("acquire", "locked", "notify", "notify_all", "release", "wait")

    def wait(self, timeout: Any = None) -> Any:
        return self._plan("wait", _seconds(timeout))

    def notify(self, n: Any = 1) -> Any:
        return self._plan("notify", max(0, whole(n)), then=nothing)

    def notify_all(self) -> Any:
        return self._plan("notify_all", then=nothing)


class BarrierFace(Face):
    """A `threading.Barrier`; a barrier with an action is refused where it is created."""

    kind = "barrier"
    title = "Barrier"
    EXPOSED: ClassVar = ("__getattribute__", "abort", "reset", "wait")

    def wait(self, timeout: Any = None) -> Any:
        return self._plan("wait", _seconds(timeout), then=lambda seat, _: seat[0])

    def abort(self) -> Any:
        return self._plan("abort", then=nothing)

    def reset(self) -> Any:
        return self._plan("reset", then=nothing)

    def m__getattribute__(self, name: Any) -> Any:
        known = ("parties", "n_waiting", "broken")
        if not isinstance(name, str) or name not in known:
            raise AttributeError(
                f"'Barrier' object has no attribute {symbolic.text(name, limit=80)} that is shared; there "
                "are parties, n_waiting and broken"
            )
        return self._plan("status", then=lambda state, _: state[known.index(name)])
