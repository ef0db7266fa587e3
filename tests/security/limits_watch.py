"""What tests of limits have at hand: raw connections to a real server, and somebody who watches meanwhile.

raw = Raws(server)
with unnoticed(server):      # another client makes calls all the while, and must not be kept waiting
    ...
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from tests.integration.raw import Raw
from tests.unit.net.stage import RawClient

from mpserve.net.ask import inquire
from mpshared.address import Address
from mpshared.wire.own.frames import Type, encode_control

__all__ = ["WAIT_S", "Raws", "status", "unnoticed"]

WAIT_S = 20.0
WRONG = b"another key, long enough"
QUIET_CALLS = 40
PAUSE_S = 0.002
NOTICED_S = 0.5
"""Here two cores have to do with all there is; a limit that stalls others does it for seconds.
What a call waits because there is no core for it, or for the server, does not count (Linux tells)."""


GOODBYE = b"".join(encode_control(Type.GOODBYE, body="bye"))


class Raws(Raw):
    """Connections by hand, all closed at the end; sessions end with them, instead of after the grace."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in filter(lambda client: client.session, self.clients):
            with suppress(OSError):  # it is closed, or its server listens no more
                client.sock.setblocking(False)
                client.sock.send(GOODBYE)
        self.close()

    def stranger(self) -> RawClient:
        """Return a connection of one who has another key."""
        client = self.client()
        client.key = WRONG
        return client


def status(server: Any) -> dict[str, Any]:
    """Return what `mpserve status` is told."""
    with inquire(Address.parse(server.address), server.key.encode(), "test", WAIT_S) as inquiry:
        told: dict[str, Any] = inquiry.call("cluster.status")
        return told


@contextmanager
def unnoticed(server: Any) -> Iterator[None]:
    """Have another client make calls all the while; none may take much longer than when all was quiet."""
    with Raws(server) as raws:
        program, stop, took_s = raws.program(), threading.Event(), [0.0]
        pids = server.process.pid, os.getpid()
        quiet_s = max(_one_call(program, pids) for _ in range(QUIET_CALLS))

        def watch() -> None:
            while not stop.is_set():
                took_s.append(_one_call(program, pids))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(WAIT_S)
        assert not thread.is_alive(), "the other client waits for ever"
        assert max(took_s) < NOTICED_S + 10 * quiet_s, f"{max(took_s):.3f} s, when quiet {quiet_s:.3f} s"


def _one_call(program: RawClient, pids: tuple[int, int]) -> float:
    began_s, starved_s = time.monotonic(), _starved_s(pids)
    program.call("cluster.count")
    took_s = time.monotonic() - began_s - max(0.0, _starved_s(pids) - starved_s)
    time.sleep(PAUSE_S)  # it is one of many, not another flood
    return took_s


def _starved_s(pids: Iterable[int]) -> float:
    """Return how long threads of these processes were ready to run and had no core; 0 where nobody knows."""
    nanoseconds = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # it has ended
                nanoseconds += int(thread.read_text().split()[1])
    return nanoseconds / 1e9
