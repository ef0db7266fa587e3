"""Jobs on terms: when they begin, how often they run, what their result is when they do not."""

import pickle

import pytest
from tests.unit.core.pools import collect, exchange, submit, worker

from mpserve.core.t_pool import Pool
from mpshared.errors import (
    BadType,
    BadValue,
    JobExpired,
    JobStopped,
    JobTimeout,
    NoWorkers,
    WorkerDied,
)
from mpshared.values import RAISED, Value, by_value_tag

RAISES = Value(RAISED, b"failure")


def on_terms(world, lane, pool, blob, **terms):
    number = pool.ready.next
    world.ask(lane, pool, "submit_on_terms", number, terms, blobs=[blob])
    return number


def jobs_of(call):
    """Return what an exchange brought: {number: value}."""
    numbers = [number for lo, hi, _ in call.result[0] for number in range(lo, hi + 1)]
    return dict(zip(numbers, call.out, strict=True))


def finish(world, w, tasks, pool, number, blob, n=0, timeout_s=0):
    return exchange(world, w, tasks, [(number, number)], n, timeout_s, pool.ident, [blob])


def states(pool):
    found = pool.statistics()
    return {name: found[name] for name in ("ready", "leased", "delayed", "results") if found[name]}


def test_a_job_waits_until_it_is_due(world, lane, pool, tasks):
    on_terms(world, lane, pool, b"late", delay_s=10)
    submit(world, lane, pool, b"now")
    assert states(pool) == {"delayed": 1, "ready": 1}
    w = worker(world)
    assert jobs_of(exchange(world, w, tasks)) == {2: b"now"}
    waiting = finish(world, w, tasks, pool, 2, b"done", n=5, timeout_s=None)
    world.advance(9.9)
    assert not waiting.answered
    world.advance(0.1)
    assert jobs_of(waiting) == {1: b"late"}
    finish(world, w, tasks, pool, 1, b"done late")
    assert collect(world, lane, pool) == ([(2, b"done"), (1, b"done late")], 0)
    assert not pool.specials


def test_higher_priorities_go_first_and_equal_ones_in_order(world, lane, pool, tasks):
    submit(world, lane, pool, b"plain 1", b"plain 2")
    on_terms(world, lane, pool, b"low", priority=-1)
    on_terms(world, lane, pool, b"high", priority=1)
    on_terms(world, lane, pool, b"zero", retries=1)
    submit(world, lane, pool, b"plain 6")
    on_terms(world, lane, pool, b"highest", priority=9)
    w = worker(world)
    order = []
    while pool.ready.size:
        order.append(list(jobs_of(exchange(world, w, tasks)).values()))
    assert order == [
        [b"highest"],
        [b"high"],
        [b"plain 1", b"plain 2"],
        [b"zero"],
        [b"plain 6"],
        [b"low"],
    ]


def test_a_job_that_raises_runs_again_later_each_time(world, lane, pool, tasks):
    number = on_terms(world, lane, pool, b"job", retries=3, backoff_s=2, max_backoff_s=5)
    w = worker(world)
    for pause_s in (2, 4, 5):
        assert jobs_of(exchange(world, w, tasks)) == {number: b"job"}
        assert finish(world, w, tasks, pool, number, RAISES).result[3] == 0
        assert states(pool) == {"delayed": 1}
        world.advance(pause_s - 0.5)
        assert states(pool) == {"delayed": 1}
        world.advance(0.5)
        assert states(pool) == {"ready": 1}
    exchange(world, w, tasks)
    finish(world, w, tasks, pool, number, RAISES)
    assert collect(world, lane, pool) == ([(number, RAISES)], 0)


def test_a_job_that_succeeds_at_last_has_that_result_only(world, lane, pool, tasks):
    number = on_terms(world, lane, pool, b"job", retries=9, backoff_s=0)
    w = worker(world)
    exchange(world, w, tasks)
    finish(world, w, tasks, pool, number, RAISES)
    world.advance(0)
    assert jobs_of(exchange(world, w, tasks)) == {number: b"job"}
    finish(world, w, tasks, pool, number, b"answer")
    assert collect(world, lane, pool) == ([(number, b"answer")], 0)


