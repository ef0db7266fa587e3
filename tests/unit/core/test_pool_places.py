"""The places in a pool of so many processes: who keeps them, who loses them; and no job waits in vain."""

import pytest
from tests.unit.core.pools import exchange, submit, worker

from mpserve.core.effects import Effects
from mpserve.core.pool_places import PATIENCE_S
from mpserve.core.t_pool import Pool
from mpshared.values import Blob, Value, by_value_tag


@pytest.fixture
def one(world):
    return world.add(Pool, processes=1)


def wait(world, lane, tasks):
    return exchange(world, lane, tasks, timeout_s=None)


def finish(world, lane, tasks, call, n=0, timeout_s=0):
    """Report what `call` brought; ask for `n` more."""
    done = [job[:2] for job in call.result[0]]
    return exchange(world, lane, tasks, done, n, timeout_s, pool=call.result[4], blobs=call.out)


def crew_of(world, lane, pool, tasks, *, others=1):
    """Return who has the place of a pool, its waiting call, and calls of others, who waited longer."""
    holder = worker(world)
    submit(world, lane, pool, b"first")
    call = exchange(world, holder, tasks)
    assert call.result[4] == pool.ident
    waiting = [wait(world, worker(world), tasks) for _ in range(others)]
    return holder, finish(world, holder, tasks, call, n=10, timeout_s=None), waiting


def test_the_next_jobs_go_to_the_process_that_had_the_first(world, lane, one, tasks):
    holder, call, others = crew_of(world, lane, one, tasks)
    for _ in range(3):
        submit(world, lane, one, b"job")
        assert call.result[4] == one.ident
        call = finish(world, holder, tasks, call, n=10, timeout_s=None)
    world.advance(100 * PATIENCE_S)
    submit(world, lane, one, b"much later")
    assert call.answered
    assert not others[0].answered


def test_a_place_is_kept_while_its_holder_is_at_work(world, lane, one, tasks):
    holder, call, others = crew_of(world, lane, one, tasks)
    submit(world, lane, one, b"long")
    submit(world, lane, one, b"next")
    world.advance(100 * PATIENCE_S)
    assert not others[0].answered
    assert list(finish(world, holder, tasks, call, n=1).out) == [b"next"]


def test_who_is_at_others_jobs_is_waited_for_and_not_for_ever(world, lane, one, tasks):
    holder, call, _ = crew_of(world, lane, one, tasks, others=0)
    world.ask(lane, tasks, "put_many", 0, blobs=[b"recipe"])
    assert call.result[4] is None
    submit(world, lane, one, b"job")
    busy = wait(world, worker(world), tasks)
    world.advance(PATIENCE_S / 2)
    assert not busy.answered
    world.advance(PATIENCE_S / 2)
    assert busy.result[4] == one.ident
    assert list(one.places) == [busy.session.id]
    submit(world, lane, one, b"another")
    assert exchange(world, holder, tasks, [job[:2] for job in call.result[0]]).result[0] == []


def test_who_is_back_in_time_keeps_its_place(world, lane, one, tasks):
    holder, call, _ = crew_of(world, lane, one, tasks, others=0)
    world.ask(lane, tasks, "put_many", 0, blobs=[b"recipe"])
    submit(world, lane, one, b"job")
    world.advance(PATIENCE_S * 0.9)
    call = exchange(world, holder, tasks, [job[:2] for job in call.result[0]])
    assert call.result[4] == one.ident
    finish(world, holder, tasks, call)
    submit(world, lane, one, b"job")
    waiting = wait(world, worker(world), tasks)
    world.advance(PATIENCE_S * 0.9)  # it was looked at anew when these jobs began to wait
    assert not waiting.answered
    assert exchange(world, holder, tasks).result[4] == one.ident


@pytest.mark.parametrize("how", ["dies", "is cut off", "is of another Python"])
def test_no_job_waits_for_who_cannot_come(world, lane, one, tasks, how):
    holder, call, [other] = crew_of(world, lane, one, tasks)
    code: Blob = b"job"
    if how == "dies":
        world.end_session(holder.session)
    elif how == "is cut off":
        world.suspend(holder)
    else:
        new = wait(world, worker(world, (3, 12)), tasks)
        other, code = new, Value(by_value_tag((3, 12)), b"code")
    submit(world, lane, one, code)
    assert other.answered == (how == "dies")
    world.advance(PATIENCE_S)
    assert other.result[4] == one.ident
    assert not call.answered


