"""The way out: write what was read as a pickle of its own, which gives any reader the original object.

Plain values go through C's pickler. It cannot write a name that does not exist here (it would import it), so
the first stub it meets sends us back to begin again with a writer of our own. This one emits the opcodes that
the peer's pickler had used: names stay names, a call stays a call, ``__new__`` stays ``__new__``, and what
was done to an object is done to it again in the same order.

RULES
* Protocol 4, whoever reads: every Python from 3.8 on does.
* What is one object in the graph is one object at the reader (the memo), cycles included.
* No recursion: an object that contains others is a generator of them, and waits on an explicit stack.
* A frame is a hint for readers of files and is not written.

Sources: the order of opcodes and the treatment of recursive objects, from CPython's ``pickle._Pickler``.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from mpshared.symbolic.limits import PickleTooComplex
from mpshared.symbolic.proxies import written
from mpshared.symbolic.stubs import Face, Global, How, Named, NeedsWriter, Opaque, Ref, Step, Stub, Verb

__all__ = ["dump"]

PROTOCOL: Final = 4
_DEPTH: Final = 1000
"""Of nesting, where the pickle module gives up, or there are stubs. It gives up at as many levels in Python
3.11, at some thousands in 3.12 and 3.13, and from 3.14 on where its thread's stack ends."""
_BATCH: Final = 1000  # items pushed at once; as many as the pickle module does
_OURS: Final = frozenset({Global, Named, Opaque, Ref, Stub})
_LOADS: Final = Global("pickle", "loads")
_PARTIAL: Final = Global("functools", "partial")

Children: TypeAlias = Iterator[object]
"""What writing an object asks to be written, in order; between two of them it writes opcodes itself."""


def dump(obj: object, *, face: Face) -> bytes:
    """Return a pickle of `obj` that gives its reader, through plain ``pickle.loads``, the original object.

    Args:
        obj: What `load` returned, or anything made of plain values, `Named`, `Opaque` and `Ref`. Among these,
            a real object of some other class is pickled on its own by the pickle module: what it shares with
            the rest becomes a copy.
        face: How shared objects are written: `OWN` for our client, `Stock(address)` for a standard one.

    Raises:
        PickleTooComplex: `obj` is nested deeper than 1000, and than the pickle module could write it.
        TypeError: A real object holds a stub inside, or cannot be pickled at all.

    Cost: that of ``pickle.dumps`` for plain values; about 1 µs an object otherwise.
    """
    if type(obj) is not tuple or _OURS.isdisjoint(
        map(type, obj)
    ):  # else, as for most replies, C would try in vain
        try:
            return pickle.dumps(obj, PROTOCOL)
        except (NeedsWriter, RecursionError):
            pass
    writer = _Writer(face)
    writer.write(obj)
    return writer.finished()