def test_results_of_another_session_neither_count_nor_delay(world, lane, pool, tasks):
    number = on_terms(world, lane, pool, b"job", retries=1)
    w, other = worker(world), worker(world)
    exchange(world, w, tasks)
    assert finish(world, other, tasks, pool, number, RAISES).result[3] == 1
    assert states(pool) == {"leased": 1}
    assert pool.specials[number].failures == 0


def test_a_job_that_is_not_begun_in_time_expires(world, lane, pool, tasks):
    early = on_terms(world, lane, pool, b"early", expires_s=10)
    late = on_terms(world, lane, pool, b"late", delay_s=20, expires_s=15)
    world.advance(10)
    assert states(pool) == {"delayed": 1, "results": 1}
    world.advance(5)
    results, unfinished = collect(world, lane, pool)
    assert ([number for number, _ in results], unfinished) == ([early, late], 0)
    errors = [pickle.loads(blob.data) for _, blob in results]
    assert [type(error) for error in errors] == [JobExpired, JobExpired]
    assert isinstance(errors[0], TimeoutError)
    assert "job 1 of pool pool-0 was not begun within 10 s" in str(errors[0])
    assert exchange(world, worker(world), tasks).result[0] == []


def test_a_job_that_runs_does_not_expire_but_is_not_begun_again(world, lane, pool, tasks):
    number = on_terms(world, lane, pool, b"job", expires_s=10, retries=5, backoff_s=3)
    dying = worker(world)
    exchange(world, dying, tasks)
    world.advance(11)
    assert states(pool) == {"leased": 1}
    world.end_session(dying.session)
    world.advance(0)
    [(found, blob)], _ = collect(world, lane, pool)
    assert (found, type(pickle.loads(blob.data))) == (number, JobExpired)


def test_the_last_failure_is_the_result_when_the_next_run_would_come_too_late(world, lane, pool, tasks):
    number = on_terms(world, lane, pool, b"job", expires_s=10, retries=5, backoff_s=6)
    w = worker(world)
    for _ in range(2):
        exchange(world, w, tasks)
        finish(world, w, tasks, pool, number, RAISES)
        world.advance(6)
    assert collect(world, lane, pool) == ([(number, RAISES)], 0)


def test_jobs_on_terms_are_cancelled_wherever_they_wait(world, lane, pool, tasks):
    on_terms(world, lane, pool, b"late", delay_s=10, expires_s=20)
    submit(world, lane, pool, b"plain")
    on_terms(world, lane, pool, b"first", priority=1)
    on_terms(world, lane, pool, b"second", priority=1)
    exchange(world, worker(world), tasks)
    assert world.ask(lane, pool, "waiting", [[1, 9]]) == [[1, 2], [4, 4]]
    assert world.ask(lane, pool, "cancel", [[1, 9]]) == [[1, 2], [4, 4]]
    assert states(pool) == {"leased": 1}
    assert pool.specials.keys() == {3}
    world.advance(30)
    assert collect(world, lane, pool) == ([], 1)


def test_a_job_whose_worker_dies_has_its_attempts_as_any_other(world, lane, tasks):
    pool = world.add(Pool, max_attempts=2)
    number = on_terms(world, lane, pool, b"killer", retries=9, priority=3)
    for _ in range(2):
        w = worker(world)
        assert jobs_of(exchange(world, w, tasks)) == {number: b"killer"}
        world.end_session(w.session)
    [(found, blob)], _ = collect(world, lane, pool)
    assert (found, type(pickle.loads(blob.data))) == (number, WorkerDied)
    assert not pool.specials


def test_a_lost_answer_puts_a_job_on_terms_back(world, lane, pool, tasks):
    number = on_terms(world, lane, pool, b"job", priority=2, expires_s=10)
    submit(world, lane, pool, b"plain")
    w = worker(world)
    world.abandon(exchange(world, w, tasks))
    assert states(pool) == {"ready": 2}
    assert jobs_of(exchange(world, w, tasks)) == {number: b"job"}
    world.ask(w, pool, "hand_back", [[number, number]])
    world.advance(10)
    assert [n for n, _ in collect(world, lane, pool)[0]] == [number]


