"""Lock: as `threading.Lock` and `multiprocessing.Lock`; anybody may release it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from mpclient.objects.base import Held, Proxy
from mpclient.objects.readers import as_bool, as_int, nothing
from mpclient.objects.waiting import lock_timeout
from mpshared.errors import DeadlockError, LockAbandoned, NotHeld
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from types import TracebackType

    from mpshared.ops import Op

__all__ = ["CLASSES", "HasLockOps", "Lock", "Mutex"]


class HasLockOps(Held):
    """A lock, whoever drives its calls: which operations are its kind's."""

    __slots__ = ()

    _ACQUIRE: ClassVar[Op]
    _RELEASE: ClassVar[Op]
    _LOCKED: ClassVar[Op]
    _RECOVER: ClassVar[Op]
    _FENCE: ClassVar[Op]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "kind" in vars(cls):
            names = "acquire", "release", "locked", "recover", "get_fence"
            ops = [BY_NAME[f"{cls.kind}.{name}"] for name in names]
            cls._ACQUIRE, cls._RELEASE, cls._LOCKED, cls._RECOVER, cls._FENCE = ops


class Mutex(HasLockOps, Proxy):
    """What Lock, RLock and Condition share: acquire, release, recover, and the `with` statement."""

    __slots__ = ()

    def acquire(
        self, blocking: bool = True, timeout: float | None = None, *, block: bool | None = None
    ) -> bool:
        """Take the lock; return whether it was taken.

        Args:
            blocking: False does not wait.
            timeout: Seconds; None and -1 wait for ever.
            block: The same as `blocking`, as `multiprocessing` calls it; with its rules for the timeout.

        Raises:
            ValueError: A timeout without blocking, or a negative one that `threading` refuses.
            LockAbandoned: Its holder died, and it was made with ``on_owner_death="raise"``.
            DeadlockError: Its holder waits, over others maybe, for this thread, and one of the locks was made
                with ``deadlock="raise"``.
        """
        timeout_s = lock_timeout(blocking, timeout, block)
        return self._take(self._ACQUIRE, timeout_s, read=as_bool)

    def recover(self) -> bool:
        """Take a lock whose holder died, before all who wait for it; return whether there was such a thing.

        False: its holder lives, or somebody else was faster; nothing is taken then. Who has taken it puts
        right what the dead one may have left half done, and releases it.
        """
        return self._take(self._RECOVER, read=as_bool)

    def release(self) -> None:
        """Release the lock; the one who waits longest has it then.

        Raises:
            NotHeld: Nobody holds it (a RuntimeError and a ValueError).
        """
        return self._finish(self._RELEASE, read=nothing)

    def locked(self) -> bool:
        """Return whether somebody holds it."""
        return self._call(self._LOCKED, read=as_bool)

    @property
    def fence(self) -> int:
        """The number of this holder: higher than that of every holder before, of any lock of this name.

        An outside system that refuses lower numbers than it has seen is safe from holders that were stopped
        for so long that the lock was handed on.

        Raises:
            NotHeld: This program (of an RLock: this thread) does not hold it.
        """
        return self._call(self._FENCE, read=as_int)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc is not None and isinstance(exc, DeadlockError | LockAbandoned) and self._is_lost(exc):
            return None
        return self._finish(self._RELEASE, read=nothing)

    def _is_lost(self, error: DeadlockError | LockAbandoned) -> bool:
        """Tell whether a condition's wait ended without the lock it began with, as `error` says."""
        if self._handle.ident not in (error.fields.get("lock"), error.fields.get("condition")):
            return False
        try:
            _ = self.fence
        except NotHeld:
            return True
        return False


class Lock(Mutex):
    """A lock that many hosts share. When its holder's process dies the next waiter has it."""

    __slots__ = ()

    kind: ClassVar[str] = "lock"


CLASSES: Final[dict[str, type[Proxy]]] = {"Lock": Lock}
