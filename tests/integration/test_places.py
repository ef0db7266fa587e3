"""Who waits when the server is killed stands in line again where it stood, whoever finds the server first."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.integration.conftest import Server, in_thread
from tests.integration.relay import Relay

import mpclient
from mpclient import aio
from mpclient.testing import wait_until, waiters

pytestmark = [pytest.mark.hosts, pytest.mark.chaos]

BEFORE, SINCE = 4, 2
"""So many wait when the server is killed; the others come after the first ones are back."""
KILL = signal.SIGKILL
Wait = Callable[[mpclient.Cluster], object]


class Stage:
    """A server that keeps its state, a client that sees all, and others that each come through a relay."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.server, self.stack = server, stack
        self.boss = stack.enter_context(server.connect(reconnect_timeout=30.0))
        self.doors: list[Relay] = []
        self.got: list[tuple[int, object]] = []
        self.ends: list[Callable[[], object]] = []
        self.served = threading.Event()

    def door(self) -> Relay:
        host, port = self.server.address.rsplit(":", 1)
        relay = Relay((host, int(port)))
        self.stack.callback(relay.close)
        self.doors.append(relay)
        return relay

    def join(self, shared: Any, wait: Wait | str) -> None:
        """Have one more client wait for an object, and stand in line."""
        number, here, door = len(self.doors), waiters(self.boss, shared), self.door()
        if isinstance(wait, str):
            self.ends.append(in_thread(lambda: asyncio.run(self._wait_as_task(door, number, wait))))
        else:
            cluster = self.stack.enter_context(
                mpclient.connect(door.address, self.server.key, reconnect_timeout=30.0)
            )
            self.ends.append(in_thread(lambda: self.got.append((number, wait(cluster)))))
        wait_until(lambda: waiters(self.boss, shared) == here + 1, 20)

    async def _wait_as_task(self, door: Relay, number: int, kind: str) -> None:
        async with aio.connect(door.address, self.server.key, reconnect_timeout=30.0) as cluster:
            it = await getattr(cluster, kind)(name="it")
            self.got.append((number, await (it.get() if kind == "Queue" else it.acquire())))
            await asyncio.to_thread(self.served.wait, 60)  # with the session what it holds would go on

    def standing(self, shared: Any) -> int:
        """Return how many calls wait for an object; of a condition: for its lock."""
        ident = shared._handle.ident
        [row] = [row for row in self.boss.status()["objects"] if row["ident"] == ident]
        return int(row.get("acquirers", waiters(self.boss, shared)))

    def restart(self, number: int = KILL) -> None:
        """End the server and start it again; nobody but the boss finds it."""
        self.boss.Value("i", 0).value = 1  # that this was written says that the places are, too
        for door in self.doors:
            door.refusing = True
        self.server.send_signal(number)
        self.server.wait()
        self.server.start(port=int(self.server.address.rpartition(":")[2]))

    def back(self, shared: Any, order: Iterable[int]) -> None:
        """Let the clients find the server, one after the other."""
        for count, number in enumerate(order, 1):
            self.doors[number].refusing = False
            wait_until(lambda count=count: self.standing(shared) == count, 20)

    def serve(self, hand_out: Callable[[], object]) -> list[tuple[int, object]]:
        """Hand out one thing after the other, each when the one before has arrived; return who had which."""
        for count in range(1, len(self.ends) + 1):
            hand_out()
            wait_until(lambda count=count: len(self.got) == count, 20)
        self.served.set()
        for end in self.ends:
            end()
        return self.got


@pytest.fixture
def stage(tmp_path) -> Iterator[Stage]:
    with a_stage(tmp_path) as stage:
        yield stage


@contextmanager
def a_stage(folder, *options: str) -> Iterator[Stage]:
    with ExitStack() as stack:
        server = Server(folder / "server", ("--data", str(folder / "data"), *options))
        stack.callback(server.stop)
        server.start()
        yield Stage(server, stack)


# -- what is waited for ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A line of clients that wait for one object."""

    make: Callable[[mpclient.Cluster], Any]
    """Makes it, so that all must wait."""
    wait: Wait | str
    """What a client does; a text: the asyncio client gets or acquires an object of that kind."""
    hand_out: Callable[[Any], object]
    """Has the first of the line go on."""


def held(lock: Any) -> Any:
    lock.acquire()
    return lock


def filled(queue: Any) -> Any:
    queue.put(None)
    return queue


