"""Pools and executors do what the standard library's do: the same functions run against both."""

from __future__ import annotations

import concurrent.futures
import multiprocessing

import pytest
from tests.integration import pool_scenarios as scenarios

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
