"""Who gets which jobs: pools in turn, a recipe queue beside them, Pythons, bounds, bonds."""

import pytest
from tests.unit.core.pools import collect, exchange, submit, worker

from mpserve.core.hall import STAY_S
from mpserve.core.pool_places import PATIENCE_S
from mpserve.core.pool_results import MOST_BYTES
from mpserve.core.t_pool import Pool
from mpserve.core.t_queue import Queue
from mpshared.errors import NoWorkers
from mpshared.values import Value, by_value_tag

CODE_311 = Value(by_value_tag((3, 11)), b"code of 3.11")
CODE_312 = Value(by_value_tag((3, 12)), b"code of 3.12")


def put(world, lane, tasks, *blobs):
    world.ask(lane, tasks, "put_many", 0, blobs=list(blobs))


def given(call):
    """Return whose jobs a worker was given (None: the queue's), and which."""
    return call.result[4], list(call.out)


def wait(world, lane, tasks, n=10):
    """Park a worker."""
    call = exchange(world, lane, tasks, n=n, timeout_s=None)
    assert call.waiter is not None
    return call


def finish(world, lane, tasks, call, n=0):
    """Report what `call` brought, ask for `n` more."""
    jobs, pool = call.result[0], call.result[4]
    return exchange(world, lane, tasks, [job[:2] for job in jobs], n, pool=pool, blobs=call.out)


# -- meeting -----------------------------------------------------------------------------------------


def test_a_waiting_worker_gets_what_comes_first(world, lane, pool, tasks):
    first, second = wait(world, worker(world), tasks), wait(world, worker(world), tasks)
    submit(world, lane, pool, b"job")
    assert given(first) == (pool.ident, [b"job"])
    put(world, lane, tasks, b"recipe")
    assert given(second) == (None, [b"recipe"])


def test_a_worker_that_does_not_take_them_gets_none(world, lane, pool, tasks):
    plain = world.lane(role="worker", python=(3, 11))
    waiting = wait(world, plain, tasks)
    getter = world.call(world.lane(role="worker", pools=True), tasks, "get", None, True)
    submit(world, lane, pool, b"job")
    assert not waiting.answered
    assert not getter.answered
    assert exchange(world, worker(world), tasks).result[4] == pool.ident


def test_pools_take_turns(world, lane, tasks):
    pools = [world.add(Pool) for _ in range(3)]
    for pool in pools:
        submit(world, lane, pool, b"a", b"b")
    w = worker(world)
    turns = [exchange(world, w, tasks, n=1).result[4] for _ in range(6)]
    assert turns == [pool.ident for pool in pools] * 2


def test_a_pool_and_the_recipe_queue_alternate(world, lane, pool, tasks):
    submit(world, lane, pool, *[b"job"] * 4)
    put(world, lane, tasks, *[b"recipe"] * 3)
    w = worker(world)
    turns = [exchange(world, w, tasks, n=1).result[4] for _ in range(8)]
    assert turns[:6] == [pool.ident, None] * 3
    assert turns[6:] == [pool.ident, None]
    assert not pool.ready.size


def test_workers_that_wait_on_several_queues_are_all_found(world, lane, pool, tasks):
    other = world.add(Queue, name="other")
    calls = [wait(world, worker(world), queue) for queue in (tasks, other, tasks)]
    world.delete(world.add(Queue, name="gone"))
    submit(world, lane, pool, b"a", b"b", b"c")
    assert [call.result[4] for call in calls] == [pool.ident] * 3
    calls = [wait(world, worker(world), queue) for queue in (tasks, other)]
    world.delete(other)
    submit(world, lane, pool, b"d")
    assert calls[0].result[4] == pool.ident
    assert calls[1].error is not None


def test_a_worker_that_is_away_is_passed_over_until_it_is_back(world, lane, pool, tasks):
    away, here = worker(world), worker(world)
    first, second = wait(world, away, tasks), wait(world, here, tasks)
    world.suspend(away)
    submit(world, lane, pool, b"a", b"b", b"c")
    assert given(second) == (pool.ident, [b"a", b"b"])
    assert not first.answered
    world.resume(away)
    assert given(first) == (pool.ident, [b"c"])


