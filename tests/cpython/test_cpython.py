"""Some of CPython's own tests, with `mpclient` in place of `multiprocessing`; all: scripts/cpython-tests."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from tests.cpython import page
from tests.cpython.driver import Outcome, names_of_all, run
from tests.cpython.left_out import LEFT_OUT, LINES
from tests.cpython.source import MISSING, find

SELECTED = (
    *("MiscTestCase.test__all__", "OtherTest.*", "TestInvalid*", "TestManagerExceptions.*"),
    *("TestStartMethod.test_set_get", "TestSimpleQueue.*", "TestWait.test_neg_timeout"),
    *("WithManagerTestContainers.*", "WithManagerTestMyManager.test_mymanager"),
    *("WithProcessesTestArray.*", "WithProcessesTestCondition.test_notify"),
    *("WithProcessesTestConnection.*", "WithProcessesTestListener.*", "WithProcessesTestLock.*"),
    *("WithProcessesTestPool.test_[as]*", "WithProcessesTestPoolWorkerErrors.*"),
    *("WithProcessesTestProcess.test_close", "WithProcessesTestQueue.test_[gpq]*"),
    *("WithProcessesTestSemaphore.*", "WithProcessesTestSubclassingProcess.test_subclassing"),
    "WithProcessesTestValue.*",
)
"""At least one of what each part of the module does: each starts no more than a few Processes."""


@pytest.mark.hosts
@pytest.mark.timeout(300)
@pytest.mark.skipif(find() is None, reason=MISSING)
def test_some_of_them():
    names = [name for name in names_of_all() if any(fnmatchcase(name, one) for one in SELECTED)]
    assert len(names) > 50
    told: list[Outcome] = []
    outcomes = run(names, told.append)
    assert [outcome for outcome in outcomes if not outcome.good] == []
    assert {outcome.name for outcome in outcomes} == set(names)
    assert {outcome for outcome in outcomes if outcome.verdict != "left out"} == set(told)


def test_the_page_tells_what_is_left_out():
    text = page.PAGE.read_text("utf-8")
    rows = [*map(page.row_of, LEFT_OUT), *map(page.row_of_line, LINES)]
    assert [row for row in rows if row not in text] == [], "scripts/cpython-tests writes the page anew"
