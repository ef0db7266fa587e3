"""The way in: pickles as data.

Plain pickles, which name nothing, are opened by C once `mpshared.symbolic.plain` has proved that this is
cheap. All others, and large ones, go through a machine of our own: pickle's stack machine without the two
things that make pickles dangerous. It imports nothing and calls nothing. What an opcode would import becomes
a `Global`, what it would make by calling one becomes a `Stub`; only the plain types that pickles make by a
call (`mpshared.symbolic.calls`) become real.

    data ── small and plain? ── yes ── pickle.loads ────────────────────────────────► object
              └──────────────── no ─── Machine, an opcode, or many numbers, at a time ─► object, refs

RULES
* Whatever the bytes, `load` returns or raises `MalformedPickle`; any other exception is our bug.
* Time and memory are bounded by the message's length, and by `Limits`.
* Between two steps others may go on: nothing here is in C for long.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from typing import Final

from mpshared.symbolic.limits import DEFAULT, LARGE, Limits, MalformedPickle
from mpshared.symbolic.machine import Machine
from mpshared.symbolic.opcodes import OPCODES, STOP
from mpshared.symbolic.plain import is_plain
from mpshared.symbolic.stubs import Stub

__all__ = ["load", "load_number", "load_with_refs"]

_BROKEN: Final = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
    struct.error,
)
"""What broken bytes make the pickle module, and the machine below, raise."""
_SMALL_BYTES: Final = 1 << 16
"""Of these C makes 5 MB at most, within some milliseconds."""
_STEPS: Final = 1024


def load(data: bytes, *, buffers: Sequence[bytes] = (), limits: Limits = DEFAULT) -> object:
    """Return the object that the pickle `data` describes, without importing or calling anything it names.

    Do not compare, hash or print the result with Python's own means: it may be cyclic, or share so much that
    this takes for ever. Use `equal`, `key` and `text`.

    Args:
        data: One whole pickle, of protocol 2 to 5.
        buffers: Its out-of-band buffers (protocol 5), in order.
        limits: What it may cost.

    Raises:
        PickleTooComplex: It could take more time or memory than its size explains.
        MalformedPickle: It is broken, or uses what this server refuses.

    Cost: for plain data about twice that of `pickle.loads`; with names in it, about 0.2 µs an opcode.
    """
    return load_with_refs(data, buffers=buffers, limits=limits)[0]


def load_with_refs(
    data: bytes, *, buffers: Sequence[bytes] = (), limits: Limits = DEFAULT
) -> tuple[object, tuple[str, ...]]:
    """Return what `load` returns, and the idents of the shared objects in it, each once, in the order met."""
    # Limits of one's own are measured exactly; the fast way's are built in.
    if len(data) <= _SMALL_BYTES and (limits is DEFAULT or limits is LARGE) and is_plain(data):
        try:
            return pickle.loads(data), ()
        except _BROKEN as error:
            raise _malformed(data, error) from error
    machine = Machine(data, buffers, limits)
    try:
        return _run(machine), tuple(machine.refs)
    except MalformedPickle:
        raise
    except _BROKEN as error:
        raise _malformed(data, error) from error


def load_number(data: bytes) -> int | float:
    """Return the number that the pickle `data` is; raise TypeError, naming the type, when it is none."""
    value = load(data)
    if type(value) in {int, float, bool}:
        return value  # type: ignore[return-value]
    kind = value.name if isinstance(value, Stub) else type(value).__name__
    raise TypeError(
        f"expected a number, the value is a {kind[:200]}: only int and float can be counted up on the "
        "server, use cas() to change other values"
    )


def _malformed(data: bytes, error: Exception) -> MalformedPickle:
    what = f"{type(error).__name__}: {error}"[:200]
    return MalformedPickle(
        f"a pickle of {len(data)} bytes cannot be read ({what}): it is cut off or damaged, or was not made "
        "by Python's pickle with protocol 2 to 5; the value was not stored, send it again"
    )


def _run(machine: Machine) -> object:
    """Run `machine` to the end of its pickle; return what is on top of its stack there."""
    data, opcodes = machine.data, OPCODES
    opcode = data[machine.at]
    while opcode != STOP:
        machine.pay(_STEPS)
        for _ in range(_STEPS):
            machine.at += 1
            opcodes[opcode](machine)
            opcode = data[machine.at]
            if opcode == STOP:
                break
    rest = len(data) - machine.at - 1
    if rest:
        raise MalformedPickle(f"{rest} bytes follow the end of a pickle: send one pickle at a time")
    return machine.stack.pop()
