"""Both sides, each with a manager; ours on a real server with two worker processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest
from tests.conformance.sides import our_side, their_side

from mpclient import testing


@pytest.fixture(scope="session")
def theirs() -> Iterator[object]:
    with multiprocessing.get_context("spawn").Manager() as manager:
        yield their_side(manager)


@pytest.fixture(scope="session")
def ours() -> Iterator[object]:
    with testing.running_cluster(2) as cluster:
        yield our_side(cluster)
