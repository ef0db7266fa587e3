"""Peers that say nothing, little, half, or never read, by the thousand and all at once, in both protocols.

What each limit says and does is tested in `test_limits.py` and `test_limits_held.py`; here everybody attacks
together while somebody honest works, and the server's memory, files and time are measured from outside.
"""

from __future__ import annotations

import os
import resource
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import connection
from typing import Any

import psutil
import pytest
from tests.integration.raw import WAIT_S, Raw, raw_of
from tests.security.attackers import Attacked, request, text, unharmed
from tests.unit.net.stage import Closed

import mpclient
from mpclient.testing import wait_until
from mpshared.wire.framing import join_frame
from mpshared.wire.handshake import OWN
from mpshared.wire.own.pack import pack

MANY = 1000
TCP_REPAIR = 19  # linux/tcp.h; Python has no name for it
FILES = 4 * MANY
HELLO = join_frame(OWN + pack({"versions": [1, 1], "nonce": bytes(32)}))


@pytest.fixture(autouse=True)
def _files() -> Iterator[None]:
    """Let this process have as many connections as an attacker would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"needs {FILES} open files, the system allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Peers of one server, all closed at the end."""

    def __init__(self, server: Attacked) -> None:
        self.server = server
        self.raw = Raw(server)
        self.strangers: list[socket.socket] = []
        self.stocks: list[connection.Connection[Any, Any]] = []

    def close(self) -> None:
        for sock in self.strangers:
            sock.close()
        for conn in self.stocks:
            conn.close()
        self.raw.close()

    def stranger(self) -> socket.socket:
        sock = socket.create_connection(self.server.where, WAIT_S)
        self.strangers.append(sock)
        return sock

    def stock(self) -> connection.Connection[Any, Any]:
        conn = connection.Client(self.server.where, authkey=self.server.key.encode())
        self.stocks.append(conn)
        return conn


@pytest.fixture
def crowd(fresh_server) -> Iterator[Crowd]:
    crowd = Crowd(fresh_server("--max-unauthenticated", str(4 * MANY)))
    yield crowd
    crowd.close()


# -- who says nothing, or hardly anything ------------------------------------------------------------------


def silent(crowd: Crowd) -> None:
    crowd.stranger()


def slow(crowd: Crowd) -> None:
    """Begin a handshake, a byte at a time."""
    crowd.stranger().sendall(HELLO[:1])


def half_closed(crowd: Crowd) -> None:
    sock = crowd.stranger()
    sock.sendall(HELLO)
    sock.shutdown(socket.SHUT_WR)


def reset(crowd: Crowd) -> None:
    sock = crowd.stranger()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.sendall(HELLO[:9])
    sock.close()


def authenticated_and_silent(crowd: Crowd) -> None:
    crowd.raw.client().shake_hands()


def program_with_half_a_call(crowd: Crowd) -> None:
    program = crowd.raw.program()
    program.send(program.encode("cluster.count")[:-1])


def stock_with_half_a_request(crowd: Crowd) -> None:
    os.write(crowd.stock().fileno(), struct.pack("!i", 100) + b"\x80\x04")


