"""Runs suites of `borrowed` on one server: ``python -m tests.suites.child SUITE[,SUITE…] [all] [NAME …]``.

    {"suite": "locks", "test": "ManagerLockTests.test_with", "verdict": "passed", "text": "", "took_s": 0.01}

RULES
* A line of JSON per test, as it ends: passed, skipped, failed, or left out (see `left_out`). A Python without
  a suite's module tells "missing" of the suite.
* One that hangs ends the process, after it said on standard error where its threads were.
* Without `all` those that take long are not run.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
import traceback
import unittest
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tests.suites.borrowed import SUITES, Ground
from tests.suites.left_out import reason_for

from mpclient import testing

_LIMIT_S = 60.0
_SLOW_LIMIT_S = 600.0


class _Telling(unittest.TestResult):
    """Tells of each test of a suite as it ends; one may take so long."""

    def __init__(self, suite: str, limit_s: float) -> None:
        super().__init__()
        self._suite = suite
        self._limit_s = limit_s

    def startTest(self, test: unittest.TestCase) -> None:
        self._started_s = time.monotonic()
        self._failed = ""
        faulthandler.dump_traceback_later(self._limit_s, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:
        faulthandler.cancel_dump_traceback_later()
        if self._failed:
            self._tell(test, "failed", self._failed)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._tell(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._tell(test, "skipped", reason)

    def addError(self, test: Any, err: Any) -> None:
        self._failed += "".join(traceback.format_exception(*err))

    addFailure = addError

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self.addError(test, err)

    def _tell(self, test: unittest.TestCase, verdict: str, text: str = "") -> None:
        tell(self._suite, name_of(test), verdict, text, time.monotonic() - self._started_s)


def tell(suite: str, test: str, verdict: str, text: str = "", took_s: float = 0.0) -> None:
    told = {"suite": suite, "test": test, "verdict": verdict, "text": text, "took_s": round(took_s, 2)}
    print(json.dumps(told), flush=True)


def name_of(test: unittest.TestCase) -> str:
    return f"{type(test).__name__}.{test._testMethodName}"


def chosen(suite: str, ground: Ground, patterns: list[str], *, slow: bool) -> Iterator[unittest.TestCase]:
    """Yield the tests to run; tell of those that are left out."""
    for kind in SUITES[suite].classes(ground):
        for method in unittest.defaultTestLoader.getTestCaseNames(kind):
            name = f"{kind.__name__}.{method}"
            if patterns and not any(fnmatchcase(name, pattern) for pattern in patterns):
                continue
            if (why := reason_for(suite, name, slow=slow)) is not None:
                tell(suite, name, "left out", why)
            else:
                yield kind(method)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the whole package is missing
        return False


def is_there(suite: str) -> bool:
    """Tell whether this Python has what a suite is made of; if not, say so."""
    if _is_there(SUITES[suite].module):
        return True
    version = "{}.{}".format(*sys.version_info[:2])
    tell(suite, "", "missing", f"this Python {version} was installed without {SUITES[suite].module}")
    return False


def main(suites: str, *patterns: str) -> None:
    names = [name for name in suites.split(",") if is_there(name)]
    if not names:
        return
    slow = "all" in patterns
    faulthandler.enable()
    vars(import_module("test.support"))["verbose"] = False  # some print how long they took
    with testing.running_cluster(max(SUITES[name].processes for name in names)) as cluster:
        os.environ.update(testing.environment(cluster))  # for the programs that tests start
        ground = Ground(cluster, cluster.Manager(), cluster.get_context("spawn"))
        for name in names:
            tests = chosen(name, ground, [one for one in patterns if one != "all"], slow=slow)
            unittest.TestSuite(tests).run(_Telling(name, _SLOW_LIMIT_S if slow else _LIMIT_S))


if __name__ == "__main__":
    main(*sys.argv[1:])
