"""Timeouts as the standard library reads them: the same arguments, the same exceptions."""

from __future__ import annotations

import math
import multiprocessing
import queue
import sys
import threading

import pytest

from mpclient.objects.waiting import (
    event_timeout,
    join_timeout,
    lock_timeout,
    queue_timeout,
    semaphore_timeout,
)


def outcome(function, *args):
    try:
        return function(*args)
    except (TypeError, ValueError) as err:
        return type(err)


def expected_of_lock(blocking, timeout):
    """Acquire a held lock of threading: what raises, what would not wait."""
    lock = threading.Lock()
    lock.acquire()
    try:
        lock.acquire(blocking, timeout)
    except (TypeError, ValueError) as err:
        return type(err)
    return 0


@pytest.mark.parametrize(
    ("blocking", "timeout"), [(False, -1), (False, 1), (False, 0), (True, 0), (True, -2)]
)
def test_lock_as_threading(blocking, timeout):
    assert outcome(lock_timeout, blocking, timeout, None) == expected_of_lock(blocking, timeout)


def test_lock_waits_for_ever():
    assert (
        lock_timeout(True, -1, None)
        is lock_timeout(True, None, None)
        is lock_timeout(True, math.inf, None)
        is None
    )
    assert lock_timeout(True, 1.5, None) == 1.5


@pytest.mark.parametrize(
    ("block", "timeout", "seconds"), [(True, None, None), (True, -3, 0), (False, 5, 0), (True, 2, 2)]
)
def test_lock_as_multiprocessing(block, timeout, seconds):
    assert lock_timeout(True, timeout, block) == seconds
    assert semaphore_timeout(True, timeout, block) == seconds


@pytest.mark.parametrize(("blocking", "timeout"), [(False, None), (False, 1), (True, 0), (True, -1)])
def test_semaphore_as_threading(blocking, timeout):
    def theirs():
        return 0 if threading.Semaphore(0).acquire(blocking, timeout) is False else None

    assert outcome(semaphore_timeout, blocking, timeout, None) == outcome(theirs)


@pytest.mark.parametrize(("block", "timeout"), [(True, -1), (False, -1), (True, 0), (False, 3)])
def test_queue_as_queue(block, timeout):
    def theirs():
        try:
            queue.Queue().get(block, timeout)
        except queue.Empty:
            return 0

    assert outcome(queue_timeout, block, timeout) == outcome(theirs)


@pytest.mark.parametrize("timeout", [1e100, threading.TIMEOUT_MAX + 1, 10**400])
def test_what_threading_cannot_wait(timeout):
    for function, more in ((lock_timeout, (None,)), (semaphore_timeout, (None,)), (queue_timeout, ())):
        with pytest.raises(OverflowError):
            function(True, timeout, *more)
    with pytest.raises(OverflowError):
        join_timeout(timeout)
    with pytest.raises(OverflowError):
        threading.Lock().acquire(timeout=timeout)
    assert join_timeout(threading.TIMEOUT_MAX) == threading.TIMEOUT_MAX


@pytest.mark.parametrize("timeout", [1e12, float(sys.maxsize)])
def test_what_multiprocessing_can_wait_all_the_same(timeout):
    assert multiprocessing.get_context("spawn").Lock().acquire(timeout=timeout)
    assert lock_timeout(True, timeout, True) is None
    assert semaphore_timeout(True, timeout, True) is None
    assert event_timeout(timeout) is None


def test_event():
    assert event_timeout(None) is None
    assert event_timeout(-1) == 0
    assert event_timeout(2) == 2.0
    with pytest.raises(TypeError):
        event_timeout("soon")
    with pytest.raises(ValueError, match="NaN"):
        event_timeout(math.nan)
