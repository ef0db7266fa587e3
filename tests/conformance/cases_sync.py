"""Locks, semaphores, events, conditions, barriers: `multiprocessing.synchronize`."""

from __future__ import annotations

import threading
from typing import Any

from tests.conformance import work
from tests.conformance.harness import NEWER, case


def other_thread(function):
    """Return what `function` returns, or raises, in another thread."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function())
        except Exception as err:
            outcome.append(err)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def taking(lock, free=lambda lock: lock.release()):
    """Steps of everything that has an `acquire` with the arguments of `multiprocessing`: free at first."""
    calls = {
        "acquire()": lock.acquire,
        "acquire(True)": lambda: lock.acquire(True),
        "acquire(False)": lambda: lock.acquire(False),
        "acquire(block=False)": lambda: lock.acquire(block=False),
        "acquire(True, None)": lambda: lock.acquire(True, None),
        "acquire(True, 5)": lambda: lock.acquire(True, 5),
        "acquire(True, -1)": lambda: lock.acquire(True, -1),
        "acquire(False, 5)": lambda: lock.acquire(False, 5),
        "acquire(timeout=0)": lambda: lock.acquire(timeout=0),
        "acquire(timeout=0.5)": lambda: lock.acquire(timeout=0.5),
        "acquire(1, 2)": lambda: lock.acquire(1, 2),
    }
    for label, call in calls.items():
        yield label, call
        free(lock)
    yield "acquire(True, 'x')", lambda: lock.acquire(True, "x")
    yield "acquire(blocking=True)", lambda: lock.acquire(blocking=True)
    yield "acquire(True, 1, 2)", lambda: lock.acquire(True, 1, 2)


def taken_elsewhere(lock):
    """Steps of a lock that another thread holds."""
    yield "acquire(False) of one that is taken", lambda: other_thread(lambda: lock.acquire(False))
    yield "acquire(False, 5) of one that is taken", lambda: other_thread(lambda: lock.acquire(False, 5))
    yield "acquire(True, 0.01) of one that is taken", lambda: other_thread(lambda: lock.acquire(True, 0.01))
    yield "acquire(True, -1) of one that is taken", lambda: other_thread(lambda: lock.acquire(True, -1))


LOCKED = dict.fromkeys(("locked()", "locked() of one that is taken"), NEWER)


def locked(lock):
    """Steps of what has a `locked`: free at first and at last."""
    yield "locked()", lambda: lock.locked()
    lock.acquire()
    yield "locked() of one that is taken", lambda: lock.locked()
    lock.release()


def within(lock):
    with lock as entered:
        return entered


HANDED_ON = "True: what a process holds that ends is handed on, so nobody hangs because another one died"


def left_by_a_process(side, lock):
    """Return whether a lock is free that a process took, which has ended."""
    process = side.mp.Process(target=work.take, args=(lock,))
    process.start()
    process.join(30)
    return process.exitcode, lock.acquire(False)


@case(
    "multiprocessing.Lock()",
    of="synchronize.Lock",
    differs={"acquire(False) of what a process took that has ended": HANDED_ON, **LOCKED},
)
def lock(side):
    yield (
        "acquire(False) of what a process took that has ended",
        lambda: left_by_a_process(side, side.mp.Lock()),
    )
    lock = side.mp.Lock()
    yield from taking(lock)
    yield from locked(lock)
    lock.acquire()
    yield from taken_elsewhere(lock)
    yield "release()", lock.release
    yield "release() of a free one", lock.release
    yield "release() by another thread", lambda: (lock.acquire(), other_thread(lock.release))[1]
    yield "__enter__", lambda: within(lock)


@case("multiprocessing.RLock()", of="synchronize.RLock", differs=LOCKED)
def rlock(side):
    lock = side.mp.RLock()
    yield from taking(lock)
    yield from locked(lock)
    lock.acquire()
    yield "acquire() again", lock.acquire
    yield from taken_elsewhere(lock)
    yield "release()", lock.release
    yield "release() by another thread", lambda: other_thread(lock.release)
    yield "release() the last time", lock.release
    yield "release() of a free one", lock.release
    yield "__enter__", lambda: within(lock)


NO_OSERROR = "a ValueError, as in `threading`, not an OSError"


@case(
    "multiprocessing.Semaphore()",
    of="synchronize.Semaphore",
    differs={
        "Semaphore(-1)": NO_OSERROR,
        "release(n=1)": "may return several, as in `threading`",
        **LOCKED,
    },
)
def semaphore(side):
    make = side.mp.Semaphore
    yield "Semaphore(value=2)", lambda: make(value=2).get_value()
    yield "Semaphore(0)", lambda: make(0).acquire(False)
    yield "Semaphore(-1)", lambda: make(-1)
    yield "Semaphore('x')", lambda: make("x")
    one = make()
    yield from taking(one)
    yield from locked(one)
    one.acquire()
    yield from taken_elsewhere(one)
    yield "release()", one.release
    yield "release() more often than acquired", one.release
    yield "get_value()", one.get_value
    yield "release(n=1)", lambda: one.release(n=1)
    yield "__enter__", lambda: within(one)


@case(
    "multiprocessing.BoundedSemaphore()",
    of="synchronize.BoundedSemaphore",
    differs={"BoundedSemaphore(-1)": NO_OSERROR, **LOCKED},
)
def bounded_semaphore(side):
    one = side.mp.BoundedSemaphore(2)
    yield from taking(one)
    yield from locked(one)
    yield "release() more often than acquired", one.release
    yield "get_value()", one.get_value
    yield "BoundedSemaphore(-1)", lambda: side.mp.BoundedSemaphore(-1)
    yield "__enter__", lambda: within(one)


@case("multiprocessing.Event()", of="synchronize.Event")
def event(side):
    event = side.mp.Event()
    yield "is_set()", event.is_set
    yield "wait(0)", lambda: event.wait(0)
    yield "wait(-1)", lambda: event.wait(-1)
    yield "wait(timeout=0.01)", lambda: event.wait(timeout=0.01)
    yield "wait('x')", lambda: event.wait("x")
    yield "set()", event.set
    yield "is_set() when it is", event.is_set
    yield "wait()", event.wait
    yield "wait(None)", lambda: event.wait(None)
    yield "clear()", event.clear
    yield "is_set() when it was cleared", event.is_set


@case(
    "multiprocessing.Condition()",
    of="synchronize.Condition",
)
def condition(side):
    one = side.mp.Condition()
    yield "wait(0) without the lock", lambda: one.wait(0)
    yield "notify() without the lock", one.notify
    yield "notify_all() without the lock", one.notify_all
    yield "release() of a free one", one.release
    yield from taking(one)
    yield "__enter__", lambda: within(one)
    one.acquire()
    yield "wait(0)", lambda: one.wait(0)
    yield "wait(-1)", lambda: one.wait(-1)
    yield "wait(timeout=0.01)", lambda: one.wait(timeout=0.01)
    yield "wait_for(predicate)", lambda: one.wait_for(lambda: "yes")
    yield "wait_for(predicate, 0.01)", lambda: one.wait_for(lambda: 0, 0.01)
    yield "wait_for(predicate, timeout=-1)", lambda: one.wait_for(lambda: "", timeout=-1)
    yield "notify()", one.notify
    yield "notify(2)", lambda: one.notify(2)
    yield "notify(n=0)", lambda: one.notify(n=0)
    yield "notify_all()", one.notify_all
    yield "notify() by another thread", lambda: other_thread(one.notify)
    yield "release()", one.release

    def notified():
        answers = []

        def wait():
            with one:
                ready.release()
                answers.append(one.wait(10))

        ready = threading.Semaphore(0)
        threads = [threading.Thread(target=wait) for _ in range(2)]
        for thread in threads:
            thread.start()
            ready.acquire()
        with one:
            one.notify_all()
        for thread in threads:
            thread.join(10)
        return answers

    yield "wait(10) and notify_all()", notified
    lock = side.mp.Lock()
    yield "Condition(lock)", lambda: within(side.mp.Condition(lock))
    yield "Condition('x')", lambda: side.mp.Condition("x")


@case(
    "multiprocessing.Barrier()",
    of="synchronize.Barrier",
    differs={"Barrier('x')": "is refused at once, not at the first `wait`"},
)
def barrier(side):
    one = side.mp.Barrier(1)
    yield "wait()", one.wait
    yield "wait(timeout=5)", lambda: one.wait(timeout=5)
    yield "parties", lambda: one.parties
    yield "n_waiting", lambda: one.n_waiting
    yield "broken", lambda: one.broken
    yield "abort()", one.abort
    yield "broken after abort", lambda: one.broken
    yield "wait() of a broken one", one.wait
    yield "reset()", one.reset
    yield "broken after reset", lambda: one.broken
    two = side.mp.Barrier(2, None, 0.01)
    yield "wait() until the barrier's own timeout", two.wait
    calls: list[int] = []
    acting = side.mp.Barrier(1, action=lambda: calls.append(1))
    yield "Barrier(1, action)", lambda: (acting.wait(), len(calls))
    failing = side.mp.Barrier(1, lambda: 1 / 0)
    yield "wait() with an action that fails", failing.wait
    yield "broken after an action that failed", lambda: failing.broken
    yield "Barrier('x')", lambda: side.mp.Barrier("x")
    yield "Barrier()", side.mp.Barrier

    def meet():
        pair = side.mp.Barrier(2)
        got: list[int] = []
        threads = [threading.Thread(target=lambda: got.append(pair.wait(10))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return sorted(got)

    yield "wait() of two", meet
