"""For all tests.

* Hypothesis never fails one for the time it took; speed is the bench's matter.
* `--cuts all` has `integration/test_exactly_once.py` cut each request and reply at every byte, and kill more.
* `--examples all` has Hypothesis try all the examples that tests name, not a sixth of them.
* `--suites all` has `suites/test_suites.py` run all of them by each Python.
* `--starts typed` has each command and program begin in an interpreter of its own (`prepared.py`).
* A shell lets what it starts in the background ignore Ctrl-C, and so would every program that a test starts.
* Tried side by side, files of `integration/`, which wait for processes, have those that compute between them.
"""

from __future__ import annotations

import gc
import signal
from itertools import groupby

import pytest
from hypothesis import HealthCheck, settings
from tests.examples import try_all
from tests.prepared import fork_embedded, type_all

settings.register_profile(
    "mpserve",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mpserve")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cuts", choices=("some", "all"), default="some", help="where calls are cut")
    parser.addoption("--examples", choices=("some", "all"), default="some", help="how many of Hypothesis's")
    parser.addoption("--suites", choices=("some", "all"), default="some", help="of the standard library's")
    parser.addoption(
        "--starts", choices=("forked", "typed"), default="forked", help="of commands and programs"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--examples") == "all":
        try_all()
    if config.getoption("--starts") == "typed":
        type_all()
    fork_embedded()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes, all of which find the same order
        items[:] = _mixed(items)


def _mixed(items: list[pytest.Item]) -> list[pytest.Item]:
    waiting: list[list[pytest.Item]] = []
    computing: list[list[pytest.Item]] = []
    for path, of_one in groupby(items, lambda item: item.path):
        (waiting if "integration" in path.parts else computing).append(list(of_one))
    placed = [(0.9 * number / len(waiting), of_one) for number, of_one in enumerate(waiting)]
    placed += [(number / len(computing), of_one) for number, of_one in enumerate(computing)]
    return [item for _, of_one in sorted(placed, key=lambda pair: pair[0]) for item in of_one]


def pytest_collection_finish() -> None:
    gc.freeze()  # tests, fixtures and modules stay: whoever looks for garbage need not look at them each time


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
