"""Semaphore and BoundedSemaphore: as in `threading`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from mpclient.objects.base import Proxy
from mpclient.objects.readers import as_bool, as_int, is_zero, nothing
from mpclient.objects.waiting import semaphore_timeout
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from types import TracebackType

    from mpshared.ops import Op

__all__ = ["CLASSES", "BoundedSemaphore", "Semaphore"]

_ACQUIRE: Final[Op] = BY_NAME["semaphore.acquire"]
_RELEASE: Final[Op] = BY_NAME["semaphore.release"]
_GET_VALUE: Final[Op] = BY_NAME["semaphore.get_value"]


class Semaphore(Proxy):
    """So many permits. Those of a process that dies return."""

    __slots__ = ()

    kind: ClassVar[str] = "semaphore"

    def acquire(
        self, blocking: bool = True, timeout: float | None = None, *, block: bool | None = None
    ) -> bool:
        """Take a permit; return whether there was one.

        Args:
            blocking: False does not wait.
            timeout: Seconds; None waits for ever.
            block: The same as `blocking`, as `multiprocessing` calls it.

        Raises:
            ValueError: A timeout without blocking.
        """
        timeout_s = semaphore_timeout(blocking, timeout, block)
        return self._take(_ACQUIRE, timeout_s, read=as_bool)

    def release(self, n: int = 1) -> None:
        """Give back `n` permits.

        Raises:
            ValueError: `n` is less than one; or a bounded one would have more than it began with.
        """
        return self._finish(_RELEASE, n, read=nothing)

    def get_value(self) -> int:
        """Return how many permits are free."""
        return self._call(_GET_VALUE, read=as_int)

    def locked(self) -> bool:
        """Return whether no permit is free."""
        return self._call(_GET_VALUE, read=is_zero)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        return self._call(_RELEASE, 1, read=nothing)


class BoundedSemaphore(Semaphore):
    """A semaphore that never has more permits than it began with."""

    __slots__ = ()

    flavour: ClassVar[str] = "BoundedSemaphore"


CLASSES: Final[dict[str, type[Proxy]]] = {"Semaphore": Semaphore, "BoundedSemaphore": BoundedSemaphore}
