"""The client of asyncio on the real server: cancellation, many tasks on one connection, the end."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import pytest
from tests.integration.in_loop import loop, until, waiters
from tests.integration.relay import Relay

from mpclient import aio
from mpshared.errors import ServerGone


@pytest.fixture
def connect(server):
    return lambda **more: aio.connect(server.address, server.key, **{"reconnect_timeout": 5.0, **more})


# -- cancellation ---------------------------------------------------------------------------------


@loop
async def test_cancelled_gets_lose_no_item(connect, unique):
    """Tasks that get are cancelled at any moment, while items come: each is taken once, or still there."""
    async with connect() as cluster, connect() as producer:
        queue = await cluster.Queue(name=unique)
        source = await producer.Queue(name=unique)
        taken: list[int] = []

        async def consume():
            while True:
                taken.append(await queue.get())

        async def produce():
            for n in range(0, 2000, 20):
                await source.put_many(range(n, n + 20))

        producing = asyncio.create_task(produce())
        for _ in range(100):
            tasks = [asyncio.create_task(consume()) for _ in range(5)]
            await asyncio.sleep(0)
            await source.qsize()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await producing
        while await queue.qsize():
            taken += await queue.get_many(2000)
        assert sorted(taken) == list(range(2000))


@loop
async def test_a_cancelled_put_may_be_made_again(connect):
    """Cancelled at any moment: whoever waited for room, or has just got it, has put nothing."""
    async with connect() as cluster:
        queue = await cluster.Queue(1)
        for steps in range(20):
            await queue.put(0)
            task = asyncio.create_task(queue.put(1))
            await queue.qsize()
            taking = asyncio.create_task(queue.get())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert await taking == 0
            assert await queue.qsize() == (not task.cancelled())
            if not task.cancelled():
                await queue.get()


@loop
async def test_what_a_task_put_stays_when_it_ends_and_when_its_program_does(connect, unique):
    async with connect() as cluster:
        queue = await cluster.Queue(name=unique)
        async with connect() as other:
            same = await other.Queue(name=unique)
            await asyncio.gather(*[asyncio.create_task(same.put(n)) for n in range(20)])
            assert await queue.qsize() == 20
            await same.put(20)
        assert await queue.qsize() == 21


@loop
async def test_a_cancelled_wait_leaves_the_line(connect, unique):
    async with connect() as cluster:
        lock = await cluster.Lock(name=unique)
        async with lock:
            waiting = [asyncio.create_task(lock.acquire()) for _ in range(3)]
            await until(lambda: _is(waiters(cluster, unique), 3))
            waiting[0].cancel()
            await until(lambda: _is(waiters(cluster, unique), 2))
        assert await waiting[1] is True
        waiting[2].cancel()
        await lock.release()
        async with lock:
            pass


async def _is(answer, expected):
    return await answer == expected


@loop
async def test_a_timeout_of_asyncio_is_a_cancellation(connect):
    async with connect() as cluster:
        queue = await cluster.Queue()
        for _ in range(200):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await queue.get()
        await queue.put(1)
        assert await queue.get(timeout=5) == 1


@loop
async def test_a_lock_is_released_by_who_is_cancelled_on_the_way_out(connect):
    async with connect() as cluster:
        lock, permits = await cluster.Lock(), await cluster.Semaphore(1)
        inside = asyncio.Event()

        async def work():
            async with lock, permits:
                inside.set()
                await asyncio.sleep(30)

        for _ in range(50):
            inside.clear()
            task = asyncio.create_task(work())
            await inside.wait()
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()  # once more, while it releases
            await asyncio.gather(task, return_exceptions=True)
        assert await lock.acquire(timeout=5)
        assert await permits.acquire(timeout=5)


@loop
async def test_a_lock_is_released_by_who_is_cancelled_while_the_server_reads_nothing(connect, server):
    """What is put waits for room in the connection; who gives something up has given it up all the same."""
    async with connect() as cluster:
        lock, queue = await cluster.Lock(), await cluster.Queue()
        inside, full = asyncio.Event(), asyncio.Event()

        async def work():
            async with lock:
                inside.set()
                await full.wait()

        async def is_full():
            return cluster.session._line.full

        task = asyncio.create_task(work())
        await inside.wait()
        server.send_signal(signal.SIGSTOP)
        try:
            puts = [asyncio.create_task(queue.put(bytes(1 << 20))) for _ in range(16)]
            await until(is_full)
            full.set()
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        finally:
            server.send_signal(signal.SIGCONT)
        await asyncio.gather(*puts)
        assert await lock.acquire(timeout=5)


@loop
async def test_a_cancelled_condition_holds_its_lock_again(connect, unique):
    async with connect() as cluster:
        for lock in (await cluster.Lock(), await cluster.RLock()):
            condition = await cluster.Condition(lock, name=unique, fresh=True)

            async def work(condition=condition, lock=lock):
                async with condition:
                    try:
                        await condition.wait()
                    finally:
                        assert await lock.fence() > 0

            task = asyncio.create_task(work())
            await until(lambda: _is(waiters(cluster, unique), 1))
            async with condition:
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task
            async with condition:
                pass


@loop
async def test_a_cancelled_condition_takes_nothing_that_it_never_had(connect, unique):
    """Cancelled before the server could say that it does not hold the lock, which another program has."""
    async with connect() as cluster, connect() as other:
        for lock in (await cluster.Lock(), await cluster.RLock()):
            condition = await cluster.Condition(lock, name=unique, fresh=True)
            same = await other.Condition(name=unique)
            async with condition:
                task = asyncio.create_task(same.wait())
                await asyncio.sleep(0)  # it is sent, and no answer was read
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert await condition.acquire(timeout=5)


@loop
async def test_a_cancelled_condition_holds_all_levels_again(connect, unique):
    async with connect() as cluster:
        condition = await cluster.Condition(name=unique)

        async def work():
            async with condition, condition:
                try:
                    await condition.wait()
                finally:
                    await condition.release()
                    assert await condition.fence() > 0
                    await condition.acquire()

        task = asyncio.create_task(work())
        await until(lambda: _is(waiters(cluster, unique), 1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await condition.acquire(timeout=5)


# -- many tasks -----------------------------------------------------------------------------------


@loop
async def test_a_thousand_tasks_wait_on_one_connection(server):
    host, port = server.address.rsplit(":", 1)
    relay = Relay((host, int(port)))
    async with aio.connect(relay.address, server.key) as cluster:
        queue, event = await cluster.Queue(), await cluster.Event()

        async def work(n):
            await event.wait()
            await queue.put(n)
            return await queue.get()

        tasks = [asyncio.create_task(work(n)) for n in range(1000)]
        await asyncio.sleep(0)
        await event.set()
        assert sorted(await asyncio.gather(*tasks)) == list(range(1000))
        assert await queue.empty()
    assert relay.connections == 1
    relay.close()


@loop
async def test_a_lock_is_handed_on_in_order(connect):
    async with connect() as cluster:
        lock, order = await cluster.Lock(name="fair", fresh=True), []

        async def take(n):
            async with lock:
                order.append(n)

        async with lock:
            tasks = []
            for n in range(50):
                tasks.append(asyncio.create_task(take(n)))
                await until(lambda n=n: _is(waiters(cluster, "fair"), n + 1))
        await asyncio.gather(*tasks)
        assert order == list(range(50))


@loop
async def test_tasks_and_threads_exclude_each_other(connect, cluster, unique, in_thread):
    async with connect() as here:
        lock, number = await here.Lock(name=unique), await here.Value("i", 0, lock=False, name=unique)
        theirs, value = cluster.Lock(name=unique), cluster.Value("i", lock=False, name=unique)

        def threads():
            for _ in range(100):
                with theirs:
                    value.value += 1

        async def tasks():
            for _ in range(20):
                async with lock:
                    await number.set(await number.get() + 1)

        done = in_thread(threads)
        await asyncio.gather(*(tasks() for _ in range(5)))
        await asyncio.to_thread(done)
        assert await number.get() == 200


# -- the end --------------------------------------------------------------------------------------


@loop
async def test_closing_fails_the_calls_under_way(connect):
    cluster = await connect()
    queue = await cluster.Queue()
    waiting = asyncio.create_task(queue.get())
    await until(lambda: _is(queue.qsize(), 0))
    await cluster.close()
    with pytest.raises(ServerGone, match="closed its connection"):
        await waiting
    await cluster.close()


def test_another_loop_is_told(connect):
    cluster = asyncio.run(_stay(connect))
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(_ask(cluster))


async def _stay(connect):
    cluster = await connect()
    await cluster.close()
    return cluster


async def _ask(cluster):
    await cluster.status()


@loop
async def test_no_server_there():
    with pytest.raises(ServerGone, match="no server at"):
        await aio.connect("127.0.0.1:1", b"a key of sixteen bytes", connect_timeout=0.2)


def test_a_program_that_forgets_to_close_ends(program):
    process = program(
        "import asyncio\nfrom mpclient import aio\n"
        "async def main():\n"
        "    cluster = await aio.connect()\n    await (await cluster.Queue()).put(1)\n    say('done')\n"
        "asyncio.run(main())\n"
    )
    assert process.line() == "done"
    process.finish()
