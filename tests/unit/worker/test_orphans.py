"""Births of worker processes, as their supervisor waits for them."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import ExitStack

import pytest

from mpclient.worker import orphans
from mpclient.worker.channel import Channel

MUCH = 100
"""So many pieces of 64 KiB are more than a socket takes that nobody reads."""


@pytest.fixture
def ends():
    """Return the supervisor's ends of the channels to a worker process and the nursery, and the others."""
    with ExitStack() as stack:
        left, right = zip(*[map(Channel, socket.socketpair()) for _ in range(2)], strict=True)
        for channel in (*left, *right):
            stack.callback(channel.close)
        yield left, right


def test_a_nursery_is_heard_that_cannot_go_on_before(ends):
    (ours, nursery), (theirs, supervisor) = ends
    heard = []

    def tells_and_bears():
        for _ in range(MUCH):
            supervisor.send("wrote", data=bytes(1 << 16))
        theirs.send("born", pid=7)

    def hear():
        heard.extend(nursery.receive() or [])

    thread = threading.Thread(target=tells_and_bears)
    thread.start()
    assert orphans.begun(ours, nursery, hear) == 7
    thread.join()
    while len(heard) < MUCH:
        hear()


def test_a_nursery_that_dies_meanwhile(ends):
    (ours, nursery), (theirs, supervisor) = ends
    supervisor.close()
    with pytest.raises(OSError, match="has not given birth"):
        orphans.begun(ours, nursery, nursery.close)
    theirs.close()


def test_a_process_that_could_not_be_born(ends):
    (ours, nursery), (theirs, _) = ends
    theirs.close()
    with pytest.raises(OSError, match="has not given birth"):
        orphans.begun(ours, nursery, pytest.fail)


def test_a_nursery_that_does_not_answer(ends, monkeypatch):
    monkeypatch.setattr(orphans, "_BORN_S", 0.01)
    (ours, nursery), _ = ends
    with pytest.raises(TimeoutError):
        orphans.begun(ours, nursery, pytest.fail)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_a_supervisor_with_many_open_files(ends):
    resource = pytest.importorskip("resource")
    (ours, nursery), (theirs, _) = ends
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip("not so many files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    try:
        high = Channel(socket.socket(fileno=_moved(ours.fileno(), 1500)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    theirs.send("born", pid=7)
    assert orphans.begun(high, nursery, pytest.fail) == 7
    high.close()


def _moved(descriptor: int, least: int) -> int:
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)
