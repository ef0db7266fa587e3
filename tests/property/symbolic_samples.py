"""Objects of every sort that programs pickle, to be read as data. Also imported by Python 3.8."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import ipaddress
import operator
import pathlib
import typing
import uuid


@dataclasses.dataclass
class Point:
    x: object
    y: object = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    name: str
    parts: tuple = ()


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(typing.NamedTuple):
    left: object
    right: object


class Base:
    """Equal by what is in it."""

    __slots__ = ()

    def __eq__(self, other):
        return type(self) is type(other) and contents(self) == contents(other)

    def __hash__(self):
        return 1


def contents(obj):
    return getattr(obj, "__dict__", None), [getattr(obj, name) for name in getattr(obj, "__slots__", ())]


class Attributes(Base):
    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    class Nested(Base):
        pass


class Slotted(Base):
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


class SlottedAndMore(Slotted):
    """Its slots are in its base; for the rest it has a __dict__."""


class State(Base):
    """Has a state of its own making."""

    def __init__(self, value):
        self.value = value

    def __getstate__(self):
        return [self.value]

    def __setstate__(self, state):
        (self.value,) = state


class Keywords(Base):
    """Is made with keyword arguments."""

    both: tuple

    def __new__(cls, a, *, b):
        self = super().__new__(cls)
        self.both = a, b
        return self

    def __getnewargs_ex__(self):
        return (self.both[0],), {"b": self.both[1]}


def set_twice(obj, state):
    obj.twice = state * 2


class Setter(Base):
    """Gets its state from a function of its own: the sixth item of a reduce."""

    def __init__(self, twice):
        self.twice = twice

    def __reduce__(self):
        return Setter, (0,), self.twice // 2, None, None, set_twice


class Refused(Exception):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code

    def __reduce__(self):
        return Refused, (self.args[0], self.code), vars(self)

    def __eq__(self, other):
        return type(other) is Refused and (self.args, vars(self)) == (other.args, vars(other))

    def __hash__(self):
        return 1


class MyDict(dict):
    pass


class MyList(list):
    pass


class MySet(set):
    pass


class MyTuple(tuple):  # noqa: SLOT001 - with a __dict__, as most have
    pass


class MyInt(int):
    pass


class MyStr(str):  # noqa: SLOT000 - see MyTuple
    pass


class MyOrdered(collections.OrderedDict):
    pass


def with_attribute(obj, value):
    obj.attribute = value
    return obj


def samples():
    """Return a fresh instance of each sort, by name; all are equal to what their pickle gives."""
    return {
        "dataclass": Point(1, [2, Point("a")]),
        "frozen": Frozen("a", (1, Frozen("b"))),
        "enum": Color.BLUE,
        "int enum": Level.HIGH,
        "flag": Right.READ | Right.WRITE,
        "named tuple": Pair(1, Pair([], None)),
        "attributes": Attributes(a=1, b={"c": (2,)}),
        "no attributes": Attributes(),
        "nested class": Attributes.Nested(),
        "slots": Slotted(1, [2]),
        "slots and a dict": with_attribute(SlottedAndMore(1, "b"), 3),
        "state": State({"a": 1}),
        "false state": State(None),
        "keywords": Keywords(1, b=[2]),
        "setter": Setter(42),
        "exception": with_attribute(Refused("no", 7), "why"),
        "dict subclass": with_attribute(MyDict(a=1, b=MyDict()), 1),
        "list subclass": with_attribute(MyList([1, MyList()]), 1),
        "set subclass": MySet([1, "a", (2,)]),
        "tuple subclass": with_attribute(MyTuple((1, [2])), 1),
        "int subclass": with_attribute(MyInt(7), 1),
        "str subclass": MyStr("text"),
        "ordered subclass": MyOrdered([("b", 1), ("a", 2)]),
        "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
        "counter": collections.Counter("abracadabra"),
        "defaultdict": collections.defaultdict(list, a=[1], b=[2]),
        "deque": collections.deque([1, [2]], maxlen=5),
        "chain map": collections.ChainMap({"a": 1}, {"b": 2}),
        "decimal": decimal.Decimal("1.50"),
        "fraction": fractions.Fraction(1, 3),
        "datetime": dt.datetime(2024, 2, 29, 1, 2, 3, 4),
        "aware": dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1), "X")),
        "utc": dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc),  # noqa: UP017 - 3.8 has no dt.UTC
        "date": dt.date(1, 1, 1),
        "time": dt.time(23, 59),
        "timedelta": dt.timedelta(days=-1, microseconds=1),
        "path": pathlib.PurePosixPath("/a/b/c"),
        "uuid": uuid.UUID(int=7),
        "address": ipaddress.ip_address("10.0.0.1"),
        "array": array.array("d", [1.5, -2.0]),
        "partial's parts": functools.partial(operator.add, 1).args,
        "getter": operator.itemgetter(1, "a").__reduce__(),
        "class": Point,
        "nested class itself": Attributes.Nested,
        "function": with_attribute,
        "builtin": len,
        "builtin class": collections.OrderedDict,
        "class method": dt.datetime.fromisoformat,
        "type of None": type(None),
        "complex": complex(1, -2),
        "range": range(1, 10, 3),
        "slice": slice(None, 3, "x"),
        "ellipsis": ...,
        "not implemented": NotImplemented,
        "bytearray": bytearray(b"\x00\xff"),
        "bytes": bytes(range(256)),
        "frozenset": frozenset([1, (2, frozenset())]),
        "set": {1, "a", None},
        "foreign keys": {Frozen("a"): 1, Color.RED: 2, (Level.LOW, Frozen("b")): 3, len: 4},
        "foreign members": {Frozen("a"), Color.RED, (1, Frozen("b"))},
        "large int": -(1 << 5000),
        "surrogate": "\ud800 and \U0001f600",
        "empty": [(), [], {}, set(), frozenset(), "", b"", bytearray(), range(0)],
        "long": [list(range(2500)), {str(n): n for n in range(1500)}, set(range(1200)), "x" * 70_000],
    }


DIFFERENT_BY_PROTOCOL = {"keywords", "array", "getter"}
"""Sorts that pickle in another way from protocol 3 or 4 on, so that their pickles do not look alike."""
