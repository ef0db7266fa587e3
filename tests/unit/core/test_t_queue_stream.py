"""Jobs that stream in are gathered for workers of short ones, and for nobody else, and not for long."""

import pytest

from mpserve.core.effects import Effects
from mpserve.core.queue_stream import GAP_S, GATHER_S
from mpserve.core.t_queue import Queue

SOON_S = GAP_S / 10
LONG_S = 10 * GATHER_S


@pytest.fixture
def program(world):
    return world.lane()


def put(world, lane, queue, count=1, gap_s=SOON_S):
    for _ in range(count):
        world.advance(gap_s)
        world.ask(lane, queue, "put", 0, blobs=[b"job"])


def exchange(world, lane, tasks, done=(), n=100):
    args = [None, [list(r) for r in done], n, None, None]
    return world.call(lane, tasks, "exchange", *args)


def jobs_of(call):
    return len(call.out) if call.answered else None


def waiting_workers(world, program, tasks, count=1, job_s=SOON_S, n=100):
    """Return calls of workers that have done a job each in `job_s` and wait, in the order of their turns."""
    firsts = [exchange(world, world.lane(role="worker"), tasks, n=1) for _ in range(count)]
    put(world, program, tasks, count, gap_s=LONG_S)
    put(world, program, tasks, count, gap_s=LONG_S)
    for call in firsts:
        call.lane.settle(call.number)
    seconds = [exchange(world, call.lane, tasks, [(call.result[0][0][0],) * 2], n=1) for call in firsts]
    world.advance(job_s)
    calls = [exchange(world, call.lane, tasks, [(call.result[0][0][0],) * 2], n) for call in seconds]
    assert all(call.waiter for call in calls)
    return calls[::-1] if job_s < GATHER_S else calls


def test_the_first_job_goes_at_once_and_more_are_gathered(world, tasks, program):
    one, other = waiting_workers(world, program, tasks, 2)
    put(world, program, tasks, gap_s=LONG_S)
    assert jobs_of(one) == 1
    put(world, program, tasks, 5)
    assert jobs_of(other) is None
    world.advance(GATHER_S)
    assert jobs_of(other) == 5


def test_batches_are_gathered_too_and_who_puts_them_may_take_longer(world, tasks, program):
    one, other = waiting_workers(world, program, tasks, 2)
    for gap_s in (LONG_S, 1.5 * GAP_S, 1.5 * GAP_S):
        world.advance(gap_s)
        world.ask(program, tasks, "put_many", 0, blobs=[b"job"] * 10)
        assert [jobs_of(one), jobs_of(other)] == [10, None]
    world.advance(GATHER_S)
    assert jobs_of(other) == 20


@pytest.mark.parametrize(("count", "first"), [(1, "the worker"), (10, "the program")])
def test_who_is_answered_first(world, tasks, program, monkeypatch, count, first):
    (worker,) = waiting_workers(world, program, tasks)
    world.advance(LONG_S)
    answered, reply = [], Effects.reply

    def noted(fx, call, *more):
        answered.append(call)
        reply(fx, call, *more)

    monkeypatch.setattr(Effects, "reply", noted)
    put_call = world.call(program, tasks, "put_many", 0, blobs=[b"job"] * count)
    assert answered == ([worker, put_call] if first == "the worker" else [put_call, worker])


def test_a_worker_that_comes_back_waits_for_more_but_not_for_long(world, tasks, program):
    (one,) = waiting_workers(world, program, tasks)
    put(world, program, tasks, gap_s=LONG_S)
    (number, _, _), *_ = world.arrived(one)[0]
    put(world, program, tasks, 2)
    again = exchange(world, one.lane, tasks, [(number, number)])
    assert again.waiter
    put(world, program, tasks, 3)
    world.advance(GATHER_S)
    assert jobs_of(again) == 5


def test_as_many_as_a_worker_asks_for_are_not_kept(world, tasks, program):
    _, other = waiting_workers(world, program, tasks, 2, n=3)
    put(world, program, tasks, gap_s=LONG_S)
    put(world, program, tasks, 2)
    assert jobs_of(other) is None
    put(world, program, tasks)
    assert jobs_of(other) == 3


@pytest.mark.parametrize("how", ["get", "join"])
def test_nothing_is_kept_while_its_program_waits(world, tasks, results, program, how):
    one, other = waiting_workers(world, program, tasks, 2)
    put(world, program, tasks, gap_s=LONG_S)
    put(world, program, tasks, 3)
    assert [jobs_of(one), jobs_of(other)] == [1, None]
    thread = world.lane(program.session)
    if how == "get":
        world.call(thread, results, "get", None, False)
    else:
        world.call(thread, tasks, "join", None)
    assert jobs_of(other) == 3


