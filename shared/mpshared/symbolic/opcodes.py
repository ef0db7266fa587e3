"""Pickle's opcodes, one small function each, and the table of them.

| opcodes                              | here                                                            |
|--------------------------------------|-----------------------------------------------------------------|
| numbers, text, bytes, containers     | push the plain value                                            |
| GLOBAL, STACK_GLOBAL                 | push a `Global`                                                 |
| REDUCE, NEWOBJ, NEWOBJ_EX            | push a `Stub` (or a plain value: `mpshared.symbolic.calls`)     |
| BUILD, APPEND…, SETITEM…, ADDITEMS   | do it to a plain container, or record it in a stub              |
| what no pickler writes in protocols 2 to 5 | are refused, by name                                      |

Sources: CPython's `pickletools` for what each opcode means, `pickle.Pickler.save_reduce` for the order in
which they come in an object's life.
"""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from mpshared.symbolic.calls import AS_STUB, PLAIN_CALLS
from mpshared.symbolic.limits import MalformedPickle, PickleTooComplex
from mpshared.symbolic.machine import Machine
from mpshared.symbolic.plain import LENGTHS
from mpshared.symbolic.stubs import Global, How, Stub, Verb

__all__ = ["OPCODES", "STOP"]

Opcode: TypeAlias = Callable[[Machine], None]

STOP: Final = ord(".")
_NEWEST_PROTOCOL: Final = 5
_DOUBLE: Final = struct.Struct(">d")
_LEAF_OPCODES: Final = b"KMJG\x8aN\x88\x89\x8cC"
_LEAVES: Final = re.compile(
    rb"(?s:(?:K.|M..|J.{4}|G.{8}|\x8a(?:\x05.{5}|\x06.{6}|\x07.{7}|\x08.{8})|[N\x88\x89]|[\x8cC](?:"
    + LENGTHS
    + rb")\x94){16,1024}+)"
)
"""Numbers, and texts and bytes that are memoized: as many as make the detour worthwhile, and so few that C
has them at once."""


def _constant(value: object) -> Opcode:
    def push(machine: Machine) -> None:
        machine.stack.append(value)

    return push


# -- numbers, text, bytes -------------------------------------------------------------------------


def _binint1(machine: Machine) -> None:
    machine.stack.append(machine.data[machine.at])
    machine.at += 1


def _unsigned(width: int) -> Opcode:
    def push(machine: Machine) -> None:
        machine.stack.append(machine.take_int(width))

    return push


def _binint(machine: Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(4), "little", signed=True))


def _long(width: int) -> Opcode:
    def push(machine: Machine) -> None:
        machine.stack.append(int.from_bytes(machine.take(machine.take_int(width)), "little", signed=True))

    return push


def _binfloat(machine: Machine) -> None:
    machine.stack.append(_DOUBLE.unpack(machine.take(8))[0])


def _short_text(machine: Machine) -> None:
    start = machine.at + 1
    machine.at = end = start + machine.data[start - 1]
    if end > len(machine.data):
        raise MalformedPickle("a pickle is cut off within a text")
    machine.stack.append(machine.data[start:end].decode("utf-8", "surrogatepass"))


def _text(width: int) -> Opcode:
    def push(machine: Machine) -> None:
        machine.stack.append(machine.take(machine.take_int(width)).decode("utf-8", "surrogatepass"))

    return push


def _bytes(width: int) -> Opcode:
    def push(machine: Machine) -> None:
        machine.stack.append(machine.take(machine.take_int(width)))

    return push


def _bytearray8(machine: Machine) -> None:
    machine.stack.append(bytearray(machine.take(machine.take_int(8))))


def _next_buffer(machine: Machine) -> None:
    machine.stack.append(machine.next_buffer())


def _readonly_buffer(machine: Machine) -> None:
    buffer = machine.stack[-1]
    if type(buffer) is not bytearray:
        raise MalformedPickle(f"a pickle makes a {type(buffer).__name__} read-only: only buffers can be")
    machine.charge(len(buffer))
    machine.stack[-1] = bytes(buffer)


# -- containers -----------------------------------------------------------------------------------


