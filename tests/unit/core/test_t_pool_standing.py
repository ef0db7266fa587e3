"""Standing pools: jobs and results that outlive the program that submitted them."""

import pickle

import pytest
from tests.unit.core.pools import exchange, worker

from mpserve.core.t_pool import Pool
from mpshared.errors import BadValue, Conflict, JobExpired, JobStopped, NoSuchObject, WorkerDied
from mpshared.values import RAISED, Value


@pytest.fixture
def pool(world):
    return world.add(Pool, name="jobs", standing=True)


def enqueue(world, lane, pool, blob=b"job", **terms):
    return world.ask(lane, pool, "enqueue", terms, blobs=[blob])


def ask(world, lane, pool, number):
    call = world.call(lane, pool, "ask", number, 0)
    return world.arrived(call), list(call.out)


def run(world, tasks, pool, number, blob, w=None):
    w = w or worker(world)
    assert [job[:2] for job in exchange(world, w, tasks).result[0]] == [[number, number]]
    exchange(world, w, tasks, [(number, number)], 0, 0, pool.ident, [blob])


def test_a_result_is_there_for_whoever_asks_as_often_as_asked(world, lane, pool, tasks):
    assert enqueue(world, lane, pool) == [1, True]
    assert ask(world, lane, pool, 1) == (["waiting", 0], [])
    waiting = world.call(lane, pool, "ask", 1, None)
    w = worker(world)
    exchange(world, w, tasks)
    assert ask(world, world.lane(), pool, 1) == (["running", 0], [])
    exchange(world, w, tasks, [(1, 1)], 0, 0, pool.ident, [b"answer"])
    assert (world.arrived(waiting), list(waiting.out)) == (["done", 0], [b"answer"])
    world.end_session(lane.session)
    for _ in range(2):
        assert ask(world, world.lane(), pool, 1) == (["done", 0], [b"answer"])


def test_jobs_outlive_who_submitted_them(world, lane, pool, tasks):
    enqueue(world, lane, pool)
    world.end_session(lane.session)
    run(world, tasks, pool, 1, b"answer")
    assert ask(world, world.lane(), pool, 1)[1] == [b"answer"]


def test_a_result_is_kept_for_its_time(world, lane, pool, tasks):
    enqueue(world, lane, pool, ttl_s=10)
    enqueue(world, lane, pool, ttl_s=None)
    world.advance(100)
    w = worker(world)
    run(world, tasks, pool, 1, Value(0, b"mentions", (), ("x",)), w)
    run(world, tasks, pool, 2, b"for ever", w)
    world.advance(9)
    assert ask(world, lane, pool, 1)[0][0] == "done"
    assert world.mentions["x"] == 1
    world.advance(1)
    assert world.mentions["x"] == 0
    with pytest.raises(NoSuchObject, match="has no job 1: .* kept for its ttl"):
        ask(world, lane, pool, 1)
    world.advance(10**7)
    assert ask(world, lane, pool, 2)[1] == [b"for ever"]
    assert world.ask(lane, pool, "release", 2) is True
    with pytest.raises(NoSuchObject):
        ask(world, lane, pool, 2)


def test_a_key_is_one_job_until_its_result_is_gone(world, lane, pool, tasks):
    assert enqueue(world, lane, pool, b"first", key="report", ttl_s=10) == [1, True]
    other = world.lane()
    assert enqueue(world, other, pool, b"second", key="report") == [1, False]
    assert enqueue(world, other, pool, b"third", key="another") == [2, True]
    w = worker(world)
    run(world, tasks, pool, 1, b"answer", w)
    assert enqueue(world, other, pool, b"fourth", key="report") == [1, False]
    assert ask(world, other, pool, 1)[1] == [b"answer"]
    world.advance(10)
    assert enqueue(world, other, pool, b"fifth", key="report") == [3, True]


def test_a_waiter_is_told_where_the_job_is_when_time_is_up(world, lane, pool):
    enqueue(world, lane, pool, delay_s=100)
    waiting = world.call(lane, pool, "ask", 1, 3)
    world.advance(3)
    assert world.arrived(waiting) == ["delayed", 0]
    assert not list(pool._askers)
    gone = world.call(lane, pool, "ask", 1, None)
    world.abandon(gone)
    assert not list(pool._askers)


