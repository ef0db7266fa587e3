"""An operator's module, for `--register tests.stdlib.shop:Till`."""

import threading
from collections import Counter
from dataclasses import dataclass
from os import system
from typing import ClassVar

__all__ = ["Item", "NotForSale", "Tag", "Till", "only_till", "system"]


@dataclass
class Item:
    """What clients send and get."""

    name: str
    price: float = 1.0


@dataclass(frozen=True)
class Tag:
    """What can be a key."""

    name: object


class NotForSale(Exception):
    """An exception of the operator's own."""


def audit(_till):
    """Stand for a function that no client may call by putting it into a pickle."""
    raise AssertionError("called by a pickle")


class Till:
    """Kept on the server; used by clients."""

    kinds = ("till",)
    ended: ClassVar = Counter()

    def __init__(self, total=0.0):
        if total < 0:
            raise ValueError("a till begins with something")
        self.total = total
        self.items = []

    def __del__(self):
        Till.ended[getattr(self, "total", None)] += 1

    def __repr__(self):
        return f"Till({self.total})"

    def sell(self, item, count=1):
        """Change the object."""
        self.items.append(item)
        self.total += item.price * count
        return self.total

    def last(self):
        """Return an object by value."""
        return self.items[-1]

    def echo(self, value):
        """Return what was given."""
        return value

    def refuse(self, name):
        """Raise an exception of one's own."""
        raise NotForSale(name)

    def names(self):
        """Return what pickle cannot write, but multiprocessing can."""
        return {item.name: item for item in self.items}.keys()

    def stream(self):
        """Return what cannot be sent."""
        return (item for item in self.items)

    def leave(self):
        """Try to end the process that called."""
        raise SystemExit(5)

    def wait(self, fifo):
        """Block until somebody opens the other end."""
        with open(fifo, "rb"):  # noqa: PTH123
            return True

    def ended_ones(self, total):
        """Return how many that had so much were freed, and not in which thread."""
        return Till.ended[total]

    def thread(self):
        """Return where it runs."""
        return threading.current_thread().name

    def _private(self):
        return "not for clients"


_TILL = Till(100.0)


def only_till():
    """Return the same object each time: the idiom of recipes."""
    return _TILL
