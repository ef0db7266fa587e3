"""A real server with a limit, and real clients: who puts waits, who does not read is dropped, alone."""

from __future__ import annotations

import asyncio
import json
import queue
import resource
import signal
import subprocess
import sys

import psutil
import pytest
from tests import prepared
from tests.integration import encrypted
from tests.integration.encrypted import keywords, options
from tests.integration.in_loop import loop

import mpclient
from mpclient import aio
from mpclient.testing import wait_until

made = encrypted.made

MIB = bytes(1 << 20)
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="no limit of another process's memory")


@pytest.fixture
def small(fresh_server):
    """A server that holds 8 MiB."""
    return fresh_server("--max-memory", "8M")


def memory(cluster) -> dict[str, int]:
    told: dict[str, int] = cluster.status()["memory"]
    return told


def waiting(cluster, n: int) -> None:
    wait_until(lambda: memory(cluster)["waiting"] == n)


def test_puts_wait_for_a_consumer_and_nothing_is_lost(small, in_thread):
    with small.connect() as producer, small.connect() as consumer:
        items, theirs = producer.Queue(name="items"), consumer.Queue(name="items")

        def produce() -> None:
            for n in range(40):
                items.put((n, MIB))

        producing = in_thread(produce)
        waiting(consumer, 1)
        assert memory(consumer)["held_bytes"] <= 8 << 20
        assert [theirs.get()[0] for _ in range(40)] == list(range(40))
        producing()


def test_full_and_no_room_say_what_to_do(small):
    with small.connect() as cluster:
        items, box = cluster.Queue(), cluster.dict(n=0)
        items.put_many([MIB] * 7)
        with pytest.raises(queue.Full, match=r"--max-memory of 8M.*get something, or wait longer"):
            items.put(MIB, block=False)
        with pytest.raises(queue.Full):
            items.put(MIB, timeout=0.05)
        with pytest.raises(mpclient.NoRoom, match=r"dict.set on .*make room"):
            box["k"] = MIB
        with pytest.raises(OSError, match="will never fit"):
            items.put(MIB * 9)
        assert box.incr("n", 1) == 1
        items.get()
        box["k"] = MIB
        assert items.qsize() == 6


def test_mpserve_status_shows_it(small, in_thread):
    with small.connect() as cluster:
        items = cluster.Queue()
        items.put_many([MIB] * 7)
        putting = in_thread(lambda: items.put(MIB))
        waiting(cluster, 1)
        command = ("mpserve", "status", "--connect", small.address)
        shown, told = (prepared.run(*command, *more, env=small.environment) for more in ((), ("--json",)))
        assert (shown.returncode, told.returncode) == (0, 0)
        assert "7.0M of 8M of values held, 1 call waiting for room" in shown.stdout
        told = json.loads(told.stdout)["memory"]
        assert (told["limit_bytes"], told["waiting"]) == (8 << 20, 1)
        items.get()
        putting()


def test_a_put_that_waits_goes_on_waiting_over_a_restart(fresh_server, tmp_path, in_thread):
    server = fresh_server("--max-memory", "8M", "--data", str(tmp_path / "data"))
    with server.connect() as cluster, server.connect() as other:
        items = cluster.Queue(name="items")
        items.put_many([MIB] * 7)
        putting = in_thread(lambda: items.put("last one" + "x" * (1 << 20)))
        waiting(other, 1)
        server.send_signal(signal.SIGKILL)
        server.wait()
        server.start(port=int(server.address.rpartition(":")[2]))
        waiting(other, 1)
        assert memory(other)["held_bytes"] > 7 << 20
        theirs = other.Queue(name="items")
        for _ in range(7):
            assert theirs.get() == MIB
        assert theirs.get()[:8] == "last one"
        putting()


def test_a_pool_goes_on_with_more_jobs_than_fit(fresh_server, in_thread):
    server = fresh_server("--max-memory", "8M")
    worker = prepared.start(
        *("mpworker", "--connect", server.address, "--processes", "1"),
        env=server.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with server.connect() as cluster, cluster.Pool() as pool:
            assert sum(pool.map(len, [MIB] * 30, chunksize=1)) == 30 << 20
    finally:
        worker.terminate()
        worker.wait(20)


@pytest.fixture
def poor(fresh_server):
    """A factory: servers that have so many MiB of address space left."""

    def start(left: int, *options: str):
        server = fresh_server(*options)
        limit_bytes = psutil.Process(server.process.pid).memory_info().vms + (left << 20)
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit_bytes, limit_bytes))
        return server

    return start


