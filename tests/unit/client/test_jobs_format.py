"""Jobs' results and specs to values and back, without any server."""

from __future__ import annotations

import pickle
import threading
from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]

import pytest

from mpclient.session import Session
from mpclient.values.jobs_format import (
    Shipped,
    Spec,
    digest_of,
    dump_raised,
    dump_source,
    dump_spec,
    load_source,
    load_spec,
    read_result,
)
from mpclient.values.pickling import dumps
from mpshared.address import Address
from mpshared.errors import TaskError, WorkerDied
from mpshared.values import RAISED, TASK_ERROR, Value, by_value_tag, tag_of

FIELDS = {"task": "shop.sell", "host": "far", "pid": 7, "worker": "far/1", "type": "ValueError"}


@pytest.fixture(scope="module")
def session():
    """A session that never connects: pickling needs none."""
    return Session(Address.tcp("localhost", 1), b"k" * 16)


def raised(err: BaseException, session: Session) -> Value:
    blob = dump_raised(err, "shop.sell raised it", "Traceback: …\n", dict(FIELDS), session)
    assert tag_of(blob) == RAISED
    return blob


class TwoNeeded(Exception):
    """An exception that pickles and cannot be rebuilt."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class Odd(Exception):
    """An exception that comes back as something else."""

    def __reduce__(self):
        return str, ("no exception",)


def test_an_answer_comes_back(session):
    for answer in (None, 3, [1, None], {"a": b"x"}, bytearray(100_000)):
        assert read_result(dumps(answer, session), session) == answer


def test_an_exception_comes_back_with_the_remote_traceback_as_its_cause(session):
    with pytest.raises(ValueError, match="^too few$") as caught:
        read_result(raised(ValueError("too few"), session), session)
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert str(cause) == '\n"""\nTraceback: …\n"""'


def test_notes_and_arguments_of_an_exception_come_along(session):
    err = OSError(2, "no such thing", "thing")
    err.add_note("look again")
    with pytest.raises(FileNotFoundError) as caught:
        read_result(raised(err, session), session)
    assert caught.value.filename == "thing"
    assert caught.value.__notes__ == ["look again"]


def test_an_exception_of_a_local_class_comes_along_by_value(session):
    class Local(Exception):
        pass

    with pytest.raises(Local, match="here"):
        read_result(raised(Local("here"), session), session)


def test_system_exit_is_an_exception_like_others(session):
    with pytest.raises(SystemExit) as caught:
        read_result(raised(SystemExit(3), session), session)
    assert caught.value.code == 3


@pytest.mark.parametrize(
    ("err", "why"),
    [
        (TwoNeeded("a", "b"), "cannot be rebuilt here (TypeError"),
        (Odd(), "rebuilt as a str"),
        (ValueError(threading.Lock()), "cannot be pickled there (TypeError)"),
    ],
)
def test_what_cannot_be_rebuilt_is_a_task_error_that_says_all(err, why, session):
    with pytest.raises(TaskError) as caught:
        read_result(raised(err, session), session)
    error = caught.value
    assert error.text.startswith("shop.sell raised it. ")
    assert why in error.text
    assert (error.task, error.host, error.pid, error.worker) == ("shop.sell", "far", 7, "far/1")
    assert error.fields["type"] == "ValueError"
    assert error.traceback == "Traceback: …\n"
    assert error.__cause__ is None


def test_an_exception_of_another_python_is_not_opened(session):
    data = pickle.dumps((b"would crash", (3, 99), "it raised", "trace", FIELDS))
    with pytest.raises(TaskError, match=r"code from Python 3\.99"):
        read_result(Value(RAISED, data), session)


def test_a_task_error_is_raised_as_it_is(session):
    died = WorkerDied("job 3 was set aside", **FIELDS)
    with pytest.raises(WorkerDied, match="set aside"):
        read_result(Value(TASK_ERROR, pickle.dumps(died)), session)


def test_a_task_error_that_was_answered_is_an_answer(session):
    assert isinstance(read_result(dumps(TaskError("kept"), session), session), TaskError)


def test_a_digest_names_a_value_by_all_that_is_in_it():
    blobs = [
        b"a",
        b"b",
        Value(by_value_tag(), b"a"),
        Value(by_value_tag((3, 99)), b"a"),
        Value(0, b"a", (b"x", b"y")),
        Value(0, b"a", (b"xy",)),
        Value(0, b"a", (), ("ident",)),
    ]
    assert len({digest_of(blob) for blob in blobs}) == len(blobs)
    assert digest_of(b"a") == digest_of(bytes(bytearray(b"a")))
    assert len(digest_of(b"a")) == 32


def test_specs_and_sources_come_back():
    spec = Spec("Pool-1", "d1", (Shipped("shop", "d2", True), Shipped("shop.till", "d3", False)))
    assert load_spec(dump_spec(spec)) == spec
    assert load_spec(dump_spec(Spec())) == Spec()
    assert load_source(dump_source(b"x = 1\n", "/home/x.py")) == (b"x = 1\n", "/home/x.py")
