"""What cannot travel is named by the path that leads to it."""

from __future__ import annotations

import functools
import multiprocessing
import pickle
import threading

import pytest

from mpclient.pooling.refusal import explained, roots_of
from mpclient.session import Session
from mpclient.values.jobs_format import CALL, ITEM, MAP
from mpclient.values.pickling import dumps, loads
from mpshared.address import Address


@pytest.fixture(scope="module")
def session():
    """A session that never connects: pickling needs none."""
    return Session(Address.tcp("localhost", 1), b"k" * 16)


class Holder:
    def __init__(self, **held):
        self.__dict__.update(held)


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner


class Careful(Holder):
    def __getstate__(self):
        return {key: value for key, value in vars(self).items() if key != "lock"}


class Refuses:
    def __reduce__(self):
        raise RuntimeError("cannot pickle")


def refused(thing, roots, session):
    with pytest.raises(Exception) as caught:
        dumps(thing, session)
    return explained(caught.value, roots, session)


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ((LOCK,), "job.args[0] (a lock)"),
        ((1, Holder(lock=LOCK)), "job.args[1].lock (a lock)"),
        (({"a": [1, {2: LOCK}]},), "job.args[0]['a'][1][2] (a lock)"),
        ((Slotted(Holder(deep=LOCK)),), "job.args[0].inner.deep (a lock)"),
        ((Careful(lock=LOCK, other=LOCK),), "job.args[0].other (a lock)"),
        ((functools.partial(len, LOCK),), "job.args[0].args[0] (a lock)"),
        ((Holder(lock=LOCK).__init__,), "job.args[0].__self__.lock (a lock)"),
        ((lambda: LOCK,), "job.args[0]'s global 'LOCK' (a lock)"),
    ],
)
def test_the_path_leads_to_what_cannot_travel(args, path, session):
    job = (CALL, "digest", args, {})
    error = refused(job, roots_of(job), session)
    assert type(error) is TypeError
    assert str(error).startswith(f"cannot pickle '_thread.lock' object: {path} cannot travel")


def test_a_variable_of_a_closure_is_named(session):
    held = threading.Lock()
    error = refused(lambda: held, [("function", lambda: held)], session)
    assert "function's variable 'held' (a lock)" in str(error)


def test_items_are_counted_from_the_first_of_the_iterable(session):
    job = (MAP, "digest", (1, LOCK))
    assert "items[11] (a lock)" in str(refused(job, roots_of(job, 10), session))
    alone = ITEM, "digest", LOCK
    assert "items[10] (a lock)" in str(refused(alone, roots_of(alone, 10), session))


def test_an_exception_of_the_users_is_left_as_it_is(session):
    job = (CALL, "digest", (), {"key": [Refuses()]})
    error = refused(job, roots_of(job), session)
    assert (type(error), error.args) == (RuntimeError, ("cannot pickle",))
    assert "job.kwds['key'][0] (a Refuses) cannot travel" in error.__notes__[-1]


@pytest.mark.parametrize("name", ["RLock", "Event", "SimpleQueue"])
def test_what_is_the_standard_librarys_is_called_so(name, session):
    """A library's lock, say: who brings it along has changed an import in one file only."""
    held = Holder(made=getattr(multiprocessing, name)())
    job = (CALL, "digest", (held,), {})
    error = refused(job, roots_of(job), session)
    assert f"{error.args[0]}".endswith("should only be shared between processes through inheritance")
    note = error.__notes__[-1]  # from 3.14 on the pickle module has added some of its own before
    assert note.startswith(
        f"job.args[0].made (a {name}) cannot travel to a worker. It is the standard library's"
    )
    assert "`import mpclient as multiprocessing` where it is made" in note


def test_something_that_contains_itself_ends_the_search(session):
    loop = [LOCK]
    loop.insert(0, loop)
    job = (CALL, "digest", (loop,), {})
    assert "cannot travel" in str(refused(job, roots_of(job), session))


def test_many_values_in_a_row_are_what_they_are_alone(session):
    shared = [1, 2]
    values = [1, "text", shared, [shared, shared], lambda: 5, bytearray(100_000), None, {"a": shared}]
    for value in values:
        opened = loads(dumps(value, session), session)
        assert opened() == 5 if callable(opened) else opened == value


def test_a_value_that_cannot_be_pickled_does_not_spoil_the_next(session):
    with pytest.raises(TypeError):
        dumps([1, LOCK], session)
    with pytest.raises(pickle.PicklingError, match="nothing"):
        dumps(Raises(), session)
    assert loads(dumps([1, 2], session), session) == [1, 2]


class Raises:
    def __reduce__(self):
        raise pickle.PicklingError("nothing")
