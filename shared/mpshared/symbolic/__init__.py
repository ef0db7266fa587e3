r"""Pickles as data: read, compare, show and write what other programs pickled, and run none of it.

The server holds objects of programs that it does not know, and must not become a shell for whoever has the
key. So nothing that a pickle names is imported or called here. A pickle is read into plain values and *stubs*
that record what it says, and is written back so that a reader with plain ``pickle.loads`` gets the original
object.

    peer's pickle ── load ──► values and stubs ── dump ──► pickle for any reader
                                │   │    │
                              equal key text

Read in this order:

| file           | what is in it                                                                  |
|----------------|--------------------------------------------------------------------------------|
| `stubs.py`     | what stands for a name, an object, a shared object; how to write for whom      |
| `limits.py`    | what a pickle may cost, and the errors                                         |
| `reading.py`   | `load`: plain pickles by C, all others by the machine                          |
| `plain.py`     | the proof that a pickle is plain and cheap                                     |
| `machine.py`, `opcodes.py`, `calls.py` | the machine: its state, its opcodes, the calls that mean values |
| `proxies.py`   | shared objects: the standard library's form, ours, and what is between         |
| `writing.py`   | `dump`                                                                         |
| `comparing.py` | `equal`, `matcher`, `key`, `plain_order`                                       |
| `showing.py`   | `text`                                                                         |

RULES
* Whatever the bytes: `load` returns or raises `MalformedPickle`, in bounded time and memory.
* What `load` returned is touched by Python's own ``==``, ``hash``, ``repr`` and ``sorted`` only after one of
  the functions here said so: it may be cyclic, or share so much that these would not end.
"""

from __future__ import annotations

from mpshared.symbolic.comparing import ForeignKey, equal, key, matcher, plain_order
from mpshared.symbolic.limits import DEFAULT, LARGE, ForeignOrder, Limits, MalformedPickle, PickleTooComplex
from mpshared.symbolic.reading import load, load_number, load_with_refs
from mpshared.symbolic.showing import text
from mpshared.symbolic.stubs import (
    OWN,
    Address,
    Face,
    Foreign,
    Global,
    How,
    Named,
    Opaque,
    Own,
    Ref,
    Stock,
    Stub,
    Verb,
)
from mpshared.symbolic.writing import dump

__all__ = [
    "DEFAULT",
    "LARGE",
    "OWN",
    "Address",
    "Face",
    "Foreign",
    "ForeignKey",
    "ForeignOrder",
    "Global",
    "How",
    "Limits",
    "MalformedPickle",
    "Named",
    "Opaque",
    "Own",
    "PickleTooComplex",
    "Ref",
    "Stock",
    "Stub",
    "Verb",
    "dump",
    "equal",
    "key",
    "load",
    "load_number",
    "load_with_refs",
    "matcher",
    "plain_order",
    "text",
]
