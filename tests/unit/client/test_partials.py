"""The recipe's jobs on their short way: the same for everybody as on the usual one."""

from __future__ import annotations

import copyreg
import importlib
import math
import operator
import pickle
import pickletools
import sys
import types
import weakref
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpclient.values import partials, rows
from mpclient.values.pickling import dumps
from mpserve.dispatch.stock_forms import pair_around
from mpshared.bunch import Bunch
from mpshared.symbolic import load as symbolic_load

PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
) | st.binary(max_size=5)


def top_level(*args):
    return args


def parts(job):
    return job.func, job.args, job.keywords


@given(st.lists(PLAIN, max_size=6))
def test_any_unpickler_opens_it(args):
    job = partial(top_level, *args)
    data = partials.dump(job)
    if data is None:
        assert not partials._are_apart(args)
        return
    assert parts(pickle.loads(data)) == parts(job)
    assert parts(pickle._loads(data)) == parts(job)  # type: ignore[attr-defined]  # that in Python is stricter
    assert partials.load(data) == (top_level, tuple(args))
    assert [*pickletools.genops(data)]


def test_the_server_opens_it():
    data = partials.dump(partial(operator.mul, 3, "x"))
    assert data is not None
    assert "partial" in repr(symbolic_load(data))


def test_clients_of_the_standard_library_are_given_it():
    job = partial(operator.mul, 3, "x")
    data = partials.dump(job)
    assert data is not None
    kind, value = pickle.loads(b"".join(pair_around(data))[4:])
    assert kind == "#RETURN"
    assert parts(value) == parts(job)


@pytest.mark.parametrize("function", [operator.mul, math.sqrt, len, int, top_level, pickle.PickleBuffer])
def test_functions_and_classes_that_others_find(function):
    data = partials.dump(partial(function, 4))
    assert data is not None
    assert partials.load(data) == (function, (4,))
    assert parts(pickle.loads(data)) == (function, (4,), {})


class Work:
    def __call__(self, *args):
        return args

    work = __call__


class NoHash(Work):
    def __hash__(self):
        raise LookupError("no code of a value's runs here")


def with_attribute():
    job = partial(len, "x")
    job.note = "kept"  # type: ignore[attr-defined]
    return job


@pytest.mark.parametrize(
    "job",
    [
        partial(int, "7", base=8),
        partial(len, [1]),
        partial(len, "x" * 2000),
        partial(lambda: 1),
        partial([].append, 1),
        partial("abc".join, "x"),
        partial(Work().work, 1),
        partial(Work(), 1),
        partial(NoHash(), 1),
        partial(Work.work, None),
        with_attribute(),
    ],
)
def test_others_go_the_usual_way(job):
    assert partials.dump(job) is None


def test_long_arguments_are_not_written_to_find_out(monkeypatch):
    monkeypatch.setattr(pickle, "dumps", None)
    assert partials.dump(partial(len, bytes(2000))) is None


def test_a_function_that_nobody_finds_is_not_kept():
    def local(number):
        return number

    assert partials.dump(partial(local, 1)) is None
    gone = weakref.ref(local)
    del local
    assert gone() is None


def test_what_is_registered_for_partials_counts(monkeypatch):
    monkeypatch.setitem(copyreg.dispatch_table, partial, lambda _job: (int, ()))
    assert partials.dump(partial(len, "x")) is None


class TestNames:
    """Where a name leads is looked up each time, on both sides."""

    @pytest.fixture
    def module(self, monkeypatch):
        module = types.ModuleType("of_this_test")
        exec("def work(): return 1", module.__dict__)
        monkeypatch.setitem(sys.modules, "of_this_test", module)
        return module

    def test_a_function_replaced_under_its_name_goes_the_usual_way(self, module):
        job = partial(module.work)
        assert partials.dump(job) is not None
        module.work = len
        assert partials.dump(job) is None

    def test_the_one_that_is_there_now_is_called(self, module):
        data = partials.dump(partial(module.work))
        assert data is not None
        module.work = len
        assert partials.load(data) == (len, ())
        module.work = "nothing to call"
        assert partials.load(data) is None
        del module.work
        assert partials.load(data) is None

    def test_of_the_main_module_goes_the_usual_way(self, module, monkeypatch):
        module.work.__module__ = "__main__"
        monkeypatch.setattr(sys.modules["__main__"], "work", module.work, raising=False)
        assert partials.dump(partial(module.work)) is None

    def test_a_module_that_is_not_imported_is_left_to_the_usual_way(self, module, monkeypatch):
        data = partials.dump(partial(module.work))
        assert data is not None
        monkeypatch.delitem(sys.modules, "of_this_test")
        assert partials.load(data) is None
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("of_this_test")

    def test_many_functions_are_not_all_remembered(self, module):
        for number in range(1000):
            exec(f"def work{number}(): return {number}", module.__dict__)
            data = partials.dump(partial(getattr(module, f"work{number}")))
            assert data is not None
            call = partials.load(data)
            assert call is not None
            assert call[0]() == number
        assert len(partials._heads) <= partials._KEPT