class _Writer:
    """One pickle being written."""

    __slots__ = ("_face", "_memo", "_open", "_out")

    def __init__(self, face: Face) -> None:
        self._out: list[bytes] = [b"\x80\x04"]
        self._memo: dict[int, tuple[int, object]] = {}
        """By identity: the number, and the object itself so that its id stays taken."""
        self._open: dict[int, int] = {}
        """Objects whose arguments are being written now, and how often: a cycle leads back to them."""
        self._face = face

    def finished(self) -> bytes:
        self._out.append(b".")
        return b"".join(self._out)

    def write(self, obj: object) -> None:
        """Write `obj` and all below it, depth first, on a stack of our own."""
        waiting: list[Children] = [iter((obj,))]
        while waiting:
            for child in waiting[-1]:
                children = self._begin(child)
                if children is not None:
                    waiting.append(children)
                    break
            else:
                waiting.pop()
            if len(waiting) > _DEPTH:
                raise PickleTooComplex(
                    f"a value is nested deeper than {_DEPTH}: store its parts one by one, or pickle it to "
                    "bytes first"
                )

    def _begin(self, obj: Any) -> Children | None:
        """Write `obj` at once when nothing is below it, else return what is."""
        kind = type(obj)
        atom = _ATOMS.get(kind)
        if atom is not None:
            self._out.append(atom(obj))
            return None
        known = self._memo.get(id(obj))
        if known is not None:
            self._get(known[0])
            return None
        leaf = _LEAVES.get(kind)
        if leaf is not None:
            self._out.append(leaf(obj))
            self._memoize(obj)
            return None
        return _BRANCHES.get(kind, _Writer.write_embedded)(self, obj)

    def _get(self, index: int) -> None:
        self._out.append(b"h%c" % index if index < 256 else b"j" + index.to_bytes(4, "little"))

    def _memoize(self, obj: object) -> None:
        self._memo[id(obj)] = len(self._memo), obj
        self._out.append(b"\x94")

    # -- containers -------------------------------------------------------------------------------

    def write_list(self, items: list[object]) -> Children:
        self._out.append(b"]")
        self._memoize(items)
        return self._batches(items, b"a", b"e")

    def write_dict(self, items: dict[object, object]) -> Children:
        self._out.append(b"}")
        self._memoize(items)
        return self._pairs(list(items.items()))

    def write_set(self, members: set[object]) -> Children:
        self._out.append(b"\x8f")
        self._memoize(members)
        return self._batches(list(members), b"", b"\x90")

    def _batches(self, items: list[object], one: bytes, many: bytes) -> Children:
        """Write `items` in runs closed by the opcode `many`, a single one by `one` where there is one."""
        if len(items) == 1 and one:
            yield items[0]
            self._out.append(one)
            return
        for start in range(0, len(items), _BATCH):
            self._out.append(b"(")
            yield from items[start : start + _BATCH]
            self._out.append(many)

    def _pairs(self, pairs: list[tuple[object, object]]) -> Children:
        for start in range(0, len(pairs), _BATCH):
            self._out.append(b"(")
            for key, value in pairs[start : start + _BATCH]:
                yield key
                yield value
            self._out.append(b"u")

    def write_tuple(self, items: tuple[object, ...]) -> Children:
        short = _TUPLES.get(len(items))
        if short is None:
            self._out.append(b"(")
        yield from items
        if id(items) in self._memo:  # it contains itself, and was written from within
            self._out.append(b"1" if short is None else b"0" * len(items))
            self._get(self._memo[id(items)][0])
            return
        self._out.append(short or b"t")
        if items:
            self._memoize(items)

    def write_frozenset(self, members: frozenset[object]) -> Children:
        self._out.append(b"(")
        yield from members
        if id(members) in self._memo:
            self._out.append(b"1")
            self._get(self._memo[id(members)][0])
            return
        self._out.append(b"\x91")
        self._memoize(members)

    # -- names and objects ------------------------------------------------------------------------

    def write_global(self, name: Global) -> None:
        self._begin(name.module)
        self._begin(name.qualname)
        self._out.append(b"\x93")
        self._memoize(name)

    def write_stub(self, stub: Stub) -> Children:
        yield stub.callee
        yield from self._arguments(stub)
        self._out.append(_MAKERS[stub.how])
        if id(stub) in self._memo:  # its arguments led back to it, and it was written from within
            self._out.append(b"0")
            self._get(self._memo[id(stub)][0])
            return
        self._memoize(stub)
        for step in stub.steps:
            yield from self._step(stub, step)

    def _arguments(self, stub: Stub) -> Children:
        """Write the arguments of `stub`, which may contain it.

        A set of a class of one's own pickles as a call with a fresh list of its members each time. Met again
        from within its members, it must be complete: so the second time its containers are written as copies,
        because the originals are half written. (What it contains is written by then, so this ends.)
        """
        depth = self._open.get(id(stub), 0)
        self._open[id(stub)] = depth + 1
        args = stub.args if depth != 1 else tuple(_copied(arg) for arg in stub.args)
        yield args
        if stub.how is How.NEW_EX:
            yield stub.kwargs
        self._open[id(stub)] = depth

    def _step(self, stub: Stub, step: Step) -> Children:
        verb, content = step
        match verb, content:
            case Verb.STATE, _:
                yield content
                self._out.append(b"b")
            case Verb.APPEND, list(items):
                yield from self._batches(items, b"a", b"e")
            case Verb.STORE, list(pairs):
                yield from self._pairs(pairs)
            case Verb.ADD, list(members):
                yield from self._batches(members, b"", b"\x90")
            case Verb.SETTER, (function, state):
                yield function
                yield stub
                yield state
                self._out.append(b"\x86R0")

    def _called(self, obj: object, callee: Global, args: tuple[object, ...]) -> Children:
        yield callee
        yield args
        self._out.append(b"R")
        self._memoize(obj)

    def write_named(self, call: Named) -> Children:
        return self._called(call, Global(call.module, call.qualname), call.args)

    def write_ref(self, ref: Ref) -> Children:
        call = written(ref, self._face)
        return self._called(ref, Global(call.module, call.qualname), call.args)

    def write_opaque(self, value: Opaque) -> Children | None:
        if not value.buffers:  # the most frequent of all, so written without a detour
            self._begin(_LOADS)
            self._begin(
                bytes(value.data)
            )  # of a subclass of bytes, too: its class is ours, and not the reader's
            self._out.append(b"\x85R")
            self._memoize(value)
            return None
        # A call in a pickle has no keywords: the reader makes a partial that has them, and calls it.
        load = Stub(How.CALL, _PARTIAL, (_LOADS,))
        load.steps.append(
            (Verb.STATE, (_LOADS, (bytes(value.data),), {"buffers": list(value.buffers)}, None))
        )
        return self._whole(value, Stub(How.CALL, load, ()))

    def _whole(self, obj: object, stub: Stub) -> Children:
        """Write `stub` for `obj`."""
        yield stub
        self._memo[id(obj)] = self._memo[id(stub)]
        self._memo[id(stub)] = self._memo[id(stub)][0], (stub, obj)  # both stay alive

    def write_builtin(self, obj: Any) -> Children:
        """Write a plain value that has no opcode, as a call of its type."""
        args = _ARGUMENTS[type(obj)](obj)
        return self._called(obj, Global("builtins", type(obj).__name__), args)

    def write_constant(self, obj: object) -> Children:
        yield Global("builtins", repr(obj))

    def write_embedded(self, obj: object) -> Children:
        """Write a real object of this process, by the pickle module, as a pickle within."""
        try:
            data = pickle.dumps(obj, PROTOCOL)
        except NeedsWriter as error:
            raise TypeError(
                f"cannot write a {type(obj).__name__} which holds values that are kept as data: {error}"
            ) from error
        return self._called(obj, _LOADS, (data,))


