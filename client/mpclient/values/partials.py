"""The recipe's jobs, partials of functions with plain arguments: a short way to their pickles and back.

    PROTO  functools partial  MARK  module function  argument …  TUPLE REDUCE STOP
    '----------------- head ---------------------'               '---- end -----'

RULES
* It is a pickle like any other: whoever knows nothing of this opens it by the usual ways.
* Only what needs no look is written so: a function that others find under its own plain name, arguments of
  plain types. For all else `dump` returns None, and `load` for what was not written so.
* Where a name leads is looked up for each job, as by any unpickler.
* No argument refers back to another one. So those of many jobs of one function can be written and opened as
  one pickle (`dump_all`, `load_all`), though each job stays a value of its own. The head says so: it begins
  with protocol 4, which picklers of ours do not write.

Cost: a pickler and an unpickler look up two names and build a state that says everything twice, 2 to 3.5 µs;
this way takes a third of that, and a tenth for each of many.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from copyreg import dispatch_table
from functools import partial
from itertools import chain, repeat
from operator import is_
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mpclient.values.rows import (
    BETWEEN,
    MOST_BYTES,
    NUMBERS,
    PLAIN,
    STRINGS,
    are_plain,
    are_short,
    bunch_of,
    dump_apart,
    parts_of,
)
from mpshared.values import PICKLE_PROTOCOL

if TYPE_CHECKING:
    from mpshared.bunch import Bunch

__all__ = ["MAIN", "Call", "Place", "dump", "dump_all", "load", "load_all"]

Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]
"""Function and arguments."""
Place: TypeAlias = tuple[str, str]
"""Module and name of a function; nothing and its digest, where a pool keeps it."""

_BEGIN: Final = b"\x80\x04\x8c\x09functools\x8c\x07partial\x93("
_END: Final = b"tR."
_TEXT: Final = 0x8C
_FOUND: Final = b"\x93"
_FRAME: Final = 0x95
_FRAME_AT: Final = 2
_ELEMENTS_AT: Final = 11
_TUPLES: Final = 3
"""Tuples up to this length are written without a mark before them."""
_NAME_MOST: Final = 0xFF
_REDUCE: Final[Callable[[Any], Any]] = partial.__reduce__
_KEPT: Final = 256
MAIN: Final = frozenset({"__main__", "__mp_main__"})
"""Modules that are another program's elsewhere: what is in them travels by value."""
_FUNCTIONS: Final = frozenset({FunctionType, BuiltinFunctionType, type})

_heads: dict[Any, tuple[str, str, bytes]] = {}
"""Module, name and head of functions."""
_last: tuple[bytes, str, str] = (b"none", "", "")
"""Head, module and name of the function of the job that was loaded last, mostly the next one's too."""


def dump(job: partial[Any]) -> bytes | None:
    """Return the pickle of a job; None: write it in the usual way."""
    reduced: Any = job.__reduce__()
    function, args, keywords, attributes = reduced[2]
    if keywords or attributes:
        return None
    kinds = {*map(type, args)}
    if not (kinds <= NUMBERS or (kinds <= PLAIN and are_short(args) and _are_apart(args))):
        return None
    head = _head_of(function)
    if head is None:
        return None
    data = pickle.dumps(args, PICKLE_PROTOCOL)
    if len(data) > MOST_BYTES:
        return None
    start = _ELEMENTS_AT if data[_FRAME_AT] == _FRAME else _FRAME_AT
    if len(args) > _TUPLES:
        start += 1
    return head + data[start:-3] + _END if args else head + _END


def _are_apart(args: Iterable[Any]) -> bool:
    """Tell whether no text is there twice: the second would be written as a reference to the first."""
    texts = [id(arg) for arg in args if type(arg) in STRINGS]
    return len({*texts}) == len(texts)


