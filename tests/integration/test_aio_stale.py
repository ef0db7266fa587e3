"""Tasks of asyncio whose program's session expired: who held something cannot go on, the others do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.integration.in_loop import loop, until

import mpclient
from mpclient import aio


@pytest.fixture
def server(fresh_server):
    return fresh_server("--grace", "100ms")


@pytest.fixture
def expiring(server, relay):
    """A cluster behind the relay, and a coroutine function that lets its session expire."""

    @asynccontextmanager
    async def connected(**more):
        async with (
            aio.connect(server.address, server.key) as watching,
            aio.connect(relay.address, server.key, **more) as cluster,
        ):

            async def expire(calls=None):
                """Let it expire by itself, or while `calls` run, which break it; return their outcome."""
                session_id = cluster.session.id
                task = None
                if calls is None:
                    relay.refusing = True
                    relay.cut()
                else:
                    task = asyncio.create_task(calls())

                async def is_gone():
                    return session_id not in [s["id"] for s in (await watching.status())["sessions"]]

                await until(is_gone)
                relay.refusing = False
                return None if task is None else await task

            yield cluster, watching, expire

    return connected


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Condition", "Semaphore"])
@loop
async def test_a_task_that_held_something_cannot_go_on(expiring, kind):
    async with expiring() as (cluster, watching, expire):
        held = await getattr(cluster, kind)(name="held")
        theirs = await getattr(watching, kind)(name="held")
        counter = await cluster.dict(name="counter")
        before, go_on = asyncio.Event(), asyncio.Event()

        async def beside():
            await counter.incr("n")
            before.set()
            await go_on.wait()
            return await counter.incr("n")

        task = asyncio.create_task(beside())
        await before.wait()
        await held.acquire()
        await expire()
        assert await theirs.acquire(timeout=10)
        go_on.set()
        assert await task == 2
        for call in (counter.incr, held.acquire, held.release):
            with pytest.raises(mpclient.StaleOwner, match="'held'"):
                await (call("n") if call == counter.incr else call())
        assert await counter.incr("n") == 3
        assert not await held.acquire(timeout=0)
        await theirs.release()


@loop
async def test_a_with_block_ends_in_it(expiring):
    async with expiring() as (cluster, _, expire):
        lock, counter = await cluster.Lock(name="lock"), await cluster.dict(name="counter")
        with pytest.raises(mpclient.StaleOwner):
            async with lock:
                await expire()
                await counter.incr("n")
        async with lock:
            assert await counter.copy() == {}


@loop
async def test_a_session_that_held_nothing_is_replaced_silently(expiring):
    async with expiring() as (cluster, _, expire):
        kept, first = await cluster.dict(name="kept", a=1), cluster.session.id
        await expire()
        assert await kept.copy() == {"a": 1}
        assert cluster.session.id != first


@loop
async def test_who_waited_waits_on(expiring):
    async with expiring() as (cluster, watching, expire):
        queue = await cluster.Queue(name="queue")
        getting = asyncio.create_task(queue.get(timeout=60))
        theirs = await watching.Queue(name="queue")
        await expire()
        await theirs.put("item")
        assert await getting == "item"


@loop
async def test_a_program_that_gave_its_session_up_is_asked_what_it_held(expiring, relay):
    async with expiring(reconnect_timeout=0) as (cluster, watching, _):
        lock, theirs = await cluster.Lock(name="lock"), await watching.Lock(name="lock")
        await lock.acquire()
        relay.refusing = True
        relay.cut()
        with pytest.raises(mpclient.ServerGone):
            await lock.locked()
        assert await theirs.acquire(timeout=10)
        relay.refusing = False
        with pytest.raises(mpclient.StaleOwner):
            await lock.release()
        assert await lock.locked()


@loop
async def test_an_acquire_whose_answer_was_lost_is_made_again(expiring, relay):
    async with expiring() as (cluster, _, expire):
        lock = await cluster.Lock(name="lock")
        first = cluster.session.id

        async def use():
            await cluster.objects()  # else what is cut is the attachment of this task
            relay.arm("down", 0, refuse=True)
            async with lock:
                return cluster.session.id

        assert await expire(use) != first
        assert not await lock.locked()


@loop
async def test_what_nobody_can_know_is_said(expiring, relay):
    async with expiring() as (cluster, watching, expire):
        queue = await cluster.Queue(name="queue")

        async def put():
            await cluster.objects()
            relay.arm("down", 0, refuse=True)
            await queue.put("item")

        with pytest.raises(mpclient.SessionExpired, match="had done queue.put"):
            await expire(put)
        assert await (await watching.Queue(name="queue")).get() == "item"
