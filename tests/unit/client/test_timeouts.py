"""Whatever timeout a call is given: what raises in `multiprocessing` raises here, and what waits there waits.

Two things are better. Infinity is for ever, and so is what is longer than a semaphore of the system can wait.
And what is not a number is a ValueError, wherever it could matter.
"""

from __future__ import annotations

import math
import multiprocessing
import multiprocessing.connection
import multiprocessing.pool
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

import mpclient.connection
from mpclient import queues, synchronize
from mpclient.objects.t_pipe import Connection
from mpclient.objects.t_process import RemoteProcess
from mpclient.pooling.results import ApplyResult
from mpclient.transport.lane import TIMEOUT_AT
from mpclient.transport.references import Handle

WAITS, NOT = "waits", "does not wait"
TIMEOUTS = {
    "None": None, "-1": -1, "-0.5": -0.5, "0": 0, "True": True, "1e6": 1e6, "1e12": 1e12, "1e100": 1e100,
    "10**400": 10**400, "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "text": "1", "list": [],
}  # fmt: skip

# What the standard library does.
USUAL = {
    "None": WAITS,
    "True": WAITS,
    "1e6": WAITS,
    "-1": NOT,
    "-0.5": NOT,
    "0": NOT,
    "-inf": NOT,
    "10**400": "OverflowError",
    "text": "TypeError",
    "list": "TypeError",
}
POLLS = {**USUAL, **dict.fromkeys(("1e12", "1e100", "inf"), "OverflowError"), "nan": "ValueError"}
RESULT = {**POLLS, "nan": NOT}
SEMAPHORE = {**USUAL, "1e12": WAITS, **dict.fromkeys(("1e100", "inf", "nan"), "OSError")}
NO_BLOCK = {**dict.fromkeys(TIMEOUTS, NOT), **{n: USUAL[n] for n in ("10**400", "text", "list")}}
EXPECTED = {
    "Queue.get": POLLS,
    "Queue.get, not blocking": NO_BLOCK,
    "Queue.put": SEMAPHORE,
    "Queue.put, not blocking": NO_BLOCK,
    "Lock.acquire": SEMAPHORE,
    "Lock.acquire, not blocking": NO_BLOCK,
    "Semaphore.acquire": SEMAPHORE,
    "Semaphore.acquire, not blocking": NO_BLOCK,
    "Event.wait": SEMAPHORE,
    "Condition.wait": SEMAPHORE,
    "Condition.wait_for": SEMAPHORE,
    "Barrier.wait": SEMAPHORE,
    "AsyncResult.get": RESULT,
    "AsyncResult.wait": RESULT,
    "Process.join": POLLS,
    "Connection.poll": POLLS,
    "connection.wait": POLLS,
}


def no():
    return False


# -- theirs: whatever waits, waits in vain --------------------------------------------------------


@pytest.fixture(scope="module")
def theirs():
    context = multiprocessing.get_context("spawn")
    empty, full, lock, condition = context.Queue(), context.Queue(1), context.Lock(), context.Condition()
    semaphore = context.Semaphore(0)
    vars(full)["_sem"].acquire()
    lock.acquire()
    condition.acquire()
    result = multiprocessing.pool.ApplyResult(SimpleNamespace(_cache={}), None, None)
    ear, mouth = multiprocessing.Pipe()
    wait = partial(multiprocessing.connection.wait, [ear])
    yield {
        "Queue.get": partial(empty.get, True),
        "Queue.get, not blocking": partial(empty.get, False),
        "Queue.put": partial(full.put, 1, True),
        "Queue.put, not blocking": partial(full.put, 1, False),
        "Lock.acquire": partial(lock.acquire, True),
        "Lock.acquire, not blocking": partial(lock.acquire, False),
        "Semaphore.acquire": partial(semaphore.acquire, True),
        "Semaphore.acquire, not blocking": partial(semaphore.acquire, False),
        "Event.wait": context.Event().wait,
        "Condition.wait": condition.wait,
        "Condition.wait_for": partial(condition.wait_for, no),
        "Barrier.wait": lambda timeout: context.Barrier(2).wait(timeout),
        "AsyncResult.get": result.get,
        "AsyncResult.wait": result.wait,
        "Process.join": wait,  # of its sentinel
        "Connection.poll": ear.poll,
        "connection.wait": wait,
    }
    for end in (ear, mouth):
        end.close()
    for queue in (empty, full):
        queue.close()


