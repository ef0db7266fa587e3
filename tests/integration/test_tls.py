"""TLS as people use it: `mpserve tls init`, then server, workers and programs over real TCP, each with the
files it is given. What is refused: `test_tls_refused`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.managers import SyncManager
from pathlib import Path

import pytest
from tests.integration import commands, encrypted, workers
from tests.integration.conftest import PRELUDE, Server
from tests.integration.encrypted import Tunnel, keywords, options, variables
from tests.integration.relay import Relay

import mpclient
from mpclient import aio
from mpclient.testing import wait_until

made = encrypted.made
tls_server = encrypted.tls_server
mpworker = workers.mpworker
home = commands.home
pytestmark = pytest.mark.hosts


@pytest.fixture
def cluster(tls_server) -> Iterator[mpclient.Cluster]:
    with tls_server.connect() as cluster:
        yield cluster


def python(source: str, server: Server, cwd: Path, **environment: str) -> str:
    """Run a program to its end."""
    path = cwd / "program.py"
    path.write_text(source)
    done = subprocess.run(
        [sys.executable, str(path)],
        env=server.environment | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- what works -----------------------------------------------------------------------------------


class TestPrograms:
    @pytest.mark.parametrize("size", [0, 100, 1 << 20, 20 << 20])
    def test_values_come_back(self, cluster, size):
        queue = cluster.Queue()
        value = os.urandom(size)
        queue.put(value)
        assert queue.get(timeout=20) == value

    def test_many_small_ones(self, cluster):
        queue = cluster.Queue()
        for number in range(3000):
            queue.put(number)
        assert [queue.get(timeout=20) for _ in range(3000)] == list(range(3000))

    def test_threads_each_on_a_connection_of_its_own(self, cluster):
        total = cluster.Value("i", 0)

        def add() -> None:
            for _ in range(50):
                with total.get_lock():
                    total.value += 1

        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert total.value == 400

    def test_asyncio(self, tls_server):
        async def main() -> tuple[int, int]:
            more = keywords(tls_server.files)
            async with aio.connect(tls_server.address, tls_server.key, **more) as cluster:
                queue = await cluster.Queue()
                await queue.put(b"v" * (5 << 20))
                large = await queue.get()
                await asyncio.gather(*(queue.put(number) for number in range(500)))
                return len(large), sum([await queue.get() for _ in range(500)])

        assert asyncio.run(main()) == (5 << 20, sum(range(500)))

    def test_by_the_environment(self, tls_server, tmp_path):
        said = python(
            PRELUDE + "box = cluster.dict(one=1)\nsay(box['one'], cluster.session.tls is not None)",
            tls_server,
            tmp_path,
        )
        assert said == "1 True"

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_children_of_the_standard_library(self, tls_server, tmp_path, method):
        """Certificates given as arguments, not in the environment, reach them too."""
        source = f"""
import multiprocessing
import os

import mpclient

FILES = {keywords(tls_server.files)!r}

def work(queue):
    queue.put((os.getpid(), "done"))

if __name__ == "__main__":
    cluster = mpclient.connect(**FILES)
    queue = cluster.Queue()
    child = multiprocessing.get_context({method!r}).Process(target=work, args=(queue,))
    child.start()
    pid, word = queue.get(timeout=30)
    child.join(30)
    print(pid == child.pid, word, child.exitcode)
    queue.put("still there")
    print(queue.get(timeout=30))
"""
        nothing = dict.fromkeys(variables(tls_server.files), "")
        assert python(source, tls_server, tmp_path, **nothing) == "True done 0\nstill there"

    def test_names_addresses_and_loopback(self, made, tls_server):
        with tls_server.connect() as one:
            one.dict(name="shared box")["k"] = 1
        port = tls_server.address.rpartition(":")[2]
        files = keywords(tls_server.files)
        with mpclient.connect(f"localhost:{port}", tls_server.key, **files) as two:
            assert two.dict(name="shared box")["k"] == 1

    def test_there_is_no_shortcut_past_the_certificates(self, cluster):
        assert cluster.session.start().shortcut is None

    def test_a_server_without_a_ca_lets_in_whoever_has_the_key(self, made, fresh_server):
        server = fresh_server(*options(made.server()._replace(ca="")))
        with mpclient.connect(server.address, server.key, tls_ca=made.ca) as cluster:
            assert cluster.list([1])[0] == 1


class TestWorkers:
    def test_jobs_processes_and_what_they_connect_to(self, tls_server, mpworker, tmp_path):
        host = mpworker(tls_server, queue="tls jobs", processes=2).ready()
        source = (
            PRELUDE
            + """
def square(number):
    return number * number

def ask(name):
    import mpclient
    return mpclient.connect().dict(name=name)["answer"]

def child(queue):
    print("hello from afar", flush=True)
    queue.put("came")

with cluster.Pool() as pool:
    say(sum(pool.map(square, range(100))))
    cluster.dict(name="tls box")["answer"] = 42
    say(pool.apply(ask, ("tls box",)))
queue = cluster.Queue()
process = cluster.Process(target=child, args=(queue,))
process.start()
say(queue.get(timeout=30))
process.join()
say(process.exitcode)
"""
        )
        said = python(source, tls_server, tmp_path).splitlines()
        assert sorted(said) == sorted(["328350", "42", "hello from afar", "came", "0"])
        assert host.process.poll() is None

    def test_its_own_files_win_over_the_environment(self, made, tls_server, mpworker):
        broken = dict.fromkeys(variables(tls_server.files), "/no/such")
        host = mpworker(tls_server, *options(made.client()), queue="own files", environment=broken).ready()
        assert host.events("worker.ready")

    def test_a_job_whose_worker_is_killed_runs_again(self, tls_server, mpworker, tmp_path):
        host = mpworker(tls_server, queue="killed", processes=1).ready()
        source = (
            PRELUDE
            + f"""
