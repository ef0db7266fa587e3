"""Proxies sent to child processes, in each way that processes start."""

import pytest
from tests.stdlib.conftest import run_python

pytestmark = pytest.mark.stock

METHODS = ("fork", "spawn", "forkserver")


def test_children_use_the_proxies_they_are_given(python, server):
    said = run_python(python, "-m", "tests.stdlib.children", *server.where, *METHODS)
    assert said.split("\n")[:3] == [f"ok {method}" for method in METHODS]
