"""Who gets in: the key, MD5 for old Pythons, and peers that do not even try."""

import socket
import subprocess
import sys
from multiprocessing import AuthenticationError, connection

import pytest
from tests.stdlib.conftest import KEY, PYTHONS, ROOT, WAIT_S, environment, run_python, served

pytestmark = pytest.mark.stock

CLIENT = """
import os, sys
from multiprocessing import AuthenticationError, current_process
from multiprocessing.managers import SyncManager
key = os.environ["MPSERVE_AUTHKEY"].encode()
current_process().authkey = key
m = SyncManager((sys.argv[1], int(sys.argv[2])), key)
try:
    m.connect()
    m.dict(a=1)["a"]
except AuthenticationError:
    print("refused")
else:
    print("admitted")
"""


def is_modern(version):
    """Tell whether that Python knows more than MD5."""
    return tuple(map(int, version.split("."))) >= (3, 12)


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    with served("--md5", "never", cwd=tmp_path_factory.mktemp("strict")) as server:
        yield server


@pytest.mark.parametrize("version", PYTHONS)
def test_without_md5_old_pythons_are_refused_and_new_ones_are_not(version, strict):
    expected = "admitted" if is_modern(version) else "refused"
    assert run_python(PYTHONS[version], "-c", CLIENT, *strict.where).strip() == expected


def test_on_this_machine_old_pythons_are_admitted_and_the_log_says_so(tmp_path):
    old = next((path for version, path in PYTHONS.items() if not is_modern(version)), None)
    if old is None:
        pytest.skip("no Python before 3.12 here")
    with served(cwd=tmp_path) as server:
        assert run_python(old, "-c", CLIENT, *server.where).strip() == "admitted"
        assert server.heard("peer.md5")["peer"].startswith("127.0.0.1:")


@pytest.mark.parametrize("key", [b"another key of 16 bytes or more", b"", b"short", KEY[:-1], KEY + b"\n"])
def test_another_key_is_refused(key, server):
    with pytest.raises(AuthenticationError):
        server.manager(key=key)
    assert server.manager()._number_of_objects() >= 0


def test_a_refused_peer_is_told_nothing_of_the_server(server):
    with socket.create_connection(server.where, WAIT_S) as sock:
        assert sock.recv(100)  # the challenge
        sock.sendall(b"\0\0\0\x10" + bytes(16))
        rest = b"".join(iter(lambda: sock.recv(4096), b""))
    assert rest == b"\0\0\0\x09#FAILURE#"


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff" + bytes(8),
        b"\x7f\xff\xff\xff",
        b"\x16\x03\x01\x02\x00\x01",
        b"\0\0\0\0",
    ],
)
def test_what_speaks_something_else_is_closed(said, server):
    with socket.create_connection(server.where, WAIT_S) as sock:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass  # until it is closed
    server.manager().connect()


def test_silent_peers_keep_nobody_waiting(server):
    silent = [socket.create_connection(server.where, WAIT_S) for _ in range(200)]
    try:
        assert server.manager().dict(a=1)["a"] == 1
    finally:
        for each in silent:
            each.close()


def test_a_client_of_another_machine_that_knows_md5_only_is_refused(tmp_path):
    """Seen through an address of this machine that is no loopback, where it has one."""
    host = _outer_address()
    if not host:
        pytest.skip("this machine has loopback addresses only")
    old = next((path for version, path in PYTHONS.items() if not is_modern(version)), None)
    new = next((path for version, path in PYTHONS.items() if is_modern(version)), None)
    with served("--host", "0.0.0.0", "--insecure", cwd=tmp_path) as server:
        port = server.where[1]
        for path, expected in ((old, "refused"), (new, "admitted")):
            if path is not None:
                assert run_python(path, "-c", CLIENT, host, port).strip() == expected


def _outer_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing: asks for the way only
        except OSError:
            return ""
        host = sock.getsockname()[0]
    return "" if host.startswith("127.") or host == "0.0.0.0" else host


def test_the_key_of_the_process_opens_nested_proxies(server):
    """A proxy brings no key with it: whoever unpickles it uses its process's own."""
    code = CLIENT.replace("current_process().authkey = key", "pass").replace(
        'm.dict(a=1)["a"]', 'd = m.dict()\n    d["x"] = m.list()\n    d["x"]'
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, server.where)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "refused"


def test_a_raw_connection_is_enough(server):
    with connection.Client(server.where, authkey=KEY) as conn:
        conn.send((None, "dummy", (), {}))
        assert conn.recv() == ("#RETURN", None)
