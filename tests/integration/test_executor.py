"""Executors where they promise more than the standard library's, or differ from them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import itertools
import operator
import os
import sqlite3
import threading
import weakref
from concurrent.futures.process import BrokenProcessPool

import pytest
from tests.integration.pool_jobs import (
    Scaled,
    add,
    fail,
    fail_at_five,
    meet,
    process_id,
    square,
    touch,
    wait_for_file,
)

from mpclient import TaskError, WorkerDied, testing
from mpclient.executor import Executor
from mpshared.errors import KeyMissing
from mpshared.ops import BY_NAME

pytestmark = pytest.mark.hosts
LIMIT_S = 20


@pytest.fixture
def executor(crew):
    """One process at a time, so that a test can hold up what comes later."""
    with crew.executor(1) as executor:
        yield executor


@pytest.fixture
def held(executor, tmp_path):
    """A call that runs until its test, or this fixture, lets it go on."""
    path = tmp_path / "held"
    future = executor.submit(touch, str(path))
    testing.wait_until(path.exists, LIMIT_S)
    yield future, lambda: path.with_suffix(".go").write_text("go")
    path.with_suffix(".go").write_text("go")


def waiting_at(crew, executor):
    """Return how many calls of an executor the server has that no worker has begun."""
    return next(o for o in crew.status()["objects"] if o["ident"] == executor._jobs.ident)["ready"]


def test_it_is_an_executor(executor):
    assert isinstance(executor, concurrent.futures.Executor)
    assert isinstance(executor.submit(square, 2), concurrent.futures.Future)
    assert Executor.__module__ == "mpclient.executor"


def test_libraries_find_how_much_to_submit(crew, executor):
    """As in a ProcessPoolExecutor, where dask reads it."""
    with crew.executor() as unbounded:
        assert unbounded._max_workers == 2
    assert executor._max_workers == 1


def test_what_has_not_begun_is_cancelled(executor, held):
    running, go_on = held
    called = []
    waiting = [executor.submit(square, n) for n in range(5)]
    waiting[1].add_done_callback(called.append)
    assert waiting[1].cancel()
    assert (waiting[1].cancelled(), waiting[1].done(), waiting[1].running()) == (True, True, False)
    assert waiting[1].cancel()
    assert called == [waiting[1]]
    with pytest.raises(concurrent.futures.CancelledError):
        waiting[1].result(LIMIT_S)
    done, _ = concurrent.futures.wait(waiting, LIMIT_S, concurrent.futures.FIRST_COMPLETED)
    assert done == {waiting[1]}
    assert not running.cancel()
    assert running.running()
    go_on()
    assert [future.result(LIMIT_S) for n, future in enumerate(waiting) if n != 1] == [0, 4, 9, 16]
    assert running.result(LIMIT_S)
    assert not running.cancel()


def test_what_runs_says_so(executor, held):
    running, go_on = held
    waiting = executor.submit(square, 3)
    assert (running.running(), waiting.running(), running.done()) == (True, False, False)
    go_on()
    assert waiting.result(LIMIT_S) == 9
    assert (running.result(LIMIT_S), running.running(), waiting.running()) == (True, False, False)


def test_a_call_is_cancelled_right_after_it_was_submitted(executor, held):
    _, go_on = held
    futures = [executor.submit(square, n) for n in range(2000)]
    assert all(future.cancel() for future in reversed(futures))
    last = executor.submit(square, 3)
    go_on()
    assert last.result(LIMIT_S) == 9
    assert all(future.cancelled() for future in futures)


def test_shutting_down_cancels_what_has_not_begun(executor, held):
    running, go_on = held
    waiting = [executor.submit(square, n) for n in range(500)]
    stream = executor.map(square, itertools.count(), buffersize=10)
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    assert not running.done()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        next(stream)
    go_on()
    executor.shutdown()
    assert running.result(0)


def test_what_runs_of_a_map_is_not_cancelled(executor, tmp_path):
    path = tmp_path / "first"
    results = executor.map(touch, [str(path), str(tmp_path / "second")])
    testing.wait_until(path.exists, LIMIT_S)
    executor.shutdown(wait=False, cancel_futures=True)
    path.with_suffix(".go").write_text("go")
    assert next(results)
    with pytest.raises(concurrent.futures.CancelledError):
        next(results)


@pytest.mark.parametrize("how", ["terminate_workers", "kill_workers"])
def test_the_workers_of_what_runs_are_ended(crew, executor, held, how):
    """As `ProcessPoolExecutor` has it from Python 3.14 on."""
    running, _ = held
    waiting = executor.submit(square, 1)
    getattr(executor, how)()
    assert waiting.cancelled()
    with pytest.raises(BrokenProcessPool, match="terminated"):
        running.result(LIMIT_S)
    with pytest.raises(RuntimeError, match="cannot schedule new futures"):
        executor.submit(square, 1)
    with crew.executor() as other:  # the process that was at it was replaced
        assert list(other.map(square, range(4))) == [0, 1, 4, 9]


def test_a_map_whose_workers_are_ended_breaks(executor, tmp_path):
    path = tmp_path / "first"
    results = executor.map(touch, [str(path)])
    testing.wait_until(path.exists, LIMIT_S)
    executor.terminate_workers()
    with pytest.raises(BrokenProcessPool, match="terminated"):
        next(results)


def test_map_takes_its_iterables_as_far_as_the_buffer_reaches(executor):
    taken = []

    def numbers():
        for number in itertools.count():
            taken.append(number)
            yield number

    results = executor.map(add, numbers(), itertools.count(5), buffersize=6)
    assert len(taken) == 6
    assert [next(results) for _ in range(4)] == [(n, n + 5, 100) for n in range(4)]
    assert len(taken) == 10
    results.close()
    assert executor.submit(square, 5).result(LIMIT_S) == 25


@pytest.mark.parametrize("buffersize", [None, 2])
@pytest.mark.parametrize("chunksize", [1, 3])
def test_map_takes_its_iterables_in_the_thread_that_iterates(executor, buffersize, chunksize):
    """As the standard library does: what belongs to a thread, such as rows of a database, can be mapped."""
    with sqlite3.connect(":memory:") as database:
        database.executescript("create table n (n); insert into n values (1), (2), (3), (4), (5), (6), (7);")
        rows = database.execute("select n, n + 1 from n")
        numbers = (n for n, _ in rows)
        results = executor.map(square, numbers, buffersize=buffersize, chunksize=chunksize)
        assert list(results) == [n * n for n in range(1, 8)]
    database.close()


@pytest.mark.parametrize(("buffersize", "taken"), [(None, 0), (5, 0), (4, 0), (3, 1), (2, 2)])
def test_what_an_iterable_raises_is_raised_where_it_is_asked(executor, buffersize, taken):
    """At the call, or by the iterator when it asks for more: before results that are there, as in 3.14."""

    def numbers():
        yield from range(4)
        raise LookupError("no more")

    got = []
    with pytest.raises(LookupError, match="no more"):
        got.extend(executor.map(square, numbers(), buffersize=buffersize))
    assert got == [n * n for n in range(4)][:taken]
    assert executor.submit(square, 5).result(LIMIT_S) == 25


@pytest.mark.parametrize("started", [False, True])
def test_what_was_lent_to_a_map_that_is_given_up_is_given_back(crew, executor, started):
    results = executor.map(Scaled(3), range(9), buffersize=3)
    if started:
        assert next(results) == 0
    (lent,) = executor._jobs.functions._loans
    del results
    session, ident = executor._jobs.session, executor._jobs.ident
    testing.wait_until(lambda: not executor._jobs.functions._loans, LIMIT_S)
    executor.submit(square, 5).result(LIMIT_S)
    with pytest.raises(KeyMissing):
        session.call(BY_NAME["pool.learn"], ident, [lent])


def test_a_buffer_is_so_many_chunks(executor, held):
    """As in Python 3.14: what is submitted is counted."""
    _, go_on = held
    numbers = iter(range(30))
    results = executor.map(square, numbers, buffersize=2, chunksize=4)
    assert operator.length_hint(numbers) == 22
    go_on()
    assert list(results) == [n * n for n in range(30)]


@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("asked", [0, 1, 4])
def test_an_executor_that_is_shut_down_takes_what_fills_the_buffer(crew, asked, chunksize):
    """As Python 3.14 has it: calls are made for the buffer, and one more for each result asked for."""
    numbers = itertools.count()
    with crew.executor(2) as executor:
        results = executor.map(square, numbers, chunksize=chunksize, buffersize=5)
        assert [next(results) for _ in range(asked * chunksize)] == [n * n for n in range(asked * chunksize)]
    assert next(numbers) == (5 + asked) * chunksize
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        next(results)
    assert next(results, None) is None


@pytest.mark.parametrize(("length", "asked"), [(3, 0), (5, 0), (7, 2)])
def test_what_the_buffer_held_at_the_shutdown_can_be_taken_later(crew, length, asked):
    with crew.executor(2) as executor:
        results = executor.map(square, iter(range(length)), buffersize=5)
        first = [next(results) for _ in range(asked)]
    assert first + list(results) == [n * n for n in range(length)]


def test_one_result_more_than_the_buffer_has_is_worked_on_while_it_is_waited_for(crew, tmp_path):
    """As Python 3.14 has it: with a buffer of one, two calls that wait for each other come to an end."""
    flags = [str(tmp_path / "one"), str(tmp_path / "two")]
    with crew.executor(2) as executor:
        assert list(executor.map(meet, flags, reversed(flags), buffersize=1)) == [True, True]


@pytest.mark.parametrize("started", [False, True])
def test_a_map_that_is_given_up_is_asked_for_no_more(crew, started):
    """And its iterable is let go, long before the executor is shut down."""
    numbers = (n for n in itertools.count())
    gone = weakref.ref(numbers)
    with crew.executor(2) as executor:
        results = executor.map(square, numbers, buffersize=3)
        if started:
            assert next(results) == 0
        del results, numbers
        testing.wait_until(lambda: gone() is None, LIMIT_S)
        assert executor.submit(square, 5).result(LIMIT_S) == 25


@pytest.mark.parametrize("how", ["closed", "collected"])
def test_a_map_that_is_given_up_half_way_cancels_what_has_not_begun(crew, executor, tmp_path, how):
    made = [tmp_path / str(n) for n in range(20)]
    results = executor.map(os.mkdir, made, buffersize=1)
    running = executor.submit(touch, str(tmp_path / "running"))
    assert next(results) is None
    testing.wait_until((tmp_path / "running").exists, LIMIT_S)
    testing.wait_until(lambda: waiting_at(crew, executor) == 1, LIMIT_S)
    if how == "closed":
        results.close()
    del results
    testing.wait_until(lambda: waiting_at(crew, executor) == 0, LIMIT_S)
    (tmp_path / "running.go").touch()
    assert running.result(LIMIT_S)
    assert executor.submit(square, 5).result(LIMIT_S) == 25
    assert [path.exists() for path in made] == [True] + 19 * [False]


def test_an_executor_is_kept_by_who_iterates_over_its_results(crew):
    results = crew.executor(2).map(square, range(50), buffersize=3)
    gc.collect()
    assert list(results) == [n * n for n in range(50)]
    del results
    testing.wait_until(lambda: all(o["kind"] != "pool" for o in crew.status()["objects"]), LIMIT_S)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (1.5, TypeError)])
def test_a_buffer_that_is_none(executor, size, error):
    with pytest.raises(error, match="buffersize must be"):
        executor.map(square, [1], buffersize=size)


def test_what_follows_a_failure_in_map_is_cancelled(executor, held):
    _, go_on = held
    results = executor.map(fail_at_five, range(4000))
    go_on()
    with pytest.raises(Exception, match="five"):
        list(results)
    assert executor.submit(square, 5).result(LIMIT_S) == 25


def test_a_map_that_takes_too_long_cancels_the_rest(executor, held, crew):
    _, go_on = held
    results = executor.map(square, range(100), timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    testing.wait_until(lambda: waiting_at(crew, executor) == 0, LIMIT_S)
    go_on()


def test_a_worker_that_dies_costs_one_call(crew):
    with crew.executor(max_attempts=1) as executor:
        died, other = executor.submit(os._exit, 5), executor.submit(square, 4)
        with pytest.raises(BrokenProcessPool) as caught:
            died.result(LIMIT_S)
        assert isinstance(caught.value, WorkerDied)
        assert other.result(LIMIT_S) == 16
        assert executor.submit(square, 3).result(LIMIT_S) == 9


def test_an_initializer_that_fails_is_what_breaks_an_executor_elsewhere(crew):
    with crew.executor(initializer=fail, initargs=(3,)) as executor:
        with pytest.raises(BrokenProcessPool, match=r"initializer of .*no good") as caught:
            executor.submit(square, 4).result(LIMIT_S)
        assert isinstance(caught.value, TaskError)
        with pytest.raises(BrokenProcessPool):
            list(executor.map(square, [1]))


def test_an_answer_is_held_by_nobody_but_who_took_it(executor):
    for answer in executor.map(Scaled, range(10)):
        seen = weakref.ref(answer)
        del answer
        gc.collect()
        assert seen() is None


def refuse_threads(monkeypatch, name):
    """Have the system give no thread of this name."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("name", ["mpserve-feeder", "mpserve-sender", "mpserve-collector"])
