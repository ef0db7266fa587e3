"""Pools and executors do what the standard library's do: the same functions run against both."""

from __future__ import annotations

import concurrent.futures
import multiprocessing

import pytest
from tests.integration import pool_jobs
from tests.integration import pool_scenarios as scenarios

from mpclient import ServerGone
from mpclient.testing import wait_until

pytestmark = pytest.mark.hosts

CONTEXT = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def pools(crew):
    with CONTEXT.Pool(2) as theirs, crew.Pool(2) as ours:
        yield theirs, ours


@pytest.fixture(scope="module")
def executors(crew):
    with concurrent.futures.ProcessPoolExecutor(2, CONTEXT) as theirs, crew.executor(2) as ours:
        yield theirs, ours


def name_of(scenario):
    return scenario.__name__


@pytest.mark.parametrize("scenario", scenarios.POOL, ids=name_of)
def test_a_pool(scenario, pools):
    theirs, ours = pools
    assert scenario(ours) == scenario(theirs)


@pytest.mark.parametrize("scenario", scenarios.WAITING, ids=name_of)
def test_a_pool_whose_results_are_not_there_yet(scenario, pools, tmp_path):
    theirs, ours = pools
    assert scenario(ours, tmp_path / "ours") == scenario(theirs, tmp_path / "theirs")


def begin(pool, path):
    """Have a pool of two be at work, until the file at `path` is there: four results are not ready."""
    calls = [pool.apply_async(pool_jobs.wait_for_file, (str(path),)) for _ in range(3)]
    return [*calls, pool.map_async(pool_jobs.square, range(10), chunksize=3)]


def test_how_much_has_no_result_yet(pools, tmp_path):
    for number, pool in enumerate(pools):
        path = tmp_path / str(number)
        results = begin(pool, path)
        assert len(pool._cache) == 4
        assert (results[-1]._number_left, results[-1]._chunksize) == (4, 3)
        path.write_text("go")
        for result in results:
            result.wait(scenarios.LIMIT_S)
        wait_until(lambda pool=pool: not pool._cache)


def test_how_much_waits_for_a_worker(pools, tmp_path):
    """The standard library's hands all of it on to a pipe, soon."""
    _, ours = pools
    results = begin(ours, tmp_path / "go")
    assert (ours._taskqueue.qsize(), ours._taskqueue.empty()) == (2, False)
    (tmp_path / "go").write_text("go")
    for result in results:
        result.wait(scenarios.LIMIT_S)
    wait_until(ours._taskqueue.empty)


def test_how_much_is_under_way_in_a_callback(fresh_server):
    server = fresh_server("--max-message", "1MiB")
    seen: list[int] = []
    with server.connect() as cluster, cluster.Pool() as pool:
        result = pool.apply_async(
            len, (bytes(2 << 20),), error_callback=lambda _: seen.append(len(pool._cache))
        )
        result.wait(scenarios.LIMIT_S)
        assert not result.successful()
    assert seen == [0]


def test_nothing_is_under_way_once_the_server_is_gone(fresh_server):
    server = fresh_server()
    with server.connect(reconnect_timeout=0.5) as cluster, cluster.Pool() as pool:
        server.stop()
        with pytest.raises(ServerGone):
            pool.apply_async(len, ("",)).get(scenarios.LIMIT_S)
        assert (pool._cache, pool._taskqueue.empty()) == ({}, True)


@pytest.mark.parametrize("scenario", scenarios.LIFE, ids=name_of)
def test_the_life_of_a_pool(scenario, crew):
    assert scenario(crew.Pool) == scenario(CONTEXT.Pool)


@pytest.mark.parametrize("scenario", scenarios.EXECUTOR, ids=name_of)
def test_an_executor(scenario, executors):
    theirs, ours = executors
    assert scenario(ours) == scenario(theirs)


def test_an_executor_whose_results_are_not_there_yet(executors, tmp_path):
    theirs, ours = executors
    scenario = scenarios.executor_not_ready
    assert scenario(ours, tmp_path / "ours") == scenario(theirs, tmp_path / "theirs")


@pytest.mark.parametrize("scenario", scenarios.EXECUTOR_LIFE, ids=name_of)
def test_the_life_of_an_executor(scenario, crew):
    def make(workers, **more):
        return concurrent.futures.ProcessPoolExecutor(workers, CONTEXT, **more)

    assert scenario(crew.executor) == scenario(make)
