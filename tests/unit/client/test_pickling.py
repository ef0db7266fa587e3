"""Values and keys on their way to blobs and back, without any server."""

from __future__ import annotations

import array
import collections
import contextlib
import datetime
import gc
import pickle
import signal
import sys
import types
import weakref
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpclient.session import Session
from mpclient.values import newer, pickling
from mpclient.values.pickling import BUFFER_BYTES, dumps, dumps_key, importable, loads, loads_all, loads_key
from mpshared.address import Address
from mpshared.bunch import Bunch
from mpshared.errors import BadValue
from mpshared.values import (
    BY_VALUE,
    NONE,
    PICKLE,
    PickledKey,
    Pieces,
    Value,
    by_value_tag,
    needs_python,
    tag_of,
)


@pytest.fixture(scope="module")
def session():
    """A session that never connects: pickling needs none."""
    return Session(Address.tcp("localhost", 1), b"k" * 16)


Plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(value=Plain)
def test_plain_values_stand_alone(value, session):
    blob = dumps(value, session)
    assert type(blob) is bytes
    assert loads(blob, session) == value
    assert (blob == NONE) == (value is None)


def top_level():
    return "found by name"


class Name(str):
    __slots__ = ()


def test_code_that_others_can_import_goes_by_name(session):
    for value in (len, datetime.datetime, collections.OrderedDict, str.upper, [1].append, pickle.dumps):
        assert tag_of(dumps(value, session)) == PICKLE
    assert type(dumps(datetime.date(2020, 1, 1), session)) is bytes


def test_code_that_others_cannot_import_goes_by_value(session):
    captured = [1, 2]

    def closure():
        return captured

    class Local:
        def get(self):
            return 5

    cases = {
        "lambda": lambda: 5,
        "closure": closure,
        "class": Local,
        "instance": Local(),
        "method": Local().get,
    }
    for value in cases.values():
        blob = dumps([value], session)
        assert tag_of(blob) == BY_VALUE
        assert needs_python(blob) == sys.version_info[:2]
    assert loads(dumps([Local()], session), session)[0].get() == 5
    assert loads(dumps(lambda x: x + 1, session), session)(1) == 2


def test_code_by_value_keeps_the_name_of_its_file(session):
    def outer():
        return lambda: 1

    there = loads(dumps(outer, session), session)
    assert there.__code__.co_filename == there().__code__.co_filename == __file__


@pytest.mark.skipif(not newer.LAZY, reason="this Python imports nothing lazily")
def test_what_code_by_value_imports_lazily_is_imported_before_it_goes(session):
    """With the module within a package that it asks for: what loads the code has to import that as well."""
    module = types.ModuleType("__main__")
    lines = (
        "lazy import xml.dom.pulldom",
        "lazy from math import sqrt",
        "lazy import not_there",
        "def roots(): return [(lambda: sqrt(n))() for n in (4, 9)], xml.dom.pulldom.START_ELEMENT",
    )
    exec("\n".join(lines), module.__dict__)
    blob = dumps(module.roots, session)
    assert b"xml.dom.pulldom" in blob.data
    assert loads(blob, session)() == ([2, 3], "START_ELEMENT")


@pytest.mark.skipif(not newer.SENTINEL, reason="this Python has no sentinels")
def test_a_sentinel_of_the_main_file_is_one_object_wherever_it_comes(session, monkeypatch):
    module = types.ModuleType("__main__")
    exec("NONE = sentinel('NONE', repr='<none>')\ndef is_none(x): return x is NONE", module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    value, function = dumps([module.NONE], session), dumps(module.is_none, session)
    assert loads(value, session) == [module.NONE]
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))  # as in a worker
    (there,) = loads(value, session)
    assert repr(there) == "<none>"
    assert there is not module.NONE
    assert loads(function, session)(there)
    back = dumps(there, session)
    monkeypatch.setitem(sys.modules, "__main__", module)
    assert loads(back, session) is module.NONE


