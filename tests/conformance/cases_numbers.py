"""Shared numbers and arrays: `Value`, `Array`, `RawValue`, `RawArray`, `multiprocessing.sharedctypes`."""

from __future__ import annotations

import ctypes

from tests.conformance.cases_sync import other_thread, within
from tests.conformance.harness import case

CODES = "cbBhHiIlLqQfdu"
FIRST = {"c": b"x", "u": "x", "f": 1.5, "d": 2.5}
TYPES = (
    *(ctypes.c_bool, ctypes.c_char, ctypes.c_wchar, ctypes.c_byte, ctypes.c_ubyte, ctypes.c_short),
    *(ctypes.c_ushort, ctypes.c_int, ctypes.c_uint, ctypes.c_long, ctypes.c_ulong, ctypes.c_float),
    ctypes.c_double,
)


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_double), ("y", ctypes.c_double))


def set_to(holder, value):
    holder.value = value
    return holder.value


def _making(make, name):
    for code in CODES:
        yield f"{name}({code!r})", lambda code=code: make(code).value
        first = FIRST.get(code, 7)
        yield f"{name}({code!r}, {first!r})", lambda code=code, first=first: make(code, first).value
    for kind in TYPES:
        yield f"{name}({kind.__name__})", lambda kind=kind: make(kind).value
    yield f"{name}('x')", lambda: make("x")
    yield f"{name}('i', 'text')", lambda: make("i", "text")
    yield f"{name}('i', 1, 2)", lambda: make("i", 1, 2)
    yield f"{name}('i', 1.5)", lambda: make("i", 1.5)
    yield f"{name}('f', 0.1)", lambda: make("f", 0.1).value
    yield f"{name}('f', 3)", lambda: make("f", 3).value
    yield f"{name}('b', 300)", lambda: make("b", 300).value
    yield f"{name}(int)", lambda: make(int)
    yield f"{name}(Structure)", lambda: make(Point, 1, 2).x


OVERFLOW = "an OverflowError: a number that does not fit is not cut to one that nobody meant"
NO_STRUCTURE = "a ctypes structure needs memory that both sides have; use a dict, a Namespace or more values"


@case(
    "multiprocessing.Value()",
    of="sharedctypes.Synchronized",
    differs={
        "Value('b', 300)": OVERFLOW,
    },
    refused={"Value(Structure)": NO_STRUCTURE},
)
def value(side):
    yield from _making(side.mp.Value, "Value")
    one = side.mp.Value("i", 5)
    yield "value", lambda: one.value
    yield "value = 6", lambda: set_to(one, 6)
    yield "value = 'text'", lambda: set_to(one, "text")
    yield "value = None", lambda: set_to(one, None)
    yield "get_lock()", lambda: within(one.get_lock())
    yield "get_obj()", lambda: one.get_obj().value
    yield "acquire()", one.acquire
    yield "acquire(False) of one that is taken", lambda: other_thread(lambda: one.acquire(False))
    yield "release()", one.release
    yield "release() of a free one", one.release
    yield "__enter__", lambda: within(one)
    lock = side.mp.Lock()
    yield "Value('i', lock=lock)", lambda: side.mp.Value("i", 1, lock=lock).get_lock() is lock
    yield "Value('i', lock=False)", lambda: hasattr(side.mp.Value("i", 1, lock=False), "get_lock")
    yield "Value('i', lock=None)", lambda: within(side.mp.Value("i", lock=None).get_lock())
    yield "Value('i', lock=True)", lambda: within(side.mp.Value("i", lock=True).get_lock())
    yield "Value('i', lock='x')", lambda: side.mp.Value("i", lock="x")


@case(
    "multiprocessing.RawValue()",
    differs={"RawValue('b', 300)": OVERFLOW},
    refused={"RawValue(Structure)": NO_STRUCTURE},
)
def raw_value(side):
    yield from _making(side.mp.RawValue, "RawValue")
    one = side.mp.RawValue("d", 0.5)
    yield "value", lambda: one.value
    yield "value = 1", lambda: set_to(one, 1)
    yield "get_lock", lambda: hasattr(one, "get_lock")


def put(array, index, value):
    array[index] = value
    return list(array)


