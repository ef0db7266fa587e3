"""Calls in a pickle that mean plain values or shared objects, and so are not recorded as calls.

Older protocols have no opcode for a set, a bytearray or (protocol 2) bytes, no protocol has one for a complex
number, a range or a slice: a pickle calls the builtin. Each function here makes the value when the arguments
are exactly what Python's own pickler writes, and otherwise says `AS_STUB`: ``bytearray(10**12)`` is a valid
call, and not made here.

RULES
* A function here sees real plain values and stubs only, and calls no method of a stub.
* What is copied is charged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mpshared.symbolic.machine import Machine
from mpshared.symbolic.proxies import OPEN_REF, REBUILD_PROXY, from_open_ref, from_rebuild_proxy
from mpshared.symbolic.stubs import Global, Opaque, Ref

__all__ = ["AS_STUB", "PLAIN_CALLS"]

AS_STUB: Final = object()
"""What a function here returns for a call that it leaves to be recorded."""

_SCALARS: Final = frozenset({int, float, str, bytes, bool, type(None)})
_NAME_CHARACTERS: Final = 1000  # a name put together from parts; what is longer is none


def _call_set(machine: Machine, args: tuple[Any, ...]) -> object:
    return _collected(machine, args, set)


def _call_frozenset(machine: Machine, args: tuple[Any, ...]) -> object:
    return _collected(machine, args, frozenset)


def _collected(machine: Machine, args: tuple[Any, ...], kind: type) -> object:
    match args:
        case ():
            return kind()
        case (list(members),):
            machine.charge(len(members))
            machine.check_keys(members, members)
            return kind(members)
    return AS_STUB


def _call_bytes(_machine: Machine, args: tuple[Any, ...]) -> object:
    return AS_STUB if args else b""


def _call_encode(machine: Machine, args: tuple[Any, ...]) -> object:
    match args:
        case (str(text), "latin1" | "latin-1"):
            machine.charge(len(text))
            return text.encode("latin-1")
    return AS_STUB


def _call_bytearray(machine: Machine, args: tuple[Any, ...]) -> object:
    match args:
        case ():
            return bytearray()
        case (bytes(content),):
            machine.charge(len(content))
            return bytearray(content)
        case (str(), "latin-1"):
            return bytearray(_call_encode(machine, args))  # type: ignore[call-overload]
    return AS_STUB


def _call_complex(_machine: Machine, args: tuple[Any, ...]) -> object:
    match args:
        case (float(real), float(imaginary)):
            return complex(real, imaginary)
    return AS_STUB


def _call_range(_machine: Machine, args: tuple[Any, ...]) -> object:
    if len(args) == 3 and all(type(arg) is int for arg in args) and args[2]:
        return range(*args)
    return AS_STUB


def _call_slice(_machine: Machine, args: tuple[Any, ...]) -> object:
    # Of scalars only: since 3.12 a slice can be a key, and then hashes what is in it.
    if len(args) == 3 and all(type(arg) in _SCALARS for arg in args):
        return slice(*args)
    return AS_STUB


def _call_getattr(machine: Machine, args: tuple[Any, ...]) -> object:
    # Protocols before 4 write nested names as a call; today's form of it is the dotted name.
    match args:
        case (Global(module, qualname), str(name)) if (
            name.isidentifier() and len(qualname + name) < _NAME_CHARACTERS
        ):
            return machine.name(module, f"{qualname}.{name}")
    return AS_STUB


def _call_loads(_machine: Machine, args: tuple[Any, ...]) -> object:
    return Opaque(args[0]) if len(args) == 1 and type(args[0]) is bytes else AS_STUB


def _shared(machine: Machine, ref: Ref | None) -> object:
    if ref is None:
        return AS_STUB
    machine.refs[ref.ident] = None
    return ref


PLAIN_CALLS: Final[dict[tuple[str, str], Callable[[Machine, tuple[Any, ...]], object]]] = {
    ("builtins", "set"): _call_set,
    ("builtins", "frozenset"): _call_frozenset,
    ("builtins", "bytes"): _call_bytes,
    ("builtins", "bytearray"): _call_bytearray,
    ("builtins", "complex"): _call_complex,
    ("builtins", "range"): _call_range,
    ("builtins", "slice"): _call_slice,
    ("builtins", "getattr"): _call_getattr,
    ("_codecs", "encode"): _call_encode,
    ("pickle", "loads"): _call_loads,
    ("_pickle", "loads"): _call_loads,
    REBUILD_PROXY: lambda machine, args: _shared(machine, from_rebuild_proxy(args)),
    OPEN_REF: lambda machine, args: _shared(machine, from_open_ref(args)),
}
