"""Jobs for a worker that is at work: of what it is at, for later, and nothing that others should have."""

import pytest
from tests.unit.core.pools import collect, exchange, submit, worker

from mpserve.core.queue_getters import TURN
from mpserve.core.t_pool import Pool
from mpserve.core.t_queue import Queue
from mpshared.errors import Full, ShutDown
from mpshared.values import NONE


@pytest.fixture
def tasks(world):
    return world.add(Queue, name="tasks", max_attempts=2)


@pytest.fixture
def results(world):
    return world.add(Queue, name="results", maxsize=1)


@pytest.fixture
def pool(world):
    return world.add(Pool, max_attempts=2)


def put(world, lane, queue, *blobs):
    world.ask(lane, queue, "put_many", 0, blobs=list(blobs))


def beside(world, worker_lane):
    """Return a lane of another thread of the same worker."""
    return world.lane(worker_lane.session)


def ahead(world, lane, tasks, n=1, pool=None, done=(), blobs=(), results=None):
    """Return the call."""
    ident = None if pool is None else pool.ident
    done = [list(pair) for pair in done]
    return world.call(lane, tasks, "exchange_ahead", results, done, n, ident, blobs=list(blobs))


def test_results_go_and_more_of_the_same_pool_comes(world, lane, tasks, pool):
    submit(world, lane, pool, b"a", b"b", b"c")
    w = worker(world)
    exchange(world, w, tasks, n=1)
    other = beside(world, w)
    assert ahead(world, other, tasks, pool=pool).result[0] == [[2, 2, 1]]
    call = ahead(world, other, tasks, pool=pool, done=[(1, 1)], blobs=[b"A"])
    assert call.result == [[[3, 3, 1]], False, [(3, 11)], 0, pool.ident, 0]
    assert collect(world, lane, pool) == ([(1, b"A")], 2)
    assert ahead(world, other, tasks, pool=pool).result == [[], False, [(3, 11)], 0, None, 0]


def test_nothing_is_asked_of_it_but_to_take_results(world, lane, tasks, pool):
    submit(world, lane, pool, b"a", b"b")
    w = worker(world)
    exchange(world, w, tasks, n=1)
    assert ahead(world, w, tasks, 0, pool, [(1, 1)], [b"A"]).result[0] == []
    assert pool.ready.size == 1


def test_it_is_given_its_share_at_most(world, lane, tasks, pool):
    w, _idle = worker(world), worker(world)
    submit(world, lane, pool, *[b"job"] * 9)
    exchange(world, w, tasks, n=1)
    assert ahead(world, w, tasks, 8, pool).result[0] == [[2, 5, 1]]


def test_a_pool_that_has_all_its_processes_gives_them_more(world, lane, tasks):
    pool = world.add(Pool, processes=1)
    submit(world, lane, pool, *[b"job"] * 3)
    w, other = worker(world), worker(world)
    exchange(world, w, tasks, n=1)
    assert not pool.is_open
    assert ahead(world, other, tasks, 2, pool).result[0] == []
    assert ahead(world, w, tasks, 2, pool).result[0] == [[2, 3, 1]]


def test_jobs_on_terms_are_not_for_later(world, lane, tasks, pool):
    submit(world, lane, pool, b"a")
    w = worker(world)
    exchange(world, w, tasks)
    world.ask(lane, pool, "submit_on_terms", 2, {"timeout_s": 5}, blobs=[b"b"])
    assert ahead(world, w, tasks, pool=pool).result[0] == []
    assert exchange(world, w, tasks, [(1, 1)], pool=pool.ident, blobs=[b"A"]).result[0] == [[2, 2, 1]]


def test_late_jobs_of_a_queue_are_not_either(world, lane, tasks):
    put(world, lane, tasks, b"a")
    w = worker(world)
    exchange(world, w, tasks)
    world.ask(lane, tasks, "put_later", 0, {"expires_s": 9}, blobs=[b"b"])
    assert ahead(world, w, tasks).result[0] == []
    assert exchange(world, w, tasks).result[0] == [[2, 2, 1]]