def test_code_for_one_python_waits_for_it_on_terms_too(world, lane, pool, tasks):
    old, new = worker(world, (3, 11)), worker(world, (3, 12))
    code = Value(by_value_tag((3, 12)), b"code")
    number = on_terms(world, lane, pool, code, priority=5)
    submit(world, lane, pool, b"plain")
    assert jobs_of(exchange(world, old, tasks, n=1)) == {number + 1: b"plain"}
    assert jobs_of(exchange(world, new, tasks)) == {number: code}
    with pytest.raises(NoWorkers):
        on_terms(world, lane, pool, Value(by_value_tag((3, 9)), b"code"))


def test_references_in_a_job_on_terms_are_held_as_long_as_it_is_there(world, lane, pool, tasks):
    blob = Value(0, b"mentions", (), ("x",))
    on_terms(world, lane, pool, blob, delay_s=5)
    on_terms(world, lane, pool, blob, expires_s=5)
    assert world.mentions["x"] == 2
    world.advance(5)
    assert world.mentions["x"] == 1
    world.ask(lane, pool, "cancel", [[1, 2]])
    assert world.mentions["x"] == 0


@pytest.mark.parametrize(
    ("terms", "error"),
    [
        ({"retries": 1.5}, BadType),
        ({"retries": -1}, BadValue),
        ({"retries": True}, BadType),
        ({"delay_s": "soon"}, BadType),
        ({"delay_s": float("nan")}, BadValue),
        ({"delay_s": 1e12}, BadValue),
        ({"backoff_s": None}, BadType),
        ({"unheard_of": 1}, BadType),
    ],
)
def test_terms_that_are_none_are_refused_and_change_nothing(world, lane, pool, terms, error):
    with pytest.raises(error):
        on_terms(world, lane, pool, b"job", **terms)
    assert pool.ready.next == 1


def test_a_deleted_pool_rings_no_more(world, lane, pool):
    on_terms(world, lane, pool, b"late", delay_s=10)
    world.delete(pool)
    assert not len(world.fx.timers)


# -- ending what runs -------------------------------------------------------------------------------


def host(world):
    """Begin a worker host; return its worker's lane, and what returns the host's next command."""
    supervisor = world.lane(role="supervisor", pools=True, python=(3, 11))
    w = worker(world, supervisor=supervisor.session.id, host="far", pid=4711)

    def next_command():
        waiting = world.registry._commands.get(supervisor.session.id)
        return waiting.popleft() if waiting else None

    return w, next_command


def error_of(blob):
    return pickle.loads(blob.data)


def test_a_job_that_runs_for_too_long_is_told_to_end(world, lane, pool, tasks):
    number = on_terms(world, lane, pool, b"job", timeout_s=5, grace_s=2)
    w, next_command = host(world)
    world.advance(100)
    exchange(world, w, tasks)
    world.advance(4.9)
    assert next_command() is None
    world.advance(0.2)
    command = {"command": "interrupt_job", "session": w.session.id, "pool": pool.ident, "number": number}
    assert next_command() == {**command, "why": "timeout"}
    finish(world, w, tasks, pool, number, RAISES)
    assert collect(world, lane, pool) == ([(number, RAISES)], 0)
    world.advance(10)
    assert next_command() is None


def test_a_job_that_does_not_end_has_its_process_killed(world, lane, pool, tasks):
    number = on_terms(world, lane, pool, b"job", timeout_s=5, grace_s=2)
    w, next_command = host(world)
    exchange(world, w, tasks)
    world.advance(5)
    next_command()
    world.advance(2)
    assert next_command()["command"] == "end_process"
    assert w.session.ended
    [(found, blob)], unfinished = collect(world, lane, pool)
    assert (found, unfinished) == (number, 0)
    error = error_of(blob)
    assert (type(error), error.host, error.pid) == (JobTimeout, "far", 4711)
    assert "its timeout of 5 s, nor within 2 s after TimeoutError" in str(error)
    assert isinstance(error, TimeoutError)