LINES = {
    "lock": Line(
        lambda c: held(c.Lock(name="it")), lambda c: c.Lock(name="it").acquire(), lambda it: it.release()
    ),
    "semaphore": Line(
        lambda c: held(c.Semaphore(1, name="it")),
        lambda c: c.Semaphore(1, name="it").acquire(),
        lambda it: it.release(),
    ),
    "queue": Line(lambda c: c.Queue(name="it"), lambda c: c.Queue(name="it").get(), lambda it: it.put(1)),
    "leased": Line(
        lambda c: c.JoinableQueue(name="it"),
        lambda c: c.JoinableQueue(name="it").get(timeout=60),
        lambda it: it.put(1),
    ),
    "full queue": Line(
        lambda c: filled(c.Queue(1, name="it")),
        lambda c: c.Queue(1, name="it").put(c.session.id),
        lambda it: it.get(),
    ),
    "tasks at a lock": Line(lambda c: held(c.Lock(name="it")), "Lock", lambda it: it.release()),
    "tasks at a queue": Line(lambda c: c.Queue(name="it"), "Queue", lambda it: it.put(1)),
}


@pytest.mark.parametrize("kind", LINES)
def test_all_have_it_in_the_order_in_which_they_came(stage, kind):
    line = LINES[kind]
    it = line.make(stage.boss)
    for _ in range(BEFORE):
        stage.join(it, line.wait)
    stage.restart()
    stage.back(it, reversed(range(BEFORE)))
    for _ in range(SINCE):
        stage.join(it, line.wait)
    got = stage.serve(lambda: line.hand_out(it))
    assert [number for number, _ in got] == list(range(BEFORE + SINCE))


def test_a_second_restart_and_a_stop(stage):
    """Places of before the first one stand before those of between, and a stop keeps them as well."""
    queue = stage.boss.Queue(name="it")
    wait = LINES["queue"].wait
    for _ in range(BEFORE):
        stage.join(queue, wait)
    stage.restart()
    stage.back(queue, reversed(range(BEFORE)))
    for _ in range(SINCE):
        stage.join(queue, wait)
    stage.restart(signal.SIGTERM)
    stage.back(queue, reversed(range(BEFORE + SINCE)))
    got = stage.serve(lambda: queue.put(1))
    assert [number for number, _ in got] == list(range(BEFORE + SINCE))


def test_who_is_not_back_yet_holds_up_nobody_and_keeps_its_place(stage):
    queue = stage.boss.Queue(name="it")
    for _ in range(BEFORE):
        stage.join(queue, LINES["queue"].wait)
    stage.restart()
    stage.back(queue, [2, 1])
    queue.put(1)
    wait_until(lambda: len(stage.got) == 1, 20)
    stage.doors[0].refusing = stage.doors[3].refusing = False
    wait_until(lambda: stage.standing(queue) == BEFORE - 1, 20)
    for count in range(2, BEFORE + 1):
        queue.put(1)
        wait_until(lambda count=count: len(stage.got) == count, 20)
    assert [number for number, _ in stage.got] == [1, 0, 2, 3]


def test_those_who_wait_at_a_condition_are_notified_in_their_order(stage):
    condition = stage.boss.Condition(name="it")

    def wait(cluster: mpclient.Cluster) -> bool:
        theirs = cluster.Condition(name="it")
        with theirs:
            return theirs.wait()

    def notify() -> None:
        with condition:
            condition.notify()

    for _ in range(BEFORE):
        stage.join(condition, wait)
    stage.restart()
    for door in reversed(stage.doors):
        door.refusing = False
    assert stage.serve(notify) == [(number, True) for number in range(BEFORE)]


def test_those_who_were_notified_have_the_lock_in_their_order(stage):
    condition, first = stage.boss.Condition(name="it"), stage.boss.list(name="first")

    def wait(cluster: mpclient.Cluster) -> int:
        theirs, order = cluster.Condition(name="it"), cluster.list(name="first")
        with theirs:
            theirs.wait()
            order.append(0)
            return len(order)

    for _ in range(BEFORE):
        stage.join(condition, wait)
    condition.acquire()
    condition.notify_all()
    stage.restart()
    stage.back(condition, reversed(range(BEFORE)))
    condition.release()
    for end in stage.ends:
        end()
    assert sorted(stage.got) == [(number, number + 1) for number in range(BEFORE)]
    assert len(first) == BEFORE