QUIET = {"Empty", "Full", "TimeoutError", "BrokenBarrierError"}
"""What says that nothing came."""


@pytest.mark.parametrize("name", EXPECTED)
def test_what_the_standard_library_does(theirs, name):
    for label, expected in EXPECTED[name].items():
        if expected == WAITS:
            continue
        try:
            theirs[name](TIMEOUTS[label])
        except Exception as err:
            outcome = type(err).__name__
        else:
            outcome = NOT
        assert (NOT if outcome in QUIET else outcome) == expected, label


# -- ours: how long the server would be asked to wait ---------------------------------------------


class Asked(BaseException):
    """A call was made."""


class Held(Handle):
    """An object that no server has; its session notes for how long a call may wait."""

    def __init__(self) -> None:
        self.session = cast("Any", self)
        self.ident = "1"
        self.count = 0
        self.bell = None

    def before_call(self):
        return 0

    calls = before_call

    def take_back(self, _number):
        """Nothing was taken."""

    def call(self, op, _target, args, *_more):
        raise Asked(args[TIMEOUT_AT[op.code]])


class Gate:
    """What a result is waited for with."""

    def acquire(self, timeout):
        raise Asked(None if timeout == -1 else timeout)


def late():
    """Return a result that does not come."""
    result: Any = object.__new__(ApplyResult)
    result._done, result._gate = False, Gate()
    result._jobs = SimpleNamespace(check_may_wait=lambda: None)
    return result


def ours():
    queue, lock, semaphore = (cls(Held()) for cls in (queues.Queue, synchronize.Lock, synchronize.Semaphore))
    condition = synchronize.Condition(Held())
    return {
        "Queue.get": partial(queue.get, True),
        "Queue.get, not blocking": partial(queue.get, False),
        "Queue.put": partial(queue.put, 1, True),
        "Queue.put, not blocking": partial(queue.put, 1, False),
        "Lock.acquire": partial(lock.acquire, True),
        "Lock.acquire, not blocking": partial(lock.acquire, False),
        "Semaphore.acquire": partial(semaphore.acquire, True),
        "Semaphore.acquire, not blocking": partial(semaphore.acquire, False),
        "Event.wait": synchronize.Event(Held()).wait,
        "Condition.wait": condition.wait,
        "Condition.wait_for": partial(condition.wait_for, no),
        "Barrier.wait": synchronize.Barrier(Held()).wait,
        "AsyncResult.get": late().get,
        "AsyncResult.wait": late().wait,
        "Process.join": RemoteProcess(Held()).wait,
        "Connection.poll": Connection(Held()).poll,
        "connection.wait": partial(mpclient.connection.wait, [Connection(Held())]),
    }


def or_better(name, label):
    """Return what is to happen here."""
    if EXPECTED[name] is not NO_BLOCK:
        if label == "nan":
            return "ValueError"
        if label == "inf" or EXPECTED[name][label] == "OSError":
            return WAITS
    return EXPECTED[name][label]


@pytest.mark.parametrize("name", EXPECTED)
def test_ours_does_the_same_or_better(name):
    for label, timeout in TIMEOUTS.items():
        try:
            outcome = ours()[name](timeout)
        except Asked as asked:
            outcome = NOT if asked.args[0] == 0 else WAITS
        except Exception as err:
            outcome = type(err).__name__
        if name == "Condition.wait_for" and outcome is False:
            outcome = NOT  # it looks, and asks for nothing
        assert outcome == or_better(name, label), label
