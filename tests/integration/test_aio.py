"""The client of asyncio on the real server: all kinds, and values."""

from __future__ import annotations

import asyncio
import ctypes
import pickle
import secrets

import pytest
from tests.integration.in_loop import loop, until

from mpclient import aio, managed_pool
from mpshared.errors import BrokenBarrierError, Empty, Full, NotHeld, NotSupported, ServerGone, ShutDown


@pytest.fixture
def connect(server):
    return lambda **more: aio.connect(server.address, server.key, **{"reconnect_timeout": 5.0, **more})


@loop
async def test_a_value_is_what_it_was_when_the_method_was_called(connect):
    memory = bytearray(1 << 16)
    puts = []
    async with connect() as cluster:
        queue = await cluster.Queue()
        for number in range(5):
            memory[:] = bytes([number]) * len(memory)
            puts.append(queue.put(pickle.PickleBuffer(memory)))
        await asyncio.gather(*puts)
        assert sorted([(await queue.get())[0] for _ in puts]) == [*range(5)]


# -- each kind ------------------------------------------------------------------------------------


@loop
async def test_queues(connect):
    async with connect() as cluster:
        queue = await cluster.Queue(2)
        await queue.put("a")
        await queue.put_nowait(["b"])
        assert await queue.full()
        with pytest.raises(Full):
            await queue.put("c", timeout=0.01)
        assert (await queue.qsize(), await queue.empty()) == (2, False)
        assert [await queue.get(), await queue.get_nowait()] == ["a", ["b"]]
        with pytest.raises(Empty):
            await queue.get(block=False)
        with pytest.raises(ValueError, match="non-negative"):
            await queue.get(timeout=-1)
        stack, smallest = await cluster.LifoQueue(), await cluster.PriorityQueue()
        for each in (stack, smallest):
            await each.put_many([2, 1, 3])
        assert await stack.get_many(5) == [3, 1, 2]
        assert await smallest.get_many(5) == [1, 2, 3]
        with pytest.raises(NotSupported, match="no buffered"):
            await cluster.Queue(buffered=True)


@loop
async def test_a_queue_is_iterated_until_it_is_shut_down(connect):
    async with connect() as cluster:
        queue = await cluster.SimpleQueue()
        await queue.put_many(range(3))
        await queue.shutdown()
        assert [item async for item in queue] == [0, 1, 2]
        with pytest.raises(ShutDown):
            await queue.put(1)


@loop
async def test_a_managers_pool_is_for_programs_with_threads(server, connect):
    name = f"pools-{secrets.token_hex(4)}"
    async with connect() as cluster:
        queue = await cluster.Queue(name=name)
        with server.connect() as other, managed_pool.ManagedPool(other, processes=1) as pool:
            other.Queue(name=name).put(pool)
            with pytest.raises(NotSupported, match=r"cluster\.executor"):
                await queue.get()
        await queue.put("gone on")
        assert await queue.get() == "gone on"


@loop
async def test_joinable_queues(connect):
    async with connect() as cluster:
        queue = await cluster.JoinableQueue()
        await queue.put_many("ab")
        assert await queue.join(timeout=0) is False
        joined = asyncio.create_task(queue.join())
        for item in "ab":
            assert await queue.get() == item
            await queue.task_done()
        await joined
        with pytest.raises(ValueError, match="task_done"):
            await queue.task_done()
        assert (await queue.dead.list(), await queue.dead.requeue(), await queue.dead.drop()) == ([], 0, 0)
        assert await queue.clear() == 0


@loop
async def test_locks(connect):
    async with connect() as cluster:
        for lock in (await cluster.Lock(), await cluster.RLock(), await cluster.Condition()):
            async with lock as taken:
                assert taken
                assert await lock.locked()
                assert await lock.fence() > 0
            assert not await lock.locked()
            assert not await lock.recover()
            with pytest.raises(NotHeld):
                await lock.release()


@loop
async def test_an_rlock_belongs_to_its_task(connect):
    async with connect() as cluster:
        lock = await cluster.RLock()

        async def take():
            assert await lock.acquire()
            assert await lock.acquire()

        await asyncio.create_task(take())  # its end hands the lock on
        async with lock:
            attempt = asyncio.create_task(lock.acquire(blocking=False))
            assert await attempt is False
            assert await lock.acquire(blocking=False)
            await lock.release()


