"""What `mpserve status` shows of what a server told."""

from __future__ import annotations

import copy
import json

import pytest

from mpserve.cli.status_view import resolve, show

NOTHING_REFUSED = {
    "connections": {"open": 1, "limit": 100, "unauthenticated": 0},
    "refused": {},
    "journal": "",
    "more": {"sessions": 0, "objects": 0},
}


def session(ident, role="program", **more):
    about = {"name": "", "host": "one", "pid": 11, "python": [3, 11], "version": "0.1.0", "supervisor": ""}
    counts = {"slots": 0, "queue": "", "connections": 1, "silent_s": 0.25, "waiting": 0, "leased": {}}
    return {"id": ident, "role": role, **about, **counts, **more}


def thing(kind, name="", **more):
    return {"kind": kind, "name": name, "ident": f"{kind}-ident", "references": 1} | more


def objects():
    return [
        thing("queue", "tasks", ready=5, leased=4, delayed=3, dead=2, unfinished=14, getters=1),
        thing("pool", ready=5, leased=4, results=3, unfinished=9, sessions=2, processes=0, program="s1"),
        thing(
            "pool",
            ident="p2",
            ready=0,
            leased=1,
            results=0,
            unfinished=1,
            sessions=1,
            processes=1,
            program="gone",
            collectors=1,
        ),
        thing("pool", "jobs", ready=0, leased=0, results=0, unfinished=0, sessions=0, processes=0)
        | {"program": ""},
        thing("lock", "mine", holder=["s1", 3], waiters=2),
        thing("rlock", "theirs", holder=["k1", 1], waiters=0),
        thing("lock", "lost", holder=["gone", 1], waiters=0),
        thing("lock", "left", holder=["gone", 1], waiters=0, abandoned=True),
        thing("lock", "free", holder=None, waiters=0),
        thing("semaphore", "permits", value=1, permits={"s1": 2, "": 1}, waiters=0),
        thing("event", "go", set=True, waiters=0),
        thing("barrier", "gate", parties=3, waiters=2, broken=False),
        thing("array", typecode="d", length=8),
        thing(
            "process",
            process="Consumer-1",
            daemon=False,
            stage="ended",
            host="two",
            pid=23,
            exitcode=-9,
            owner="s1",
            waiters=1,
        ),
    ]


@pytest.fixture
def told():
    return {
        "server": {"server": "abc", "epoch": "e", "version": "0.1.0", "session": "me", "secret": "hush"},
        "memory": {"held_bytes": 3 << 20, "limit_bytes": 1 << 30, "waiting": 2},
        **NOTHING_REFUSED,
        "sessions": [
            session("me", name="mpserve command"),
            session("s1", name="[bold]\x1b[2J\n"),
            session(
                "w1",
                "worker",
                host="two",
                pid=22,
                name="two/1",
                slots=1,
                queue="tasks",
                supervisor="v1",
                leased={"pool-ident": 3, "tasks": 1},
            ),
            session("v1", "supervisor", host="two", pid=21, name="two", slots=4, queue="tasks"),
            session("k1", "stock", host="10.0.0.9:4000", pid=0, python=[0, 0]),
        ],
        "objects": objects(),
    }


@pytest.fixture
def shown(told, capsys, monkeypatch):
    """Return the tables' lines, printed to a narrow terminal."""
    monkeypatch.setenv("COLUMNS", "20")
    show(told, as_json=False)
    return capsys.readouterr().out.splitlines()


def row(shown, first):
    return next(line.split() for line in shown if line.split()[:1] == [first])


def test_queues(shown):
    assert row(shown, "name")[1:6] == ["ready", "leased", "delayed", "dead", "unfinished"]
    assert row(shown, "tasks")[1:7] == ["5", "4", "3", "2", "14", "1"]


def test_pools(shown):
    assert row(shown, "pool")[:6] == ["pool", "program", "ready", "leased", "results", "unfinished"]
    assert row(shown, "pool-ident")[1:9] == ["one:11", "5", "4", "3", "9", "2", "of", "any"]
    assert row(shown, "p2")[1:10] == ["session", "gone", "0", "1", "0", "1", "1", "of", "1"]
    assert row(shown, "jobs")[1:3] == ["-", "0"], "whoever submits to it, it is nobody's"


