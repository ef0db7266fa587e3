"""The standard library's own suites pass with our objects, but for what `left_out` names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from tests.integration.workers import other_pythons
from tests.suites.borrowed import SUITES
from tests.suites.left_out import LEFT_OUT

pytestmark = pytest.mark.hosts

ROOT = Path(__file__).parents[2]
OURS = "{}.{}".format(*sys.version_info[:2])
PYTHONS = dict(
    sorted({**other_pythons(), OURS: sys.executable}.items(), key=lambda pair: int(pair[0].split(".")[1]))
)
COMPLETE = "3.13"
"""The Python, or a later one, that has every test which is left out."""
TOGETHER = [
    ",".join(name for name, suite in SUITES.items() if bool(suite.processes) is busy)
    for busy in (False, True)
]
"""Suites that are run on one server: each start of one takes longer than many tests."""
SHOWN_CHARS = 4000


def run(python: str, suites: str, *options: str) -> list[dict[str, Any]]:
    """Run suites by one Python; return what they tell of each test."""
    ran = subprocess.run(
        [PYTHONS[python], "-m", "tests.suites.child", suites, *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, f"{ran.stdout[-SHOWN_CHARS:]}\n{ran.stderr[-SHOWN_CHARS:]}"
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


def check(outcomes: list[dict[str, Any]]) -> None:
    bad = [f"{one['test']}: {one['text']}" for one in outcomes if one["verdict"] == "failed"]
    if bad:
        pytest.fail("\n".join(bad), pytrace=False)
    suites = {one["suite"] for one in outcomes}
    assert {one["suite"] for one in outcomes if one["verdict"] == "passed"} == suites


def skip_if_missing(outcomes: list[dict[str, Any]]) -> None:
    for one in outcomes:
        if one["verdict"] == "missing":
            pytest.skip(one["text"])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("suites", TOGETHER)
def test_suites_by_the_newest_python(suites):
    python = list(PYTHONS)[-1]
    outcomes = run(python, suites)
    skip_if_missing(outcomes)
    check(outcomes)
    if int(python.split(".")[1]) >= int(COMPLETE.split(".")[1]):
        left = [(one["suite"], one["test"]) for one in outcomes if one["verdict"] == "left out"]
        gone = [
            name
            for suite in suites.split(",")
            for name in LEFT_OUT[suite]
            if not any(of == suite and fnmatchcase(one, name) for of, one in left)
        ]
        assert not gone, "no test is called so"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("python", PYTHONS)
def test_all_of_a_suite_by_each_python(suite, python, pytestconfig):
    if pytestconfig.getoption("--suites") != "all":
        pytest.skip("takes minutes: --suites all")
    outcomes = run(python, suite, "all")
    skip_if_missing(outcomes)
    check(outcomes)
