"""Condition: as `threading.Condition`, on a shared Lock or RLock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from mpclient.objects.readers import as_bool, nothing
from mpclient.objects.t_lock import Mutex
from mpclient.objects.waiting import event_timeout
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.objects.base import Proxy
    from mpshared.ops import Op

__all__ = ["CLASSES", "Condition"]

_WAIT: Final[Op] = BY_NAME["condition.wait"]
_HOLD_AGAIN: Final[Op] = BY_NAME["condition.hold_again"]
_NOTIFY: Final[Op] = BY_NAME["condition.notify"]
_NOTIFY_ALL: Final[Op] = BY_NAME["condition.notify_all"]

T = TypeVar("T")


class Condition(Mutex):
    """A lock whose holders can wait for each other, on all hosts."""

    __slots__ = ()

    kind: ClassVar[str] = "condition"

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock up, wait for a notify, take the lock again.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            Whether a notify came; False after `timeout` seconds without one.

        Raises:
            NotHeld: This thread does not hold the lock (a RuntimeError).
            LockAbandoned, DeadlockError: As `acquire`, when it is to take the lock again. This thread does
                not hold it then; a `with` around it knows.

        An interruption (Ctrl-C) first takes the lock again, as in `threading`, so that a `with` around it can
        release it.
        """
        timeout_s = event_timeout(timeout)
        session = self._handle.session
        before = session.before_call()
        try:
            return self._call(_WAIT, timeout_s, read=as_bool)
        except MpserveError:
            raise
        except BaseException:
            self._take_back(before)
            if session.calls() != before:
                self._call(_HOLD_AGAIN, read=nothing)
            raise

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until `predicate`, called with the lock held, returns something true; return its last answer.

        Args:
            predicate: Runs in this process.
            timeout: Seconds for all waiting together.
        """
        deadline_s = None if timeout is None else time.monotonic() + timeout
        while not (answer := predicate()):
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                break
            self.wait(left_s)
        return answer

    def notify(self, n: int = 1) -> None:
        """Wake `n` of those who wait, those who came first.

        Raises:
            NotHeld: This thread does not hold the lock (a RuntimeError).
        """
        return self._call(_NOTIFY, n, read=nothing)

    def notify_all(self) -> None:
        """Wake everybody who waits; see `notify`."""
        return self._call(_NOTIFY_ALL, read=nothing)


CLASSES: Final[dict[str, type[Proxy]]] = {"Condition": Condition}