def _head_of(function: Any) -> bytes | None:
    """Return how the jobs of a function begin; None: others do not find it under its name."""
    if type(function) not in _FUNCTIONS or partial in dispatch_table:
        return None
    module, name, head = _heads.get(function) or _new_head(function)
    return head if getattr(sys.modules.get(module), name, None) is function else None


def _new_head(function: Any) -> tuple[str, str, bytes | None]:
    module, name = function.__module__, function.__qualname__
    if type(module) is not str or module in MAIN:
        return "", "", None
    if getattr(sys.modules.get(module), name, None) is not function:  # a closure would be kept alive here
        return "", "", None
    texts = [text.encode(errors="surrogatepass") for text in (module, name)]
    if max(map(len, texts)) > _NAME_MOST:
        return "", "", None
    if len(_heads) >= _KEPT:
        _heads.clear()
    head = b"".join([_BEGIN, *(bytes((_TEXT, len(text))) + text for text in texts), _FOUND])
    _heads[function] = module, name, head
    return module, name, head


# -- many at once ---------------------------------------------------------------------------------


def dump_all(jobs: Sequence[Any]) -> Bunch | None:
    """Return what `dump` would for many jobs of one function; None: write them one by one."""
    if {*map(type, jobs)} != {partial}:
        return None
    states = [reduced[2] for reduced in map(_REDUCE, jobs)]
    functions, arguments, keywords, attributes = zip(*states, strict=True)
    function = functions[0]
    if any(keywords) or any(attributes) or not all(map(is_, functions, repeat(function))):
        return None
    head = _head_of(function)
    parts = None if head is None else _dumped_apart(arguments)
    if head is None or parts is None:
        return None
    return bunch_of(head, parts, _END)


def _dumped_apart(arguments: Sequence[tuple[Any, ...]]) -> list[bytes] | None:
    """Return each job's arguments, pickled as the parts of a row; None: they are not plain, or long."""
    everything = [*chain.from_iterable(arguments)]
    if not are_plain(everything):
        return None
    row: list[Any] = []
    for args in arguments:
        row.append(BETWEEN)
        row += args
    return dump_apart(row, len(arguments))


def load_all(bunch: Bunch) -> tuple[Place, list[tuple[Any, ...]]] | None:
    """Return where the function of many jobs is, and the arguments of each; None: open them one by one."""
    if not bunch.data.startswith(_last[0]):
        load(bunch[0])
    head, module, name = _last
    parts = parts_of(bunch, head, _END)
    if parts is None:
        return None
    try:
        arguments = pickle.loads(b"((" + b"t(".join(parts) + b"tl.")
    except Exception:  # noqa: BLE001 - it was not written here; whichever it is says so, when it is opened
        return None
    if [*map(type, arguments)] != [tuple] * len(parts):
        return None
    return (module, name), arguments


def load(data: bytes) -> Call | None:
    """Return the function and the arguments of a job; None: open it in the usual way, which also says what
    is wrong with it.
    """
    head, module, name = _last
    if not (data.startswith(head) and data.endswith(_END)):
        return _load_another(data)
    try:
        function = getattr(sys.modules[module], name)
        args = pickle.loads(b"(" + data[len(head) : -2] + b".")
    except Exception:  # noqa: BLE001 - the module is to be imported first; or it was not written here
        return None
    return (function, args) if callable(function) and type(args) is tuple else None


def _load_another(data: bytes) -> Call | None:
    """Load a job of another function than the last one."""
    global _last  # noqa: PLW0603 - replaced as a whole: any thread may find any one there
    if not (data.startswith(_BEGIN) and data.endswith(_END)):
        return None
    try:
        module, at = _text_at(data, len(_BEGIN))
        name, at = _text_at(data, at)
    except (IndexError, ValueError):
        return None
    if data[at : at + 1] != _FOUND or "." in name:
        return None
    _last = data[: at + 1], module, name
    return load(data)


def _text_at(data: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + data[at + 1]
    if data[at] != _TEXT:
        raise ValueError(data)
    return data[at + 2 : end].decode(errors="surrogatepass"), end
