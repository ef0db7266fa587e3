"""Process, as the server knows it: placed on a host, running, ended. What programs use is `mpclient.process`.

It is also the `sentinel` of a Process: `mpclient.connection.wait` takes it, and it may be sent to others, who
then can wait for its end, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from mpclient.objects.bell import Watched
from mpclient.objects.readers import as_bool, plain
from mpclient.objects.waiting import join_timeout
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.objects.base import Proxy
    from mpshared.ops import Op

__all__ = ["CLASSES", "Look", "RemoteProcess"]

_START: Final[Op] = BY_NAME["process.start"]
_WAIT: Final[Op] = BY_NAME["process.wait"]
_SIGNAL: Final[Op] = BY_NAME["process.signal"]
_LOOK: Final[Op] = BY_NAME["process.look"]


class Look(NamedTuple):
    """What the server knows of a Process."""

    stage: str
    """pending, placed, running, ended"""
    host: str
    pid: int
    exitcode: int | None
    lost: str
    """Why nobody saw its end, else empty."""


class RemoteProcess(Watched):
    """One process on one of the worker hosts."""

    __slots__ = ()

    kind: ClassVar[str] = "process"

    def start(self, timeout_s: float | None) -> tuple[str, int]:
        """Have it placed and started; return host and pid.

        Args:
            timeout_s: How long to wait for a worker host while there is none.

        Raises:
            NoWorkers: None came, or none has the Python that it needs.
            NotAllowed: No host may have one more.
        """
        host, pid = self._call(_START, timeout_s, read=plain)
        return str(host), int(pid)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end; return the exit code, None if `timeout` seconds passed first."""
        code: int | None = self._call(_WAIT, join_timeout(timeout), read=plain)
        return code

    def signal(self, number: int) -> bool:
        """Send it a signal; return whether it runs."""
        return self._call(_SIGNAL, int(number), read=as_bool)

    def look(self) -> Look:
        """Return what the server knows of it."""
        return Look(*self._call(_LOOK, read=plain))


CLASSES: Final[dict[str, type[Proxy]]] = {"RemoteProcess": RemoteProcess}
