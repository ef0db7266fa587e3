"""The client of asyncio when connections break, servers go and come, and tasks are cancelled meanwhile."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import pytest
from tests.integration.in_loop import loop, until

from mpclient import aio
from mpshared.errors import ServerGone, ServerRestarted, SessionExpired


@pytest.fixture
def server(fresh_server):
    """A server that gives programs time to come back: here even their handshakes are cut."""
    return fresh_server("--grace", "20s")


@pytest.fixture
def cluster(server):
    with server.connect() as cluster:
        yield cluster


@pytest.fixture
def connect(relay, server):
    return lambda **more: aio.connect(relay.address, server.key, **{"reconnect_timeout": 20.0, **more})


@pytest.mark.parametrize("direction", ["up", "down"])
@loop
async def test_every_call_is_done_once_wherever_the_connection_breaks(connect, relay, direction):
    """Tasks count and move items; the connection is cut after every number of bytes."""
    async with connect() as cluster:
        counts, queue = await cluster.dict(), await cluster.Queue()

        async def work(name):
            for n in range(20):
                assert await counts.incr(name) == n + 1
                await queue.put((name, n))
            return [await queue.get() for _ in range(20)]

        tasks = [asyncio.create_task(work(name)) for name in range(5)]
        after_bytes = 0
        # So many cuts and no more: a busy machine would get no further.
        while relay.cuts < 40 and not all(task.done() for task in tasks):
            after_bytes += 37
            relay.arm(direction, after_bytes % 700)
            await asyncio.sleep(0.005)
        relay.disarm()
        got = [item for items in await asyncio.gather(*tasks) for item in items]
        assert sorted(got) == [(name, n) for name in range(5) for n in range(20)]
        assert await queue.empty()
    assert relay.cuts > 3


@loop
async def test_cancelling_while_the_connection_is_cut_loses_nothing(connect, relay, server, unique):
    async with connect() as cluster, aio.connect(server.address, server.key) as other:
        queue, source = await cluster.Queue(name=unique), await other.Queue(name=unique)
        taken: list[int] = []

        async def consume():
            while True:
                taken.append(await queue.get())

        for n in range(0, 400, 10):
            tasks = [asyncio.create_task(consume()) for _ in range(3)]
            await asyncio.sleep(0)
            relay.arm("down" if n % 20 else "up", n)
            await source.put_many(range(n, n + 10))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        relay.disarm()
        while len(taken) < 400:
            taken.append(await queue.get(timeout=5))
        assert sorted(taken) == list(range(400))
        assert await queue.empty()


@loop
async def test_a_release_on_the_way_out_arrives_although_the_connection_is_cut(
    connect, relay, cluster, unique
):
    async with connect() as here:
        lock = await here.Lock(name=unique)

        async def work():
            async with lock:
                relay.cut()
                await asyncio.sleep(0)

        for _ in range(10):
            task = asyncio.create_task(work())
            await until(lambda task=task: _locked(cluster, unique, task))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        theirs = cluster.Lock(name=unique)
        assert await asyncio.to_thread(theirs.acquire, timeout=10)
        theirs.release()


async def _locked(cluster, name, task):
    return task.done() or cluster.Lock(name=name).locked()


@loop
async def test_a_cancelled_condition_holds_its_lock_again_after_a_cut(connect, relay, cluster, unique):
    theirs = cluster.Lock(name=f"{unique} lock")
    condition = cluster.Condition(theirs, name=unique)
    async with connect() as here:
        mine = await here.Condition(await here.Lock(name=f"{unique} lock"), name=unique)

        async def work(cut):
            async with mine:
                if cut == "on the way":
                    relay.arm("up", 5)
                await mine.wait()

        for cut in ("on the way", "while it waits", "never"):
            cuts = relay.cuts
            task = asyncio.create_task(work(cut))
            if cut == "on the way":
                await until(lambda cuts=cuts: _is(relay.cuts > cuts))
            else:
                await until(lambda: _waits(cluster, unique))
            if cut == "while it waits":
                relay.cut()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: _is(not theirs.locked()))
        with condition:
            condition.notify_all()


async def _waits(cluster, name):
    [found] = [each for each in cluster.status()["objects"] if each["name"] == name]
    return found["waiters"] == 1


async def _is(what):
    return what


@loop
async def test_a_timeout_that_runs_out_without_a_server_is_no_empty(connect, relay):
    async with connect() as cluster:
        queue, event = await cluster.Queue(), await cluster.Event()
        calls = [asyncio.create_task(call) for call in (queue.get(timeout=0.3), event.wait(0.3))]
        await queue.qsize()
        relay.refusing = True
        relay.cut()
        late = asyncio.create_task(queue.get(timeout=0.2))
        for call in (*calls, late):
            with pytest.raises(ServerGone, match="could not be asked"):
                await call
        relay.refusing = False
        with suppress(SessionExpired):  # if it had no connection for longer than the grace period
            await queue.qsize()


@loop
async def test_a_server_that_is_gone(fresh_server):
    server = fresh_server()
    async with aio.connect(server.address, server.key, reconnect_timeout=0.5) as cluster:
        queue = await cluster.Queue()
        waiting = asyncio.create_task(queue.get())
        await queue.qsize()
        server.send_signal(signal.SIGTERM)
        with pytest.raises(ServerGone, match="gone"):
            await waiting
        with pytest.raises(ServerGone):
            await queue.qsize()
        await asyncio.to_thread(server.wait)
        server.start(port=int(server.address.rpartition(":")[2]))
        with pytest.raises(ServerRestarted):
            await queue.qsize()
        assert await (await cluster.Queue()).qsize() == 0


@loop
async def test_who_waits_until_the_server_has_read_hears_that_the_program_left(server):
    """The server reads nothing: what is put waits for room in the connection, which is then closed."""
    cluster = await aio.connect(server.address, server.key)
    queue = await cluster.Queue()
    server.send_signal(signal.SIGSTOP)
    try:
        puts = [asyncio.create_task(queue.put(bytes(1 << 20))) for _ in range(16)]
        await asyncio.sleep(0)
        await cluster.close()
        ends = await asyncio.gather(*puts, return_exceptions=True)
    finally:
        server.send_signal(signal.SIGCONT)
    assert {type(end) for end in ends} == {ServerGone}


@loop
async def test_where_nothing_can_be_dialled_any_more_calls_end(connect, relay, monkeypatch):
    async def refuse(*_):
        raise RuntimeError("can't start new thread")

    async with connect() as cluster:
        queue = await cluster.Queue()
        waiting = asyncio.create_task(queue.get())
        await queue.qsize()
        monkeypatch.setattr("mpclient.aio.session.in_thread", refuse)
        relay.cut()
        with pytest.raises(ServerGone, match="lost for good .*can't start new thread"):
            await waiting
        monkeypatch.undo()


@loop
async def test_a_server_with_data_comes_back(fresh_server, tmp_path):
    server = fresh_server("--data", str(tmp_path / "data"))
    async with aio.connect(server.address, server.key, reconnect_timeout=15) as cluster:
        queue = await cluster.Queue(name="q")
        waiting = asyncio.create_task(queue.get())
        await queue.qsize()
        server.send_signal(signal.SIGKILL)
        await asyncio.to_thread(server.wait)
        server.start(port=int(server.address.rpartition(":")[2]))
        await queue.put("after")
        assert await waiting == "after"


@loop
async def test_the_server_forgets_the_lanes_of_tasks_that_ended(connect, relay):
    """What belonged to a task alone is free when it ends, also if its connection was cut just then."""
    async with connect() as cluster:
        lock = await cluster.RLock()
        for _ in range(5):
            await asyncio.create_task(lock.acquire())
            relay.cut()
            assert await lock.acquire(timeout=5)
            await lock.release()
