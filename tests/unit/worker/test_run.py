"""Running a job that was opened with the others of its batch: its name leads where it leads now."""

from __future__ import annotations

import pickle
import sys
import types

import pytest

from mpclient.worker.jobs.desk import is_answer
from mpclient.worker.jobs.failures import Failures
from mpclient.worker.jobs.run import Runner


def opened(result):
    if is_answer(result):
        return result
    return pickle.loads(result if type(result) is bytes else result.data)


@pytest.fixture
def runner():
    return Runner(None, Failures("worker", "queue 'tasks'"))  # type: ignore[arg-type]  # plain values only


@pytest.fixture
def run(runner):
    def run(name, *args):
        result, alive = runner.runs(("of_this_test", name))(7, args)
        assert alive is None
        return opened(result)

    yield run
    sys.modules.pop("of_this_test", None)


@pytest.fixture
def module(monkeypatch):
    module = types.ModuleType("of_this_test")
    exec("def work(*args): return args", module.__dict__)
    monkeypatch.setitem(sys.modules, "of_this_test", module)
    return module


def test_what_is_there_now_is_called(runner, module):
    run = runner.runs(("of_this_test", "work"))
    answers = [run(1, (1, 2))]
    module.work = max
    answers.append(run(2, (1, 2)))
    module.work = None
    answers.append(run(3, (1, 2)))
    module.work = min
    answers.append(run(4, (1, 2)))
    assert [opened(answer) for answer, _ in answers[:2]] == [(1, 2), 2]
    assert "of_this_test.work cannot be called" in opened(answers[2][0]).text
    assert opened(answers[3][0]) == 1


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
