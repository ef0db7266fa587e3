"""TLS as people use it: `mpserve tls init`, then server, workers and programs over real TCP, each with the
files it is given; and what they are told where something does not fit.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.managers import SyncManager
from pathlib import Path

import pytest
from tests.certificates import Made
from tests.integration import commands, workers
from tests.integration.conftest import PRELUDE, Server
from tests.integration.relay import Relay

import mpclient
from mpclient import aio
from mpclient.testing import wait_until
from mpshared.errors import NotAllowed, ProtocolViolation, ServerGone
from mpshared.tls import TlsFiles, TlsProblem

mpworker = workers.mpworker
home = commands.home
pytestmark = pytest.mark.hosts
COMMANDS = Path(sys.executable).parent


def options(files: TlsFiles) -> tuple[str, ...]:
    named = zip(("--tls-cert", "--tls-key", "--tls-ca"), files, strict=True)
    return tuple(word for option, path in named if path for word in (option, path))


def keywords(files: TlsFiles) -> dict[str, str]:
    return {f"tls_{name}": path for name, path in files._asdict().items() if path}


def variables(files: TlsFiles) -> dict[str, str]:
    return {f"MPSERVE_TLS_{name.upper()}": path for name, path in files._asdict().items()}


class TlsServer(Server):
    """One that is dialled with certificates."""

    files: TlsFiles = TlsFiles()

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | variables(self.files)

    def connect(self, **more) -> mpclient.Cluster:
        return super().connect(**keywords(self.files) | more)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def tls_server(made, tmp_path_factory) -> Iterator[TlsServer]:
    folder = tmp_path_factory.mktemp("tls server")
    server = TlsServer(folder / "main", (*options(made.server()), "--plain", f"unix:{folder / 'plain'}"))
    server.files = made.client()
    yield server.start()
    server.stop()


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


class TestCuts:
    @pytest.fixture
    def relay(self, tls_server) -> Iterator[Relay]:
        host, port = tls_server.address.rsplit(":", 1)
        relay = Relay((host, int(port)))
        yield relay
        relay.close()

    @pytest.mark.parametrize("direction", ["up", "down"])
    def test_each_call_is_done_once_wherever_it_is_cut(self, tls_server, relay, direction):
        files = keywords(tls_server.files)
        with mpclient.connect(relay.address, tls_server.key, reconnect_timeout=20.0, **files) as cluster:
            numbers = cluster.list()
            numbers.append("warm")
            for place in range(0, 120, 7):
                relay.arm(direction, place)
                numbers.append(place)
                relay.disarm()
            assert list(numbers) == ["warm", *range(0, 120, 7)]
        assert relay.cuts > 5

    def test_in_the_middle_of_a_large_value(self, tls_server, relay):
        files = keywords(tls_server.files)
        with mpclient.connect(relay.address, tls_server.key, reconnect_timeout=20.0, **files) as cluster:
            box = cluster.dict()
            value = os.urandom(3 << 20)
            for place in (100_000, 1 << 20, 3 << 20):
                relay.arm("up", place)
                box["k"] = value
                relay.arm("down", place)
                assert box["k"] == value
                relay.disarm()
        assert relay.cuts >= 4

    def test_asyncio_goes_on_over_a_new_connection(self, tls_server, relay):
        async def main() -> list[int]:
            more = keywords(tls_server.files)
            async with aio.connect(relay.address, tls_server.key, reconnect_timeout=20.0, **more) as cluster:
                numbers = await cluster.list()
                for number in range(5):
                    relay.arm("down", 20)
                    await numbers.append(number)
                    relay.disarm()
                return await numbers.copy()

        assert asyncio.run(main()) == list(range(5))

    def test_during_the_handshake(self, tls_server, relay):
        relay.arm("down", 700)
        with mpclient.connect(relay.address, tls_server.key, **keywords(tls_server.files)) as cluster:
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


class Tunnel:
    """What `stunnel` or `socat` does: plain on this machine, TLS to the server; with `ends`, TLS here too."""

    def __init__(self, server: TlsServer, files: TlsFiles, ends: ssl.SSLContext | None = None) -> None:
        self._context = ssl.create_default_context(cafile=files.ca)
        self._context.load_cert_chain(files.cert, files.key)
        self._ends = ends
        host, _, port = server.address.rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> tuple[str, int]:
        self._run(self._serve)
        where: tuple[str, int] = self._listener.getsockname()
        return where

    def __exit__(self, *_exc: object) -> None:
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for sock in self._sockets:
            sock.close()

    def _run(self, target: Callable[..., None], *args: object) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._ends is not None:
                    client = self._ends.wrap_socket(client, server_side=True)
                self._sockets.append(client)
                server = self._context.wrap_socket(
                    socket.create_connection(self._target), server_hostname=self._target[0]
                )
                self._sockets.append(server)
                self._run(self._pump, client, server)
                self._run(self._pump, server, client)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


# -- what does not --------------------------------------------------------------------------------


def run(command: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
    return subprocess.run(
        [str(COMMANDS / command), *words], env=kept | environment, capture_output=True, text=True, timeout=30
    )


class TestRefused:
    """One line that says what is wrong, its exit code, and a line in the server's log."""

    @pytest.fixture
    def cases(self, made, tmp_path) -> dict[str, TlsFiles]:
        foreign = Made(tmp_path / "foreign")
        return {
            "no certificate": TlsFiles(ca=made.ca),
            "expired": made.expired_client(),
            "foreign": foreign.client()._replace(ca=made.ca),
            "foreign authority": foreign.client(),
        }

    CASES = (
        ("no certificate", "the server wants a certificate", "it has no certificate"),
        ("expired", "certificate expired", "its certificate is not accepted: certificate has expired"),
        ("foreign", "does not accept this side's certificate", "its certificate is not accepted"),
        ("foreign authority", "the server's certificate is not accepted", "does not accept this server's"),
    )

    @pytest.mark.parametrize(("case", "told", "logged"), CASES)
    def test_programs(self, tls_server, cases, case, told, logged):
        before = len(tls_server.log)
        with pytest.raises(NotAllowed, match=told) as caught:
            mpclient.connect(tls_server.address, tls_server.key, **keywords(cases[case]))
        assert caught.value.fields["reason"] == "certificate"
        wait_until(lambda: logged in tls_server.log[before:], 10)

    @pytest.mark.parametrize("command", ["ping", "status", "mpworker"])
    @pytest.mark.parametrize(("case", "told", "logged"), CASES)
    def test_commands(self, tls_server, cases, command, case, told, logged):
        words = ("--connect", tls_server.address, *options(cases[case]))
        key = {"MPSERVE_AUTHKEY": tls_server.key}
        done = (
            run(command, *words, **key) if command == "mpworker" else run("mpserve", command, *words, **key)
        )
        assert done.returncode == (1 if command == "ping" else 4)
        [line] = [line for line in done.stderr.splitlines() if not line.startswith("{")][-1:]
        assert told in line
        assert "Traceback" not in done.stderr

    def test_a_program_without_tls(self, tls_server):
        before = len(tls_server.log)
        with pytest.raises(ProtocolViolation, match="speaks TLS there; .* --tls-ca") as caught:
            mpclient.connect(tls_server.address, tls_server.key)
        assert caught.value.fields["reason"] == "tls"
        wait_until(lambda: "a client without TLS waits so" in tls_server.log[before:], 10)

    def test_a_program_with_tls_where_none_is_spoken(self, made, server):
        before = len(server.log)
        with pytest.raises(
            ProtocolViolation, match="the server does not speak TLS; start it with --tls-cert"
        ):
            mpclient.connect(server.address, server.key, **keywords(made.client()))
        wait_until(lambda: "it speaks TLS, and this port does not" in server.log[before:], 10)

    def test_a_command_without_tls(self, tls_server):
        done = run("mpserve", "ping", "--connect", tls_server.address, MPSERVE_AUTHKEY=tls_server.key)
        assert done.returncode == 1
        assert "--tls-ca" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_a_name_that_is_not_in_the_certificate(self, made, fresh_server):
        server = fresh_server(*options(made.server("server.example")))
        with pytest.raises(NotAllowed, match="mpserve tls init --host"):
            mpclient.connect(server.address, server.key, **keywords(made.client()))

    def test_a_wrong_key_within(self, tls_server):
        with pytest.raises(NotAllowed, match="keys differ"):
            mpclient.connect(tls_server.address, "another key of 16 bytes", **keywords(tls_server.files))

    def test_a_relay_that_ends_tls_is_found_out(self, made, tls_server):
        """It has a certificate that the client accepts, and one that the server accepts."""
        mine = made.server()
        ends = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ends.load_cert_chain(mine.cert, mine.key)
        before = len(tls_server.log)
        with (
            Tunnel(tls_server, made.client(), ends) as (host, port),
            pytest.raises(NotAllowed, match="somebody stands between"),
        ):
            mpclient.connect(f"{host}:{port}", tls_server.key, **keywords(tls_server.files))
        wait_until(lambda: "somebody stands between" in tls_server.log[before:], 10)

    def test_slow_handshakes_stall_nobody_and_end(self, tls_server, cluster):
        host, _, port = tls_server.address.rpartition(":")
        slow = [socket.create_connection((host, int(port))) for _ in range(50)]
        box = cluster.dict()
        try:
            for sock in slow[:25]:
                sock.sendall(b"\x16\x03\x01\x02\x00\x01")
            for number in range(100):
                box[number] = number
            for sock in slow:
                sock.settimeout(20)
                while sock.recv(1000):
                    pass
        finally:
            for sock in slow:
                sock.close()
        assert box[99] == 99

    def test_a_program_over_a_unix_socket(self, made, tls_server):
        with pytest.raises(TlsProblem, match="leave out --tls-ca"):
            mpclient.connect(f"unix:{tls_server.folder.parent / 'plain'}", tls_server.key, tls_ca=made.ca)

    def test_nobody_there(self, made):
        with pytest.raises(ServerGone, match="nobody listens"):
            mpclient.connect("127.0.0.1:1", "k" * 16, tls_ca=made.ca, connect_timeout=0.1)


