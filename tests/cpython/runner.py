"""Runs tests of `suite` one after the other: ``python -m tests.cpython.runner FD < names``.

    {"begin": name}
    {"end": name, "verdict": "passed" | "skipped" | "failed", "text": "…"}
    {"broken": name, "text": "…"}                                what surrounds a test has failed

RULES
* A line of JSON tells of each as it happens: who reads them sees where it hangs.
* Without names it writes those of all tests, and ends.
* SIGUSR1 has it write on standard error where its threads are.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import traceback
import unittest
from collections.abc import Iterator
from typing import Any, TextIO

from tests.cpython import suite

import mpclient

_PREFIX = f"{suite.__name__}."


class _Telling(unittest.TestResult):
    """Tells of each test as it begins and ends."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out
        self._verdict: tuple[str, str] | None = None

    def tell(self, **what: str) -> None:
        self._out.write(json.dumps(what) + "\n")
        self._out.flush()

    def startTest(self, test: unittest.TestCase) -> None:
        self._verdict = "passed", ""
        self.tell(begin=_name_of(test))

    def stopTest(self, test: unittest.TestCase) -> None:
        if self._verdict is not None:
            verdict, text = self._verdict
            self._verdict = None
            self.tell(end=_name_of(test), verdict=verdict, text=text)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        if self._verdict is not None:
            self._verdict = "skipped", reason
        elif isinstance(test, unittest.TestCase):  # some Pythons do not begin it at all
            self.tell(end=_name_of(test), verdict="skipped", text=reason)
        else:  # a whole class
            self.tell(broken=str(test), text=reason)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        text = "".join(traceback.format_exception(*err))
        if self._verdict is None:
            self.tell(broken=str(test), text=text)
        else:
            self._verdict = "failed", self._verdict[1] + text

    addFailure = addError

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self.addError(test, err)


def _name_of(test: unittest.TestCase) -> str:
    return test.id().removeprefix(_PREFIX)


def _walk(tests: Any) -> Iterator[str]:
    for one in tests:
        if isinstance(one, unittest.TestSuite):
            yield from _walk(one)
        else:
            yield _name_of(one)


def main() -> None:
    """Run what standard input names."""
    out = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    loader = unittest.defaultTestLoader
    names = sys.stdin.read().split()
    if not names:
        out.write("\n".join(_walk(loader.loadTestsFromModule(suite))))
        out.close()
        return
    mpclient.set_start_method("spawn", force=True)
    mpclient.get_logger().setLevel(vars(suite)["LOG_LEVEL"])
    loader.loadTestsFromNames(names, suite).run(_Telling(out))


if __name__ == "__main__":
    main()
