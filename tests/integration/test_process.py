"""Process beside the standard library's: the same code gives the same results, exceptions and messages."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from tests.integration import targets

import mpclient
from mpclient import default, testing
from mpclient.process import Process

pytestmark = [pytest.mark.hosts]


@dataclass
class Side:
    """One of the two, and what its Processes need to speak with the test."""

    Process: Any
    Queue: Callable[[], Any]
    Event: Callable[[], Any]
    started: list[Any]

    def make(self, *args: Any, **more: Any) -> Any:
        process = self.Process(*args, **more)
        self.started.append(process)
        return process

    def start(self, target: Any, *args: Any, **more: Any) -> Any:
        process = self.make(target=target, args=args, **more)
        process.start()
        return process

    def waiting(self, **more: Any) -> tuple[Any, Any]:
        """Start one that waits for the gate, which is returned, too."""
        begun, gate = self.Event(), self.Event()
        process = self.start(targets.wait, begun, gate, **more)
        assert begun.wait(20)
        return process, gate

    def clean(self) -> None:
        for process in self.started:
            if process._popen is not None and process.is_alive():
                process.kill()
                process.join(20)
        self.started.clear()


@pytest.fixture(scope="module")
def cluster() -> Iterator[mpclient.Cluster]:
    with testing.running_cluster(1) as cluster:
        yield cluster


@pytest.fixture
def theirs() -> Iterator[Side]:
    spawn = multiprocessing.get_context("spawn")
    side = Side(targets.Process, spawn.SimpleQueue, spawn.Event, [])
    yield side
    side.clean()


@pytest.fixture
def ours(cluster) -> Iterator[Side]:
    side = Side(cluster.Process, cluster.SimpleQueue, cluster.Event, [])
    yield side
    side.clean()


@pytest.fixture
def both(ours, theirs) -> Callable[[Callable[[Side], Any]], Any]:
    """Run a scenario on both sides; returns what both gave."""

    def run(scenario: Callable[[Side], Any]) -> Any:
        results = [scenario(ours), scenario(theirs)]
        assert results[0] == results[1]
        return results[0]

    return run


def told(call: Callable[[], Any]) -> Any:
    """Return what a call returned, or the kind and words of what it raised."""
    try:
        return call()
    except Exception as err:
        kind = next(k for k in type(err).__mro__ if k.__module__ == "builtins")
        return kind, str(err)


def tells_start_method(process: Any) -> None:
    targets.start_method(*process._args)


class TestExitCodes:
    @pytest.mark.parametrize(
        ("how", "value", "code"),
        [
            ("return", None, 0),
            ("exit", None, 0),
            ("exit", 7, 7),
            ("exit", 300, 44),
            ("exit", -1, 255),
            ("exit", True, 1),
            ("exit", "some text", 1),
            ("raise", ValueError("some text"), 1),
            ("raise", KeyboardInterrupt(), 1),
            ("_exit", 5, 5),
            ("signal", signal.SIGTERM, -15),
            ("signal", signal.SIGKILL, -9),
            ("signal", signal.SIGINT, 1),
            ("thread", 6, 6),
        ],
    )
    def test_the_same(self, both, capfd, how, value, code):
        def scenario(side: Side) -> Any:
            process = side.start(targets.end, how, value)
            process.join(20)
            return process.exitcode, process.is_alive()

        assert both(scenario) == (code, False)

    @pytest.mark.parametrize(("method", "code"), [("terminate", -15), ("kill", -9)])
    def test_ended_by_its_parent(self, both, method, code):
        def scenario(side: Side) -> Any:
            process, _ = side.waiting()
            before = process.is_alive(), process.exitcode, process.join(0)
            getattr(process, method)()
            process.join(20)
            getattr(process, method)()
            return before, process.exitcode

        assert both(scenario) == ((True, None, None), code)


ATTRIBUTES = ("name", "daemon", "exitcode", "pid", "ident", "sentinel")
METHODS = ("start", "terminate", "kill", "join", "is_alive", "close")


class TestRefusals:
    def test_before_the_start(self, both):
        def scenario(side: Side) -> Any:
            process = side.make(target=print)
            looks = {name: told(partial(getattr, process, name)) for name in ATTRIBUTES}
            calls = {name: told(getattr(process, name)) for name in METHODS if name not in {"start", "close"}}
            return {**looks, "name": ""}, calls, _masked(process)

        looks, calls, _ = both(scenario)
        assert looks["exitcode"] is looks["pid"] is None
        assert looks["sentinel"] == (ValueError, "process not started")
        assert calls["join"] == (AssertionError, "can only join a started process")

    def test_while_it_runs(self, both):
        def scenario(side: Side) -> Any:
            process, gate = side.waiting(name="busy")
            refused = [
                told(process.start),
                told(process.close),
                told(lambda: setattr(process, "daemon", True)),
            ]
            looks = process.pid == process.ident > 0, process.exitcode, process.is_alive()
            shown = _masked(process)
            gate.set()
            process.join(20)
            return refused, looks, shown, told(process.start), _masked(process)

        refused, *_ = both(scenario)
        assert refused[0] == (AssertionError, "cannot start a process twice")
        assert "still running" in refused[1][1]

    def test_after_close(self, both):
        def scenario(side: Side) -> Any:
            process = side.start(targets.end, "return")
            process.join(20)
            process.close()
            looks = {name: told(partial(getattr, process, name)) for name in ATTRIBUTES if name != "name"}
            calls = {name: told(getattr(process, name)) for name in METHODS}
            side.started.clear()
            return looks, calls, _masked(process)

        looks, *_ = both(scenario)
        assert looks["exitcode"] == (ValueError, "process object is closed")

    def test_arguments(self, both):
        def scenario(side: Side) -> Any:
            return [
                told(lambda: side.Process("a group")),
                told(lambda: side.Process(None, None, None, 5)),
                told(lambda: side.Process(kwargs=5)),
                told(lambda: side.Process(nonsense=1)),
                told(lambda: setattr(side.make(), "name", 5)),
                told(lambda: side.make().run()),
            ]

        assert both(scenario)[0] == (AssertionError, "group argument must be None for now")

    def test_join_takes_what_the_standard_library_takes(self, both):
        def scenario(side: Side) -> Any:
            process, gate = side.waiting()
            waits = [told(partial(process.join, timeout)) for timeout in (0, -1, 0.01)]
            gate.set()
            return waits, process.join(), process.exitcode

        assert both(scenario) == ([None] * 3, None, 0)

    def test_what_cannot_be_pickled_can_be_started_later(self, ours):
        process = ours.make(target=targets.end, args=("return", threading.Lock()))
        with pytest.raises(TypeError, match=r"cannot pickle '_thread.lock' object: process.args\[1\] "):
            process.start()
        assert process not in multiprocessing.active_children()
        process._args = ("return",)
        process.start()
        process.join(20)
        assert process.exitcode == 0


class TestInside:
    def test_what_it_knows_of_itself(self, both, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["a", "b"])
        parent = multiprocessing.current_process()

        def scenario(side: Side) -> Any:
            answer = side.Queue()
            process = side.start(targets.describe, answer, name="inside", daemon=True)
            known = answer.get()
            process.join(20)
            return {**known, "parent's repr": re.sub(r"0x\w+", "", known["parent's repr"])}

        known = both(scenario)
        assert (known["name"], known["daemon"], known["argv"]) == ("inside", True, True)
        assert known["parent"] == ("MainProcess", os.getpid(), True)
        assert known["authkey"] == bytes(parent.authkey)

    def test_its_start_method_is_its_programs(self, cluster, ours, monkeypatch):
        monkeypatch.setattr(mpclient.context.default_context, "_start_method", "forkserver")
        answer = cluster.Queue()
        process = ours.start(targets.start_method, answer)
        assert answer.get(timeout=20) == "forkserver"
        process.join(20)

    @pytest.mark.parametrize("method", ["spawn", "forkserver"])
    def test_its_start_method_is_its_contexts(self, cluster, monkeypatch, method):
        monkeypatch.setattr(default._default, "explicit", [cluster])
        monkeypatch.setattr(mpclient.context.default_context, "_start_method", "spawn")
        for context in (mpclient.get_context(method), cluster.get_context(method)):
            answer = context.SimpleQueue()
            process = context.Process(target=targets.start_method, args=(answer,))
            process.start()
            assert answer.get() == method
            process.join(20)
            assert type(process).__name__ == type(multiprocessing.get_context(method).Process()).__name__
            derived = type("Derived", (context.Process,), {"run": tells_start_method})()
            derived._args = (answer,)
            derived.start()
            assert answer.get() == method
            derived.join(20)

    def test_a_queue_of_a_derived_class_is_one_there(self, cluster, ours, monkeypatch):
        monkeypatch.setattr(default._default, "explicit", [cluster])
        queue = targets.CountingQueue(ctx=mpclient.get_context())
        process = ours.start(targets.put_all, queue, "abc")
        assert [queue.get(timeout=20) for _ in "abc"] == ["a", "b", "c"]
        process.join(20)
        assert queue.count.value == 3

    def test_a_key_of_ones_own_is_inherited(self, both):
        def scenario(side: Side) -> Any:
            answer = side.Queue()
            process = side.make(target=targets.describe, args=(answer,))
            process.authkey = b"another key"
            process.start()
            return answer.get()["authkey"], process.join(20), process.authkey

        assert both(scenario)[0] == b"another key"

    def test_the_servers_key_does_not_travel(self, cluster, ours, monkeypatch):
        from mpclient.process import _pack

        process = ours.make(target=targets.describe)
        process.authkey = cluster.session.key
        assert cluster.session.key not in _pack(process, cluster.session)

    def test_nested(self, cluster, ours):
        answer = cluster.Queue()
        process = ours.start(targets.nest, Process, answer, 2, name="outer")
        process.join(30)
        count = process._identity[0]
        assert answer.get_many(9) == ["outer", f"Process-{count}:1", f"Process-{count}:1:1"]

    def test_daemons_have_no_children(self, cluster, ours):
        answer = cluster.Queue()
        process = ours.start(targets.nest, Process, answer, 1, daemon=True)
        process.join(20)
        assert answer.get_many(9)[1] == "daemonic processes are not allowed to have children"

    def test_a_subclass(self, cluster, ours):
        base: Any = cluster.Process

        class Consumer(base):
            def __init__(self, answer):
                super().__init__()
                self.answer = answer

            def run(self):
                self.answer.put((type(self).__name__, self.name, type(self).__mro__[1].__name__))

        answer = cluster.Queue()
        consumer = Consumer(answer)
        consumer.start()
        consumer.join(20)
        number = consumer._identity[0]
        assert answer.get(timeout=10) == ("Consumer", f"Consumer-{number}", "Process")
        assert isinstance(consumer, Process)
        assert isinstance(consumer, multiprocessing.process.BaseProcess)

    def test_shared_objects_are_its_own_sessions(self, cluster, ours):
        answer, lock = cluster.Queue(), cluster.Lock()

        def work():
            with lock:
                answer.put((lock._handle.session.describes.role, os.getpid()))

        process = ours.start(work)
        assert answer.get(timeout=20) == ("process", process.pid)
        process.join(20)
        assert lock.acquire(timeout=1)


class TestAround:
    def test_numbers(self, ours):
        one, two, named = ours.make(), ours.make(), ours.make(name="by name")
        (number,) = one._identity
        assert [one.name, two.name] == [f"Process-{number}", f"Process-{number + 1}"]
        assert (named.name, named._identity) == ("by name", (number + 2,))

    def test_active_children(self, ours):
        process, gate = ours.waiting()
        assert process in multiprocessing.active_children()
        gate.set()
        testing.wait_until(lambda: process not in multiprocessing.active_children())
        assert process.exitcode == 0

    def test_those_that_have_ended_are_joined_by_whatever_looks(self, ours):
        started = [ours.waiting() for _ in range(4)]
        processes = [process for process, _ in started]
        assert set(processes) <= set(mpclient.active_children())
        for process, gate in started[:2]:
            gate.set()
            process._popen.sentinel.wait(20)
        process = ours.start(targets.end, "return")
        known: Any = vars(multiprocessing.process)["_children"]
        assert {process, *processes[2:]} <= known
        assert not set(processes[:2]) & known
        assert [process.exitcode for process in processes] == [0, 0, None, None]
        process.join(20)
        assert set(processes[2:]) <= set(mpclient.active_children())

    def test_a_pipe_between_two(self, cluster, ours):
        here, there = cluster.Pipe()

        def answer(end):
            while (word := end.recv()) != "stop":
                end.send(word.upper())

        process = ours.start(answer, there)
        del there
        here.send("word")
        assert here.recv() == "WORD"
        here.send("stop")
        process.join(20)
        with pytest.raises(EOFError):
            here.recv()

    def test_pills_leave_workers_for_its_jobs(self):
        """The embedded workers are started again, although their host has a Process to wait for."""
        with testing.running_cluster(1) as cluster:
            tasks, results = cluster.JoinableQueue(name="tasks"), cluster.Queue(name="results")
            gate = cluster.Event()
            process = cluster.Process(target=gate.wait)
            process.start()
            for _ in range(2):
                tasks.put_many([partial(pow, 2, 3), None])
                assert results.get(timeout=20) == 8
            gate.set()
            process.join(20)

    def test_where_it_runs(self, ours):
        process = ours.make(target=targets.end, args=("return",))
        assert process.host is None
        process.start()
        assert process.host == os.uname().nodename
        process.join(20)

    def test_names_for_it(self, cluster, ours):
        assert mpclient.Process is Process
        assert mpclient.get_context("spawn").Process is mpclient.context.SpawnProcess
        assert mpclient.get_context("forkserver").Process is mpclient.context.ForkServerProcess
        context = cluster.get_context("forkserver")
        assert context.Process is context.Process
        assert issubclass(context.Process, mpclient.context.ForkServerProcess)
        assert cluster.Process is ours.Process
        assert issubclass(cluster.Process, Process)

    def test_the_module_uses_the_default_cluster(self, cluster, monkeypatch):
        monkeypatch.setattr(default._default, "explicit", [cluster])  # others may still be open
        process: Any = mpclient.Process(target=targets.end, args=("exit", 3))
        process.start()
        process.join(20)
        assert process.exitcode == 3
        assert process.sentinel._handle.session is cluster.session

    def test_the_sentinel(self, ours):
        from mpclient.connection import wait

        one, gate = ours.waiting()
        two, _ = ours.waiting()
        assert wait([one.sentinel, two.sentinel], 0) == []
        gate.set()
        assert wait([one.sentinel, two.sentinel], 20) == [one.sentinel]

    def test_it_ends_with_its_last_reference_to_the_cluster(self, cluster):
        with mpclient.connect(cluster.address, cluster.session.key) as other:
            begun = other.Event()
            daemon = other.Process(target=targets.wait, args=(begun, other.Event()), daemon=True)
            daemon.start()
            assert begun.wait(20)
        assert (daemon.exitcode, daemon.is_alive()) == (-signal.SIGTERM, False)

    def test_a_closed_cluster_has_waited_for_its_processes(self, cluster):
        answer = cluster.Queue()
        with mpclient.connect(cluster.address, cluster.session.key) as other:
            process = other.Process(target=answer.put, args=("done",))
            process.start()
        assert (process.exitcode, answer.get(timeout=1)) == (0, "done")


def _masked(process: Any) -> str:
    """Return its repr without numbers that differ."""
    return re.sub(r"(pid=|parent=|Process-)\d+", r"\1N", repr(process))
