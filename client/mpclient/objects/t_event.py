"""Event: as `threading.Event`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from mpclient.objects.base import Proxy
from mpclient.objects.readers import as_bool, nothing
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
        return self._call(_SET, read=nothing)

    def clear(self) -> None:
        """Clear the flag."""
        return self._call(_CLEAR, read=nothing)

    def is_set(self) -> bool:
        """Return the flag."""
        return self._call(_IS_SET, read=as_bool)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set; return False if `timeout` seconds passed first."""
        return self._call(_WAIT, event_timeout(timeout), read=as_bool)


CLASSES: Final[dict[str, type[Proxy]]] = {"Event": Event}