def test_who_goes_leaves_the_lines_of_others(world, lane, pool):
    for number in range(1, 4):
        enqueue(world, lane, pool)
        world.call(world.lane(), pool, "ask", number, None)
    other = world.lane()
    waiting = world.call(other, pool, "ask", 2, None)
    world.abandon(waiting)
    assert [len(line) for line in pool.lots()] == [0, 1, 1, 1]


def test_terms_hold_for_them(world, lane, pool, tasks):
    enqueue(world, lane, pool, retries=1, backoff_s=1)
    run(world, tasks, pool, 1, Value(RAISED, b"failure"))
    assert ask(world, lane, pool, 1) == (["delayed", 1], [])
    world.advance(1)
    run(world, tasks, pool, 1, b"answer")
    enqueue(world, lane, pool, expires_s=5)
    waiting = world.call(lane, pool, "ask", 2, None)
    world.advance(5)
    assert type(pickle.loads(waiting.out[0].data)) is JobExpired


def test_a_job_that_waits_is_cancelled_and_its_result_says_so(world, lane, pool):
    enqueue(world, lane, pool)
    waiting = world.call(world.lane(), pool, "ask", 1, None)
    assert world.ask(lane, pool, "stop", [[1, 1]], 5) == [[[1, 1]], []]
    assert type(pickle.loads(waiting.out[0].data)) is JobStopped


def test_a_job_that_was_cancelled_and_came_back_has_a_result_at_once(world, lane, pool, tasks):
    enqueue(world, lane, pool)
    w = worker(world)
    exchange(world, w, tasks)
    waiting = world.call(world.lane(), pool, "ask", 1, None)
    world.ask(lane, pool, "stop", [[1, 1]], 5)
    world.ask(w, pool, "hand_back", [[1, 1]])
    assert type(pickle.loads(waiting.out[0].data)) is JobStopped


def test_a_job_that_kills_its_workers_has_a_result_too(world, lane, tasks):
    pool = world.add(Pool, name="jobs", standing=True, max_attempts=1)
    enqueue(world, lane, pool)
    w = worker(world)
    exchange(world, w, tasks)
    world.end_session(w.session)
    assert type(pickle.loads(ask(world, lane, pool, 1)[1][0].data)) is WorkerDied


def test_neither_kind_of_pool_does_the_others_work(world, lane, pool):
    with pytest.raises(Conflict, match="pool 'jobs' is a standing one"):
        world.ask(lane, pool, "submit", 1, blobs=[b"a"])
    with pytest.raises(Conflict, match="standing one"):
        world.ask(lane, pool, "submit_on_terms", 1, {}, blobs=[b"a"])
    own = world.add(Pool)
    with pytest.raises(Conflict, match="belongs to a program"):
        enqueue(world, lane, own)
    with pytest.raises(BadValue, match="key and ttl are for jobs that outlive"):
        world.ask(lane, own, "submit_on_terms", 1, {"key": "k"}, blobs=[b"a"])
    with pytest.raises(BadValue, match="has no name"):
        world.add(Pool, name="x")
    with pytest.raises(BadValue, match="standing=True"):
        world.add(Pool, standing=True)


def test_a_deleted_pool_tells_who_waits(world, lane, pool):
    enqueue(world, lane, pool)
    waiting = world.call(lane, pool, "ask", 1, None)
    world.delete(pool)
    with pytest.raises(NoSuchObject):
        world.arrived(waiting)
    assert not len(world.fx.timers)


def test_a_cancelled_job_that_came_back_before_a_restart_has_a_result_after_it(world, lane, pool, tasks):
    """A version before settled it in a turn of its own: the server may have ended before that."""
    enqueue(world, lane, pool)
    w = worker(world)
    exchange(world, w, tasks)
    world.ask(lane, pool, "stop", [[1, 1]], 5)
    pool.change(world.fx, "back", w.session.id, [(1, 1)])
    world.step()
    world.restart()
    pool = world.rebuilt(pool)
    waiting = world.call(world.lane(), pool, "ask", 1, None)
    assert type(pickle.loads(waiting.out[0].data)) is JobStopped
