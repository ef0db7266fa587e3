"""One job of a pool, run: its answer, or what became of it. Functions are known; nothing is fetched."""

from __future__ import annotations

import operator
import threading
from multiprocessing.pool import MaybeEncodingError, RemoteTraceback  # type: ignore[attr-defined]

import pytest

from mpclient.session import Session
from mpclient.values.jobs_format import CALL, ITEM, MAP, STAR, Spec, read_result
from mpclient.values.pickling import dumps
from mpclient.worker.jobs.failures import Failures
from mpclient.worker.jobs.pools import Functions, Pool, Pools
from mpclient.worker.jobs.run_pool import PoolRunner
from mpshared.address import Address
from mpshared.errors import TaskError
from mpshared.values import NONE, TASK_ERROR, Value, by_value_tag


@pytest.fixture(scope="module")
def session():
    """A session that never connects."""
    return Session(Address.tcp("localhost", 1), b"k" * 16)


@pytest.fixture
def functions():
    return Functions()


@pytest.fixture
def run(session, functions):
    """Run a job by a function and return its answer, or raise what it raised."""
    failures = Failures("host/1", "queue 'tasks'")
    runner = PoolRunner(session, Pools(session), failures, None)
    runner.enter(Pool("p1", "s1", 0, 0, Spec("Pool-1"), functions))

    def run(shape, function, *rest):
        functions.add("d", function, 1)
        job = rest[0] if shape is None else dumps((shape, "d", *rest), session)
        result, alive = runner.run(7, job)
        assert alive is None
        return read_result(result, session)

    return run


def fails(*args, **kwargs):
    raise LookupError(args, kwargs)


def test_the_shapes(run):
    assert run(ITEM, str, 7) == "7"
    assert run(ITEM, str, (7, 8)) == "(7, 8)"
    assert run(CALL, int, ("ff",), {"base": 16}) == 255
    assert run(MAP, str, [1, 2]) == ["1", "2"]
    assert run(STAR, operator.sub, [(3, 1), (1, 3)]) == [2, -2]
    assert run(MAP, str, []) == []
    assert run(CALL, operator.not_, (1,), {}) is False


@pytest.mark.parametrize("job", [(CALL, (1,), {"a": 2}), (MAP, [1]), (STAR, [(1,)])])
def test_an_exception_is_passed_on_with_a_traceback_that_begins_in_the_function(run, job):
    with pytest.raises(LookupError) as caught:
        run(job[0], fails, *job[1:])
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "in fails" in str(cause)
    assert "run_pool.py" not in str(cause).replace("test_run_pool.py", "")


def test_system_exit_does_not_end_the_worker(run):
    with pytest.raises(SystemExit):
        run(CALL, exit, (3,), {})


def test_an_answer_that_cannot_be_pickled(run):
    with pytest.raises(
        MaybeEncodingError, match=r"Error sending result: '<unlocked _thread.lock.*lock"
    ) as caught:
        run(CALL, threading.Lock, (), {})
    assert isinstance(caught.value.__cause__, RemoteTraceback)


def test_a_job_that_cannot_be_opened(run):
    with pytest.raises(TaskError, match="job 7 of pool 'Pool-1' cannot be opened on .*'no_module_here'"):
        run(None, None, b"cno_module_here\nf\n.")


def test_a_job_of_another_python_is_not_opened(run):
    with pytest.raises(TaskError, match=r"job 7 of pool 'Pool-1' holds code from Python 3\.99"):
        run(None, None, Value(by_value_tag((3, 99)), b"would crash"))


def test_the_functions_learned_first_are_forgotten_first(functions, monkeypatch):
    monkeypatch.setattr("mpclient.worker.jobs.pools._MOST_FUNCTION_BYTES", 10)
    for number in range(4):
        functions.add(str(number), number, 4)
    assert list(functions.known) == ["2", "3"]
    functions.add("large", 0, 100)
    assert list(functions.known) == ["large"]
    functions.add("small", 0, 1)
    assert list(functions.known) == ["small"]


class TestItemsThatWereOpenedTogether:
    @pytest.fixture
    def run_items(self, session, functions):
        failures = Failures("host/1", "queue 'tasks'")
        runner = PoolRunner(session, Pools(session), failures, None)
        runner.enter(Pool("p1", "s1", 0, 0, Spec("Pool-1"), functions))

        def run_items(function, items):
            functions.add("d", function, 1)
            run = runner.runs(("", "d"))
            return [run(number, item)[0] for number, item in enumerate(items, 1)]

        return run_items

    def test_plain_answers_are_not_pickled_yet(self, run_items):
        assert run_items(operator.neg, [1, 2.5, True]) == [-1, -2.5, -1]
        assert run_items(str, [1, 2]) == ["1", "2"]

    def test_others_are(self, run_items, session):
        results = run_items(lambda n: [n] if n else None, [1, 0])
        assert [read_result(result, session) for result in results] == [[1], None]
        assert results[1] == NONE

    def test_one_fails_alone(self, run_items, session):
        one, failed, three = run_items(lambda n: 6 // n, [1, 0, 3])
        assert (one, three) == (6, 2)
        with pytest.raises(ZeroDivisionError):
            read_result(failed, session)

    def test_after_the_initializer_failed_all_do(self, session, functions):
        failures = Failures("host/1", "queue 'tasks'")
        runner = PoolRunner(session, Pools(session), failures, None)
        pool = Pool("p1", "s1", 0, 0, Spec("Pool-1"), functions)
        runner.enter(pool)
        pool.failure = Value(TASK_ERROR, b"")
        functions.add("d", operator.neg, 1)
        run = runner.runs(("", "d"))
        assert [run(number, number) for number in (1, 2)] == [(pool.failure, None)] * 2
