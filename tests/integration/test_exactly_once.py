"""Every call of our client is applied once and answered with its one true result, wherever its connection is
cut, and whenever the server is killed.

What each call leads to, undisturbed, is what it has to lead to when it is cut: its answer, the state of the
object, who holds it, how many objects and references there are.

    scripts/test tests/integration/test_exactly_once.py --cuts all   at every byte, all kills: some minutes
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import pytest
from tests.integration.conftest import Server
from tests.integration.cut_cases import CASES
from tests.integration.cut_world import World
from tests.integration.relay import Relay

from mpclient import aio
from mpshared.ops import BY_NAME

CUTS = 4
"""In a request, and in its reply, without `--cuts all`. The first ones differ from operation to operation, so
that all of them together are cut everywhere."""
GRACE = ("--grace", "20s")
ACROSS_A_RESTART = [
    "cluster.open", "queue.put", "queue.get", "queue.exchange", "dict.incr", "list.pop", "value.cas",
    "lock.acquire", "rlock.release", "semaphore.acquire", "barrier.wait", "pool.submit", "pool.collect",
    "pipe.recv", "process.take",
]  # fmt: skip
"""Some of each sort: what gives, takes, counts, holds, hands on, and makes."""


def relayed(server: Server) -> tuple[World, Relay]:
    host, port = server.address.rsplit(":", 1)
    relay = Relay((host, int(port)))
    return World(server.address, server.key, relay), relay


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("cuts") / "server", GRACE).start()
    world, relay = relayed(server)
    yield world
    world.close()
    relay.close()
    server.stop()


def places(size: int, shift: int, which: str) -> list[int]:
    """Return where to cut `size` bytes: before the first, after the last, and between."""
    stride = 1 if which == "all" else max(1, size // (CUTS - 1))
    return sorted({0, size, *range(shift % stride, size, stride)})


def test_every_operation_has_a_case():
    assert CASES.keys() == BY_NAME.keys()


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_call_that_is_cut_anywhere(world, name, pytestconfig):
    case = CASES[name]
    world.begin(case.role)
    try:
        expected = world.play(name, case)
        sizes = world.sizes
        shift, which = sorted(BY_NAME).index(name), pytestconfig.getoption("cuts")
        cuts = [(way, place) for way in ("up", "down") for place in places(sizes[way], shift, which)]
        for cut in cuts:
            assert world.play(name, case, cut) == expected, cut
    finally:
        world.end()


@pytest.mark.parametrize("is_full", [False, True])
def test_a_cancelled_put_that_is_cut_anywhere_leaves_nothing(fresh_server, pytestconfig, is_full):
    """Whether its item was in the queue, or waited for room: nobody has it, and it may be put again."""
    server = fresh_server(*GRACE)
    host, port = server.address.rsplit(":", 1)
    relay = Relay((host, int(port)))
    try:
        asyncio.run(cancel_puts(server, relay, pytestconfig.getoption("cuts"), is_full=is_full))
    finally:
        relay.close()


async def cancel_puts(server: Server, relay: Relay, which: str, *, is_full: bool) -> None:
    async with aio.connect(relay.address, server.key, reconnect_timeout=20.0) as cluster:
        queue = await cluster.Queue(1)
        await cancel_one_put(queue, is_full=is_full)
        relay.disarm()
        await cancel_one_put(queue, is_full=is_full)
        sizes = dict(relay.passed)
        for way in ("up", "down"):
            for place in places(sizes[way], 0, which):
                relay.arm(way, place)
                await cancel_one_put(queue, is_full=is_full)


async def cancel_one_put(queue: aio.Queue, *, is_full: bool) -> None:
    if is_full:
        await queue.put("first")
    with suppress(TimeoutError):
        async with asyncio.timeout(0):
            await queue.put("cancelled")
    if is_full:
        assert await queue.get() == "first"
    await queue.put("again", timeout=10)
    assert await queue.get() == "again"
    assert await queue.empty()


@pytest.mark.chaos
@pytest.mark.parametrize("name", ACROSS_A_RESTART)
def test_a_call_under_way_when_the_server_is_killed(tmp_path, name, pytestconfig):
    server = Server(tmp_path / "server", (*GRACE, "--data", str(tmp_path / "data"))).start()
    world, relay = relayed(server)

    def kill() -> None:
        relay.on_cut = None
        server.send_signal(signal.SIGKILL)
        server.wait()
        server.start(port=int(server.address.rpartition(":")[2]))

    try:
        world.begin(CASES[name].role)
        expected = world.play(name, CASES[name])
        sizes = world.sizes
        cuts = [("up", sizes["up"] // 2), ("down", 0), ("up", sizes["up"]), ("down", sizes["down"] // 2)]
        if pytestconfig.getoption("cuts") == "some":  # one each way, by turns: each is a server's start
            cuts = cuts[:2] if ACROSS_A_RESTART.index(name) % 2 else cuts[2:]
        for cut in cuts:
            relay.on_cut = kill
            assert world.play(name, CASES[name], cut) == expected, cut
        world.end()
    finally:
        world.close()
        relay.close()
        server.stop()
