"""Who comes too often, too slowly or with the wrong key: told so once, and nobody else notices."""

from __future__ import annotations

import json
import resource
import select
import signal
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.managers import SyncManager
from pathlib import Path

import psutil
import pytest
from tests.integration import commands
from tests.integration.conftest import Server, in_thread
from tests.security.limits_watch import WAIT_S, Raws, status, unnoticed
from tests.unit.net.stage import Closed

import mpclient
from mpclient.testing import wait_until
from mpshared.errors import NoRoom, ServerGone
from mpshared.wire.errors import AuthenticationRefused, ServerBusy

home = commands.home
start = commands.start
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


@pytest.fixture
def serve(tmp_path):
    """A factory: `mpserve start` with options."""
    started = []

    def run(*options):
        server = Server(tmp_path / f"server{len(started)}", options)
        started.append(server)
        return server.start()

    yield run
    for server in started:
        server.stop()


def lines(server, event):
    """Return the log's lines of that event."""
    return [line for line in map(json.loads, server.log.splitlines()) if line["event"] == event]


def stock_of(server):
    """Return a manager of the standard library, not yet connected."""
    host, _, port = server.address.rpartition(":")
    return SyncManager((host, int(port)), server.key.encode())


def gets_in(raws):
    with suppress(ServerBusy, Closed, ConnectionError):
        return raws.client().shake_hands()
    return None


def goes_on(lock):
    """Tell whether this thread is let in again; what it holds is still its own."""
    with suppress(NoRoom):
        return lock.locked()
    return False


class TestConnections:
    @pytest.mark.parametrize("option", ["--max-connections", "--max-connections-per-address"])
    def test_one_too_many_is_told_and_may_come_later(self, serve, option):
        server = serve(option, "12")
        with Raws(server) as raws:
            with unnoticed(server):
                known = [raws.program() for _ in range(10)]
                assert gets_in(raws) is not None  # the twelfth; one watches
                for _ in range(50):
                    with pytest.raises(ServerBusy, match=f"{option[2:]}.*try again later"):
                        raws.client().shake_hands()
                with pytest.raises(ServerGone, match=f"takes nobody more now.*{option}"):
                    mpclient.connect(server.address, server.key, connect_timeout=0.3)
                with pytest.raises((AuthenticationError, AssertionError), match=f"BUSY.*{option}"):
                    stock_of(server).connect()
            for program in known:
                assert program.call("cluster.count").result == 0
            known.pop().close()
            wait_until(lambda: gets_in(raws) is not None, WAIT_S)
            told = status(server)
        assert told["refused"][option[2:]] >= 52
        assert told["connections"]["open"] <= 12
        [line] = lines(server, "peer.turned_away")
        assert line["limit"] == option[2:]

    def test_a_thread_too_many_is_told_and_its_program_goes_on(self, serve):
        server = serve("--max-connections", "3")
        with Raws(server) as raws, server.connect(reconnect_timeout=0.3) as cluster:
            lock = cluster.Lock()
            assert lock.acquire()
            session = cluster.session.id
            other = raws.program()
            count = in_thread(cluster.dict)
            with pytest.raises(NoRoom, match=r"max-connections.*call was not made; other threads go on"):
                count()
            with cluster.executor() as executor, pytest.raises(NoRoom, match="other threads go on"):
                executor.submit(abs, -1).result(WAIT_S)
            cluster.session._own.lane._connection.interrupt()
            wait_until(lambda: gets_in(raws) is not None, WAIT_S)
            with pytest.raises(NoRoom, match=r"whether its call was done is not known"):
                lock.locked()
            assert cluster.session.id == session
            other.close()
            wait_until(lambda: goes_on(lock), WAIT_S)
            lock.release()
            assert cluster.session.id == session

    def test_a_program_that_waits_for_its_turn_gets_in(self, serve):
        server = serve("--max-connections", "3")
        with Raws(server) as raws:
            others = [raws.program() for _ in range(3)]
            asked = in_thread(lambda: mpclient.connect(server.address, server.key, connect_timeout=WAIT_S))
            wait_until(lambda: lines(server, "peer.turned_away"), WAIT_S)
            for other in others:
                other.close()
            cluster = asked()
            assert isinstance(cluster, mpclient.Cluster)
            with cluster:
                assert cluster.Queue(name="q").empty()

    @pytest.mark.skipif(not SOMAXCONN.exists(), reason="needs Linux, to know how many may wait")
    def test_those_that_come_while_it_is_busy_wait(self, serve):
        server = serve()
        many = min(300, int(SOMAXCONN.read_text()) - 10)
        with Raws(server) as raws:
            server.send_signal(signal.SIGSTOP)
            try:
                waiting = [raws.client() for _ in range(many)]
            finally:
                server.send_signal(signal.SIGCONT)
            for client in waiting:
                client.shake_hands()
            assert status(server)["refused"] == {}

    def test_status_shows_what_was_refused(self, start):
        running = start("--port", "0", "--max-connections", "2")
        with Raws(_Named(running)) as raws:
            first = raws.program()
            raws.program()
            with pytest.raises(ServerBusy):
                raws.client().shake_hands()
            asked = running.home.run("status", "--connect", running.address)
            assert asked.returncode != 0
            assert "--max-connections" in asked.stderr
            assert "Traceback" not in asked.stderr
            first.close()
            wait_until(lambda: running.home.run("ping", "--connect", running.address).returncode == 0, WAIT_S)
            shown = running.home.run("status", "--connect", running.address).stdout
        assert "2 connections of 2" in shown
        assert "by max-connections" in shown


