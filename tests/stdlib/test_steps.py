"""Step by step as the standard library's own server: every method, keyword and exception."""

import json
import multiprocessing

import pytest
from tests.stdlib.conftest import KEY, OURS, PYTHONS, run_python, served
from tests.stdlib.steps import SCENARIOS, Manager, differences

pytestmark = pytest.mark.stock


@pytest.fixture(scope="module")
def reference():
    """The standard library's own server."""
    with Manager(authkey=KEY, ctx=multiprocessing.get_context("spawn")) as manager:
        yield manager


# "counts" comes first: what other steps lend to stock clients is freed a minute later, while it counts.
@pytest.mark.parametrize("name", sorted(SCENARIOS, key=lambda name: name != "counts"))
def test_does_what_the_standard_library_does(name, reference, manager):
    assert differences(SCENARIOS[name], reference, manager, words=True) == []


@pytest.mark.parametrize("version", [version for version in PYTHONS if version != OURS])
def test_does_so_for_every_other_python(version, tmp_path):
    """Each at a server of its own: one that frees what the Python before was lent counts less."""
    with served(cwd=tmp_path) as server:
        assert json.loads(run_python(PYTHONS[version], "-m", "tests.stdlib.steps", *server.where)) == []
