"""The server as a `multiprocessing.managers.SyncManager`: `Manager(address, authkey)` can be `start()`ed,
asked for its `get_server()`, or `connect()`ed like any other manager.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from multiprocessing.managers import SyncManager
from typing import Any

from mpserve.dispatch.registered import from_registry
from mpserve.server import Options, Server
from mpshared.address import Address
from mpshared.log import make_logger
from mpshared.wire.auth import check_key

__all__ = ["Manager"]


class _Server:
    """What `BaseManager` expects of a server, around `Server`."""

    def __init__(self, registry: dict[str, Any], address: Any, authkey: bytes, serializer: str) -> None:
        if serializer != "pickle":
            raise ValueError(
                f"mpserve speaks the serializer 'pickle' only, not {serializer!r}; leave the argument out"
            )
        self.registry = registry
        where = Address.tcp("127.0.0.1", 0) if address is None else Address.from_sockaddr(address)
        options = Options(where, allow_shutdown=True)  # a manager's own process is stopped through its socket
        log = make_logger("mpserve", level="warning")
        self._server = Server(options, bytes(authkey), log, from_registry(registry))
        self.address = self._server.listen().sockaddr
        self.listener = self._server
        """Whose `close` frees the address, and all there is besides."""

    def serve_forever(self) -> None:
        """Serve until `shutdown` is called over the wire."""
        self._server.serve()
        sys.exit(0)


class Manager(SyncManager):
    """A manager whose server is mpserve: objects outlive their holders, nobody waits for the dead, no thread
    per client.
    """

    _Server = _Server

    def start(self, initializer: Callable[..., object] | None = None, initargs: Iterable[Any] = ()) -> None:
        """Start the server in a process of its own.

        Raises:
            WeakKey: The key is shorter than 16 bytes.
        """
        check_key(bytes(self._authkey))  # type: ignore[attr-defined]  # here: in the other process nobody would see it
        super().start(initializer, initargs)

    def get_server(self) -> Any:
        """Return a server that serves in this process when `serve_forever` is called.

        Raises:
            WeakKey: The key is shorter than 16 bytes.
        """
        check_key(bytes(self._authkey))  # type: ignore[attr-defined]
        return _Server(self._registry, self._address, bytes(self._authkey), self._serializer)  # type: ignore[attr-defined]
