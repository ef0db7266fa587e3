"""Runs one suite of `borrowed`: ``python -m tests.suites.child SUITE [all] [PATTERN …]``.

    {"test": "ManagerLockTests.test_with", "verdict": "passed", "text": "", "took_s": 0.01}

RULES
* A line of JSON per test, as it ends: passed, skipped, failed, or left out (see `left_out`). A Python without
  the suite's module tells "missing" of the suite.
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
    """Tells of each test as it ends; one may take so long."""

    def __init__(self, limit_s: float) -> None:
        super().__init__()
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
        tell(name_of(test), verdict, text, time.monotonic() - self._started_s)


def tell(test: str, verdict: str, text: str = "", took_s: float = 0.0) -> None:
    print(
        json.dumps({"test": test, "verdict": verdict, "text": text, "took_s": round(took_s, 2)}), flush=True
    )


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
                tell(name, "left out", why)
            else:
                yield kind(method)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the whole package is missing
        return False


def main(suite: str, *patterns: str) -> None:
    if not _is_there(SUITES[suite].module):
        version = "{}.{}".format(*sys.version_info[:2])
        tell(suite, "missing", f"this Python {version} was installed without {SUITES[suite].module}")
        return
    slow = "all" in patterns
    faulthandler.enable()
    vars(import_module("test.support"))["verbose"] = False  # some print how long they took
    with testing.running_cluster(SUITES[suite].processes) as cluster:
        os.environ.update(testing.environment(cluster))  # for the programs that tests start
        ground = Ground(cluster, cluster.Manager(), cluster.get_context("spawn"))
        tests = chosen(suite, ground, [one for one in patterns if one != "all"], slow=slow)
        unittest.TestSuite(tests).run(_Telling(_SLOW_LIMIT_S if slow else _LIMIT_S))


if __name__ == "__main__":
    main(*sys.argv[1:])
