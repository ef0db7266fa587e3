"""Leases and workers: nothing is lost, nothing happens twice."""

import pytest
from tests.unit.core.jobs import CODE_311, CODE_312, exchange, put, worker

from mpserve.core.t_queue import Queue
from mpshared.errors import BadValue, NoSuchObject, ShutDown
from mpshared.values import NONE

# -- results -----------------------------------------------------------------------------------------


def test_a_result_of_a_job_that_is_not_the_callers_is_dropped(world, lane, tasks, results):
    put(world, lane, tasks, b"a", b"b", b"c")
    mine, other = worker(world), worker(world)
    exchange(world, mine, tasks, n=2)
    exchange(world, other, tasks, n=1)
    brought = exchange(world, mine, tasks, [(1, 3)], 0, results=results.ident, blobs=[b"A", b"B", b"C"])
    assert brought == ([], [], False, 1)
    assert [blob for _, _, blob in results.ready] == [b"A", b"B"]


def test_a_call_that_is_done_again_as_a_whole_brings_its_results_once(world, lane, tasks, results):
    """As after a restart: it had brought its results, and waited for jobs when the server was killed."""
    put(world, lane, tasks, b"a")
    mine = worker(world)
    exchange(world, mine, tasks)
    for lost in (0, 1):
        brought = exchange(world, mine, tasks, [(1, 1)], results=results.ident, blobs=[b"A"])
        assert brought == ([], [], False, lost)
    assert [blob for _, _, blob in results.ready] == [b"A"]


# -- leases ------------------------------------------------------------------------------------------


def test_a_leased_item_is_not_ready_and_not_finished(world, lane, tasks):
    put(world, lane, tasks, b"a", b"b")
    assert world.ask(lane, tasks, "get", 0, True) == [1, 1]
    assert world.ask(lane, tasks, "qsize") == 1
    assert world.ask(lane, tasks, "unfinished") == 2
    world.ask(lane, tasks, "task_done", 1)
    assert tasks.leases.count == 0
    assert world.ask(lane, tasks, "unfinished") == 1


def test_task_done_acknowledges_this_threads_oldest_first(world, lane, tasks):
    second = world.lane(lane.session)
    put(world, lane, tasks, b"a", b"b", b"c")
    for who in (lane, second, lane):
        world.ask(who, tasks, "get", 0, True)
    world.ask(lane, tasks, "task_done", 1)
    assert [lease.first for lease in tasks.leases.of(lane.session.id)] == [2, 3]
    world.ask(second, tasks, "task_done", 2)  # its own, then the session's oldest other
    assert tasks.leases.count == 0


def test_task_done_of_a_part_of_a_batch(world, lane, tasks):
    put(world, lane, tasks, *[b"%d" % n for n in range(9)])
    assert world.ask(lane, tasks, "get_many", 9, 0, True) == [[1, 9, 1]]
    world.ask(lane, tasks, "task_done", 2)
    world.ask(lane, tasks, "task_done", 5)
    assert [(lease.first, lease.last) for lease in tasks.leases.of(lane.session.id)] == [(8, 9)]
    assert tasks.leases.of(lane.session.id)[0].blobs == [b"7", b"8"]  # the others are let go of


def test_a_dead_holders_items_go_to_their_old_place_at_once(world, lane, tasks):
    dying = world.lane()
    put(world, lane, tasks, b"a", b"b", b"c")
    assert world.ask(dying, tasks, "get", 0, True) == [1, 1]
    world.end_session(dying.session)
    assert world.ask(lane, tasks, "get", 0, True) == [1, 2]
    assert world.ask(lane, tasks, "get", 0, True) == [2, 1]
    assert world.ask(lane, tasks, "unfinished") == 3


def test_a_waiting_getter_inherits_from_the_dead(world, lane, tasks):
    dying = world.lane()
    put(world, lane, tasks, b"a")
    world.out(dying, tasks, "get", 0, True)
    waiting = world.call(lane, tasks, "get", None, True)
    world.end_session(dying.session)
    assert waiting.result == [1, 2]


def test_one_item_of_each_lane_counts_as_tried(world, lane, tasks):
    put(world, lane, tasks, *[b"%d" % n for n in range(6)])
    first = world.lane()
    second = world.lane(first.session)
    for who in (first, second, first, second):
        world.ask(who, tasks, "get", 0, True)
    world.end_session(first.session)
    attempts = [world.ask(lane, tasks, "get", 0, True) for _ in range(4)]
    assert attempts == [[1, 2], [2, 2], [3, 1], [4, 1]]


