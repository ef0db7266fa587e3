"""A pool's jobs and results: each job has one result, and nothing is lost on the way."""

import pytest
from tests.unit.core.pools import collect, exchange, submit, worker

from mpserve.core.t_pool import Pool
from mpshared.errors import BadType, BadValue, Conflict, KeyMissing
from mpshared.values import Value, by_value_tag


def test_a_job_is_done_and_its_result_collected(world, lane, pool, tasks):
    submit(world, lane, pool, b"a", b"b", b"c")
    w = worker(world)
    call = exchange(world, w, tasks, n=2)
    assert world.arrived(call) == [[[1, 2, 1]], False, [(3, 11)], 0, pool.ident, 0]
    assert list(call.out) == [b"a", b"b"]
    call = exchange(world, w, tasks, [(1, 2)], 2, pool=pool.ident, blobs=[b"A", b"B"])
    assert call.result[0] == [[3, 3, 1]]
    assert collect(world, lane, pool) == ([(1, b"A"), (2, b"B")], 1)
    assert collect(world, lane, pool) == ([], 1)


def test_jobs_are_numbered_by_their_program(world, lane, pool):
    submit(world, lane, pool, b"a", b"b")
    for first in (0, 2, 4):
        with pytest.raises(BadValue, match=f"next job of pool pool-0 is number 3, not {first}"):
            world.ask(lane, pool, "submit", first, blobs=[b"c"])
    world.ask(lane, pool, "submit", 3, blobs=[])
    world.ask(lane, pool, "submit", 3, blobs=[b"c"])
    assert pool.ready.size == 3


def test_who_asks_is_told_what_no_worker_has(world, lane, pool, tasks):
    submit(world, lane, pool, b"a", b"b", b"c", b"d")
    exchange(world, worker(world), tasks, n=2)
    assert world.ask(lane, pool, "waiting", [[1, 3], [4, 9]]) == [[3, 4]]
    assert world.ask(lane, pool, "waiting", [[1, 1]]) == []


def test_what_is_forgotten_is_gone_and_its_python_needed_no_more(world, lane, pool):
    world.ask(lane, pool, "teach", "plain", blobs=[b"f"])
    world.ask(lane, pool, "teach", "mine", blobs=[Value(by_value_tag((3, 9)), b"g")])
    assert pool.python == (3, 9)
    for digest in ("mine", "mine", "never taught"):
        world.ask(lane, pool, "forget", digest)
    assert pool.python is None
    with pytest.raises(KeyMissing):
        world.ask(lane, pool, "learn", "mine")
    world.ask(lane, pool, "learn", "plain")


def test_a_collector_waits_for_the_first_result(world, lane, pool, tasks):
    waiting = world.call(lane, pool, "collect", 5, None)
    other = world.lane(lane.session)
    submit(world, other, pool, b"a", b"b", b"c")
    w = worker(world)
    exchange(world, w, tasks, n=3)
    assert not waiting.answered
    exchange(world, w, tasks, [(1, 1), (3, 3)], 0, pool=pool.ident, blobs=[b"A", b"C"])
    assert waiting.result == [[[1, 1], [3, 3]], 1]
    assert list(waiting.out) == [b"A", b"C"]


def test_a_collector_is_told_when_time_is_up(world, lane, pool):
    submit(world, lane, pool, b"a")
    waiting = world.call(lane, pool, "collect", 5, 3)
    world.advance(3)
    assert waiting.result == [[], 1]
    assert world.ask(lane, pool, "collect", 0, None) == [[], 1]


def test_a_batch_of_results_is_cut_where_the_collector_says(world, lane, pool, tasks):
    submit(world, lane, pool, *[b"%d" % n for n in range(5)])
    w = worker(world)
    exchange(world, w, tasks)
    exchange(world, w, tasks, [(1, 5)], 0, pool=pool.ident, blobs=[b"r%d" % n for n in range(5)])
    assert collect(world, lane, pool, 2)[0] == [(1, b"r0"), (2, b"r1")]
    assert collect(world, lane, pool, 9)[0] == [(3, b"r2"), (4, b"r3"), (5, b"r4")]


def test_results_whose_answer_was_lost_are_collected_again(world, lane, pool, tasks):
    submit(world, lane, pool, *[b"%d" % n for n in range(4)])
    w = worker(world)
    exchange(world, w, tasks)
    refs = Value(0, b"mentions", (), ("x",))
    exchange(world, w, tasks, [(4, 4), (1, 3)], 0, pool=pool.ident, blobs=[b"d", b"a", refs, b"c"])
    lost = world.call(lane, pool, "collect", 3, 0)
    assert world.mentions["x"] == 0
    world.abandon(lost)
    assert world.mentions["x"] == 1
    assert collect(world, lane, pool) == ([(4, b"d"), (1, b"a"), (2, refs), (3, b"c")], 0)