class TestCommandLines:
    def broken(self, made: Made, tmp_path: Path, what: str) -> TlsFiles:
        files, other = made.server(), made.server()
        wrong = tmp_path / "wrong"
        wrong.write_text("nothing")
        open_key = tmp_path / "open.key"
        open_key.write_bytes(Path(files.key).read_bytes())
        open_key.chmod(0o644)
        return {
            "no such file": files._replace(cert="/no/such"),
            "no key": files._replace(key=""),
            "wrong file": files._replace(ca=str(wrong)),
            "key of another": files._replace(key=other.key),
            "open key": files._replace(key=str(open_key)),
            "expired": made.expired_server(),
            "for clients": made.client(),
        }[what]

    @pytest.mark.parametrize(
        ("what", "told"),
        [
            ("no such file", "--tls-cert: the file /no/such cannot be read"),
            ("no key", "needs --tls-key"),
            ("wrong file", "holds no certificate"),
            ("key of another", "is not the key of the certificate"),
            ("open key", "type: chmod 600"),
            ("expired", "would be refused by every client (certificate has expired)"),
            ("for clients", "would be refused by every client"),
        ],
    )
    def test_a_server_with_files_that_cannot_be(self, made, tmp_path, what, told):
        done = run(
            "mpserve",
            "start",
            "--port",
            "0",
            *options(self.broken(made, tmp_path, what)),
            MPSERVE_AUTHKEY="k" * 16,
        )
        assert done.returncode == 4
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.parametrize("what", ["no such file", "no key", "wrong file", "key of another", "open key"])
    def test_a_worker_and_a_question_with_files_that_cannot_be(self, made, tmp_path, what):
        words = options(self.broken(made, tmp_path, what))
        for command in (("mpworker",), ("mpserve", "status")):
            done = run(*command, "--connect", "127.0.0.1:1", *words, MPSERVE_AUTHKEY="k" * 16)
            assert done.returncode == 4
            assert len(done.stderr.splitlines()) == 1
            assert "--tls" in done.stderr

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("--host", "unix:/tmp/never"), "nothing is encrypted; leave out --tls-cert"),
            (("--port", "0", "--plain", "0.0.0.0:7"), "--plain: 0.0.0.0:7 can be reached by other machines"),
        ],
    )
    def test_where_a_server_may_not_listen(self, made, words, told):
        done = run("mpserve", "start", *words, *options(made.server()), MPSERVE_AUTHKEY="k" * 16)
        assert done.returncode == 2
        assert told in done.stderr

    def test_a_plain_door_that_is_taken_is_named(self, made):
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            done = run(
                *("mpserve", "start", "--port", "0", "--plain", where, *options(made.server())),
                MPSERVE_AUTHKEY="k" * 16,
            )
        assert done.returncode == 3
        assert f"cannot listen at {where}: the port is taken" in done.stderr

    def test_with_tls_it_may_listen_everywhere(self, made, fresh_server):
        server = Server(made.folder / "wide", options(made.server()))
        try:
            server.start("0.0.0.0")
            port = server.address.rpartition(":")[2]
            files = keywords(made.client())
            with mpclient.connect(f"127.0.0.1:{port}", server.key, **files) as cluster:
                assert cluster.list([1])[0] == 1
        finally:
            server.stop()


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


def test_a_certificate_that_expires_soon_is_told_of(made, tmp_path):
    files = made.old_server()
    server = Server(tmp_path / "server", options(files)).start()
    try:
        wait_until(lambda: "tls.expires_soon" in server.log, 10)
        assert "certificate_until" in server.log
    finally:
        server.stop()