def test_holders_are_hosts_and_processes(shown):
    assert row(shown, "mine")[2:] == ["one:11", "thread", "3", "2", "1"]
    assert row(shown, "theirs")[2] == "10.0.0.9:4000"
    assert row(shown, "lost")[2:4] == ["session", "gone"]
    assert row(shown, "left")[2:7] == ["session", "gone", "thread", "1", "(gone)"]
    assert row(shown, "free")[2] == "-"
    assert "one:11 ×2, standard-library clients ×1" in " ".join(row(shown, "permits"))  # noqa: RUF001


def test_workers_stand_under_their_host(shown):
    rows = [line.split() for line in shown if line.startswith("two ")]
    assert [r[:6] for r in rows] == [
        ["two", "two", "supervisor", "21", "3.11", "4"],
        ["two", "two/1", "worker", "22", "3.11", "1"],
    ]


def test_workers_are_shown_with_the_jobs_that_they_have(shown):
    assert row(shown, "host")[6:9] == ["queue", "has", "last"]
    idle, busy = (line.split() for line in shown if line.startswith("two "))
    assert idle[6:9] == ["tasks", "0", "s"]
    assert " ".join(busy[6:]) == "tasks 3 of pool-ident, 1 of tasks 0 s ago w1"


def test_processes(shown):
    assert row(shown, "Consumer-1")[1:] == ["ended", "two", "23", "-9", "s1", "1"]


def test_other_objects(shown):
    assert row(shown, "go")[1:] == ["event", "set", "0", "1"]
    assert row(shown, "gate")[1:] == ["barrier", "2", "of", "3", "2", "1"]
    assert row(shown, "array-ident")[1:] == ["array", "8", "typecode", "d", "1"]


def test_names_are_escaped_and_lines_are_whole(shown):
    text = "\n".join(shown)
    assert r"[bold]\x1b[2J\n" in text
    assert "\x1b" not in text
    assert "…" not in text
    assert [line for line in shown if line != line.rstrip()] == []


def test_the_asking_session_and_secrets_are_not_shown(told, shown):
    assert "mpserve command" not in "\n".join(shown)
    assert "hush" not in json.dumps(resolve(told))
    memory = "3.0M of 1G of values held, 2 calls waiting for room"
    assert f"4 sessions, {len(told['objects'])} objects, {memory}" in shown


def test_json_is_what_the_server_told_with_holders_resolved(told, capsys):
    before = copy.deepcopy(told)
    show(told, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert told == before
    assert printed == resolve(told)
    holders = {o["name"]: o.get("holder") for o in printed["objects"]}
    assert holders["mine"] == {"session": "s1", "thread": 3, "host": "one", "pid": 11}
    assert holders["free"] is None
    permits = next(o["permits"] for o in printed["objects"] if o["name"] == "permits")
    assert permits[0] == {"session": "s1", "permits": 2, "host": "one", "pid": 11}


def test_nothing_there(capsys):
    memory = {"held_bytes": 0, "limit_bytes": 0, "waiting": 0}
    server = {"server": "a", "version": "1"}
    show(
        {"server": server, "memory": memory, **NOTHING_REFUSED, "sessions": [], "objects": []}, as_json=False
    )
    counted = "0 sessions, 0 objects, 0 bytes of values held"
    printed = ["mpserve 1, server a", counted, "1 connection of 100", "no worker hosts"]
    assert capsys.readouterr().out.splitlines() == printed


def test_how_many_workers_are_at_work(told, shown):
    assert "1 worker host, 1 of 1 process at work" in shown
    assert "1 of 1 process at work" not in "\n".join(shown[4:])


def test_a_journal_that_cannot_be_written(told, capsys):
    told["journal"] = "database or disk is full"
    show(told, as_json=False)
    said = capsys.readouterr().out.splitlines()
    assert "changes are refused: the journal cannot be written (database or disk is full)" in said
    assert resolve(told)["journal"] == "database or disk is full"


def test_connections_refusals_and_what_is_left_out(told, capsys):
    told["connections"] = {"open": 12, "limit": 100, "unauthenticated": 3}
    told["refused"] = {"max-objects": 2, "failed-attempts": 7}
    told["more"] = {"sessions": 0, "objects": 5}
    show(told, as_json=False)
    said = capsys.readouterr().out.splitlines()
    assert "12 connections of 100, 3 of them not authenticated" in said
    assert "refused since the start: 7 by failed-attempts, 2 by max-objects" in said
    assert "not listed below: 0 sessions, 5 objects" in said
    assert f"{len(told['objects']) + 5} objects" in said[1]
    assert resolve(told)["refused"] == {"max-objects": 2, "failed-attempts": 7}
