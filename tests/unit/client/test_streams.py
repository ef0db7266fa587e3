"""`sys.stdout` and `sys.stderr` of a worker: lines leave whole, ahead of the next call, once, in order."""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import pickle
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.peer import CUT, reply

from mpclient.output.outgoing import ENTRY_BYTES
from mpclient.testing import wait_until
from mpclient.worker.streams import Streams
from mpshared.ops import BY_NAME
from mpshared.wire.own.frames import Call, Control, Type, encode_control

COUNT = BY_NAME["cluster.count"]


class Home:
    """The peer as a server that takes output; `said` is all of it, and each call, in order."""

    def __init__(self, peer):
        self.said: list[object] = []
        self.heard = 0
        self.answers = True
        self.cut_after = 0
        peer.script = self.script

    def script(self, event):
        if isinstance(event, Call):
            self.said.append("call")
            return reply(event)
        if isinstance(event, Control) and event.type is Type.OUTPUT:
            if event.number > self.heard:
                self.heard = event.number
                program, entries = event.body
                self.said += [(program, stream, data) for stream, data in entries]
            if self.cut_after == event.number:
                self.cut_after = 0
                return CUT
            return encode_control(Type.ACK, ack=self.heard) if self.answers else None
        return None

    def text(self, stream=1):
        return b"".join(entry[2] for entry in self.said if isinstance(entry, tuple) and entry[1] == stream)


@pytest.fixture
def home(peer):
    return Home(peer)


@pytest.fixture
def streams(home, session, monkeypatch):
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    streams = Streams(session)
    streams.put_in_place()
    streams.route("program")
    yield streams
    streams.route("")


@pytest.fixture
def call(session):
    return lambda: session.call(COUNT, "", [])


@pytest.fixture
def say(streams):
    """`print`, to the stream: what stands in `sys` is pytest's."""
    return partial(print, file=streams.out)


def test_lines_go_ahead_of_the_next_call(home, streams, say, call):
    say("one")
    say("two", "words", file=streams.err)
    call()
    say("three")
    call()
    assert home.said == [
        ("program", 1, b"one\n"),
        ("program", 2, b"two words\n"),
        "call",
        ("program", 1, b"three\n"),
        "call",
    ]


def test_without_a_call_lines_go_soon(home, streams, say, call):
    call()
    say("one")
    wait_until(lambda: home.text() == b"one\n")


def test_what_is_unfinished_waits_for_its_end_a_flush_or_a_new_route(home, streams, say, call):
    say("a", end="")
    say(end="")
    call()
    assert home.text() == b""
    say("b", end="")
    say("c")
    call()
    assert home.text() == b"abc\n"
    say(".", end="", flush=True)
    call()
    assert home.text() == b"abc\n."
    say("rest", end="")
    streams.route("another")
    call()
    assert home.said[-2] == ("program", 1, b"rest")


@pytest.mark.parametrize("text", ["\r10 %", "50 %\r"])
def test_a_carriage_return_does_not_wait(home, streams, say, call, text):
    streams.err.write(text)
    call()
    assert home.text(2) == text.encode()


def test_several_lines_in_one_write_leave_the_last_part(home, streams, say, call):
    streams.out.write("one\ntwo\nthr")
    call()
    assert home.text() == b"one\ntwo\n"
    streams.out.writelines(["ee", "\n"])
    call()
    assert home.text() == b"one\ntwo\nthree\n"


def test_what_has_no_utf_8_is_spelled(home, streams, say, call):
    say("bad \udc80 \ud83d, good \N{SNOWMAN}")
    call()
    assert home.text() == b"bad \\udc80 \\ud83d, good \xe2\x98\x83\n"


def test_bytes_arrive_as_they_are_and_in_their_place(home, streams, say, call):
    say("before ", end="")
    streams.out.buffer.write(b"\x89PNG\xff")
    streams.out.buffer.write(memoryview(b"\n"))
    say("after")
    call()
    assert home.text() == b"before \x89PNG\xff\nafter\n"


def test_very_long_lines_are_cut_between_characters(home, streams, say, call):
    text = "\N{SNOWMAN}" * ENTRY_BYTES
    say(text)
    call()
    assert home.text() == text.encode() + b"\n"
    entries = [entry[2] for entry in home.said if isinstance(entry, tuple)]
    assert len(entries) > 2
    for entry in entries:
        assert len(entry) <= ENTRY_BYTES
        entry.decode()


