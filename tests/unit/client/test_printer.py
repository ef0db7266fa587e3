"""What comes home is printed to whatever stands for standard output, once, before the answer."""

from __future__ import annotations

import io
import socket
import sys
import threading

import pytest
from tests.unit.client.peer import Peer

from mpclient.output import printer as printer_module
from mpclient.testing import wait_until
from mpshared.ops import BY_NAME
from mpshared.wire.own.frames import Call, Control, Type, encode_control, encode_reply

COUNT = BY_NAME["cluster.count"]


def output(last, *entries):
    return encode_control(Type.OUTPUT, body=[last, [list(entry) for entry in entries]])


class Server:
    """The peer as a server that has output: `before` is said ahead of the answer to each call."""

    def __init__(self, peer: Peer):
        self.peer = peer
        self.ack = 0
        self.printed: list[int] = []
        peer.script = self.script

    def script(self, event):
        if isinstance(event, Call):
            return encode_reply(event.lane, event.number, None, (), self.ack)
        if isinstance(event, Control) and event.type is Type.OUTPUT:
            self.printed.append(event.body[0])
        return None

    def say(self, last, *entries):
        self.ack = last
        self.peer.say(output(last, *entries))


@pytest.fixture
def home(peer):
    return Server(peer)


@pytest.fixture
def call(session):
    session.call(COUNT, "", [])
    return lambda: session.call(COUNT, "", [])


def test_it_is_printed_before_the_answer(home, call, capsys):
    home.say(2, (1, b"one\n"), (2, b"two\n"))
    call()
    assert capsys.readouterr() == ("one\n", "two\n")
    wait_until(lambda: home.printed == [2])


def test_what_comes_again_is_not_printed_again(home, call, capsys):
    home.say(2, (1, b"one\n"), (1, b"two\n"))
    call()
    home.say(3, (1, b"two\n"), (1, b"three\n"))
    call()
    home.say(3, (1, b"three\n"))
    call()
    assert capsys.readouterr().out == "one\ntwo\nthree\n"
    wait_until(lambda: home.printed == [2, 3, 3])


def test_a_server_that_was_restarted_counts_anew(peer, home, call, session, capsys):
    home.say(2, (1, b"one\n"), (1, b"two\n"))
    call()
    before = peer.script

    def script(event):
        if isinstance(event, Control) and event.type is Type.ATTACH:
            return encode_control(Type.ATTACHED, body={"last": event.body["lane"], "run": "another"})
        return before(event)

    peer.script = script
    for sock in peer._open:
        sock.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: any(body.get("lane") == 0 for body in peer.attaches))
    home.ack = 0
    call()
    home.say(1, (1, b"three\n"))
    call()
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


class Slow(io.StringIO):
    """A stream that holds its writer up."""

    def __init__(self):
        super().__init__()
        self.free = threading.Event()

    def write(self, text):
        assert self.free.wait(10)
        return super().write(text)


def test_nobody_waits_long_for_a_stream_that_is_held_up(home, call, session, monkeypatch):
    monkeypatch.setattr(sys, "stdout", slow := Slow())
    monkeypatch.setattr(printer_module, "WAIT_S", 0.05)
    home.say(1, (1, b"one\n"))
    call()
    monkeypatch.setattr(printer_module, "WAIT_S", 10.0)  # nobody waits a second time
    home.say(2, (1, b"two\n"))
    for _ in range(3):
        call()
    slow.free.set()
    wait_until(lambda: slow.getvalue() == "one\ntwo\n")
    home.say(3, (1, b"three\n"))
    call()
    assert slow.getvalue() == "one\ntwo\nthree\n"


def test_a_stream_that_calls_does_not_wait_for_itself(home, call, monkeypatch):
    class Calling(io.StringIO):
        def write(self, text):
            call()
            return super().write(text)

    monkeypatch.setattr(sys, "stdout", calling := Calling())
    home.say(1, (1, b"one\n"))
    call()
    assert calling.getvalue() == "one\n"


class Raising(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, _text):
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed"), SystemExit(3), RuntimeError()])
def test_what_a_stream_refuses_is_dropped(home, call, monkeypatch, capsys, error):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Raising(error))
        home.say(1, (1, b"one\n"))
        call()
    home.say(2, (1, b"two\n"))
    call()
    assert capsys.readouterr().out == "two\n"


@pytest.mark.parametrize("stream", [None, object()])
def test_no_stream_at_all(home, call, monkeypatch, stream):
    monkeypatch.setattr(sys, "stdout", stream)
    home.say(1, (1, b"one\n"))
    call()
    wait_until(lambda: home.printed == [1])


def test_a_closed_stream(home, call, monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    home.say(1, (1, b"one\n"))
    call()
    wait_until(lambda: home.printed == [1])


def test_what_the_stream_cannot_encode_is_spelled(home, call, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    home.say(1, (1, "snow \N{SNOWMAN}\n".encode()))
    call()
    assert raw.getvalue() == b"snow \\u2603\n"


def test_what_is_no_text_arrives_as_it_is(home, call, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    sys.stdout.write("\xe9")
    home.say(1, (1, b"\x89PNG\n"))
    call()
    assert raw.getvalue() == b"\xe9\x89PNG\n"
    monkeypatch.setattr(sys, "stdout", text := io.StringIO())
    home.say(2, (1, b"\x89PNG\n"))
    call()
    assert text.getvalue() == "\\x89PNG\n"


def printers():
    """Return the threads that print; other tests of this process may have some."""
    return {thread for thread in threading.enumerate() if thread.name == "mpserve-printer"}


def test_closing_prints_the_rest(home, call, session, capsys):
    before = printers()
    home.say(1, (1, b"one\n"))
    call()
    home.say(2, (1, b"two\n"))
    wait_until(lambda: 2 in home.printed)
    session.close()
    assert capsys.readouterr().out == "one\ntwo\n"
    wait_until(lambda: printers() <= before)
