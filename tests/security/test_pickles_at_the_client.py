"""Pickles against our own client: a server without the key runs nothing in it, one with it only by values.

The program that is attacked is a process of its own, which could import the canary. What it prints are the
errors that it got.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from typing import Any

import pytest
from tests.security.attackers import Canary
from tests.security.pickles import HEAVY, RUNNING, whole
from tests.unit.client.peer import KEY, Peer, attached, reply

from mpshared.ops import BY_NAME
from mpshared.values import PickledKey
from mpshared.wire.framing import join_frame
from mpshared.wire.handshake import CHALLENGE, FAILURE, OWN, WELCOME
from mpshared.wire.own.frames import Call, Control, Type, encode_control, encode_error, encode_reply
from mpshared.wire.own.pack import pack

PICKLES = [whole(opcodes) for opcodes in RUNNING.values()]
SMALL = [data for data in PICKLES if len(data) < 200]
_OPEN = BY_NAME["cluster.open"].code
GOOD = {"ProtocolViolation", "NotAllowed", "ServerGone"}


@pytest.fixture
def canary(tmp_path) -> Canary:
    return Canary(tmp_path / "canary")


def run(canary: Canary, source: str, *words: str, key: str) -> str:
    """Run a program to its end; return what it printed."""
    environment = {"MPSERVE_AUTHKEY": key, "PATH": "/usr/bin:/bin", **canary.environment}
    program = [sys.executable, "-c", source, *words]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- without the key ---------------------------------------------------------------------------------


def first_words(evil: bytes) -> list[list[bytes]]:
    """Return what a server may say to each of the client's messages, before it has proved anything."""
    challenge = join_frame(CHALLENGE + b"{sha256}" + bytes(40))
    answer = {"version": 1, "nonce": secrets.token_bytes(32)}
    found = join_frame(OWN + pack({**answer, "more": PickledKey(evil)[:80]}))
    frames = b"".join(
        b"".join(pieces)
        for pieces in (
            encode_control(Type.ATTACHED, body={"session": PickledKey(evil)}),
            encode_reply(0, 1, PickledKey(evil), [evil]),
            encode_error(0, 0, "no_key", "text", {"key": PickledKey(evil)}),
        )
    )
    return [
        [evil],
        [join_frame(evil)],
        [join_frame(CHALLENGE + evil), join_frame(evil)],
        [challenge, join_frame(WELCOME) + join_frame(evil), frames],
        [challenge, join_frame(FAILURE + evil)],
        [challenge, join_frame(OWN + evil), frames],
        [challenge, join_frame(OWN + pack(PickledKey(evil)))],
        [challenge, found, join_frame(evil) + frames],
        [challenge, found, join_frame(bytes(32)) + frames],
        [challenge + found + join_frame(bytes(32)) + frames],
    ]


