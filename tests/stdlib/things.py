"""What users put into shared objects: classes that only their own programs have. Works on every Python from 3.8."""

from collections import namedtuple
from enum import Enum

__all__ = ["Colour", "Grown", "Listed", "Mapped", "Pair", "Point", "Slotted", "shout"]

Pair = namedtuple("Pair", "left right")


class Point:
    """Compared and hashed by its own code."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    def __hash__(self):
        return hash((self.x, self.y))

    def __repr__(self):
        return "Point(%r, %r)" % (self.x, self.y)


class Colour(Enum):
    """An enum."""

    RED = 1
    GREEN = 2


class Slotted:
    """No `__dict__`."""

    __slots__ = ("inside",)

    def __init__(self, inside):
        self.inside = inside

    def __repr__(self):
        return "Slotted(%r)" % self.inside


class Grown(int):
    """A kind of number."""

    def __repr__(self):
        return "Grown(%d)" % self


class Listed(list):
    """A kind of list."""

    def __repr__(self):
        return "Listed(%s)" % list(self)


class Mapped(dict):
    """A kind of dict."""

    def __repr__(self):
        return "Mapped(%s)" % dict(self)


def shout(text):
    """Return it louder."""
    return text.upper()