def test_a_queue_that_is_shut_down_stops_its_workers_all_the_same(world, lane, pool, tasks):
    submit(world, lane, pool, b"a")
    put(world, lane, tasks, b"recipe")
    world.ask(lane, tasks, "shutdown", False)
    w = worker(world)
    assert {exchange(world, w, tasks).result[4] for _ in range(2)} == {pool.ident, None}
    submit(world, lane, pool, b"b")
    assert exchange(world, w, tasks, timeout_s=None).result == [[], True, [(3, 11)], 0, None, 0]


# -- how much ----------------------------------------------------------------------------------------


def test_the_last_jobs_are_spread_over_all_workers(world, lane, pool, tasks):
    crew = [worker(world) for _ in range(3)]
    world.session(role="supervisor", pools=True, python=(3, 11))
    submit(world, lane, pool, *[b"%d" % n for n in range(10)])
    sizes = [len(exchange(world, w, tasks, n=6).out) for w in crew * 3]
    assert sizes == [4, 2, 2, 1, 1, 0, 0, 0, 0]


def test_max_tasks_bounds_a_batch(world, lane, tasks):
    pool = world.add(Pool, max_tasks=2)
    submit(world, lane, pool, *[b"%d" % n for n in range(5)])
    w = worker(world)
    assert [len(exchange(world, w, tasks).out) for _ in range(3)] == [2, 2, 1]


def test_a_batch_holds_no_more_than_fits_into_one_answer(world, lane, pool, tasks):
    large, rich = bytes(MOST_BYTES - 10), Value(0, bytes(MOST_BYTES), (), ("x",))
    submit(world, lane, pool, b"small", large, large, rich, b"a", b"b")
    w = worker(world)
    batches = []
    for _ in range(4):
        call = exchange(world, w, tasks, n=6)
        batches.append(call.result[0])
        finish(world, w, tasks, call)
    assert batches == [[[1, 2, 1]], [[3, 3, 1]], [[4, 4, 1]], [[5, 6, 1]]]
    told = [world.ask(lane, pool, "collect", 6, 0)[0] for _ in range(4)]
    assert told == [[[1, 2]], [[3, 3]], [[4, 4]], [[5, 6]]]
    assert world.mentions["x"] == 0


