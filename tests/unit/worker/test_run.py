"""Running a job that was opened with the others of its batch: its name leads where it leads now."""

from __future__ import annotations

import pickle
import sys
import types

import pytest

from mpclient.worker.failures import Failures
from mpclient.worker.run import Runner


@pytest.fixture
def run():
    runner = Runner(None, Failures("worker", "queue 'tasks'"))  # type: ignore[arg-type]  # plain values only

    def run(name, *args):
        result, alive = runner.run(7, (("of_this_test", name), args))
        assert alive is None
        return pickle.loads(result if type(result) is bytes else result.data)

    yield run
    sys.modules.pop("of_this_test", None)


@pytest.fixture
def module(monkeypatch):
    module = types.ModuleType("of_this_test")
    exec("def work(*args): return args", module.__dict__)
    monkeypatch.setitem(sys.modules, "of_this_test", module)
    return module


def test_what_is_there_now_is_called(run, module):
    assert run("work", 1, "x") == (1, "x")
    module.work = max
    assert run("work", 1, 2) == 2


def test_a_name_that_leads_nowhere(run, module):
    del module.work
    assert "job 7 of queue 'tasks' cannot be opened" in run("work").text


def test_a_name_that_leads_to_nothing_to_call(run, module):
    module.work = "text"
    assert "of_this_test.work cannot be called" in run("work").text


def test_a_module_that_was_dropped_is_imported_again(run, tmp_path, monkeypatch):
    (tmp_path / "of_this_test.py").write_text("def work(): return 'imported'")
    monkeypatch.syspath_prepend(tmp_path)
    assert run("work") == "imported"


def test_a_module_that_is_not_there(run):
    assert "No module named 'of_this_test'" in run("work").text