class _Named:
    """A running `mpserve start` as `Raws` wants it."""

    def __init__(self, running):
        self.address = running.address
        self.process = running.process
        self.key = running.home.key_file.read_text().strip()


class TestUnauthenticated:
    def test_a_crowd_that_says_nothing_loses_its_own(self, serve):
        server = serve("--max-unauthenticated", "16")
        with unnoticed(server), Raws(server) as raws:
            silent = [raws.client() for _ in range(200)]
            assert raws.program().call("cluster.count").result == 0  # in the middle of it
            wait_until(lambda: status(server)["refused"].get("max-unauthenticated", 0) >= 190, WAIT_S)
            silent[0].recv_all()  # to its end
            assert status(server)["connections"]["unauthenticated"] <= 8
        assert len(lines(server, "peer.refused")) <= 20
        assert "--max-unauthenticated" in lines(server, "peer.refused")[0]["reason"]

    def test_who_takes_too_long_is_closed(self, serve):
        server = serve("--auth-timeout", "0.5s")
        with unnoticed(server), Raws(server) as raws:
            silent, begun = raws.client(), raws.client()
            begun.send(b"\0\0\0")
            for client in (silent, begun):
                assert b"#CHALLENGE#" in client.recv_all()
            assert status(server)["refused"] == {"auth-timeout": 2}
        assert "0.5 s" in lines(server, "peer.refused")[0]["reason"]


class TestFailures:
    def test_after_some_the_next_connection_is_held_also_of_who_has_the_key(self, serve):
        server = serve("--max-failures", "3")
        with Raws(server) as raws:
            with unnoticed(server):
                for stranger in [raws.stranger() for _ in range(6)]:  # these are in already
                    with pytest.raises(AuthenticationRefused, match="keys differ"):
                        stranger.shake_hands()
                program = raws.program()
            told = program.call("cluster.status").result
            assert told["connections"]["held_so_far"] == 1
            assert told["refused"]["failed-attempts"] == 6

    def test_a_flood_is_turned_away_and_who_has_the_key_gets_in(self, serve):
        server = serve("--max-failures", "1")
        with unnoticed(server), Raws(server) as raws:
            for _ in range(2):
                with pytest.raises(AuthenticationRefused):
                    raws.stranger().shake_hands()
            flood = [raws.stranger() for _ in range(300)]
            with mpclient.connect(server.address, server.key, connect_timeout=WAIT_S) as cluster:
                assert cluster.Queue(name="q").empty()
            busy = sum(_busy(client) for client in flood)
            assert busy >= 150
        [line] = lines(server, "peer.turned_away")
        assert line["limit"] == "max-failures"

    def test_the_log_is_not_flooded(self, serve):
        server = serve("--max-failures", "5")
        with Raws(server) as raws:
            for stranger in [raws.stranger() for _ in range(30)]:  # these are in already
                with pytest.raises(AuthenticationRefused):
                    stranger.shake_hands()
        assert len(lines(server, "peer.refused")) == 5
        server.stop()
        *_, last = lines(server, "peer.refused")
        assert last["more"] == 25


def _busy(client):
    """Tell whether a connection was turned away."""
    if not select.select([client.sock], [], [], 0)[0]:
        return False
    with suppress(Closed, ConnectionError):
        return b"#BUSY#" in client.recv()
    return False


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
class TestFiles:
    @pytest.mark.parametrize(("hard", "told"), [(150, True), (1024, False)])
    def test_a_server_with_few_says_so_at_the_start(self, start, hard, told):
        limits = (100, hard)
        running = start("--port", "0", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits))
        assert ("server.few_files" in running.said) is told

    def test_as_many_as_the_user_may_have_and_some_are_kept(self, start):
        hard = 150
        running = start(
            *("--port", "0", "--max-connections", "1000"),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard)),
        )
        server = psutil.Process(running.process.pid)
        assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE) == (hard, hard)
        assert "server.few_files" in running.said
        named = _Named(running)
        with unnoticed(named), Raws(named) as raws:
            programs = [raws.program() for _ in range(80)]
            for _ in range(100):
                with suppress(ServerBusy):
                    programs.append(raws.program())
            assert len(programs) < hard - 60
            assert server.num_fds() < hard - 30
            assert programs[0].call("cluster.count").result == 0
        assert "server.full" not in running.said
