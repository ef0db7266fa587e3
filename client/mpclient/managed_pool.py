"""A Pool that a manager makes: as the standard library's proxies of Pools it may be sent to others.

RULES
* Who is sent one has a pool of its own, of the same workers and with the same settings: `processes` holds for
  each, and `close` and `terminate` are for the caller's own.
"""

from __future__ import annotations

from typing import Any

from mpclient.pool import Pool
from mpshared.errors import NotSupported

__all__ = ["ManagedPool"]


class ManagedPool(Pool):
    """The workers of a cluster, in whichever process this is; arguments as `Pool`."""

    def __init__(self, context: Any, **given: Any) -> None:
        self._given = given
        super().__init__(context=context, **given)

    def __del__(self) -> None:
        """Say nothing: who was sent one is not expected to close it."""

    def __reduce__(self) -> tuple[Any, ...]:  # type: ignore[override]  # others are refused
        return _open, (self._given,)


class _Here:
    """The cluster that a value came from.

    Raises:
        NotSupported: It is one of `mpclient.aio`, which a Pool's threads cannot ask.
    """

    def __init__(self) -> None:
        from mpclient.resolve import session_for  # noqa: PLC0415 - the import would be circular
        from mpclient.session import Session  # noqa: PLC0415

        self.session = session_for("")
        if not isinstance(self.session, Session):
            raise NotSupported(
                "mpclient.aio has no Pool, and so cannot be sent a manager's; use cluster.run() or "
                "cluster.executor() there, or a connection of mpclient"
            )


def _open(given: dict[str, Any]) -> ManagedPool:
    return ManagedPool(_Here(), **given)