def _arrays(make, name):
    yield f"{name}('i', 3)", lambda: list(make("i", 3))
    yield f"{name}('i', [1, 2, 3])", lambda: list(make("i", [1, 2, 3]))
    yield f"{name}('d', (0.5, 1))", lambda: list(make("d", (0.5, 1)))
    yield f"{name}('c', b'abc')", lambda: list(make("c", b"abc"))
    yield f"{name}('u', 'abc')", lambda: list(make("u", "abc"))
    yield f"{name}(c_short, range(3))", lambda: list(make(ctypes.c_short, range(3)))
    yield f"{name}(c_bool, [1, 0])", lambda: list(make(ctypes.c_bool, [1, 0]))
    yield f"{name}('i', -1)", lambda: make("i", -1)
    yield f"{name}('i', ['x'])", lambda: make("i", ["x"])
    yield f"{name}('i', 1.5)", lambda: make("i", 1.5)
    yield f"{name}('b', [300])", lambda: list(make("b", [300]))
    yield f"{name}(Structure)", lambda: make(Point, [(1, 2)])[0].y
    yield f"{name}('i', size_or_initializer=2)", lambda: list(make("i", size_or_initializer=2))
    one = make("i", [1, 2, 3, 4])
    yield "__len__", lambda: len(one)
    yield "__iter__", lambda: list(iter(one))
    for index in (0, -1, 4, slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(9, None)):
        yield f"__getitem__({index})", lambda index=index: one[index]
    yield "__getitem__('x')", lambda: one["x"]
    yield "__setitem__(0, 9)", lambda: put(one, 0, 9)
    yield "__setitem__(-1, 8)", lambda: put(one, -1, 8)
    yield "__setitem__(4, 1)", lambda: put(one, 4, 1)
    yield "__setitem__(0, 'x')", lambda: put(one, 0, "x")
    yield "__setitem__(slice(1, 3), [5, 6])", lambda: put(one, slice(1, 3), [5, 6])
    yield "__setitem__(slice(1, 3), [5])", lambda: put(one, slice(1, 3), [5])
    yield "__setitem__(slice(0, 4, 2), (7, 7))", lambda: put(one, slice(0, 4, 2), (7, 7))
    yield "__contains__", lambda: 7 in one
    text, letters = make("c", 4), make("u", 4)
    yield "value of bytes", lambda: set_to(text, b"ab")
    yield "value of bytes, as long as there is room", lambda: set_to(text, b"abcd")
    yield "value of bytes, too long", lambda: set_to(text, b"abcde")
    yield "value of bytes, text", lambda: set_to(text, "ab")
    yield "value of characters", lambda: set_to(letters, "ab")
    yield "value of numbers", lambda: one.value
    yield "__getitem__(slice) of bytes", lambda: text[:2]
    yield "__getitem__(slice) of characters", lambda: letters[:2]
    yield "raw of bytes", lambda: text.raw
    yield "raw of numbers", lambda: one.raw


def _array_rules(name):
    return {
        "differs": {f"{name}('b', [300])": OVERFLOW},
        "refused": {f"{name}(Structure)": NO_STRUCTURE},
    }


_RULES = _array_rules("Array")
_RULES["differs"]["__getitem__(slice) of characters"] = "its `value` sets them, as a RawArray's"


@case("multiprocessing.Array()", of="sharedctypes.SynchronizedArray", **_RULES)
def array(side):
    yield from _arrays(side.mp.Array, "Array")
    one = side.mp.Array("i", 2)
    yield "get_lock()", lambda: within(one.get_lock())
    yield "get_obj()", lambda: list(one.get_obj())
    yield "acquire()", one.acquire
    yield "release()", one.release
    yield "__enter__", lambda: within(one)
    yield "Array('i', 2, lock=False)", lambda: hasattr(side.mp.Array("i", 2, lock=False), "get_lock")
    lock = side.mp.RLock()
    yield "Array('i', 2, lock=None)", lambda: within(side.mp.Array("i", 2, lock=None).get_lock())
    yield "Array('i', 2, lock=lock)", lambda: side.mp.Array("i", 2, lock=lock).get_lock() is lock
    yield "Array('i', 2, lock)", lambda: side.mp.Array("i", 2, lock)


@case("multiprocessing.RawArray()", **_array_rules("RawArray"))
def raw_array(side):
    yield from _arrays(side.mp.RawArray, "RawArray")


@case(
    "multiprocessing.sharedctypes",
    refused={
        "copy()": "there is no memory of ctypes behind what is shared; make another from its value",
        "synchronized()": "an object of ctypes lives in one process; `Value` and `Array` have locks",
    },
    notes={
        "SynchronizedBase, Synchronized, SynchronizedArray, SynchronizedString": "classes, for "
        "`isinstance`, of what `Value` and `Array` make",
    },
)
def sharedctypes(side):
    module, more = side.modules["sharedctypes"], {"ctx": side.mp}
    yield "Value('i', 3, ctx=ctx)", lambda: module.Value("i", 3, **more).value
    yield "Array('i', [3], ctx=ctx)", lambda: list(module.Array("i", [3], **more))
    yield "Value('i', 3, lock=False)", lambda: module.Value("i", 3, lock=False, **more).value
    yield "copy()", lambda: type(module.copy(ctypes.c_int(3)))
    yield "synchronized()", lambda: type(module.synchronized(ctypes.c_int(3), **more))