def test_jobs_that_were_cancelled_wait_for_nobody(world, lane, one, tasks):
    holder, _, _ = crew_of(world, lane, one, tasks)
    world.suspend(holder)
    submit(world, lane, one, b"a")
    world.ask(lane, one, "cancel", [[2, 2]])
    world.advance(PATIENCE_S)
    submit(world, lane, one, b"b")
    world.ask(lane, one, "stop", [[3, 3]], 0)
    world.advance(PATIENCE_S)
    assert list(one.places) == [holder.session.id]


def test_two_pools_do_not_share_a_process_beside_one_without_any(world, lane, one, tasks):
    _, call, [other] = crew_of(world, lane, one, tasks)
    world.ask(lane, tasks, "put_many", 0, blobs=[b"recipe"])
    other = finish_recipe(world, other, tasks)  # now it waits behind the holder
    two = world.add(Pool, processes=1)
    submit(world, lane, two, b"job")
    assert other.result[4] == two.ident
    assert not call.answered


def finish_recipe(world, call, tasks):
    return exchange(world, call.lane, tasks, [job[:2] for job in call.result[0]], timeout_s=None)


def test_one_process_has_a_place_in_each_of_several_pools(world, lane, tasks):
    pools = [world.add(Pool, processes=1) for _ in range(3)]
    only = worker(world)
    call = wait(world, only, tasks)
    for pool in pools * 2:
        submit(world, lane, pool, b"job")
        assert call.result[4] == pool.ident
        call = finish(world, only, tasks, call, n=10, timeout_s=None)
    world.delete(pools.pop())
    world.end_session(only.session)
    assert not world.house.hall.seats


def test_who_was_equipped_by_another_program_leaves_its_place(world, lane, tasks):
    one = world.add(Pool, processes=1, program="p")
    same = world.add(Pool, processes=1, program="q")
    equipped = world.add(Pool, program="q")
    world.ask(lane, equipped, "equip", blobs=[b"spec"])
    holder = worker(world)
    for pool in (one, same, equipped):
        submit(world, lane, pool, b"job")
        finish(world, holder, tasks, exchange(world, holder, tasks, n=1))
    assert not one.places
    assert list(same.places) == [holder.session.id]
    waiting = wait(world, worker(world), tasks)
    submit(world, lane, one, b"job")
    assert waiting.result[4] == one.ident


def test_places_are_there_after_a_restart(world, lane, one, tasks):
    holder, call, [other] = crew_of(world, lane, one, tasks)
    world.restart()
    one, tasks = world.rebuilt(one), world.rebuilt(tasks)
    other, call = wait(world, other.lane, tasks), wait(world, holder, tasks)
    submit(world, lane, one, b"job")
    assert call.result[4] == one.ident
    assert not other.answered


def test_jobs_that_waited_through_a_restart_go_to_others_in_the_end(world, lane, one, tasks):
    holder, _, [other] = crew_of(world, lane, one, tasks)
    world.suspend(holder)
    submit(world, lane, one, b"job")
    world.restart()
    one, tasks = world.rebuilt(one), world.rebuilt(tasks)
    other = wait(world, other.lane, tasks)
    assert not other.answered
    world.advance(PATIENCE_S)
    assert other.result[4] == one.ident


def test_records_of_a_version_without_places(world):
    pool, out = (Pool(ident, settings={"processes": 1}) for ident in ("one", "other"))
    pool.enter(world.house)
    out.enter(world.house)
    fx = Effects()
    pool.on_put(fx, [b"a", b"b"])
    pool.on_lease(fx, "s1", 1, "", [(1, 1)])
    pool.on_back(fx, "s1", [(1, 1)])
    pool.on_lease(fx, "s2", 1, "", [(1, 1)])
    assert list(pool.places) == ["s2"]
    out.on_out(fx, "s1", 1, "", 1, 0, [b"a"])
    assert list(out.places) == list(out.owners()) == ["s1"]
