"""Event: as `threading.Event`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from mpclient.objects.base import Proxy
from mpclient.objects.waiting import event_timeout
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpshared.ops import Op

__all__ = ["CLASSES", "Event"]

_SET: Final[Op] = BY_NAME["event.set"]
_CLEAR: Final[Op] = BY_NAME["event.clear"]
_IS_SET: Final[Op] = BY_NAME["event.is_set"]
_WAIT: Final[Op] = BY_NAME["event.wait"]


class Event(Proxy):
    """A flag that any host sets and any host waits for."""

    __slots__ = ()

    kind: ClassVar[str] = "event"

    def set(self) -> None:
        """Set the flag; everybody who waits goes on."""
        self._call(_SET)

    def clear(self) -> None:
        """Clear the flag."""
        self._call(_CLEAR)

    def is_set(self) -> bool:
        """Return the flag."""
        return bool(self._call(_IS_SET).result)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set; return False if `timeout` seconds passed first."""
        return bool(self._call(_WAIT, event_timeout(timeout)).result)


CLASSES: Final[dict[str, type[Proxy]]] = {"Event": Event}
