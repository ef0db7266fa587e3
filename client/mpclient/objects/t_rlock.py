"""RLock: as `threading.RLock`; it belongs to the thread that took it, which may take it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from mpclient.objects.t_lock import Mutex
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.objects.base import Proxy
    from mpshared.ops import Op

__all__ = ["CLASSES", "RLock"]


class RLock(Mutex):
    """A lock of one thread of one process, somewhere. It is handed on when that thread or process ends."""

    __slots__ = ()

    kind: ClassVar[str] = "rlock"
    _ACQUIRE: ClassVar[Op] = BY_NAME["rlock.acquire"]
    _RELEASE: ClassVar[Op] = BY_NAME["rlock.release"]
    _LOCKED: ClassVar[Op] = BY_NAME["rlock.locked"]
    _RECOVER: ClassVar[Op] = BY_NAME["rlock.recover"]
    _FENCE: ClassVar[Op] = BY_NAME["rlock.get_fence"]


CLASSES: Final[dict[str, type[Proxy]]] = {"RLock": RLock}
