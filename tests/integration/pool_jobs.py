"""What the tests of Pools and executors have workers do. Both sides import it."""

from __future__ import annotations

import os
import pickle
import threading
import time
from pathlib import Path

STATE: dict[str, object] = {}
MEMORY = bytearray(1 << 16)


class Mistake(Exception):
    """Two arguments, as users' exceptions have them."""

    def __init__(self, what, number):
        super().__init__(what, number)
        self.what = what
        self.number = number


class Scaled:
    """An object that is called, with state."""

    def __init__(self, by):
        self.by = by

    def __call__(self, number):
        return number * self.by

    def method(self, number):
        return number + self.by

    @classmethod
    def made(cls, number):
        return cls.__name__, number


class Unsendable:
    """Raises an error when it is pickled."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


def square(number):
    return number * number


def refill(number):
    """Return what travels as a buffer, in memory that the next call uses again."""
    MEMORY[:] = bytes([number]) * len(MEMORY)
    return pickle.PickleBuffer(MEMORY)


def add(first, second=10, *, third=100):
    return first, second, third


def fail(number):
    raise Mistake("no good", number)


def fail_at_five(number):
    if number == 5:
        raise Mistake("five", number)
    return number


def fail_twice(number):
    if number in {2, 6}:
        raise ValueError(number)
    return number


def chained(number):
    try:
        return {}[number]
    except KeyError as err:
        raise ValueError("outer") from err


def unpicklable(_number):
    return threading.Lock()


def nothing(*_args):
    return None


def process_id(*_args):
    return os.getpid()


def remember(**given):
    STATE.update(given)


def recall(key):
    return STATE.get(key)


def slow_first(number):
    """Take longer for the first one, so that a later one is ready before it."""
    if number == 0:
        time.sleep(0.3)
    return number


def wait_for_file(path, limit_s=20.0):
    """Work until a file is there; return whether it came."""
    deadline_s = time.monotonic() + limit_s
    while not Path(path).exists():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.005)
    return True


def meet(mine, other):
    """Make a file, and work until another call has made its own; return whether it did."""
    Path(mine).touch()
    return wait_for_file(other)


def touch(path):
    """Make a file, and work until another one is there."""
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    return wait_for_file(f"{path}.go")
