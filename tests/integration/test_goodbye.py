"""Programs that end while their connection breaks: what they held is free at once, what they had is theirs.

The grace period is longer than any wait here, so nothing is free because of that.
"""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest
from tests.integration.conftest import Server
from tests.integration.relay import Relay

import mpclient
import mpclient.aio
from mpclient.testing import wait_until

GRACE = ("--grace", "100s", "--session-timeout", "200s")
PLACES = 8
"""In what is said at the end, and in its answer."""


@pytest.fixture(params=["memory", "data"])
def patient(fresh_server, request, tmp_path):
    more = ("--data", str(tmp_path / "data")) if request.param == "data" else ()
    return fresh_server(*GRACE, *more)


@pytest.fixture
def behind(patient):
    host, _, port = patient.address.rpartition(":")
    relay = Relay((host, int(port)))
    yield relay
    relay.close()


@pytest.fixture
def other(patient):
    with patient.connect() as cluster:
        yield cluster


class Blocking:
    """A program without asyncio, whose thread has an item and holds a lock."""

    def __init__(self, server: Server, relay: Relay) -> None:
        self.cluster = mpclient.connect(relay.address, server.key, reconnect_timeout=5.0)

    def begin(self) -> None:
        self.held = self.cluster.Lock(name="l"), self.cluster.Queue(name="q")
        assert self.held[0].acquire()
        assert self.held[1].get() == "item"

    def end(self) -> None:
        self.cluster.close()


class Awaited:
    """The same with asyncio, in a task that lives as long as the program."""

    def __init__(self, server: Server, relay: Relay) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(self._connect(relay.address, server.key))

    async def _connect(self, address: str, key: str) -> None:
        self.cluster = await mpclient.aio.connect(address, key, reconnect_timeout=5.0)

    def begin(self) -> None:
        self._runner.run(self._begin())

    async def _begin(self) -> None:
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._hold(ready))
        await ready.wait()

    async def _hold(self, ready: asyncio.Event) -> None:
        lock, queue = await self.cluster.Lock(name="l"), await self.cluster.Queue(name="q")
        assert await lock.acquire()
        assert await queue.get() == "item"
        ready.set()
        await asyncio.Event().wait()

    def end(self) -> None:
        self._runner.run(self._end())
        self._runner.close()

    async def _end(self) -> None:
        await self.cluster.close()
        self._task.cancel()


def play(kind, patient, behind, other, cut=None):
    """Begin a program and end it with a cut; return how much is said at the end, by direction."""
    queue = other.Queue(name="q")
    queue.put("item")
    program = kind(patient, behind)
    program.begin()
    if cut is None:
        behind.disarm()
    else:
        behind.arm(*cut)
    program.end()
    said = dict(behind.passed)
    lock = other.Lock(name="l")
    assert lock.acquire(timeout=10), cut
    lock.release()
    assert queue.qsize() == 0, cut
    return said


@pytest.mark.parametrize("kind", [Blocking, Awaited])
def test_a_goodbye_that_is_cut_anywhere(patient, behind, other, kind):
    sizes = play(kind, patient, behind, other)
    for way in ("up", "down"):
        size = sizes.get(way, 0)
        assert size
        for place in range(0, size + 1, max(1, size // PLACES)):
            play(kind, patient, behind, other, (way, place))


def test_a_program_that_ends_while_its_connection_is_lost(patient, behind, other):
    program = Blocking(patient, behind)
    other.Queue(name="q").put("item")
    program.begin()
    behind.refusing = True
    behind.cut()
    tries = behind.refused
    wait_until(lambda: behind.refused > tries + 1)  # its keeper looks for the server
    behind.refusing = False
    program.end()
    assert other.Lock(name="l").acquire(timeout=10)
    assert other.Queue(name="q").qsize() == 0


@pytest.mark.parametrize("kind", [Blocking, Awaited])
def test_a_program_that_ends_while_the_server_is_stopped(patient, behind, other, kind):
    """It ends, no thread of it waits on, and what it said is heard when the server goes on."""
    other.Queue(name="q").put("item")
    before = set(threading.enumerate())
    program = kind(patient, behind)
    program.begin()
    patient.send_signal(signal.SIGSTOP)
    try:
        program.end()
        wait_until(lambda: not ours_since(before))
    finally:
        patient.send_signal(signal.SIGCONT)
    assert other.Lock(name="l").acquire(timeout=10)


def ours_since(before):
    return [t for t in threading.enumerate() if t not in before and t.name.startswith("mpserve-")]