def test_jobs_that_do_not_stream_go_at_once(world, tasks, program):
    calls = waiting_workers(world, program, tasks, 4)
    put(world, program, tasks, gap_s=LONG_S)
    put(world, program, tasks, gap_s=GAP_S * 1.1)  # too long after the last
    world.ask(program, tasks, "qsize")
    put(world, program, tasks)  # something else came between
    put(world, world.lane(program.session), tasks)  # another thread's
    assert [jobs_of(call) for call in calls] == [1, 1, 1, 1]


def test_workers_of_longer_jobs_get_each_at_once(world, tasks, program):
    calls = waiting_workers(world, program, tasks, 3, 2 * GATHER_S)
    put(world, program, tasks, 3)
    assert [jobs_of(call) for call in calls] == [1, 1, 1]


def test_who_takes_single_items_gets_each_at_once(world, tasks, program):
    waiting_workers(world, program, tasks)
    takers = [world.call(world.lane(), tasks, "get", None, False) for _ in range(3)]
    put(world, program, tasks, gap_s=LONG_S)
    put(world, program, tasks, 3)
    assert [jobs_of(call) for call in takers] == [1, 1, 1]


def test_a_taker_behind_a_worker_is_not_told_that_nothing_is_there(world, tasks, program):
    other, one = waiting_workers(world, program, tasks, 2)  # by age, now that not only workers wait
    taker = world.call(world.lane(), tasks, "get", LONG_S + 3 * SOON_S, False)
    put(world, program, tasks, gap_s=LONG_S)
    put(world, program, tasks)
    assert [jobs_of(call) for call in (one, other, taker)] == [1, None, None]
    world.advance(3 * SOON_S)
    assert jobs_of(taker) == 1


def test_a_bounded_queue_keeps_nothing_back(world, program):
    tasks = world.add(Queue, name="bounded", maxsize=6)
    calls = waiting_workers(world, program, tasks, 3)
    put(world, program, tasks, 3)
    assert [jobs_of(call) for call in calls] == [1, 1, 1]


def test_what_was_gathered_is_divided_among_all_who_wait_if_it_is_much(world, tasks, program):
    job_s = GATHER_S / 2
    calls = waiting_workers(world, program, tasks, 3, job_s)
    put(world, program, tasks, gap_s=LONG_S)
    put(world, program, tasks, 8)
    world.advance(GATHER_S)
    assert [jobs_of(call) for call in calls] == [1, 4, 4]


def test_no_part_is_so_small_that_waking_takes_longer(world, tasks, program):
    calls = waiting_workers(world, program, tasks, 3)
    put(world, program, tasks, gap_s=LONG_S)
    put(world, program, tasks, 4)
    world.advance(GATHER_S)
    assert [jobs_of(call) for call in calls] == [1, 4, None]


def test_a_queue_that_is_shut_down_or_gone_keeps_nothing_back(world, tasks, program):
    one, other = waiting_workers(world, program, tasks, 2)
    put(world, program, tasks, gap_s=LONG_S)
    put(world, program, tasks, 2)
    assert jobs_of(one) == 1
    world.ask(program, tasks, "shutdown", False)
    assert jobs_of(other) == 2


def test_of_workers_of_short_jobs_the_one_that_came_last_goes_first(world, tasks, program):
    calls = waiting_workers(world, program, tasks, 3)
    for _ in range(3):
        put(world, program, tasks, gap_s=LONG_S)
        assert [jobs_of(call) for call in calls] == [1, None, None]
        (number, _, _), *_ = world.arrived(calls[0])[0]
        calls[0] = exchange(world, calls[0].lane, tasks, [(number, number)])


def test_of_workers_of_longer_jobs_the_one_that_waited_longest_goes_first(world, tasks, program):
    calls = waiting_workers(world, program, tasks, 3, 2 * GATHER_S)
    put(world, program, tasks, gap_s=LONG_S)
    assert [jobs_of(call) for call in calls] == [1, None, None]


def test_nobody_else_is_passed_over_by_workers_that_come_later(world, tasks, program):
    one, other = waiting_workers(world, program, tasks, 2)
    taker = world.call(world.lane(), tasks, "get", None, False)
    for call in (other, one, taker):
        put(world, program, tasks, gap_s=LONG_S)
        assert jobs_of(call) == 1
        if call is not taker:
            (number, _, _), *_ = world.arrived(call)[0]
            exchange(world, call.lane, tasks, [(number, number)])


def test_a_suspended_worker_is_passed_over(world, tasks, program):
    one, other = waiting_workers(world, program, tasks, 2)
    world.suspend(one.lane)
    put(world, program, tasks, gap_s=LONG_S)
    assert [jobs_of(one), jobs_of(other)] == [None, 1]
