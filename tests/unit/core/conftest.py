"""What most tests of the state machines begin with. A module that needs another one has its own."""

from __future__ import annotations

import pytest
from tests.unit.core.harness import World

from mpserve.core.t_pool import Pool
from mpserve.core.t_queue import Queue


@pytest.fixture
def world():
    return World()


@pytest.fixture
def lane(world):
    return world.lane()


@pytest.fixture
def tasks(world):
    return world.add(Queue, name="tasks")


@pytest.fixture
def results(world):
    return world.add(Queue, name="results")


@pytest.fixture
def pool(world):
    return world.add(Pool)
