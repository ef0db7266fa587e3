"""Lock: as `threading.Lock` and `multiprocessing.Lock`; anybody may release it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from mpclient.objects.base import Proxy
from mpclient.objects.readers import as_bool, nothing
from mpclient.objects.waiting import lock_timeout
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from types import TracebackType

    from mpshared.ops import Op

__all__ = ["CLASSES", "Lock", "Mutex"]


class Mutex(Proxy):
    """What Lock, RLock and Condition share: acquire, release, and the `with` statement."""

    __slots__ = ()

    _ACQUIRE: ClassVar[Op]
    _RELEASE: ClassVar[Op]
    _LOCKED: ClassVar[Op]

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
        """
        timeout_s = lock_timeout(blocking, timeout, block)
        return self._take(self._ACQUIRE, timeout_s, read=as_bool)

    def release(self) -> None:
        """Release the lock; the one who waits longest has it then.

        Raises:
            NotHeld: Nobody holds it (a RuntimeError and a ValueError).
        """
        return self._call(self._RELEASE, read=nothing)

    def locked(self) -> bool:
        """Return whether somebody holds it."""
        return self._call(self._LOCKED, read=as_bool)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        return self._call(self._RELEASE, read=nothing)


class Lock(Mutex):
    """A lock that many hosts share. When its holder's process dies the next waiter has it."""

    __slots__ = ()

    kind: ClassVar[str] = "lock"
    _ACQUIRE: ClassVar[Op] = BY_NAME["lock.acquire"]
    _RELEASE: ClassVar[Op] = BY_NAME["lock.release"]
    _LOCKED: ClassVar[Op] = BY_NAME["lock.locked"]


CLASSES: Final[dict[str, type[Proxy]]] = {"Lock": Lock}