def test_where_the_system_gives_no_thread_nothing_waits_for_it(crew, monkeypatch, name):
    with crew.executor(1) as executor:
        refuse_threads(monkeypatch, name)
        with pytest.raises(BrokenProcessPool, match="can't start new thread"):
            list(executor.map(square, range(10)))
        with pytest.raises(BrokenProcessPool, match="can't start new thread"):
            list(executor.map(square, range(10)))
        monkeypatch.undo()
    with crew.executor(1) as executor:
        assert list(executor.map(square, [3])) == [9]


@pytest.mark.parametrize("name", ["mpserve-sender", "mpserve-collector"])
def test_an_executor_without_threads_is_broken(crew, monkeypatch, name):
    with crew.executor(1) as executor:
        refuse_threads(monkeypatch, name)
        for _ in range(2):
            with pytest.raises(BrokenProcessPool, match="can't start new thread"):
                executor.submit(square, 3)
        monkeypatch.undo()


def test_a_process_is_replaced_after_its_tasks(crew):
    with crew.executor(1, max_tasks_per_child=2) as executor:
        assert len({executor.submit(process_id).result(LIMIT_S) for _ in range(6)}) >= 3


def test_what_cannot_travel_is_refused_where_it_is_submitted(executor):
    with pytest.raises(TypeError, match=r"job\.kwds\['lock'\] \(a lock\) cannot travel"):
        executor.submit(square, lock=threading.Lock())


