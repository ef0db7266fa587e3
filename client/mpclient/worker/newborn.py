"""A Process from its birth to its end: a fork of the nursery, or ``python -m mpclient.worker.newborn FD``.

    session begun --told which it is, take--> its payload is here, `start()` returns --run--> exit code
                                                                                  end <--goodbye, flush--'

RULES
* Its session is its own, is never renewed, and outlives what its program closes: its last words (a traceback)
  still go home.
* How it ends is the standard library's affair (`BaseProcess._bootstrap`): SystemExit, tracebacks, its own
  children, threads that are not daemons. Then exit handlers run, and the process leaves without tearing down
  what its modules hold.
* It may be there before it is asked for: then it waits for `start`. When the nursery closes the channel
  instead, it says goodbye.
* A payload that never came is told to the nursery: another host may start it.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn

from mpclient.session import Describes
from mpclient.worker.channel import Channel
from mpclient.worker.descriptors import Descriptors
from mpclient.worker.mark import Mark
from mpclient.worker.process import OneTerm, key_of, prepare, tls_of
from mpclient.worker.streams import flush_standard, install
from mpshared.address import Address
from mpshared.errors import MpserveError
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpshared.values import Blob
    from mpshared.wire.own.frames import Reply

__all__ = ["live", "load"]

_TAKE: Final = BY_NAME["process.take"]
_CONNECT_S: Final = 60.0
"""As long as programs wait: the server may be restarted, or stand still, just when a Process begins."""
_FAILED: Final = 1


class _OwnSession(OneTerm):
    """The session of this process: it ends with it, not when the program closes what it has connected to."""

    def close(self) -> None:
        """Go on: see `leave`."""

    def leave(self) -> None:
        """Say goodbye."""
        super().close()


def load() -> None:
    """Load what every Process needs, before it is forked."""
    for name in ("cloudpickle", "multiprocessing.context", "mpclient.objects", "mpclient.process"):
        import_module(name)


def live(channel: Channel, given: dict[str, Any]) -> NoReturn:
    """Be a Process, to the end.

    Args:
        channel: To the nursery, until the program is gone.
        given: As for a worker process, and `supervisor`, `traces`.
    """
    code = _FAILED
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        memory, *ends = given["traces"]
        mark = Mark(memory)
        descriptors = Descriptors(ends, mark)
        prepare(given)
        code = _live(channel, given, descriptors, mark)
    finally:
        flush_standard()
        os._exit(code & 0xFF)


def _live(channel: Channel, given: dict[str, Any], descriptors: Descriptors, mark: Mark) -> int:
    describes = Describes("process", "in stock", given["supervisor"])  # until the server names it
    session = _OwnSession(
        *(Address.parse(given["address"]), key_of(given), describes),
        tls=tls_of(given),
        connect_timeout_s=_CONNECT_S,
    )
    streams = install(session, descriptors, mark)
    try:
        session.connect_lane()
        start = channel.receive_first()
        if start is None:
            session.leave()
            return 0
        channel.send("session", session=session.id)
        reply: Reply = session.call_patiently(_TAKE, start["process"], [])
    except MpserveError as err:
        channel.send("refused", why=str(err))
        return _FAILED
    streams.route(reply.result)
    try:
        code = _run(reply.blobs[0], session, start["name"], channel.fileno())
        atexit._run_exitfuncs()  # noqa: SLF001 - what spawned children of the standard library do, too
    finally:
        flush_standard()
        streams.flush()  # also where the program has put something of its own in their place
        with suppress(MpserveError):
            session.leave()
    return code


def _run(payload: Blob, session: _OwnSession, name: str, parent_sentinel: int) -> int:
    """Run what the program sent; return the exit code."""
    from mpclient.process import unpack  # noqa: PLC0415 - loaded by `load`, in a fork

    try:
        process = unpack(payload, session)
    except BaseException as err:  # noqa: BLE001 - users' modules and __setstate__ run in there
        import traceback  # noqa: PLC0415 - only for failures

        from mpclient.worker.jobs.failures import missing  # noqa: PLC0415 - only for failures

        if isinstance(err, ImportError | AttributeError):
            err.add_note(missing(err))
        sys.stderr.write(f"Process {name}:\n")
        traceback.print_exc()
        return _FAILED
    code: int = process._bootstrap(parent_sentinel=parent_sentinel)  # noqa: SLF001 - as its `Popen` does
    return code


def main() -> None:
    """Begin in a fresh interpreter: what to do comes over the socket."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    channel = Channel(socket.socket(fileno=descriptor))
    given = channel.receive_first()
    if given is not None:
        live(channel, given)


if __name__ == "__main__":
    main()
