"""`multiprocessing.connection` for a cluster: pipes between programs anywhere, and waiting for many at once.

RULES
* `Connection`, `Pipe` and `wait` are ours. All else, which speaks over a socket of the program's own
  (`Listener`, `Client` and what belongs to them), is the standard library's, unchanged.
* `wait` takes ours, those of the standard library, sockets and descriptors together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mpclient.objects.t_pipe import Connection
from mpclient.objects.waiting import join_timeout
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from multiprocessing.connection import Client, Listener
    from multiprocessing.connection import Connection as LocalConnection

    from mpclient.session import Session

__all__ = ["Client", "Connection", "Listener", "Pipe", "wait"]

_WAIT: Final = BY_NAME["cluster.wait"]
_SLICE_S: Final = 0.25
"""How long a thread that waits beside may go on when nobody needs it any more."""


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802 - the standard library's name
    """Return the two ends of a new pipe of the default cluster; see `Cluster.Pipe`."""
    from mpclient.default import default_cluster  # noqa: PLC0415 - the import would be circular

    return default_cluster().Pipe(duplex)


def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """Wait until one of several can be read, or has ended; return those, in the order given.

    Args:
        object_list: Connections, a Process's `sentinel`, a queue's `_reader`, and what the standard library's
            `wait` takes: sockets, descriptors, connections of its own.
        timeout: Seconds; None waits for ever; 0 or less not at all.

    Returns:
        [] if time ran out.
    """
    objects = list(object_list)
    timeout_s = join_timeout(timeout)
    shared: dict[Session, dict[str, list[Any]]] = {}
    others: list[Any] = []
    for thing in objects:
        watch = getattr(thing, "_watch", None)
        if watch is None:
            others.append(thing)
        else:
            handle = watch()
            shared.setdefault(handle.session, {}).setdefault(handle.ident, []).append(thing)
    if not others and len(shared) == 1:
        [(session, things)] = shared.items()
        found = _ask(session, things, timeout_s)
    else:
        found = _Mixed(shared, others).wait(timeout_s)
    return [thing for thing in objects if id(thing) in found]


def _ask(session: Session, things: dict[str, list[Any]], timeout_s: float | None) -> set[int]:
    """Return the ids of those that are ready."""
    ready: list[str] = session.call(_WAIT, "", [list(things), timeout_s]).result
    return {id(thing) for ident in ready for thing in things[ident]}


class _Mixed:
    """Waits for objects of several servers, and for descriptors: a thread for each server rings a bell.

    Args:
        shared: By session and ident.
        others: What the standard library can wait for.
    """

    def __init__(self, shared: dict[Session, dict[str, list[Any]]], others: list[Any]) -> None:
        self._shared = shared
        self._others = others
        self._over = threading.Event()
        self._errors: list[MpserveError] = []

    def wait(self, timeout_s: float | None) -> set[int]:
        """Return the ids of those that are ready, none when time ran out."""
        found = self._look()
        if found or timeout_s == 0:
            return found
        if not self._shared:
            return self._select(self._others, timeout_s)
        from multiprocessing.connection import Pipe as pipe_here  # noqa: N813, PLC0415 - heavy, and rare

        ear, bell = pipe_here(duplex=False)
        for session, things in self._shared.items():
            threading.Thread(
                target=self._watch, args=(session, things, bell), name="mpserve-wait", daemon=True
            ).start()
        try:
            self._select([*self._others, ear], timeout_s)
        finally:
            self._over.set()
            ear.close()  # the bell closes itself when its last ringer has ended
        for error in self._errors:
            raise error
        return self._look()

    def _look(self) -> set[int]:
        found = self._select(self._others, 0)
        for session, things in self._shared.items():
            found |= _ask(session, things, 0)
        return found

    def _select(self, things: list[Any], timeout_s: float | None) -> set[int]:
        from multiprocessing.connection import wait as wait_here  # noqa: PLC0415 - heavy, and rare

        return {id(thing) for thing in wait_here(things, timeout_s)} if things or timeout_s != 0 else set()

    def _watch(self, session: Session, things: dict[str, list[Any]], bell: LocalConnection) -> None:
        """Ring when one of this server's is ready."""
        try:
            while not self._over.is_set() and not _ask(session, things, _SLICE_S):
                continue
        except MpserveError as err:
            self._errors.append(err)
        with suppress(OSError):
            bell.send_bytes(b"")


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        import multiprocessing.connection  # noqa: PLC0415 - heavy, and rare

        with suppress(AttributeError):
            return getattr(multiprocessing.connection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
