"""Jobs that kill their workers are found out and set aside, their neighbours are done."""

import pickle

import pytest
from tests.unit.core.jobs import exchange, put, worker

from mpserve.core.t_queue import Queue
from mpshared.errors import BadValue, WorkerDied
from mpshared.values import TASK_ERROR, Value, tag_of

# -- who kills workers -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 7])
def test_a_killer_in_a_batch_is_found_out_and_its_neighbours_are_done(world, lane, tasks, place):
    """Workers take batches of eight, report nothing until the end, and die at the killer."""
    jobs = [b"job %d" % n for n in range(8)]
    jobs[place] = b"killer"
    put(world, lane, tasks, *jobs)
    done, deaths = [], 0
    while tasks.ready.size:
        w = worker(world)
        ranges, values, _, _ = exchange(world, w, tasks, n=8)
        if b"killer" in values:
            deaths += 1
            world.end_session(w.session)
        else:
            done += values
            exchange(world, w, tasks, [r[:2] for r in ranges], 0)
    assert sorted(done) == sorted(job for job in jobs if job != b"killer")
    assert list(tasks.dead) == [place + 1]
    assert deaths <= 4
    assert tasks.open_items == 0
    assert tasks.suspects == set()


def test_suspects_travel_alone_and_others_do_not_wait_for_them(world, lane, tasks):
    put(world, lane, tasks, *[b"%d" % n for n in range(4)])
    dying = worker(world)
    exchange(world, dying, tasks, n=2)
    world.end_session(dying.session)
    assert [exchange(world, worker(world), tasks)[0] for _ in range(3)] == [
        [[1, 1, 2]],
        [[2, 2, 1]],
        [[3, 4, 1]],
    ]


def test_a_batch_ends_before_a_suspect(world, lane, tasks):
    put(world, lane, tasks, *[b"%d" % n for n in range(5)])
    assert world.ask(lane, tasks, "get_many", 2, 0, True) == [[1, 2, 1]]
    dying = worker(world)
    exchange(world, dying, tasks, n=1)
    world.end_session(dying.session)
    world.ask(lane, tasks, "hand_back", [[1, 2]])
    rounds = [exchange(world, worker(world), tasks)[0] for _ in range(3)]
    assert rounds == [[[1, 2, 1]], [[3, 3, 2]], [[4, 5, 1]]]


def test_a_suspect_that_is_out_stays_one_when_the_others_are_cleared(world, lane, tasks):
    put(world, lane, tasks, *[Value(0, b"%d" % n) for n in range(4)])
    dying = worker(world)
    exchange(world, dying, tasks, n=2)
    world.end_session(dying.session)
    exchange(world, worker(world), tasks)
    assert world.ask(lane, tasks, "clear") == 3
    assert tasks.suspects == {1}


@pytest.mark.parametrize("told", [["tasks", 3], ["other", 3], ["tasks", 9], ["tasks"], None])
def test_the_job_that_the_supervisor_names_is_blamed(world, lane, told):
    tasks = world.add(Queue, name="tasks", max_attempts=1)
    put(world, lane, tasks, *[b"%d" % n for n in range(1, 6)])
    w = worker(world)
    exchange(world, w, tasks, n=5)
    w.session.report = {"running": told}
    world.end_session(w.session)
    blamed = 3 if told == ["tasks", 3] else 1
    assert list(tasks.dead) == [blamed]
    assert tasks.suspects == {1, 2, 3, 4, 5} - {blamed}
    assert tasks.ready.size == 4


def test_the_last_attempt_sets_the_job_aside_with_a_report(world, lane, results):
    tasks = world.add(Queue, name="tasks", max_attempts=1)
    world.fx.wall_offset_s = 1000.0 - world.fx.now_s
    put(world, lane, tasks, b"a", b"b")
    joiner = world.call(lane, tasks, "join", None)
    w = worker(world)
    exchange(world, w, tasks, n=2, results=results.ident)
    w.session.report = {"signal": 9, "output": ["one", "two"]}
    reader = world.call(world.lane(), results, "get", None, False)
    world.end_session(w.session)
    [report] = world.ask(world.lane(), tasks, "dead_list")
    assert report == {
        "queue": "queue 'tasks'",
        "number": 1,
        "attempts": 1,
        "host": "far",
        "pid": 4711,
        "worker": "w",
        "since_s": 1000.0,
        "reason": "killed by SIGKILL (signal 9)",
        "signal": 9,
        "exit_code": None,
        "output": ["one", "two"],
        "peak_memory_bytes": None,
        "memory_limit_bytes": None,
        "oom_kills": None,
        "locks": [],
    }
    assert tag_of(reader.out[0]) == TASK_ERROR
    error = pickle.loads(reader.out[0].data)
    assert isinstance(error, WorkerDied)
    assert (error.host, error.pid, error.fields["signal"]) == ("far", 4711, 9)
    assert not joiner.answered
    assert exchange(world, worker(world), tasks)[0] == [[2, 2, 1]]