@pytest.mark.skipif(not newer.SENTINEL, reason="this Python has no sentinels")
def test_sentinels_of_the_main_file_that_it_does_not_have_by_name_are_refused(session, monkeypatch):
    """As by pickle: where they come to nobody could tell two of one name apart."""
    module = types.ModuleType("__main__")
    exec("A, B = sentinel('X'), sentinel('X')", module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    for one in (module.A, module.B):
        with pytest.raises(pickle.PicklingError, match="X"):
            dumps(one, session)


@pytest.mark.skipif(bool(newer.SENTINEL), reason="this Python has sentinels")
def test_a_sentinel_of_the_main_file_is_refused_where_there_are_none():
    with pytest.raises(TypeError, match="needs Python 3.15"):
        newer.main_sentinel("NONE", "NONE")


def test_main_goes_by_value_also_where_it_could_be_imported(session, monkeypatch):
    module = types.ModuleType("__main__")
    exec("class Thing:\n    def get(self): return 'main'", module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    blob = dumps(module.Thing(), session)
    assert tag_of(blob) == BY_VALUE
    monkeypatch.undo()
    assert loads(blob, session).get() == "main"


def test_a_function_replaced_under_its_name_goes_by_value(session, monkeypatch):
    original = top_level
    monkeypatch.setattr(sys.modules[__name__], "top_level", lambda: "another")
    assert not importable(original)
    assert loads(dumps(original, session), session)() == "found by name"


def test_code_of_another_python_is_refused_with_both_versions(session):
    other = (sys.version_info[0], sys.version_info[1] + 1)
    blob = Value(by_value_tag(other), b"whatever")
    with pytest.raises(BadValue, match=rf"Python 3\.{other[1]}, which this Python 3\.{other[1] - 1}"):
        loads(blob, session)


def test_large_buffers_travel_beside(session):
    small, large = (pickle.PickleBuffer(bytearray(n)) for n in (BUFFER_BYTES - 1, BUFFER_BYTES))
    assert type(dumps([small], session)) is bytes
    blob = dumps([large, small], session)
    assert isinstance(blob, Value)
    assert [len(b) for b in blob.buffers] == [BUFFER_BYTES]
    assert len(blob.data) < BUFFER_BYTES + 200
    received = Value(blob.tag, blob.data, tuple(bytes(b) for b in blob.buffers))
    opened = loads(received, session)
    assert opened == [bytearray(BUFFER_BYTES), bytearray(BUFFER_BYTES - 1)]


LONG = bytes(1 << 20)


@pytest.mark.parametrize("value", [LONG, "x" * len(LONG), [1, LONG, LONG + b"other", "end"]])
def test_what_is_only_sent_stays_in_pieces(value, session):
    pieces: Any = dumps(value, session, whole=False)
    assert type(pieces) is Pieces
    assert pieces.data == dumps(value, session)
    assert loads(pieces.data, session) == value
    assert LONG not in [value, *value] or any(part is LONG for part in pieces.parts)


@pytest.mark.parametrize("value", ["short", [1], bytearray(LONG), [LONG, bytearray(LONG)]])
def test_what_is_small_or_may_be_changed_is_whole_all_the_same(value, session):
    blob = dumps(value, session, whole=False)
    assert type(blob) is bytes
    assert loads(blob, session) == value


def test_what_has_more_than_a_pickle_is_whole_beside_it(session):
    large = array.array("d", [0.5] * BUFFER_BYTES)
    blob = dumps([LONG, pickle.PickleBuffer(large)], session, whole=False)
    assert type(blob) is Value
    assert type(blob.data) is bytes


def test_buffers_that_are_not_contiguous_stay_inside(session):
    class Strided:
        def __reduce_ex__(self, _protocol):
            return bytes, (bytes(memoryview(bytearray(2 * BUFFER_BYTES))[::2]),)

    assert loads(dumps(array.array("d", [1.5] * 10_000), session), session)[5] == 1.5
    assert len(loads(dumps(Strided(), session), session)) == BUFFER_BYTES


def test_what_cannot_be_pickled_raises_what_pickle_raises(session):
    with pytest.raises(TypeError, match="cannot pickle"):
        dumps((i for i in range(3)), session)


def test_open_files_are_refused_and_standard_streams_are_the_receivers(session):
    with (
        Path(__file__).open() as opened,
        pytest.raises(TypeError, match=r"cannot pickle '_io.TextIOWrapper'"),
    ):
        dumps([opened, lambda: None], session)
    back, _ = loads(dumps([sys.stdout, lambda: None], session), session)
    assert back is sys.stdout


def test_references_are_claimed_once_for_each_mention(session):
    data = pickle.dumps("text")
    assert (
        loads_all([Value(PICKLE, data, (), ("a", "b")), data, Value(PICKLE, data, (), ("a",))], session)
        == ["text"] * 3
    )
    assert sorted(session.references.take_dropped()) == [["a", 2], ["b", 1]]


def test_references_of_values_that_cannot_be_opened_are_given_back(session):
    with pytest.raises(pickle.UnpicklingError):
        loads(Value(PICKLE, b"nonsense", (), ("a",)), session)
    assert session.references.take_dropped() == [["a", 1]]


Keys = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
)


@given(key=Keys | st.tuples(Keys, Keys) | st.frozensets(Keys))
def test_keys(key):
    travelling = dumps_key(key)
    assert type(travelling) in {PickledKey, str, bytes, int, float, bool, type(None)}
    again = loads_key(travelling)
    assert again == key
    assert type(again) is type(key)


@pytest.mark.parametrize("key", [2**63, -(2**63) - 1, "\ud800", (1,), Name("x")])
def test_keys_that_are_no_plain_scalars_are_pickled(key):
    assert type(dumps_key(key)) is PickledKey


@pytest.mark.parametrize("key", [[], {}, {1}, bytearray()])
def test_keys_must_be_hashable(key):
    with pytest.raises(TypeError, match="unhashable"):
        dumps_key(key)


Main = type("Main", (), {"__module__": "__main__"})


class TestTogether:
    """Values that came as a bunch."""

    @given(st.lists(Plain, max_size=8) | st.lists(st.integers() | st.floats(allow_nan=False), max_size=8))
    def test_they_are_opened_as_if_each_were_alone(self, values):
        session = Session(Address.tcp("localhost", 1), b"k" * 16)
        blobs = [dumps(value, session) for value in values]
        assert loads_all(bunch_of(blobs), session) == values

    def test_one_that_cannot_be_opened_says_so(self, session):
        with pytest.raises(ModuleNotFoundError, match="nowhere"):
            loads_all(bunch_of([dumps(1, session), b"\x80\x05\x8c\x07nowhere\x8c\x01f\x93."]), session)


def bunch_of(blobs):
    return Bunch(b"".join(blobs), [*map(len, blobs)])


class TestUsedAgain:
    """A thread's pickler is used again for the next value."""

    def test_what_is_in_one_value_is_not_in_the_next(self, session):
        shared = [1, 2]
        assert dumps([shared, shared], session) == dumps([shared, shared], session)
        assert loads(dumps({"a": shared}, session), session) == {"a": shared}

    @pytest.mark.parametrize(
        "spoilt", [[lambda: 5], [Main], [sys], [memoryview(b"x")], [array.array("b")] * 2]
    )
    def test_what_cannot_be_done_so_does_not_spoil_the_next(self, session, spoilt):
        with contextlib.suppress(TypeError):
            dumps(spoilt, session)
        assert loads(dumps([1, 2], session), session) == [1, 2]

    def test_an_interruption_gets_out_and_does_not_spoil_the_next(self, session):
        with pytest.raises(KeyboardInterrupt):
            dumps([[1], Interrupts()], session)
        assert loads(dumps([1, 2], session), session) == [1, 2]

    def test_an_interruption_anywhere_does_not_spoil_the_next(self, session):
        values = [[n, "x" * (n * 7_000)] for n in range(12)]
        with interruptions() as during:
            for value in values * 50:
                assert during(lambda it: loads(dumps(it, session), session), value) in (value, None)

    def test_it_keeps_no_large_table_of_notes(self, session):
        dumps(["a", "b"], session)
        small = pickling._own.pickler.__sizeof__()
        dumps([str(number) for number in range(5000)], session)
        assert pickling._own.pickler.__sizeof__() == small

    def test_no_session_is_kept_alive(self):
        session = Session(Address.tcp("localhost", 1), b"k" * 16)
        dumps([1], session)
        there = weakref.ref(session)
        del session
        gc.collect()
        assert there() is None

    def test_code_of_a_value_may_pickle_others_meanwhile(self, session):
        assert loads(dumps([Inside(session), "beside"], session), session) == [["inside"], "beside"]


@contextlib.contextmanager
def interruptions():
    """Interrupt calls now and then, wherever they are; yield what makes one, and returns None if it was."""
    armed = False

    def handler(number, frame):
        nonlocal armed
        if armed:
            armed = False
            raise InterruptedError

    def during(function, *args):
        nonlocal armed
        try:
            armed = True
            result = function(*args)
            armed = False
        except InterruptedError:
            return None
        return result

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        yield during
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Interrupts:
    def __reduce__(self):
        raise KeyboardInterrupt


class Inside:
    """A value whose own code has another value pickled."""

    def __init__(self, session):
        self.session = session

    def __reduce__(self):
        return pickle.loads, (dumps(["inside"], self.session),)


APART = b"long" * 100_000


@pytest.mark.parametrize(
    "value", [APART, {"a": (1,), "b": APART, "c": [APART[:-1], "end"]}], ids=["alone", "inside"]
)
def test_long_bytes_that_came_apart_become_the_value(value, session):
    data = dumps(value, session)
    at = data.index(APART)
    pieces: Any = Pieces((data[:at], APART, data[at + len(APART) :]))
    opened = loads(pieces, session)
    assert opened == value
    assert (opened if value is APART else opened["b"]) is APART