@ON_LINUX
@pytest.mark.parametrize("data", [False, True])
def test_a_server_without_memory_refuses_what_is_large_and_goes_on(poor, tmp_path, data):
    server = poor(200, *(["--data", str(tmp_path / "data"), "--sync", "normal"] if data else []))
    with server.connect() as cluster, server.connect() as other:
        lock, items, kept = other.Lock(), cluster.Queue(), 0
        lock.acquire()
        with pytest.raises(mpclient.NoRoom, match="memory"):
            while kept < 40:
                items.put(bytes(16 << 20))
                kept += 1
        assert kept == items.qsize() > 0
        lock.release()
        assert sum(len(item) for item in items.get_many(kept)) == kept << 24


def refuses_only_what_is_too_large(cluster, size):
    """A queue takes a small value after it has refused large ones."""
    items = cluster.Queue()
    for _ in range(2):
        with pytest.raises(mpclient.NoRoom, match="memory"):
            items.put(bytes(size << 20))
    items.put("small")
    assert items.get() == "small"


@ON_LINUX
@pytest.mark.parametrize(("left", "size"), [(60, 62), (30, 200)])
def test_a_value_larger_than_all_memory_is_refused_and_cuts_no_connection(poor, left, size):
    server = poor(left)
    with server.connect() as cluster:
        refuses_only_what_is_too_large(cluster, size)
    assert "peer.failed" not in server.log


@ON_LINUX
@pytest.mark.parametrize(("left", "size"), [(60, 62), (30, 200)])
def test_the_same_where_it_is_decrypted(poor, made, left, size):
    server = poor(left, *options(made.server()))
    with server.connect(**keywords(made.client())) as cluster:
        refuses_only_what_is_too_large(cluster, size)
    assert "peer.failed" not in server.log
    assert "out of memory" not in server.log


@ON_LINUX
def test_a_server_whose_memory_is_full_of_small_things_can_be_relieved(poor, tmp_path):
    server = poor(12, "--data", str(tmp_path / "data"), "--sync", "normal")
    with server.connect() as cluster, server.connect() as other:
        lock, items, kept = other.Lock(), cluster.Queue(), 0
        lock.acquire()
        with pytest.raises(mpclient.NoRoom, match="memory"):
            while kept < 1000:
                items.put(bytes(50 << 10))
                kept += 1
        lock.release()
        assert [len(items.get()) for _ in range(kept)] == [50 << 10] * kept > []
        wait_until(lambda: other.Queue().put(1) is None)


@ON_LINUX
@loop
async def test_a_task_hears_alone_that_there_is_no_memory_for_its_call(poor):
    server = poor(60)
    async with aio.connect(server.address, server.key) as cluster:
        items, waited = await cluster.Queue(), await cluster.Queue()
        waiting = asyncio.create_task(waited.get())
        with pytest.raises(mpclient.NoRoom, match="memory"):
            for _ in range(10):
                await items.put(bytes(16 << 20))
        while not await items.empty():
            await items.get()
        await waited.put("still here")
        assert await waiting == "still here"


@ON_LINUX
def test_a_thread_for_which_a_program_has_no_file_left_hears_it_alone(server, program):
    run = program(
        """
import os, resource, threading
lock = cluster.Lock()
lock.acquire()
cluster.session.reconnect_timeout_s = 0.3

def call():
    try:
        lock.locked()
    except BaseException as err:
        say(type(err).__name__, str(err))

free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
thread = threading.Thread(target=call)
thread.start()
thread.join()
lock.release()
""",
        environment=server.environment,
    )
    said = run.line()
    assert said.startswith("NoRoom")
    assert "ulimit -n" in said
    assert "other threads go on" in said
    run.finish()


def test_a_program_that_stops_reading_is_bounded_and_dropped_alone(fresh_server, program):
    server = fresh_server("--session-timeout", "2s")
    with server.connect() as cluster:
        box = cluster.dict(name="box")
        box["k"] = bytes(16 << 20)
        greedy = program(
            """
box = cluster.dict(name="box")
def read():
    while True:
        box["k"]
threads = [threading.Thread(target=read, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
box["k"]
say("reads")
hear()
""",
            environment=server.environment,
        )
        assert greedy.line() == "reads"
        greedy.process.send_signal(signal.SIGSTOP)
        process = psutil.Process(server.process.pid)
        for n in range(200):
            assert box.incr("n", 1) == n + 1
        assert process.memory_info().rss < 400 << 20
        wait_until(lambda: "session.lost" in server.log, 20)
        assert server.log.count("session.lost") == 1
        assert box.incr("n", 1) == 201
        wait_until(lambda: len(process.net_connections()) <= 4, 20)
        greedy.process.send_signal(signal.SIGCONT)