@loop
async def test_semaphores_and_events(connect):
    async with connect() as cluster:
        permits = await cluster.BoundedSemaphore(2)
        async with permits:
            assert await permits.get_value() == 1
            assert not await permits.locked()
        with pytest.raises(ValueError, match="released"):
            await permits.release()
        event = await cluster.Event()
        assert await event.wait(0) is False
        waiting = asyncio.create_task(event.wait())
        await event.set()
        assert await waiting is True
        await event.clear()
        assert not await event.is_set()


@loop
async def test_conditions(connect):
    async with connect() as cluster:
        lock = await cluster.Lock()
        condition = await cluster.Condition(lock)
        numbers = await cluster.list()

        async def consume():
            async with condition:
                assert await condition.wait_for(lambda: done, timeout=10)
                return await numbers.copy()

        done = False
        consumers = [asyncio.create_task(consume()) for _ in range(3)]
        async with condition:
            await numbers.extend([1, 2])
            done = True
            await condition.notify_all()
        while not all(task.done() for task in consumers):
            async with condition:
                await condition.notify_all()
        assert [await task for task in consumers] == [[1, 2]] * 3
        with pytest.raises(TypeError, match="made by this cluster"):
            await cluster.Condition(asyncio.Lock())


@loop
async def test_barriers(connect):
    async with connect() as cluster:
        acted = []

        async def act():
            acted.append(await barrier.status())

        barrier = await cluster.Barrier(3, act)
        assert sorted(await asyncio.gather(*(barrier.wait() for _ in range(3)))) == [0, 1, 2]
        assert len(acted) == 1

        async def enter():
            async with barrier as number:
                return number

        assert sorted(await asyncio.gather(*(enter() for _ in range(3)))) == [0, 1, 2]
        await barrier.abort()
        with pytest.raises(BrokenBarrierError):
            await barrier.wait()
        await barrier.reset()
        assert await barrier.status() == (3, 0, False)


@loop
async def test_many_values_go_in_parts(connect, monkeypatch):
    monkeypatch.setattr("mpclient.objects.base.PART", 3)
    async with connect() as cluster:
        items, table, members = (
            await cluster.list(range(7)),
            await cluster.dict(),
            await cluster.set(range(7)),
        )
        await items.extend(range(7, 11))
        await table.update({n: n for n in range(7)}, a=1)
        assert await items.copy() == [*range(11)]
        assert await table.copy() == {**{n: n for n in range(7)}, "a": 1}
        assert await members.copy() == {*range(7)}


@loop
async def test_dicts(connect):
    async with connect() as cluster:
        shared = await cluster.dict({"a": 1}, b=2)
        assert (await shared["a"], await shared.get("x", 7), await shared.len()) == (1, 7, 2)
        with pytest.raises(KeyError, match="x"):
            await shared["x"]
        await shared.set("c", [3])
        await shared.delete("a")
        with pytest.raises(KeyError, match="a"):
            await shared.delete("a")
        assert await shared.contains("c")
        assert [key async for key in shared] == await shared.keys() == ["b", "c"]
        assert await shared.items() == [("b", 2), ("c", [3])]
        assert await shared.values() == [2, [3]]
        assert await shared.incr("n", 5) == 5
        assert await shared.cas("n", 5, aio.MISSING)
        assert await shared.setdefault("b", 9) == 2
        assert await shared.pop("c") == [3]
        assert await shared.pop("c", None) is None
        await shared.update(d=4)
        assert await shared.popitem() == ("d", 4)
        assert await shared.copy() == {"b": 2}
        await shared.clear()
        assert await shared.copy() == {}


@loop
async def test_lists(connect):
    async with connect() as cluster:
        shared = await cluster.list([3, 1])
        await shared.append(2)
        await shared.extend([5, 4])
        await shared.insert(0, 9)
        assert await shared[1:3] == [3, 1]
        assert (await shared[-1], await shared.len(), await shared.index(5)) == (4, 6, 4)
        await shared.sort()
        await shared.sort(key=lambda n: -n)
        assert [item async for item in shared] == [9, 5, 4, 3, 2, 1]
        await shared.set(0, 0)
        await shared.delete(slice(1, 3))
        assert await shared.pop() == 1
        await shared.remove(0)
        await shared.reverse()
        assert await shared.copy() == [2, 3]
        assert await shared.contains(3)
        assert await shared.count(3) == 1
        assert await shared.incr(0, 10) == 12
        assert await shared.cas(0, 12, "x")
        with pytest.raises(IndexError):
            await shared[5]
        await shared.clear()