def test_an_unfinished_line_does_not_grow_for_ever(home, streams, say, call):
    call()
    for _ in range(3 * ENTRY_BYTES // 1000):
        streams.out.write("x" * 1000)
    wait_until(lambda: len(home.text()) > ENTRY_BYTES)


def test_threads_do_not_mix_their_lines(home, streams, say, call):
    barrier = threading.Barrier(4)

    def run(name):
        barrier.wait(10)
        for n in range(200):
            say(name, n)

    threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    call()
    lines = home.text().decode().splitlines()
    for name in "abcd":
        assert [line for line in lines if line.startswith(name)] == [f"{name} {n}" for n in range(200)]
    assert len(lines) == 800


def test_unfinished_lines_of_threads_that_are_gone_leave_in_the_end(home, streams, say, call, in_thread):
    in_thread(lambda: say("from a thread", end=""))
    streams.flush()
    call()
    assert home.text() == b"from a thread"


def test_a_signal_handler_may_print_and_call(home, say, call):
    def handler(_number, _frame):
        say("signal")
        call()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        say("be", end="")
        signal.raise_signal(signal.SIGUSR1)
        say("fore")
        call()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert home.text() == b"besignal\nfore\n"


@pytest.mark.parametrize("cut_after", [1, 2, 3])
def test_a_lost_connection_neither_loses_nor_repeats_a_line(home, streams, say, call, cut_after):
    home.cut_after = cut_after
    for n in range(6):
        say("line", n)
        call()
    assert home.text() == b"".join(b"line %d\n" % n for n in range(6))
    assert not home.cut_after


def test_every_lane_brings_what_another_has_not_brought(home, streams, say, session, in_thread):
    home.answers = False
    for n in range(5):
        say("line", n)
        in_thread(lambda: session.call(COUNT, "", []))
    assert home.text() == b"".join(b"line %d\n" % n for n in range(5))


def test_who_prints_too_much_waits_until_it_is_taken(home, streams, say, call):
    home.answers = False
    call()
    done = threading.Event()

    def flood():
        for _ in range(200):
            say("x" * 10_000)
        done.set()

    threading.Thread(target=flood, daemon=True).start()
    wait_until(lambda: streams.outgoing.full)
    assert not done.is_set()
    home.answers = True
    streams.outgoing.hear(Control(Type.ACK, 0, 0, home.heard, None))
    assert done.wait(10)
    call()
    wait_until(lambda: len(home.text()) == 200 * 10_001)


def test_after_the_end_of_the_session_lines_go_to_the_process_itself(home, streams, say, session, call):
    call()
    streams.out.own = own = io.StringIO()
    home.answers = False
    session.close()
    for _ in range(200):
        say("x" * 10_000)
    assert not streams.outgoing.full
    assert len(own.getvalue()) == 200 * 10_001


def test_closing_sends_the_last_lines(home, streams, say, session, call):
    call()
    say("last")
    session.close()
    assert home.text() == b"last\n"


def test_a_fork_sends_nothing_of_its_parent(home, streams, say, call):
    call()
    say("line")
    say("unfinished", end="")
    pid = os.fork()
    if not pid:
        streams.out.flush()
        os._exit(0 if not (streams.outgoing.waiting or streams.program) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    say(" line")
    call()
    assert home.text() == b"line\nunfinished line\n"


def test_loggers_and_faulthandler_find_what_they_need(home, streams, say, call):
    streams.put_in_place()
    logger = logging.getLogger(__name__)
    logger.handlers = [logging.StreamHandler()]
    streams.route("")
    streams.route("another")
    logger.warning("careful")
    call()
    assert ("another", 2, b"careful\n") in home.said
    with Path(os.devnull).open("w") as nowhere:
        streams.err.own = nowhere
        faulthandler.enable(streams.err)
        faulthandler.disable()


def test_it_is_a_text_stream_like_any_other(streams):
    streams.put_in_place()
    assert isinstance(streams.out, io.TextIOBase)
    out: Any = streams.out
    assert (out.encoding, out.errors, out.mode, out.name) == ("utf-8", "backslashreplace", "w", "<stdout>")
    assert out.writable()
    assert out.line_buffering
    assert not any([out.isatty(), out.readable(), out.seekable(), out.closed])
    with pytest.raises(TypeError, match="must be str, not int"):
        out.write(1)
    with pytest.raises(TypeError, match="bytes-like"):
        out.buffer.write("text")
    with pytest.raises(io.UnsupportedOperation):
        out.read()
    with pytest.raises(io.UnsupportedOperation, match="use its `buffer`"):
        out.detach()
    assert pickle.loads(pickle.dumps(out)) is out


def test_it_cannot_be_closed(home, streams, say, call):
    with streams.out as out:
        out.write("one")
    streams.out.buffer.close()
    say("two")
    call()
    assert home.text() == b"onetwo\n"


def test_it_is_configured_as_far_as_it_goes(home, streams, say, call):
    streams.out.reconfigure(encoding="UTF8", errors="replace", newline="\n", line_buffering=True)
    streams.out.reconfigure(write_through=True)
    streams.out.write("\udc80")
    call()
    assert home.text() == b"?"
    for bad in ({"encoding": "latin-1"}, {"newline": "\r\n"}, {"line_buffering": False}):
        with pytest.raises(io.UnsupportedOperation, match="set these there"):
            streams.out.reconfigure(**bad)
    with pytest.raises(LookupError):
        streams.out.reconfigure(errors="nonesuch")
    streams.out.reconfigure(errors="strict")
    with pytest.raises(UnicodeEncodeError):
        streams.out.write("\udc80")


def test_a_new_program_finds_them_in_place_and_the_same_one_what_it_put_there(streams):
    sys.stdout = own = io.StringIO()
    streams.route("program")
    assert sys.stdout is own
    streams.route("another")
    assert sys.stdout is streams.out
