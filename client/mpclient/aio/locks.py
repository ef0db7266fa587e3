"""Locks, semaphores, events, conditions and barriers, awaited.

An RLock and a Condition belong to the task that took them: `asyncio.wait_for` before Python 3.12 runs what it
is given in a task of its own; use `timeout=` instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from mpclient.aio.base import AsyncProxy, awaited
from mpclient.objects import t_barrier, t_condition, t_event, t_lock, t_semaphore
from mpclient.objects.readers import as_bool, as_int, nothing, plain
from mpclient.objects.waiting import event_timeout
from mpshared.errors import BrokenBarrierError, DeadlockError, LockAbandoned, MpserveError, NotHeld
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from types import TracebackType

    from mpshared.ops import Op

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "Mutex", "RLock", "Semaphore"]

_WAIT: Final[Op] = BY_NAME["condition.wait"]
_HOLD_AGAIN: Final[Op] = BY_NAME["condition.hold_again"]
_BARRIER_WAIT: Final[Op] = BY_NAME["barrier.wait"]
_ACTION_DONE: Final[Op] = BY_NAME["barrier.action_done"]
_RELEASE: Final[Op] = BY_NAME["semaphore.release"]

T = TypeVar("T")


class Mutex(t_lock.HasLockOps, AsyncProxy):
    """What Lock, RLock and Condition share."""

    __slots__ = ()

    acquire = awaited(t_lock.Mutex.acquire)
    release = awaited(t_lock.Mutex.release)
    locked = awaited(t_lock.Mutex.locked)
    recover = awaited(t_lock.Mutex.recover)

    async def fence(self) -> int:
        """Return the number of this holder; see `mpclient.objects.t_lock.Mutex.fence`."""
        return await self._call(self._FENCE, read=as_int)

    async def __aenter__(self) -> bool:
        return await self.acquire()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(exc, DeadlockError | LockAbandoned) and await self._is_lost(exc):
            return
        await self._finish(self._RELEASE, read=nothing)

    async def _is_lost(self, error: DeadlockError | LockAbandoned) -> bool:
        """Tell whether a condition's wait ended without the lock it began with, as `error` says."""
        if self._handle.ident not in (error.fields.get("lock"), error.fields.get("condition")):
            return False
        try:
            await self.fence()
        except NotHeld:
            return True
        return False


class Lock(Mutex):
    """A lock that many hosts share. When its holder's process dies the next waiter has it."""

    __slots__ = ()

    kind: ClassVar[str] = "lock"


class RLock(Mutex):
    """A lock of one task of one program, somewhere. It is handed on when that task or program ends."""

    __slots__ = ()

    kind: ClassVar[str] = "rlock"


class Condition(Mutex):
    """A lock whose holders can wait for each other, on all hosts."""

    __slots__ = ()

    kind: ClassVar[str] = "condition"

    notify = awaited(t_condition.Condition.notify)
    notify_all = awaited(t_condition.Condition.notify_all)

    async def wait(self, timeout: float | None = None) -> bool:
        """Give the lock up, wait for a notify, take the lock again.

        Cancelled, it first takes the lock again, as `asyncio.Condition` does: an ``async with`` around it
        releases it.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            Whether a notify came; False after `timeout` seconds without one.

        Raises:
            NotHeld: This task does not hold the lock (a RuntimeError).
            LockAbandoned: As `mpclient.objects.t_condition.Condition.wait`.
        """
        timeout_s = event_timeout(timeout)
        try:
            return await self._call(_WAIT, timeout_s, read=as_bool)
        except asyncio.CancelledError:
            await _whatever_comes(lambda: self._call(_HOLD_AGAIN, read=nothing))
            raise

    async def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until `predicate`, called with the lock held, returns something true; return its last answer.

        Args:
            predicate: Runs in this program; no coroutine.
            timeout: Seconds for all waiting together.
        """
        deadline_s = None if timeout is None else time.monotonic() + timeout
        while not (answer := predicate()):
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                break
            await self.wait(left_s)
        return answer


async def _whatever_comes(step: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do a step of this very task although it is cancelled, once more each time it is cancelled in there."""
    while True:
        try:
            with suppress(MpserveError):  # the session is over: there is nothing to hold
                await step()
            return
        except asyncio.CancelledError:
            continue


class Semaphore(AsyncProxy):
    """So many permits. Those of a program that dies return."""

    __slots__ = ()

    kind: ClassVar[str] = "semaphore"

    acquire = awaited(t_semaphore.Semaphore.acquire)
    release = awaited(t_semaphore.Semaphore.release)
    get_value = awaited(t_semaphore.Semaphore.get_value)
    locked = awaited(t_semaphore.Semaphore.locked)

    async def __aenter__(self) -> bool:
        return await self.acquire()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._finish(_RELEASE, 1, read=nothing)


class BoundedSemaphore(Semaphore):
    """A semaphore that never has more permits than it began with."""

    __slots__ = ()

    flavour: ClassVar[str] = "BoundedSemaphore"


class Event(AsyncProxy):
    """A flag that any host sets and any host waits for."""

    __slots__ = ()

    kind: ClassVar[str] = "event"

    set = awaited(t_event.Event.set)
    clear = awaited(t_event.Event.clear)
    is_set = awaited(t_event.Event.is_set)
    wait = awaited(t_event.Event.wait)


class Barrier(t_barrier.HasAction, AsyncProxy):
    """A meeting point of so many tasks, threads or processes, on any hosts."""

    __slots__ = ()

    reset = awaited(t_barrier.Barrier.reset)
    abort = awaited(t_barrier.Barrier.abort)
    status = awaited(t_barrier.Barrier._status)

    async def wait(self, timeout: float | None = None) -> int:
        """Wait until all parties are here; return this one's number, from 0 in order of arrival.

        Args:
            timeout: Seconds, after which the barrier breaks for all; None: the barrier's own, if it has one.

        Raises:
            BrokenBarrierError: It is broken, breaks, or is reset. If the action raised, that is raised in the
                party that ran it.
        """
        index, must_act = await self._call(_BARRIER_WAIT, event_timeout(timeout), read=plain)
        if must_act:
            await self._act()
        return int(index)

    async def __aenter__(self) -> int:
        return await self.wait()

    async def __aexit__(self, *_: object) -> None:
        """Do nothing: who has passed it has passed it, as with `asyncio.Barrier`."""

    async def _act(self) -> None:
        """Run the action and let the others go on; if it fails, or this copy has none, the barrier breaks."""
        done = False
        try:
            if self._action is None:
                raise BrokenBarrierError(t_barrier.NO_ACTION.format(self._label))
            outcome = self._action()
            if isawaitable(outcome):
                await outcome
            done = True
        finally:
            await self._finish(_ACTION_DONE, done, read=nothing)