import signal

def die_once(path):
    import os
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "again"

with cluster.Pool() as pool:
    say(pool.apply(die_once, ({str(tmp_path / "died")!r},)))
"""
        )
        assert python(source, tls_server, tmp_path) == "again"
        assert host.process.poll() is None


@pytest.fixture(scope="module")
def patient(made, tmp_path_factory) -> Iterator[encrypted.TlsServer]:
    """A server that waits until a client on a busy machine is back."""
    words = (*options(made.server()), "--grace", "20s")
    server = encrypted.TlsServer(tmp_path_factory.mktemp("patient") / "server", words)
    server.files = made.client()
    yield server.start()
    server.stop()


class TestCuts:
    @pytest.fixture
    def relay(self, patient) -> Iterator[Relay]:
        host, port = patient.address.rsplit(":", 1)
        relay = Relay((host, int(port)))
        yield relay
        relay.close()

    @pytest.mark.parametrize("direction", ["up", "down"])
    def test_each_call_is_done_once_wherever_it_is_cut(self, patient, relay, direction):
        files = keywords(patient.files)
        with mpclient.connect(relay.address, patient.key, reconnect_timeout=20.0, **files) as cluster:
            numbers = cluster.list()
            numbers.append("warm")
            for place in range(0, 120, 7):
                relay.arm(direction, place)
                numbers.append(place)
                relay.disarm()
            assert list(numbers) == ["warm", *range(0, 120, 7)]
        assert relay.cuts > 5

    def test_in_the_middle_of_a_large_value(self, patient, relay):
        files = keywords(patient.files)
        with mpclient.connect(relay.address, patient.key, reconnect_timeout=20.0, **files) as cluster:
            box = cluster.dict()
            value = os.urandom(3 << 20)
            for place in (100_000, 1 << 20, 3 << 20):
                relay.arm("up", place)
                box["k"] = value
                relay.arm("down", place)
                assert box["k"] == value
                relay.disarm()
        assert relay.cuts >= 4

    def test_asyncio_goes_on_over_a_new_connection(self, patient, relay):
        async def main() -> list[int]:
            more = keywords(patient.files)
            async with aio.connect(relay.address, patient.key, reconnect_timeout=20.0, **more) as cluster:
                numbers = await cluster.list()
                for number in range(5):
                    relay.arm("down", 20)
                    await numbers.append(number)
                    relay.disarm()
                return await numbers.copy()

        assert asyncio.run(main()) == list(range(5))

    def test_during_the_handshake(self, patient, relay):
        relay.arm("down", 700)
        with mpclient.connect(relay.address, patient.key, **keywords(patient.files)) as cluster:
            assert cluster.list([1])[0] == 1
        assert relay.cuts == 1


class TestStandardLibrary:
    def test_by_the_plain_door(self, tls_server, cluster):
        path = str(tls_server.folder.parent / "plain")
        manager = SyncManager(path, tls_server.key.encode())
        manager.connect()
        before = multiprocessing.current_process().authkey
        multiprocessing.current_process().authkey = tls_server.key.encode()
        try:
            box = manager.dict(one=1)
            queue = cluster.Queue(name="for all")
            queue.put("from afar")
            assert box.copy() == {"one": 1}
        finally:
            multiprocessing.current_process().authkey = before

    def test_our_own_clients_too(self, tls_server):
        with mpclient.connect(f"unix:{tls_server.folder.parent / 'plain'}", tls_server.key) as cluster:
            assert cluster.session.tls is None
            assert cluster.list([1])[0] == 1

    def test_at_the_tls_port_they_are_told_what_to_do(self, tls_server):
        host, _, port = tls_server.address.rpartition(":")
        manager = SyncManager((host, int(port)), tls_server.key.encode())
        with pytest.raises((multiprocessing.AuthenticationError, AssertionError), match="--plain"):
            manager.connect()

    def test_through_a_tunnel_that_speaks_tls_for_them(self, tls_server):
        with Tunnel(tls_server, tls_server.files) as where:
            manager = SyncManager(where, tls_server.key.encode())
            manager.connect()
            assert manager.address == where


def test_the_steps_that_init_prints_can_be_typed(home, tmp_path):
    """`mpserve tls init`, the server's line, and a worker's and a program's line with the client's folder."""
    made = home.run("tls", "init", "tls")
    assert made.returncode == 0, made.stderr
    lines = [line.strip() for line in made.stdout.splitlines() if line.startswith("    ")]
    start, fetch, worker, export = lines
    assert fetch.startswith("scp -rp ")
    (home.folder / "tls" / "client").rename(home.folder / "mpserve-tls")  # what the line with scp does
    out = (home.folder / "out").open("wb")
    with out:
        server = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {start} --port 0 --log-format json"],
            env=home.environment,
            cwd=home.folder,
            stdout=out,
            stderr=out,
        )
    try:
        log = home.folder / "out"
        wait_until(lambda: "server.ready" in log.read_text() or server.poll() is not None, 20)
        port = log.read_text().partition('"address": "')[2].partition('"')[0].rpartition(":")[2]
        assert port, log.read_text()
        at = f"localhost:{port}"
        words = worker.split()
        words[words.index("--connect") + 1] = at
        ping = " ".join(["mpserve", "ping", *words[1:]])
        assert home.type(ping).returncode == 0
        asked = home.type(f"{export} MPSERVE_ADDRESS={at} && mpserve status")
        assert asked.returncode == 0, asked.stderr
        assert "0 objects" in asked.stdout
    finally:
        server.terminate()
        server.wait(10)
