"""Processes: where they are placed, that they run once, how they end, and what others' ends do to them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from tests.contract.rigs import GRACE_S, Pending, Program, Rig, Thread

from mpserve.core.t_process import LEAVE_S
from mpshared.errors import NoSuchObject, NotAllowed, NoWorkers
from mpshared.values import Blob, Value, by_value_tag

PAYLOAD = pickle.dumps("what to run")


class Host:
    """A worker host: its supervisor, and the processes that it was told to start."""

    def __init__(self, rig: Rig, **more: Any) -> None:
        self.rig = rig
        about = {"name": f"host{len(rig.programs)}", "slots": 1, "max_spawned": 4}
        self.program = rig.program(role="supervisor", **{**about, **more})
        self.thread = self.program.thread()

    def command(self) -> Any:
        return self.thread.ask("cluster.next_command", "", 0)

    def commands(self) -> list[Any]:
        return list(iter(self.command, None))

    def bear(self, ident: str) -> Process:
        """Start the process it was told to."""
        told = [c["process"] for c in self.commands() if c["command"] == "start_process"]
        assert told == [ident]
        return Process(self, ident)


class Process:
    """A process that its host started."""

    def __init__(self, host: Host, ident: str) -> None:
        self.host, self.ident = host, ident
        self.program: Program = host.rig.program(
            role="process", host="far", pid=77, supervisor=host.program.id
        )
        self.thread = self.program.thread()

    def take(self) -> Pending:
        return self.thread.call("process.take", self.ident)

    def end(self, exitcode: int) -> bool:
        ended: bool = self.host.thread.ask("process.ended", self.ident, exitcode, {})
        return ended


@pytest.fixture
def thread(rig: Rig) -> Thread:
    return rig.thread()


@pytest.fixture
def host(rig: Rig) -> Host:
    return Host(rig)


def opened(thread: Thread, payload: Blob = PAYLOAD) -> str:
    settings = {"name": "Process-1"}
    ident: str = thread.ask("cluster.open", "", "process", None, settings, False, None, blobs=[payload])[0]
    return ident


def running(thread: Thread, host: Host) -> Process:
    ident = opened(thread)
    start = thread.call("process.start", ident, 3)
    process = host.bear(ident)
    assert process.take().out == [PAYLOAD]
    assert start.value == ["far", 77]
    return process


def look(thread: Thread, process: Process) -> list[Any]:
    told: list[Any] = thread.ask("process.look", process.ident)
    return told


class TestStarting:
    def test_it_runs_once_it_has_its_payload(self, rig, thread, host):
        ident = opened(thread)
        start = thread.call("process.start", ident, None)
        assert host.command() == {"command": "start_process", "process": ident, "name": "Process-1"}
        assert not start.answered
        process = Process(host, ident)
        take = process.take()
        assert (take.value, take.out) == (thread.program.id, [PAYLOAD])
        assert start.value == ["far", 77]
        assert look(thread, process) == ["running", "far", 77, None, ""]
        assert rig.engine.find_session(process.program.id).info.name == "Process-1"

    def test_what_it_mentions_lives_until_it_has_it(self, rig, thread, host):
        lock = rig.open(thread, "lock")
        ident = opened(thread, Value(0, PAYLOAD, refs=(lock,)))
        thread.call("process.start", ident, None)
        process = host.bear(ident)
        process.take().value  # noqa: B018 - raises if it failed
        assert rig.references(lock) == 2
        process.program.die()
        assert rig.references(lock) == 1

    def test_nobody_else_gets_the_payload(self, rig, thread, host):
        other_host = Host(rig)
        ident = opened(thread)
        thread.call("process.start", ident, None)
        first = Process(host, ident)
        for asks in (rig.thread(), Process(other_host, ident).thread, host.thread):
            assert isinstance(asks.fails("process.take", ident), NotAllowed)
        first.take().value  # noqa: B018
        assert isinstance(Process(host, ident).thread.fails("process.take", ident), NotAllowed)

    def test_started_again_it_only_says_where_it_is(self, thread, host):
        process = running(thread, host)
        assert thread.ask("process.start", process.ident, None) == ["far", 77]
        process.end(0)
        assert thread.ask("process.start", process.ident, None) == ["far", 77]
        assert host.commands() == []

    def test_one_after_the_other(self, rig, thread):
        one, two = Host(rig, slots=2), Host(rig, slots=4)
        for _ in range(6):
            rig.thread().call("process.start", opened(thread), None)
        assert [len(one.commands()), len(two.commands())] == [2, 4]

    def test_the_end_of_one_makes_room(self, rig, thread):
        one, two = Host(rig), Host(rig)
        first = running(thread, one)
        running(thread, two)
        first.end(0)
        running(thread, one)


class TestNoPlace:
    def test_without_a_host_it_waits_for_one(self, rig, thread):
        ident = opened(thread)
        start = thread.call("process.start", ident, 10)
        rig.advance(9)
        assert not start.answered
        host = Host(rig)
        process = host.bear(ident)
        rig.advance(9)
        process.take().value  # noqa: B018
        assert start.value == ["far", 77]

    def test_nobody_came(self, rig, thread):
        ident = opened(thread)
        assert isinstance(thread.fails("process.start", ident, 0), NoWorkers)
        start = thread.call("process.start", ident, 10)
        rig.advance(10)
        assert isinstance(start.error, NoWorkers)
        host = Host(rig)
        assert host.commands() == []
        thread.call("process.start", ident, 10)
        host.bear(ident)

    def test_it_waits_for_a_host_as_long_as_anybody_does(self, rig, thread):
        ident = opened(thread)
        one, other = thread.call("process.start", ident, 10), rig.thread().call("process.start", ident, 20)
        rig.advance(10)
        assert isinstance(one.error, NoWorkers)
        Host(rig).bear(ident).take().value  # noqa: B018
        assert other.value == ["far", 77]

    @pytest.mark.parametrize("leave", ["abandon", "die"])
    def test_who_is_gone_gets_no_place(self, rig, leave):
        thread = rig.thread()
        start = thread.call("process.start", opened(thread), 10)
        if leave == "abandon":
            thread.abandon(start)
        else:
            thread.program.die()
        assert Host(rig).commands() == []

    def test_a_host_that_is_away_is_none(self, rig, thread):
        host = Host(rig)
        fetch = host.thread.call("cluster.next_command", "", None)
        host.program.lose_all()
        ident = opened(thread)
        start = thread.call("process.start", ident, 10)
        assert not start.answered
        host.thread.back()
        rig.settle()
        assert fetch.value["process"] == ident

    def test_all_are_full(self, rig, thread):
        Host(rig, name="small", max_spawned=1)
        Host(rig, name="none", max_spawned=0)
        rig.thread().call("process.start", opened(thread), None)
        error = thread.fails("process.start", opened(thread), None)
        assert isinstance(error, NotAllowed)
        assert "small has all 1 processes" in str(error)
        assert "none has all 0" in str(error)
        assert "--max-spawned" in str(error)

    def test_code_goes_to_its_python_only(self, rig, thread):
        Host(rig, python=(3, 12))
        right = Host(rig, python=(3, 13))
        payload = Value(by_value_tag((3, 13)), PAYLOAD)
        for _ in range(2):
            rig.thread().call("process.start", opened(thread, payload), None)
        assert len(right.commands()) == 2

    def test_no_host_has_the_python(self, rig, thread):
        Host(rig, python=(3, 12))
        error = thread.fails("process.start", opened(thread, Value(by_value_tag((3, 11)), PAYLOAD)), None)
        assert isinstance(error, NoWorkers)
        assert error.fields["versions"] == [[3, 12]]
        assert "Python 3.11" in str(error)

    def test_a_refusal_moves_it(self, rig, thread, host):
        other = Host(rig)
        ident = opened(thread)
        start = thread.call("process.start", ident, None)
        host.bear(ident)
        assert host.thread.ask("process.refused", ident, "no memory") is True
        assert host.thread.ask("process.refused", ident, "no memory") is False
        other.bear(ident).take().value  # noqa: B018
        assert start.value == ["far", 77]

    def test_all_refuse(self, rig, thread, host):
        ident = opened(thread)
        start = thread.call("process.start", ident, None)
        host.bear(ident)
        host.thread.ask("process.refused", ident, "no memory")
        assert isinstance(start.error, NotAllowed)
        assert f"{host.program.info.name}: no memory" in str(start.error)

    def test_a_process_that_ends_before_it_ran_is_a_refusal(self, thread, host):
        ident = opened(thread)
        start = thread.call("process.start", ident, None)
        process = host.bear(ident)
        assert process.host.thread.ask("process.ended", ident, -11, {"signal": 11}) is True
        assert isinstance(start.error, NotAllowed)
        assert "its process was killed by SIGSEGV (signal 11) before it ran" in str(start.error)

    def test_a_host_that_is_lost_before_it_ran(self, rig, thread, host):
        ident = opened(thread)
        start = thread.call("process.start", ident, None)
        host.bear(ident)
        host.program.die()
        assert not start.answered
        Host(rig).bear(ident).take().value  # noqa: B018
        assert start.value == ["far", 77]


class TestTheEnd:
    def test_the_exit_code(self, rig, thread, host):
        process = running(thread, host)
        assert thread.ask("process.wait", process.ident, 0) is None
        short, long = (rig.thread().call("process.wait", process.ident, t) for t in (5, None))
        rig.advance(5)
        assert short.value is None
        assert not long.answered
        assert process.end(3) is True
        assert long.value == 3
        assert thread.ask("process.wait", process.ident, None) == 3
        assert look(thread, process) == ["ended", "far", 77, 3, ""]

    def test_it_can_be_waited_for_beside_others(self, rig, thread, host):
        one, other = running(thread, host), running(thread, host)
        wait = rig.thread().call("cluster.wait", "", [one.ident, other.ident], None)
        assert not wait.answered
        other.end(0)
        assert wait.value == [other.ident]
        assert thread.ask("cluster.wait", "", [one.ident, other.ident], None) == [other.ident]

    def test_it_is_told_by_its_own_host_and_once(self, rig, thread, host):
        process = running(thread, host)
        assert rig.thread().ask("process.ended", process.ident, 0, {}) is False
        assert process.end(3) is True
        assert process.end(4) is False
        assert thread.ask("process.wait", process.ident, 0) == 3

    def test_its_locks_are_free_for_who_joined_it(self, rig, thread, host):
        process = running(thread, host)
        lock = rig.open(thread, "lock")
        assert process.thread.ask("lock.acquire", lock, None) is True
        join = thread.call("process.wait", process.ident, None)
        waiting = rig.thread().call("lock.acquire", lock, None)
        process.end(-9)
        assert (join.value, waiting.value) == (-9, True)
        assert not process.program.alive

    def test_signals_go_to_its_host(self, thread, host):
        process = running(thread, host)
        assert thread.ask("process.signal", process.ident, 15) is True
        assert host.command() == {"command": "signal_process", "process": process.ident, "signal": 15}
        process.end(-15)
        assert thread.ask("process.signal", process.ident, 15) is False
        assert host.command() is None

    @pytest.mark.parametrize("number", [0, 65])
    def test_what_is_no_signal_is_refused(self, thread, host, number):
        process = running(thread, host)
        assert "no signal" in str(thread.fails("process.signal", process.ident, number))


class TestEndsOfOthers:
    def test_a_lost_host_is_killed_processes(self, rig, thread, host):
        process = running(thread, host)
        join = thread.call("process.wait", process.ident, None)
        host.program.die()
        assert not join.answered, "the process may live yet"
        process.program.die()
        assert join.value == -9
        assert look(thread, process)[3:] == [-9, "its worker host far was lost"]

    def test_a_lost_machine(self, rig, thread, host):
        process = running(thread, host)
        join = thread.call("process.wait", process.ident, None)
        host.program.lose_all()
        process.program.lose_all()
        rig.advance(GRACE_S)
        assert join.value == -9

    def test_a_lost_connection_leaves_the_verdict_to_its_host(self, rig, thread, host):
        process = running(thread, host)
        join = thread.call("process.wait", process.ident, None)
        process.program.die()
        rig.advance(LEAVE_S - 1)
        assert host.commands() == []
        rig.advance(1)
        assert host.command() == {"command": "dismiss_process", "process": process.ident}
        assert not join.answered
        process.end(-9)
        assert join.value == -9
        assert look(thread, process)[4] == ""

    @pytest.mark.parametrize("stage", ["placed", "running"])
    def test_without_its_program_it_is_dismissed(self, rig, host, stage):
        thread = rig.thread()
        ident = opened(thread)
        thread.call("process.start", ident, None)
        process = host.bear(ident)
        if stage == "running":
            process.take().value  # noqa: B018
        thread.program.die()
        assert host.command() == {"command": "dismiss_process", "process": ident}
        assert host.command() is None
        assert not rig.exists(ident)
        if stage == "placed":
            assert isinstance(process.thread.fails("process.take", ident), NoSuchObject)

    def test_somebody_else_may_watch_it_end(self, rig, host):
        thread, watcher = rig.thread(), rig.thread()
        process = running(thread, host)
        watcher.ask("cluster.adopt", "", [process.ident])
        join = watcher.call("process.wait", process.ident, None)
        thread.program.die()
        assert host.command()["command"] == "dismiss_process"
        process.end(-15)
        assert join.value == -15

    def test_forgotten_it_is_dismissed(self, rig, thread, host):
        process = running(thread, host)
        thread.ask("cluster.drop", "", [[process.ident, 1]])
        assert host.command() == {"command": "dismiss_process", "process": process.ident}
        running(thread, host)

    def test_the_end_of_a_forgotten_one_makes_no_trouble(self, rig, thread, host):
        process = running(thread, host)
        thread.ask("cluster.drop", "", [[process.ident, 1]])
        process.program.die()
        rig.advance(LEAVE_S)
        host.program.die()


def test_status_shows_it(rig, thread, host):
    process = running(thread, host)
    (row,) = [o for o in thread.ask("cluster.status", "")["objects"] if o["ident"] == process.ident]
    about = {"process": "Process-1", "daemon": False, "stage": "running", "host": "far", "pid": 77}
    assert about.items() <= row.items()
    assert (row["owner"], row["exitcode"], row["waiters"]) == (thread.program.id, None, 0)
