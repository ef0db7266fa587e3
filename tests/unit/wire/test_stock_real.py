"""Our machines against the real thing: `multiprocessing.connection` of this Python and of others."""

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from mpshared.wire.errors import NotMpserve
from mpshared.wire.framing import encode_frame
from mpshared.wire.handshake import Refused
from mpshared.wire.own.handshake import ClientHandshake as OwnClient
from mpshared.wire.stock.messages import StockMessages
from mpshared.wire.stock.server import Authenticated, ServerHandshake

pytestmark = pytest.mark.stock

KEY = b"a key of the tests, 128 bits"
WAIT_S = 30
OURS = "{}.{}".format(*sys.version_info[:2])
PYTHONS = {OURS: sys.executable} | dict(
    pair.split("=", 1) for pair in os.environ.get("MPSERVE_STOCK_PYTHONS", "").split(",") if "=" in pair
)
LARGE = 300_000

CLIENT = """
import sys
from multiprocessing.connection import Client
size = int(sys.argv[3])
with Client(("127.0.0.1", int(sys.argv[1])), authkey=sys.argv[2].encode()) as conn:
    conn.send_bytes(b"first")
    conn.send_bytes(b"x" * size)
    assert conn.recv_bytes() == b"y" * size
    assert conn.recv_bytes() == b"last"
"""

LISTENER = """
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Listener
with Listener(("127.0.0.1", 0), authkey=sys.argv[2].encode()) as listener:
    print(listener.address[1], flush=True)
    try:
        listener.accept()
    except AuthenticationError as err:
        print("refused", flush=True)
"""


def modern(version):
    """Return whether this version knows SHA-256 (3.12 and later)."""
    return tuple(map(int, version.split("."))) >= (3, 12)


@contextmanager
def program(version, source, port=0, key=KEY):
    """Run a program with another Python; yield what is known of it, all of it once it has ended."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MPSERVE_"))}
    command = [PYTHONS[version], "-c", source, str(port), key.decode(), str(LARGE)]
    pipe = subprocess.PIPE
    ended = SimpleNamespace(port=0, out="", err="", code=None)
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        try:
            if not port:
                assert process.stdout is not None
                ended.port = int(process.stdout.readline())
            yield ended
            ended.out, ended.err = process.communicate(timeout=WAIT_S)
            ended.code = process.returncode
        finally:
            process.kill()


def drive(machine, sock):
    """Let a handshake run over a socket to its event."""
    while True:
        sock.sendall(machine.data_to_send())
        event = machine.next_event()
        sock.sendall(machine.data_to_send())
        if event is not None:
            return event
        data = sock.recv(65536)
        if not data:
            raise EOFError
        machine.receive_data(data)


def receive(messages, sock):
    while (message := messages.next_event()) is None:
        messages.receive_data(sock.recv(65536))
    return message


@contextmanager
def stock_client(version, *, key=KEY, md5_allowed=True):
    """Yield our server's machine, the socket of a stock client, and the client's process."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        program(version, CLIENT, listening.getsockname()[1], key) as process,
    ):
        listening.settimeout(WAIT_S)
        sock, _ = listening.accept()
        with sock:
            sock.settimeout(WAIT_S)
            yield ServerHandshake(KEY, md5_allowed=md5_allowed, nonce=os.urandom(40)), sock, process


@contextmanager
def stock_listener(version):
    with (
        program(version, LISTENER) as process,
        socket.create_connection(("127.0.0.1", process.port), WAIT_S) as sock,
    ):
        yield sock, process


@pytest.mark.parametrize("version", PYTHONS)
def test_a_stock_client_authenticates_and_talks(version):
    with stock_client(version) as (machine, sock, process):
        assert drive(machine, sock) == Authenticated("sha256" if modern(version) else "md5")
        messages = StockMessages(1 << 20)
        messages.receive_data(machine.trailing_data())
        assert receive(messages, sock) == b"first"
        assert receive(messages, sock) == b"x" * LARGE
        for piece in [*encode_frame(b"y" * LARGE), *encode_frame(b"last")]:
            sock.sendall(piece)
    assert process.code == 0


@pytest.mark.parametrize("version", PYTHONS)
def test_a_stock_client_with_another_key_is_refused(version):
    with stock_client(version, key=b"another key of the tests") as (machine, sock, process):
        assert isinstance(drive(machine, sock), Refused)
    assert "digest sent was rejected" in process.err


@pytest.mark.parametrize("version", [version for version in PYTHONS if not modern(version)])
def test_a_stock_client_with_md5_is_refused_without_permission(version):
    with stock_client(version, md5_allowed=False) as (machine, sock, process):
        assert "MD5" in drive(machine, sock).reason
    assert "digest sent was rejected" in process.err


@pytest.mark.parametrize("version", PYTHONS)
def test_our_own_protocol_tells_a_stock_listener_from_ours(version):
    refused = pytest.raises(NotMpserve, match="manager of the standard library")
    with stock_listener(version) as (sock, process), refused:
        drive(OwnClient(KEY, nonce=os.urandom(32)), sock)
    assert process.out == "refused\n"
