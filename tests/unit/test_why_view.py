"""What `mpserve why` shows of what a server told."""

from __future__ import annotations

import json

import pytest

from mpserve.cli.why_view import show


def wait(waiter, lock, holder, **more):
    return {
        "waiter": [waiter, 1],
        "lock": lock,
        "ident": lock,
        "holder": holder and [holder, 2],
        "abandoned": False,
        "waited_s": 3.7,
        **more,
    }


@pytest.fixture
def told():
    return {
        "waits": [
            wait("s1", "lock 'a'", "s2"),
            wait("s2", "rlock 'b\x1b[2J'", "s1"),
            wait("s3", "lock 'left'", "gone", abandoned=True),
            wait("s3", "lock 'free'", None),
        ],
        "circles": [[wait("s1", "lock 'a'", "s2"), wait("s2", "rlock 'b\x1b[2J'", "s1")]],
        "sessions": {
            "s1": {"host": "one", "pid": 11, "name": "[bold]\x1b[2J\n", "role": "program"},
            "s2": {"host": "two", "pid": 22, "name": "", "role": "worker"},
            "s3": {"host": "10.0.0.9:4000", "pid": 0, "name": "", "role": "stock"},
        },
    }


def test_tables(told, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    show(told, as_json=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    rows = [[word for word in line.split("  ") if word] for line in out.splitlines()]
    assert rows[0] == ["4 calls wait for locks, 1 deadlock"]
    assert rows[2] == ["deadlock"]
    assert [row.strip() for row in rows[4]] == [
        "one:11 thread 1",
        r"[bold]\x1b[2J\n",
        "lock 'a'",
        "two:22 thread 2",
    ]
    assert rows[7] == ["waiting"]
    assert rows[9][-1].strip() == "4 s"
    assert rows[11][-2].strip() == "session gone thread 2 (gone)"
    assert rows[12][-2].strip() == "-"


def test_nobody_waits(capsys):
    show({"waits": [], "circles": [], "sessions": {}}, as_json=False)
    assert capsys.readouterr().out == "nobody waits for a lock\n"


def test_json(told, capsys):
    show(told, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["waits"][0]["waiter"] == {
        "session": "s1",
        "thread": 1,
        "host": "one",
        "pid": 11,
        "name": "[bold]\x1b[2J\n",
    }
    assert shown["waits"][2]["holder"] == {"session": "gone", "thread": 2, "host": "", "pid": 0}
    assert [[step["lock"] for step in circle] for circle in shown["deadlocks"]] == [
        ["lock 'a'", "rlock 'b\x1b[2J'"]
    ]