def test_an_answer_the_dead_may_not_have_had_counts_all_the_same(world, lane, tasks):
    """A job that kills its worker before that confirms anything must not be tried for ever."""
    put(world, lane, tasks, b"killer")
    for attempt in (1, 2, 3):
        dying = worker(world)
        call = world.call(dying, tasks, "exchange", None, [], 1, 0, None)
        assert call.result[0] == [[1, 1, attempt]]
        world.end_session(dying.session)  # the answer was never confirmed
    assert list(tasks.dead) == [1]


def test_hand_back_returns_unharmed(world, lane, tasks):
    put(world, lane, tasks, *[b"%d" % n for n in range(6)])
    assert world.ask(lane, tasks, "get_many", 6, 0, True) == [[1, 6, 1]]
    assert world.ask(lane, tasks, "hand_back", [[2, 3], [5, 5]]) == 3
    assert world.ask(lane, tasks, "hand_back", [[1, 3]]) == 1  # two of them are not held any more
    assert world.ask(lane, tasks, "qsize") == 4
    assert world.ask(world.lane(), tasks, "get_many", 9, 0, True) == [[1, 3, 1], [5, 5, 1]]


def test_numbers_that_never_existed_are_refused(world, lane, tasks):
    put(world, lane, tasks, b"a")
    with pytest.raises(BadValue, match="queue 'tasks' never handed out all of .*: its last item is 1"):
        world.ask(lane, tasks, "hand_back", [[1, 2]])
    with pytest.raises(BadValue):
        world.ask(lane, tasks, "exchange", None, [[7, 7]], 0, 0, None)


# -- exchange ----------------------------------------------------------------------------------------


def test_a_round_brings_results_finishes_jobs_and_fetches_the_next(world, lane, tasks, results):
    put(world, lane, tasks, b"a", b"b", b"c")
    w = worker(world)
    assert exchange(world, w, tasks, n=2) == ([[1, 2, 1]], [b"a", b"b"], False, 0)
    joiner = world.call(lane, tasks, "join", None)
    jobs = exchange(world, w, tasks, [(1, 2)], 2, results=results.ident, blobs=[b"A", b"B"])
    assert jobs == ([[3, 3, 1]], [b"c"], False, 0)
    assert world.out(world.lane(), results, "get_many", 9, 0, False) == [b"A", b"B"]
    assert not joiner.answered
    assert exchange(world, w, tasks, [(3, 3)], 0) == ([], [], False, 0)
    assert joiner.result is True


def test_a_parked_round_has_finished_its_jobs(world, lane, tasks, results):
    put(world, lane, tasks, b"a")
    w = worker(world)
    exchange(world, w, tasks)
    joiner = world.call(lane, tasks, "join", None)
    waiting = world.call(w, tasks, "exchange", results.ident, [[1, 1]], 5, 3, None, blobs=[b"A"])
    assert joiner.result is True
    assert results.ready.size == 1
    world.advance(3)
    assert waiting.result == [[], False, [(3, 11)], 0, None, 0]


def test_a_batch_ends_with_the_first_pill(world, lane, tasks):
    put(world, lane, tasks, b"a", NONE, NONE, b"b")
    assert exchange(world, worker(world), tasks)[1] == [b"a", NONE]
    assert exchange(world, worker(world), tasks)[1] == [NONE]
    assert exchange(world, worker(world), tasks)[1] == [b"b"]


def test_a_returned_pill_ends_the_batch_too(world, lane, tasks):
    put(world, lane, tasks, b"a", NONE, b"b")
    assert world.ask(lane, tasks, "get_many", 2, 0, True) == [[1, 2, 1]]
    world.ask(lane, tasks, "hand_back", [[1, 2]])
    assert exchange(world, worker(world), tasks)[1] == [b"a", NONE]


def test_jobs_that_are_not_the_workers_any_more_are_counted(world, lane, tasks, results):
    put(world, lane, tasks, b"a", b"b")
    w = worker(world)
    exchange(world, w, tasks)
    world.ask(w, tasks, "hand_back", [[2, 2]])
    assert exchange(world, w, tasks, [(1, 2), (1, 1)], 0)[3] == 1
    assert tasks.ready.size == 1