def test_a_killed_job_is_retried_if_it_may_be_and_no_attempt_is_counted(world, lane, tasks):
    pool = world.add(Pool, max_attempts=1)
    number = on_terms(world, lane, pool, b"job", timeout_s=5, grace_s=0, retries=1, backoff_s=3)
    for _ in range(2):
        w, _ = host(world)
        assert jobs_of(exchange(world, w, tasks)) == {number: b"job"}
        world.advance(5)
        assert w.session.ended
        world.advance(3)
    [(_, blob)], _ = collect(world, lane, pool)
    assert type(error_of(blob)) is JobTimeout


def test_a_worker_that_dies_after_it_was_told_to_end_its_job_is_no_death(world, lane, tasks):
    pool = world.add(Pool, max_attempts=1)
    number = on_terms(world, lane, pool, b"job", timeout_s=5)
    w, _ = host(world)
    exchange(world, w, tasks)
    world.advance(6)
    world.end_session(w.session)
    [(found, blob)], _ = collect(world, lane, pool)
    assert (found, type(error_of(blob))) == (number, JobTimeout)


def test_an_answer_in_time_counts_even_after_the_warning(world, lane, pool, tasks):
    number = on_terms(world, lane, pool, b"job", timeout_s=5)
    w, _ = host(world)
    exchange(world, w, tasks)
    world.advance(6)
    finish(world, w, tasks, pool, number, b"answer")
    assert collect(world, lane, pool) == ([(number, b"answer")], 0)


def test_each_run_has_the_whole_timeout(world, lane, pool, tasks):
    number = on_terms(world, lane, pool, b"job", timeout_s=5, retries=1, backoff_s=0)
    w, next_command = host(world)
    exchange(world, w, tasks)
    world.advance(4)
    finish(world, w, tasks, pool, number, RAISES)
    world.advance(0)
    exchange(world, w, tasks)
    world.advance(4)
    assert next_command() is None
    world.ask(w, pool, "hand_back", [[number, number]])
    world.advance(4)
    assert next_command() is None


@pytest.mark.parametrize("terms", [None, {"retries": 5}, {"timeout_s": 100}])
def test_a_job_is_cancelled_while_it_runs(world, lane, pool, tasks, terms):
    if terms is None:
        submit(world, lane, pool, b"job")
    else:
        on_terms(world, lane, pool, b"job", **terms)
    w, next_command = host(world)
    exchange(world, w, tasks)
    assert world.ask(lane, pool, "stop", [[1, 5]], 3) == [[], [[1, 1]]]
    assert next_command()["why"] == "cancelled"
    finish(world, w, tasks, pool, 1, b"answer")
    [(_, blob)], _ = collect(world, lane, pool)
    assert type(error_of(blob)) is JobStopped
    assert not pool.specials


def test_a_job_that_goes_on_after_it_was_cancelled_is_killed(world, lane, pool, tasks):
    submit(world, lane, pool, b"job", b"neighbour")
    w, _ = host(world)
    exchange(world, w, tasks, n=2)
    world.ask(lane, pool, "stop", [[1, 1]], 3)
    w.session.report = {"running": [pool.ident, 1]}
    world.advance(3)
    assert w.session.ended
    [(_, blob)], unfinished = collect(world, lane, pool)
    assert (type(error_of(blob)), unfinished) == (JobStopped, 1)
    assert list(exchange(world, worker(world), tasks).out) == [b"neighbour"]


def test_a_cancelled_job_that_comes_back_is_over(world, lane, pool, tasks):
    submit(world, lane, pool, b"job", b"neighbour")
    w, _ = host(world)
    exchange(world, w, tasks, n=2)
    waiting = exchange(world, worker(world), tasks, timeout_s=None)
    world.ask(lane, pool, "stop", [[2, 2]], 3)
    world.ask(w, pool, "hand_back", [[2, 2]])
    assert not waiting.answered  # nobody else begins it
    [(found, blob)], _ = collect(world, lane, pool)
    assert (found, type(error_of(blob))) == (2, JobStopped)
    finish(world, w, tasks, pool, 1, b"answer")
    assert collect(world, lane, pool) == ([(1, b"answer")], 0)


def test_what_has_not_begun_is_removed_instead(world, lane, pool):
    submit(world, lane, pool, b"job")
    on_terms(world, lane, pool, b"late", delay_s=9)
    assert world.ask(lane, pool, "stop", [[1, 9]], 3) == [[[1, 2]], []]
    assert pool.open_items == 0