@given(st.binary(max_size=30), st.booleans())
def test_whatever_the_bytes_it_is_opened_or_left(data, begins):
    found = partials.load(partials._BEGIN + data + b"tR." if begins else data)
    assert found is None or callable(found[0])


class TestMany:
    """Jobs of one function are written and opened together, and are the same as one by one."""

    @given(st.lists(st.lists(PLAIN, max_size=5), min_size=4, max_size=40))
    def test_each_is_a_job_like_any_other(self, rows):
        bunch = partials.dump_all([partial(top_level, *args) for args in rows])
        assert bunch is not None
        jobs = bunch.cut()
        assert [parts(pickle.loads(data)) for data in jobs] == [(top_level, tuple(args), {}) for args in rows]
        assert [partials.load(data) for data in jobs] == [(top_level, tuple(args)) for args in rows]
        assert partials.load_all(bunch) == ((__name__, "top_level"), [tuple(args) for args in rows])

    @given(st.lists(st.lists(PLAIN, max_size=5), min_size=1, max_size=40))
    def test_those_that_were_written_one_by_one_are_opened_together(self, rows):
        jobs = [partials.dump(partial(top_level, *args)) for args in rows]
        if None not in jobs:  # a text that is there twice
            opened = partials.load_all(bunch_of(jobs))
            assert opened == ((__name__, "top_level"), [tuple(args) for args in rows])

    @pytest.mark.parametrize("text", ["twice", b"twice", "x" * 300])
    def test_a_text_that_many_have(self, text):
        jobs = [partial(top_level, text, number, text) for number in range(20)]
        bunch = partials.dump_all(jobs)
        assert bunch is not None
        assert [parts(pickle.loads(data)) for data in bunch] == [parts(job) for job in jobs]
        assert partials.load_all(bunch) == ((__name__, "top_level"), [job.args for job in jobs])
        assert partials.dump(jobs[0]) is None

    @pytest.mark.parametrize(
        "job",
        [
            len,
            partial(int, "8"),
            partial(len, [1]),
            partial(len, "x" * 2000),
            partial(len, rows.BETWEEN),
            partial(len, b"..." + rows._CUT),
            partial(int, "8", base=8),
            with_attribute(),
        ],
    )
    @pytest.mark.parametrize("at", [0, 7, 19])
    def test_with_another_among_them_they_go_one_by_one(self, job, at):
        jobs = [partial(len, "abc") for _ in range(20)]
        jobs[at] = job
        assert partials.dump_all(jobs) is None

    @pytest.mark.parametrize("args", [[1 << 10_000], [None] * 2000, [0.5] * 200], ids=["a", "many", "some"])
    def test_long_ones_go_one_by_one_in_as_many_messages_as_they_need(self, args):
        assert partials.dump_all([partial(max, *args) for _ in range(20)]) is None

    def test_of_a_function_that_others_do_not_find(self):
        assert partials.dump_all([partial(lambda number: number, 1)] * 20) is None

    def test_a_batch_of_several_functions_is_opened_one_by_one(self):
        jobs = [partials.dump(partial(function, 1)) for function in (operator.neg, operator.pos)]
        assert partials.load_all(bunch_of(jobs * 10)) is None

    @pytest.mark.parametrize(
        ("index", "change"),
        [
            (0, lambda data: b"\x80\x05" + data[2:]),  # of a pickler that refers back
            (3, lambda data: data[:-3] + b"K\x01tR."),  # the same length is needed elsewhere
            (5, lambda data: data[:-3] + b"0tR."),
            (5, lambda data: data[:-3] + b"h\x07tR."),
            (5, lambda data: data[:-3] + b"].tR."),
            (9, lambda _data: b"N."),
        ],
    )
    def test_what_was_not_written_so_is_opened_one_by_one(self, index, change):
        jobs = [partials.dump(partial(operator.mul, number, 3)) for number in range(20)]
        jobs[index] = change(jobs[index])
        opened = partials.load_all(bunch_of(jobs))
        assert opened is None or opened[1] == [pickle.loads(data).args for data in jobs]

    def test_values_that_end_elsewhere_are_opened_one_by_one(self):
        bunch = partials.dump_all([partial(operator.mul, number, 3) for number in range(20)])
        assert bunch is not None
        moved = [bunch.sizes[0] + 1, bunch.sizes[1] - 1, *bunch.sizes[2:]]
        assert partials.load_all(Bunch(bunch.data, moved)) is None


def bunch_of(values):
    return Bunch(b"".join(values), [*map(len, values)])


def test_it_is_what_dumps_writes():
    job = partial(operator.mul, 6, 7)
    assert dumps(job, None) == partials.dump(job)