def test_results_wait_for_room_and_nothing_happens_before(world, lane, tasks):
    results = world.add(Queue, name="results", maxsize=1)
    put(world, lane, tasks, b"a", b"b", b"c")
    w = worker(world)
    exchange(world, w, tasks, n=2)
    put(world, lane, results, b"full")
    call = world.call(w, tasks, "exchange", results.ident, [[1, 2]], 1, 0, None, blobs=[b"A", b"B"])
    world.advance(1000)  # results have no deadline
    assert not call.answered
    assert tasks.leases.count == 2
    assert world.out(lane, results, "get", 0, False) == [b"full"]
    assert call.result[0] == [[3, 3, 1]]
    assert results.ready.size == 2  # a batch of results enters whole


def test_a_worker_that_dies_waiting_for_room_has_done_nothing(world, lane, tasks):
    results = world.add(Queue, maxsize=1)
    put(world, lane, tasks, b"a")
    put(world, lane, results, b"full")
    w = worker(world)
    exchange(world, w, tasks)
    world.call(w, tasks, "exchange", results.ident, [[1, 1]], 1, None, None, blobs=[b"A"])
    putter = world.call(world.lane(), results, "put", None, blobs=[b"next"])
    world.end_session(w.session)
    assert exchange(world, worker(world), tasks)[0] == [[1, 1, 2]]
    assert world.out(lane, results, "get_many", 9, 0, False) == [b"full"]
    assert putter.answered


def test_a_suspended_worker_goes_on_when_it_is_back(world, lane, tasks):
    results = world.add(Queue, maxsize=1)
    put(world, lane, tasks, b"a")
    put(world, lane, results, b"full")
    w = worker(world)
    exchange(world, w, tasks)
    call = world.call(w, tasks, "exchange", results.ident, [[1, 1]], 1, 0, None, blobs=[b"A"])
    world.suspend(w)
    world.out(lane, results, "get", 0, False)
    assert not call.answered
    world.resume(w)
    assert call.answered


def test_deleting_the_tasks_answers_who_waits_for_room(world, lane, tasks):
    results = world.add(Queue, maxsize=1)
    put(world, lane, results, b"full")
    put(world, lane, tasks, b"a")
    w = worker(world)
    exchange(world, w, tasks)
    call = world.call(w, tasks, "exchange", results.ident, [[1, 1]], 1, 0, None, blobs=[b"A"])
    world.delete(tasks)
    assert isinstance(call.error, NoSuchObject)


def test_results_that_were_shut_down_refuse_the_round_as_a_whole(world, lane, tasks, results):
    put(world, lane, tasks, b"a")
    w = worker(world)
    exchange(world, w, tasks)
    world.ask(lane, results, "shutdown", False)
    with pytest.raises(ShutDown, match="results for queue 'results'"):
        exchange(world, w, tasks, [(1, 1)], results=results.ident, blobs=[b"A"])
    assert tasks.leases.count == 1
    exchange(world, w, tasks, [(1, 1)], 0)
    assert tasks.leases.count == 0


def test_results_need_a_queue(world, lane, tasks):
    with pytest.raises(BadValue, match="1 results, and no queue"):
        exchange(world, worker(world), tasks, blobs=[b"A"])


def test_results_may_go_to_the_same_queue(world, lane, tasks):
    put(world, lane, tasks, b"a")
    w = worker(world)
    exchange(world, w, tasks)
    jobs, out, _, _ = exchange(world, w, tasks, [(1, 1)], results=tasks.ident, blobs=[b"again"])
    assert (jobs, out) == ([[2, 2, 1]], [b"again"])


def test_many_rounds_that_wait_for_each_other_do_not_recurse(world, lane):
    there, back = world.add(Queue, maxsize=1), world.add(Queue, maxsize=1)
    for q in (there, back):
        put(world, lane, q, b"full")
    calls = []
    for q, other in [(there, back), (back, there)] * 300:
        calls.append(world.call(worker(world), q, "exchange", other.ident, [], 1, 0, None, blobs=[b"r"]))
    world.ask(lane, there, "clear")
    while any(not call.answered for call in calls):
        world.ask(lane, back, "clear")
        world.ask(lane, there, "clear")


def test_shutdown_tells_workers_when_nothing_is_left(world, lane, tasks):
    put(world, lane, tasks, b"a")
    idle = worker(world)
    world.ask(lane, tasks, "shutdown", False)
    jobs, _, ended, _ = exchange(world, idle, tasks)
    assert (jobs, ended) == ([[1, 1, 1]], True)
    assert exchange(world, worker(world), tasks, timeout_s=None)[2] is True


def test_shutdown_frees_workers_that_wait(world, lane, tasks):
    call = world.call(worker(world), tasks, "exchange", None, [], 1, None, None)
    world.ask(lane, tasks, "shutdown", False)
    assert call.result == [[], True, [(3, 11)], 0, None, 0]


