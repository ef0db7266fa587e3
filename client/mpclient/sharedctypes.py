"""`multiprocessing.sharedctypes`: shared numbers and arrays of the default cluster.

RULES
* What is shared is held by the server as numbers; there is no memory of `ctypes` behind it. So what needs
  such memory (`copy`, `synchronized`) is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from mpclient.context import default_context
from mpclient.objects.synchronized import Synchronized
from mpclient.objects.synchronized import Synchronized as SynchronizedBase
from mpclient.objects.t_array import Array as SynchronizedArray
from mpclient.objects.t_array import Array as SynchronizedString
from mpclient.objects.t_array import RawArray as _RawArray
from mpclient.objects.t_lock import Mutex
from mpclient.objects.t_value import RawValue as _RawValue
from mpclient.offers import Offers
from mpshared.errors import NotSupported

__all__ = [
    "Array",
    "RawArray",
    "RawValue",
    "Synchronized",
    "SynchronizedArray",
    "SynchronizedBase",
    "SynchronizedString",
    "Value",
    "copy",
    "synchronized",
]


def RawValue(typecode_or_type: Any, *args: Any) -> _RawValue:  # noqa: N802 - the standard library's names
    """Return a shared number without a lock."""
    return default_context.RawValue(typecode_or_type, *args)


def RawArray(typecode_or_type: Any, size_or_initializer: int | Sequence[Any]) -> _RawArray:  # noqa: N802
    """Return a shared array without a lock."""
    return default_context.RawArray(typecode_or_type, size_or_initializer)


def Value(  # noqa: N802
    typecode_or_type: Any, *args: Any, lock: bool | Mutex | None = True, ctx: Offers | None = None
) -> Any:
    """Return a shared number with a lock beside it (`lock` False: without), of the cluster of `ctx`."""
    return _context(ctx).Value(typecode_or_type, *args, lock=lock)


def Array(  # noqa: N802
    typecode_or_type: Any,
    size_or_initializer: int | Sequence[Any],
    *,
    lock: bool | Mutex | None = True,
    ctx: Offers | None = None,
) -> Any:
    """Return a shared array with a lock beside it (`lock` False: without), of the cluster of `ctx`."""
    return _context(ctx).Array(typecode_or_type, size_or_initializer, lock=lock)


def copy(obj: Any) -> NoReturn:
    """Refuse: there is no memory to copy."""
    raise NotSupported(
        f"copy({obj!r:.80}): what is shared here has no memory of ctypes; make another one from its value, "
        f"Array(typecode, list(array))"
    )


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> NoReturn:
    """Refuse: an object of ctypes lives in this process's memory."""
    _ = lock, ctx
    raise NotSupported(
        f"synchronized({obj!r:.80}): an object of ctypes lives in this process's memory, which other "
        f"machines do not have; make it with Value() or Array(), which have a lock"
    )


def _context(ctx: Offers | None) -> Any:
    return default_context if ctx is None else ctx