def test_the_servers_number_of_attempts(world, lane):
    world.house = world.house._replace(max_attempts=2)
    tasks = world.add(Queue)
    put(world, lane, tasks, b"a")
    for _ in range(2):
        w = worker(world)
        exchange(world, w, tasks)
        world.end_session(w.session)
    assert list(tasks.dead) == [1]


@pytest.mark.parametrize("how", ["shut", "priority", "none", "deleted"])
def test_a_result_that_nobody_can_have_is_not_missed(world, lane, how):
    tasks = world.add(Queue, name="tasks", max_attempts=1)
    results = world.add(Queue, order="priority" if how == "priority" else "fifo")
    put(world, lane, tasks, b"a")
    w = worker(world)
    exchange(world, w, tasks, results=None if how == "none" else results.ident)
    if how == "shut":
        world.ask(lane, results, "shutdown", False)
    if how == "deleted":
        world.delete(results)
    world.end_session(w.session)
    assert list(tasks.dead) == [1]
    assert results.ready.size == 0


def test_the_report_reaches_a_full_queue(world, lane):
    tasks, results = world.add(Queue, max_attempts=1), world.add(Queue, maxsize=1)
    put(world, lane, tasks, b"a")
    put(world, lane, results, b"full")
    w = worker(world)
    exchange(world, w, tasks, results=results.ident)
    world.end_session(w.session)
    assert results.ready.size == 2


def test_requeue_and_drop(world, lane):
    tasks = world.add(Queue, name="tasks", max_attempts=1)
    put(world, lane, tasks, *[b"%d" % n for n in range(4)])
    for _ in range(3):
        w = worker(world)
        exchange(world, w, tasks, n=1)
        world.end_session(w.session)
    assert sorted(tasks.dead) == [1, 2, 3]
    with pytest.raises(BadValue, match=r"queue 'tasks' has no dead item 4; dead are \[1, 2, 3\]"):
        world.ask(lane, tasks, "dead_requeue", [1, 4])
    with pytest.raises(BadValue):
        world.ask(lane, tasks, "dead_drop", ["1"])
    assert world.ask(lane, tasks, "dead_drop", [2]) == 1
    assert world.ask(lane, tasks, "unfinished") == 1
    assert world.ask(lane, tasks, "dead_requeue", []) == 2
    assert world.ask(lane, tasks, "unfinished") == 3
    assert world.ask(lane, tasks, "dead_list") == []
    assert world.ask(lane, tasks, "dead_requeue", []) == 0
    assert world.ask(lane, tasks, "get_many", 9, 0, True) == [[1, 1, 1], [3, 4, 1]]


def test_requeue_hands_out_at_once(world, lane):
    tasks = world.add(Queue, max_attempts=1)
    put(world, lane, tasks, b"a")
    w = worker(world)
    exchange(world, w, tasks)
    world.end_session(w.session)
    waiting = world.call(worker(world), tasks, "exchange", None, [], 1, None, None)
    world.ask(lane, tasks, "dead_requeue", [1])
    assert waiting.result[0] == [[1, 1, 1]]


def test_a_restart_keeps_leases_and_results_queue(world, lane, results):
    tasks = world.add(Queue, name="tasks", max_attempts=1)
    put(world, lane, tasks, b"a", b"b")
    w = worker(world)
    exchange(world, w, tasks, n=1, results=results.ident)
    world.restart()
    tasks, results = world.machines[tasks.ident], world.machines[results.ident]
    world.end_session(w.session)
    assert list(tasks.dead) == [1]
    assert results.ready.size == 1