def test_a_single_run_of_results_is_cut(world, lane, pool, tasks):
    submit(world, lane, pool, *[b"job"] * 4)
    w = worker(world)
    exchange(world, w, tasks)
    half = bytes(MOST_BYTES // 2)
    exchange(world, w, tasks, [(1, 4)], 0, pool=pool.ident, blobs=[half, half, half, bytes(2 * MOST_BYTES)])
    assert [world.ask(lane, pool, "collect", 9, 0)[0] for _ in range(3)] == [[[1, 2]], [[3, 3]], [[4, 4]]]


def test_processes_bound_who_is_at_work(world, lane, tasks):
    pool = world.add(Pool, processes=2)
    submit(world, lane, pool, *[b"%d" % n for n in range(8)])
    first, second, third = crew = [worker(world) for _ in range(3)]
    calls = [exchange(world, w, tasks, n=2, timeout_s=None) for w in crew]
    assert [bool(call.answered) for call in calls] == [True, True, False]
    again = finish(world, first, tasks, calls[0], n=2)
    assert again.result[0] == [[5, 6, 1]]
    assert not calls[2].answered
    finish(world, second, tasks, calls[1])  # it does something else
    assert not calls[2].answered
    world.advance(PATIENCE_S)
    assert calls[2].result[0] == [[7, 7, 1]]
    assert len(pool.leases.holders) == 2
    world.ask(third, pool, "hand_back", [[7, 7]])
    waiting = wait(world, worker(world), tasks)
    world.advance(PATIENCE_S)
    assert waiting.result[0] == [[7, 7, 1]]


def test_the_place_of_a_dead_worker_is_free(world, lane, tasks):
    pool = world.add(Pool, processes=1)
    submit(world, lane, pool, b"a", b"b")
    dying = worker(world)
    exchange(world, dying, tasks, n=1)
    waiting = wait(world, worker(world), tasks)
    world.end_session(dying.session)
    assert waiting.result[0] == [[1, 1, 2]]


# -- Pythons -----------------------------------------------------------------------------------------


def test_code_goes_to_its_own_python(world, lane, pool, tasks):
    old, new = worker(world, (3, 11)), worker(world, (3, 12))
    submit(world, lane, pool, CODE_312, b"any", CODE_311)
    assert list(exchange(world, old, tasks).out) == [b"any", CODE_311]
    assert exchange(world, old, tasks).result[0] == []
    assert exchange(world, new, tasks).result[:3] == [[[1, 1, 1]], False, [(3, 11), (3, 12)]]


def test_a_taught_function_binds_all_jobs_to_its_python(world, lane, pool, tasks):
    old, new = worker(world, (3, 11)), worker(world, (3, 12))
    world.ask(lane, pool, "teach", "f", blobs=[CODE_312])
    waiting = wait(world, old, tasks)
    submit(world, lane, pool, b"a")
    assert not waiting.answered
    assert given(exchange(world, new, tasks)) == (pool.ident, [b"a"])


def test_a_forgotten_function_binds_nothing_any_more(world, lane, pool, tasks):
    old, _ = worker(world, (3, 11)), worker(world, (3, 12))
    world.ask(lane, pool, "teach", "f", blobs=[CODE_312])
    waiting = wait(world, old, tasks)
    submit(world, lane, pool, b"a")
    assert not waiting.answered
    world.ask(lane, pool, "forget", "f")
    assert given(waiting) == (pool.ident, [b"a"])


def test_jobs_that_no_worker_can_run_are_refused(world, lane, pool):
    worker(world, (3, 12))
    world.session(role="supervisor", pools=True, python=(3, 13))
    with pytest.raises(NoWorkers, match="code from Python 3.11.*have Python 3.12, 3.13") as caught:
        world.ask(lane, pool, "submit", 1, blobs=[b"a", CODE_311])
    assert caught.value.fields == {"versions": [[3, 12], [3, 13]]}
    world.ask(lane, pool, "submit", 1, blobs=[b"a", CODE_312])
    assert pool.ready.next == 3


def test_what_no_worker_can_run_is_not_taught_and_keeps_nobody_from_other_jobs(world, lane, pool, tasks):
    worker(world, (3, 12))
    with pytest.raises(NoWorkers, match="code from Python 3.11.*have Python 3.12"):
        world.ask(lane, pool, "teach", "f", blobs=[CODE_311])
    assert not pool.functions
    submit(world, lane, pool, b"a")
    old = worker(world, (3, 11))
    world.ask(lane, pool, "teach", "f", blobs=[CODE_311])
    assert given(exchange(world, old, tasks)) == (pool.ident, [b"a"])


def test_jobs_go_on_without_the_workers_that_what_was_taught_needs(world, lane, pool, tasks):
    old, new = worker(world, (3, 11)), worker(world, (3, 12))
    world.ask(lane, pool, "teach", "f", blobs=[CODE_311])
    world.end_session(old.session)
    submit(world, lane, pool, b"a")
    assert given(exchange(world, new, tasks)) == (pool.ident, [b"a"])


def test_without_workers_jobs_wait_for_some(world, lane, pool, tasks):
    world.session(role="worker", python=(3, 13))  # takes none
    submit(world, lane, pool, CODE_311)
    assert given(exchange(world, worker(world), tasks)) == (pool.ident, [CODE_311])


def test_a_supervisor_stands_for_the_python_of_its_workers(world, lane, pool, tasks):
    supervisor = world.session(role="supervisor", pools=True, python=(3, 11))
    waiting = wait(world, worker(world, (3, 12)), tasks)
    submit(world, lane, pool, CODE_311)
    assert not waiting.answered  # a process of that Python is about to come
    world.end_session(supervisor)
    assert given(waiting) == (pool.ident, [CODE_311])  # which it will refuse: better an error than silence


# -- bonds -------------------------------------------------------------------------------------------


def equipped(world, program):
    pool = world.add(Pool, program=program)
    world.ask(world.lane(), pool, "equip", blobs=[b"spec"])
    return pool


def test_a_worker_stays_with_the_program_that_equipped_it_for_a_while(world, lane, tasks):
    mine, other, also_mine = equipped(world, "p"), world.add(Pool), equipped(world, "p")
    for pool in (mine, other, also_mine):
        submit(world, lane, pool, *[b"job"] * 9)
    put(world, lane, tasks, *[b"recipe"] * 9)
    w = worker(world)
    turns = [exchange(world, w, tasks, n=1).result[4] for _ in range(5)]
    assert turns == [mine.ident, *[also_mine.ident, mine.ident] * 2]
    world.advance(STAY_S)
    later = {exchange(world, w, tasks, n=1).result[4] for _ in range(6)}
    assert later == {mine.ident, other.ident, also_mine.ident, None}


def test_a_bound_worker_goes_elsewhere_when_its_program_has_nothing(world, lane, tasks):
    mine, other = equipped(world, "p"), world.add(Pool)
    submit(world, lane, mine, b"job")
    w = worker(world)
    assert exchange(world, w, tasks).result[4] == mine.ident
    submit(world, lane, other, b"job")
    assert exchange(world, w, tasks).result[4] == other.ident


def test_workers_that_others_equipped_are_woken_last(world, lane, tasks):
    mine, other, yours = equipped(world, "p"), world.add(Pool), equipped(world, "q")
    bound, free = worker(world), worker(world)
    submit(world, lane, mine, b"job")
    exchange(world, bound, tasks)
    waiting = wait(world, bound, tasks)
    for pool in (other, yours):
        also = wait(world, free, tasks)
        submit(world, lane, pool, b"job")
        assert given(also) == (pool.ident, [b"job"])
    also = wait(world, worker(world), tasks)
    submit(world, lane, mine, b"again")
    assert given(waiting) == (mine.ident, [b"again"])
    assert not also.answered


def test_a_bond_ends_with_the_session(world, lane, tasks):
    submit(world, lane, equipped(world, "p"), b"job")
    w = worker(world)
    exchange(world, w, tasks)
    assert list(world.house.hall.bonds) == [w.session.id]
    world.end_session(w.session)
    assert not world.house.hall.bonds


# -- parting -----------------------------------------------------------------------------------------


def test_deleting_a_pool_ends_who_works_for_it(world, lane, pool, tasks):
    submit(world, lane, pool, b"a", b"b")
    supervisor = world.session(role="supervisor")
    at_work = worker(world, supervisor=supervisor.id, pid=4242)
    exchange(world, at_work, tasks, n=1)
    done = worker(world)
    finish(world, done, tasks, exchange(world, done, tasks, n=1))
    idle = wait(world, done, tasks)
    collector = world.call(lane, pool, "collect", 1, None)
    assert collector.result == [[[2, 2]], 1]
    collector = world.call(lane, pool, "collect", 1, None)
    world.delete(pool)
    assert collector.error is not None
    assert at_work.session.ended
    assert at_work.session.over == "its program ended it"
    [command] = world.registry._commands[supervisor.id]
    assert command == {
        "command": "end_process",
        "session": at_work.session.id,
        "pid": 4242,
        "why": "its program ended it",
    }
    assert not idle.answered
    assert not world.house.hall.pools


def test_an_answer_that_was_lost_after_its_pool_was_deleted(world, lane, pool, tasks):
    submit(world, lane, pool, b"a")
    w = worker(world)
    lost = exchange(world, w, tasks)
    del world.machines[pool.ident], world.shadows[pool.ident]
    world.abandon(lost)
    assert pool.leases.count == 1  # nobody looks at it any more


def test_an_answer_that_was_lost_leaves_the_jobs_ready(world, lane, pool, tasks):
    submit(world, lane, pool, b"a", b"b")
    lost = exchange(world, worker(world), tasks)
    waiting = wait(world, worker(world), tasks, n=1)
    world.abandon(lost)
    assert waiting.result[0] == [[1, 1, 1]]
    assert collect(world, lane, pool) == ([], 2)
