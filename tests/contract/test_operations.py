"""Every operation of the table, once: what it answers, that a resent one is answered again and not applied
again, and that a call with wrong arguments changes nothing.
"""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from tests.contract.cases import CASES, Case
from tests.contract.rigs import Rig, Thread
from tests.contract.wired_rig import WiredThread

from mpshared.errors import BadType, BadValue, NoSuchObject
from mpshared.ops import BY_NAME

A = pickle.dumps("a")
BY_THE_DISPATCHER = {"cluster.shutdown"}
WITH_A_HOST = {"process.start", "process.take"}
"""In `test_processes`."""
WITH_A_DEATH = {"cluster.release"}
"""In `test_locks`."""


def test_the_table_is_covered():
    assert sorted(
        [case.name for case in CASES] + [*BY_THE_DISPATCHER, *WITH_A_HOST, *WITH_A_DEATH]
    ) == sorted(BY_NAME)


@pytest.fixture
def thread(rig: Rig) -> Thread:
    return rig.thread()


def prepared(rig: Rig, thread: Thread, case: Case) -> str:
    if case.kind == "cluster":
        return ""
    ident = rig.open(thread, case.kind, blobs=case.first, **case.settings)
    other = rig.open(thread, "pipe", peer=ident) if case.kind == "pipe" else ident
    for method, args, blobs in case.before:
        thread.call(f"{case.kind}.{method}", other, *args, blobs=blobs).value  # noqa: B018 - raises if it failed
    return ident


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_operation_is_answered_and_applied_once(rig, thread, case):
    ident = prepared(rig, thread, case)
    call = thread.call(case.name, ident, *case.args, blobs=case.blobs)
    assert case.result is ... or call.value == case.result
    assert call.out == list(case.out)
    state = rig.inner.catalogue.state()
    if isinstance(thread, WiredThread):
        call.seen = False
        thread.lose()
        thread.wire = thread.attach()
        thread.send(call.number)
        rig.settle()
        assert [answer.number for answer in thread.wire.answers] == [call.number]
    rig.settle()
    assert rig.inner.catalogue.state() == state


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_call_with_wrong_arguments_changes_nothing(rig, thread, case):
    ident = prepared(rig, thread, case)
    state = rig.inner.catalogue.state()
    op = BY_NAME[case.name]
    assert isinstance(thread.fails(case.name, ident, *case.args, "one more", blobs=case.blobs), BadType)
    odd: list[Any] = [{b"no argument": "is like this"}] * len(case.args)
    if case.args:
        error = thread.fails(case.name, ident, *odd, blobs=case.blobs)
        assert isinstance(error, BadType | BadValue), error
        assert case.name in str(error)
    if op.blobs != "*":
        assert isinstance(thread.fails(case.name, ident, *case.args, blobs=[*case.blobs, A]), BadType)
    assert rig.inner.catalogue.state() == state


@pytest.mark.parametrize("case", [c for c in CASES if c.kind != "cluster"], ids=lambda case: case.name)
def test_an_object_that_is_not_there_is_named(rig, thread, case):
    error = thread.fails(case.name, "nonesuch", *case.args, blobs=case.blobs)
    assert isinstance(error, NoSuchObject)
    assert "nonesuch" in str(error)
    other = rig.open(thread, "event" if case.kind != "event" else "lock")
    error = thread.fails(case.name, other, *case.args, blobs=case.blobs)
    assert f"is not a {case.kind}" in str(error)