def test_an_abandoned_round_returns_its_jobs_and_keeps_its_results(world, lane, tasks, results):
    put(world, lane, tasks, b"a", b"b", b"c")
    w = worker(world)
    exchange(world, w, tasks, n=1)
    call = world.call(w, tasks, "exchange", results.ident, [[1, 1]], 9, 0, None, blobs=[b"A"])
    world.abandon(call)
    assert results.ready.size == 1
    assert exchange(world, w, tasks)[0] == [[2, 3, 1]]


# -- code for one Python -----------------------------------------------------------------------------


def test_code_goes_to_its_own_python_while_there_is_one(world, lane, tasks):
    old, new = worker(world), worker(world, (3, 12))
    for w in (old, new):
        exchange(world, w, tasks)
    put(world, lane, tasks, CODE_312, b"any", CODE_311, CODE_312, b"other")
    call = world.call(old, tasks, "exchange", None, [], 9, 0, None)
    assert list(call.out) == [b"any", CODE_311, b"other"]
    assert call.result == [[[2, 3, 1], [5, 5, 1]], False, [(3, 11), (3, 12)], 0, None, 0]
    assert exchange(world, new, tasks)[:2] == ([[1, 1, 1], [4, 4, 1]], [CODE_312, CODE_312])


def test_who_may_not_have_it_waits_and_is_served_when_nobody_else_can(world, lane, tasks):
    old, new = worker(world), worker(world, (3, 12))
    exchange(world, new, tasks)
    waiting = world.call(old, tasks, "exchange", None, [], 9, None, None)
    put(world, lane, tasks, CODE_312)
    assert not waiting.answered
    world.end_session(new.session)
    assert waiting.out == [CODE_312]  # it answers with an error that names the versions
    assert waiting.result[2] == [(3, 11)]


def test_one_that_may_have_it_is_served_past_one_that_may_not(world, lane, tasks):
    old, new = worker(world), worker(world, (3, 12))
    calls = [world.call(w, tasks, "exchange", None, [], 9, None, None) for w in (old, new)]
    put(world, lane, tasks, CODE_312)
    assert [call.answered for call in calls] == [False, True]


def test_without_workers_anybody_has_it(world, lane, tasks):
    put(world, lane, tasks, CODE_312)
    assert world.out(lane, tasks, "get", 0, False) == [CODE_312]


def test_code_of_a_version_that_no_worker_has(world, lane, tasks):
    put(world, lane, tasks, CODE_312)
    assert exchange(world, worker(world), tasks)[1] == [CODE_312]


def test_code_of_a_version_whose_last_worker_dies_goes_before_what_it_made_room_for(world, lane):
    tasks = world.add(Queue, maxsize=2)
    old, new = worker(world), worker(world, (3, 12))
    for w in (old, new):
        exchange(world, w, tasks)
    put(world, lane, tasks, CODE_312)
    world.call(new, tasks, "put_many", None, blobs=[b"of", b"the dead"])  # waits for room, as the next does
    world.call(lane, tasks, "put", None, blobs=[b"later"])
    waiting = world.call(old, tasks, "exchange", None, [], 1, None, None)
    assert not waiting.answered
    world.end_session(new.session)
    assert waiting.out == [CODE_312]


@pytest.mark.parametrize("order", ["fifo", "lifo"])
def test_passed_over_items_keep_their_place(world, lane, order):
    tasks = world.add(Queue, order=order)
    old, new = worker(world), worker(world, (3, 12))
    for w in (old, new):
        exchange(world, w, tasks)
    put(world, lane, tasks, *[CODE_312, b"any"] * 5)
    for _ in range(3):
        assert exchange(world, old, tasks, n=1)[1] == [b"any"]
    rest = exchange(world, new, tasks, n=99)[1]
    expected = [CODE_312] * 3 + [CODE_312, b"any"] * 2
    assert rest == (expected if order == "fifo" else [CODE_312] * 3 + [b"any", CODE_312] * 2)


def test_a_shut_queue_with_code_for_others_keeps_the_worker_waiting(world, lane, tasks):
    old, new = worker(world), worker(world, (3, 12))
    exchange(world, new, tasks)
    put(world, lane, tasks, CODE_312)
    waiting = world.call(old, tasks, "exchange", None, [], 1, None, None)
    world.ask(lane, tasks, "shutdown", False)
    assert not waiting.answered  # it may be needed yet
    exchange(world, new, tasks)
    assert waiting.result[:2] == [[], True]
