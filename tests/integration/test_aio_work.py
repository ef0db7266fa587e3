"""Workers, output and the embedded cluster, from asyncio."""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.integration import workers
from tests.integration.in_loop import loop

from mpclient import aio

mpworker = workers.mpworker
pytestmark = pytest.mark.hosts


@pytest.fixture
def connect(mpworker, server, unique):
    mpworker(server, queue=unique, processes=2).ready()
    return lambda **more: aio.connect(server.address, server.key, **more)


@loop
async def test_functions_run_on_workers(connect):
    async with connect() as cluster:
        assert await cluster.run(pow, 2, 10) == 1024
        assert await cluster.run(lambda *, n: n + 1, n=1) == 2
        with pytest.raises(ZeroDivisionError):
            await cluster.run(divmod, 1, 0)
        results = await asyncio.gather(*(cluster.run(abs, -n) for n in range(200)))
        assert results == list(range(200))
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(await cluster.executor(), os.getpid) != os.getpid()


@loop
async def test_a_job_has_the_shared_objects(connect):
    async with connect() as cluster:
        queue, numbers = await cluster.Queue(), await cluster.list()

        def job(queue, numbers):
            queue.put("from the job")
            numbers.append(1)
            return numbers

        returned = await cluster.run(job, queue, numbers)
        assert await queue.get(timeout=10) == "from the job"
        assert await numbers.copy() == returned.copy() == [1]


@loop
async def test_what_jobs_print_comes_home_before_their_results(connect, capsys):
    async with connect() as cluster:
        for n in range(20):
            await cluster.run(print, "job", n)
            assert capsys.readouterr().out == f"job {n}\n"


WORKER = """
from mpclient.worker import streams
streams.install(cluster.session).route(hear())
done = cluster.Queue(name=hear())
for n in range(200):
    print("line", n)
    done.put(n)
print("last")
cluster.session.close()
"""


@loop
async def test_no_answer_overtakes_a_print(server, program, unique, capsys):
    async with aio.connect(server.address, server.key) as cluster:
        done = await cluster.Queue(name=unique)
        process = program(WORKER)
        process.say(cluster.session.id)
        process.say(unique)
        printed = ""
        for n in range(200):
            assert await done.get(timeout=10) == n
            printed += capsys.readouterr().out
            assert f"line {n}\n" in printed
        await asyncio.to_thread(process.finish)
    printed += capsys.readouterr().out
    assert printed == "".join(f"line {n}\n" for n in range(200)) + "last\n"


@loop
async def test_a_program_of_its_own_server(monkeypatch):
    monkeypatch.delenv("MPSERVE_ADDRESS", raising=False)
    async with aio.connect() as cluster:
        assert await cluster.run(pow, 2, 3) == 8
        queue = await cluster.Queue()
        await queue.put(1)
        assert await queue.get() == 1
