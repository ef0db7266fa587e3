"""What `mpserve status --watch` makes of one answer after the other."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from tests.unit.test_status_view import NOTHING_REFUSED, session, thing

from mpserve.cli import watch as watching
from mpserve.cli.asking import Unanswered
from mpserve.cli.watch import History, watch
from mpshared.exit_codes import ExitCode


def answer(*objects, sessions=()):
    return {
        "server": {"server": "abc", "version": "1", "session": "me"},
        "memory": {"held_bytes": 0, "limit_bytes": 0, "waiting": 0},
        **NOTHING_REFUSED,
        "sessions": list(sessions),
        "objects": list(objects),
    }


def queue(put, ready, **more):
    return thing("queue", "tasks", ident="q", put=put, ready=ready, leased=0, delayed=0, dead=0, **more)


def rows(history, now_s, *objects):
    return history.resolve(answer(*objects), now_s)["objects"]


def test_what_went_in_and_out_each_second():
    history = History()
    [first] = rows(history, 10.0, queue(100, 40))
    [then] = rows(history, 12.0, queue(150, 50))
    assert (first["in_s"], first["out_s"], first["course"]) == (None, None, [40])
    assert (then["in_s"], then["out_s"], then["course"]) == (25.0, 20.0, [40, 50])


def test_what_is_leased_late_or_dead_is_not_out():
    history = History()
    rows(history, 0.0, queue(10, 10))
    [row] = rows(history, 1.0, queue(10, 4) | {"leased": 3, "delayed": 2, "dead": 1})
    assert (row["in_s"], row["out_s"]) == (0.0, 0.0)


def test_a_server_that_holds_less_than_before_counts_from_there():
    history = History()
    rows(history, 0.0, queue(10, 0))
    [row] = rows(history, 1.0, queue(2, 2))
    assert (row["in_s"], row["out_s"]) == (0, 0)


def test_a_queue_that_is_new_and_one_that_is_gone():
    history = History()
    rows(history, 0.0, queue(10, 0))
    assert rows(history, 1.0) == []
    [row] = rows(history, 2.0, queue(20, 0))
    assert (row["in_s"], row["course"]) == (None, [0])
    assert [
        row for row in rows(history, 3.0, thing("event", "go", set=True, waiters=0)) if "in_s" in row
    ] == []


def test_the_course_is_as_long_as_it_says():
    history = History()
    for n in range(40):
        [row] = rows(history, float(n), queue(n, n))
    assert row["course"] == list(range(10, 40))


@pytest.mark.parametrize(
    ("counts", "bars"), [([0, 0], "▁▁"), ([0, 1, 7], "▁▂█"), ([100, 50, 1, 0], "█▅▂▁"), ([], "")]
)
def test_bars_show_any_that_is_not_zero(counts, bars):
    assert watching._course(counts) == bars


@pytest.fixture
def watched(monkeypatch):
    """Return what watches these answers, then is interrupted."""

    def run(*answers, as_json):
        left = iter(answers)

        def ask():
            found = next(left, None)
            if found is None:
                raise KeyboardInterrupt
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(time, "sleep", lambda _s: None)
        monkeypatch.setattr(time, "monotonic", itertools.count(1.0).__next__)
        watch(ask, as_json=as_json)

    return run


AWAY = Unanswered(ExitCode.UNREACHABLE, "no server answers")


def test_json_is_a_line_for_each_answer(watched, capsys):
    watched(answer(queue(1, 1)), AWAY, answer(queue(7, 1)), as_json=True)
    first, away, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["objects"][0]["put"] == 1
    assert away == {"trouble": "no server answers"}
    assert last["objects"][0]["in_s"] == 6.0


def test_on_paper_each_picture_follows_the_one_before(watched, capsys):
    host = session("v1", "supervisor", host="two", pid=21, name="two", slots=4, queue="tasks")
    watched(answer(queue(5, 5), sessions=[host]), AWAY, as_json=False)
    printed = capsys.readouterr().out
    assert printed.count("1 worker host, 0 of 0 processes at work") == 2
    assert printed.count("no server answers") == 1
    heads = [line for line in printed.splitlines() if line in {"queues", "workers"}]
    assert heads == ["queues", "workers"] * 2
    assert "in/s  out/s  ready, last 30 s  ready" in printed


def test_without_a_server_there_is_nothing_to_watch(watched):
    with pytest.raises(Unanswered, match="no server answers"):
        watched(AWAY, as_json=False)


def test_what_does_not_fit_is_counted():
    assert watching._fitting(["a", "b"], 2) == ["a", "b"]
    assert watching._fitting(["a", "b", "c"], 2) == ["a", "… 2 more lines"]
