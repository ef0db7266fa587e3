"""Waiting for an answer awake, then asleep, on a real socket."""

from __future__ import annotations

import os
import signal
import socket
import threading
from types import SimpleNamespace

import pytest

from mpclient.transport.awake import poll_at, receive, share_one_processor
from mpshared.spinning import Spin

LONG_S = 30.0
"""Longer than any test looks."""


@pytest.fixture(autouse=True)
def all_gaps_are_short(monkeypatch):
    """Let nothing depend on how busy this machine is."""
    monkeypatch.setattr("mpclient.transport.awake.GAP_S", LONG_S)


@pytest.fixture
def one_processor():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to a processor")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(params=["any processor", "one processor for both ends"])
def ends(request):
    ours, theirs = socket.socketpair()
    if request.param != "any processor":
        request.getfixturevalue("one_processor")
    yield ours, theirs
    ours.close()
    theirs.close()


def sleep_at(sock):
    """Return what a connection sleeps in."""
    return poll_at(sock) if share_one_processor(sock) else None


def test_who_shares_its_only_processor_with_the_other_end_sleeps_in_poll(ends, request):
    name = request.node.callspec.params["ends"]
    assert share_one_processor(ends[0]) == (name != "any processor")


def test_what_is_there_is_found(ends):
    spin = Spin(LONG_S)
    ends[1].send(b"answer")
    assert receive(ends[0], spin, sleep_at(ends[0])) == b"answer"
    assert spin.resting == 0


def test_what_comes_later_is_slept_for(ends, monkeypatch):
    spin, times = Spin(1.0), iter([0.0, 2.0])
    sender = threading.Timer(0.02, ends[1].send, (b"answer",))

    def clock():
        now_s = next(times)
        if now_s:  # it has looked, and its time is over
            sender.start()
        return now_s

    monkeypatch.setattr("mpclient.transport.awake.time", SimpleNamespace(perf_counter=clock))
    assert receive(ends[0], spin, sleep_at(ends[0])) == b"answer"
    assert spin.resting == 1
    sender.join()


def test_who_rests_does_not_look(ends):
    spin = Spin(LONG_S)
    spin.missed()
    ends[1].send(b"answer")
    assert receive(ends[0], spin, sleep_at(ends[0])) == b"answer"
    assert spin.resting == 0


def test_who_never_looks_sleeps(ends):
    sender = threading.Timer(0.02, ends[1].send, (b"answer",))
    sender.start()
    assert receive(ends[0], Spin(0.0), sleep_at(ends[0])) == b"answer"
    sender.join()


def test_the_end_of_the_connection_ends_sleep(ends):
    sender = threading.Timer(0.02, ends[0].shutdown, (socket.SHUT_RDWR,))  # as `Connection.interrupt`
    sender.start()
    assert receive(ends[0], Spin(0.0), sleep_at(ends[0])) == b""
    sender.join()


def test_the_end_of_the_connection_is_found(ends):
    ends[1].close()
    assert receive(ends[0], Spin(LONG_S), sleep_at(ends[0])) == b""


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError, BlockingIOError])
def test_what_a_signal_handler_raises_gets_out(ends, error):
    def handler(number, frame):
        raise error("by the handler")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(error, match="by the handler"):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            for _ in range(10_000):
                receive_once_awake(ends[0])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def receive_once_awake(sock):
    """Look for a millisecond, or until a handler raises; never sleep."""
    sock.settimeout(0.0)  # so that what would sleep fails instead
    try:
        receive(sock, Spin(0.001), lambda: None)
    except BlockingIOError as err:
        if err.args == ("by the handler",):
            raise