@pytest.mark.parametrize("running", [True, False])
def test_of_a_dead_worker_one_job_had_an_attempt_and_goes_alone(world, lane, tasks, pool, running):
    submit(world, lane, pool, *[b"job"] * 5)
    w, next_worker = worker(world), worker(world)
    exchange(world, w, tasks, n=2)
    assert ahead(world, beside(world, w), tasks, 2, pool).result[0] == [[3, 4, 1]]
    w.session.report = {"running": [pool.ident, 2]} if running else {}
    world.end_session(w.session)
    attempts = {}
    for _ in range(5):
        call = exchange(world, next_worker, tasks, n=9)
        [[first, last, attempt]] = call.result[0]
        assert first == last  # 5 is the last; the others are suspects
        attempts[first] = attempt
        assert ahead(world, next_worker, tasks, 9, pool).result[0] == ([[5, 5, 1]] if first == 4 else [])
        if first == 4:
            break
    assert attempts == {1: 1 if running else 2, 2: 2 if running else 1, 3: 1, 4: 1}


def test_of_a_queues_jobs_too(world, lane, tasks):
    results = world.add(Queue, name="unbounded")
    put(world, lane, tasks, *[b"job"] * 3)
    w, next_worker = worker(world), worker(world)
    world.ask(w, tasks, "exchange", results.ident, [], 1, 0, None)
    assert ahead(world, beside(world, w), tasks, 2, results=results.ident).result[0] == [[2, 3, 1]]
    w.session.report = {"running": ["tasks", 1]}
    world.end_session(w.session)
    found = [exchange(world, next_worker, tasks).result[0] for _ in range(3)]
    assert found == [[[1, 1, 2]], [[2, 2, 1]], [[3, 3, 1]]]


def test_others_with_jobs_get_their_turn(world, lane, tasks, pool):
    other = world.add(Pool)
    submit(world, lane, pool, *[b"job"] * 20)
    w = worker(world)
    exchange(world, w, tasks, n=1)
    submit(world, lane, other, b"other")
    given = [bool(ahead(world, w, tasks, pool=pool).result[0]) for _ in range(TURN + 2)]
    assert given == [True] * TURN + [False] * 2
    held = [(1, TURN + 1)]
    call = exchange(world, w, tasks, held, 1, pool=pool.ident, blobs=[b"r"] * (TURN + 1))
    assert call.result[4] == other.ident


def test_a_recipe_queue_gets_its_turn_too(world, lane, tasks, pool):
    submit(world, lane, pool, *[b"job"] * 20)
    w = worker(world)
    exchange(world, w, tasks, n=1)
    put(world, lane, tasks, b"recipe")
    given = [bool(ahead(world, w, tasks, pool=pool).result[0]) for _ in range(TURN + 1)]
    assert given == [True] * TURN + [False]


def test_without_others_it_goes_on(world, lane, tasks):
    put(world, lane, tasks, *[b"job"] * 20)
    w = worker(world)
    exchange(world, w, tasks, n=1)
    assert all(ahead(world, w, tasks).result[0] for _ in range(2 * TURN))


def test_it_does_not_wait_for_room(world, lane, tasks, results):
    put(world, lane, tasks, b"a", b"b", b"c")
    w = worker(world)
    exchange(world, w, tasks, n=2)
    put(world, lane, results, b"full")
    call = ahead(world, w, tasks, 1, done=[(1, 1)], blobs=[b"A"], results=results.ident)
    assert isinstance(call.error, Full)
    assert (tasks.leases.count, tasks.ready.size, results.ready.size) == (2, 1, 1)
    world.ask(lane, results, "shutdown", True)
    call = ahead(world, w, tasks, 1, done=[(1, 1)], blobs=[b"A"], results=results.ident)
    assert isinstance(call.error, ShutDown)


def test_a_batch_ends_with_a_pill(world, lane, tasks):
    put(world, lane, tasks, b"a", b"b", NONE, b"c")
    w = worker(world)
    exchange(world, w, tasks, n=1)
    assert list(ahead(world, w, tasks, 9).out) == [b"b", NONE]


def test_a_queue_that_is_shut_down_gives_what_it_has_and_workers_end(world, lane, tasks, pool):
    put(world, lane, tasks, b"a", b"b")
    w = worker(world)
    exchange(world, w, tasks, n=1)
    world.ask(lane, tasks, "shutdown", False)
    assert ahead(world, w, tasks).result[:2] == [[[2, 2, 1]], True]
    submit(world, lane, pool, b"job")
    assert ahead(world, w, tasks, pool=pool).result[0] == []


def test_what_came_with_a_lost_answer_goes_back(world, lane, tasks, pool):
    submit(world, lane, pool, b"a", b"b")
    w = worker(world)
    exchange(world, w, tasks, n=1)
    call = ahead(world, beside(world, w), tasks, pool=pool)
    world.abandon(call)
    assert [number for number, _, _ in pool.ready] == [2]
