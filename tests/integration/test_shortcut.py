"""Programs on the server's own machine go on over its Unix socket, where nobody stands between."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest
from tests.integration.raw import raw_of
from tests.integration.relay import Relay

from mpclient.testing import wait_until
from mpclient.transport.dialling import dial
from mpshared.address import Address
from mpshared.errors import NoRoom, NotAllowed

pytestmark = [
    pytest.mark.hosts,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has Unix sockets without a file"),
]


def family_of(cluster):
    """Return how this thread's calls travel."""
    cluster.status()
    return cluster.session._own.lane._connection._sock.family


def test_a_program_of_this_machine_takes_it(cluster):
    assert family_of(cluster) == socket.AF_UNIX
    assert cluster.dict(a=1)["a"] == 1


def test_not_where_the_server_wants_tcp_only(fresh_server):
    with fresh_server("--tcp-only").connect() as cluster:
        assert family_of(cluster) == socket.AF_INET


def test_not_where_somebody_stands_between(server):
    host, port = server.address.rsplit(":", 1)
    relay = Relay((host, int(port)))
    try:
        from mpclient import connect

        with connect(relay.address, server.key) as cluster:
            assert family_of(cluster) == socket.AF_INET
    finally:
        relay.close()


def test_what_leads_nowhere_is_left_for_the_address(server):
    with server.connect() as cluster:
        cluster.status()
        term = cluster.session._term
        term.shortcut = Address(path="\0mpserve-of-another-network")
        cluster.session._own.lane.interrupt()
        assert family_of(cluster) == socket.AF_INET
        assert term.shortcut is None


def test_it_is_kept_while_the_server_takes_nobody_more(fresh_server, in_thread):
    server = fresh_server("--max-connections", "3")
    with server.connect(reconnect_timeout=0.2) as cluster, raw_of(server) as raw:
        raw.program()
        assert family_of(cluster) == socket.AF_UNIX
        with pytest.raises(NoRoom, match="takes nobody more"):
            in_thread(cluster.status)()
        raw.close()
        wait_until(lambda: cluster.status()["connections"]["open"] == 2, 20)
        assert in_thread(lambda: family_of(cluster))() == socket.AF_UNIX


def test_it_lets_nobody_in_without_the_key(cluster):
    with pytest.raises(NotAllowed):
        dial(cluster.session._term.shortcut, b"another key, long enough", 5)


def test_a_server_that_comes_back_has_another(fresh_server, tmp_path):
    server = fresh_server("--data", str(tmp_path / "data"))
    port = int(server.address.rpartition(":")[2])
    with server.connect(reconnect_timeout=30.0) as cluster:
        shared = cluster.dict(name="shared", a=1)
        before = cluster.session._term.shortcut
        server.send_signal(signal.SIGKILL)
        server.wait()
        assert before.path[1:] not in Path("/proc/net/unix").read_text()
        server.start(port=port)
        assert shared["a"] == 1
        term = cluster.session._term
        wait_until(lambda: term.shortcut not in {None, before}, 20)
        cluster.session._own.lane.interrupt()
        assert family_of(cluster) == socket.AF_UNIX
