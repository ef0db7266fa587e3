"""A worker process: ``python -m mpclient.worker.process FD MARK ENDS…``, or a fork (`orphans`).

RULES
* What it is to do, the key included, comes over the socket FD; nothing of it is on the command line or in
  the environment.
* It imports what it needs to run jobs, and no more: no typer, no structlog.
* A session of its own, which is never renewed: what it held is somebody else's then, so it ends and is
  replaced.
* Users' modules are found in `--pythonpath`, then in the current folder, then as in any Python.
* `__main__` is an empty module here: whatever a program's `__main__` holds comes along with the job, or
  fails clearly.
"""

from __future__ import annotations

import atexit
import faulthandler
import io
import os
import socket
import sys
import threading
import traceback
import types
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from mpclient.session import Describes, Session, Term
from mpclient.worker.channel import Channel, Why
from mpclient.worker.descriptors import Descriptors
from mpclient.worker.files import restore_limit
from mpclient.worker.jobs.desk import Desk
from mpclient.worker.jobs.exchange import Exchange
from mpclient.worker.jobs.failures import Failures
from mpclient.worker.jobs.loop import Loop
from mpclient.worker.jobs.pools import Pools
from mpclient.worker.jobs.run import Runner
from mpclient.worker.jobs.run_pool import PoolRunner
from mpclient.worker.jobs.tender import Tender
from mpclient.worker.mark import Mark
from mpclient.worker.streams import Streams, flush_standard, install
from mpshared.address import Address
from mpshared.errors import MpserveError, ServerGone
from mpshared.keys import Key

if TYPE_CHECKING:
    from mpshared.tls import ClientTls

__all__ = ["OneTerm", "key_of", "live", "main", "prepare", "tls_of"]

_FAILED: Final = 1
_SHORT: Final[dict[str, bool]] = {"c_stack": False} if sys.version_info >= (3, 14) else {}
"""With these a crash is told by Python's stack alone. 3.14 tells of the interpreter's own as well, many lines
long: they would push out what the job printed last."""
_CONNECT_S = 5.0
"""The supervisor has just spoken with the server; longer than this is its matter."""


class OneTerm(Session):
    """A session that is not renewed when it ends."""

    def _begin(self) -> Term:
        if self._ended is not None:
            raise ServerGone(f"this worker's session is over: {self._ended.text}")
        return super()._begin()


def main() -> None:
    """Work in a fresh interpreter."""
    descriptor, mark, *ends = map(int, sys.argv[1:])
    os.set_inheritable(descriptor, False)
    work(descriptor, mark, ends)


def live(descriptor: int, mark: int, ends: Sequence[int]) -> NoReturn:
    """Work in a fork, to the end. Modules are not torn down."""
    code = _FAILED
    try:
        work(descriptor, mark, ends)
        code = 0
    except BaseException:  # noqa: BLE001 - what an interpreter does at its end, too
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as does a Process
    atexit._run_exitfuncs()  # noqa: SLF001
    flush_standard()
    os._exit(code)


def work(descriptor: int, mark: int, ends: Sequence[int]) -> None:
    """Work until there is a reason to end, and tell the supervisor which.

    Args:
        descriptor: One end of a socket pair; the other is the supervisor's.
        mark: Memory for a `Mark`.
        ends: `Pipes.ends`.
    """
    channel = Channel(socket.socket(fileno=descriptor))
    given = channel.receive_first()
    if given is None:
        return
    seen = Mark(mark)
    descriptors = Descriptors(ends, seen)
    prepare(given)
    try:
        why, text = _work(channel, given, seen, descriptors)
    except ServerGone as err:
        why, text = Why.LOST, str(err)
    except MpserveError as err:
        why, text = Why.REFUSED, str(err)
    channel.send("ended", why=why, text=text)


def prepare(given: dict[str, Any]) -> None:
    """Make this process a place for jobs."""
    if given["files"] is not None:
        restore_limit(given["files"])
    faulthandler.enable(all_threads=False, **_SHORT)  # a job that crashes the interpreter says where
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.argv[1:] = []
    sys.modules["__main__"] = types.ModuleType("__main__")
    folders = [*given["pythonpath"], os.getcwd(), *sys.path]  # noqa: PTH109 - sys.path holds strings
    sys.path[:] = dict.fromkeys(folders)
    os.environ["MPSERVE_ADDRESS"] = given["address"]  # where mpclient.connect() in a job leads
    _share_key(given["key"])


def tls_of(given: dict[str, Any]) -> ClientTls | None:
    """Return how TLS is spoken with the server; None: not at all."""
    if given["tls"] is None:
        return None
    from mpshared.tls import ClientTls, TlsFiles  # noqa: PLC0415 - loads ssl

    return ClientTls(TlsFiles(*given["tls"]))


def key_of(given: dict[str, Any]) -> Key:
    """Return the key that was given, with its file if there is one: it may be replaced while this runs."""
    file = given["key_file"]
    return Key(given["key"], file or "the worker host", Path(file) if file else None)


def _share_key(key: bytes) -> None:
    """Let standard-library proxies in jobs open: they take the key from the process."""
    from multiprocessing import process  # noqa: PLC0415 - beside its one use

    process.current_process().authkey = key


def _work(channel: Channel, given: dict[str, Any], mark: Mark, descriptors: Descriptors) -> tuple[str, str]:
    describes = Describes(
        "worker",
        given["worker"],
        given["supervisor"],
        slots=1 if given["queue"] else 0,
        queue=given["queue"] or "",
        pools=True,
    )
    address = Address.parse(given["address"])
    session = OneTerm(address, key_of(given), describes, tls=tls_of(given), connect_timeout_s=_CONNECT_S)
    channel.send("session", session=session.id)
    try:
        return _serve(channel, session, given, mark, install(session, descriptors, mark))
    finally:
        with suppress(MpserveError):
            session.close()


def _serve(
    channel: Channel, session: Session, given: dict[str, Any], mark: Mark, streams: Streams
) -> tuple[str, str]:
    def tell(level: str, event: str, **fields: Any) -> None:
        channel.send("log", level=level, event=event, fields=fields)

    failures = Failures(given["worker"], f"queue {given['queue']!r}")
    exchange = Exchange(session, given["queue"], given["results"], failures, tell)
    desk = Desk()
    tender = Tender(channel, session, desk, exchange, tell)
    streams.keep = mark.keep
    pools = Pools(session)
    pool_runner = PoolRunner(session, pools, failures, tender.breaker)
    tender.interruption = pool_runner.interruption
    loop = Loop(
        desk,
        exchange,
        tender,
        Runner(session, failures),
        pools,
        pool_runner,
        failures,
        streams,
        tell,
        mark,
        max_tasks=given["max_tasks"],
        max_memory_bytes=given["max_memory_bytes"],
    )
    tender.start()
    channel.send("ready")
    return loop.run()


if __name__ == "__main__":
    main()