def _mark(machine: Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []
    if machine.data[machine.at] in _LEAF_OPCODES:
        _leaves(machine)


def _leaves(machine: Machine) -> None:
    """Push a long run of numbers and texts, if one stands here: they name nothing, and C is 20 times faster.

    The memo of C's unpickler is a new one, so what was memoized is entered into that of the machine.
    """
    while (run := _LEAVES.match(machine.data, machine.at)) is not None:
        leaves = pickle.loads(b"(" + run.group() + b"t.")
        machine.stack.extend(leaves)
        machine.at = run.end()
        texts = [leaf for leaf in leaves if type(leaf) is str or type(leaf) is bytes]
        if texts:
            first = len(machine.memo)
            machine.memo.update(enumerate(texts, first))
            machine.fresh = None
        machine.pay((len(leaves) + 3 * len(texts)) >> 3)


def _empty(kind: type) -> Opcode:
    def push(machine: Machine) -> None:
        machine.stack.append(kind())

    return push


def _tuple(machine: Machine) -> None:
    items = machine.pop_mark()
    machine.stack.append(tuple(items))


def _tuple_of(size: int) -> Opcode:
    def push(machine: Machine) -> None:
        stack = machine.stack
        items = tuple(stack[-size:])
        if len(items) < size:
            raise MalformedPickle(f"a pickle makes a tuple of {size} from {len(items)} values: it is damaged")
        stack[-size:] = (items,)

    return push


def _frozenset(machine: Machine) -> None:
    members = machine.pop_mark()
    machine.check_keys(members, members)
    machine.stack.append(frozenset(members))


def _append(machine: Machine) -> None:
    item = machine.stack.pop()
    _extend(machine, [item])


def _appends(machine: Machine) -> None:
    items = machine.pop_mark()
    _extend(machine, items)


def _extend(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is list:
        target.extend(items)
    else:
        _record(target, Verb.APPEND, items)


def _setitem(machine: Machine) -> None:
    value = machine.stack.pop()
    key = machine.stack.pop()
    _store(machine, [key], [value])


def _setitems(machine: Machine) -> None:
    flat = machine.pop_mark()
    if len(flat) % 2:
        raise MalformedPickle("a pickle stores a key without a value: it is damaged")
    _store(machine, flat[::2], flat[1::2])


def _store(machine: Machine, keys: list[Any], values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is dict:
        machine.check_keys(target, keys)
        target.update(zip(keys, values, strict=True))
    else:
        _record(target, Verb.STORE, list(zip(keys, values, strict=True)))


def _additems(machine: Machine) -> None:
    members = machine.pop_mark()
    target = machine.stack[-1]
    if type(target) is set:
        machine.check_keys(target, members)
        target.update(members)
    else:
        _record(target, Verb.ADD, members)


def _record(target: object, verb: Verb, content: list[Any]) -> None:
    """Note in a stub that `content` goes into it; batches of one kind that follow each other are one step.

    An empty batch is nothing at all, whatever it is for: so it is to the pickle module.
    """
    if not content:
        return
    if type(target) is not Stub:
        raise MalformedPickle(f"a pickle tries to {verb.value} to a {type(target).__name__}: it is damaged")
    if target.steps and target.steps[-1][0] is verb:
        target.steps[-1][1].extend(content)  # type: ignore[attr-defined]
    else:
        target.steps.append((verb, content))


# -- the stack and the memo -----------------------------------------------------------------------


def _pop(machine: Machine) -> None:
    """Drop the top: what is left of a recursive object, or of a call made only for its effect."""
    dropped = machine.stack.pop()
    match dropped:
        case Stub(args=(target, state)) if (
            dropped is machine.fresh and machine.stack and machine.stack[-1] is target
        ):
            if type(target) is Stub and dropped.how is How.CALL:
                target.steps.append((Verb.SETTER, (dropped.callee, state)))


def _pop_mark(machine: Machine) -> None:
    machine.pop_mark()


def _memoize(machine: Machine) -> None:
    memo = machine.memo
    memo[len(memo)] = machine.stack[-1]
    machine.fresh = None


def _put(width: int) -> Opcode:
    def put(machine: Machine) -> None:
        index = machine.take_int(width)
        if index > len(machine.data):
            # Harmless here, where the memo is a dict. The pickle module makes an array of this size.
            raise PickleTooComplex(
                f"a pickle of {len(machine.data)} bytes asks for a memo of {index} entries: it would fill "
                "the memory of whoever opens it, and was not stored"
            )
        machine.memo[index] = machine.stack[-1]
        machine.fresh = None

    return put


def _binget(machine: Machine) -> None:
    machine.stack.append(machine.memo[machine.data[machine.at]])
    machine.at += 1


def _get(width: int) -> Opcode:
    def get(machine: Machine) -> None:
        machine.stack.append(machine.memo[machine.take_int(width)])

    return get


# -- names and objects ----------------------------------------------------------------------------


def _global(machine: Machine) -> None:
    module, qualname = machine.take_line(), machine.take_line()
    machine.stack.append(machine.name(module, qualname))


def _stack_global(machine: Machine) -> None:
    qualname, module = machine.stack.pop(), machine.stack.pop()
    if type(qualname) is not str or type(module) is not str:
        raise MalformedPickle("a pickle names something by what is no text: it is damaged")
    machine.stack.append(machine.name(module, qualname))


def _reduce(machine: Machine) -> None:
    args, callee = machine.stack.pop(), machine.stack.pop()
    made: object = AS_STUB
    if type(args) is not tuple:
        raise MalformedPickle(f"a pickle calls with a {type(args).__name__} for arguments: it is damaged")
    if type(callee) is Global:
        plain = PLAIN_CALLS.get((callee.module, callee.qualname))
        if plain is not None:
            made = plain(machine, args)
    if made is AS_STUB:
        made = machine.fresh = Stub(How.CALL, _callable(callee), args)
    machine.stack.append(made)


def _newobj(machine: Machine) -> None:
    args, callee = machine.stack.pop(), machine.stack.pop()
    if type(args) is not tuple:
        raise MalformedPickle(f"a pickle makes an object from a {type(args).__name__}: it is damaged")
    machine.stack.append(Stub(How.NEW, _callable(callee), args))


def _newobj_ex(machine: Machine) -> None:
    kwargs, args, callee = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    if type(args) is not tuple or type(kwargs) is not dict:
        raise MalformedPickle("a pickle makes an object from what are no arguments: it is damaged")
    machine.stack.append(Stub(How.NEW_EX, _callable(callee), args, kwargs))


def _callable(callee: object) -> Global | Stub:
    if isinstance(callee, Global | Stub):
        return callee
    raise MalformedPickle(f"a pickle calls a {type(callee).__name__}: it is damaged")


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if type(target) is not Stub:
        raise MalformedPickle(f"a pickle gives a {type(target).__name__} a state: it is damaged")
    target.steps.append((Verb.STATE, state))


# -- the message ----------------------------------------------------------------------------------


def _proto(machine: Machine) -> None:
    machine.protocol = machine.take_int(1)
    if machine.protocol > _NEWEST_PROTOCOL:
        raise MalformedPickle(
            f"a pickle of protocol {machine.protocol}: this server knows those up to {_NEWEST_PROTOCOL}, "
            f"pickle with protocol={_NEWEST_PROTOCOL}"
        )


def _frame(machine: Machine) -> None:
    size = machine.take_int(8)
    if size > len(machine.data) - machine.at:
        raise MalformedPickle(
            f"a pickle is cut off: a frame announces {size} bytes, {len(machine.data) - machine.at} follow"
        )
    _leaves(machine)  # a frame begins anywhere: in the middle of a run, too


def _refused(why: str) -> Opcode:
    def refuse(machine: Machine) -> NoReturn:
        opcode = machine.data[machine.at - 1]
        raise MalformedPickle(f"byte {machine.at - 1} of a pickle, {opcode:#04x}, {why}")

    return refuse


_OLD: Final = "is of protocol 0 or 1, which this server does not read: pickle with protocol 2 or later"
_WHY_REFUSED: Final[dict[bytes, str]] = {
    b"FILSTUVdgilop": _OLD,
    b"PQ": "refers to something outside of the pickle (persistent_id): send the object itself",
    b"\x82\x83\x84": "refers to the sender's copyreg registry, which no other process has: send it by name",
    b"2": "is DUP, which no pickler writes: the pickle is damaged",
}

_TABLE: Final[dict[bytes, Opcode]] = {
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b")": _constant(()),
    b"K": _binint1,
    b"M": _unsigned(2),
    b"J": _binint,
    b"\x8a": _long(1),
    b"\x8b": _long(4),
    b"G": _binfloat,
    b"\x8c": _short_text,
    b"X": _text(4),
    b"\x8d": _text(8),
    b"C": _bytes(1),
    b"B": _bytes(4),
    b"\x8e": _bytes(8),
    b"\x96": _bytearray8,
    b"\x97": _next_buffer,
    b"\x98": _readonly_buffer,
    b"(": _mark,
    b"]": _empty(list),
    b"}": _empty(dict),
    b"\x8f": _empty(set),
    b"t": _tuple,
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"\x91": _frozenset,
    b"a": _append,
    b"e": _appends,
    b"s": _setitem,
    b"u": _setitems,
    b"\x90": _additems,
    b"0": _pop,
    b"1": _pop_mark,
    b"\x94": _memoize,
    b"q": _put(1),
    b"r": _put(4),
    b"h": _binget,
    b"j": _get(4),
    b"c": _global,
    b"\x93": _stack_global,
    b"R": _reduce,
    b"\x81": _newobj,
    b"\x92": _newobj_ex,
    b"b": _build,
    b"\x80": _proto,
    b"\x95": _frame,
}


def _by_number() -> list[Opcode]:
    """Return the table as a list by opcode: an index is the fastest way to a function."""
    table = [_refused("is no opcode of pickle: the pickle is damaged")] * 256
    for group, why in _WHY_REFUSED.items():
        for number in group:
            table[number] = _refused(why)
    for opcode, function in _TABLE.items():
        table[ord(opcode)] = function
    return table


OPCODES: Final = _by_number()
