"""Text of others, wherever it is shown: no line is forged in a log, no sequence reaches a terminal.

Names of objects are checked when they are made (`tests/contract/test_names.py`), and how tables escape is
tested in `tests/unit/test_status_view.py`; here the real commands show what real peers sent.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from tests.integration import commands, workers
from tests.integration.raw import raw_of
from tests.unit.client.peer import KEY as PEER_KEY
from tests.unit.client.peer import Peer, attached
from tests.unit.net.stage import Closed

import mpclient
from mpclient.testing import wait_until, waiters
from mpshared.text import printable
from mpshared.wire.framing import join_frame
from mpshared.wire.handshake import CHALLENGE, FAILURE, OWN
from mpshared.wire.own.frames import Control, Type, encode_control, encode_error
from mpshared.wire.own.pack import pack

home = commands.home
start = commands.start
mpworker = workers.mpworker
pytestmark = pytest.mark.hosts

PING = f"{commands.COMMAND} ping --timeout 3"
WORK = f"{workers.COMMAND} --connect-timeout 0.2 --log-format console"

EVIL = {
    "clear screen": "\x1b[2J\x1b[H",
    "title": "\x1b]0;pwned\x07",
    "paste": "\x1b[201~\rrm -rf ~\r",
    "eight bits": "\x9b31m",
    "a line of the log": "x\n2026-01-01 12:00:00 [info     ] server.ready             address=evil",
    "a line of JSON": 'x"}\n{"event": "server.ready", "address": "evil"}',
    "carriage return": "honest\rforged",
    "other line ends": "a\x0bb\x0cc\x85d\u2028e\u2029f",
    "reading direction": "\u202eevil\u2066",
    "invisible": "a\u200bb\ufeffc\u00adc",
    "nul": "a\0b",
    "backspace": "good\b\b\b\bevil",
    "markup": "[red]x[/red] [link=http://evil]y[/link] [/]",
    "emoji": ":boom:",
}
ALL = "".join(EVIL[name] for name in ("clear screen", "a line of the log", "carriage return", "markup"))
FORGED = ("server.ready             address=evil", '{"event": "server.ready", "address": "evil"}')


def assert_harmless(shown: str) -> None:
    """See that only lines that are meant begin a line, and all else is plainly visible."""
    assert [c for c in shown if not (c.isprintable() or c == "\n")] == []
    for line in shown.splitlines():
        assert not line.startswith(FORGED), line
        assert not line.startswith("2026-01-01 12:00:00"), line


def show(*evil: str) -> list[str]:
    """Return how texts look when they are shown."""
    return [printable(text) for text in evil]


# -- what clients say of themselves ------------------------------------------------------------------


def described(evil: str) -> dict[str, Any]:
    return {"name": evil, "host": evil, "version": evil, "queue": evil, "supervisor": evil}


@pytest.fixture
def inhabited(start, home) -> Iterator[Any]:
    """A server with a console log of everything, and clients that lie about themselves in every field."""
    running = start("--port", "0", "--log-level", "debug")
    server = SimpleNamespace(address=running.address, key=home.key_file.read_text().strip())
    with raw_of(server) as raw:
        clients = [raw.client().shake_hands().attach_new(**described(evil)) for evil in EVIL.values()]
        yield SimpleNamespace(running=running, raw=raw, clients=clients, server=server)


def test_what_clients_say_of_themselves_is_escaped_by_every_command(inhabited, home):
    ask = partial(home.run, environment={"MPSERVE_ADDRESS": inhabited.running.address})
    holder, waiter = inhabited.clients[:2]
    lock = holder.open("lock", "the lock")
    holder.call("lock.acquire", lock, None)
    assert waiter.open("lock", "the lock") == lock
    waiter.send(waiter.encode("lock.acquire", lock, None))
    with mpclient.connect(inhabited.server.address, inhabited.server.key) as cluster:
        wait_until(lambda: waiters(cluster, cluster.Lock(name="the lock")) == 1)
    tables, why, refused = ask("status").stdout, ask("why").stdout, ask("release", "the lock").stderr
    for shown in (tables, why, refused):
        assert_harmless(shown)
    assert [text for text in show(*EVIL.values()) if text not in tables] == []
    assert show(EVIL["clear screen"])[0] in why
    assert show(EVIL["clear screen"])[0] in refused
    assert len(refused.splitlines()) == 1
    told = ask("status", "--json").stdout
    assert_harmless(told)
    assert told.isascii()
    assert {row["name"] for row in json.loads(told)["sessions"]} >= set(EVIL.values())


def test_the_log_on_a_console_has_only_its_own_lines(inhabited):
    for client in inhabited.clients:
        client.control(Type.GOODBYE, body=client.session + EVIL["a line of the log"])
        with suppress(Closed, ConnectionResetError):
            client.recv()
    said = inhabited.running.err.read_text()
    assert_harmless(said)
    lines = said.splitlines()
    assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[", line)] == []
    assert sum(" server.ready " in line[:51] for line in lines) == 1
    assert sum(" session.start " in line[:51] for line in lines) >= len(EVIL)


def test_arguments_of_commands_are_escaped(inhabited, home):
    ask = partial(home.run, environment={"MPSERVE_ADDRESS": inhabited.running.address})
    evil = "[red]x[/red]\x1b[2J\nserver.ready"
    for words in (("rm", evil), ("release", "x", "--kind", evil), (evil,)):
        done = ask(*words)
        assert done.returncode != 0
        assert_harmless(done.stderr + done.stdout)
        assert len(done.stderr.splitlines()) == 1, done.stderr


# -- what strangers say ------------------------------------------------------------------------------


def strangers(evil: str) -> list[bytes]:
    """Return what a peer without the key may say first."""
    said = evil.encode()
    hello: dict[str, Any] = {"versions": [1, 1], "nonce": bytes(32)}
    return [
        said,
        b"GET /" + said + b" HTTP/1.1\r\nHost: " + said + b"\r\n\r\n",
        join_frame(said),
        join_frame(CHALLENGE + said),
        join_frame(b"{" + said[:8] + b"}" + bytes(20)),
        join_frame(OWN + said),
        join_frame(OWN + pack(evil)),
        join_frame(OWN + pack({**hello, "versions": evil})),
        join_frame(OWN + pack({**hello, "nonce": said})),
        join_frame(OWN + pack({**hello, "channel": said})),
        join_frame(OWN + pack({**hello, "versions": [7, 9], evil: evil})),
        join_frame(OWN + pack(hello)) + join_frame(said),
    ]


def test_what_strangers_say_is_escaped_in_both_kinds_of_log(fresh_server, start):
    options = "--log-level", "debug", "--max-failures", "1000000"
    json_server, console = fresh_server(*options), start("--port", "0", *options)
    for address in (json_server.address, console.address):
        host, port = address.rsplit(":", 1)
        for said in strangers(ALL):
            with socket.create_connection((host, int(port)), 10) as sock:
                sock.sendall(said)
                sock.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):
                    while sock.recv(1 << 16):
                        pass
    many = 4  # of those that follow, the log tells how many there were
    wait_until(lambda: console.err.read_text().count(" peer.refused ") > many)
    assert_harmless(console.err.read_text())
    wait_until(lambda: json_server.log.count("peer.refused") > many)
    assert json_server.log.isascii()
    events = [json.loads(line)["event"] for line in json_server.log.splitlines() if line.startswith("{")]
    assert len(events) >= len(json_server.log.splitlines()) - 1, "each line is one of ours"
    assert events.count("server.ready") == 1


# -- what jobs print, where a host's operator reads it ----------------------------------------------


def test_what_jobs_print_is_escaped_in_the_hosts_log(fresh_server, mpworker):
    server = fresh_server()
    with server.connect() as cluster:
        tasks = cluster.JoinableQueue(name="tasks")
        host = mpworker(server, "--log-format", "console")
        for evil in EVIL.values():
            tasks.put(partial(print, evil))
        tasks.join()
    wait_until(lambda: host.text.count(" worker.output ") >= len(EVIL))
    assert_harmless(host.text)
    lines = host.text.splitlines()
    assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[", line)] == []


# -- what a program or command is shown of a server --------------------------------------------------


def failing_everywhere(evil: str) -> Callable[[Any], list[bytes] | None]:
    def script(event: Any) -> list[bytes] | None:
        if isinstance(event, Control) and event.type is not Type.ATTACH:
            return None
        if isinstance(event, Control):
            told = attached(event.body)
            lies = {"version": evil, "server": evil, "epoch": evil, "advertise": evil}
            return told if "new" not in event.body else encode_control(Type.ATTACHED, body=_greeting() | lies)
        return encode_error(event.lane, event.number, "not_allowed", evil, {"holder": evil, evil: evil})

    return script


def _greeting() -> dict[str, Any]:
    limits = {"max_message": 1 << 20, "unanswered": 64}
    return {
        "session": "s",
        "secret": "s",
        "session_timeout_s": 30.0,
        "grace_s": 0.5,
        "run": "r",
        "durable": False,
        "before": None,
        "shortcut": None,
        "limits": limits,
    }


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def test_what_a_server_says_is_escaped_by_commands_and_programs(home, peer, tmp_path):
    key = {"MPSERVE_AUTHKEY": PEER_KEY.decode(), "MPSERVE_ADDRESS": str(peer.address)}
    peer.script = failing_everywhere(ALL)
    for words in (("ping",), ("status",), ("rm", "x"), ("why",), ("release", "x")):
        done = home.run(*words, environment=key)
        assert_harmless(done.stdout + done.stderr)
        assert len((done.stdout + done.stderr).splitlines()) == 1
        assert printable(ALL) in done.stdout + done.stderr
    program = tmp_path / "program.py"
    program.write_text("import mpclient\nmpclient.connect().list()\n")
    done = home.type(f"{commands.COMMAND.with_name('python')} {program}", environment=key)
    assert_harmless(done.stderr)
    assert done.stderr.splitlines()[-1] == f"mpshared.errors.NotAllowed: {printable(ALL)}"


def test_who_refuses_our_commands_cannot_write_to_their_terminals(home):
    """It needs no key for that."""
    with socket.create_server(("127.0.0.1", 0)) as liar:
        environment = {"MPSERVE_AUTHKEY": secrets.token_hex(16)}
        environment["MPSERVE_ADDRESS"] = f"127.0.0.1:{liar.getsockname()[1]}"
        failure = join_frame(CHALLENGE + bytes(40)) + join_frame(FAILURE + ALL.encode())
        for said in (
            failure,
            join_frame(ALL.encode()),
            join_frame(CHALLENGE) + join_frame(OWN + pack({"refused": ALL, "versions": [7, 9]})),
            join_frame(CHALLENGE) + join_frame(OWN + pack({"version": ALL, "nonce": ALL})),
        ):
            assert_harmless(_told_by(liar, home, said, PING, environment))
        assert_harmless(_told_by(liar, home, failure, WORK, environment))


def _told_by(
    liar: socket.socket, home: commands.Home, said: bytes, command: str, environment: dict[str, str]
) -> str:
    """Run a command against who says this to everybody; return what it wrote."""
    import threading

    over = threading.Event()

    def serve() -> None:
        liar.settimeout(0.1)
        while not over.is_set():
            with suppress(OSError):
                sock, _ = liar.accept()
                with sock:
                    sock.sendall(said)
                    sock.settimeout(5)
                    while sock.recv(4096):
                        pass

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        done = home.type(command, environment=environment)
    finally:
        over.set()
        serving.join(10)
    assert done.returncode != 0
    return done.stdout + done.stderr