def _copied(container: object) -> object:
    """Return a shallow copy of a plain mutable container, and anything else as it is."""
    return container.copy() if type(container) in {list, dict, set} else container  # type: ignore[attr-defined]


# -- tables ---------------------------------------------------------------------------------------


def _sized(*forms: tuple[int, bytes]) -> Callable[[bytes], bytes]:
    """Return a function that puts opcode and length before bytes; the first width that is enough is used."""

    def write(payload: bytes) -> bytes:
        size = len(payload)
        for width, opcode in forms:
            if size < 1 << 8 * width:
                return b"".join((opcode, size.to_bytes(width, "little"), payload))
        raise AssertionError("no object has 2**64 bytes")

    return write


_sized_text: Final = _sized((1, b"\x8c"), (4, b"X"), (8, b"\x8d"))
_sized_bytes: Final = _sized((1, b"C"), (4, b"B"), (8, b"\x8e"))
_sized_long: Final = _sized((1, b"\x8a"), (4, b"\x8b"))
_DOUBLE: Final = struct.Struct(">d")


def _int(value: int) -> bytes:
    if 0 <= value < 1 << 8:
        return b"K%c" % value
    if -1 << 31 <= value < 1 << 31:
        return b"J" + value.to_bytes(4, "little", signed=True)
    return _sized_long(pickle.encode_long(value))


_ATOMS: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda _: b"N",
    bool: lambda value: b"\x88" if value else b"\x89",
    int: _int,
    float: lambda value: b"G" + _DOUBLE.pack(value),
}
"""Written anew each time they are met."""

_LEAVES: Final[dict[type, Callable[[Any], bytes]]] = {
    str: lambda value: _sized_text(value.encode("utf-8", "surrogatepass")),
    bytes: _sized_bytes,
}
"""Written once; then referred to."""

_ARGUMENTS: Final[dict[type, Callable[[Any], tuple[object, ...]]]] = {
    bytearray: lambda value: (bytes(value),),
    complex: lambda value: (value.real, value.imag),
    range: lambda value: (value.start, value.stop, value.step),
    slice: lambda value: (value.start, value.stop, value.step),
}

_BRANCHES: Final[dict[type, Callable[[_Writer, Any], Children | None]]] = {
    list: _Writer.write_list,
    dict: _Writer.write_dict,
    set: _Writer.write_set,
    tuple: _Writer.write_tuple,
    frozenset: _Writer.write_frozenset,
    Global: _Writer.write_global,
    Stub: _Writer.write_stub,
    Ref: _Writer.write_ref,
    Opaque: _Writer.write_opaque,
    Named: _Writer.write_named,
    type(...): _Writer.write_constant,
    type(NotImplemented): _Writer.write_constant,
    **dict.fromkeys(_ARGUMENTS, _Writer.write_builtin),
}

_TUPLES: Final = {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}
_MAKERS: Final = {How.CALL: b"R", How.NEW: b"\x81", How.NEW_EX: b"\x92"}