@pytest.fixture
def liar() -> Iterator[Callable[[list[list[bytes]]], str]]:
    """A factory: a server that says these words, a list of answers for each connection, again and again."""
    listeners = []

    def start(scripts: list[list[bytes]]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=_lie, args=(listener, cycle(scripts)), daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _lie(listener: socket.socket, scripts: Iterator[list[bytes]]) -> None:
    with suppress(OSError):
        while True:
            sock, _ = listener.accept()
            with sock, suppress(OSError):
                sock.settimeout(5)
                for said in next(scripts):
                    sock.sendall(said)
                    sock.recv(4096)


ATTEMPTS = """\
import sys
import mpclient
address, attempts = sys.argv[1], int(sys.argv[2])
for _ in range(attempts):
    try:
        mpclient.connect(address, connect_timeout=0.05)
    except mpclient.MpserveError as err:
        print(type(err).__name__)
"""


def test_a_server_without_the_key_runs_nothing(canary, liar):
    scripts = [script for evil in SMALL for script in first_words(evil)]
    errors = run(canary, ATTEMPTS, liar(scripts), str(len(scripts)), key=secrets.token_hex(16)).split()
    assert set(errors) <= GOOD
    assert len(errors) == len(scripts)
    assert not canary.sang


def test_nor_does_one_that_sends_what_would_take_all_memory(canary, liar):
    """The frames of a handshake have 256 bytes; nothing is waited for, or kept, beyond them."""
    scripts = [
        [b"\x7f\xff\xff\xff" + bytes(4096)],
        [b"\xff\xff\xff\xff" + b"\xff" * 8 + bytes(4096)],
        [b"\xff\xff\xff\xfe"],
        [bytes(4)] * 50,
        [whole(HEAVY["a memo of 32 GiB"])],
        [join_frame(CHALLENGE) * 100],
    ]
    source = f"import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2)\n{ATTEMPTS}"
    errors = run(canary, source, liar(scripts), str(len(scripts)), key=secrets.token_hex(16)).split()
    assert set(errors) <= GOOD
    assert len(errors) == len(scripts)


# -- with the key ------------------------------------------------------------------------------------


def lies(evil: bytes) -> Callable[[Any], list[bytes] | None]:
    """Return a server's script that has a pickled key wherever there are no values."""
    key = PickledKey(evil)
    shapes = cycle([key, [key], {"a": key}, [[key, key]], [key, key, key]])
    ways = cycle(["reply", "error", "reply with numbers"])

    def script(event: Any) -> list[bytes] | None:
        if isinstance(event, Control):
            if event.type is not Type.ATTACH or "new" not in event.body:
                return None
            extra = {"before": key, "run": key, "shortcut": [key, key], "durable": key, "advertise": ""}
            greeting = Control(*_decoded(attached(event.body))).body | extra
            return encode_control(Type.ATTACHED, body=greeting)
        assert isinstance(event, Call)
        if event.op == _OPEN:
            return reply(event, ["ident", True, 0])
        match next(ways):
            case "error":
                fields = {"key": key, "needed": key, "holder": key, "task": key, "pid": 1}
                return encode_error(event.lane, event.number, next(codes), "text", fields)
            case "reply":
                return reply(event, next(shapes))
            case _:
                return reply(event, [1, key, 2])

    codes = cycle(["no_key", "bad_value", "task", "conflict", "worker_died", "stale_owner", "no_such_code"])
    return script


def _decoded(pieces: list[bytes]) -> Any:
    from mpshared.wire.own.frames import FrameDecoder

    decoder = FrameDecoder(1 << 20)
    decoder.receive_data(b"".join(pieces))
    return decoder.next_event()


CALLS = """\
import sys, time
import mpclient
tried = failed = 0
def attempt(what):
    global tried, failed
    tried += 1
    try:
        return what()
    except Exception:
        failed += 1
cluster = mpclient.connect(sys.argv[1], reconnect_timeout=1)
for _ in range(int(sys.argv[2])):
    attempt(cluster.status)
    attempt(cluster.objects)
    for kind in "Lock RLock Event Queue JoinableQueue Semaphore Condition list dict".split():
        made = attempt(getattr(cluster, kind))
        for name in "qsize __len__ acquire release is_set locked get_value notify_all clear".split():
            if hasattr(made, name):
                attempt(getattr(made, name))
print(tried, failed)
"""


def test_a_server_with_the_key_runs_nothing_but_values(canary):
    peer = Peer()
    try:
        scripts = cycle([lies(data) for data in PICKLES])

        def script(event: Any) -> list[bytes] | None:
            return next(scripts)(event)

        peer.script = script
        told = run(canary, CALLS, str(peer.address), "8", key=KEY.decode())
    finally:
        peer.close()
    tried, failed = map(int, told.split())
    assert tried > failed > 0
    assert len(peer.calls) > len(PICKLES)
    assert not canary.sang


VALUE = """\
import sys
import mpclient
queue = mpclient.connect(sys.argv[1]).Queue()
print(queue.get())
"""


def test_values_do_run_as_pickles_do(canary):
    """What the model says: whoever has the key and can store values is trusted by those who read them."""
    peer = Peer(lambda event: _value(event, PICKLES[0]))
    try:
        run(canary, VALUE, str(peer.address), key=KEY.decode())
    finally:
        peer.close()
    assert canary.sang


def _value(event: Any, data: bytes) -> list[bytes] | None:
    if isinstance(event, Control):
        return None
    return reply(event, ["ident", True, 0]) if event.target == "" else reply(event, None, data)


GREETINGS: list[dict[str, Any]] = [
    {},
    {"session": None},
    {"session": "s", "secret": "s", "server": "s", "epoch": "e"},
    {"session": "s", "secret": "s", "server": "s", "epoch": "e", "limits": None, "session_timeout_s": 1},
    {"session": "s", "secret": "s", "server": "s", "epoch": "e", "limits": {}, "session_timeout_s": 1},
    {"session": "s", "secret": "s", "server": "s", "epoch": "e", "limits": {"max_message": 1}},
]


def test_a_greeting_that_is_none_of_ours_is_refused_as_such(canary):
    greetings = iter(GREETINGS)
    peer = Peer(lambda event: encode_control(Type.ATTACHED, body=next(greetings)))
    try:
        errors = run(canary, ATTEMPTS, str(peer.address), str(len(GREETINGS)), key=KEY.decode()).split()
    finally:
        peer.close()
    assert errors == ["ProtocolViolation"] * len(GREETINGS)