def test_an_executor_that_nobody_refers_to_finishes(crew):
    future = crew.executor().submit(square, 7)
    assert future.result(LIMIT_S) == 49
    testing.wait_until(lambda: all(o["kind"] != "pool" for o in crew.status()["objects"]), LIMIT_S)


def test_a_task_that_is_cancelled_cancels_its_call(executor, held):
    _, go_on = held

    async def main():
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(executor, square, 3)
        done, _ = await asyncio.wait([waiting], timeout=0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return done

    assert asyncio.run(main()) == set()
    go_on()
    assert executor.submit(square, 5).result(LIMIT_S) == 25


def test_many_threads_submit_and_cancel(crew):
    with crew.executor() as executor:
        outcomes = []

        def work(base):
            futures = [executor.submit(square, base + n) for n in range(200)]
            for future in futures[::7]:
                future.cancel()
            outcomes.extend((n + base, future) for n, future in enumerate(futures))

        threads = [threading.Thread(target=work, args=(base,)) for base in range(0, 1600, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        for number, future in outcomes:
            if not future.cancelled():
                assert future.result(LIMIT_S) == number * number
        assert len(outcomes) == 1600


def test_a_done_callback_cancels_another_call(executor, held, tmp_path):
    _, go_on = held
    first = executor.submit(square, 1)
    blocker = executor.submit(wait_for_file, str(tmp_path / "second"))
    other = executor.submit(square, 2)
    cancelled = []
    first.add_done_callback(lambda _: cancelled.append(other.cancel()))
    go_on()
    testing.wait_until(lambda: bool(cancelled), LIMIT_S)
    (tmp_path / "second").write_text("go")
    assert cancelled == [other.cancelled()]  # a worker may have it among its next ones
    assert blocker.result(LIMIT_S)
