"""Targets: pickles as data. They are read, written, compared, shown; nothing in them runs."""

from __future__ import annotations

import pickle
import sys
from typing import Final

from tests.fuzz.mutators import cut_stock

from mpshared.symbolic import (
    OWN,
    ForeignOrder,
    Limits,
    MalformedPickle,
    PickleTooComplex,
    Stock,
    dump,
    equal,
    key,
    load,
    load_number,
    load_with_refs,
    matcher,
    plain_order,
    text,
)
from mpshared.symbolic.machine import Machine
from mpshared.symbolic.plain import is_plain
from mpshared.symbolic.reading import _BROKEN, _run

__all__ = ["compare", "plain", "read_and_write"]

_STOCK: Final = Stock(("127.0.0.1", 1))


def read_and_write(data: bytes) -> None:
    """Read, show, write for both sorts of readers: written and read it is the same; nothing is imported."""
    _known.update(sys.modules)
    obj, refs = load_with_refs(data)
    assert len(text(obj, limit=500)) <= 500, "shown longer than asked for"
    assert len({*refs}) == len(refs), "a shared object is named twice"
    dump(obj, face=_STOCK)
    written = dump(obj, face=OWN)
    again, refs_again = load_with_refs(written)
    assert {*refs_again} <= {*refs}, "a shared object appeared in writing"
    _look_for_imports()
    if not _equal_if_told(obj, again):
        assert not _equal_if_told(obj, load(data)), "written and read, it is something else"


_known: Final = set(sys.modules)


def _look_for_imports() -> None:
    """Require that nothing was imported but a codec, which text in an old pickle has Python load."""
    if len(sys.modules) != len(_known):
        new = set(sys.modules) - _known
        _known.update(new)
        assert all(name.startswith("encodings.") for name in new), f"imported: {new}"


def _equal_if_told(one: object, other: object) -> bool:
    """Tell whether two are equal; True where nobody can tell."""
    try:
        return equal(one, other)
    except (MalformedPickle, TypeError):
        return True


def plain(data: bytes) -> None:
    """Hold the fast way, which C goes, against the exact one: what is plain means the same to both."""
    if not is_plain(data):
        return
    try:
        fast = pickle.loads(data)
    except _BROKEN:
        return
    try:
        exact = _run(Machine(data, (), Limits()))
    except PickleTooComplex:
        return  # the exact way may count more dearly, never more cheaply
    if not equal(fast, exact):
        assert not equal(fast, pickle.loads(data)), "the fast way reads something else"  # else: a NaN


def compare(data: bytes) -> None:
    """Compare, hash and order two pickles, which come as two frames."""
    parts, _ = cut_stock(data)
    one, other = (*parts, data, data)[:2]
    a, b = load(one), load(other)
    alike = equal(a, b)
    assert equal(b, a) == alike, "equal depends on who asks"
    assert matcher(one)(one), "the same bytes are not the same"
    assert matcher(one)(other) == (one == other or alike), "a matcher says something else than equal"
    for ask in (key, plain_order, lambda obj: load_number(dump(obj, face=OWN))):
        for obj in (a, b):
            try:
                ask(obj)
            except (MalformedPickle, ForeignOrder):
                pass
            except TypeError as err:
                assert str(err).startswith(("unhashable type: ", "expected a number")), err
    if not alike and equal(a, load(one)) and equal(b, load(other)):  # else: a NaN, or keys that look alike
        _require_two_keys(a, b)


def _require_two_keys(a: object, b: object) -> None:
    """Require that what is not equal is not one key."""
    try:
        one, other = key(a), key(b)
    except (MalformedPickle, TypeError):
        return
    assert one != other, "one key, but not equal"