@loop
async def test_sets_and_namespaces(connect):
    async with connect() as cluster:
        shared = await cluster.set("ab")
        await shared.add("c")
        await shared.discard("x")
        with pytest.raises(KeyError):
            await shared.remove("x")
        await shared.intersection_update("abd", "abe")
        await shared.intersection_update()
        await shared.update("y", "z")
        await shared.difference_update("z")
        await shared.symmetric_difference_update("ya")
        assert await shared.copy() == {member async for member in shared} == {"b"}
        assert (await shared.contains("b"), await shared.len(), await shared.pop()) == (True, 1, "b")
        names = await cluster.Namespace(x=1)
        await names.set("y", "two")
        assert (await names.get("y"), await names.incr("x")) == ("two", 2)
        await names.delete("y")
        with pytest.raises(AttributeError):
            await names.get("y")
        assert await names.asdict() == {"x": 2}


@loop
async def test_numbers(connect):
    async with connect() as cluster:
        value = await cluster.Value("i", 3)
        async with value:
            await value.set(await value.get() + 1)
        assert await value.incr() == 5
        assert await value.cas(5, 6)
        with pytest.raises(OverflowError):
            await value.set(1 << 40)
        async with (await cluster.Value("i", lock=None)).get_lock():
            pass  # as in the standard library None is True
        plain = await cluster.Value(ctypes.c_bool, True, lock=False)
        assert await plain.get() is True
        array = await cluster.Array("i", [1, 2, 3])
        await array.set(0, 7)
        await array.set(slice(1, 3), [8, 9])
        with pytest.raises(ValueError, match="same size"):
            await array.set(slice(1, 3), [8])
        assert (await array[0], await array[1:], await array.len()) == (7, [8, 9], 3)
        assert [number async for number in array] == await array.tolist() == [7, 8, 9]
        assert await array.incr(0) == 8
        async with array.get_lock():
            pass
        text = await cluster.Array("c", b"text", lock=False)
        assert await text[:] == b"text"


@loop
async def test_pipes(connect):
    async with connect() as cluster:
        one, two = await cluster.Pipe()
        await one.send({"a": 1})
        await one.send_bytes(b"bytes")
        assert await two.poll(1)
        assert await two.recv() == {"a": 1}
        assert await two.recv_bytes() == b"bytes"
        await one.send("last")
        async with one:
            pass
        assert one.closed
        assert [message async for message in two] == ["last"]
        with pytest.raises(OSError, match="closed"):
            await one.send(1)
        with pytest.raises(OSError, match="read-only"):
            await (await cluster.Pipe(duplex=False))[0].send(1)


@loop
async def test_the_cluster_itself(connect, unique):
    async with connect(name=unique) as cluster:
        await cluster.Queue(name=unique)
        assert unique in [found["name"] for found in await cluster.objects()]
        assert unique in [session["name"] for session in (await cluster.status())["sessions"]]
        assert await cluster.delete(unique)
        assert not await cluster.delete(unique)
    with pytest.raises(ServerGone, match="closed its connection"):
        await cluster.status()


# -- values ---------------------------------------------------------------------------------------


@loop
async def test_objects_travel_in_values_to_both_kinds_of_clients(connect, cluster, unique):
    async with connect() as here:
        queue, box = await here.Queue(name=unique), await here.dict()
        theirs = cluster.Queue(name=unique)
        await queue.put([box, await here.Value("i", 4), here])
        found, value, other = theirs.get(timeout=10)
        found["a"] = 1
        with value.get_lock():
            assert value.value == 4
        assert other.session is cluster.session
        theirs.put((found, cluster.Array("i", [1]), cluster.Barrier(1, print), cluster.JoinableQueue()))
        del found, value
        again, array, barrier, jobs = await queue.get()
        assert again == box
        assert await again["a"] == 1
        async with array:
            assert await array[0] == 1
        assert await barrier.wait() == 0
        assert type(jobs) is aio.JoinableQueue
        with pytest.raises(ZeroDivisionError) as caught:
            theirs.put(Explosive())
            await queue.get()
        assert "while opening a value" in caught.value.__notes__[0]


class Explosive:
    def __reduce__(self):
        return divmod, (1, 0)


@loop
async def test_references_are_given_back(connect, cluster):
    async with connect() as here:
        box = await here.dict()
        ident = box._handle.ident  # others' objects come and go meanwhile

        async def there():
            return ident in {each["ident"] for each in (await here.status())["objects"]}

        async def gone():
            return not await there()

        assert await there()
        del box
        await until(gone)
