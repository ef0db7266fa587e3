"""What an operator's object may be given, judged as data before anything of it is opened.

Opening a pickle hashes keys, and calls what it names. Both run in C, where no thread can be stopped and no
other one goes on: a hundred bytes could hold the server up for ever, or ask for all of its memory.

RULES
* Hashing may walk as many nodes as the pickle's size explains, and no deeper: the same limits as for what
  the server hashes itself.
* Of the standard library only the calls that its own pickles contain; never the result of another call.
* Nothing is made that is much larger than what was sent: ranges are small pickles of large things.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from mpshared.errors import BadValue, NotSupported
from mpshared.symbolic import DEFAULT, Global, How, Stub, Verb

__all__ = ["judge"]

RANGE_MAX: Final = 1_000_000
"""Numbers of a range that an object is made from; that happens in a thread of its own."""

_SCALARS: Final = frozenset({type(None), bool, int, float, complex, str, bytes, Global})
_KEYS_IN: Final = frozenset({Verb.STORE, Verb.ADD})


def judge(arguments: object, size_bytes: int) -> None:
    """Raise if opening `arguments` could do more than make data.

    Args:
        arguments: What `symbolic.load` returned.
        size_bytes: Of their pickle.

    Raises:
        NotSupported: A call that no pickle of plain data, or of objects of a class, contains.
        BadValue: A key that takes long to hash, or a call that makes something huge.
    """
    _Judgement(DEFAULT.hashing_per_byte * size_bytes + DEFAULT.key_nodes).walk(arguments)


class _Judgement:
    """One walk over a graph, each object once."""

    def __init__(self, allowance: int) -> None:
        self._allowance = allowance
        self._seen: set[int] = set()

    def walk(self, root: object) -> None:
        todo = [root]
        while todo:
            obj = todo.pop()
            if type(obj) in _SCALARS or id(obj) in self._seen:
                continue
            self._seen.add(id(obj))
            if isinstance(obj, Stub):
                _check_call(obj)
            for key in _keys_of(obj):
                self._charge(key)
            todo.extend(_children(obj))

    def _charge(self, key: object) -> None:
        """Pay for hashing a key: what is shared in it is hashed as often as it is met."""
        todo = [(key, 0)]
        while todo:
            node, depth = todo.pop()
            self._allowance -= 1 + (node.bit_length() >> 6 if isinstance(node, int) else 0)
            if self._allowance < 0 or depth > DEFAULT.key_depth:
                raise BadValue(
                    "a dict key or set member takes long to hash: it is nested deep, or shares much; the "
                    "call was not made, use smaller keys"
                )
            todo.extend((child, depth + 1) for child in _children(node))


def _children(obj: Any) -> Iterable[object]:
    match obj:
        case tuple() | list() | set() | frozenset():
            return obj
        case dict():
            return [*obj, *obj.values()]
        case slice():
            return obj.start, obj.stop, obj.step
        case Stub():
            return [obj.callee, obj.args, obj.kwargs, *(content for _, content in obj.steps)]
    return ()


def _keys_of(obj: Any) -> Iterator[object]:
    """Yield what opening `obj` hashes."""
    match obj:
        case dict() | set() | frozenset():
            yield from obj
        case Stub():
            for verb, content in obj.steps:
                if verb in _KEYS_IN and isinstance(content, list):
                    yield from ((each[0] if verb is Verb.STORE else each) for each in content)


def _check_call(stub: Stub) -> None:
    """Refuse a call that could make something else than the data it was pickled from."""
    if not isinstance(stub.callee, Global):
        raise _refusal("the result of a call", "calls it")
    if stub.callee.module in _JUDGED and not _is_usual(stub):
        raise _refusal(str(stub.callee), "calls it as no pickle of plain data does")
    for arg in stub.args:
        if isinstance(arg, range) and (arg.stop - arg.start) // arg.step > RANGE_MAX:
            raise BadValue(f"an object cannot be made from a range of more than {RANGE_MAX} numbers")


_JUDGED: Final = frozenset({"_codecs", "builtins", "collections"})


def _is_usual(stub: Stub) -> bool:
    """Tell whether a container of the standard library is made as by its pickle: empty, or of plain ones."""
    assert isinstance(stub.callee, Global)
    match stub.how, stub.callee.qualname, stub.args:
        case (
            (How.CALL, "list" | "tuple", (list(),))
            | (How.CALL, "Counter", () | (dict(),))
            | (How.CALL, "OrderedDict", ())
            | (How.CALL, "defaultdict", () | (Global(),))
            | (How.CALL, "deque", () | ((),) | ((), int()))
        ):
            return True
    return False


def _refusal(what: str, how: str) -> NotSupported:
    return NotSupported(
        f"{what[:200]} cannot be given to a registered object: its pickle {how}; pass plain data"
    )
