"""Counting nested work, and hearing that there is no slot for it."""

from __future__ import annotations

import multiprocessing

import pytest

from mpclient.pooling import nested
from mpclient.testing import wait_until


class Listener:
    def __init__(self):
        self.heard = []

    def nested_refused(self, text):
        self.heard.append(text)


@pytest.fixture
def rung():
    wait_until(lambda: nested.outstanding() == 0)  # pools of other tests end in threads of their own
    rung = []
    nested.watch(lambda: rung.append(nested.outstanding()))
    yield rung
    nested.watch(lambda: None)
    assert nested.outstanding() == 0


def test_the_watcher_is_rung_when_there_are_some_and_when_there_are_none(rung):
    nested.submitted(3)
    nested.submitted(2)
    assert rung == [3]
    assert nested.outstanding() == 5
    nested.settled(4)
    assert rung == [3]
    nested.settled(1)
    nested.submitted(1)
    nested.settled(1)
    assert rung == [3, 0, 1, 0]


def test_who_listens_is_told_of_a_refusal_and_kept_weakly():
    first, second = Listener(), Listener()
    nested.listen(first)
    nested.listen(second)
    heard = second.heard
    del second
    nested.refuse("no room")
    assert (first.heard, heard) == (["no room"], [])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="nothing forks here")
def test_a_forked_child_has_submitted_nothing(rung):
    nested.submitted(2)
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)
    child = context.Process(target=lambda: writing.send(nested.outstanding()))
    child.start()
    assert reading.poll(10)
    assert reading.recv() == 0
    child.join(10)
    nested.settled(2)
