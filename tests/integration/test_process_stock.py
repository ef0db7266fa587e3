"""The Process that a host keeps in stock: who gets it, and what happens when it cannot be had."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration import workers

from mpclient import testing

mpworker = workers.mpworker
begun, gate, waits = workers.begun, workers.gate, workers.waits
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


@pytest.fixture
def own(fresh_server) -> Any:
    return fresh_server()


@pytest.fixture
def cluster(own) -> Iterator[Any]:
    with own.connect() as cluster:
        yield cluster


class Host:
    """A worker host, and its nursery."""

    def __init__(self, host: workers.WorkerHost) -> None:
        self.host = host

    @property
    def nursery(self) -> int:
        (pid,) = workers.nursery_of(self.host.process.pid)
        return pid

    def stock(self, *known: int) -> list[int]:
        """Return those of its children that are not known Processes."""
        return [pid for pid in workers.children_of(self.nursery) if pid not in known and waits_for_word(pid)]

    def wait_for_stock(self, *known: int) -> int:
        testing.wait_until(lambda: len(self.stock(*known)) == 1)
        return self.stock(*known)[0]


def waits_for_word(pid: int) -> bool:
    """Tell whether a process has begun its session: then it has a thread for that, and one for its output."""
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) == 3
    except FileNotFoundError:
        return False


@pytest.fixture
def host(own, mpworker) -> Host:
    return Host(mpworker(own).ready())


@pytest.fixture
def start(cluster, waits, gate) -> Iterator[Any]:
    """Start a Process that waits for the gate."""
    started = []

    def start() -> Any:
        process = cluster.Process(target=waits, args=("p",))
        process.start()
        started.append(process)
        return process

    yield start
    gate.set()
    for process in started:
        process.join(20)


def test_the_next_process_is_the_one_in_stock(start, host, gate, own):
    first = start()
    pid = host.wait_for_stock(first.pid)
    second = start()
    assert second.pid == pid
    assert host.wait_for_stock(first.pid, second.pid) not in {first.pid, second.pid}
    gate.set()
    for process in (first, second):
        process.join(20)
        assert process.exitcode == 0


def test_its_session_has_the_name_of_the_process(start, host, cluster):
    first = start()
    pid = host.wait_for_stock(first.pid)
    second = start()
    names = {session["pid"]: session["name"] for session in cluster.status()["sessions"]}
    assert (second.pid, names[pid]) == (pid, second.name)


def test_it_goes_when_nobody_needs_it(start, host, gate, cluster):
    process = start()
    gate.set()
    process.join(20)
    testing.wait_until(lambda: workers.children_of(host.nursery) == [])
    assert [session["role"] for session in cluster.status()["sessions"]].count("process") == 0


def test_one_that_was_killed_has_a_successor(start, host):
    first = start()
    pid = host.wait_for_stock(first.pid)
    os.kill(pid, signal.SIGKILL)
    second = start()
    assert second.pid != pid
    assert second.is_alive()


def test_one_that_is_killed_when_it_was_told_has_a_successor(start, host, cluster):
    first = start()
    pid = host.wait_for_stock(first.pid)
    os.kill(pid, signal.SIGSTOP)
    started: list[Any] = []
    thread = threading.Thread(target=lambda: started.append(start()))
    thread.start()
    testing.wait_until(lambda: any(pid != other for other in host.stock(first.pid)))  # the next one
    os.kill(pid, signal.SIGKILL)
    thread.join(20)
    assert started[0].pid != pid
    assert started[0].is_alive()


def test_none_in_stock_where_there_may_be_no_more(start, own, mpworker):
    host = Host(mpworker(own, "--max-spawned", "1").ready())
    process = start()
    assert workers.children_of(host.nursery) == [process.pid]


def test_it_ends_with_its_nursery(start, host):
    first = start()
    pid = host.wait_for_stock(first.pid)
    os.kill(host.nursery, signal.SIGKILL)
    testing.wait_until(lambda: not workers.is_alive(pid))


def test_it_ends_with_its_worker_host(start, host):
    first = start()
    pid = host.wait_for_stock(first.pid)
    host.host.process.kill()
    testing.wait_until(lambda: not workers.is_alive(pid))
