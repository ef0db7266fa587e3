"""What is said of a job that failed."""

from __future__ import annotations

import os
import pickle
import sys
from functools import partial

import pytest

from mpclient.worker.jobs.failures import Failures, name_of
from mpshared.errors import TaskError
from mpshared.values import TASK_ERROR, Value


@pytest.fixture
def failures():
    return Failures("host/1", "queue 'tasks'")


def opened(blob: object) -> TaskError:
    assert isinstance(blob, Value)
    assert blob.tag == TASK_ERROR
    error = pickle.loads(blob.data)
    assert isinstance(error, TaskError)
    return error


def caught(call) -> BaseException:
    try:
        call()
    except BaseException as err:
        return err
    raise AssertionError("nothing was raised")


class Job:
    def __call__(self):
        pass

    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (len, "builtins.len"),
        (os.path.join, f"{os.path.__name__}.join"),
        (partial(partial(len, "x")), "partial(builtins.len)"),
        (Job(), f"{__name__}.Job object"),
        (Job, f"{__name__}.Job"),
        ("x".upper, "str.upper"),
    ],
)
def test_names_of_jobs(task, name):
    assert name_of(task) == name


def test_an_exception_with_its_cause(failures):
    def breaks():
        try:
            {}["a"]
        except KeyError as err:
            raise ValueError("worse") from err

    error = opened(failures.raised(breaks, caught(breaks)))
    assert "breaks raised ValueError: worse (on " in error.text
    assert (error.pid, error.worker, error.fields["type"]) == (os.getpid(), "host/1", "ValueError")
    assert "KeyError: 'a'" in error.traceback
    assert "The above exception was the direct cause" in error.traceback
    assert failures.count == 1


def test_an_endless_traceback_is_cut(failures):
    def breaks():
        raise ValueError("x" * 1_000_000)

    error = opened(failures.raised(breaks, caught(breaks)))
    assert len(error.traceback) < 70_000
    assert "characters left out" in error.traceback
    assert len(error.text) < 5_000


def test_an_exception_whose_text_fails(failures):
    class Nasty(Exception):
        def __str__(self):
            raise RuntimeError

    def breaks():
        raise Nasty

    assert "its text cannot be had: RuntimeError" in opened(failures.raised(breaks, caught(breaks))).text


def test_what_a_host_lacks_is_named(failures):
    lacks = caught(lambda: __import__("no_such_module_here"))
    text = opened(failures.unreadable(4, lacks)).text
    assert "job 4 of queue 'tasks'" in text
    assert "'no_such_module_here' is not on this host" in text
    assert "--pythonpath" in text
    assert "cluster.ship()" in text


@pytest.mark.parametrize(
    ("err", "words"),
    [
        (AttributeError("Can't get attribute 'f' on <module '__main__'>"), "use mpclient"),
        (AttributeError("Can't get attribute 'f' on <module 'm'>"), "A module here differs"),
        (ImportError("cannot import name 'x'"), "A module here differs"),
        (EOFError("Ran out of input"), "must be the same here"),
    ],
)
def test_what_else_may_be_missing(failures, err, words):
    assert words in opened(failures.unreadable(4, err)).text


def test_an_item_whose_repr_fails(failures):
    assert "its repr raised RuntimeError" in opened(failures.not_callable(1, Job())).text


def test_another_python(failures):
    text = opened(failures.wrong_python(2, (3, 99), [[3, 13], [3, 11]])).text
    assert "holds code from Python 3.99" in text
    assert "have Python 3.11, 3.13" in text
    here = "{}.{}".format(*sys.version_info)
    assert f"have Python {here}" in opened(failures.wrong_python(2, (3, 99), [])).text


def test_an_answer_that_is_too_large(failures):
    text = opened(failures.too_big(3, 3 << 20, ValueError("the limit"))).text
    assert "answered 3M bytes" in text
    assert "the limit" in text
