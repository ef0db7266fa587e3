"""A program's own manager and what it registers. Light to import: its server's process does."""

import queue
from multiprocessing.managers import DictProxy

from tests.stdlib.things import Point

from mpserve.manager import Manager

__all__ = ["Counter", "Mine", "make_queue", "the_one"]


class Counter:
    """A class that a program registers with its own manager."""

    def __init__(self, start=0, *, step=1):
        self.count, self.step = start, step

    def next(self):
        """Count."""
        self.count += self.step
        return self.count

    def where(self):
        """Return a point, moved."""
        return Point(self.count, 0)

    def hidden(self):
        """Be there, and not exposed."""


ONE = Counter(10)


def the_one():
    """Return the same each time."""
    return ONE


def make_queue():
    """Make what the standard library's recipes register."""
    return queue.Queue()


class Mine(Manager):
    """A program's manager."""


Mine.register("Counter", Counter, exposed=("next", "where"))
Mine.register("the_one", the_one)
Mine.register("make_queue", make_queue)
Mine.register("plain", dict, DictProxy)