def test_results_of_jobs_that_are_not_the_callers_are_dropped(world, lane, pool, tasks):
    submit(world, lane, pool, b"a", b"b", b"c")
    w = worker(world)
    exchange(world, w, tasks)
    world.ask(w, pool, "hand_back", [[2, 2]])
    call = exchange(world, w, tasks, [(1, 3)], 0, pool=pool.ident, blobs=[b"A", b"B", b"C"])
    assert call.result[3] == 1
    assert collect(world, lane, pool) == ([(1, b"A"), (3, b"C")], 1)
    call = exchange(world, w, tasks, [(1, 1)], 9, pool=pool.ident, blobs=[b"again"])
    assert call.result[:4] == [[[2, 2, 1]], False, [(3, 11)], 1]
    assert collect(world, lane, pool) == ([], 1)


def test_a_number_that_is_named_twice_has_one_result(world, lane, pool, tasks):
    submit(world, lane, pool, b"a")
    w = worker(world)
    exchange(world, w, tasks)
    exchange(world, w, tasks, [(1, 1), (1, 1)], 0, pool=pool.ident, blobs=[b"A", b"B"])
    assert collect(world, lane, pool) == ([(1, b"A")], 0)


def test_each_number_comes_with_a_result(world, lane, pool, tasks):
    submit(world, lane, pool, b"a", b"b")
    w = worker(world)
    exchange(world, w, tasks)
    with pytest.raises(BadValue, match="2 jobs are done, with 1 results"):
        world.ask(w, tasks, "exchange", None, [[1, 2]], 1, 0, pool.ident, blobs=[b"A"])
    with pytest.raises(BadValue, match="never handed out"):
        world.ask(w, tasks, "exchange", None, [[3, 3]], 1, 0, pool.ident, blobs=[b"A"])


def test_what_is_ready_can_be_cancelled(world, lane, pool, tasks):
    refs = Value(0, b"mentions", (), ("x",))
    submit(world, lane, pool, *[b"%d" % n for n in range(1, 8)], refs)
    exchange(world, worker(world), tasks, n=2)
    assert world.ask(lane, pool, "cancel", [[7, 99], [1, 3], [5, 5]]) == [[3, 3], [5, 5], [7, 8]]
    assert world.mentions["x"] == 0
    assert world.ask(lane, pool, "cancel", [[1, 99]]) == [[4, 4], [6, 6]]
    assert pool.open_items == 2
    submit(world, lane, pool, b"9")
    assert exchange(world, worker(world), tasks).result[0] == [[9, 9, 1]]


def test_functions_are_kept_by_digest(world, lane, pool):
    world.ask(lane, pool, "teach", "abc", blobs=[b"f"])
    world.ask(lane, pool, "teach", "abc", blobs=[b"ignored: the digest is the same"])
    assert world.out(lane, pool, "learn", "abc") == [b"f"]
    with pytest.raises(KeyMissing, match="pool pool-0 was never taught 'xyz'"):
        world.ask(lane, pool, "learn", "xyz")


def test_the_spec_has_a_version(world, lane, tasks):
    pool = world.add(Pool, processes=2, max_tasks=3)
    settings = {"processes": 2, "max_tasks": 3, "max_attempts": 0, "program": "", "standing": False}
    assert world.ask(lane, pool, "spec") == [settings, 0]
    assert world.ask(lane, pool, "equip", blobs=[b"one"]) == 1
    assert world.ask(lane, pool, "equip", blobs=[Value(0, b"two", (), ("x",))]) == 2
    assert world.mentions["x"] == 1
    assert world.ask(lane, pool, "equip", blobs=[b"three"]) == 3
    assert world.mentions["x"] == 0
    call = world.call(lane, pool, "spec")
    assert (call.result, list(call.out)) == ([settings, 3], [b"three"])
    submit(world, lane, pool, b"a")
    assert exchange(world, worker(world), tasks).result[5] == 3


@pytest.mark.parametrize("settings", [{"processes": -1}, {"max_tasks": "2"}, {"max_attempts": True}])
def test_settings_are_whole_numbers(world, settings):
    with pytest.raises(BadType, match="whole numbers"):
        world.add(Pool, **settings)


def test_a_pool_has_no_name_and_no_other_settings(world):
    with pytest.raises(BadValue, match="has no name"):
        world.add(Pool, name="mine")
    with pytest.raises(Conflict, match="no setting 'order'"):
        world.add(Pool, order="lifo")


def test_a_pool_is_rebuilt_from_its_records(world, lane, pool, tasks):
    submit(world, lane, pool, b"a", b"b", b"c", Value(by_value_tag((3, 11)), b"code"))
    w = worker(world)
    exchange(world, w, tasks, n=2)
    exchange(world, w, tasks, [(1, 1)], 0, pool=pool.ident, blobs=[b"A"])
    world.ask(lane, pool, "teach", "abc", blobs=[b"f"])
    world.restart()
    pool, tasks = world.rebuilt(pool), world.rebuilt(tasks)
    assert collect(world, lane, pool) == ([(1, b"A")], 3)
    assert [exchange(world, worker(world), tasks).result[0] for _ in range(2)] == [[[3, 3, 1]], [[4, 4, 1]]]
