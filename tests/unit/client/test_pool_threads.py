"""The threads of a pool: who waits for their end never meets one that has not begun."""

from __future__ import annotations

import threading

import pytest

from mpclient.pooling.threads import Threads


def run(work):
    work()


def test_they_begin_when_they_are_started():
    threads, told = Threads(), []
    assert not threads
    threads.join(0)
    threads.start(run, one=lambda: told.append(threads.is_current), other=lambda: told.append(True))
    assert threads
    assert threads.first.name == "mpserve-one"
    threads.join(10)
    assert told == [True, True]
    assert not threads.is_current


def test_who_joins_waits_until_all_are_started(monkeypatch):
    begin, errors = threading.Thread.start, []

    def join():
        try:
            threads.join(10)
        except RuntimeError as err:
            errors.append(err)

    def start(thread):
        if thread.name == "mpserve-late":
            begin(joiner)
            joiner.join(0.2)  # as long as it takes to meet the one that has not begun
        begin(thread)

    threads, joiner = Threads(), threading.Thread(target=join)
    monkeypatch.setattr(threading.Thread, "start", start)
    threads.start(run, early=bool, late=bool)
    joiner.join(10)
    assert errors == []


def test_those_that_could_not_be_started_are_none(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    threads = Threads()
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError):
        threads.start(run, one=bool, other=bool)
    assert not threads
    threads.join(10)
