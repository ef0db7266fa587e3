"""Pools where they promise more than the standard library's, or differ from them."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import queue
import threading
from multiprocessing.pool import RemoteTraceback, ThreadPool  # type: ignore[attr-defined]

import pytest
from tests.integration.pool_jobs import (
    Mistake,
    Scaled,
    add,
    fail,
    process_id,
    recall,
    refill,
    remember,
    square,
    touch,
    unpicklable,
    wait_for_file,
)

import mpclient
from mpclient import WorkerDied, testing
from mpclient.pool import Pool
from mpclient.pool import ThreadPool as Offered
from mpclient.pooling.flow import WINDOW
from mpclient.pooling.outcomes import JobCancelled, PoolClosed
from mpshared.errors import TooBig
from mpshared.ops import BY_NAME

pytestmark = pytest.mark.hosts
LIMIT_S = 20


@pytest.fixture
def pool(crew):
    with crew.Pool() as pool:
        yield pool


@pytest.fixture
def blocked(crew, tmp_path):
    """A pool of one process that works until its test lets it go on: ``blocked(pool)`` begins it."""
    begun = []

    def begin(pool, name="block"):
        path = tmp_path / name
        begun.append(path)
        result = pool.apply_async(touch, (str(path),))
        testing.wait_until(path.exists, LIMIT_S)
        return result, lambda: path.with_suffix(".go").write_text("go")

    yield begin
    for path in begun:
        path.with_suffix(".go").write_text("go")


def state(cluster, pool):
    """Return what the server says of a pool; None: it is gone."""
    return next((o for o in cluster.status()["objects"] if o["ident"] == pool._jobs.ident), None)


# -- lazy at both ends -----------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 2])
def test_an_endless_iterable_is_taken_as_far_as_the_buffer_reaches(pool, chunksize):
    taken = []

    def numbers():
        for number in itertools.count():
            taken.append(number)
            yield number

    results = pool.imap(square, numbers(), chunksize, buffersize=10)
    assert [next(results) for _ in range(6)] == [n * n for n in range(6)]
    testing.wait_until(lambda: len(taken) >= 14, LIMIT_S)
    assert len(taken) <= 16


def test_a_buffer_of_one_is_enough(pool):
    assert list(pool.imap(square, range(30), buffersize=1)) == [n * n for n in range(30)]
    assert sorted(pool.imap_unordered(square, range(30), 4, buffersize=1)) == [n * n for n in range(30)]


def test_in_the_middle_of_many_one_that_cannot_be_pickled_fails_alone(pool):
    items = [*range(300), threading.Lock(), *range(301, 600)]
    results = pool.imap(square, items)
    assert [next(results) for _ in range(300)] == [n * n for n in range(300)]
    with pytest.raises(TypeError, match="cannot pickle"):
        next(results)
    assert list(results) == [n * n for n in range(301, 600)]


def test_many_that_nobody_takes_are_taken_from_a_list_as_far_as_the_buffer_reaches(pool, tmp_path):
    results = pool.imap(os.mkdir, [str(tmp_path / str(n)) for n in range(2000)], buffersize=500)
    assert next(results) is None
    testing.wait_until(lambda: len([*tmp_path.iterdir()]) >= 500, LIMIT_S)
    assert len([*tmp_path.iterdir()]) <= 502
    assert sum(1 for _ in results) == 1999


@pytest.mark.parametrize(
    ("size", "error"),
    [
        (0, ValueError("buffersize must be None or > 0")),
        ("a", TypeError("buffersize must be an integer or None")),
    ],
)
def test_a_buffer_that_is_none(pool, size, error):
    with pytest.raises(type(error)) as caught:
        pool.imap(square, [1], buffersize=size)
    assert str(caught.value) == str(error)


def test_closing_lifts_the_bound(crew):
    pool = crew.Pool()
    results = pool.imap(square, range(100), buffersize=3)
    unordered = pool.imap_unordered(square, range(3 * WINDOW))
    pool.close()
    pool.join()
    assert list(results) == [n * n for n in range(100)]
    assert len(list(unordered)) == 3 * WINDOW


def test_large_items_make_room_for_more(pool, monkeypatch):
    """The window is one of bytes then, of far fewer jobs than `WINDOW`."""
    monkeypatch.setattr("mpclient.pooling.flow._WINDOW_BYTES", 1 << 20)
    assert list(pool.imap(len, (bytes(1 << 16) for _ in range(50)))) == [1 << 16] * 50


def test_an_answer_whose_memory_the_next_job_uses_again(crew):
    with crew.Pool(1) as pool:
        assert [answer[0] for answer in pool.map(refill, range(100), 1)] == [*range(100)]


def test_a_pool_of_one_process_finds_there_what_it_left(crew):
    with crew.Pool(1) as one, crew.Pool(1) as two:
        pids = [(one.apply(os.getpid), two.apply(os.getpid)) for _ in range(10)]
        assert len(set(pids)) == 1
        pid = pids[0][0]
        assert {*one.map(_pid_of, range(50), 1), one.apply(os.getpid)} == {pid}


def _pid_of(_):
    return os.getpid()


@pytest.mark.skipif(not hasattr(functools, "Placeholder"), reason="partials leave places from 3.14 on")
def test_a_partial_that_leaves_a_place_among_its_arguments(pool):
    leaves = functools.partial(add, functools.Placeholder, 2)  # type: ignore[attr-defined]
    assert pool.apply(leaves, (1,)) == (1, 2, 100)


class Counted:
    alive = 0
    most = 0

    def __init__(self):
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self):
        Counted.alive -= 1

    def __reduce__(self):
        return int, ()


def test_submitting_many_needs_memory_for_the_window_only(pool):
    results = pool.imap(bool, (Counted() for _ in range(5 * WINDOW)))
    assert sum(1 for _ in results) == 5 * WINDOW
    assert Counted.most <= WINDOW


def test_a_stream_that_nobody_reads_any_more_goes_on(crew):
    shared = crew.Value("i", 0)
    pool = crew.Pool()
    pool.imap_unordered(functools.partial(_count, shared), range(50), buffersize=2)
    gc.collect()
    pool.close()
    pool.join()
    assert shared.value == 50


def _count(shared, _number):
    with shared.get_lock():
        shared.value += 1


def test_an_iterable_that_blocks_stops_nobody_else(pool):
    go_on = threading.Event()

    def slow():
        yield 1
        go_on.wait(LIMIT_S)
        yield 2

    results = pool.imap(square, slow())
    assert next(results) == 1
    assert pool.apply(square, (5,)) == 25
    assert list(pool.imap(square, range(5))) == [0, 1, 4, 9, 16]
    go_on.set()
    assert next(results) == 4


# -- what travels ----------------------------------------------------------------------------------


def test_code_of_any_kind_travels(pool):
    class Local:
        def __init__(self, number):
            self.number = number

    class LocalError(Exception):
        pass

    def inner(number):
        if number == 3:
            raise LocalError(number)
        return Local(number + offset)

    offset = 10
    assert pool.apply(lambda a, b: a + b, (1,), {"b": 2}) == 3
    answer = pool.apply(inner, (1,))
    assert isinstance(answer, Local)
    assert answer.number == 11
    with pytest.raises(LocalError) as caught:
        pool.map(inner, [1, 3])
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in inner" in str(caught.value.__cause__)


def test_a_function_travels_once(crew, pool):
    def function(number):
        return number

    pool.map(function, range(10), 1)
    taught = set(pool._jobs.functions._taught)
    assert len(taught) == 1
    for _ in range(3):
        pool.map(function, range(10), 1)
        list(pool.imap(function, range(3)))
        pool.apply(function, (1,))
        pool.apply(functools.partial(function, 1))
    assert pool._jobs.functions._taught == taught


def test_what_has_state_is_taught_for_one_use_only(crew, pool):
    scaled = Scaled(3)
    for _ in range(2):
        assert pool.map(scaled.method, range(3)) == [3, 4, 5]
        assert list(pool.imap(functools.partial(add, second=scaled.by), range(2))) == [
            (0, 3, 100),
            (1, 3, 100),
        ]
        scaled.by = 3
    assert pool.map(Scaled(4), [1]) == [4]
    functions = pool._jobs.functions
    testing.wait_until(lambda: not functions._taught and not functions._loans, LIMIT_S)
    digest = functions.lend(scaled)[0]
    functions.give_back(digest)
    with pytest.raises(KeyError):
        crew.session.call(BY_NAME["pool.learn"], pool._jobs.ident, [digest])


def test_a_function_is_forgotten_when_the_last_who_uses_it_is_done(pool):
    scaled = Scaled(3)
    streams = [pool.imap(scaled, iter(range(50)), buffersize=2) for _ in range(3)]
    assert [next(stream) for stream in streams] == [0, 0, 0]
    assert sum(streams.pop()) == sum(streams.pop()) == 3 * 49 * 25
    testing.wait_until(lambda: pool._jobs.functions._loans.total() == 1, LIMIT_S)
    assert sum(streams.pop()) == 3 * 49 * 25
    testing.wait_until(lambda: not pool._jobs.functions._loans, LIMIT_S)


def test_what_cannot_travel_is_refused_where_it_is_submitted(pool):
    class Box:
        def __init__(self):
            self.lock = threading.Lock()

    for call in (pool.apply, pool.apply_async):
        with pytest.raises(TypeError, match=r"job\.args\[1\]\.lock \(a lock\) cannot travel to a worker"):
            call(square, (1, Box()))
    with pytest.raises(TypeError, match=r"items\[2\]\.lock"):
        pool.map(square, [1, 2, Box()], 1)
    with pytest.raises(TypeError, match=r"items\[2\]\.lock"):
        pool.map(square, [1, 2, Box()], 3)
    results = pool.imap(square, [1, Box(), 3])
    assert next(results) == 1
    with pytest.raises(TypeError, match=r"items\[1\]\.lock"):
        next(results)
    assert next(results) == 9
    lock = threading.Lock()
    with pytest.raises(TypeError, match="function's variable 'lock'"):
        pool.map(lambda _: lock, [1])


def test_an_initializer_that_cannot_travel(crew):
    with pytest.raises(TypeError, match=r"initargs\[0\] \(a lock\)"):
        crew.Pool(initializer=remember, initargs=(threading.Lock(),))


def test_a_job_that_is_too_big_fails_alone(fresh_server, mpworker_of):
    server = fresh_server("--max-message", "2MiB")
    with server.connect() as cluster, cluster.Pool() as pool:
        mpworker_of(server)
        results = [pool.apply_async(len, (bytes(size),)) for size in (10, 3 << 20, 20)]
        assert (results[0].get(LIMIT_S), results[2].get(LIMIT_S)) == (10, 20)
        with pytest.raises(TooBig, match="max-message"):
            results[1].get(LIMIT_S)


@pytest.fixture
def mpworker_of(tmp_path):
    from tests.integration import workers

    started = []

    def start(server, *options):
        import subprocess

        log = tmp_path / "mpworker.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(workers.COMMAND), "--processes", "1", "--log-format", "json", *options],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=server.environment,
            )
        started.append(workers.WorkerHost(process, log))
        return started[-1]

    yield start
    for host in started:
        host.end()


def test_chunks_of_large_items_are_small(crew):
    with crew.Pool(2) as pool:
        large = [bytes(3 << 20)] * 80
        assert [pool._chunk_of(items, 80) for items in (large, range(80), {"a": large}, set(range(80)))] == [
            *(2, 10, 10, 10)
        ]
        assert pool.map(len, large[:9]) == [3 << 20] * 9


def test_many_threads_submit(pool):
    def submit(base):
        results = [pool.apply_async(square, (base + n,)) for n in range(300)]
        return [result.get(LIMIT_S) for result in results]

    with ThreadPool(8) as threads:
        answers = threads.map(submit, range(0, 2400, 300), 1)
    assert list(itertools.chain.from_iterable(answers)) == [n * n for n in range(2400)]


# -- failures --------------------------------------------------------------------------------------


def test_an_initializer_that_fails_is_an_error_of_each_job(crew):
    with crew.Pool(initializer=fail, initargs=(3,)) as pool:
        for _ in range(2):
            with pytest.raises(mpclient.TaskError, match="initializer"):
                pool.apply(square, (2,))
        with pytest.raises(mpclient.TaskError, match=r"no good"):
            pool.map(square, range(4))


def test_a_worker_that_dies_costs_one_job(crew):
    with crew.Pool(max_attempts=1) as pool:
        results = [pool.apply_async(os._exit if n == 3 else square, (n,)) for n in range(6)]
        with pytest.raises(WorkerDied, match="exit code 3"):
            results[3].get(LIMIT_S)
        assert [r.get(LIMIT_S) for n, r in enumerate(results) if n != 3] == [0, 1, 4, 16, 25]


def test_a_callback_that_raises_is_reported_and_the_result_is_ready(pool, monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def callback(_):
        raise LookupError("mine")

    assert pool.apply_async(square, (3,), callback=callback).get(LIMIT_S) == 9
    with pytest.raises(Mistake):
        pool.map_async(fail, [1], error_callback=callback).get(LIMIT_S)
    assert [str(args.exc_value) for args in told] == ["mine", "mine"]


def test_a_callback_may_submit_but_not_wait(pool):
    outcomes = queue.SimpleQueue()

    def callback(_):
        later = pool.apply_async(square, (5,), callback=outcomes.put)
        try:
            later.get(LIMIT_S)
        except RuntimeError as err:
            outcomes.put(str(err))

    pool.apply_async(square, (1,), callback=callback)
    refusal, answer = outcomes.get(timeout=LIMIT_S), outcomes.get(timeout=LIMIT_S)
    assert answer == 25
    assert refusal.startswith("a callback of a pool cannot wait for a result of the same pool")


# -- the end ---------------------------------------------------------------------------------------


def test_what_is_not_finished_fails_when_the_pool_is_terminated(crew, blocked):
    pool = crew.Pool(1)
    running, _ = blocked(pool)
    waiting = pool.map_async(square, range(5))
    stream = pool.imap(square, itertools.count())
    pool.terminate()
    pool.join()
    for wait in (running.get, waiting.get, lambda: next(stream)):
        with pytest.raises(PoolClosed, match="terminated"):
            wait()
    assert list(stream) == []
    assert state(crew, pool) is None
    with crew.Pool() as other:  # the process that was at it was replaced
        assert other.map(square, range(4), 1) == [0, 1, 4, 9]


def test_a_pool_that_nobody_refers_to_is_terminated(crew):
    pool = crew.Pool()
    assert pool.apply(square, (2,)) == 4
    ident = pool._jobs.ident
    unclosed = r"unclosed running multiprocessing pool <mpclient\.pool\.Pool state=RUN"
    with pytest.warns(ResourceWarning, match=unclosed):
        del pool
    gc.collect()
    testing.wait_until(lambda: all(o["ident"] != ident for o in crew.status()["objects"]), LIMIT_S)


def test_a_result_keeps_its_pool_alive(crew, blocked):
    pool = crew.Pool(1)
    result, go_on = blocked(pool)
    result = pool.map_async(square, range(3))
    pool._state = "CLOSE"  # only so that nobody is warned
    del pool
    gc.collect()
    go_on()
    assert result.get(LIMIT_S) == [0, 1, 4]


def test_nothing_stays_behind(crew):
    before = {thread.name for thread in threading.enumerate()}
    with crew.Pool() as pool:
        pool.map(square, range(100), 1)
        list(pool.imap(square, range(10)))
    pool.join()
    assert {thread.name for thread in threading.enumerate()} <= before
    assert [o for o in crew.status()["objects"] if o["kind"] == "pool"] == []


def test_the_server_goes(fresh_server):
    server = fresh_server()
    with server.connect(reconnect_timeout=1.0) as cluster:
        pool = cluster.Pool()
        result, stream = pool.apply_async(square, (2,)), pool.imap(square, itertools.count())
        server.stop()
        for wait in (result.get, lambda: next(stream)):
            with pytest.raises(mpclient.ServerGone):
                wait()
        with pytest.raises(mpclient.ServerGone):
            pool.apply(square, (2,))
        pool.close()
        pool.join()


def test_a_cluster_is_closed_before_its_pools(fresh_server):
    cluster = fresh_server().connect()
    pool = cluster.Pool()
    result = pool.apply_async(square, (2,))
    cluster.close()
    with pytest.raises(mpclient.ServerGone):
        result.get(LIMIT_S)
    pool.terminate()
    pool.join()


def test_an_interrupted_call_cancels_what_has_not_begun(crew, blocked, monkeypatch):
    pool = crew.Pool(1)
    _, go_on = blocked(pool)
    results = []
    get = pool._mapping

    def interrupted(*args):
        result, flow = get(*args)
        results.append(result)

        def wait(_result, _timeout=None):
            raise KeyboardInterrupt

        monkeypatch.setattr(type(result), "wait", wait)
        return result, flow

    monkeypatch.setattr(pool, "_mapping", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.map(square, range(100), 1)
    monkeypatch.undo()
    with pytest.raises(JobCancelled):
        results[0].get(LIMIT_S)
    testing.wait_until(lambda: state(crew, pool)["ready"] == 0, LIMIT_S)
    go_on()
    assert pool.apply(square, (3,)) == 9
    pool.terminate()


# -- more ------------------------------------------------------------------------------------------


def test_processes_bound_what_runs_at_once(crew, tmp_path):
    with crew.Pool(1) as pool:
        first = pool.apply_async(wait_for_file, (str(tmp_path / "go"),))
        second = pool.apply_async(process_id)
        testing.wait_until(lambda: state(crew, pool)["leased"] >= 1, LIMIT_S)
        assert not second.ready()
        (tmp_path / "go").write_text("go")
        assert first.get(LIMIT_S)
        assert second.get(LIMIT_S)


def test_an_initializer_runs_once_in_each_process(crew):
    with crew.Pool(initializer=_note_process, initargs=(notes := crew.list(),)) as pool:
        workers = set(pool.map(process_id, range(200), 1))
    assert sorted(notes) == sorted(set(notes))
    assert workers <= set(notes)


def _note_process(notes):
    notes.append(os.getpid())
    remember(initialized=True)
    assert recall("initialized")


def test_names_of_the_module():
    assert Offered is ThreadPool
    assert mpclient.pool.AsyncResult is mpclient.pool.ApplyResult
    assert Pool.__module__ == "mpclient.pool"


def test_progress_as_a_function(pool):
    told = []
    assert pool.map(square, range(10), 2, progress=lambda *numbers: told.append(numbers)) == [
        n * n for n in range(10)
    ]
    assert told[-1] == (10, 10, 0)
    told.clear()
    with pytest.raises(Mistake):
        pool.starmap(fail, [(1,), (2,)], 1, progress=lambda *numbers: told.append(numbers))
    assert told[-1] == (2, 2, 2)
    told.clear()
    assert sum(pool.imap(square, iter(range(4)), progress=lambda *numbers: told.append(numbers))) == 14
    assert told[-1] == (4, None, 0)
    with pytest.raises(TypeError, match="progress must be True, False or a function"):
        pool.map(square, [1], progress="yes")


def test_progress_without_a_terminal_is_one_line(pool, capsys):
    pool.map(square, range(10), progress=True)
    list(pool.imap(square, range(5), 2, progress=True))
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("square: 10 of 10 done, 0 failed, ")
    assert second.startswith("square: 5 of 5 done, 0 failed, ")


def test_unpicklable_answers_and_the_next_one(pool):
    results = pool.imap(unpicklable, range(2))
    for _ in range(2):
        with pytest.raises(Exception, match="Error sending result"):
            next(results)
    assert pool.apply(square, (2,)) == 4
