"""Workers die with a pool's jobs: each job has its attempts, and then a `WorkerDied` for a result."""

import pickle

import pytest
from tests.unit.core.pools import collect, exchange, submit, worker

from mpserve.core.t_lock import Lock
from mpserve.core.t_pool import Pool
from mpshared.errors import WorkerDied


def died(blob):
    error = pickle.loads(blob.data)
    assert isinstance(error, WorkerDied)
    return error


def test_the_jobs_of_a_dead_worker_run_again(world, lane, pool, tasks):
    submit(world, lane, pool, b"a", b"b", b"c")
    dying = worker(world)
    exchange(world, dying, tasks)
    waiting = exchange(world, worker(world), tasks, timeout_s=None)
    world.end_session(dying.session)
    assert waiting.result[0] == [[1, 1, 2]]
    assert pool.suspects == {1, 2, 3}


@pytest.mark.parametrize("at", [1, 2, 3, None])
def test_one_job_had_an_attempt_whichever_thread_fetched_it(world, lane, tasks, at):
    pool = world.add(Pool, max_attempts=1)
    submit(world, lane, pool, b"a", b"b", b"c")
    dying = worker(world)
    exchange(world, dying, tasks, n=1)
    exchange(world, world.lane(dying.session), tasks, n=2)
    dying.session.report = {"running": [pool.ident, at]} if at else {}
    world.end_session(dying.session)
    [(number, result)], _ = collect(world, lane, pool)
    assert number == (at or 1)
    assert died(result).fields["attempts"] == 1


@pytest.mark.parametrize("place", range(4))
def test_a_killer_is_found_out_and_its_neighbours_are_done(world, lane, tasks, place):
    pool = world.add(Pool, max_attempts=2)
    jobs = [b"job %d" % n for n in range(4)]
    jobs[place] = b"killer"
    submit(world, lane, pool, *jobs)
    results, deaths = {}, 0
    while pool.open_items:
        w = worker(world)
        call = exchange(world, w, tasks)
        if b"killer" in call.out:
            [[first, _, _]] = call.result[0]
            w.session.report = {"running": [pool.ident, first + list(call.out).index(b"killer")], "signal": 9}
            world.end_session(w.session)
            deaths += 1
        else:
            exchange(world, w, tasks, [job[:2] for job in call.result[0]], 0, pool=pool.ident, blobs=call.out)
            world.end_session(w.session)
        results |= collect(world, lane, pool)[0]
    assert deaths == 2
    assert [results.pop(n + 1) for n in range(4) if n != place] == [job for job in jobs if job != b"killer"]
    error = died(results[place + 1])
    assert error.fields["attempts"] == 2
    assert f"job {place + 1} of {pool.label} was set aside" in str(error)
    assert "submit it anew" in str(error)
    assert "dead" not in str(error)
    assert "signal 9" in str(error)


@pytest.mark.parametrize("told", [["pool-1", 3], ["pool-2", 3], ["tasks", 3], ["pool-1", 9], None])
def test_the_job_that_the_supervisor_names_is_blamed(world, lane, tasks, told):
    pool = world.add(Pool, max_attempts=1)
    assert pool.ident == "pool-1"
    submit(world, lane, pool, *[b"%d" % n for n in range(1, 6)])
    w = worker(world, host="far", pid=7)
    exchange(world, w, tasks)
    w.session.report = {"running": told}
    collector = world.call(lane, pool, "collect", 9, None)
    world.end_session(w.session)
    blamed = 3 if told == ["pool-1", 3] else 1
    assert collector.result == [[[blamed, blamed]], 4]
    error = died(collector.out[0])
    assert (error.host, error.pid) == ("far", 7)
    assert pool.suspects == {1, 2, 3, 4, 5} - {blamed}


def test_the_servers_number_of_attempts(world, lane, tasks):
    world.house = world.house._replace(max_attempts=2)
    pool = world.add(Pool)
    submit(world, lane, pool, b"a")
    for _ in range(2):
        w = worker(world)
        exchange(world, w, tasks)
        world.end_session(w.session)
    [(number, blob)], unfinished = collect(world, lane, pool)
    assert (number, unfinished, died(blob).fields["attempts"]) == (1, 0, 2)


def test_an_answer_that_a_dead_worker_never_had_counts_as_an_attempt(world, lane, tasks):
    """Nobody knows whether it had it: a job that kills at once would be tried for ever."""
    pool = world.add(Pool, max_attempts=1)
    submit(world, lane, pool, b"a")
    w = worker(world)
    call = exchange(world, w, tasks)
    assert call.lane.unsettled
    world.end_session(w.session)
    assert died(collect(world, lane, pool)[0][0][1])


def test_a_suspect_can_be_cancelled(world, lane, pool, tasks):
    submit(world, lane, pool, b"a", b"b", b"c")
    dying = worker(world)
    exchange(world, dying, tasks, n=2)
    world.end_session(dying.session)
    assert world.ask(lane, pool, "cancel", [[2, 3]]) == [[2, 3]]
    assert pool.suspects == {1}
    assert exchange(world, worker(world), tasks).result[0] == [[1, 1, 2]]


def test_a_worker_that_served_several_pools_leaves_nothing_behind(world, lane, tasks):
    pools = [world.add(Pool) for _ in range(3)]
    w = worker(world)
    for pool in pools:
        submit(world, lane, pool, b"a")
        exchange(world, w, tasks)
    world.end_session(w.session)
    for pool in pools:
        assert (pool.ready.size, pool.leases.count) == (1, 0)


def test_the_report_names_the_locks_that_were_held(world, lane, tasks):
    pool, door, other = (
        world.add(Pool, max_attempts=1),
        world.add(Lock, name="door"),
        world.add(Lock, name="x"),
    )
    submit(world, lane, pool, b"a")
    w = worker(world)
    thread = world.lane(w.session)
    assert world.ask(thread, door, "acquire", 0)
    assert world.ask(thread, other, "acquire", 0)
    world.ask(thread, other, "release")
    exchange(world, w, tasks)
    world.end_session(w.session)
    [(_, blob)], _ = collect(world, lane, pool)
    assert died(blob).fields["locks"] == ["lock 'door'"]
    assert "It held lock 'door'." in died(blob).text
