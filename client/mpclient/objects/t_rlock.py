"""RLock: as `threading.RLock`; it belongs to the thread that took it, which may take it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from mpclient.objects.t_lock import Mutex

if TYPE_CHECKING:
    from mpclient.objects.base import Proxy

__all__ = ["CLASSES", "RLock"]


class RLock(Mutex):
    """A lock of one thread of one process, somewhere. It is handed on when that thread or process ends."""

    __slots__ = ()

    kind: ClassVar[str] = "rlock"


CLASSES: Final[dict[str, type[Proxy]]] = {"RLock": RLock}
