"""What callers write as block and timeout, as the one number that travels: seconds; None: for ever; 0: not.

The standard library has five conventions; each function here is one of them, exceptions included.
"""

from __future__ import annotations

import math
from threading import TIMEOUT_MAX

__all__ = [
    "event_timeout",
    "join_timeout",
    "lock_timeout",
    "queue_timeout",
    "semaphore_timeout",
    "unused_timeout",
]

_FOREVER = -1


def lock_timeout(blocking: bool, timeout: float | None, block: bool | None) -> float | None:
    """Read the arguments of `Lock.acquire`.

    Args:
        blocking: As `threading` and manager locks have it.
        timeout: Seconds; None or -1 wait for ever.
        block: As `multiprocessing` has it, None if not given. Then a negative timeout counts as 0, and
            without blocking it does not matter.

    Raises:
        ValueError: A timeout without blocking, or a negative one, where `threading` refuses it.
    """
    if block is not None:
        return _acquire_timeout(block, timeout)
    if timeout is None or timeout == _FOREVER:
        return None if blocking else 0
    if not blocking:
        raise ValueError("can't specify a timeout for a non-blocking call")
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    return _seconds(timeout)


def semaphore_timeout(blocking: bool, timeout: float | None, block: bool | None) -> float | None:
    """Read the arguments of `Semaphore.acquire`; a negative timeout does not wait.

    Raises:
        ValueError: A timeout without blocking, as `threading` refuses it.
    """
    if block is not None:
        return _acquire_timeout(block, timeout)
    if not blocking:
        if timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        return 0
    return _seconds(timeout)


def queue_timeout(block: bool, timeout: float | None) -> float | None:
    """Read the arguments of `Queue.get` and `put`.

    Raises:
        ValueError: A negative timeout, if it blocks.
    """
    if not block:
        return 0
    if timeout is None:
        return None
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return _seconds(timeout)


def event_timeout(timeout: float | None) -> float | None:
    """Read the timeout of `wait` for a signal, as an Event's, and of a `put` of `multiprocessing`; a negative
    one does not wait.
    """
    return _or_for_ever(timeout)


def join_timeout(timeout: float | None) -> float | None:
    """Read the timeout of `join`, `poll`, `wait` for connections, results, and of a `get` of
    `multiprocessing`; a negative one does not wait.
    """
    return _seconds(timeout)


def _acquire_timeout(block: bool, timeout: float | None) -> float | None:
    """Read the arguments of `acquire` as `multiprocessing` has them."""
    if timeout is None:
        return None if block else 0
    return _or_for_ever(timeout) if block else unused_timeout(timeout)


def unused_timeout(timeout: float) -> int:
    """Read the timeout of what does not wait: `multiprocessing` wants a number there all the same."""
    math.isnan(timeout)
    return 0


def _or_for_ever(timeout: float | None) -> float | None:
    """Read a timeout of what `multiprocessing` makes of its semaphores, which wait for any time."""
    return _seconds(timeout, most_s=math.inf)


def _seconds(timeout: float | None, most_s: float = TIMEOUT_MAX) -> float | None:
    """Return a plain number >= 0, or None for ever: what is longer than `threading` can wait.

    Raises:
        OverflowError: It is longer than `most_s`; infinity is for ever.
    """
    if timeout is None or timeout == math.inf:
        return None
    if math.isnan(timeout):
        raise ValueError("Invalid value NaN (not a number)")
    if timeout > most_s:
        raise OverflowError("timeout value is too large")
    return None if timeout > TIMEOUT_MAX else max(0.0, float(timeout))