TIRESOME: list[tuple[Callable[[Crowd], None], int]] = [
    (silent, MANY),
    (slow, MANY // 2),
    (half_closed, MANY // 2),
    (reset, MANY // 2),
    (authenticated_and_silent, MANY // 10),
    (program_with_half_a_call, MANY // 10),
    (stock_with_half_a_request, MANY // 20),
]


def test_thousands_who_say_nothing_or_half_of_it_keep_nobody_waiting(crowd):
    process = psutil.Process(crowd.server.pid)
    files = process.num_fds()
    with unharmed(crowd.server, grows_bytes=128 << 20):
        for tiresome, count in TIRESOME:
            for _ in range(count):
                tiresome(crowd)
        busy_s = seconds_of(process)
        for sock in crowd.strangers[MANY : MANY + MANY // 2]:
            with suppress(OSError):
                sock.sendall(HELLO[1:2])  # the slow ones go on
        with raw_of(crowd.server) as raw:
            assert raw.program().call("cluster.count").result >= 0
        assert seconds_of(process) - busy_s < 5
        crowd.close()
        wait_until(lambda: process.num_fds() <= files + 8, WAIT_S)


def seconds_of(process: psutil.Process) -> float:
    """Return how long a process has computed."""
    times = process.cpu_times()
    return float(times.user + times.system)


def sleeps_of(process: psutil.Process) -> int:
    """Return how often a process has gone to sleep of its own accord."""
    return int(process.num_ctx_switches().voluntary)


# -- who never reads ------------------------------------------------------------------------------------


def test_those_who_ask_and_never_read_are_kept_within_bounds(crowd):
    """Each asks for a gigabyte, 4 MiB at a time."""
    value, hungry = bytes(4 << 20), 20
    program = crowd.raw.program()
    box = program.open("dict", "box")
    program.call("dict.set", box, "k", blobs=[b"\x80\x05\x96" + struct.pack("<Q", len(value)) + value + b"."])
    with unharmed(crowd.server, grows_bytes=512 << 20):
        for _ in range(hungry):
            asking = crowd.raw.program()
            asking.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            asking.open("dict", "box")
            for _ in range(256):
                with suppress(BlockingIOError, ConnectionError):
                    asking.sock.send(asking.encode("dict.get", box, "k"))
        with raw_of(crowd.server) as raw:
            assert raw.program().call("cluster.count").result >= 1


def test_stock_clients_that_never_read_are_kept_within_bounds(crowd):
    """Each asks for a gigabyte, too."""
    maker = crowd.stock()
    value = b"B" + struct.pack("<I", 4 << 20) + bytes(4 << 20)
    maker.send_bytes(request("", "create", text("list") + b"](" + value + b"e"))
    made = maker.recv_bytes()
    ident = made[made.index(b"\x8c\x10") + 2 :][:16].decode()
    with unharmed(crowd.server, grows_bytes=512 << 20):
        for _ in range(20):
            conn = crowd.stock()
            conn.send_bytes(request("", "accept_connection", text("x")))
            conn.recv_bytes()
            os.set_blocking(conn.fileno(), False)
            with suppress(BlockingIOError, ConnectionError):
                for _ in range(256):
                    conn.send_bytes(request(ident, "__getitem__", b"K\x00"))
        with raw_of(crowd.server) as raw:
            assert raw.program().call("cluster.count").result >= 1


# -- who takes all files ------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
def test_when_all_files_are_gone_the_server_is_not_busy_with_that(fresh_server):
    """A listening socket stays ready then: who does not mind turns around it for ever."""
    server = fresh_server()
    process = psutil.Process(server.pid)
    crowd = Crowd(server)
    try:
        with unharmed(server):
            limit = process.num_fds() + 8
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
            for _ in range(200):
                crowd.stranger()
            wait_until(lambda: "server.full" in server.log, WAIT_S)
            slept = sleeps_of(process)
            wait_until(lambda: sleeps_of(process) > slept + 50, WAIT_S)  # who turns around it never does
            crowd.close()
            wait_until(lambda: process.num_fds() < limit - 4, WAIT_S)
            with raw_of(server) as raw:
                assert raw.program().call("cluster.count").result == 0
    finally:
        crowd.close()


def test_connecting_and_leaving_at_once_a_thousand_times_leaves_nothing(fresh_server):
    server = fresh_server()
    process = psutil.Process(server.pid)
    files = process.num_fds()
    with unharmed(server, grows_bytes=48 << 20):
        for n in range(MANY):
            sock = socket.create_connection(server.where, WAIT_S)
            if n % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(Closed, ConnectionError):
                sock.sendall(HELLO[: n % len(HELLO)])
            sock.close()
        wait_until(lambda: process.num_fds() <= files + 4, WAIT_S)


# -- who vanishes -----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can drop a connection without a word")
def test_a_host_that_vanishes_without_a_word_holds_nothing_for_long(fresh_server):
    server = fresh_server("--session-timeout", "1s")
    with raw_of(server) as raw, mpclient.connect(server.address, server.key) as honest:
        gone = raw.program()
        lock = gone.open("lock", "gate")
        assert gone.call("lock.acquire", lock, None).result is True
        vanish(gone.sock)
        assert honest.Lock(name="gate").acquire(timeout=WAIT_S)


def vanish(sock: socket.socket) -> None:
    """Close a connection as a host that lost its power: the other end is not told."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError:
        pytest.skip("needs CAP_NET_ADMIN")
    sock.close()
