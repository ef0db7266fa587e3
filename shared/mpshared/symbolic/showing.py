"""Show what was read as ``repr`` would: for the stock protocol's ``__str__`` and ``__repr__``.

RULES
* Plain values look as Python shows them. How an object of a user's class looks only its own code knows: it is
  shown as what its pickle says, ``<module.Class(arguments, attribute=value)>``.
* The length is bounded, whatever is shared; nothing beyond it is walked, and an ellipsis tells that there was
  more.
* No recursion; what contains itself is shown as ``[...]`` inside, as Python does.
* Idents of shared objects are not shown: who knows one can use the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

from mpshared.symbolic.limits import MalformedPickle
from mpshared.symbolic.proxies import proxy_class
from mpshared.symbolic.reading import load
from mpshared.symbolic.stubs import Global, Named, Opaque, Ref, Stub, Verb
from mpshared.text import printable

__all__ = ["text"]

_NESTED: Final = 100  # levels; nobody reads deeper
_DECIMAL_BITS: Final = 14_000  # about 4,200 digits: Python refuses to write more, because it takes long


class _Verbatim(str):
    """Text to write as it is, between values."""

    __slots__ = ()


Parts: TypeAlias = Iterator[object]
"""What a value is shown as, in order: `_Verbatim` text, and the values inside it."""


def text(obj: object, *, limit: int = 1_000_000) -> str:
    """Return `obj`, which `load` returned, as text of at most `limit` characters.

    Cost: about 1 µs a value shown; nothing for what is beyond the limit.
    """
    out: list[str] = []
    left = limit
    for piece in _pieces(obj, limit):
        left -= len(piece)
        if left < 0:
            return "".join((*out, piece))[: max(limit - 1, 0)] + "…"[:limit]
        out.append(piece)
    return "".join(out)


def _pieces(obj: object, limit: int) -> Iterator[str]:
    """Return the text of `obj` in pieces, depth first, on a stack of our own."""
    waiting: list[Parts] = [iter((obj,))]
    inside: list[int] = [0]  # ids of the containers that we are in
    while waiting:
        for part in waiting[-1]:
            show = _SHOWN_IN_PARTS.get(type(part))
            if show is None:
                yield _leaf(part, limit)
            elif id(part) in inside or len(waiting) > _NESTED:
                yield _ELSEWHERE.get(type(part), "...")
            else:
                waiting.append(show(part))
                inside.append(id(part))
                break
        else:
            waiting.pop()
            inside.pop()


def _leaf(part: Any, limit: int) -> str:
    """Return the text of what has no parts; of long text and bytes only as much as can be shown."""
    if type(part) is _Verbatim:
        return part
    if type(part) in {str, bytes, bytearray}:
        return repr(part[: limit + 1])
    if type(part) is int and part.bit_length() > _DECIMAL_BITS:
        return hex(part)
    return repr(part)


# -- what each type consists of -------------------------------------------------------------------


def _joined(parts: Iterable[object], start: str, end: str) -> Parts:
    yield _Verbatim(start)
    for number, part in enumerate(parts):
        if number:
            yield _Verbatim(", ")
        yield part
    yield _Verbatim(end)


def _list(obj: list[object]) -> Parts:
    return _joined(obj, "[", "]")


def _tuple(obj: tuple[object, ...]) -> Parts:
    return _joined(obj, "(", ",)" if len(obj) == 1 else ")")


def _set(obj: set[object]) -> Parts:
    return _joined(obj, "{", "}") if obj else iter((_Verbatim("set()"),))


def _frozenset(obj: frozenset[object]) -> Parts:
    return _joined(obj, "frozenset({", "})") if obj else iter((_Verbatim("frozenset()"),))


def _pairs(pairs: Iterable[tuple[object, object]]) -> Parts:
    yield _Verbatim("{")
    for number, (name, value) in enumerate(pairs):
        if number:
            yield _Verbatim(", ")
        yield name
        yield _Verbatim(": ")
        yield value
    yield _Verbatim("}")


def _dict(obj: dict[object, object]) -> Parts:
    return _pairs(obj.items())


def _range(obj: range) -> Parts:
    ends = (obj.start, obj.stop) if obj.step == 1 else (obj.start, obj.stop, obj.step)
    return _joined(ends, "range(", ")")


def _slice(obj: slice) -> Parts:
    return _joined((obj.start, obj.stop, obj.step), "slice(", ")")


def _global(obj: Global) -> Parts:
    yield _Verbatim(f"<{_name(obj)}>")


def _ref(obj: Ref) -> Parts:
    shown = printable(proxy_class(obj).qualname), printable(obj.typeid or obj.kind)
    yield _Verbatim("<{} object, typeid {!r}>".format(*shown))


def _opaque(obj: Opaque) -> Parts:
    try:
        yield load(obj.data, buffers=obj.buffers)
    except MalformedPickle:
        yield _Verbatim(f"<{len(obj.data)} bytes that are no pickle>")


def _named(obj: Named) -> Parts:
    yield _Verbatim(f"<{_name(Global(obj.module, obj.qualname))}")
    yield from _joined(obj.args, "(", ")>")


def _stub(obj: Stub) -> Parts:
    yield _Verbatim("<")
    yield _Verbatim(_name(obj.callee)) if type(obj.callee) is Global else obj.callee
    yield _Verbatim("(")
    for number, (name, value) in enumerate(_arguments(obj)):
        yield _Verbatim(", " * bool(number) + (f"{printable(name)}=" if name else ""))
        yield value
    yield _Verbatim(")")
    for verb, content in obj.steps:
        if verb in _CONTENTS:
            yield _Verbatim(" ")
            yield from _CONTENTS[verb](content)
    yield _Verbatim(">")


def _arguments(obj: Stub) -> Iterator[tuple[str, object]]:
    """Return what an object was made with, and its state, as arguments: names ("" for none) and values."""
    yield from (("", arg) for arg in obj.args)
    yield from (obj.kwargs or {}).items()
    for verb, content in obj.steps:
        if verb is not Verb.STATE:
            continue
        # A class with __slots__ has a pair of dicts for its state: that of __dict__ (or None), and the slots.
        dicts: Any = content if type(content) is tuple and len(content) == 2 else (content,)
        if all(state is None or type(state) is dict for state in dicts):
            for state in dicts:
                yield from ((str(name), value) for name, value in (state or {}).items())
        else:
            yield "state", content


def _name(obj: Global) -> str:
    return printable(str(obj))


_SHOWN_IN_PARTS: Final[dict[type, Callable[[Any], Parts]]] = {
    list: _list,
    tuple: _tuple,
    set: _set,
    frozenset: _frozenset,
    dict: _dict,
    range: _range,
    slice: _slice,
    Global: _global,
    Ref: _ref,
    Opaque: _opaque,
    Named: _named,
    Stub: _stub,
}
_ELSEWHERE: Final[dict[type, str]] = {
    list: "[...]",
    tuple: "(...)",
    dict: "{...}",
    set: "{...}",
    Stub: "<...>",
}
_CONTENTS: Final[dict[Verb, Callable[[Any], Parts]]] = {
    Verb.APPEND: _list,
    Verb.STORE: _pairs,
    Verb.ADD: _set,
}
